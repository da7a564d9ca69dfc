//! How many of something each may have, so that nobody has them all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What each has; no more entries than there are things.
#[derive(Debug)]
pub(super) struct Shares<K> {
    most: usize,
    counts: Arc<Counts<K>>,
}

/// One thing, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Share<K: Copy + Eq + Hash> {
    of: K,
    counts: Arc<Counts<K>>,
}

type Counts<K> = Mutex<HashMap<K, usize>>;

impl<K: Copy + Eq + Hash> Shares<K> {
    /// Up to `most` of each.
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), counts: Arc::default() }
    }

    /// One more; `None` when there are as many as there may be.
    pub(super) fn enter(&self, of: K) -> Option<Share<K>> {
        let mut counts = lock(&self.counts);
        let count = counts.entry(of).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share { of, counts: Arc::clone(&self.counts) })
    }
}

fn lock<K>(counts: &Counts<K>) -> MutexGuard<'_, HashMap<K, usize>> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Copy + Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = lock(&self.counts).entry(self.of) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_so_many_and_who_has_none_is_forgotten() {
        let shares = Shares::new(2);
        let mut held: Vec<_> = (0..2).map(|_| shares.enter(1).unwrap()).collect();
        assert!(shares.enter(1).is_none() && shares.enter(2).is_some());
        held.pop();
        assert!(shares.enter(1).is_some());
        held.clear();
        assert!(lock(&shares.counts).is_empty());
    }
}
