//! What is kept on disk, and survives a restart.
//!
//! ```text
//! <dir>/format                      "open-registry data 2": the layout below; a newer one is refused
//! <dir>/state.redb                  names: what is held under which digest (see `tables`)
//! <dir>/index.redb, followed.redb   what others keep there; it counts against the limit
//! <dir>/state.redb.damaged          the last state that could not be read, moved aside
//! <dir>/visited                     which items were used lately (see `marks`)
//! <dir>/blobs/sha512/ab/cdef…       tarballs, each named by its SHA-512 in hexadecimal
//! <dir>/documents/sha256/ab/cdef…/  packuments, a folder for each SHA-256 of what upstream sent (see `documents`)
//! <dir>/drafts/<n>                  bytes being written that are not verified yet; emptied at every start
//! ```
//!
//! Bytes are written as a draft, verified, and renamed to their digest; then the name is committed. So a
//! crash at any point leaves drafts, which go, or content without a name, which is found by digest or fetched
//! again. Content is hashed once more when it is first read after a start: what a power cut or a bad disk
//! made of it is removed and fetched again, never served. The keeper finds the rest (see `scrub`).
//!
//! The store is bounded: above `max_bytes`, or with less than `min_free` left on the disk, what was not used goes
//! (see `queue`, `eviction`). When there is nothing that could go, it is full: what is held is served, and nothing new
//! is kept.

mod blob;
mod buffers;
mod change;
mod content;
mod database;
mod documents;
mod draft;
mod eviction;
mod feed;
mod format;
mod frames;
mod journal;
mod keeper;
mod known;
mod marks;
mod memory;
mod news;
mod package;
mod packuments;
mod pins;
mod queue;
mod recovery;
mod removed;
mod room;
mod rows;
mod scrub;
mod shelf;
mod space;
mod state;
mod tables;
mod totals;
mod writer;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use resolver::eviction::Limits;
use resolver::integrity::Integrity;
use resolver::package::{FileName, PackageName};
use resolver::variant::Revision;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use blob::{Blob, BlobReader};
pub(crate) use database::is_damage;
pub use documents::{Coded, outline};
pub use draft::{Draft, DraftReader};
pub use format::OpenError;
pub use frames::{Frames, FramesText, FramesWriter, Source};
pub use journal::Tarballs;
pub use keeper::Lost;
pub(crate) use known::OPEN_FILES;
pub use memory::{Key, Memory};
pub use news::{Mark, News, Subject};
pub use package::Package;
pub use packuments::VariantKey;
pub use pins::{PinError, PinSet};
pub use tables::{Cursor, Evidence, PackumentRecord, TarballRecord, on_disk};
pub use totals::Totals;

/// The databases that others keep beside the state: what they take counts against the limit, too.
pub(crate) const INDEX: &str = "index.redb";
pub(crate) const FOLLOWED: &str = "followed.redb";
const BESIDE: [&str; 2] = [INDEX, FOLLOWED];

use crate::units::{Period, Size};
use change::{Applied, Change};
use content::{Contents, Found};
use keeper::Keeper;
use state::State;
use tables::{Item, blob_mark};

/// `[store]`: where everything is kept, and how much of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The data directory; `None`: see [`crate::config::data_dir`].
    #[serde(deserialize_with = "crate::units::unset_when_empty")]
    pub dir: Option<PathBuf>,
    /// What small tarballs and rendered packuments take in memory while they are in use.
    pub memory: Size,
    /// What all our files may take.
    pub max_bytes: Size,
    /// What stays free on their file system.
    pub min_free: Size,
    /// What metadata may be of it when tarballs want room too: percent, 1 to 99.
    pub metadata_share: u8,
    /// The time in which every file is read once and verified; `None`: never.
    #[serde(deserialize_with = "crate::units::unset_when_empty")]
    pub scrub: Option<Period>,
}

/// The data directory of one gateway. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    contents: Arc<Contents>,
    memory: Arc<Memory>,
    state: State,
    keeper: Keeper,
}

/// A failure of the disk or of the state on it. Never the client's fault, and never shown to it in words.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room for anything new, or nothing can be written now; what is held is served all the same.
    #[error("nothing new can be kept now")]
    Full,
    /// A file could not be read or written.
    #[error("{0}")]
    Io(io::Error),
}

