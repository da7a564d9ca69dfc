//! A node of any kind, read once.

use alloc::vec::Vec;

use cid::Cid;

use super::address::{DAG_PB, RAW};
use super::dag_pb::{PbLink, PbNode};
use super::directory::{Entry, Region, Shard, read_basic};
use super::unixfs::UnixFs;
use super::{Blocks, Link, Malformed, TreeError, load};

/// What a dag-pb block is. A shard is the uppermost of its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Basic(Vec<Entry>),
    Sharded(Shard),
    File(Vec<FilePart>),
}

/// A part of a file: what it is below, and how many bytes of the file that are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FilePart {
    pub(super) link: Link,
    pub(super) length: u64,
}

impl Node {
    pub(super) fn read(block: &[u8]) -> Result<Self, Malformed> {
        let node = PbNode::read(block)?;
        match UnixFs::read(node.data)? {
            UnixFs::Directory => read_basic(&node).map(Self::Basic),
            UnixFs::Shard(places) => Shard::of_node(&node, places, Region::WHOLE).map(Self::Sharded),
            UnixFs::File(lengths) => read_file(&node.links, &lengths).map(Self::File),
        }
    }

    pub(super) fn load(blocks: &dyn Blocks, cid: &Cid) -> Result<Self, TreeError> {
        Self::read(&load(blocks, cid)?).map_err(|why| TreeError::Malformed(*cid, why))
    }
}

fn read_file(links: &[PbLink<'_>], lengths: &[u64]) -> Result<Vec<FilePart>, Malformed> {
    if links.len() != lengths.len() {
        return Err(Malformed::UnixFs);
    }
    let part = |(link, length): (&PbLink<'_>, &u64)| {
        let known = matches!(link.link.cid.codec(), RAW | DAG_PB) && link.name.is_empty();
        known.then_some(FilePart { link: link.link, length: *length }).ok_or(Malformed::Name)
    };
    links.iter().zip(lengths).map(part).collect()
}
