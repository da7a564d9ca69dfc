//! What is kept on disk, and survives a restart.
//!
//! ```text
//! <dir>/format                      "open-registry data 1": the layout below; a newer one is refused
//! <dir>/state.redb                  names: what is held under which digest (see `state`)
//! <dir>/blobs/sha512/ab/cdef…       tarballs, each named by its SHA-512 in hexadecimal
//! <dir>/documents/sha256/ab/cdef…/  packuments, a folder for each SHA-256 of what upstream sent (see `documents`)
//! <dir>/drafts/<n>                  bytes being written that are not verified yet; emptied at every start
//! ```
//!
//! Bytes are written as a draft, verified, and renamed to their digest; then the name is committed. So a
//! crash at any point leaves drafts, which go, or content without a name, which is found by digest or fetched
//! again. Content is hashed once more when it is first read after a start: what a power cut or a bad disk
//! made of it is removed and fetched again, never served.

mod content;
mod documents;
mod draft;
mod format;
mod frames;
mod marks;
mod packuments;
mod state;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use resolver::integrity::Integrity;
use resolver::package::{FileName, PackageName};
use serde::{Deserialize, Serialize};

pub use content::{Blob, BlobReader};
pub use documents::{Coded, outline};
pub use draft::{Draft, DraftReader};
pub use format::OpenError;
pub use frames::{Frames, FramesText, FramesWriter, Source};
pub use packuments::VariantKey;
pub use state::{Cursor, Evidence, PackumentRecord, StateError};

use content::{Contents, Found};
use documents::Documents;
use marks::Marks;
use state::{Change, State};

/// `[store]`: where everything is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The data directory; `None`: see [`crate::config::data_dir`].
    #[serde(deserialize_with = "crate::units::unset_when_empty")]
    pub dir: Option<PathBuf>,
}

/// The data directory of one gateway. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    contents: Contents,
    documents: Arc<Documents>,
    state: State,
    marks: Marks,
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
}

/// A failure of the disk or of the state on it. Never the client's fault, and never shown to it in words.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room for anything new; what is held is served all the same.
    #[error("there is no room left for it")]
    Full,
    /// A file could not be read or written.
    #[error("{0}")]
    Io(io::Error),
    /// The state could not be read or committed.
    #[error("{0}")]
    State(#[from] StateError),
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
    /// Opens the data directory, making it first if it is not there. Blocks.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do about it.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        format::prepare(dir)?;
        let state = State::open(&dir.join("state.redb"))?;
        let totals = state.totals().map_err(|error| OpenError::Unreadable(dir.into(), error.to_string()))?;
        let marks = Marks::load(dir);
        Ok(Self {
            inner: Arc::new(Inner {
                contents: Contents::new(dir),
                documents: Arc::new(Documents::new(dir)),
                state,
                marks,
                totals,
            }),
        })
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

    /// Keeps a draft whose bytes were verified to have this digest, and opens it.
    ///
    /// # Errors
    /// [`StoreError`] when the disk refuses; the draft is gone then.
    pub async fn keep_blob(&self, draft: Draft, integrity: &Integrity) -> Result<Blob, StoreError> {
        let blob = self.inner.contents.keep_blob(draft, integrity).await?;
        let new = self.commit(Change::Blob { integrity: *integrity, length: blob.length() }).await?;
        if new {
            self.totals().blobs.fetch_add(1, Ordering::Relaxed);
            self.totals().blob_bytes.fetch_add(blob.length(), Ordering::Relaxed);
        }
        Ok(blob)
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

    /// Where the change feed was left.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        self.inner.state.cursor()
    }

    /// Keeps where the change feed was left.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be committed.
    pub async fn keep_cursor(&self, cursor: Cursor) -> Result<(), StoreError> {
        self.commit(Change::Cursor(cursor)).await.map(|_| ())
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
