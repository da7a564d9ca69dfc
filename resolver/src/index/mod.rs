//! The index: which packages there are, as a UnixFS directory tree, so that one hash names one state of all of it and any
//! IPFS client can walk it. Functions over blocks: whoever asks has them, from a database, a CAR file or memory.
//!
//! ```text
//! /lodash/metadata.json        upstream's packument       raw block, sha2-256; above 1 MiB a file in parts of 1 MiB
//! /lodash/install.json         its abbreviated form       the same
//! /lodash/removed.json         what was taken down        the same
//! /lodash/lodash-4.17.21.tgz   a tarball that is held     raw block by npm's own sha512; above 1 MiB in parts by sha2-256
//! /@babel/core/...             a scope is a directory
//! /.federation/peers.json      home's list of peers; and state.json, blocked.json
//! ```
//!
//! The profile is `unixfs-v1-2025` (IPIP-499): CIDv1, raw leaves of 1 MiB, balanced with 1024 links, HAMT with a fanout of
//! 256. Two rules are ours: the root and scopes are always sharded, so that one change rewrites little; and a tarball's
//! single block has the hash that npm has given it. What is empty is not there, so the same content has the same root, in
//! whatever order it came.
//!
//! In reading order: [`address`] (CIDs), then the codecs (protobuf, dag-pb, UnixFS), [`murmur3`] and directories; [`Path`] and
//! [`mod@file`] (documents), [`update()`] (many changes, one root) and its ledger; [`lookup`] (proofs), [`walk`] (all blocks of
//! something), [`mod@diff`] (what two roots differ in, and lists).

use alloc::borrow::Cow;
use alloc::vec::Vec;

pub mod address;
mod dag_pb;
pub mod diff;
mod directory;
mod edit;
pub mod file;
mod ledger;
pub mod lookup;
pub mod murmur3;
mod node;
mod path;
mod protobuf;
#[cfg(test)]
mod tests;
mod unixfs;
mod update;
pub mod walk;

pub use cid::Cid;
pub use diff::{Cursor, Difference, Page, diff, diff_among, entries, list};
pub use directory::{Entry, place_of};
pub use file::FileBuilder;
pub use ledger::Update;
pub use lookup::{BlockSet, Found, Proof, Refused, prove, resolve, verify};
pub use path::{Folder, Path};
pub use update::{Changes, update};
pub use walk::{Met, Reach, Walk, read_file};

/// Where blocks come from. What it gives out hashes to what was asked for: it was checked when it came in
/// ([`address::check`]).
pub trait Blocks {
    /// The bytes of a block, if they are there.
    fn block(&self, cid: &Cid) -> Option<Cow<'_, [u8]>>;
}

/// A block with its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The address.
    pub cid: Cid,
    /// What hashes to it.
    pub bytes: Vec<u8>,
}

/// Why a tree could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// These blocks are needed and not there, at least one: get them, and ask again.
    #[error("{} blocks of the index are missing", .0.len())]
    Missing(Vec<Cid>),
    /// This block does not stand in an index.
    #[error("{0}: {1}")]
    Malformed(Cid, Malformed),
}

/// A link to something in the tree: its address, and how many bytes it and all below it have ("Tsize": of a file with its
/// nodes, of a directory with everything in it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    /// The address.
    pub cid: Cid,
    /// Cumulative, in bytes.
    pub size: u64,
}

/// A block that does not stand in an index: whoever wrote it is no gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer than a block may be.
    #[error("a block is too long")]
    TooLong,
    /// Not protobuf, or not its shortest form.
    #[error("a block is not protobuf in its shortest form")]
    Protobuf,
    /// Not a dag-pb node with named links and data.
    #[error("a block is no node with links and data")]
    Node,
    /// A link's CID has a version, codec or hash that does not stand in an index.
    #[error("a link's CID is of a kind that does not stand in an index")]
    Address,
    /// A name is not UTF-8, or stands where it cannot.
    #[error("a name stands where it cannot")]
    Name,
    /// The UnixFS envelope contradicts itself or the links, or is of a type that does not stand in an index.
    #[error("a node's UnixFS envelope cannot be that of an index")]
    UnixFs,
    /// Deeper than 64 bits of a hash, or than a file of any size, can lead.
    #[error("a directory or a file is too deep")]
    TooDeep,
}

fn load<'a>(blocks: &'a dyn Blocks, cid: &Cid) -> Result<Cow<'a, [u8]>, TreeError> {
    blocks.block(cid).ok_or_else(|| TreeError::Missing(alloc::vec![*cid]))
}
