//! Names and what they stand for, in one transactional file.
//!
//! redb: one file, ACID, a copy-on-write tree that is valid after a crash without a repair of its whole size,
//! no background threads, and readers that never wait for the writer.
//!
//! ```text
//! packuments  name                      -> JSON PackumentRecord
//! tarballs    name NUL file             -> SHA-512 (64 bytes)
//! blobs       SHA-512 (64 bytes)        -> length (u64)
//! evidence    path at upstream          -> JSON Evidence
//! meta        "cursor"                  -> JSON Cursor
//! ```
//!
//! One thread writes. It takes all changes that are waiting and commits them as one transaction, so that a
//! burst of a hundred costs one flush of the disk and not a hundred.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use resolver::integrity::Integrity;
use resolver::package::{FileName, PackageName};
use resolver::variant::Revision;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::Totals;
use super::format::{OpenError, empty_drafts};

const PACKUMENTS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("packuments");
const TARBALLS: TableDefinition<'static, &str, &[u8; 64]> = TableDefinition::new("tarballs");
const BLOBS: TableDefinition<'static, &[u8; 64], u64> = TableDefinition::new("blobs");
const EVIDENCE: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("evidence");

/// What there is one of.
const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");
const CURSOR: &str = "cursor";

/// Changes that may wait for the writer; whoever brings another one waits for a place.
const QUEUE: usize = 1024;
/// The database's own page cache.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// The wait for the lock of a process that is ending, and the pause between two looks.
const LOCK_WAIT: Duration = Duration::from_secs(3);
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// What is known of a packument besides its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackumentRecord {
    /// Which bytes.
    #[serde(with = "revision_hex")]
    pub revision: Revision,
    /// Their number.
    pub length: u64,
    /// When upstream last confirmed them: milliseconds since 1970.
    pub checked_ms: u64,
    /// When upstream last sent all of it: milliseconds since 1970. A confirmation leaves it as it is.
    pub fetched_ms: u64,
    /// Bytes on disk of the document and of all variants that were made of it.
    pub stored: u64,
    /// When the package last changed: seconds since 1970, for `Last-Modified`.
    pub modified_s: u64,
    /// Upstream's validators, for the next conditional request.
    pub etag: Option<String>,
    /// See `etag`.
    pub last_modified: Option<String>,
}

/// Where the change feed was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The feed's address: a sequence of one means nothing to another.
    pub feed: String,
    /// The sequence up to which changes were taken in.
    pub since: u64,
    /// What was confirmed before this moment may have changed without a word: milliseconds since 1970.
    pub doubted_ms: u64,
}

/// A small signed document (registry keys, attestations), or that there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// 200 or 404.
    pub status: u16,
    /// Of the body.
    pub content_type: Option<String>,
    /// As upstream sent it.
    pub body: String,
    /// When upstream last said so: milliseconds since 1970.
    pub checked_ms: u64,
}

/// The state cannot be read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the state on disk cannot be used: {0}")]
pub struct StateError(Arc<str>);

/// One change to the state.
pub(super) enum Change {
    Packument {
        name: PackageName,
        record: Option<PackumentRecord>,
    },
    /// So many bytes more, or fewer, belong to this revision of a packument.
    Account {
        name: PackageName,
        revision: Revision,
        delta: i64,
    },
    /// What is held counts as confirmed long ago.
    Doubt {
        name: PackageName,
    },
    Tarball {
        name: PackageName,
        file: FileName,
        integrity: Integrity,
    },
    Blob {
        integrity: Integrity,
        length: u64,
    },
    NoBlob {
        integrity: Integrity,
    },
    Evidence {
        path: String,
        evidence: Evidence,
    },
    Cursor(Cursor),
}

/// A change that waits for the writer, and where to say whether it made a difference.
struct Waiting {
    change: Change,
    done: oneshot::Sender<Result<bool, StateError>>,
}

/// The state of one data directory.
pub(super) struct State {
    database: Arc<Database>,
    writer: mpsc::Sender<Waiting>,
}

