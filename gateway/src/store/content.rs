//! Tarballs: files named by their SHA-512; and where packuments are.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use quick_cache::sync::Cache;
use resolver::integrity::{Expected, Integrity, Verifier};

use super::documents::Documents;
use super::draft::{Draft, blocking, read_at};

/// A tarball up to this size is read in one piece, in the same trip to the disk that opens it.
const WHOLE: u64 = 256 * 1024;
/// What a larger one is read in.
const CHUNK: usize = 256 * 1024;
/// Blobs of which it is remembered that they were intact, and how long: 200,000 take about 12 MB, and one that
/// is forgotten is merely hashed again.
const REMEMBERED: usize = 200_000;

/// The content-addressed part of a data directory.
pub(super) struct Contents {
    pub(super) dir: PathBuf,
    pub(super) documents: Documents,
    intact: Arc<Cache<[u8; 16], u64>>,
}

/// What a look for content finds.
pub(super) enum Found<T> {
    Intact(T),
    Missing,
    /// It was there, but not what its name says; it has been removed.
    Corrupt,
}

/// One verified tarball, open for reading; it can be read to its end even when the file is removed meanwhile.
#[derive(Clone, Debug)]
pub struct Blob {
    integrity: Integrity,
    length: u64,
    file: Arc<File>,
    /// All of it, when it is small and has been read anyway.
    whole: Option<Bytes>,
}

/// Reads a part of a blob, chunk by chunk.
pub struct BlobReader {
    blob: Blob,
    at: u64,
    end: u64,
}

impl Contents {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.into(), documents: Documents::new(dir), intact: Arc::new(Cache::new(REMEMBERED)) }
    }

    pub(super) fn draft(&self) -> Draft {
        Draft::new(&self.dir.join("drafts"))
    }

    pub(super) async fn blob(&self, integrity: &Integrity) -> Found<Blob> {
        let (path, integrity, intact) = (self.blob_path(integrity), *integrity, Arc::clone(&self.intact));
        let opened = blocking(move || open_blob(&path, integrity, &intact)).await;
        opened.unwrap_or_else(|error| {
            tracing::warn!(%error, %integrity, "cannot read a tarball from the store");
            Found::Missing
        })
    }

    pub(super) async fn keep_blob(&self, draft: Draft, integrity: &Integrity) -> io::Result<Blob> {
        let length = draft.length();
        let file = draft.keep(self.blob_path(integrity)).await?;
        self.intact.insert(short(integrity), length);
        Ok(Blob { integrity: *integrity, length, file, whole: None })
    }

    pub(super) fn blob_path(&self, integrity: &Integrity) -> PathBuf {
        sharded(&self.dir.join("blobs/sha512"), &integrity.hex())
    }
}

impl Blob {
    /// Its digest.
    #[must_use]
    pub fn integrity(&self) -> &Integrity {
        &self.integrity
    }

    /// Its size in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Its bytes in `range`, which must lie within it, when they can be had without another trip to the disk.
    #[must_use]
    pub fn at_once(&self, range: &std::ops::Range<u64>) -> Option<Bytes> {
        let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
        self.whole.as_ref().filter(|whole| end <= whole.len()).map(|whole| whole.slice(start..end))
    }

    /// A reader of the bytes in `range`.
    #[must_use]
    pub fn reader(&self, range: std::ops::Range<u64>) -> BlobReader {
        BlobReader { blob: self.clone(), at: range.start, end: range.end.min(self.length) }
    }
}

impl BlobReader {
    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// When the disk refuses, or the file has become shorter than it was.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let left = self.end.saturating_sub(self.at);
        if left == 0 {
            return Ok(None);
        }
        let length = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        let (file, at) = (Arc::clone(&self.blob.file), self.at);
        let chunk = blocking(move || read_at(&file, at, length)).await?;
        if chunk.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += chunk.len() as u64;
        Ok(Some(chunk))
    }
}

fn open_blob(path: &Path, integrity: Integrity, intact: &Cache<[u8; 16], u64>) -> io::Result<Found<Blob>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let whole = match length {
        0..=WHOLE => Some(read_at(&file, 0, usize::try_from(length).unwrap_or(0))?),
        _ => None,
    };
    if intact.get(&short(&integrity)) != Some(length) {
        if !hashes_to(&file, whole.as_ref(), &integrity)? {
            remove(path);
            return Ok(Found::Corrupt);
        }
        intact.insert(short(&integrity), length);
    }
    Ok(Found::Intact(Blob { integrity, length, file: Arc::new(file), whole }))
}

fn hashes_to(file: &File, whole: Option<&Bytes>, integrity: &Integrity) -> io::Result<bool> {
    let mut verifier = Verifier::new(Expected::Integrity(*integrity));
    if let Some(whole) = whole {
        verifier.update(whole);
        return Ok(verifier.finish().is_ok());
    }
    let mut at = 0;
    loop {
        let chunk = read_at(file, at, CHUNK)?;
        if chunk.is_empty() {
            return Ok(verifier.finish().is_ok());
        }
        verifier.update(&chunk);
        at += chunk.len() as u64;
    }
}

/// The first 16 bytes of a digest: enough to remember it by.
fn short(integrity: &Integrity) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&integrity.as_bytes()[..16]);
    short
}

/// `ab/cdef…` below `root`: 256 folders keep each of them small.
fn sharded(root: &Path, hex: &str) -> PathBuf {
    root.join(&hex[..2]).join(&hex[2..])
}

pub(super) fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, path = %path.display(), "cannot remove a file of the store");
        }
        _ => {}
    }
}
