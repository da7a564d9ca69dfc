//! `followed.redb`: nodes of home's tree, least recently used first to go, and which root is settled. All of it can be had again by
//! asking: what is damaged is removed, and while the disk refuses nothing is known.
//!
//! ```text
//! nodes      CID                  -> bytes, verified before they came here and whenever they are read
//! addresses  SHA-256 of a packument -> its CID, where that is none of one block
//! meta       word                 -> see the words below
//! ```

use std::borrow::Cow;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use redb::{
    Durability, ReadOnlyTable, ReadableDatabase, ReadableTable as _, ReadableTableMetadata as _, Table,
    TableDefinition,
};
use resolver::head::Root;
use resolver::index::{Block, Blocks, Cid, address};
use resolver::peer::PeerId;
use resolver::variant::Revision;

use crate::store::{self, is_damage};

const NODES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("nodes");
const ADDRESSES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("addresses");
const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");
/// Whose tree it is: a peer's id. Another home's root is nobody's.
const HOME: &str = "home";
/// The CID of the root that is settled.
const ROOT: &str = "root";
/// Home's `state.json` under that root; not there: it has none.
const STATE: &str = "state";

/// Nodes that are kept, in bytes: what leads to 10,000 packages among npm's 3.5 million has 40 MB.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// As a part of what all of the store may take, where that is little: they count there, and nothing can drive them out.
const PART: u64 = 16;
/// Addresses that are kept: there are few packuments above 1 MiB.
const MOST_ADDRESSES: u64 = 8192;
/// The database's own page cache: the upper nodes.
const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// Bits that say which nodes were used: 2^20, at ten times as many as there are nodes.
const WORDS: usize = 1 << 14;

/// The file.
pub(super) struct Database {
    path: PathBuf,
    home: PeerId,
    /// None while it cannot be opened.
    open: ArcSwapOption<redb::Database>,
    /// Of all nodes.
    bytes: AtomicU64,
    used: Arc<Used>,
    /// Bytes of nodes that are kept.
    most: u64,
}

/// Which nodes were read since some last had to go: one bit each, and two may share one.
struct Used(Box<[AtomicU64]>);

/// The nodes of one moment.
pub struct Nodes {
    table: ReadOnlyTable<&'static [u8], &'static [u8]>,
    used: Arc<Used>,
}

impl Used {
    fn place(key: &[u8]) -> (usize, u64) {
        // Of a CID the last bytes are the digest's.
        let bits = key.last_chunk::<4>().map_or(0, |last| u32::from_le_bytes(*last)) as usize;
        ((bits >> 6) % WORDS, 1 << (bits & 63))
    }

    fn set(&self, key: &[u8]) {
        let (word, bit) = Self::place(key);
        if let Some(word) = self.0.get(word) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    fn is_set(&self, key: &[u8]) -> bool {
        let (word, bit) = Self::place(key);
        self.0.get(word).is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0)
    }

    fn clear(&self) {
        self.0.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }
}

impl Blocks for Nodes {
    fn block(&self, cid: &Cid) -> Option<Cow<'_, [u8]>> {
        let key = cid.to_bytes();
        let read =
            catch_unwind(AssertUnwindSafe(|| Some(self.table.get(key.as_slice()).ok()??.value().to_vec())));
        let bytes = read.ok().flatten().filter(|bytes| address::check(cid, bytes).is_ok())?;
        self.used.set(&key);
        Some(Cow::Owned(bytes))
    }
}

impl Database {
    /// Opens the one of `home` in this folder, beside a store of so many bytes. Blocks.
    pub(super) fn open(dir: &Path, home: PeerId, max_bytes: u64) -> Self {
        let used = Arc::new(Used((0..WORDS).map(|_| AtomicU64::new(0)).collect()));
        let (open, bytes) = (ArcSwapOption::empty(), AtomicU64::new(0));
        let database = Self {
            path: dir.join(store::FOLLOWED),
            home,
            open,
            bytes,
            used,
            most: MOST_BYTES.min(max_bytes / PART),
        };
        database.reopen();
        database
    }

    /// What is there now; `None`: it cannot be read. Blocks for a moment.
    pub(super) fn nodes(&self) -> Option<Nodes> {
        let table = self.run(|database| Ok(database.begin_read()?.open_table(NODES)?))?;
        Some(Nodes { table, used: Arc::clone(&self.used) })
    }

    /// Keeps nodes that were verified. A crash may lose the last of them. Blocks.
    pub(super) fn keep(&self, blocks: &[Block]) {
        self.reopen();
        let kept = self.run(|database| {
            let mut write = database.begin_write()?;
            write.set_durability(Durability::None).map_err(|_| redb::Error::DatabaseClosed)?;
            let mut bytes = self.bytes.load(Ordering::Relaxed);
            {
                let mut nodes = write.open_table(NODES)?;
                for block in blocks {
                    let key = block.cid.to_bytes();
                    self.used.set(&key);
                    if nodes.insert(key.as_slice(), block.bytes.as_slice())?.is_none() {
                        bytes += block.bytes.len() as u64;
                    }
                }
                if bytes > self.most {
                    bytes = self.make_room(&mut nodes, bytes)?;
                }
            }
            write.commit()?;
            Ok(bytes)
        });
        if let Some(bytes) = kept {
            self.bytes.store(bytes, Ordering::Relaxed);
        }
    }

