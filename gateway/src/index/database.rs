//! `index.redb`: opened whatever has become of it. What it holds can be made again, so what is damaged is removed.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use redb::{ReadTransaction, ReadableDatabase, WriteTransaction};

use super::tables::{BLOCKS, FILES, LEAVING, META, NODES};
use crate::store::{self, is_damage};

/// The database's own page cache: the upper nodes of the tree, which every change reads.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// The file, and what is open of it.
pub(super) struct Database {
    path: PathBuf,
    /// None until it is opened, and while that fails.
    open: ArcSwapOption<redb::Database>,
    /// A reader has met damage.
    suspect: AtomicBool,
}

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// It is to be made again.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// The disk refuses; what is there may be whole.
    #[error("{0}")]
    Io(String),
    /// The store cannot be read or written now; nothing is wrong with the index.
    #[error("the state of the store cannot be read or written now")]
    Store,
}

impl Database {
    pub(super) fn new(dir: &Path) -> Self {
        let suspect = AtomicBool::new(false);
        Self { path: dir.join(store::INDEX), open: ArcSwapOption::empty(), suspect }
    }

    /// Opens it unless it is open. What cannot be read is removed, and an empty one takes its place. Blocks.
    pub(super) fn open(&self) -> Result<(), Trouble> {
        if self.open.load().is_some() {
            return Ok(());
        }
        let opened = guarded(|| open(&self.path)).or_else(|trouble| {
            if let Trouble::Damaged(_) = &trouble {
                self.remove()?;
                return guarded(|| open(&self.path));
            }
            Err(trouble)
        })?;
        self.suspect.store(false, Ordering::Release);
        self.open.store(Some(Arc::new(opened)));
        Ok(())
    }

    /// Lets go of it, after a failure; what is damaged goes. Whoever still reads in it reads to the end.
    pub(super) fn fail(&self, trouble: &Trouble) -> Result<(), Trouble> {
        self.close();
        match trouble {
            Trouble::Damaged(_) => self.remove(),
            Trouble::Io(_) | Trouble::Store => Ok(()),
        }
    }

    /// Lets go of it.
    pub(super) fn close(&self) {
        let last = self.open.swap(None);
        // It may panic over damage even now.
        drop(catch_unwind(AssertUnwindSafe(|| drop(last))));
    }

    /// Whether a reader has met damage.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Acquire)
    }

    fn remove(&self) -> Result<(), Trouble> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Trouble::Io(error.to_string())),
            _ => Ok(()),
        }
    }

    /// Changes it in one transaction, which is on the disk when this is done. Blocks.
    pub(super) fn write<T>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let database = self.open.load_full().ok_or_else(closed)?;
        guarded(|| {
            let mut write = database.begin_write().map_err(redb::Error::from)?;
            // A start after a crash reads what was saved of the allocator, and not the whole file.
            write.set_quick_repair(true);
            let changed = change(&write)?;
            write.commit().map_err(redb::Error::from)?;
            Ok(changed)
        })
    }

    /// Reads in it, as it was at one moment. Blocks for a moment.
    pub(super) fn read<T>(
        &self,
        look: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, Trouble> {
        let database = self.open.load_full().ok_or_else(closed)?;
        let looked = guarded(|| {
            let read = database.begin_read().map_err(redb::Error::from)?;
            Ok(look(&read)?)
        });
        if let Err(Trouble::Damaged(_)) = &looked {
            self.suspect.store(true, Ordering::Release);
        }
        looked
    }
}

fn closed() -> Trouble {
    Trouble::Io("it is not open".into())
}

fn open(path: &Path) -> Result<redb::Database, Trouble> {
    let database = redb::Database::builder().set_cache_size(CACHE_BYTES).create(path);
    let database = database.map_err(redb::Error::from)?;
    let write = database.begin_write().map_err(redb::Error::from)?;
    {
        write.open_table(NODES).map_err(redb::Error::from)?;
        write.open_table(LEAVING).map_err(redb::Error::from)?;
        write.open_table(FILES).map_err(redb::Error::from)?;
        write.open_table(BLOCKS).map_err(redb::Error::from)?;
        write.open_table(META).map_err(redb::Error::from)?;
    }
    write.commit().map_err(redb::Error::from)?;
    Ok(database)
}

/// The database panics over some kinds of damage, a truncated file for one.
fn guarded<T>(work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    let worked = catch_unwind(AssertUnwindSafe(work));
    worked.unwrap_or_else(|_| Err(Trouble::Damaged("it panicked".into())))
}

impl From<redb::Error> for Trouble {
    fn from(error: redb::Error) -> Self {
        let words = error.to_string();
        if is_damage(&error) { Self::Damaged(words) } else { Self::Io(words) }
    }
}

macro_rules! trouble_of {
    ($($error:ty),*) => {
        $(impl From<$error> for Trouble {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        })*
    };
}

trouble_of!(redb::TableError, redb::StorageError);
