//! The state's file: opened whatever has become of it, and never in want of the blocks that it has.

use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redb::backends::FileBackend;
use redb::{BackendError, Database, DatabaseError, ReadableTable, StorageBackend, WriteTransaction};
use rustix::fs::{FallocateFlags, fallocate};

use super::tables::{BLOBS, EVIDENCE, META, NEWS, PACKUMENTS, PIN_SETS, PINS, QUEUE, REMOVED, TARBALLS};

/// The database's own page cache.
const CACHE_BYTES: usize = 8 * 1024 * 1024;
/// The wait for the lock of a process that is ending, and the pause between two looks.
const LOCK_WAIT: Duration = Duration::from_secs(3);
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// Present while a process has the state open, and after one that did not end well.
const DIRTY: &str = "dirty";
/// Present until the files have been gone over for names that the state does not know.
pub(super) const REBUILD: &str = "rebuild";

/// Why the state's file cannot be used.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Another process has it.
    InUse,
    /// It is no state, or not one any more.
    Damaged(String),
    /// The disk refuses.
    Io(io::Error),
}

/// A state that is open.
pub(super) struct Opened {
    pub(super) database: Database,
    /// The last process that had it did not end well.
    pub(super) was_dirty: bool,
    /// Names have to be looked for among the files.
    pub(super) rebuild: bool,
}

/// Opens the state; one that cannot be read is moved aside, and an empty one takes its place.
pub(super) fn open(path: &Path) -> Result<Opened, Trouble> {
    match open_once(path) {
        Err(Trouble::Damaged(cause)) => {
            let aside = aside(path);
            tracing::error!(cause, aside = %aside.display(), "the state is damaged; it is moved aside, and names are found again from the files");
            fs::rename(path, aside).map_err(Trouble::Io)?;
            open_once(path)
        }
        other => other,
    }
}

/// Where a damaged state goes; one is kept.
pub(super) fn aside(path: &Path) -> PathBuf {
    path.with_extension("redb.damaged")
}

/// The database panics over some kinds of damage, a truncated file for one.
fn open_once(path: &Path) -> Result<Opened, Trouble> {
    catch_unwind(AssertUnwindSafe(|| {
        let is_new = fs::metadata(path).map_or(true, |file| file.len() == 0);
        let database = locked(path)?;
        let (was_dirty, rebuild) = make_tables(&database, is_new).map_err(|error| trouble(&error))?;
        Ok(Opened { database, was_dirty, rebuild })
    }))
    .unwrap_or_else(|_| Err(Trouble::Damaged("it cannot be read".into())))
}

/// A process that was killed holds its lock until the kernel has cleared it away.
fn locked(path: &Path) -> Result<Database, Trouble> {
    let started = Instant::now();
    loop {
        let backend = Reserved::open(path).map_err(Trouble::Io)?;
        match Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend) {
            Ok(database) => return Ok(database),
            Err(DatabaseError::DatabaseAlreadyOpen) if started.elapsed() < LOCK_WAIT => {
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(Trouble::InUse),
            Err(other) => return Err(trouble(&other.into())),
        }
    }
}

/// Says how the last process left it, and notes that this one has it.
fn make_tables(database: &Database, is_new: bool) -> Result<(bool, bool), redb::Error> {
    let write = begin(database)?;
    write.open_table(PACKUMENTS)?;
    write.open_table(TARBALLS)?;
    write.open_table(BLOBS)?;
    write.open_table(EVIDENCE)?;
    write.open_table(QUEUE)?;
    write.open_table(PINS)?;
    write.open_table(PIN_SETS)?;
    write.open_table(NEWS)?;
    write.open_table(REMOVED)?;
    let (was_dirty, rebuild) = {
        let mut meta = write.open_table(META)?;
        if is_new {
            meta.insert(REBUILD, [].as_slice())?;
        }
        let was_dirty = meta.insert(DIRTY, [].as_slice())?.is_some();
        (was_dirty, meta.get(REBUILD)?.is_some())
    };
    write.commit()?;
    Ok((was_dirty, rebuild))
}

/// An orderly end: everything is on the disk. Nothing may be committed behind it.
pub(super) fn note_end(database: &Database) -> Result<(), redb::Error> {
    let write = begin(database)?;
    write.open_table(META)?.remove(DIRTY)?;
    write.commit()?;
    Ok(())
}

/// Quick repair: a start after a crash reads the saved allocator state instead of the whole file.
pub(super) fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut write = database.begin_write()?;
    write.set_quick_repair(true);
    Ok(write)
}

/// What an error says about the file.
pub(super) fn trouble(error: &redb::Error) -> Trouble {
    match error {
        damage if is_damage(damage) => Trouble::Damaged(damage.to_string()),
        redb::Error::Io(error) => Trouble::Io(io::Error::new(error.kind(), error.to_string())),
        other => Trouble::Io(io::Error::other(other.to_string())),
    }
}

/// Whether it is the file that is wrong, and not the disk or whoever else has it. A page that lies behind the file's end is damage.
pub(crate) fn is_damage(error: &redb::Error) -> bool {
    match error {
        redb::Error::Io(io) => matches!(io.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof),
        redb::Error::PreviousIo | redb::Error::DatabaseClosed | redb::Error::DatabaseAlreadyOpen => false,
        _ => true,
    }
}

/// A file that has the blocks for its whole length: what it holds can be changed, and the file opened, on a disk
/// that is full, and only growth needs room.
#[derive(Debug)]
struct Reserved {
    file: File,
    backend: FileBackend,
}

impl Reserved {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let backend = FileBackend::new(file.try_clone()?).map_err(io::Error::other)?;
        Ok(Self { file, backend })
    }

    fn reserve(&self, from: u64, to: u64) -> io::Result<()> {
        if to <= from {
            return Ok(());
        }
        match fallocate(&self.file, FallocateFlags::empty(), from, to - from) {
            // Some file systems have no such thing; there, a write may fail for want of room.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            Err(error) => {
                // What was got of it is of no use.
                self.backend.set_len(from)?;
                Err(error.into())
            }
        }
    }
}

impl StorageBackend for Reserved {
    fn len(&self) -> io::Result<u64> {
        self.backend.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.backend.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.reserve(self.backend.len()?, length)?;
        self.backend.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.backend.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.backend.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.query_lock_range(start, end)
    }
}
