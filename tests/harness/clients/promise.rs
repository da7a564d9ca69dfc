//! What is promised to who configures a gateway as the registry: the same packages, and a lockfile that tells nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::{Client, Outcome};

/// What a lockfile made through a gateway has in common with one made straight against the npm registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockfilePromise {
    /// The same bytes: nobody can tell which registry address was configured.
    SameBytes,
    /// The same packages and digests, but the address of each tarball begins with the configured registry's.
    NamesTheRegistry,
}

impl Client {
    /// What is promised of its lockfile. npm since 7 and deno fetch from the configured registry what is locked
    /// to the npm registry; berry, pnpm and bun write no addresses down when a tarball is where the configured
    /// registry is expected to have it. yarn 1 writes down whatever address it was given.
    pub fn lockfile_promise(self) -> LockfilePromise {
        match self {
            Self::Yarn1 => LockfilePromise::NamesTheRegistry,
            _ => LockfilePromise::SameBytes,
        }
    }

    /// What its lockfile is to be with the registry at `url`, given how it ended straight at the npm registry.
    pub fn promised_lockfile(self, straight: &Outcome, url: &str) -> String {
        match self.lockfile_promise() {
            LockfilePromise::SameBytes => straight.locked(),
            LockfilePromise::NamesTheRegistry => straight.locked().replace(&self.default_registry(), url),
        }
    }
}

/// Asserts that the same packages are installed in two places, and some.
pub fn assert_same_packages(found: &BTreeMap<String, String>, expected: &BTreeMap<String, String>) {
    let found: BTreeSet<_> = found.iter().collect();
    let expected: BTreeSet<_> = expected.iter().collect();
    let missing: Vec<_> = expected.difference(&found).collect();
    let unexpected: Vec<_> = found.difference(&expected).collect();
    assert!(missing.is_empty() && unexpected.is_empty(), "missing {missing:#?}, unexpected {unexpected:#?}");
    assert!(!found.is_empty(), "nothing is installed at all");
}

/// Asserts that two lockfiles are the same to the byte, and names the first line that differs.
pub fn assert_same_lines(found: &str, expected: &str) {
    for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {} of the lockfile", number + 1);
    }
    assert_eq!(found, expected);
}
