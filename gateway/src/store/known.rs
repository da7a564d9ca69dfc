//! What is known of blobs since the start: which of them were intact, files that are open, small ones in memory.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use quick_cache::sync::Cache;
use resolver::integrity::{Expected, Integrity, Verifier};

use super::blob::{Blob, BlobReader, OpenFile};
use super::buffers::Buffers;
use super::content::Found;
use super::draft::read_at;
use super::memory::{Key, Memory};

/// A tarball up to this size is kept in memory while it is in use: the larger one is, the less of its price is the
/// look into the page cache that this saves.
const SMALL: u64 = 64 * 1024;
/// What is read at once to be hashed.
const CHUNK: usize = 256 * 1024;
/// Blobs of which it is remembered that they were intact, and how long: 200,000 take about 12 MB, and one that
/// is forgotten is merely hashed again.
const REMEMBERED: usize = 200_000;
/// Files that stay open because they are in use. A project has about 1,000 tarballs.
pub(crate) const OPEN_FILES: usize = 1024;

/// What is known of blobs since the start.
pub(super) struct Known {
    /// Those that were intact when they were last hashed, and their lengths.
    intact: Cache<[u8; 16], u64>,
    open: Cache<[u8; 16], Arc<OpenFile>>,
    memory: Arc<Memory>,
    buffers: Arc<Buffers>,
}

impl Known {
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        let (intact, open) = (Cache::new(REMEMBERED), Cache::new(OPEN_FILES));
        Self { intact, open, memory, buffers: Arc::default() }
    }

    /// A reader of the first `length` bytes of any file.
    pub(super) fn reader(&self, file: Arc<File>, length: u64) -> BlobReader {
        BlobReader::of_file(file, length, Arc::clone(&self.buffers))
    }

    /// A blob that can be had without a trip to the disk.
    pub(super) fn at_hand(&self, integrity: &Integrity) -> Option<Blob> {
        if let Some(bytes) = self.memory.get(&key(integrity)) {
            return Some(Blob::in_memory(integrity, bytes));
        }
        let file = self.open.get(&short(integrity))?;
        if !file.is_as_it_was() {
            self.forget(integrity);
            return None;
        }
        let bytes = if file.length() <= SMALL { file.whole_at_once() } else { None };
        Some(bytes.map_or_else(|| Blob::in_file(integrity, file), |bytes| self.take_in(integrity, bytes)))
    }

    /// Opens a file, and hashes it unless that was done since the start. Blocks.
    pub(super) fn open(&self, path: &Path, integrity: &Integrity) -> io::Result<Found<Blob>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        let whole = match length {
            0..=SMALL => Some(read_at(&file, 0, usize::try_from(length).unwrap_or(0))?),
            _ => None,
        };
        let was_intact = self.intact.get(&short(integrity)) == Some(length);
        if !was_intact && !hashes_to(&file, whole.as_ref(), integrity)? {
            self.forget(integrity);
            return Ok(if remove_this(path, &file) { Found::Corrupt } else { Found::Missing });
        }
        let file = self.remember(integrity, Arc::new(file), length);
        let blob = match whole {
            Some(bytes) => self.take_in(integrity, bytes),
            None => Blob::in_file(integrity, Arc::clone(&file)),
        };
        // It may have been removed while it was opened: then nobody would ever tell us to let it go.
        if !file.is_as_it_was() {
            self.forget(integrity);
        }
        Ok(Found::Intact(blob))
    }

    fn take_in(&self, integrity: &Integrity, bytes: Bytes) -> Blob {
        self.memory.insert(key(integrity), bytes.clone());
        Blob::in_memory(integrity, bytes)
    }

    /// A file whose bytes have just been verified, and that has its place in the store.
    pub(super) fn kept(&self, integrity: &Integrity, file: Arc<File>, length: u64) -> Blob {
        Blob::in_file(integrity, self.remember(integrity, file, length))
    }

    /// A file whose bytes have just been verified, and that has no place in the store.
    pub(super) fn nameless(&self, integrity: &Integrity, file: Arc<File>, length: u64) -> Blob {
        Blob::in_file(integrity, Arc::new(OpenFile::new(file, length, Arc::clone(&self.buffers))))
    }

    fn remember(&self, integrity: &Integrity, file: Arc<File>, length: u64) -> Arc<OpenFile> {
        let file = Arc::new(OpenFile::new(file, length, Arc::clone(&self.buffers)));
        self.intact.insert(short(integrity), length);
        self.open.insert(short(integrity), Arc::clone(&file));
        file
    }

    /// Lets go of what is kept in memory of a blob.
    pub(super) fn forget(&self, integrity: &Integrity) {
        self.intact.remove(&short(integrity));
        self.open.remove(&short(integrity));
        self.memory.remove(&key(integrity));
    }
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
    beginning(integrity)
}

pub(super) fn key(integrity: &Integrity) -> Key {
    Key::Tarball(beginning(integrity))
}

fn beginning<const N: usize>(integrity: &Integrity) -> [u8; N] {
    let mut beginning = [0; N];
    beginning.copy_from_slice(&integrity.as_bytes()[..N]);
    beginning
}

/// Removes the file that was found damaged, and not a whole one that has come to its place. True when it was there:
/// several may find the same damage, and only the first of them has.
pub(super) fn remove_this(path: &Path, damaged: &File) -> bool {
    let is_this = |there: &Metadata, this: &Metadata| (there.dev(), there.ino()) == (this.dev(), this.ino());
    let is_there = match (fs::symlink_metadata(path), damaged.metadata()) {
        (Ok(there), Ok(this)) => is_this(&there, &this),
        _ => false,
    };
    is_there && remove(path)
}

/// True when it was there.
pub(super) fn remove(path: &Path) -> bool {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, path = %path.display(), "cannot remove a file of the store");
            false
        }
        removed => removed.is_ok(),
    }
}
