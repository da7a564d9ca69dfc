//! The head: signed with this gateway's key, and read again after a start.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use resolver::head::{Checked, Head, Root, Signed, publish};

use super::Published;
use super::tables::Tree;
use crate::identity::{Identity, is_signed_by};

/// A head with its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) head: Head,
    pub(super) bytes: Vec<u8>,
}

impl Record {
    /// Signs the next head, after one with the sequence `last`.
    pub(super) fn sign(identity: &Identity, root: Root, last: Option<u64>, now: Duration) -> Self {
        let head = publish::next(identity.id(), root, last, now);
        let bytes = head.record(&identity.sign(&head.message()));
        Self { head, bytes }
    }

    /// The record that was signed before, if this gateway has signed it.
    pub(super) fn read(identity: &Identity, bytes: &[u8]) -> Option<Self> {
        let verify = |_: &[u8; 32], message: &[u8], signature: &[u8; 64]| {
            is_signed_by(identity.id(), message, signature)
        };
        let checked: Checked = Signed::read(bytes, identity.id()).ok()?.check(verify).ok()?;
        Some(Self { head: *checked.head(), bytes: bytes.to_vec() })
    }

    pub(super) fn published(&self, tree: &Tree) -> Published {
        Published {
            root: self.head.root,
            sequence: self.head.sequence,
            until: self.head.until,
            record: self.bytes.clone(),
            packages: tree.packages,
            blocks: tree.blocks,
            cumulative_size: tree.root.size,
        }
    }
}

/// Since 1970.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
