//! All blocks of something in the tree, in the order in which a CAR file has them: depth first, a node before what it leads to.

use alloc::vec::Vec;

use cid::Cid;

use super::address::{LONGEST_BLOCK, RAW};
use super::directory::{Region, Shard, Slot};
use super::node::Node;
use super::{Blocks, Malformed, TreeError, load};

/// Nodes above each other, at most: a document of three directories, each eight shards deep, in a file of five levels, comes to
/// 29.
const DEEPEST: u32 = 32;

/// How far to go, as `dag-scope` of the trustless gateway says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The block alone.
    Block,
    /// A whole file; a directory with all of its shards, but not what is in it.
    Entity,
    /// Everything below. Of the root that is the whole index: whoever takes it has to have a limit.
    All,
}

/// A block that is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// A node: among the blocks.
    Node(Cid),
    /// A raw block: a document, or a part of one. It need not be among the blocks.
    Leaf {
        /// Its address.
        cid: Cid,
        /// Where it begins in its file, in bytes.
        offset: u64,
        /// In bytes, as the node above it says; `None` for a file that has none.
        length: Option<u64>,
    },
}

/// A walk; each step reads one node at most. What waits is at most 32 times the links of a node.
#[derive(Debug, Clone)]
pub struct Walk {
    reach: Reach,
    waiting: Vec<Waiting>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    cid: Cid,
    depth: u32,
    place: Place,
}

/// What a node can be where it stands.
#[derive(Debug, Clone, Copy)]
enum Place {
    Anything,
    Shard(Region),
    /// Of a file: from this offset on, so many bytes.
    Part(u64, u64),
}

impl Walk {
    /// From `cid` on.
    #[must_use]
    pub fn new(cid: Cid, reach: Reach) -> Self {
        Self { reach, waiting: alloc::vec![Waiting { cid, depth: 0, place: Place::Anything }] }
    }

    /// The next block; `None` when all have been met.
    ///
    /// # Errors
    /// [`TreeError`]. After [`TreeError::Missing`] the same step can be taken again.
    pub fn next(&mut self, blocks: &dyn Blocks) -> Result<Option<Met>, TreeError> {
        let Some(here) = self.waiting.last().copied() else { return Ok(None) };
        if here.cid.codec() == RAW {
            self.waiting.pop();
            return met_leaf(here).map(Some);
        }
        if here.depth >= DEEPEST {
            return Err(TreeError::Malformed(here.cid, Malformed::TooDeep));
        }
        let below = if self.reach == Reach::Block { Vec::new() } else { self.below(blocks, here)? };
        self.waiting.pop();
        self.waiting.extend(below.into_iter().rev());
        Ok(Some(Met::Node(here.cid)))
    }

    fn below(&self, blocks: &dyn Blocks, here: Waiting) -> Result<Vec<Waiting>, TreeError> {
        if let Place::Shard(region) = here.place {
            return Ok(self.in_shard(here.depth, &Shard::load(blocks, &here.cid, region)?, region));
        }
        let node = Node::load(blocks, &here.cid)?;
        let depth = here.depth + 1;
        match (node, here.place) {
            (Node::File(parts), place) => {
                let (mut offset, length) = match place {
                    Place::Part(offset, length) => (offset, Some(length)),
                    _ => (0, None),
                };
                let sum: u64 = parts.iter().map(|part| part.length).sum();
                if length.is_some_and(|length| length != sum) {
                    return Err(TreeError::Malformed(here.cid, Malformed::UnixFs));
                }
                let waiting = parts.into_iter().map(|part| {
                    let place = Place::Part(offset, part.length);
                    offset = offset.saturating_add(part.length);
                    Waiting { cid: part.link.cid, depth, place }
                });
                Ok(waiting.collect())
            }
            (_, Place::Part(..)) => Err(TreeError::Malformed(here.cid, Malformed::UnixFs)),
            (Node::Sharded(shard), _) => Ok(self.in_shard(here.depth, &shard, Region::WHOLE)),
            (Node::Basic(entries), _) if self.reach == Reach::All => {
                let place = Place::Anything;
                Ok(entries.into_iter().map(|entry| Waiting { cid: entry.link.cid, depth, place }).collect())
            }
            (Node::Basic(_), _) => Ok(Vec::new()),
        }
    }

    fn in_shard(&self, depth: u32, shard: &Shard, region: Region) -> Vec<Waiting> {
        let depth = depth + 1;
        let waiting = shard.iter().filter_map(|(place, slot)| match slot {
            Slot::Shard(link) => {
                Some(Waiting { cid: link.cid, depth, place: Place::Shard(region.at(place)) })
            }
            Slot::Entry(entry) if self.reach == Reach::All => {
                Some(Waiting { cid: entry.link.cid, depth, place: Place::Anything })
            }
            Slot::Entry(_) => None,
        });
        waiting.collect()
    }
}

fn met_leaf(here: Waiting) -> Result<Met, TreeError> {
    let (offset, length) = match here.place {
        Place::Part(offset, length) => (offset, Some(length)),
        _ => (0, None),
    };
    if length.is_some_and(|length| length > LONGEST_BLOCK as u64) {
        return Err(TreeError::Malformed(here.cid, Malformed::TooLong));
    }
    Ok(Met::Leaf { cid: here.cid, offset, length })
}

/// A whole file of at most `most` bytes, put together from blocks that are all there.
///
/// # Errors
/// [`TreeError`]; [`Malformed::TooLong`] when it has more bytes, [`Malformed::UnixFs`] when its parts have not the lengths that
/// its nodes say, or it is no file.
pub fn read_file(blocks: &dyn Blocks, cid: &Cid, most: usize) -> Result<Vec<u8>, TreeError> {
    if cid.codec() != RAW && !matches!(Node::load(blocks, cid)?, Node::File(_)) {
        return Err(TreeError::Malformed(*cid, Malformed::UnixFs));
    }
    let mut walk = Walk::new(*cid, Reach::Entity);
    let mut file = Vec::new();
    while let Some(met) = walk.next(blocks)? {
        let Met::Leaf { cid, length, .. } = met else { continue };
        let bytes = load(blocks, &cid)?;
        if length.is_some_and(|length| length != bytes.len() as u64) {
            return Err(TreeError::Malformed(cid, Malformed::UnixFs));
        }
        if bytes.len() > most.saturating_sub(file.len()) {
            return Err(TreeError::Malformed(cid, Malformed::TooLong));
        }
        file.extend_from_slice(&bytes);
    }
    Ok(file)
}