    /// What was not used goes first; then whatever comes.
    fn make_room(&self, nodes: &mut Table<'_, &[u8], &[u8]>, mut bytes: u64) -> Result<u64, redb::Error> {
        for spares_used in [true, false] {
            nodes.retain(|key, value| {
                let stays = bytes <= self.most / 4 * 3 || (spares_used && self.used.is_set(key));
                bytes -= if stays { 0 } else { value.len() as u64 };
                stays
            })?;
        }
        self.used.clear();
        Ok(bytes)
    }

    /// The root that was settled last, and home's state under it.
    pub(super) fn settled(&self) -> Option<(Root, Option<Vec<u8>>)> {
        self.run(|database| {
            let meta = database.begin_read()?.open_table(META)?;
            let is_homes = meta.get(HOME)?.is_some_and(|row| row.value() == self.home.to_string().as_bytes());
            let root = meta.get(ROOT)?.and_then(|row| Root::new(address::read(row.value())?).ok());
            let state = meta.get(STATE)?.map(|row| row.value().to_vec());
            Ok(root.filter(|_| is_homes).map(|root| (root, state)))
        })?
    }

    /// This root is settled; when this is done, it and all nodes before it are on the disk. Blocks.
    pub(super) fn settle(&self, root: &Root, state: Option<&[u8]>) {
        self.reopen();
        self.run(|database| {
            let write = database.begin_write()?;
            {
                let mut meta = write.open_table(META)?;
                meta.insert(HOME, self.home.to_string().as_bytes())?;
                meta.insert(ROOT, root.cid().to_bytes().as_slice())?;
                match state {
                    Some(state) => meta.insert(STATE, state)?.is_some(),
                    None => meta.remove(STATE)?.is_some(),
                };
            }
            write.commit()?;
            Ok(())
        });
    }

    /// The address of a packument that is longer than one block, if it is known.
    pub(super) fn address(&self, revision: &Revision) -> Option<Cid> {
        self.run(|database| {
            let table = database.begin_read()?.open_table(ADDRESSES)?;
            Ok(table.get(revision.as_bytes().as_slice())?.and_then(|row| address::read(row.value())))
        })?
    }

    /// Remembers one. Blocks.
    pub(super) fn keep_address(&self, revision: &Revision, cid: &Cid) {
        self.reopen();
        self.run(|database| {
            let mut write = database.begin_write()?;
            write.set_durability(Durability::None).map_err(|_| redb::Error::DatabaseClosed)?;
            {
                let mut table = write.open_table(ADDRESSES)?;
                if table.len()? >= MOST_ADDRESSES {
                    // Any: a digest's order is none. It is computed again when it is needed.
                    table.pop_first()?;
                }
                table.insert(revision.as_bytes().as_slice(), cid.to_bytes().as_slice())?;
            }
            write.commit()?;
            Ok(())
        });
    }

    /// Opens it unless it is open; what is damaged is removed, and an empty one takes its place.
    fn reopen(&self) {
        if self.open.load().is_some() {
            return;
        }
        let attempt = || catch_unwind(AssertUnwindSafe(|| open(&self.path)));
        let opened = match attempt() {
            Ok(Ok(opened)) => Some(opened),
            Ok(Err(error)) if !is_damage(&error) => {
                tracing::debug!(%error, "the nodes of home's index cannot be opened");
                None
            }
            _ => self.remove().then(attempt).and_then(Result::ok).and_then(Result::ok),
        };
        if let Some((database, bytes)) = opened {
            self.bytes.store(bytes, Ordering::Relaxed);
            self.open.store(Some(Arc::new(database)));
        }
    }

    fn run<T>(&self, work: impl FnOnce(&redb::Database) -> Result<T, redb::Error>) -> Option<T> {
        let database = self.open.load_full()?;
        let worked = catch_unwind(AssertUnwindSafe(|| work(&database)));
        let (cause, damaged) = match worked {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(error)) => (error.to_string(), is_damage(&error)),
            Err(_) => ("it panicked".to_owned(), true),
        };
        tracing::warn!(
            cause,
            "the nodes of home's index cannot be read or written; they are asked for again"
        );
        let last = self.open.swap(None);
        // It may panic over damage even now.
        drop(catch_unwind(AssertUnwindSafe(|| drop((last, database)))));
        if damaged {
            self.remove();
        }
        None
    }

    fn remove(&self) -> bool {
        match fs::remove_file(&self.path) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

/// The file, and how many bytes its nodes have. All of it is read, for else redb looks at no checksum in a file that was closed in order:
/// damage would be found bit by bit, or make nodes that are there be asked for again and again.
fn open(path: &Path) -> Result<(redb::Database, u64), redb::Error> {
    let mut builder = redb::Database::builder();
    let database = builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).create(path)?;
    let write = database.begin_write()?;
    let mut bytes = 0;
    {
        for row in write.open_table(NODES)?.iter()? {
            bytes += row?.1.value().len() as u64;
        }
        write.open_table(ADDRESSES)?;
        write.open_table(META)?;
    }
    write.commit()?;
    Ok((database, bytes))
}

#[cfg(test)]
mod tests;
