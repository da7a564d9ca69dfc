//! What one change does to the tables: rows of documents and of their blocks, nodes of the tree, and those that no root needs any more.

use std::borrow::Cow;
use std::time::Duration;

use redb::{ReadableTable, WriteTransaction};
use resolver::index::file::Part;
use resolver::index::{Block, Blocks, Changes, Cid, Folder, TreeError, Update, update};

use super::database::Trouble;
use super::files::{Fresh, address};
use super::listing::Difference;
use super::tables::{
    BLOCKS, Digest, FILES, FileRow, LEAVING, NODES, Tree, file_key, path, read_places, write_cids,
    write_places,
};

/// So long the nodes of a root that is no longer the newest are kept: whoever is walking it comes to the end.
const KEPT: Duration = Duration::from_secs(300);
/// Roots whose nodes go in one transaction.
const GOING: usize = 64;

/// The tree before it is changed.
struct Before<'a, 'b>(&'a NodesTable<'b>);

type NodesTable<'a> = redb::Table<'a, &'static [u8], (u64, &'static [u8])>;

impl Blocks for Before<'_, '_> {
    fn block(&self, cid: &Cid) -> Option<Cow<'_, [u8]>> {
        let row = self.0.get(cid.to_bytes().as_slice()).ok()??;
        Some(Cow::Owned(row.value().1.to_vec()))
    }
}

/// The rows of one directory's documents. Gives what has lost a place of what the index itself holds: it is kept as long as nodes are, so
/// that whoever is reading a root that is no longer the newest finds it.
pub(super) fn exchange(
    write: &WriteTransaction,
    difference: &Difference,
) -> Result<Vec<(Cid, u64)>, Trouble> {
    let mut files = write.open_table(FILES)?;
    let mut blocks = write.open_table(BLOCKS)?;
    let mut nodes = write.open_table(NODES)?;
    let mut displaced = Vec::new();
    for (file, row) in &difference.gone {
        let key = file_key(&difference.folder, file);
        files.remove(key.as_str())?;
        if let Digest::Own(_) = row.digest {
            displaced.push((row.link.cid, 1));
            continue;
        }
        for cid in row.addresses() {
            blocks.remove((cid.to_bytes().as_slice(), key.as_str()))?;
        }
    }
    for (file, Fresh { row, parts }) in &difference.fresh {
        let key = file_key(&difference.folder, file);
        let (cid, several) = (row.link.cid.to_bytes(), write_cids(&row.blocks));
        files.insert(
            key.as_str(),
            (&row.digest.bytes()[..], row.length, &cid[..], row.link.size, &several[..]),
        )?;
        if let (Digest::Own(_), [Part::Node(block)]) = (row.digest, &parts[..]) {
            place(&mut nodes, block, 1)?;
            continue;
        }
        for cid in row.addresses() {
            // The digest of a tarball of several blocks leads here and to no block.
            let part = parts.iter().find(|part| address(part) == cid);
            let (offset, length, bytes) = match part {
                Some(Part::Leaf { offset, length, .. }) => (*offset, *length, &[][..]),
                Some(Part::Node(block)) => (0, block.bytes.len() as u64, &block.bytes[..]),
                None => (0, row.length, &[][..]),
            };
            blocks.insert((cid.to_bytes().as_slice(), key.as_str()), (offset, length, bytes))?;
        }
    }
    Ok(displaced)
}

/// A block has so many more places.
fn place(nodes: &mut NodesTable<'_>, block: &Block, more: u64) -> Result<(), Trouble> {
    let cid = block.cid.to_bytes();
    let places = nodes.get(cid.as_slice())?.map_or(0, |row| row.value().0);
    nodes.insert(cid.as_slice(), (places + more, block.bytes.as_slice()))?;
    Ok(())
}

/// A tree, and the nodes that it has fewer places for than the one before.
type Grown = (Tree, Vec<(Cid, u64)>);