impl State {
    /// Opens the state, and with it takes the lock on the data directory.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let dir = path.parent().unwrap_or(path);
        let unreadable = |error: redb::Error| OpenError::Unreadable(dir.into(), error.to_string());
        let database = open_database(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(dir.into()),
            other => unreadable(other.into()),
        })?;
        empty_drafts(dir).map_err(|error| OpenError::Io(dir.into(), error))?;
        make_tables(&database).map_err(unreadable)?;
        let database = Arc::new(database);
        let (writer, waiting) = mpsc::channel(QUEUE);
        let written = Arc::clone(&database);
        std::thread::Builder::new()
            .name("state".into())
            .spawn(move || write(&written, waiting))
            .map_err(|error| OpenError::Io(dir.into(), error))?;
        Ok(Self { database, writer })
    }

    /// Commits a change to disk; says whether it made a difference to what is held.
    pub(super) async fn commit(&self, change: Change) -> Result<bool, StateError> {
        let (done, committed) = oneshot::channel();
        let ended = |_| StateError("the writer has ended".into());
        self.writer.send(Waiting { change, done }).await.map_err(|_| ended(()))?;
        committed.await.map_err(|_| ended(()))?
    }

    pub(super) fn packument(&self, name: &PackageName) -> Option<PackumentRecord> {
        self.read(|read| {
            let row = read.open_table(PACKUMENTS)?.get(name.as_str())?;
            Ok(row.and_then(|row| serde_json::from_slice(row.value()).ok()))
        })
    }

    pub(super) fn tarball(&self, name: &PackageName, file: &FileName) -> Option<Integrity> {
        self.read(|read| {
            let row = read.open_table(TARBALLS)?.get(tarball_key(name, file).as_str())?;
            Ok(row.and_then(|row| Integrity::from_bytes(row.value())))
        })
    }

    pub(super) fn blob_length(&self, integrity: &Integrity) -> Option<u64> {
        self.read(|read| Ok(read.open_table(BLOBS)?.get(integrity.as_bytes())?.map(|row| row.value())))
    }

    pub(super) fn evidence(&self, path: &str) -> Option<Evidence> {
        self.read(|read| {
            let row = read.open_table(EVIDENCE)?.get(path)?;
            Ok(row.and_then(|row| serde_json::from_slice(row.value()).ok()))
        })
    }

    pub(super) fn cursor(&self) -> Option<Cursor> {
        self.read(|read| {
            let row = read.open_table(META)?.get(CURSOR)?;
            Ok(row.and_then(|row| serde_json::from_slice(row.value()).ok()))
        })
    }

    /// Adds up what is held.
    pub(super) fn totals(&self) -> Result<Totals, redb::Error> {
        let read = self.database.begin_read()?;
        let totals = Totals::default();
        for row in read.open_table(BLOBS)?.iter()? {
            totals.blobs.fetch_add(1, Ordering::Relaxed);
            totals.blob_bytes.fetch_add(row?.1.value(), Ordering::Relaxed);
        }
        for row in read.open_table(PACKUMENTS)?.iter()? {
            let record = serde_json::from_slice::<PackumentRecord>(row?.1.value());
            totals.packuments.fetch_add(1, Ordering::Relaxed);
            totals.packument_bytes.fetch_add(record.map_or(0, |record| record.length), Ordering::Relaxed);
        }
        Ok(totals)
    }

    /// A failed read is a miss: what is not found is fetched again.
    fn read<T>(
        &self,
        look: impl FnOnce(&redb::ReadTransaction) -> Result<Option<T>, redb::Error>,
    ) -> Option<T> {
        let found = self.database.begin_read().map_err(redb::Error::from).and_then(|read| look(&read));
        found.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the state");
            None
        })
    }
}

/// A process that was killed holds its lock until the kernel has cleared it away.
fn open_database(path: &Path) -> Result<Database, DatabaseError> {
    let started = Instant::now();
    loop {
        match Database::builder().set_cache_size(CACHE_BYTES).create(path) {
            Err(DatabaseError::DatabaseAlreadyOpen) if started.elapsed() < LOCK_WAIT => {
                std::thread::sleep(LOCK_PAUSE);
            }
            other => return other,
        }
    }
}

fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let write = begin(database)?;
    write.open_table(PACKUMENTS)?;
    write.open_table(TARBALLS)?;
    write.open_table(BLOBS)?;
    write.open_table(EVIDENCE)?;
    write.open_table(META)?;
    write.commit()?;
    Ok(())
}

/// Quick repair: a start after a crash reads the saved allocator state instead of the whole file.
fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut write = database.begin_write()?;
    write.set_quick_repair(true);
    Ok(write)
}

/// The writer's life: until every sender is gone.
fn write(database: &Database, mut waiting: mpsc::Receiver<Waiting>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut batch = vec![first];
        while let Ok(next) = waiting.try_recv() {
            batch.push(next);
        }
        let made = commit(database, &batch);
        for (nth, Waiting { done, .. }) in batch.into_iter().enumerate() {
            let result = made.as_ref().map(|made| made[nth]).map_err(Clone::clone);
            // Whoever waited may have gone away; the change is committed all the same.
            let _ = done.send(result);
        }
    }
}

