//! What differs between two roots, and what is in one: found by reading only what is not the same, a page at a time.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use cid::Cid;

use super::directory::{Entries, Entry, Region, Shard, Slot, place_of};
use super::node::Node;
use super::path::Folder;
use super::{Blocks, Link, TreeError};

/// Blocks that are read for a page, beside four for each of its differences: more than lead to any place in the tree
/// (two roots, each with two directories of eight levels), so each page gets further.
const LEAST_BLOCKS: usize = 64;

/// A package that was added, removed or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which.
    pub folder: Folder,
    /// Its directory below the old root; `None`: it was added.
    pub old: Option<Link>,
    /// Its directory below the new root; `None`: it was removed.
    pub new: Option<Link>,
}

/// Where a page ends and the next one begins: the hash of a name at the top, and of one in its scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor {
    top: u64,
    scoped: u64,
}

/// A page of differences, in the order of the hashes of their names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// At most as many as were asked for; fewer, even none, when much had to be read for them.
    pub differences: Vec<Difference>,
    /// Where to go on; `None`: these were the last.
    pub next: Option<Cursor>,
}

/// Which packages differ below two roots, from `from` on; without an old root, all that are there. Names that no package can
/// have are passed over: nobody can ask for them.
///
/// # Errors
/// [`TreeError::Missing`] with all blocks that stand in the way of this page, as far as can be seen: once they are there, the
/// same question gets further.
pub fn diff(
    blocks: &dyn Blocks,
    old: Option<&Cid>,
    new: &Cid,
    from: Cursor,
    most: usize,
) -> Result<Page, TreeError> {
    diff_among(blocks, old, new, from, most, &|_| true)
}

/// As [`diff`], of those packages alone whose first name (that of the package, or of its scope) has a hash ([`place_of`]) that
/// `wanted` knows of a range with it: what leads to others only is not read. So whoever holds few packages reads little, however
/// many have changed.
///
/// # Errors
/// [`TreeError`], as [`diff`].
pub fn diff_among(
    blocks: &dyn Blocks,
    old: Option<&Cid>,
    new: &Cid,
    from: Cursor,
    most: usize,
    wanted: &dyn Fn(RangeInclusive<u64>) -> bool,
) -> Result<Page, TreeError> {
    let most = most.max(1);
    let mut walk = Differ {
        blocks,
        wanted,
        from,
        most,
        budget: most.saturating_mul(4).saturating_add(LEAST_BLOCKS),
        page: Page::default(),
        missing: Vec::new(),
    };
    if old != Some(new) {
        let sides = Sides { old: old.copied(), new: Some(*new) };
        match walk.nodes(&sides, Region::WHOLE, None) {
            Ok(()) | Err(Stop::Full) => {}
            Err(Stop::Tree(error)) => return Err(error),
        }
    }
    if walk.missing.is_empty() { Ok(walk.page) } else { Err(TreeError::Missing(walk.missing)) }
}

/// What is in the index below `root`: the same pages.
///
/// # Errors
/// [`TreeError`], as [`diff`].
pub fn list(blocks: &dyn Blocks, root: &Cid, from: Cursor, most: usize) -> Result<Page, TreeError> {
    diff(blocks, None, root, from, most)
}

/// The entries of a package's directory, at most `most` of them (or as many more as have the same hash as the last), in the
/// order of the hashes of their names, from `from` on; and where to go on.
///
/// # Errors
/// [`TreeError`]; [`super::Malformed::UnixFs`] when it is no directory.
pub fn entries(
    blocks: &dyn Blocks,
    directory: &Cid,
    from: u64,
    most: usize,
) -> Result<(Vec<Entry>, Option<u64>), TreeError> {
    let mut next = match Node::load(blocks, directory)? {
        Node::File(_) => return Err(TreeError::Malformed(*directory, super::Malformed::UnixFs)),
        Node::Basic(entries) => return Ok(basic_page(entries, from, most)),
        Node::Sharded(shard) => Entries::new(shard, from),
    };
    let mut page = Vec::new();
    while let Some((hash, entry)) = next.next(blocks, drop)? {
        if page.len() >= most {
            return Ok((page, Some(hash)));
        }
        page.push(entry);
    }
    Ok((page, None))
}

fn basic_page(entries: Vec<Entry>, from: u64, most: usize) -> (Vec<Entry>, Option<u64>) {
    let hashed = entries.into_iter().map(|entry| (place_of(&entry.name), entry));
    let mut hashed: Vec<_> = hashed.filter(|(hash, _)| *hash >= from).collect();
    hashed.sort_by_key(|(hash, _)| *hash);
    let mut page = Vec::new();
    let mut last = None;
    for (hash, entry) in hashed {
        if page.len() >= most && last != Some(hash) {
            return (page, Some(hash));
        }
        last = Some(hash);
        page.push(entry);
    }
    (page, None)
}

/// The same thing below the old root and below the new one.
struct Sides<T> {
    old: T,
    new: T,
}

struct Differ<'a> {
    blocks: &'a dyn Blocks,
    /// Whether anybody wants to know of hashes at the top in a range.
    wanted: &'a dyn Fn(RangeInclusive<u64>) -> bool,
    from: Cursor,
    most: usize,
    /// Blocks that may still be read.
    budget: usize,
    page: Page,
    missing: Vec<Cid>,
}

/// Why the walk ends early.
enum Stop {
    /// Nothing more goes on this page.
    Full,
    Tree(TreeError),
}

impl From<TreeError> for Stop {
    fn from(error: TreeError) -> Self {
        Self::Tree(error)
    }
}

