//! Changing the index: many packages at once become one new root.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use cid::Cid;

use super::directory::{
    BASIC_EMPTY, Entries, Entry, LONGEST_BASIC, Region, Shard, basic_block, basic_length,
};
use super::edit::{Edit, Editor};
use super::ledger::{Ledger, Update};
use super::node::Node;
use super::path::{Folder, Path};
use super::{Blocks, Link, Malformed, TreeError};

/// What is to change. Of two changes of one document the later one holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes(BTreeMap<Folder, Change>);

/// What is to change in one directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Change {
    /// Everything goes first.
    all_goes: bool,
    /// What comes, or goes.
    entries: BTreeMap<String, Option<Link>>,
}

impl Changes {
    /// A document comes, or takes the place of the one that is there. It is one that [`super::file`] has made: a link of another
    /// kind would make a tree that nobody reads.
    pub fn put(&mut self, path: Path, document: Link) {
        self.set(path, Some(document));
    }

    /// A document goes, if it is there.
    pub fn remove(&mut self, path: Path) {
        self.set(path, None);
    }

    /// A package goes, with everything in its directory.
    pub fn remove_all(&mut self, folder: Folder) {
        self.0.insert(folder, Change { all_goes: true, entries: BTreeMap::new() });
    }

    /// In how many directories something changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn set(&mut self, path: Path, document: Option<Link>) {
        let (folder, file) = path.into_parts();
        self.0.entry(folder).or_default().entries.insert(file, document);
    }
}

impl Change {
    fn adds(&self) -> bool {
        self.entries.values().any(Option::is_some)
    }
}

/// What is to change at one name of the root.
enum Top<'a> {
    Folder(&'a Folder, &'a Change),
    Scope(&'a str, Vec<(&'a Folder, &'a Change)>),
}

/// Changes the index below `root`, or makes one. A package without documents is not there, nor is a scope without packages;
/// an index without anything is an empty root.
///
/// All that is needed is read before anything is said, so an error changes nothing. The blocks that are read are those on
/// the way to what changes.
///
/// # Errors
/// [`TreeError`], when the blocks below `root` are not all there, or are none.
pub fn update(blocks: &dyn Blocks, root: Option<&Cid>, changes: &Changes) -> Result<Update, TreeError> {
    let mut ledger = Ledger::new(blocks);
    let mut shard = match root {
        Some(cid) => ledger.open(*cid, Region::WHOLE)?,
        None => Shard::default(),
    };
    let tops = tops(changes);
    let edits = tops.iter().map(|(name, top)| Edit::new(name, top.adds(), top)).collect();
    Editor {
        ledger: &mut ledger,
        within: "/",
        apply: |ledger: &mut Ledger<'_>, top: &&Top<'_>, old| top.apply(ledger, old),
    }
    .run(&mut shard, edits)?;
    let root = ledger.place(shard.to_block());
    Ok(ledger.close(root))
}

fn tops(changes: &Changes) -> BTreeMap<&str, Top<'_>> {
    let mut tops = BTreeMap::new();
    for (folder, change) in &changes.0 {
        let Some(scope) = folder.scope() else {
            tops.insert(folder.name(), Top::Folder(folder, change));
            continue;
        };
        if let Top::Scope(_, packages) = tops.entry(scope).or_insert_with(|| Top::Scope(scope, Vec::new())) {
            packages.push((folder, change));
        }
    }
    tops
}

impl Top<'_> {
    fn adds(&self) -> bool {
        match self {
            Self::Folder(_, change) => change.adds(),
            Self::Scope(_, packages) => packages.iter().any(|(_, change)| change.adds()),
        }
    }

    fn apply(&self, ledger: &mut Ledger<'_>, old: Option<Link>) -> Result<Option<Link>, TreeError> {
        match self {
            Self::Folder(folder, change) => change_folder(ledger, folder, change, old),
            Self::Scope(scope, packages) => change_scope(ledger, scope, packages, old),
        }
    }
}

fn change_scope(
    ledger: &mut Ledger<'_>,
    scope: &str,
    packages: &[(&Folder, &Change)],
    old: Option<Link>,
) -> Result<Option<Link>, TreeError> {
    let mut shard = match old {
        Some(link) => ledger.open(link.cid, Region::WHOLE)?,
        None => Shard::default(),
    };
    let edits = packages.iter().map(|both| Edit::new(both.0.name(), both.1.adds(), *both)).collect();
    let apply = |ledger: &mut Ledger<'_>, (folder, change): &(&Folder, &Change), old| {
        change_folder(ledger, folder, change, old)
    };
    Editor { ledger, within: &format!("/{scope}/"), apply }.run(&mut shard, edits)?;
    Ok((!shard.is_empty()).then(|| ledger.place(shard.to_block())))
}