/// The tree with what has changed; `None` when nothing has.
pub(super) fn grow(
    write: &WriteTransaction,
    before: Option<Tree>,
    differences: &[Difference],
) -> Result<Option<Grown>, Trouble> {
    let changes = changes(differences);
    if changes.is_empty() {
        return Ok(None);
    }
    let root = before.map(|tree| tree.root.cid);
    let mut nodes = write.open_table(NODES)?;
    let damaged = |error: TreeError| Trouble::Damaged(error.to_string());
    let update = update(&Before(&nodes), root.as_ref(), &changes).map_err(damaged)?;
    for path in &update.refused {
        tracing::debug!(path, "a document cannot stand in the index");
    }
    for (block, more) in &update.placed {
        place(&mut nodes, block, *more)?;
    }
    let (blocks, packages) = before.map_or((0, 0), |tree| (tree.blocks, tree.packages));
    let tree = Tree {
        root: update.root,
        blocks: count(blocks, &update, differences),
        packages: count_packages(packages, differences),
    };
    Ok(Some((tree, update.displaced)))
}

/// How many blocks there are after so many.
fn count(before: u64, update: &Update, differences: &[Difference]) -> u64 {
    let fresh =
        differences.iter().flat_map(|difference| &difference.fresh).map(|(_, fresh)| fresh.row.count());
    let gone = differences.iter().flat_map(|difference| difference.gone.values()).map(FileRow::count);
    let more = update.placed.iter().map(|(_, places)| *places).chain(fresh).sum::<u64>();
    let fewer = update.displaced.iter().map(|(_, places)| *places).chain(gone).sum::<u64>();
    before.saturating_add(more).saturating_sub(fewer)
}

/// How many packages have a directory after so many.
fn count_packages(before: u64, differences: &[Difference]) -> u64 {
    let packages = || differences.iter().filter(|difference| difference.folder != Folder::Federation);
    let more = packages().filter(|one| one.was_empty && !one.is_empty).count() as u64;
    let fewer = packages().filter(|one| !one.was_empty && one.is_empty).count() as u64;
    before.saturating_add(more).saturating_sub(fewer)
}

fn changes(differences: &[Difference]) -> Changes {
    let mut changes = Changes::default();
    for Difference { folder, fresh, gone, is_empty, .. } in differences {
        if *is_empty {
            if !gone.is_empty() {
                changes.remove_all(folder.clone());
            }
            continue;
        }
        let of = |file: &str| path(folder, file);
        gone.keys().filter_map(|file| of(file)).for_each(|path| changes.remove(path));
        // Of two changes of one document the later one holds.
        let fresh = fresh.iter().filter_map(|(file, fresh)| Some((of(file)?, fresh.row.link)));
        fresh.for_each(|(path, link)| changes.put(path, link));
    }
    changes
}

/// Notes which nodes have lost a place with this head, and drops those that had lost their last one long ago.
pub(super) fn leave(
    write: &WriteTransaction,
    sequence: u64,
    displaced: &[(Cid, u64)],
) -> Result<(), Trouble> {
    let mut leaving = write.open_table(LEAVING)?;
    if !displaced.is_empty() {
        // Two roots in one millisecond, before there is a head.
        let more = leaving.get(sequence)?.map(|row| read_places(row.value())).unwrap_or_default();
        leaving.insert(sequence, write_places(&[&more[..], displaced].concat()).as_slice())?;
    }
    let kept = u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX);
    let mut going = Vec::new();
    for row in leaving.range(..sequence.saturating_sub(kept))?.take(GOING) {
        let (key, places) = row?;
        going.push((key.value(), read_places(places.value())));
    }
    for (key, places) in going {
        leaving.remove(key)?;
        drop_places(write, places)?;
    }
    Ok(())
}

pub(super) fn drop_places(write: &WriteTransaction, places: Vec<(Cid, u64)>) -> Result<(), Trouble> {
    let mut nodes = write.open_table(NODES)?;
    places.into_iter().try_for_each(|(cid, fewer)| take_places(&mut nodes, &cid, fewer))
}

fn take_places(nodes: &mut NodesTable<'_>, cid: &Cid, fewer: u64) -> Result<(), Trouble> {
    let key = cid.to_bytes();
    let row = nodes.get(key.as_slice())?.map(|row| (row.value().0, row.value().1.to_vec()));
    let Some((places, bytes)) = row else { return Ok(()) };
    match places.saturating_sub(fewer) {
        0 => drop(nodes.remove(key.as_slice())?),
        left => drop(nodes.insert(key.as_slice(), (left, bytes.as_slice()))?),
    }
    Ok(())
}