/// It goes down sixteen levels at most: eight to a scope, and eight in it.
impl Differ<'_> {
    /// Compares two nodes for one region; within a scope, whose name comes along. Where one of them is missing nothing is
    /// compared: taken for empty it would make everything in the other look different.
    fn nodes(&mut self, cids: &Sides<Option<Cid>>, region: Region, scope: Option<&str>) -> Result<(), Stop> {
        let old = self.load(cids.old.as_ref(), region)?;
        let new = self.load(cids.new.as_ref(), region)?;
        match (old, new) {
            (Some(old), Some(new)) => self.shards(Sides { old, new }, region, scope),
            _ => Ok(()),
        }
    }

    /// A shard; an empty one for none; `None` and a note for one that is missing.
    fn load(&mut self, cid: Option<&Cid>, region: Region) -> Result<Option<Shard>, TreeError> {
        let Some(cid) = cid else { return Ok(Some(Shard::default())) };
        self.budget = self.budget.saturating_sub(1);
        match Shard::load(self.blocks, cid, region) {
            Err(TreeError::Missing(missing)) => {
                self.missing.extend(missing);
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    fn shards(&mut self, sides: Sides<Shard>, region: Region, scope: Option<&str>) -> Result<(), Stop> {
        let Sides { mut old, mut new } = sides;
        for place in 0..=u8::MAX {
            let (old, new) = (old.take(place), new.take(place));
            let below = region.at(place);
            let is_wanted = || scope.is_some() || (self.wanted)(below.first()..=below.last());
            if old != new && below.last() >= self.lower(scope) && is_wanted() {
                self.slots(Sides { old, new }, below, scope)?;
            }
        }
        Ok(())
    }

    /// The lowest hash that still counts, at the top or in a scope.
    fn lower(&self, scope: Option<&str>) -> u64 {
        match scope {
            None => self.from.top,
            Some(scope) if place_of(scope) == self.from.top => self.from.scoped,
            Some(_) => 0,
        }
    }

    fn slots(&mut self, sides: Sides<Option<Slot>>, region: Region, scope: Option<&str>) -> Result<(), Stop> {
        let (old, new) = match (sides.old, sides.new) {
            (Some(Slot::Entry(old)), Some(Slot::Entry(new))) => (Some(old), Some(new)),
            (Some(Slot::Entry(old)), None) => (Some(old), None),
            (None, Some(Slot::Entry(new))) => (None, Some(new)),
            (old, new) => {
                self.go_on(region.first(), scope)?;
                let (old, new) = (self.expand(old, region)?, self.expand(new, region)?);
                return match (old, new) {
                    (Some(old), Some(new)) => self.shards(Sides { old, new }, region, scope),
                    _ => Ok(()),
                };
            }
        };
        self.residents(old.as_ref(), new.as_ref(), scope)
    }

    /// What stands at a place, as the shard that could stand there.
    fn expand(&mut self, slot: Option<Slot>, region: Region) -> Result<Option<Shard>, TreeError> {
        match slot {
            None => Ok(Some(Shard::default())),
            Some(Slot::Shard(link)) => self.load(Some(&link.cid), region),
            Some(Slot::Entry(entry)) => {
                let place = region.place_of(place_of(&entry.name));
                Ok(Some([(place, Slot::Entry(entry))].into_iter().collect()))
            }
        }
    }

    /// Two entries at one place: the same name, or two that are told in the order of their hashes.
    fn residents(
        &mut self,
        old: Option<&Entry>,
        new: Option<&Entry>,
        scope: Option<&str>,
    ) -> Result<(), Stop> {
        let link = |entry: Option<&Entry>| entry.map(|entry| entry.link);
        if let (Some(was), Some(is)) = (old, new)
            && was.name == is.name
        {
            return self.name(&was.name, &Sides { old: link(old), new: link(new) }, scope);
        }
        let sides = [(old, Sides { old: link(old), new: None }), (new, Sides { old: None, new: link(new) })];
        let mut named: Vec<_> =
            sides.iter().filter_map(|(entry, sides)| Some((entry.as_ref()?.name.as_str(), sides))).collect();
        named.sort_by_key(|(name, _)| place_of(name));
        named.into_iter().try_for_each(|(name, sides)| self.name(name, sides, scope))
    }

    fn name(&mut self, name: &str, sides: &Sides<Option<Link>>, scope: Option<&str>) -> Result<(), Stop> {
        let hash = place_of(name);
        if hash < self.lower(scope) || (scope.is_none() && !(self.wanted)(hash..=hash)) {
            return Ok(());
        }
        if scope.is_none() && name.starts_with('@') {
            self.go_on(self.lower(Some(name)), Some(name))?;
            let cid = |link: Option<Link>| link.map(|link| link.cid);
            return self.nodes(
                &Sides { old: cid(sides.old), new: cid(sides.new) },
                Region::WHOLE,
                Some(name),
            );
        }
        let Some(folder) = Folder::parse(scope, name) else { return Ok(()) };
        self.go_on(hash, scope)?;
        self.page.differences.push(Difference { folder, old: sides.old, new: sides.new });
        Ok(())
    }

    /// Whether there is room for what comes at `hash`; otherwise the next page begins there.
    fn go_on(&mut self, hash: u64, scope: Option<&str>) -> Result<(), Stop> {
        if self.page.differences.len() < self.most && self.budget > 0 {
            return Ok(());
        }
        let here = match scope {
            None => Cursor { top: hash, scoped: 0 },
            Some(scope) => Cursor { top: place_of(scope), scoped: hash },
        };
        self.page.next = Some(here.max(self.from));
        Err(Stop::Full)
    }
}
