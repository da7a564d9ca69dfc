//! What a peer holds, in few bytes: a fingerprint of each tarball's digest.
//!
//! A fingerprint is the first four bytes of the SHA-512, so an inventory of n tarballs takes 4n bytes (400,000 for 100,000
//! of them), and of things that a peer does not hold one in 2^32/n seems to be there: with 100,000 tarballs one in 43,000.
//! Names are not in it, nor can they be told from it.
//!
//! [`Prints`] is what is known of another; [`Holdings`] what is held here; [`frame`] how the one becomes the other.

pub mod frame;
mod holdings;
mod lookup;

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::iter::Peekable;

use crate::integrity::Integrity;

pub use holdings::{Change, Holdings};

/// Fingerprints of one peer at most: a million tarballs, 4 MB.
pub const MOST: usize = 1_000_000;
/// Changes that are kept beside the sorted list, before it is made anew: that takes a millisecond for a million.
const LOOSE: usize = 4096;

/// The fingerprint of a digest.
#[must_use]
pub fn print(integrity: &Integrity) -> u32 {
    let [a, b, c, d, ..] = *integrity.as_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// A set of fingerprints. A copy shares nearly all of its memory with what it was made of.
#[derive(Debug, Clone, Default)]
pub struct Prints {
    /// Sorted.
    list: Arc<Vec<u32>>,
    /// In the set, and not in the list.
    added: BTreeSet<u32>,
    /// In the list, and not in the set.
    removed: BTreeSet<u32>,
    sum: u32,
}

impl Prints {
    /// Whether it may be held.
    #[must_use]
    pub fn holds(&self, integrity: &Integrity) -> bool {
        self.contains(print(integrity))
    }

    /// Whether it is in the set.
    #[must_use]
    pub fn contains(&self, print: u32) -> bool {
        match lookup::is_in(&self.list, print) {
            true => self.removed.is_empty() || !self.removed.contains(&print),
            false => !self.added.is_empty() && self.added.contains(&print),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len() + self.added.len() - self.removed.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What they add up to, modulo 2^32: two that have told each other all changes have the same.
    #[must_use]
    pub fn sum(&self) -> u32 {
        self.sum
    }

    /// Puts one in; whether it was not there.
    pub fn insert(&mut self, print: u32) -> bool {
        if self.contains(print) {
            return false;
        }
        if !self.removed.remove(&print) {
            self.added.insert(print);
        }
        self.sum = self.sum.wrapping_add(print);
        self.settle();
        true
    }

    /// Takes one out; whether it was there.
    pub fn remove(&mut self, print: u32) -> bool {
        if !self.contains(print) {
            return false;
        }
        if !self.added.remove(&print) {
            self.removed.insert(print);
        }
        self.sum = self.sum.wrapping_sub(print);
        self.settle();
        true
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let kept = self.list.iter().copied();
        let kept = kept.filter(|print| self.removed.is_empty() || !self.removed.contains(print));
        Merged { one: kept.peekable(), other: self.added.iter().copied().peekable() }
    }

    /// What has come and what has gone since these were copied. Quick as long as the list is the same.
    #[must_use]
    pub fn since(&self, before: &Self) -> (Vec<u32>, Vec<u32>) {
        if Arc::ptr_eq(&self.list, &before.list) {
            let come = self.added.difference(&before.added).chain(before.removed.difference(&self.removed));
            let gone = before.added.difference(&self.added).chain(self.removed.difference(&before.removed));
            return (come.copied().collect(), gone.copied().collect());
        }
        let (mut come, mut gone) = (Vec::new(), Vec::new());
        let (mut now, mut then) = (self.iter().peekable(), before.iter().peekable());
        loop {
            match (now.peek(), then.peek()) {
                (None, None) => return (come, gone),
                (Some(one), Some(other)) if one == other => drop((now.next(), then.next())),
                (Some(one), other) if other.is_none_or(|other| one < other) => come.extend(now.next()),
                _ => gone.extend(then.next()),
            }
        }
    }

    /// The largest.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        let kept = self.list.iter().rev().copied().find(|print| !self.removed.contains(print));
        kept.max(self.added.last().copied())
    }

    fn settle(&mut self) {
        if self.added.len() + self.removed.len() > LOOSE {
            self.list = Arc::new(self.iter().collect());
            self.added.clear();
            self.removed.clear();
        }
    }
}

impl FromIterator<u32> for Prints {
    fn from_iter<I: IntoIterator<Item = u32>>(prints: I) -> Self {
        let mut list: Vec<_> = prints.into_iter().collect();
        list.sort_unstable();
        list.dedup();
        let sum = list.iter().fold(0, |sum: u32, print| sum.wrapping_add(*print));
        Self { list: Arc::new(list), sum, ..Self::default() }
    }
}

impl PartialEq for Prints {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Prints {}

/// Two sorted lists that have nothing in common, as one.
struct Merged<A: Iterator, B: Iterator> {
    one: Peekable<A>,
    other: Peekable<B>,
}

impl<A: Iterator<Item = u32>, B: Iterator<Item = u32>> Iterator for Merged<A, B> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        match (self.one.peek(), self.other.peek()) {
            (Some(one), Some(other)) if one > other => self.other.next(),
            (Some(_), _) => self.one.next(),
            (None, _) => self.other.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_fingerprint_is_the_beginning_of_the_digest() {
        let integrity = Integrity::of(b"left");
        let prints: Prints = [print(&integrity)].into_iter().collect();
        assert!(prints.holds(&integrity) && !prints.holds(&Integrity::of(b"right")));
        assert_eq!(print(&integrity).to_be_bytes(), integrity.as_bytes()[..4]);
    }

    proptest! {
        /// However often the list is made anew, and whatever copies were made meanwhile.
        #[test]
        fn prints_are_a_set(
            first in proptest::collection::btree_set(0u32..20_000, 0..8000),
            steps in proptest::collection::vec((any::<bool>(), 0u32..20_000), 0..6000),
        ) {
            let (mut prints, mut model) = (first.iter().copied().collect::<Prints>(), first);
            let (copy, then) = (prints.clone(), model.clone());
            for (put, print) in steps {
                let changed = if put { prints.insert(print) } else { prints.remove(print) };
                prop_assert_eq!(changed, if put { model.insert(print) } else { model.remove(&print) });
            }
            prop_assert_eq!(prints.len(), model.len());
            prop_assert_eq!(prints.last(), model.last().copied());
            prop_assert!((0..20_000).all(|print| prints.contains(print) == model.contains(&print)));
            prop_assert!(prints.iter().eq(model.iter().copied()));
            prop_assert_eq!(prints.sum(), model.iter().fold(0, |sum: u32, print| sum.wrapping_add(*print)));
            let (come, gone) = prints.since(&copy);
            let sorted = |mut prints: Vec<u32>| { prints.sort_unstable(); prints };
            prop_assert!(sorted(come).iter().eq(model.difference(&then)));
            prop_assert!(sorted(gone).iter().eq(then.difference(&model)));
            prop_assert!(copy.iter().eq(then), "a copy stays what it was");
        }
    }
}
