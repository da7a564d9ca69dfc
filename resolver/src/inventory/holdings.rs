//! What is held here, as peers are told of it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{MOST, Prints};

/// A tarball has come or gone, by its fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is held now.
    Kept(u32),
    /// It is not any more.
    Gone(u32),
}

/// All tarballs that are held, by their fingerprints. Of more than a million those are told whose fingerprints are smallest: what
/// is not told is a tarball that peers fetch elsewhere.
#[derive(Debug, Clone)]
pub struct Holdings {
    told: Prints,
    /// Of those that several tarballs have, how many more than one: 0 is not kept. Of 100,000 tarballs it is one pair.
    more: BTreeMap<u32, u32>,
    /// Larger ones are not told, from when there were too many.
    bound: u32,
    most: usize,
}

impl Default for Holdings {
    fn default() -> Self {
        Self::of_at_most(MOST)
    }
}

impl Holdings {
    /// Of which so many are told.
    fn of_at_most(most: usize) -> Self {
        Self { told: Prints::default(), more: BTreeMap::new(), bound: u32::MAX, most }
    }

    /// These, one for each tarball, in any order.
    #[must_use]
    pub fn of(prints: Vec<u32>) -> Self {
        Self::of_these(prints, MOST)
    }

    fn of_these(mut prints: Vec<u32>, most: usize) -> Self {
        prints.sort_unstable();
        let mut holdings = Self::of_at_most(most);
        let (mut told, mut last) = (Vec::with_capacity(prints.len().min(most)), None);
        for print in prints {
            if last == Some(print) {
                *holdings.more.entry(print).or_default() += 1;
            } else if told.len() == most {
                holdings.bound = print - 1;
                break;
            } else {
                told.push(print);
                last = Some(print);
            }
        }
        holdings.told = told.into_iter().collect();
        holdings
    }

    /// What peers are told.
    #[must_use]
    pub fn told(&self) -> &Prints {
        &self.told
    }

    /// Takes a change; says what changes in what is told.
    pub fn apply(&mut self, change: Change) -> Vec<Change> {
        match change {
            Change::Kept(print) | Change::Gone(print) if print > self.bound => Vec::new(),
            Change::Kept(print) => self.keep(print),
            Change::Gone(print) => self.lose(print).into_iter().collect(),
        }
    }

    fn keep(&mut self, print: u32) -> Vec<Change> {
        if !self.told.insert(print) {
            *self.more.entry(print).or_default() += 1;
            return Vec::new();
        }
        let mut changes = alloc::vec![Change::Kept(print)];
        if self.told.len() > self.most
            && let Some(largest) = self.told.last()
        {
            self.told.remove(largest);
            self.more.remove(&largest);
            // What is largest is not the smallest there is.
            self.bound = largest - 1;
            changes.push(Change::Gone(largest));
        }
        changes
    }

    fn lose(&mut self, print: u32) -> Option<Change> {
        match self.more.get_mut(&print) {
            Some(1) => {
                self.more.remove(&print);
                None
            }
            Some(more) => {
                *more -= 1;
                None
            }
            None => self.told.remove(print).then_some(Change::Gone(print)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    #[test]
    fn of_two_tarballs_with_one_fingerprint_one_may_go() {
        let mut holdings = Holdings::of(alloc::vec![7, 7, 9]);
        assert_eq!(holdings.apply(Change::Kept(7)), []);
        assert_eq!(holdings.apply(Change::Gone(7)), []);
        assert_eq!(holdings.apply(Change::Gone(7)), []);
        assert_eq!(holdings.apply(Change::Gone(7)), [Change::Gone(7)]);
        assert_eq!(holdings.apply(Change::Gone(7)), []);
        assert_eq!(holdings.told().iter().collect::<Vec<_>>(), [9]);
    }

    #[test]
    fn of_too_many_the_smallest_are_told() {
        let mut holdings = Holdings::of_these(alloc::vec![5, 1, 4, 2, 3, 3], 3);
        assert_eq!(holdings.told().iter().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(holdings.apply(Change::Kept(0)), [Change::Kept(0), Change::Gone(3)]);
        // There would be room again, but not all that are as large are known.
        assert_eq!(holdings.apply(Change::Gone(0)), [Change::Gone(0)]);
        assert_eq!(holdings.apply(Change::Kept(3)), []);
        assert_eq!(holdings.apply(Change::Gone(4)), []);
        assert_eq!(holdings.told().iter().collect::<Vec<_>>(), [1, 2]);
    }

    proptest! {
        /// Tarballs have few fingerprints here, and come and go: whoever takes the changes knows what is held, as far as it
        /// is told.
        #[test]
        fn who_takes_every_change_knows_what_is_held(
            first in proptest::collection::vec(0u32..40, 0..60),
            steps in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>(), 0u32..40), 0..200),
            most in 1usize..50,
        ) {
            let mut held = first.clone();
            let mut holdings = Holdings::of_these(first, most);
            let mut known: Prints = holdings.told().iter().collect();
            for (put, which, print) in steps {
                let change = match put || held.is_empty() {
                    true => { held.push(print); Change::Kept(print) }
                    false => Change::Gone(held.swap_remove(which.index(held.len()))),
                };
                for change in holdings.apply(change) {
                    match change {
                        Change::Kept(print) => prop_assert!(known.insert(print)),
                        Change::Gone(print) => prop_assert!(known.remove(print)),
                    }
                }
                let truth: BTreeSet<u32> = held.iter().copied().filter(|print| *print <= holdings.bound).collect();
                prop_assert!(known.iter().eq(truth.iter().copied()));
                prop_assert_eq!(&known, holdings.told());
                prop_assert!(known.len() <= most);
            }
        }
    }
}
