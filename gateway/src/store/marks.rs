//! Which contents were used since eviction last looked at them: one bit each, in memory.
//!
//! SIEVE asks of a hit one bit and nothing else, so a hit sets one bit of a table of fixed size, at the place that
//! the item's key hashes to, and writes nothing. Two items may share a bit: then one of them is kept for a round
//! too long. At half a million items that happens to one in seventeen.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// 2^23 bits: 1 MiB, whatever is held.
const WORDS: usize = 1 << 17;
/// Where the table is kept between two runs.
const FILE: &str = "visited";

/// The table.
pub(super) struct Marks {
    words: Box<[AtomicU64]>,
    changed: AtomicBool,
}

impl Marks {
    pub(super) fn new() -> Self {
        Self { words: (0..WORDS).map(|_| AtomicU64::new(0)).collect(), changed: AtomicBool::new(false) }
    }

    /// What the last run left; nothing, if that cannot be read: it costs recency only.
    pub(super) fn load(dir: &Path) -> Self {
        let marks = Self::new();
        let bytes = std::fs::read(dir.join(FILE)).unwrap_or_default();
        if bytes.len() == WORDS * 8 {
            for (word, bytes) in marks.words.iter().zip(bytes.as_chunks::<8>().0) {
                word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
            }
        }
        marks
    }

    /// Writes the table next to the state, if it has changed since.
    pub(super) fn save(&self, dir: &Path) -> std::io::Result<()> {
        if !self.changed.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let bytes: Vec<u8> =
            self.words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
        let draft = dir.join("drafts").join(FILE);
        std::fs::write(&draft, bytes)?;
        std::fs::rename(&draft, dir.join(FILE))
    }

    /// The item was used.
    pub(super) fn set(&self, key: &[u8]) {
        let (word, bit) = self.place(key);
        // Most hits are of what was hit before: a look does not take the line from other cores, a write does.
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
            self.changed.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it was used; from now on it was not.
    pub(super) fn take(&self, key: &[u8]) -> bool {
        let (word, bit) = self.place(key);
        let was = word.fetch_and(!bit, Ordering::Relaxed) & bit != 0;
        if was {
            self.changed.store(true, Ordering::Relaxed);
        }
        was
    }

    fn place(&self, key: &[u8]) -> (&AtomicU64, u64) {
        let place = usize::try_from(hash(key) >> 41).unwrap_or(0);
        (&self.words[place / 64], 1 << (place % 64))
    }
}

/// FNV-1a, and the end of MurmurHash3 for what FNV leaves of the last byte in its upper bits. The same in every build,
/// for the table outlives a program.
fn hash(key: &[u8]) -> u64 {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_there_once() {
        let marks = Marks::new();
        assert!(!marks.take(b"left"));
        marks.set(b"left");
        marks.set(b"left");
        assert!(marks.take(b"left"));
        assert!(!marks.take(b"left"));
    }

    #[test]
    fn marks_survive_a_restart_and_a_spoilt_file_costs_no_more_than_marks() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("drafts")).unwrap();
        let marks = Marks::new();
        marks.set(b"left");
        marks.save(dir.path()).unwrap();
        assert!(Marks::load(dir.path()).take(b"left"));
        std::fs::write(dir.path().join(FILE), b"short").unwrap();
        assert!(!Marks::load(dir.path()).take(b"left"));
    }

    #[test]
    fn few_items_share_a_bit() {
        let marks = Marks::new();
        let names = |from: u32| (from..from + 500_000).map(|n| format!("pn@scope/package-{n}"));
        names(0).for_each(|name| marks.set(name.as_bytes()));
        let shared = names(500_000).filter(|name| marks.take(name.as_bytes())).count();
        assert!((20_000..40_000).contains(&shared), "{shared} of 500,000");
    }
}
