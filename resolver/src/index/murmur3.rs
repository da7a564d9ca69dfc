//! MurmurHash3 in its variant x64, of which UnixFS takes the first 64 bits: where a name stands in a sharded directory.
//!
//! Source: Austin Appleby's `MurmurHash3_x64_128`, with the seed 0; "murmur3-x64-64" (0x22) in the table of multicodecs.
//! It is no cryptographic hash: names that share all 64 bits can be made, and [`super::update()`] expects them.

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

/// The first 64 bits of the hash of `bytes`. The most significant octet chooses in the first shard, the next one below it,
/// and so on.
#[must_use]
pub fn murmur3_x64_64(bytes: &[u8]) -> u64 {
    let (blocks, tail) = bytes.as_chunks::<16>();
    let (mut h1, mut h2) = (0, 0);
    for block in blocks {
        let (k1, k2) = halves(*block);
        h1 = mix(h1 ^ scramble1(k1), 27, h2, 0x52dc_e729);
        h2 = mix(h2 ^ scramble2(k2), 31, h1, 0x3849_5ab5);
    }
    let mut last = [0; 16];
    for (octet, of_tail) in last.iter_mut().zip(tail) {
        *octet = *of_tail;
    }
    let (k1, k2) = halves(last);
    // What is all zero scrambles to zero, so a tail that is shorter than this changes nothing.
    finish(h1 ^ scramble1(k1), h2 ^ scramble2(k2), bytes.len() as u64)
}

fn halves(block: [u8; 16]) -> (u64, u64) {
    let both = u128::from_le_bytes(block);
    #[allow(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    (both as u64, (both >> 64) as u64)
}

fn scramble1(k: u64) -> u64 {
    k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn scramble2(k: u64) -> u64 {
    k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn mix(h: u64, rotation: u32, other: u64, constant: u64) -> u64 {
    h.rotate_left(rotation).wrapping_add(other).wrapping_mul(5).wrapping_add(constant)
}

fn finish(h1: u64, h2: u64, length: u64) -> u64 {
    let (h1, h2) = (h1 ^ length, h2 ^ length);
    let h1 = h1.wrapping_add(h2);
    let h2 = h2.wrapping_add(h1);
    avalanche(h1).wrapping_add(avalanche(h2))
}

fn avalanche(mut k: u64) -> u64 {
    k ^= k >> 33;
    k = k.wrapping_mul(0xff51_afd7_ed55_8ccd);
    k ^= k >> 33;
    k = k.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ (k >> 33)
}
