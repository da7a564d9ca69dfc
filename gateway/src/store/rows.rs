//! Rows that requests ask for again and again, in memory until the next commit: a look into the tables costs a request
//! as much as all else that the gateway does for it.

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use resolver::package::PackageName;

use super::tables::{PackumentRecord, TarballRecord};

/// Packuments that a few large projects have, at some 300 bytes each.
const PACKUMENTS: usize = 4096;
/// As many files as these have tarballs, at some 200 bytes each.
const TARBALLS: usize = 8192;

/// Rows as they were read. What a commit has changed nobody has to find out: after it, all are read again.
pub(super) struct Rows {
    commits: AtomicU64,
    pub(super) packuments: Lately<PackageName, PackumentRecord>,
    pub(super) tarballs: Lately<String, TarballRecord>,
}

/// The rows of one table, each with the number of commits that there had been before it was read.
pub(super) struct Lately<K, V>(Cache<K, (u64, V)>);

impl Default for Rows {
    fn default() -> Self {
        let (packuments, tarballs) = (Lately(Cache::new(PACKUMENTS)), Lately(Cache::new(TARBALLS)));
        Self { commits: AtomicU64::new(0), packuments, tarballs }
    }
}

impl Rows {
    /// Something was committed. To be called before anybody is told of it.
    pub(super) fn outdate(&self) {
        self.commits.fetch_add(1, Ordering::AcqRel);
    }

    /// How many commits there were; to be asked for before a row is.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Acquire)
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Lately<K, V> {
    /// The row, from `read` unless it was read since the last commit. That there is none is asked again each time: it
    /// may be that it could not be read.
    pub(super) fn get(&self, commits: u64, key: &K, read: impl FnOnce() -> Option<V>) -> Option<V> {
        if let Some((_, row)) = self.0.get(key).filter(|(of, _)| *of == commits) {
            return Some(row);
        }
        let row = read()?;
        self.0.insert(key.clone(), (commits, row.clone()));
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_once_between_two_commits_and_one_that_is_missing_each_time() {
        let rows = Lately::<String, u32>(Cache::new(8));
        let name = "left".to_owned();
        assert_eq!(rows.get(0, &name, || None), None);
        assert_eq!(rows.get(0, &name, || Some(1)), Some(1));
        assert_eq!(rows.get(0, &name, || Some(2)), Some(1));
        assert_eq!(rows.get(1, &name, || Some(2)), Some(2));
        assert_eq!(rows.get(2, &name, || None), None);
    }

    #[test]
    fn what_was_read_before_a_commit_is_not_taken_for_what_is_there_after_it() {
        let rows = Rows::default();
        let before = rows.commits();
        rows.outdate();
        let key = "left\0left-1.0.0.tgz".to_owned();
        let record = |n: u8| TarballRecord::new(resolver::integrity::Integrity::of(&[n]), None);
        // Read before the commit, remembered after it.
        assert_eq!(rows.tarballs.get(before, &key, || Some(record(1))), Some(record(1)));
        assert_eq!(rows.tarballs.get(rows.commits(), &key, || Some(record(2))), Some(record(2)));
    }
}
