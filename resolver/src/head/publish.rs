//! When a gateway signs its next head, and with which sequence.

use core::time::Duration;

use super::{Head, Root};
use crate::peer::PeerId;

/// So long IPFS clients take a head, and so long at most can an old one be passed off as the newest to whoever has never heard of
/// a newer one. Followers go on with one that is older when there is nothing else, so it need not cover an outage.
pub const VALIDITY: Duration = Duration::from_secs(24 * 60 * 60);
/// A root that has not changed is signed again after this time: so a follower can tell a quiet home from one that is kept from him.
pub const REFRESH: Duration = Duration::from_secs(60 * 60);
/// Between two heads, however much changes.
pub const PAUSE: Duration = Duration::from_secs(1);
/// How long caches may keep a head: as often as followers ask.
pub const TTL: Duration = Duration::from_secs(60);
/// So far may a publisher's clock be ahead of a follower's; from further in the future nothing is taken, or nothing could follow it.
pub const AHEAD: Duration = Duration::from_secs(600);

/// The next head with this root, after one with the sequence `last`.
#[must_use]
pub fn next(name: PeerId, root: Root, last: Option<u64>, now: Duration) -> Head {
    Head { name, root, sequence: sequence(last, now), until: now.saturating_add(VALIDITY), ttl: TTL }
}

/// The sequence of what is signed now, after `last`: the time in milliseconds, and later than the last also when the clock went back.
/// But if the last one was of a time that is still far ahead, the clock was wrong then: no follower with a right one has taken
/// it, and to go on from there would mean that none takes anything until that time has come.
#[must_use]
pub fn sequence(last: Option<u64>, now: Duration) -> u64 {
    let last = last.filter(|last| !is_early(*last, now));
    last.map_or(milliseconds(now), |last| milliseconds(now).max(last.saturating_add(1)))
}

/// Whether a sequence is of a time that has not come, beyond what clocks differ.
#[must_use]
pub fn is_early(sequence: u64, now: Duration) -> bool {
    sequence > milliseconds(now.saturating_add(AHEAD))
}

/// When the root `root` is to be signed, after `last`: whatever is not in the future is due.
#[must_use]
pub fn due(last: Option<&Head>, root: Root, now: Duration) -> Duration {
    let Some(last) = last else { return now };
    let wait = if last.root == root { REFRESH } else { PAUSE };
    // Signed by a clock that was ahead: that is no reason to wait for longer.
    Duration::from_millis(last.sequence).min(now).saturating_add(wait)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
