//! What has been removed of a package, and why: `/<name>/removed.json` in the tree, and what whoever follows makes of it.
//!
//! ```text
//! {"removed": [{"version": "1.2.3", "by": "upstream", "reason": "no longer in upstream's document", "when": 1795341540123,
//!               "integrity": "sha512-..."}]}
//! ```
//!
//! Upstream's removal takes a version out of the document; its tarball is served on to whoever has its digest, or lockfiles that name
//! it would break. An operator's block answers 451 (RFC 7725), by name and by digest. The version `*` is the whole package.
//!
//! The list is sorted, so that the same removals are the same bytes, and the same tree.

use alloc::borrow::ToOwned as _;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::integrity::Integrity;

pub use blocklist::{Blocklist, LONGEST as LONGEST_BLOCKLIST};

/// The longest that is read, in bytes: some thousand versions.
pub const LONGEST: usize = 256 * 1024;
/// The longest version and the longest reason, in bytes: a reason is shown to people.
const LONGEST_VERSION: usize = 256;
const LONGEST_REASON: usize = 500;
/// What stands around the entries of a list, in bytes, and between two of them.
const AROUND: usize = 64;
const BETWEEN: usize = 1;
/// The version that means all of them.
pub const WHOLE: &str = "*";

/// Who has removed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The registry of record no longer has it.
    Upstream,
    /// Home's operator does not serve it.
    Operator,
}

/// A removal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// Of this version; [`WHOLE`]: of all.
    pub version: String,
    /// By whom.
    pub by: By,
    /// Why, for people.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub when: u64,
    /// Of the tarball, as npm writes it, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrity: Option<String>,
}

/// All of one package: as many as fit into a list that others read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removals {
    list: BTreeMap<(String, By), Removal>,
    /// Of the list in JSON, in bytes, apart from what stands around it.
    size: usize,
}

/// How something that may have been removed is treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Treatment<'a> {
    /// It has not been.
    Served,
    /// It stands in no document; its tarball is served to whoever names its digest.
    ByDigestOnly(&'a Removal),
    /// It is not served: 451.
    Blocked(&'a Removal),
}

/// A list that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRemovals {
    /// It has too many bytes.
    #[error("the list of removals has {0} bytes; at most {LONGEST} are read")]
    TooLong(usize),
    /// It is not the object that it should be.
    #[error("the list of removals is not to be read: {0}")]
    Unreadable(String),
    /// It says too much.
    #[error("the list of removals is too long, or one of its texts is")]
    Excessive,
    /// What stands for a digest is none, so what it should block would be served.
    #[error("the list of removals has {0:?} for a digest")]
    Integrity(String),
}

#[derive(Serialize, Deserialize)]
struct Document<R> {
    removed: Vec<R>,
}

impl Removals {
    /// Reads a list.
    ///
    /// # Errors
    /// [`NotRemovals`].
    pub fn parse(json: &[u8]) -> Result<Self, NotRemovals> {
        if json.len() > LONGEST {
            return Err(NotRemovals::TooLong(json.len()));
        }
        let read: Document<Removal> =
            serde_json::from_slice(json).map_err(|error| NotRemovals::Unreadable(error.to_string()))?;
        let mut removals = Self::default();
        for removal in read.removed {
            removals.put(removal)?;
        }
        Ok(removals)
    }

    /// Writes it. No removals are no file.
    #[must_use]
    pub fn to_json(&self) -> Option<Vec<u8>> {
        let document = Document { removed: self.list.values().collect() };
        (!self.list.is_empty()).then(|| serde_json::to_vec(&document).expect("strings and numbers are JSON"))
    }