fn change_folder(
    ledger: &mut Ledger<'_>,
    folder: &Folder,
    change: &Change,
    old: Option<Link>,
) -> Result<Option<Link>, TreeError> {
    let mut entries = match old {
        None => BTreeMap::new(),
        Some(link) => {
            let node = Node::load(ledger, &link.cid)?;
            ledger.displace(link.cid);
            match node {
                Node::Basic(entries) => by_name(entries),
                Node::Sharded(shard) if change.all_goes => by_name(drain(ledger, shard)?),
                Node::Sharded(shard) => return change_sharded(ledger, folder, change, shard),
                Node::File(_) => return Err(TreeError::Malformed(link.cid, Malformed::UnixFs)),
            }
        }
    };
    if change.all_goes {
        core::mem::take(&mut entries).into_values().for_each(|link| ledger.exchange(Some(link), None));
    }
    for (name, new) in &change.entries {
        let old = match new {
            Some(link) => entries.insert(name.clone(), *link),
            None => entries.remove(name),
        };
        ledger.exchange(old, *new);
    }
    write_folder(ledger, folder, &entries)
}

fn by_name(entries: Vec<Entry>) -> BTreeMap<String, Link> {
    entries.into_iter().map(|entry| (entry.name, entry.link)).collect()
}

/// A directory anew: nothing, basic, or sharded, by what is in it alone.
fn write_folder(
    ledger: &mut Ledger<'_>,
    folder: &Folder,
    entries: &BTreeMap<String, Link>,
) -> Result<Option<Link>, TreeError> {
    if entries.is_empty() {
        return Ok(None);
    }
    let length: u64 = entries.iter().map(|(name, link)| basic_length(name, *link)).sum();
    if BASIC_EMPTY + length <= LONGEST_BASIC {
        let all = entries.iter().map(|(name, link)| (name.as_str(), *link));
        return Ok(Some(ledger.place(basic_block(all))));
    }
    let mut shard = Shard::default();
    let edits = entries.iter().map(|(name, link)| Edit::new(name, true, *link)).collect();
    let refused = ledger.refused.len();
    let apply = |_: &mut Ledger<'_>, link: &Link, _| Ok(Some(*link));
    Editor { ledger, within: &format!("{folder}/"), apply }.run(&mut shard, edits)?;
    // They were counted when they came.
    let lost = ledger.refused.iter().skip(refused).filter_map(|path| path.rsplit_once('/'));
    let lost: Vec<_> = lost.filter_map(|(_, name)| entries.get(name).copied()).collect();
    lost.into_iter().for_each(|link| ledger.exchange(Some(link), None));
    Ok(Some(ledger.place(shard.to_block())))
}

fn change_sharded(
    ledger: &mut Ledger<'_>,
    folder: &Folder,
    change: &Change,
    mut shard: Shard,
) -> Result<Option<Link>, TreeError> {
    let edits = change.entries.iter().map(|(name, link)| Edit::new(name, link.is_some(), *link)).collect();
    let apply = |ledger: &mut Ledger<'_>, new: &Option<Link>, old| {
        ledger.exchange(old, *new);
        Ok(*new)
    };
    Editor { ledger, within: &format!("{folder}/"), apply }.run(&mut shard, edits)?;
    if is_long(ledger, &shard)? {
        return Ok(Some(ledger.place(shard.to_block())));
    }
    let entries = by_name(drain(ledger, shard)?);
    write_folder(ledger, folder, &entries)
}

/// Whether a sharded directory has to be one. It reads as much of it as makes a basic one too long.
fn is_long(ledger: &Ledger<'_>, shard: &Shard) -> Result<bool, TreeError> {
    let mut entries = Entries::new(shard.clone(), 0);
    let mut length = BASIC_EMPTY;
    while let Some((_, entry)) = entries.next(ledger, drop)? {
        length += basic_length(&entry.name, entry.link);
        if length > LONGEST_BASIC {
            return Ok(true);
        }
    }
    Ok(false)
}

/// All entries of a sharded directory, whose shards go.
fn drain(ledger: &mut Ledger<'_>, shard: Shard) -> Result<Vec<Entry>, TreeError> {
    let (mut entries, mut shards) = (Vec::new(), Vec::new());
    let mut all = Entries::new(shard, 0);
    while let Some((_, entry)) = all.next(ledger, |cid| shards.push(cid))? {
        entries.push(entry);
    }
    shards.into_iter().for_each(|cid| ledger.displace(cid));
    Ok(entries)
}
