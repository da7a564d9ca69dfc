//! Names and what they stand for, in one transactional file.
//!
//! redb: one file, ACID, a copy-on-write tree that is valid after a crash without a repair of its whole size,
//! no background threads, and readers that never wait for the writer. `tables` has the rows.
//!
//! What cannot be read is a miss: it is fetched again. What cannot be written is [`StoreError::Full`]: it is passed
//! through. Meanwhile the [writer](super::writer) opens the file again, or, when it is damaged, a new one.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use redb::{Database, ReadTransaction, ReadableDatabase};
use resolver::eviction::Limits;
use resolver::integrity::Integrity;
use resolver::package::{FileName, PackageName};
use tokio::sync::{mpsc, oneshot};

use super::StoreError;
use super::change::{Applied, Change};
use super::content::Contents;
use super::database::{self, Trouble};
use super::documents::Documents;
use super::format::{OpenError, empty_drafts};
use super::journal::Journal;
use super::marks::Marks;
use super::news::Board;
use super::pins::{self, PinSet};
use super::rows::Rows;
use super::space::Space;
use super::tables::{
    BLOBS, EVIDENCE, Evidence, META, PACKUMENTS, PackumentRecord, TARBALLS, TarballRecord, read_json,
    tarball_key, unsealed,
};
use super::totals::{Counts, Totals};
use super::writer::{Waiting, Writer};

/// Changes that may wait for the writer; whoever brings another one waits for a place.
const QUEUE: usize = 1024;

/// The state of one data directory. Cheap to clone.
#[derive(Clone)]
pub(super) struct State {
    shared: Arc<Shared>,
    writer: mpsc::Sender<Waiting>,
}

/// What readers, the writer and the keeper share.
pub(super) struct Shared {
    pub(super) path: PathBuf,
    /// None while it is being opened again.
    pub(super) database: ArcSwapOption<Database>,
    /// A reader has met damage.
    pub(super) suspect: AtomicBool,
    /// Names have to be looked for among the files.
    pub(super) rebuild: AtomicBool,
    pub(super) contents: Arc<Contents>,
    pub(super) documents: Arc<Documents>,
    pub(super) marks: Marks,
    pub(super) limits: Limits,
    pub(super) space: Space,
    pub(super) totals: Totals,
    pub(super) rows: Rows,
    pub(super) journal: Journal,
    pub(super) news: Board,
}