    /// Puts one in; of two for the same version by the same, the first one counts, for it says since when.
    ///
    /// # Errors
    /// [`NotRemovals::Excessive`] and [`NotRemovals::Integrity`], and nothing has changed.
    pub fn put(&mut self, removal: Removal) -> Result<(), NotRemovals> {
        let too_long = removal.version.len() > LONGEST_VERSION || removal.reason.len() > LONGEST_REASON;
        if too_long || removal.version.is_empty() {
            return Err(NotRemovals::Excessive);
        }
        if let Some(sri) = removal.integrity.as_ref().filter(|sri| Integrity::from_sri(sri).is_none()) {
            return Err(NotRemovals::Integrity(sri.chars().take(LONGEST_VERSION).collect()));
        }
        let key = (removal.version.clone(), removal.by);
        let known = self.list.get(&key);
        if known.is_some_and(|known| known.when <= removal.when) {
            return Ok(());
        }
        let size = self.size - known.map_or(0, size_of) + size_of(&removal);
        if size + AROUND > LONGEST {
            return Err(NotRemovals::Excessive);
        }
        self.size = size;
        self.list.insert(key, removal);
        Ok(())
    }

    /// Takes one out: it has been published again, or is no longer blocked.
    pub fn lift(&mut self, version: &str, by: By) -> Option<Removal> {
        let lifted = self.list.remove(&(version.to_owned(), by));
        self.size -= lifted.as_ref().map_or(0, size_of);
        lifted
    }

    /// How a version is treated, whose tarball has this digest if it is known.
    #[must_use]
    pub fn treatment(&self, version: &str, integrity: Option<&Integrity>) -> Treatment<'_> {
        let by_digest = || integrity.and_then(|integrity| self.blocked_digest(integrity));
        if let Some(block) = self.of(version, By::Operator).or_else(by_digest) {
            return Treatment::Blocked(block);
        }
        self.of(version, By::Upstream).map_or(Treatment::Served, Treatment::ByDigestOnly)
    }

    /// The block of whatever has this digest, whoever asks for it and by which name.
    #[must_use]
    pub fn blocked_digest(&self, integrity: &Integrity) -> Option<&Removal> {
        self.blocks().find(|(digest, _)| digest == integrity).map(|(_, block)| block)
    }

    /// The digests that are blocked, for whoever keeps them of all packages.
    pub fn blocks(&self) -> impl Iterator<Item = (Integrity, &Removal)> {
        let blocks = self.list.values().filter(|removal| removal.by == By::Operator);
        blocks.filter_map(|block| Some((Integrity::from_sri(block.integrity.as_ref()?)?, block)))
    }

    /// The removal of the whole package by its operator.
    #[must_use]
    pub fn blocked_whole(&self) -> Option<&Removal> {
        self.of(WHOLE, By::Operator)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Removal> {
        self.list.values()
    }

    /// Notes what upstream's document has lost and what it has got back, of versions and their `dist.integrity`; `None`: upstream has no
    /// such package any more. What does not fit any more is left out: a document itself says what it has. Says whether that has
    /// changed anything.
    pub fn compare(
        &mut self,
        before: &[(String, Option<String>)],
        after: Option<&[(String, Option<String>)]>,
        now: Duration,
    ) -> bool {
        let were = self.clone();
        let when = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let mut remove = |version: &str, integrity: &Option<String>, reason: &str| {
            let integrity = integrity.clone().filter(|sri| Integrity::from_sri(sri).is_some());
            let (version, reason) = (version.to_owned(), reason.to_owned());
            let _ = self.put(Removal { version, by: By::Upstream, reason, when, integrity });
        };
        let Some(after) = after else {
            remove(WHOLE, &None, "upstream has no such package any more");
            return *self != were;
        };
        let there: BTreeSet<_> = after.iter().map(|(version, _)| version).collect();
        for (version, integrity) in before.iter().filter(|(version, _)| !there.contains(version)) {
            remove(version, integrity, "no longer in upstream's document");
        }
        for version in there.into_iter().map(String::as_str).chain([WHOLE]) {
            self.lift(version, By::Upstream);
        }
        *self != were
    }

    fn of(&self, version: &str, by: By) -> Option<&Removal> {
        let of = |version: &str| self.list.get(&(version.to_owned(), by));
        of(version).or_else(|| of(WHOLE))
    }
}

/// Bytes of an entry in the list.
fn size_of(removal: &Removal) -> usize {
    serde_json::to_vec(removal).map_or(0, |entry| entry.len() + BETWEEN)
}

mod blocklist;
#[cfg(test)]
mod tests;