fn commit(database: &Database, batch: &[Waiting]) -> Result<Vec<bool>, StateError> {
    let committed = (|| -> Result<_, redb::Error> {
        let write = begin(database)?;
        let made =
            batch.iter().map(|waiting| apply(&write, &waiting.change)).collect::<Result<Vec<_>, _>>()?;
        write.commit()?;
        Ok(made)
    })();
    committed.map_err(|error| {
        tracing::error!(%error, "cannot commit to the state");
        StateError(error.to_string().into())
    })
}

fn apply(write: &WriteTransaction, change: &Change) -> Result<bool, redb::Error> {
    match change {
        Change::Packument { name, record: Some(record) } => {
            let row = serde_json::to_vec(record).map_err(|error| redb::Error::Io(error.into()))?;
            write.open_table(PACKUMENTS)?.insert(name.as_str(), row.as_slice())?;
        }
        Change::Packument { name, record: None } => {
            return Ok(write.open_table(PACKUMENTS)?.remove(name.as_str())?.is_some());
        }
        Change::Account { name, revision, delta } => return account(write, name, revision, *delta),
        Change::Doubt { name } => return doubt(write, name),
        Change::Tarball { name, file, integrity } => {
            write.open_table(TARBALLS)?.insert(tarball_key(name, file).as_str(), integrity.as_bytes())?;
        }
        Change::Blob { integrity, length } => {
            return Ok(write.open_table(BLOBS)?.insert(integrity.as_bytes(), length)?.is_none());
        }
        Change::NoBlob { integrity } => {
            return Ok(write.open_table(BLOBS)?.remove(integrity.as_bytes())?.is_some());
        }
        Change::Evidence { path, evidence } => {
            let row = serde_json::to_vec(evidence).map_err(|error| redb::Error::Io(error.into()))?;
            write.open_table(EVIDENCE)?.insert(path.as_str(), row.as_slice())?;
        }
        Change::Cursor(cursor) => {
            let row = serde_json::to_vec(cursor).map_err(|error| redb::Error::Io(error.into()))?;
            write.open_table(META)?.insert(CURSOR, row.as_slice())?;
        }
    }
    Ok(true)
}

fn account(
    write: &WriteTransaction,
    name: &PackageName,
    revision: &Revision,
    delta: i64,
) -> Result<bool, redb::Error> {
    let mut packuments = write.open_table(PACKUMENTS)?;
    let held = packuments.get(name.as_str())?.and_then(|row| read_record(row.value()));
    let Some(mut record) = held.filter(|held| held.revision == *revision) else {
        return Ok(false);
    };
    record.stored = record.stored.saturating_add_signed(delta);
    packuments.insert(name.as_str(), row_of(&record)?.as_slice())?;
    Ok(true)
}

fn read_record(row: &[u8]) -> Option<PackumentRecord> {
    serde_json::from_slice(row).ok()
}

fn row_of(value: &impl Serialize) -> Result<Vec<u8>, redb::Error> {
    serde_json::to_vec(value).map_err(|error| redb::Error::Io(error.into()))
}

/// What is held counts as confirmed long ago. Read and written within one transaction, so that it never brings back a record that was replaced meanwhile.
fn doubt(write: &WriteTransaction, name: &PackageName) -> Result<bool, redb::Error> {
    let mut packuments = write.open_table(PACKUMENTS)?;
    let held = packuments.get(name.as_str())?.and_then(|row| serde_json::from_slice(row.value()).ok());
    let Some(held) = held else {
        return Ok(false);
    };
    let doubted = PackumentRecord { checked_ms: 0, ..held };
    let row = serde_json::to_vec(&doubted).map_err(|error| redb::Error::Io(error.into()))?;
    packuments.insert(name.as_str(), row.as_slice())?;
    Ok(true)
}

/// Neither a name nor a file contains NUL.
fn tarball_key(name: &PackageName, file: &FileName) -> String {
    format!("{name}\0{file}")
}

mod revision_hex {
    //! A revision as hexadecimal text.

    use resolver::variant::Revision;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(revision: &Revision, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&revision.hex())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Revision, D::Error> {
        let text = String::deserialize(deserializer)?;
        Revision::from_hex(&text).ok_or_else(|| de::Error::custom("not 64 hexadecimal digits"))
    }
}
