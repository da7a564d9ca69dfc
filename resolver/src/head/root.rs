//! A root: the CID of a directory tree that is not empty.

use core::fmt;
use core::str::FromStr;

use cid::{Cid, Version};
use sha2::{Digest as _, Sha256};

use crate::cid_text;

/// The codec of UnixFS directories, and the hash function of all nodes of a tree
/// ([multicodec](https://github.com/multiformats/multicodec)).
const DAG_PB: u64 = 0x70;
const SHA2_256: u64 = 0x12;
/// Directories with nothing in them: a node without anything; a basic directory; a sharded one (fanout 256), with an empty bit
/// field and without one. All are UnixFS in dag-pb.
const EMPTY: [&[u8]; 4] = [
    b"",
    b"\x0a\x02\x08\x01",
    b"\x0a\x09\x08\x05\x12\x00\x28\x22\x30\x80\x02",
    b"\x0a\x07\x08\x05\x28\x22\x30\x80\x02",
];

/// A root. It cannot be an empty directory: whoever followed that would have lost all packages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Root(Cid);

/// Why a CID is no root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotARoot {
    /// Not a CID.
    #[error("it is not a CID")]
    Unreadable,
    /// Not a directory as this program makes them: CIDv1, dag-pb, SHA-256.
    #[error("it is not the CID of a directory (CIDv1, dag-pb, SHA-256)")]
    Kind,
    /// An empty directory.
    #[error("it is empty")]
    Empty,
}

impl Root {
    /// The root with this CID.
    ///
    /// # Errors
    /// [`NotARoot`].
    pub fn new(cid: Cid) -> Result<Self, NotARoot> {
        let hash = cid.hash();
        if cid.version() != Version::V1
            || cid.codec() != DAG_PB
            || (hash.code(), hash.size()) != (SHA2_256, 32)
        {
            return Err(NotARoot::Kind);
        }
        if EMPTY.iter().any(|block| Sha256::digest(block)[..] == *hash.digest()) {
            return Err(NotARoot::Empty);
        }
        Ok(Self(cid))
    }

    /// Its CID.
    #[must_use]
    pub fn cid(&self) -> &Cid {
        &self.0
    }
}

impl FromStr for Root {
    type Err = NotARoot;

    /// Reads a CID in any of its spellings.
    fn from_str(text: &str) -> Result<Self, NotARoot> {
        cid_text::parse(text).ok_or(NotARoot::Unreadable).and_then(Self::new)
    }
}

impl fmt::Display for Root {
    /// In base32, lower case: `bafybei...`, 59 characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