impl Config {
    /// A store of so many bytes that is left alone.
    #[cfg(test)]
    pub(crate) fn of(max_bytes: u64) -> Self {
        let (max_bytes, nothing) = (Size(max_bytes), Size(0));
        Self { dir: None, memory: nothing, max_bytes, min_free: nothing, metadata_share: 25, scrub: None }
    }

    fn limits(&self) -> Limits {
        Limits {
            max_bytes: self.max_bytes.bytes(),
            min_free: self.min_free.bytes(),
            metadata_share: self.metadata_share,
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Full
            }
            _ => Self::Io(error),
        }
    }
}

impl Store {
    /// Opens the data directory, making it first if it is not there. Takes as long for a full one as for an empty one.
    /// Blocks.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do about it.
    pub fn open(dir: &Path, config: &Config) -> Result<Self, OpenError> {
        format::prepare(dir)?;
        let memory = Arc::new(Memory::new(config.memory.bytes()));
        let contents = Arc::new(Contents::new(dir, Arc::clone(&memory)));
        let last_commit = keeper::written(&dir.join("state.redb"));
        let (state, was_dirty) = State::open(dir, Arc::clone(&contents), config.limits())?;
        let doubtful = last_commit.filter(|_| was_dirty);
        let keeper = Keeper::start(&state, dir, config.scrub.map(Period::duration), doubtful)
            .map_err(|error| OpenError::Io(dir.into(), error))?;
        Ok(Self { inner: Arc::new(Inner { contents, memory, state, keeper }) })
    }

