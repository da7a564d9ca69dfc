//! Whether a fingerprint is in a sorted list.
//!
//! Fingerprints are spread evenly, so that two guesses from the values at the ends come to within a dozen places of where one
//! stands: two or three cache lines of a list that is too long for a cache, where a binary search touches a dozen. Of a list that a
//! peer has made up, of whatever values, the rest is a search that takes twice as many steps as a binary one.

use core::cmp::Ordering;

/// From `sqrt(n)` places off to `sqrt(sqrt(n))`.
const GUESSES: usize = 2;
/// What is looked at first beside a guess: half a cache line.
const BESIDE: usize = 8;

/// Whether it is there.
pub(super) fn is_in(list: &[u32], print: u32) -> bool {
    // It stands in `list[low..high]` or nowhere, where all are at least `least` and less than `limit`.
    let (mut low, mut high) = (0, list.len());
    let (mut least, mut limit) = (0, 1 << 32);
    let mut is_above = false;
    for _ in 0..GUESSES {
        let Some(guess) = guess(u64::from(print), (least, limit), (low, high)) else { return false };
        match list[guess].cmp(&print) {
            Ordering::Equal => return true,
            Ordering::Less => (low, least, is_above) = (guess + 1, u64::from(list[guess]) + 1, true),
            Ordering::Greater => (high, limit, is_above) = (guess, u64::from(list[guess]), false),
        }
    }
    let (low, high) = beside(list, print, (low, high), is_above);
    list[low..high].binary_search(&print).is_ok()
}

/// Where it stands if all that are there are spread evenly; `None`: nowhere.
fn guess(print: u64, (least, limit): (u64, u64), (low, high): (usize, usize)) -> Option<usize> {
    let places = u64::try_from(high - low).ok().filter(|places| *places > 0)?;
    // Below 2^32 times the length of the list.
    let place = print.checked_sub(least)? * places / limit.checked_sub(least).filter(|values| *values > 0)?;
    Some(low + usize::try_from(place).ok()?).filter(|guess| *guess < high)
}

/// The part that it stands in, of steps away from the last guess that double each time.
fn beside(list: &[u32], print: u32, (mut low, mut high): (usize, usize), is_above: bool) -> (usize, usize) {
    let mut step = BESIDE;
    while high - low > step {
        let at = if is_above { low + step } else { high - step };
        match (list[at] < print, is_above) {
            (true, true) => low = at + 1,
            (true, false) => return (at + 1, high),
            (false, true) => return (low, at + 1),
            (false, false) => high = at + 1,
        }
        step *= 2;
    }
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        /// Evenly spread, all in one place, at both ends, and none at all.
        #[test]
        fn what_is_there_is_found_and_nothing_else(
            list in prop_oneof![
                proptest::collection::btree_set(any::<u32>(), 0..3000),
                proptest::collection::btree_set(0u32..5000, 0..3000),
                proptest::collection::btree_set((u32::MAX - 5000)..=u32::MAX, 0..3000),
                proptest::collection::btree_set(prop_oneof![0u32..9, (1u32 << 31)..(1 << 31) + 3000, Just(u32::MAX)], 0..3000),
            ],
            asked in proptest::collection::vec(prop_oneof![any::<u32>(), 0u32..5000, (u32::MAX - 5000)..=u32::MAX], 100),
        ) {
            let sorted: Vec<u32> = list.iter().copied().collect();
            for print in sorted.iter().chain(&asked) {
                for near in [print.wrapping_sub(1), *print, print.wrapping_add(1)] {
                    prop_assert_eq!(is_in(&sorted, near), list.contains(&near), "{}", near);
                }
            }
        }
    }
}
