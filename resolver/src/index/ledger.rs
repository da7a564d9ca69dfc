//! What a change places in the tree and takes out of it, counted by place.
//!
//! The same block can stand in several places (two scopes with the same packages in the same state, a document that two
//! packages share), so a block that leaves one place is not garbage. Each block is counted once for each place in the tree
//! where it stands: whoever adds up what every update says has for each block the number of its places, and may drop it
//! when that is zero. Additions commute, so takings-out may be applied later than the rest, to keep an old root whole for a while.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use cid::Cid;

use super::directory::{Region, Shard};
use super::{Block, Blocks, Link, TreeError, address};

/// Blocks below, and what is changed above them.
pub(super) struct Ledger<'a> {
    base: &'a dyn Blocks,
    nodes: BTreeMap<Cid, Count>,
    files: BTreeMap<Cid, i64>,
    pub(super) refused: Vec<String>,
}

#[derive(Default)]
struct Count {
    /// Of a block that was placed.
    bytes: Option<Vec<u8>>,
    /// Places gained, less those lost.
    places: i64,
}

/// What has changed, and what is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The new root, and the bytes of all that it leads to ("cumulativesize").
    pub root: Link,
    /// Nodes to write, and in how many more places each of them stands now.
    pub placed: Vec<(Block, u64)>,
    /// Nodes that stand in so many places fewer. One that stands nowhere any more may be deleted: see the module's words on
    /// counting.
    pub displaced: Vec<(Cid, u64)>,
    /// Documents and tarballs, by the address of their entry: in how many places more they stand, or fewer.
    pub files: BTreeMap<Cid, i64>,
    /// Paths that cannot stand in the tree, for another name there has all 64 bits of its hash in common with them. It takes
    /// somebody who looks for such a name; other implementations end there as well.
    pub refused: Vec<String>,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(base: &'a dyn Blocks) -> Self {
        Self { base, nodes: BTreeMap::new(), files: BTreeMap::new(), refused: Vec::new() }
    }

    /// Places a node.
    pub(super) fn place(&mut self, (bytes, size): (Vec<u8>, u64)) -> Link {
        let cid = address::of_node(&bytes);
        let count = self.nodes.entry(cid).or_default();
        count.places += 1;
        count.bytes = Some(bytes);
        Link { cid, size }
    }

    /// Takes a node out of one of its places.
    pub(super) fn displace(&mut self, cid: Cid) {
        self.nodes.entry(cid).or_default().places -= 1;
    }

    /// A document comes to a place, or another one leaves it.
    pub(super) fn exchange(&mut self, old: Option<Link>, new: Option<Link>) {
        for (link, places) in [(old, -1), (new, 1)] {
            if let Some(link) = link {
                *self.files.entry(link.cid).or_default() += places;
            }
        }
    }

    /// Takes a shard out of its place, to change it.
    pub(super) fn open(&mut self, cid: Cid, region: Region) -> Result<Shard, TreeError> {
        let shard = Shard::load(self, &cid, region)?;
        self.displace(cid);
        Ok(shard)
    }

    pub(super) fn close(self, root: Link) -> Update {
        let mut update = Update {
            root,
            placed: Vec::new(),
            displaced: Vec::new(),
            files: self.files.into_iter().filter(|(_, places)| *places != 0).collect(),
            refused: self.refused,
        };
        for (cid, count) in self.nodes {
            let places = count.places.unsigned_abs();
            match count.bytes {
                Some(bytes) if count.places > 0 => update.placed.push((Block { cid, bytes }, places)),
                _ if count.places < 0 => update.displaced.push((cid, places)),
                _ => {}
            }
        }
        update
    }
}

impl Blocks for Ledger<'_> {
    fn block(&self, cid: &Cid) -> Option<Cow<'_, [u8]>> {
        match self.nodes.get(cid) {
            Some(Count { bytes: Some(bytes), .. }) => Some(Cow::Borrowed(bytes)),
            _ => self.base.block(cid),
        }
    }
}
