//! Weighted rendezvous hashing (Thaler and Ravishankar 1998; weights as by Schindelhauer and Schomaker 2005): every key has
//! an order of preference of its own among all nodes, so who comes or goes moves no key but his own.
//!
//! The hash is part of what gateways agree on: 64 bits of FNV-1a, mixed by the finaliser of SplitMix64.

/// FNV-1a, 64 bits.
pub(crate) fn key(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A number between 0 and 1, both excluded, that belongs to this node and this key.
pub(crate) fn draw(node: u64, key: u64) -> f64 {
    let mut hash = node ^ key.rotate_left(32);
    hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    // 53 bits are what an f64 holds.
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
    let drawn = (hash >> 11) as f64;
    (drawn + 0.5) / 9_007_199_254_740_992.0
}

/// The highest score wins; a node of twice the weight wins twice as often.
pub(super) fn score(weight: f32, drawn: f64) -> f64 {
    -f64::from(weight) / libm::log(drawn)
}

/// No score of this weight and draw is higher: -ln(x) is at least 1 - x.
pub(super) fn highest_score(weight: f32, drawn: f64) -> f64 {
    f64::from(weight) / (1.0 - drawn)
}
