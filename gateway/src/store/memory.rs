//! Final bytes in memory: small tarballs and rendered packuments, within one bound.

use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

/// What an entry takes besides its bytes: key, counters, its place in the tables.
const ENTRY: u64 = 128;
/// A first guess at how many entries there are, by their size and at most; tables grow beyond it.
const TYPICAL: u64 = 16 * 1024;
const FIRST: u64 = 10_000;

/// Which bytes: the beginning of their digest or entity tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// A verified tarball.
    Tarball([u8; 32]),
    /// A rendered packument.
    Rendering([u8; 32]),
}

/// Bytes that are asked for again and again, bounded by weight. What is asked for once, as by a scan through all
/// packages, does not push them out: quick_cache is a variant of S3-FIFO.
pub struct Memory {
    cache: Cache<Key, Bytes, Weight>,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Key, Bytes> for Weight {
    fn weight(&self, _: &Key, bytes: &Bytes) -> u64 {
        bytes.len() as u64 + ENTRY
    }
}

impl Memory {
    /// Room for `bound` bytes; none at all is a bound, too.
    #[must_use]
    pub fn new(bound: u64) -> Self {
        let typical = usize::try_from((bound / TYPICAL).clamp(1, FIRST)).unwrap_or(1);
        // One shard: a bound by weight is divided among shards, and what is longer than its share is not kept.
        let options =
            OptionsBuilder::new().shards(1).weight_capacity(bound).estimated_items_capacity(typical).build();
        let options = options.expect("all required options are set");
        let cache =
            Cache::with_options(options, Weight, DefaultHashBuilder::default(), DefaultLifecycle::default());
        Self { cache }
    }

    /// The bytes, if they are here.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Bytes> {
        self.cache.get(key)
    }

    /// Takes bytes in, as far as there is room for them; `bytes` must not be a part of something longer, for all of it
    /// would stay in memory.
    pub fn insert(&self, key: Key, bytes: Bytes) {
        self.cache.insert(key, bytes);
    }

    /// Lets bytes go.
    pub fn remove(&self, key: &Key) {
        self.cache.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u16) -> Key {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&n.to_be_bytes());
        Key::Tarball(key)
    }

    #[test]
    fn it_never_holds_more_than_its_bound() {
        let memory = Memory::new(100 * 1024);
        for n in 0..1000 {
            memory.insert(key(n), vec![0; 10 * 1024].into());
            assert!(memory.cache.weight() <= 100 * 1024);
        }
        memory.insert(key(1000), vec![0; 200 * 1024].into());
        assert!(memory.get(&key(1000)).is_none() && memory.cache.weight() <= 100 * 1024);
        let none = Memory::new(0);
        none.insert(key(1), Bytes::from_static(b"x"));
        assert!(none.get(&key(1)).is_none());
    }

    #[test]
    fn what_is_in_use_survives_a_scan() {
        let memory = Memory::new(1024 * 1024);
        let hot = || (0..20).filter(|n| memory.get(&key(*n)).is_some()).count();
        (0..20).for_each(|n| memory.insert(key(n), vec![0; 10 * 1024].into()));
        (0..3).for_each(|_| assert_eq!(hot(), 20));
        (100..2000).for_each(|n| memory.insert(key(n), vec![0; 10 * 1024].into()));
        assert_eq!(hot(), 20);
    }

    #[test]
    fn a_tarball_and_a_rendering_are_never_taken_for_each_other() {
        let memory = Memory::new(1024);
        memory.insert(Key::Tarball([1; 32]), Bytes::from_static(b"tarball"));
        assert!(memory.get(&Key::Rendering([1; 32])).is_none());
        memory.remove(&Key::Tarball([1; 32]));
        assert!(memory.get(&Key::Tarball([1; 32])).is_none());
    }
}
