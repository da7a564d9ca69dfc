//! Directories: a basic one is a node with a link for each entry; a sharded one is a trie of nodes by the hash of the names.
//!
//! ```text
//! basic   links named as the entries are, ascending
//! shard   links named by their place (two capital hexadecimal digits), ascending; behind them the entry's name, or nothing
//!         where another shard follows. A shard of level n is arranged by octet n of the hash; there are eight.
//! ```
//!
//! Source: <https://specs.ipfs.tech/unixfs/>, "HAMTDirectory". A shard below another one stands only where two names or more
//! share what leads there; so the same entries are the same shards, in whatever order they came.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map;
use alloc::string::String;
use alloc::vec::Vec;

use cid::Cid;

use super::address::DAG_PB;
use super::dag_pb::{PbLink, PbNode};
use super::murmur3::murmur3_x64_64;
use super::unixfs::{Places, UnixFs};
use super::{Blocks, Link, Malformed, TreeError, load};

/// The longest node of a basic directory, in bytes; what would be longer is sharded (`unixfs-v1-2025`).
pub(super) const LONGEST_BASIC: u64 = 256 * 1024;

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is.
    pub link: Link,
}

/// What stands at a place of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    Entry(Entry),
    Shard(Link),
}

/// One node of a sharded directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Shard(BTreeMap<u8, Slot>);

/// The hashes that begin with the same octets: what a shard, or a place in it, is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Region {
    /// The octets that are the same, then zeros.
    first: u64,
    /// How many are the same, at most eight.
    pub(super) level: u32,
}

impl Region {
    pub(super) const WHOLE: Self = Self { first: 0, level: 0 };

    /// The lowest hash in it.
    pub(super) fn first(self) -> u64 {
        self.first
    }

    /// The highest hash in it.
    pub(super) fn last(self) -> u64 {
        self.first | u64::MAX.checked_shr(8 * self.level).unwrap_or(0)
    }

    pub(super) fn contains(self, hash: u64) -> bool {
        self.first <= hash && hash <= self.last()
    }

    /// The place of a hash in a shard for this region; of a region of one hash, any.
    pub(super) fn place_of(self, hash: u64) -> u8 {
        usize::try_from(self.level).ok().and_then(|nth| hash.to_be_bytes().get(nth).copied()).unwrap_or(0)
    }

    /// The part of it that a place is for.
    pub(super) fn at(self, place: u8) -> Self {
        let level = self.level + 1;
        let shift = 64u32.saturating_sub(8 * level);
        Self { first: self.first | u64::from(place) << shift, level: level.min(8) }
    }
}

impl Shard {
    /// Reads a shard for `region`. Every entry must stand where its hash leads.
    pub(super) fn read(block: &[u8], region: Region) -> Result<Self, Malformed> {
        let node = PbNode::read(block)?;
        match UnixFs::read(node.data)? {
            UnixFs::Shard(places) => Self::of_node(&node, places, region),
            _ => Err(Malformed::UnixFs),
        }
    }

    pub(super) fn of_node(node: &PbNode<'_>, places: Places, region: Region) -> Result<Self, Malformed> {
        // A shard below another one leads to an entry at least, so that reading on always brings something.
        let idle = node.links.is_empty() && region.level > 0;
        if places.count() != node.links.len() || idle {
            return Err(Malformed::UnixFs);
        }
        let slots = places.iter().zip(&node.links);
        slots.map(|(place, link)| Ok((place, read_slot(place, link, region.at(place))?))).collect()
    }

    pub(super) fn load(blocks: &dyn Blocks, cid: &Cid, region: Region) -> Result<Self, TreeError> {
        Self::read(&load(blocks, cid)?, region).map_err(|why| TreeError::Malformed(*cid, why))
    }

    /// Its block, and the bytes of all that it leads to.
    pub(super) fn to_block(&self) -> (Vec<u8>, u64) {
        let mut places = Places::default();
        self.0.keys().for_each(|place| places.take(*place));
        let named = |(place, slot): (&u8, &Slot)| match slot {
            Slot::Entry(entry) => (labelled(*place, &entry.name), entry.link),
            Slot::Shard(link) => (labelled(*place, ""), *link),
        };
        let named: Vec<_> = self.0.iter().map(named).collect();
        write_node(named.iter().map(|(name, link)| (name.as_str(), *link)), &UnixFs::Shard(places))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, place: u8) -> Option<&Slot> {
        self.0.get(&place)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u8, &Slot)> {
        self.0.iter().map(|(place, slot)| (*place, slot))
    }

    pub(super) fn take(&mut self, place: u8) -> Option<Slot> {
        self.0.remove(&place)
    }

    pub(super) fn put(&mut self, place: u8, slot: Slot) {
        self.0.insert(place, slot);
    }