    /// What is kept in memory of tarballs and of renderings.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.inner.memory
    }

    /// An orderly end: what was used lately is remembered, and the next start has nothing to go over.
    pub async fn close(&self) {
        self.inner.keeper.stop();
        self.inner.state.end().await;
    }

    /// How much is held.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.inner.state.shared().totals
    }

    /// Whether there is no room for anything new: neither is there any, nor can it be made.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.totals().full.load(Ordering::Relaxed) == 1
    }

    /// What the operator allows.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.state.shared().limits
    }

    /// Whether a tarball with this digest is held; a look at the state, not at its bytes.
    #[must_use]
    pub fn holds_blob(&self, integrity: &Integrity) -> bool {
        self.inner.state.blob_name(integrity).is_some()
    }

    /// How many bytes the tarball with this digest has, if it is held; a look at the state, which does not count as use.
    #[must_use]
    pub fn blob_length(&self, integrity: &Integrity) -> Option<u64> {
        self.inner.state.blob_length(integrity)
    }

    /// Where contents are told that were found corrupt and have a name, so that they can be fetched again. It is
    /// given out once.
    #[must_use]
    pub fn lost(&self) -> Option<mpsc::Receiver<Lost>> {
        self.inner.keeper.lost()
    }

    /// What is held, for the one who tells others: there is one journal, and who takes of it has it.
    #[must_use]
    pub fn tarballs(&self) -> Tarballs {
        Tarballs::new(self.inner.state.clone())
    }

    /// Of which packages something has changed, for the one who keeps an index of what is held.
    #[must_use]
    pub fn news(&self) -> News {
        News::new(self.inner.state.clone())
    }

    /// A new draft, to be given to one of the `keep_` methods once it is verified; dropped, it is gone.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the disk refuses.
    pub fn draft(&self) -> Draft {
        if self.is_full() {
            self.inner.contents.room().refused(&StoreError::Full);
        }
        self.inner.contents.draft(!self.is_full())
    }

    /// The tarball with this digest, if it is held and intact.
    pub async fn blob(&self, integrity: &Integrity) -> Option<Blob> {
        let blob = self.look_for_blob(integrity).await?;
        self.inner.state.shared().marks.set(blob_mark(integrity));
        Some(blob)
    }

    /// The same; what has gone or is damaged loses its row.
    async fn look_for_blob(&self, integrity: &Integrity) -> Option<Blob> {
        match self.inner.contents.blob(integrity).await {
            Found::Intact(blob) => Some(blob),
            Found::Missing => {
                if self.inner.state.blob_name(integrity).is_some() {
                    let _ = self.commit(Change::Missing(Item::Blob(*integrity))).await;
                }
                None
            }
            Found::Corrupt => {
                self.count_corrupt(&integrity.hex());
                // If it cannot be committed, the row goes when its file is missed again.
                let _ = self.commit(Change::Missing(Item::Blob(*integrity))).await;
                None
            }
        }
    }

    /// Keeps a draft whose bytes were verified to have this digest, and opens it. When the disk takes nothing, it is
    /// opened all the same, and gone when its last reader is done. `fetched_for` is told as news of that package.
    ///
    /// # Errors
    /// [`StoreError::Io`] when there is room neither on the disk nor in memory; the draft is gone then.
    pub async fn keep_blob(
        &self,
        draft: Draft,
        integrity: &Integrity,
        fetched_for: Option<&PackageName>,
    ) -> Result<Blob, StoreError> {
        let place = !self.is_full();
        let (blob, in_place) = self.inner.contents.keep_blob(draft, integrity, place).await?;
        if !in_place {
            self.not_kept();
            return Ok(blob);
        }
        let (length, fetched_for) = (blob.length(), fetched_for.cloned());
        match self.commit(Change::Blob { integrity: *integrity, length, fetched_for }).await {
            Ok(_) => self.inner.contents.room().taken(),
            Err(error) => {
                self.inner.contents.room().refused(&error);
                // What has no row is not counted, and must not take room. Should somebody else have brought it and its
                // row meanwhile, that is found out when it is missed.
                self.drop_blob(integrity).await;
                self.not_kept();
            }
        }
        Ok(blob)
    }

    /// A reader of the first `length` bytes of a file that was opened here.
    #[must_use]
    pub fn reader(&self, file: Arc<File>, length: u64) -> BlobReader {
        self.inner.contents.known.reader(file, length)
    }

    /// Whether there is certainly no room for this many bytes, neither on the disk nor in memory.
    #[must_use]
    pub fn has_no_room_for(&self, bytes: u64) -> bool {
        self.inner.contents.room().is_too_small_for(bytes, self.is_full())
    }

    /// Something is served that could not be kept.
    pub fn not_kept(&self) {
        self.totals().not_kept.fetch_add(1, Ordering::Relaxed);
    }

    /// The digest that a tarball's name stood for when it was last fetched.
    #[must_use]
    pub fn tarball(&self, name: &PackageName, file: &FileName) -> Option<TarballRecord> {
        self.inner.state.tarball(name, file)
    }

    /// Remembers which digest upstream's packument gave to a tarball's name, and which revision of it.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be committed.
    pub async fn keep_tarball(
        &self,
        name: &PackageName,
        file: &FileName,
        is: &Integrity,
        said_by: Option<&Revision>,
    ) -> Result<(), StoreError> {
        let record = TarballRecord::new(*is, said_by);
        if self.tarball(name, file) == Some(record) {
            return Ok(());
        }
        self.commit(Change::Tarball { name: name.clone(), file: file.clone(), record }).await.map(drop)
    }

    /// A small signed document, by its path at upstream.
    #[must_use]
    pub fn evidence(&self, path: &str) -> Option<Evidence> {
        self.inner.state.evidence(path)
    }

    /// Keeps a small signed document, or that upstream has none.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be committed.
    pub async fn keep_evidence(&self, path: &str, evidence: Evidence) -> Result<(), StoreError> {
        self.check_room()?;
        self.commit(Change::Evidence { path: path.to_owned(), evidence }).await.map(drop)
    }

    async fn drop_blob(&self, integrity: &Integrity) {
        let (store, integrity) = (self.clone(), *integrity);
        let dropped = draft::blocking(move || {
            store.inner.contents.remove_blob(&integrity);
            Ok(())
        });
        // Removing cannot fail; the task can only be cancelled with the runtime.
        let _ = dropped.await;
    }

    fn check_room(&self) -> Result<(), StoreError> {
        if self.is_full() { Err(StoreError::Full) } else { Ok(()) }
    }

    async fn commit(&self, change: Change) -> Result<Applied, StoreError> {
        self.inner.state.commit(change).await
    }

    fn count_corrupt(&self, digest: &str) {
        self.totals().found_corrupt(digest);
    }
}
