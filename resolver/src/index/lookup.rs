//! Looking a path up, and proving what was found, or that nothing is there.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use cid::Cid;

use super::address::{self, RAW, Unproven};
use super::directory::{Entry, Region, Shard, Slot, place_of};
use super::node::Node;
use super::{Block, Blocks, Link, TreeError, load};

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What stands at its end; `None`: nothing, which the nodes prove.
    pub target: Option<Cid>,
    /// The nodes that were read to find that out, from the root on. The target is not among them.
    pub nodes: Vec<Cid>,
}

/// The blocks that prove where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// What stands at its end; `None`: nothing.
    pub target: Option<Cid>,
    /// From the root on. The target is not among them.
    pub nodes: Vec<Block>,
}

/// A proof that proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A block is not what it is said to be.
    #[error(transparent)]
    Unproven(#[from] Unproven),
    /// The blocks do not lead from the root to the end of the path.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Follows the names of `path` from `root` on. Each of them costs eight blocks at most.
///
/// # Errors
/// [`TreeError`]: with the block that is missing, when the answer depends on it.
pub fn resolve<'p>(
    blocks: &dyn Blocks,
    root: &Cid,
    path: impl IntoIterator<Item = &'p str>,
) -> Result<Found, TreeError> {
    let mut found = Found { target: Some(*root), nodes: Vec::new() };
    for name in path {
        let Some(cid) = found.target else { break };
        found.target = step(blocks, cid, name, &mut found.nodes)?.map(|link| link.cid);
    }
    Ok(found)
}

/// What `name` is in the directory `cid`; the nodes that say so are added to `nodes`.
fn step(blocks: &dyn Blocks, cid: Cid, name: &str, nodes: &mut Vec<Cid>) -> Result<Option<Link>, TreeError> {
    // Nothing is below a file.
    if cid.codec() == RAW {
        return Ok(None);
    }
    nodes.push(cid);
    match Node::load(blocks, &cid)? {
        Node::File(_) => Ok(None),
        Node::Basic(entries) => Ok(in_basic(&entries, name)),
        Node::Sharded(shard) => in_shards(blocks, shard, name, nodes),
    }
}

fn in_basic(entries: &[Entry], name: &str) -> Option<Link> {
    let at = entries.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok()?;
    entries.get(at).map(|entry| entry.link)
}

fn in_shards(
    blocks: &dyn Blocks,
    mut shard: Shard,
    name: &str,
    nodes: &mut Vec<Cid>,
) -> Result<Option<Link>, TreeError> {
    let (hash, mut region) = (place_of(name), Region::WHOLE);
    loop {
        let place = region.place_of(hash);
        match shard.get(place) {
            Some(Slot::Entry(entry)) => return Ok((entry.name == name).then_some(entry.link)),
            None => return Ok(None),
            Some(Slot::Shard(link)) => {
                let cid = link.cid;
                nodes.push(cid);
                region = region.at(place);
                shard = Shard::load(blocks, &cid, region)?;
            }
        }
    }
}

/// Follows the names of `path` from `root` on, and brings along the blocks that prove where they lead.
///
/// # Errors
/// [`TreeError`], as [`resolve`].
pub fn prove<'p>(
    blocks: &dyn Blocks,
    root: &Cid,
    path: impl IntoIterator<Item = &'p str>,
) -> Result<Proof, TreeError> {
    let found = resolve(blocks, root, path)?;
    let block = |cid: &Cid| Ok(Block { cid: *cid, bytes: load(blocks, cid)?.into_owned() });
    Ok(Proof {
        target: found.target,
        nodes: found.nodes.iter().map(block).collect::<Result<_, TreeError>>()?,
    })
}

/// Where `path` leads from `root` on, by blocks that anybody may have sent: those of a [`Proof`], in any order, with others
/// among them. All together they may have `most` bytes.
///
/// # Errors
/// [`Refused`], when one of them does not hash to what it is said to be, or one that matters is not among them.
pub fn verify<'p, B: Into<Vec<u8>>>(
    root: &Cid,
    path: impl IntoIterator<Item = &'p str>,
    blocks: impl IntoIterator<Item = (Cid, B)>,
    most: usize,
) -> Result<(Found, BlockSet), Refused> {
    let mut set = BlockSet::within(most);
    for (cid, bytes) in blocks {
        set.insert(cid, bytes.into())?;
    }
    Ok((resolve(&set, root, path)?, set))
}

/// Blocks in memory, each of which was hashed when it came in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockSet {
    blocks: BTreeMap<Cid, Vec<u8>>,
    /// Bytes that may still come.
    room: usize,
}

impl BlockSet {
    /// Room for `most` bytes; an address counts for a hundred, so empty blocks are bounded too.
    #[must_use]
    pub fn within(most: usize) -> Self {
        Self { blocks: BTreeMap::new(), room: most }
    }

    /// Takes a block.
    ///
    /// # Errors
    /// [`Unproven`], when it is not what it is said to be, or there is no room for it.
    pub fn insert(&mut self, cid: Cid, bytes: Vec<u8>) -> Result<(), Unproven> {
        if let Some(held) = self.blocks.get(&cid) {
            return if *held == bytes { Ok(()) } else { Err(Unproven::Hash(cid)) };
        }
        let room = self.room.checked_sub(bytes.len().saturating_add(100)).ok_or(Unproven::TooLong(cid))?;
        address::check(&cid, &bytes)?;
        self.blocks.insert(cid, bytes);
        self.room = room;
        Ok(())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Cid, &[u8])> {
        self.blocks.iter().map(|(cid, bytes)| (cid, bytes.as_slice()))
    }
}

impl Blocks for BlockSet {
    fn block(&self, cid: &Cid) -> Option<Cow<'_, [u8]>> {
        self.blocks.get(cid).map(|bytes| Cow::Borrowed(bytes.as_slice()))
    }
}
