//! What is kept on disk, and survives a restart.
//!
//! ```text
//! <dir>/format                      "open-registry data 1": the layout below; a newer one is refused
//! <dir>/state.redb                  names: what is held under which digest (see `state`)
//! <dir>/blobs/sha512/ab/cdef…       tarballs, each named by its SHA-512 in hexadecimal
//! <dir>/documents/sha256/ab/cdef…   packuments as upstream sent them (decoded), named by their SHA-256
//! <dir>/drafts/<n>                  bytes being written that are not verified yet; emptied at every start
//! ```
//!
//! Bytes are written as a draft, verified, and renamed to their digest; then the name is committed. So a
//! crash at any point leaves drafts, which go, or content without a name, which is found by digest or fetched
//! again. Content is hashed once more when it is first read after a start: what a power cut or a bad disk
//! made of it is removed and fetched again, never served.

mod blob;
mod buffers;
mod content;
mod draft;
mod format;
mod known;
mod memory;
mod room;
mod state;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use resolver::integrity::Integrity;
use resolver::package::{FileName, PackageName};
use resolver::variant::Revision;
use serde::{Deserialize, Serialize};

pub use blob::{Blob, BlobReader};
pub use draft::{Draft, DraftReader};
pub use format::OpenError;
pub(crate) use known::OPEN_FILES;
pub use memory::{Key, Memory};
pub use state::{Evidence, PackumentRecord, StateError};

use content::{Contents, Found};
use state::{Change, State};

use crate::units::Size;

/// `[store]`: where everything is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The data directory; `None`: see [`crate::config::data_dir`].
    #[serde(deserialize_with = "crate::units::unset_when_empty")]
    pub dir: Option<PathBuf>,
    /// What small tarballs and rendered packuments take in memory while they are in use.
    pub memory: Size,
}

/// The data directory of one gateway. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    contents: Contents,
    memory: Arc<Memory>,
    state: State,
    totals: Totals,
}

/// How much is held.
#[derive(Debug, Default)]
pub struct Totals {
    /// Tarballs.
    pub blobs: AtomicU64,
    /// Their bytes.
    pub blob_bytes: AtomicU64,
    /// Packuments.
    pub packuments: AtomicU64,
    /// Their bytes, as upstream sent them.
    pub packument_bytes: AtomicU64,
    /// Contents that no longer matched their digest when they were read.
    pub corrupt: AtomicU64,
    /// Contents that were served without being kept, for the disk took nothing.
    pub not_kept: AtomicU64,
}

/// A failure of the disk or of the state on it. Never the client's fault, and never shown to it in words.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file could not be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The state could not be read or committed.
    #[error("{0}")]
    State(#[from] StateError),
}

impl Store {
    /// Opens the data directory, making it first if it is not there; up to `memory` bytes of what is asked for again
    /// and again stay in memory. Blocks.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do about it.
    pub fn open(dir: &Path, memory: u64) -> Result<Self, OpenError> {
        format::prepare(dir)?;
        let state = State::open(&dir.join("state.redb"))?;
        let totals = state.totals().map_err(|error| OpenError::Unreadable(dir.into(), error.to_string()))?;
        let memory = Arc::new(Memory::new(memory));
        let contents = Contents::new(dir, Arc::clone(&memory));
        Ok(Self { inner: Arc::new(Inner { contents, memory, state, totals }) })
    }

