//! Bytes being written that are not verified yet.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};

use super::frames::Source;

/// Bytes gathered before they are written, so that most tarballs cost one trip to the disk.
const BUFFER: usize = 256 * 1024;

/// Numbers the drafts of one process; the directory is emptied at its start.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A file under `drafts/` that goes away unless it is kept.
pub struct Draft {
    path: PathBuf,
    file: Option<Arc<File>>,
    buffer: BytesMut,
    flushed: u64,
    kept: bool,
}

/// Reads what of a draft has reached the file, also after it was kept or dropped.
#[derive(Clone)]
pub struct DraftReader(Arc<File>);

impl Draft {
    pub(super) fn new(drafts: &Path) -> Self {
        let path = drafts.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        Self { path, file: None, buffer: BytesMut::new(), flushed: 0, kept: false }
    }

    /// Bytes written so far, flushed or not.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// Bytes that a [`DraftReader`] can see.
    #[must_use]
    pub fn flushed(&self) -> u64 {
        self.flushed
    }

    /// Appends a chunk.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(chunk);
        if self.buffer.len() >= BUFFER { self.flush().await } else { Ok(()) }
    }

    /// Appends a chunk where blocking is allowed.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn append(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(chunk);
        if self.buffer.len() < BUFFER {
            return Ok(());
        }
        let bytes = self.buffer.split().freeze();
        self.file = Some(append(self.file.take(), &self.path, &bytes)?);
        self.flushed += bytes.len() as u64;
        Ok(())
    }

    /// All that has been written, to be read wherever the draft goes. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn source(&mut self) -> io::Result<Source> {
        let bytes = self.buffer.split().freeze();
        let file = append(self.file.take(), &self.path, &bytes)?;
        self.flushed += bytes.len() as u64;
        self.file = Some(Arc::clone(&file));
        Ok(Source::File(file))
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn flush(&mut self) -> io::Result<()> {
        let bytes = self.buffer.split().freeze();
        let (file, path) = (self.file.clone(), self.path.clone());
        let length = bytes.len() as u64;
        self.file = Some(blocking(move || append(file, &path, &bytes)).await?);
        self.flushed += length;
        Ok(())
    }

    /// A reader of what has been flushed; `None` before the first flush.
    #[must_use]
    pub fn reader(&self) -> Option<DraftReader> {
        self.file.clone().map(DraftReader)
    }

    /// Flushes and moves the file to where content of its digest belongs, over the same content if it is there.
    pub(super) async fn keep(self, target: PathBuf) -> io::Result<Arc<File>> {
        self.keep_by(target, move_into_place).await
    }

    /// Likewise into a folder that has to be there.
    pub(super) async fn keep_beside(self, target: PathBuf) -> io::Result<Arc<File>> {
        self.keep_by(target, |draft, target| std::fs::rename(draft, target)).await
    }

    async fn keep_by(
        mut self,
        target: PathBuf,
        moved: fn(&Path, &Path) -> io::Result<()>,
    ) -> io::Result<Arc<File>> {
        let bytes = self.buffer.split().freeze();
        let (file, path) = (self.file.take(), self.path.clone());
        let kept = blocking(move || {
            let file = append(file, &path, &bytes)?;
            moved(&path, &target)?;
            Ok(file)
        });
        let file = kept.await?;
        self.kept = true;
        Ok(file)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            // It may never have been made, and the next start empties the directory anyway.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl DraftReader {
    /// Up to `length` bytes from `offset` on; fewer at the end of what has been flushed.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let file = Arc::clone(&self.0);
        blocking(move || read_at(&file, offset, length)).await
    }
}

/// Up to `length` bytes from `offset` on.
pub(super) fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
    let mut bytes = BytesMut::zeroed(length);
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(bytes.freeze())
}

/// Runs disk work where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
}

fn append(file: Option<Arc<File>>, path: &Path, bytes: &[u8]) -> io::Result<Arc<File>> {
    let file = match file {
        Some(file) => file,
        None => Arc::new(File::options().read(true).append(true).create_new(true).open(path)?),
    };
    (&*file).write_all(bytes)?;
    Ok(file)
}

fn move_into_place(draft: &Path, target: &Path) -> io::Result<()> {
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::rename(draft, target)
}
