//! Bytes being written that are not verified yet: in a file, or in memory when the disk takes nothing.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};

use super::frames::Source;
use super::room::{Held, Room};

/// Bytes gathered before they are written, so that most tarballs cost one trip to the disk.
const BUFFER: usize = 256 * 1024;

/// Numbers the drafts of one process; the directory is emptied at its start.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What goes away unless it is kept.
pub struct Draft {
    /// Away only while it is being written to.
    sink: Option<Sink>,
    buffer: BytesMut,
    flushed: u64,
}

/// Reads what of a draft has reached the file, also after it was kept or dropped.
#[derive(Clone)]
pub struct DraftReader(Arc<File>);

/// Where a draft was moved to, or what is left of it to be read.
pub(super) enum Kept {
    /// It has its place in the store.
    InPlace(Arc<File>),
    /// It has none, but there is a file.
    Nameless(Arc<File>),
    /// It is in memory only.
    InMemory(Bytes),
}

/// Where the bytes of a draft go.
struct Sink {
    /// A file under `drafts/`.
    path: PathBuf,
    room: Arc<Room>,
    file: Option<Arc<File>>,
    /// What of the file counts: behind it may be a part of a write that failed.
    written: u64,
    /// All bytes, once the file has failed.
    memory: Option<Held>,
    kept: bool,
}

impl Draft {
    pub(super) fn new(drafts: &Path, room: Arc<Room>, in_file: bool) -> Self {
        let path = drafts.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        let memory = (!in_file).then(|| Held::empty(&room)).flatten();
        let sink = Sink { path, room, file: None, written: 0, memory, kept: false };
        Self { sink: Some(sink), buffer: BytesMut::new(), flushed: 0 }
    }

    /// Bytes written so far, flushed or not.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// Bytes that have left the buffer; a [`DraftReader`] can see them.
    #[must_use]
    pub fn flushed(&self) -> u64 {
        self.flushed
    }

    /// Appends a chunk.
    ///
    /// # Errors
    /// When neither the disk nor memory has room. What was flushed before can still be read.
    pub async fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(chunk);
        if self.buffer.len() >= BUFFER { self.flush().await } else { Ok(()) }
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn flush(&mut self) -> io::Result<()> {
        let bytes = self.buffer.split().freeze();
        let length = bytes.len() as u64;
        let mut sink = self.sink.take().ok_or_else(interrupted)?;
        let work = move || {
            let written = sink.append(&bytes);
            Ok((sink, written))
        };
        let (sink, written) = blocking(work).await?;
        self.sink = Some(sink);
        written?;
        self.flushed += length;
        Ok(())
    }

    /// Appends a chunk where it may block.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn append(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(chunk);
        if self.buffer.len() < BUFFER {
            return Ok(());
        }
        let bytes = self.buffer.split();
        self.sink.as_mut().ok_or_else(interrupted)?.append(&bytes)?;
        self.flushed += bytes.len() as u64;
        Ok(())
    }

    /// All that has been written, to be read wherever the draft goes; one that is in memory goes nowhere any more. Blocks.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn source(&mut self) -> io::Result<Source> {
        let bytes = self.buffer.split();
        let mut sink = self.sink.take().ok_or_else(interrupted)?;
        sink.append(&bytes)?;
        self.flushed += bytes.len() as u64;
        if let Some(held) = sink.memory.take() {
            return Ok(Source::Memory(Bytes::from_owner(held)));
        }
        let file = sink.file.clone().ok_or_else(interrupted)?;
        self.sink = Some(sink);
        Ok(Source::File(file))
    }

    /// A reader of what has been flushed; `None` before the first flush, and when it is in memory.
    #[must_use]
    pub fn reader(&self) -> Option<DraftReader> {
        let sink = self.sink.as_ref().filter(|sink| sink.memory.is_none())?;
        sink.file.clone().map(DraftReader)
    }

    /// Flushes and moves the file to where content of its digest belongs, over the same content if it is there. When
    /// the disk does not take it, or there is no target, it is what it was, without a place in the store.
    pub(super) async fn keep(mut self, target: Option<PathBuf>) -> io::Result<Kept> {
        let bytes = self.buffer.split().freeze();
        let sink = self.sink.take().ok_or_else(interrupted)?;
        blocking(move || sink.keep(&bytes, target.as_deref(), move_into_place)).await
    }

    /// Likewise into a folder that has to be there; whether it is in place.
    pub(super) async fn keep_beside(mut self, target: PathBuf) -> io::Result<bool> {
        let bytes = self.buffer.split().freeze();
        let sink = self.sink.take().ok_or_else(interrupted)?;
        let kept = blocking(move || sink.keep(&bytes, Some(&target), move_beside)).await?;
        Ok(matches!(kept, Kept::InPlace(_)))
    }
}

impl Sink {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.memory.is_none() {
            match self.write(bytes) {
                Ok(()) => {
                    self.written += bytes.len() as u64;
                    return Ok(());
                }
                Err(error) => self.room.refused(&error),
            }
        }
        self.go_on_in_memory(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut file = match &self.file {
            Some(file) => &**file,
            None => {
                let made = File::options().read(true).append(true).create_new(true).open(&self.path)?;
                &**self.file.insert(Arc::new(made))
            }
        };
        file.write_all(bytes)
    }

    fn go_on_in_memory(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(held) = &mut self.memory {
            return held.append(&self.room, bytes);
        }
        let mut held = Held::new(&self.room, self.written + bytes.len() as u64)?;
        while held.len() < self.written {
            let file = self.file.as_ref().ok_or_else(interrupted)?;
            let left = usize::try_from(self.written - held.len()).map_or(BUFFER, |left| left.min(BUFFER));
            let chunk = read_at(file, held.len(), left)?;
            if chunk.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            held.append(&self.room, &chunk)?;
        }
        held.append(&self.room, bytes)?;
        self.memory = Some(held);
        // Whoever reads the file can read on; the rest of the disk has no use for it.
        self.file = None;
        let _ = std::fs::remove_file(&self.path);
        Ok(())
    }

    fn keep(mut self, bytes: &[u8], target: Option<&Path>, moved: Move) -> io::Result<Kept> {
        self.append(bytes)?;
        if let Some(held) = self.memory.take() {
            return Ok(Kept::InMemory(Bytes::from_owner(held)));
        }
        let file = self.file.clone().ok_or_else(interrupted)?;
        let Some(target) = target else {
            return Ok(Kept::Nameless(file));
        };
        match moved(&self.path, target) {
            Ok(()) => {
                self.kept = true;
                Ok(Kept::InPlace(file))
            }
            // The folder has gone: that is nothing that the disk would refuse.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kept::Nameless(file)),
            Err(error) => {
                self.room.refused(&error);
                Ok(Kept::Nameless(file))
            }
        }
    }
}

impl Drop for Sink {
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

/// A write was left half-way, by whoever waited for it.
fn interrupted() -> io::Error {
    io::Error::other("a draft was left in the middle of a write")
}

/// How a draft gets to its place.
type Move = fn(&Path, &Path) -> io::Result<()>;

fn move_beside(draft: &Path, target: &Path) -> io::Result<()> {
    std::fs::rename(draft, target)
}

fn move_into_place(draft: &Path, target: &Path) -> io::Result<()> {
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::rename(draft, target)
}
