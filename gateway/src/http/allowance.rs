//! How many proofs are signed in a second.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use resolver::links::one_client;

/// For one asker. It asks about 8 addresses, over two schemes, and once a second when it is in doubt; there may be a few behind one
/// address.
const OF_ONE: u64 = 64;
/// For all together. A signature takes 20 to 50 us, as much as the request around it: more than these would be half a
/// processor. 10,000 gateways that ask every 10 s about two addresses, over two schemes, are half as many.
const OF_ALL: u64 = 8192;
/// Counts of askers, each shared by those whom chance puts there: 32 KiB, however many there are.
const COUNTS: usize = 4096;

/// What is left of this second.
pub(super) struct Allowance {
    started: Instant,
    by: RandomState,
    all: Count,
    ones: Box<[Count]>,
    /// For one asker, and for all together.
    limits: (u64, u64),
}

/// A second and a number in it, side by side in one word.
#[derive(Default)]
struct Count(AtomicU64);

impl Allowance {
    /// Of proofs.
    pub(super) fn new() -> Self {
        Self::of(OF_ONE, OF_ALL)
    }

    /// So many for one asker in a second, and so many for all together.
    pub(super) fn of(of_one: u64, of_all: u64) -> Self {
        let ones = std::iter::repeat_with(Count::default).take(COUNTS).collect();
        let limits = (of_one, of_all);
        Self { started: Instant::now(), by: RandomState::new(), all: Count::default(), ones, limits }
    }

    /// Takes one for this asker, if there is one.
    pub(super) fn take(&self, asker: IpAddr) -> bool {
        self.take_in(self.started.elapsed().as_secs(), asker)
    }

    fn take_in(&self, second: u64, asker: IpAddr) -> bool {
        let place = self.by.hash_one(one_client(asker)) % self.ones.len() as u64;
        let one = self.ones.get(usize::try_from(place).unwrap_or(0));
        one.is_some_and(|one| one.next(second) <= self.limits.0) && self.all.next(second) <= self.limits.1
    }
}

impl Count {
    /// Which one of this second it is.
    fn next(&self, second: u64) -> u64 {
        let second = second << 32;
        let count = |before: u64| if before >> 32 << 32 == second { before + 1 } else { second + 1 };
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        let before = self.0.fetch_update(set, fetch, |before| Some(count(before))).unwrap_or_default();
        count(before) - second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_too_many_waits_a_second_and_nobody_else_does() {
        let allowance = Allowance::new();
        let (greedy, modest) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let given = (0..1000).filter(|_| allowance.take_in(7, greedy)).count();
        assert_eq!(given, usize::try_from(OF_ONE).unwrap());
        assert!(allowance.take_in(7, modest) || same_count(&allowance, greedy, modest));
        assert!(allowance.take_in(8, greedy));
    }

    /// Chance puts two askers together once in 4096 runs.
    fn same_count(allowance: &Allowance, one: IpAddr, other: IpAddr) -> bool {
        let place = |asker| allowance.by.hash_one(one_client(asker)) % allowance.ones.len() as u64;
        place(one) == place(other)
    }

    #[test]
    fn many_askers_get_no_more_than_all_may_have() {
        let allowance = Allowance::new();
        let askers = (0..40_000u32).map(|number| IpAddr::from(number.to_be_bytes()));
        let given = askers.filter(|asker| allowance.take_in(7, *asker)).count();
        assert_eq!(given, usize::try_from(OF_ALL).unwrap());
    }
}