    /// The only thing in it, if that is an entry: then it needs no shard.
    pub(super) fn only_entry(&self) -> Option<&Entry> {
        match self.0.first_key_value() {
            Some((_, Slot::Entry(entry))) if self.0.len() == 1 => Some(entry),
            _ => None,
        }
    }
}

impl FromIterator<(u8, Slot)> for Shard {
    fn from_iter<T: IntoIterator<Item = (u8, Slot)>>(slots: T) -> Self {
        Self(slots.into_iter().collect())
    }
}

fn read_slot(place: u8, link: &PbLink<'_>, region: Region) -> Result<Slot, Malformed> {
    let (digits, name) = link.name.split_at_checked(2).ok_or(Malformed::Name)?;
    if digits.as_bytes() != label(place) {
        return Err(Malformed::Name);
    }
    if name.is_empty() {
        let deeper = region.level < 8 && link.link.cid.codec() == DAG_PB;
        return if deeper { Ok(Slot::Shard(link.link)) } else { Err(Malformed::TooDeep) };
    }
    if !region.contains(place_of(name)) {
        return Err(Malformed::Name);
    }
    Ok(Slot::Entry(Entry { name: name.to_owned(), link: link.link }))
}

fn label(place: u8) -> [u8; 2] {
    [place >> 4, place & 15].map(|digit| if digit < 10 { b'0' + digit } else { b'A' + digit - 10 })
}

fn labelled(place: u8, name: &str) -> String {
    let mut text = String::with_capacity(2 + name.len());
    text.extend(label(place).map(char::from));
    text + name
}

pub(super) fn read_basic(node: &PbNode<'_>) -> Result<Vec<Entry>, Malformed> {
    let names = node.links.iter().map(|link| link.name);
    if names.clone().zip(names.skip(1)).any(|(one, next)| one >= next)
        || node.links.first().is_some_and(|link| link.name.is_empty())
    {
        return Err(Malformed::Name);
    }
    Ok(node.links.iter().map(|link| Entry { name: link.name.to_owned(), link: link.link }).collect())
}

/// The block of a basic directory, and the bytes of all that it leads to.
pub(super) fn basic_block<'a>(entries: impl Iterator<Item = (&'a str, Link)>) -> (Vec<u8>, u64) {
    write_node(entries, &UnixFs::Directory)
}

/// How many bytes a basic directory's block has without entries.
pub(super) const BASIC_EMPTY: u64 = 4;

/// How many bytes an entry adds to a basic directory's block.
pub(super) fn basic_length(name: &str, link: Link) -> u64 {
    PbLink { name, link }.length()
}

fn write_node<'a>(links: impl Iterator<Item = (&'a str, Link)>, envelope: &UnixFs) -> (Vec<u8>, u64) {
    let links: Vec<_> = links.map(|(name, link)| PbLink { name, link }).collect();
    let below = links.iter().fold(0u64, |sum, link| sum.saturating_add(link.link.size));
    let block = PbNode { links, data: &envelope.to_bytes() }.to_bytes();
    let size = below.saturating_add(block.len() as u64);
    (block, size)
}

/// Where a name stands in a sharded directory: its hash.
#[must_use]
pub fn place_of(name: &str) -> u64 {
    murmur3_x64_64(name.as_bytes())
}

/// The entries of a sharded directory in the order of their hashes, read as they are taken.
#[derive(Debug)]
pub(super) struct Entries {
    /// Shards that are being read, the uppermost first: at most eight.
    open: Vec<(Region, btree_map::IntoIter<u8, Slot>)>,
    /// Hashes below this are left out, with the shards that hold nothing else.
    from: u64,
}

impl Entries {
    pub(super) fn new(shard: Shard, from: u64) -> Self {
        Self { open: alloc::vec![(Region::WHOLE, shard.0.into_iter())], from }
    }

    /// The next entry, with its hash; `seen` is told of each shard that is read on the way.
    pub(super) fn next(
        &mut self,
        blocks: &dyn Blocks,
        mut seen: impl FnMut(Cid),
    ) -> Result<Option<(u64, Entry)>, TreeError> {
        while let Some((region, slots)) = self.open.last_mut() {
            let Some((place, slot)) = slots.next() else {
                self.open.pop();
                continue;
            };
            let below = region.at(place);
            match slot {
                Slot::Shard(link) if below.last() >= self.from => {
                    let shard = Shard::load(blocks, &link.cid, below)?;
                    seen(link.cid);
                    self.open.push((below, shard.0.into_iter()));
                }
                Slot::Shard(_) => {}
                Slot::Entry(entry) => {
                    let hash = place_of(&entry.name);
                    if hash >= self.from {
                        return Ok(Some((hash, entry)));
                    }
                }
            }
        }
        Ok(None)
    }
}