impl State {
    /// Opens the state, and with it takes the lock on the data directory; says whether the last process that had it
    /// came to a sudden end.
    pub(super) fn open(
        dir: &Path,
        contents: Arc<Contents>,
        limits: Limits,
    ) -> Result<(Self, bool), OpenError> {
        let path = dir.join("state.redb");
        let opened = database::open(&path).map_err(|trouble| match trouble {
            Trouble::InUse => OpenError::InUse(dir.into()),
            Trouble::Damaged(cause) => OpenError::Unreadable(dir.into(), cause),
            Trouble::Io(error) => OpenError::Io(dir.into(), error),
        })?;
        let failed = |error| OpenError::Io(dir.into(), error);
        empty_drafts(dir).map_err(failed)?;
        let unreadable = |error: redb::Error| OpenError::Unreadable(dir.into(), error.to_string());
        let read = opened.database.begin_read().map_err(|error| unreadable(error.into()))?;
        let mut counts = Counts::load(&read).map_err(unreadable)?;
        drop(read);
        let news = Board::default();
        news.begin(&mut counts);
        let shared = Arc::new(Shared {
            path,
            database: ArcSwapOption::from_pointee(opened.database),
            suspect: AtomicBool::new(false),
            rebuild: AtomicBool::new(opened.rebuild),
            contents,
            documents: Arc::new(Documents::new(dir)),
            marks: Marks::load(dir),
            limits,
            space: Space::new(dir),
            totals: Totals::default(),
            rows: Rows::default(),
            journal: Journal::default(),
            news,
        });
        let (writer, waiting) = mpsc::channel(QUEUE);
        let work = Writer::new(Arc::clone(&shared), counts);
        std::thread::Builder::new().name("state".into()).spawn(move || work.run(waiting)).map_err(failed)?;
        Ok((Self { shared, writer }, opened.was_dirty))
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Commits a change to disk.
    ///
    /// # Errors
    /// [`StoreError::Full`] when that cannot be done now.
    pub(super) async fn commit(&self, change: Change) -> Result<Applied, StoreError> {
        let (done, committed) = oneshot::channel();
        self.writer.send(Waiting::Change { change, done }).await.map_err(|_| StoreError::Full)?;
        committed.await.unwrap_or(Err(StoreError::Full))
    }

    /// The same, for a thread that may block.
    pub(super) fn commit_blocking(&self, change: Change) -> Result<Applied, StoreError> {
        let (done, committed) = oneshot::channel();
        let sent = self.writer.blocking_send(Waiting::Change { change, done });
        sent.map_err(|_| StoreError::Full)?;
        committed.blocking_recv().unwrap_or(Err(StoreError::Full))
    }

    /// Everything that was sent before is on the disk; nothing is written any more.
    pub(super) async fn end(&self) {
        let (done, ended) = oneshot::channel();
        if self.writer.send(Waiting::End { done }).await.is_ok() {
            // An error means that the writer has ended before.
            let _ = ended.await;
        }
    }

    /// For a client: it counts as used.
    pub(super) fn packument(&self, name: &PackageName) -> Option<PackumentRecord> {
        let record = self.packument_unused(name);
        if record.is_some() {
            self.shared.marks.set(name.as_str().as_bytes());
        }
        record
    }

    /// For ourselves.
    pub(super) fn packument_unused(&self, name: &PackageName) -> Option<PackumentRecord> {
        let rows = &self.shared.rows;
        let look = |read: &ReadTransaction| {
            let row = read.open_table(PACKUMENTS)?.get(name.as_str())?;
            Ok(row.and_then(|row| read_json(row.value().1)))
        };
        rows.packuments.get(rows.commits(), name, || self.read(look))
    }

    pub(super) fn tarball(&self, name: &PackageName, file: &FileName) -> Option<TarballRecord> {
        let (rows, key) = (&self.shared.rows, tarball_key(name, file));
        let look = |read: &ReadTransaction| {
            let row = read.open_table(TARBALLS)?.get(key.as_str())?;
            Ok(row.and_then(|row| TarballRecord::read(row.value())))
        };
        rows.tarballs.get(rows.commits(), &key, || self.read(look))
    }

    /// What a tarball is called, if there is a row for it; an empty text when it has come without a name.
    pub(super) fn blob_name(&self, integrity: &Integrity) -> Option<String> {
        self.read(|read| {
            let row = read.open_table(BLOBS)?.get(integrity.as_bytes())?;
            Ok(row.map(|row| row.value().2.to_owned()))
        })
    }

    /// How many bytes a tarball has, if there is a row for it. It does not count as used.
    pub(super) fn blob_length(&self, integrity: &Integrity) -> Option<u64> {
        self.read(|read| {
            let row = read.open_table(BLOBS)?.get(integrity.as_bytes())?;
            Ok(row.map(|row| row.value().0))
        })
    }

    /// The tarballs that are known whose digests begin with this byte.
    pub(super) fn blobs_in(&self, first: u8) -> Option<BTreeSet<[u8; 64]>> {
        let (mut from, mut to) = ([0; 64], [0xff; 64]);
        (from[0], to[0]) = (first, first);
        self.read(|read| {
            let mut found = BTreeSet::new();
            for row in read.open_table(BLOBS)?.range::<&[u8; 64]>(&from..=&to)? {
                found.insert(*row?.0.value());
            }
            Ok(Some(found))
        })
    }

    /// The names of all packuments, in order, as they were at one moment.
    pub(super) fn each_packument(&self, mut visit: impl FnMut(&str)) {
        self.read(|read| {
            for row in read.open_table(PACKUMENTS)?.range::<&str>(..)? {
                visit(row?.0.value());
            }
            Ok(Some(()))
        });
    }

    /// The next packument by name.
    pub(super) fn packument_after(&self, name: &str) -> Option<(PackageName, PackumentRecord)> {
        self.read(|read| {
            let packuments = read.open_table(PACKUMENTS)?;
            let behind = (Bound::Excluded(name), Bound::Unbounded);
            for row in packuments.range::<&str>(behind)? {
                let (name, row) = row?;
                if let (Ok(name), Some(record)) = (PackageName::parse(name.value()), read_json(row.value().1))
                {
                    return Ok(Some((name, record)));
                }
            }
            Ok(None)
        })
    }

    pub(super) fn evidence(&self, path: &str) -> Option<Evidence> {
        let evidence = self.read(|read| {
            let row = read.open_table(EVIDENCE)?.get(path)?;
            Ok(row.and_then(|row| read_json(unsealed(row.value().1)?)))
        });
        if evidence.is_some() {
            self.shared.marks.set(path.as_bytes());
        }
        evidence
    }

    pub(super) fn note(&self, word: &str) -> Option<Vec<u8>> {
        self.read(|read| Ok(read.open_table(META)?.get(word)?.map(|row| row.value().to_vec())))
    }

    pub(super) fn pins(&self) -> Vec<PinSet> {
        self.read(|read| pins::sets(read).map(Some)).unwrap_or_default()
    }

    /// A failed read is a miss: what is not found is fetched again.
    pub(super) fn read<T>(
        &self,
        look: impl FnOnce(&ReadTransaction) -> Result<Option<T>, redb::Error>,
    ) -> Option<T> {
        let database = self.shared.database.load_full()?;
        // The database panics over some kinds of damage.
        let found = catch_unwind(AssertUnwindSafe(|| {
            database.begin_read().map_err(redb::Error::from).and_then(|read| look(&read))
        }));
        drop(database);
        let cause = match found {
            Ok(Ok(found)) => return found,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it is damaged".to_owned(),
        };
        tracing::warn!(cause, "cannot read the state");
        self.shared.suspect.store(true, Ordering::Release);
        // If there is no place, the writer comes to look without being told.
        let _ = self.writer.try_send(Waiting::change(Change::Look));
        None
    }
}