    /// What is kept in memory of tarballs and of renderings.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.inner.memory
    }

    /// How much is held.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.inner.totals
    }

    /// A new draft, to be given to one of the `keep_` methods once it is verified; dropped, it is gone.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the disk refuses.
    pub fn draft(&self) -> Draft {
        self.inner.contents.draft()
    }

    /// The tarball with this digest, if it is held and intact.
    pub async fn blob(&self, integrity: &Integrity) -> Option<Blob> {
        match self.inner.contents.blob(integrity).await {
            Found::Intact(blob) => Some(blob),
            Found::Missing => None,
            Found::Corrupt => {
                self.count_corrupt(&integrity.hex());
                self.forget_blob(integrity).await;
                None
            }
        }
    }

    /// Keeps a draft whose bytes were verified to have this digest, and opens it. When the disk takes nothing, it is
    /// opened all the same, and gone when its last reader is done.
    ///
    /// # Errors
    /// [`StoreError::Io`] when there is room neither on the disk nor in memory; the draft is gone then.
    pub async fn keep_blob(&self, draft: Draft, integrity: &Integrity) -> Result<Blob, StoreError> {
        let (blob, in_place) = self.inner.contents.keep_blob(draft, integrity).await?;
        if !in_place {
            self.not_kept();
            return Ok(blob);
        }
        match self.commit(Change::Blob { integrity: *integrity, length: blob.length() }).await {
            Ok(is_new) => {
                self.inner.contents.room().taken();
                if is_new {
                    self.totals().blobs.fetch_add(1, Ordering::Relaxed);
                    self.totals().blob_bytes.fetch_add(blob.length(), Ordering::Relaxed);
                }
            }
            Err(error) => {
                self.inner.contents.room().refused(&error);
                // What has no row is not counted, and must not take room.
                self.drop_blob(integrity).await;
                self.not_kept();
            }
        }
        Ok(blob)
    }

    /// Whether there is certainly no room for this many bytes, neither on the disk nor in memory.
    #[must_use]
    pub fn has_no_room_for(&self, bytes: u64) -> bool {
        self.inner.contents.room().is_too_small_for(bytes)
    }

    /// Something is served that could not be kept.
    pub fn not_kept(&self) {
        self.totals().not_kept.fetch_add(1, Ordering::Relaxed);
    }

    /// The digest that a tarball's name stood for when it was last fetched.
    #[must_use]
    pub fn tarball(&self, name: &PackageName, file: &FileName) -> Option<Integrity> {
        self.inner.state.tarball(name, file)
    }

    /// Remembers which digest upstream's packument gave to a tarball's name.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be committed.
    pub async fn keep_tarball(
        &self,
        name: &PackageName,
        file: &FileName,
        is: &Integrity,
    ) -> Result<(), StoreError> {
        if self.tarball(name, file) == Some(*is) {
            return Ok(());
        }
        self.commit(Change::Tarball { name: name.clone(), file: file.clone(), integrity: *is })
            .await
            .map(|_| ())
    }

    /// What is known of a package's packument.
    #[must_use]
    pub fn packument(&self, name: &PackageName) -> Option<PackumentRecord> {
        self.inner.state.packument(name)
    }

    /// Keeps a packument whose bytes were verified to be of this revision; the one before it goes.
    ///
    /// # Errors
    /// [`StoreError`] when the disk refuses; the one before stays then.
    pub async fn keep_packument(
        &self,
        name: &PackageName,
        draft: Draft,
        record: PackumentRecord,
    ) -> Result<(), StoreError> {
        let before = self.packument(name);
        self.inner.contents.keep_document(draft, &record.revision).await?;
        let (revision, length) = (record.revision, record.length);
        self.commit(Change::Packument { name: name.clone(), record: Some(record) }).await?;
        let totals = self.totals();
        totals.packument_bytes.fetch_add(length, Ordering::Relaxed);
        match before {
            Some(before) => {
                totals.packument_bytes.fetch_sub(before.length, Ordering::Relaxed);
                if before.revision != revision {
                    self.inner.contents.remove_document(&before.revision).await;
                }
            }
            None => _ = totals.packuments.fetch_add(1, Ordering::Relaxed),
        }
        Ok(())
    }

    /// Upstream has confirmed the packument that is held.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be committed.
    pub async fn confirm_packument(
        &self,
        name: &PackageName,
        record: PackumentRecord,
    ) -> Result<(), StoreError> {
        self.commit(Change::Packument { name: name.clone(), record: Some(record) }).await.map(|_| ())
    }

    /// Upstream no longer has the package. Its tarballs stay, for those who have their digests.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be committed.
    pub async fn remove_packument(&self, name: &PackageName) -> Result<(), StoreError> {
        let Some(before) = self.packument(name) else {
            return Ok(());
        };
        self.commit(Change::Packument { name: name.clone(), record: None }).await?;
        self.totals().packuments.fetch_sub(1, Ordering::Relaxed);
        self.totals().packument_bytes.fetch_sub(before.length, Ordering::Relaxed);
        self.inner.contents.remove_document(&before.revision).await;
        Ok(())
    }

    /// Whether there are bytes for a revision; whether they are intact shows when they are read.
    #[must_use]
    pub fn has_document(&self, revision: &Revision) -> bool {
        self.inner.contents.has_document(revision)
    }

    /// The bytes of a revision, if they are held and intact. Blocks.
    #[must_use]
    pub fn read_document(&self, revision: &Revision) -> Option<String> {
        match self.inner.contents.read_document(revision) {
            Found::Intact(document) => Some(document),
            Found::Missing => None,
            Found::Corrupt => {
                self.count_corrupt(&revision.hex());
                None
            }
        }
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
        self.commit(Change::Evidence { path: path.to_owned(), evidence }).await.map(|_| ())
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

    async fn forget_blob(&self, integrity: &Integrity) {
        let Some(length) = self.inner.state.blob_length(integrity) else {
            return;
        };
        if matches!(self.commit(Change::NoBlob { integrity: *integrity }).await, Ok(true)) {
            self.totals().blobs.fetch_sub(1, Ordering::Relaxed);
            self.totals().blob_bytes.fetch_sub(length, Ordering::Relaxed);
        }
    }

    /// Commits a change; says whether it made a difference to what is held.
    async fn commit(&self, change: Change) -> Result<bool, StoreError> {
        Ok(self.inner.state.commit(change).await?)
    }

    fn count_corrupt(&self, digest: &str) {
        self.totals().corrupt.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(digest, "content on disk no longer matches its digest; removed, to be fetched again");
    }
}
