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

/// How a draft gets to its place.
type Move = fn(&Path, &Path) -> io::Result<()>;

/// Where the bytes of a draft go.
struct Sink {
    /// A file under `drafts/`.
    path: PathBuf,
    room: Arc<Room>,
    file: Option<Arc<File>>,
    /// What of the file counts: behind it may be a part of a write that failed.
    written: u64,
    /// All bytes, once the file has failed,
    memory: Option<Held>,
    /// and no more are to come.
    whole: Option<Bytes>,
    kept: bool,
}

impl Draft {
    pub(super) fn new(drafts: &Path, room: Arc<Room>, in_file: bool) -> Self {
        let path = drafts.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        let memory = (!in_file).then(|| Held::empty(&room)).flatten();
        let sink = Sink { path, room, file: None, written: 0, memory, whole: None, kept: false };
        Self { sink: Some(sink), buffer: BytesMut::new(), flushed: 0 }
    }

    /// Bytes written so far, flushed or not.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// Takes back what has been written since the last flush.
    pub fn take_buffered(&mut self) -> Bytes {
        self.buffer.split().freeze()
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

    /// All that has been written, to be read wherever the draft goes. Nothing can be written after it. Blocks.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn source(&mut self) -> io::Result<Source> {
        let bytes = self.buffer.split();
        let source = self.sink.as_mut().ok_or_else(interrupted)?.source(&bytes)?;
        self.flushed += bytes.len() as u64;
        Ok(source)
    }

    /// A reader of what has been flushed; `None` before the first flush, and when it is in memory.
    #[must_use]
    pub fn reader(&self) -> Option<DraftReader> {
        let sink = self.sink.as_ref().filter(|sink| !sink.is_in_memory())?;
        sink.file.clone().map(DraftReader)
    }

    /// Moves the draft to where content of its digest belongs, over the same content if it is there.
    ///
    /// # Errors
    /// When the disk does not take it; it is gone then.
    pub(super) async fn keep(self, target: PathBuf) -> io::Result<()> {
        self.keep_by(Some(target), move_into_place).await?.in_place()
    }

    /// Likewise into a folder that has to be there.
    ///
    /// # Errors
    /// As [`keep`](Self::keep).
    pub(super) async fn keep_beside(self, target: PathBuf) -> io::Result<()> {
        self.keep_by(Some(target), |draft, target| std::fs::rename(draft, target)).await?.in_place()
    }

    /// As [`keep`](Self::keep); but where the disk does not take it, or without a target, it can still be read.
    pub(super) async fn end(self, target: Option<PathBuf>) -> io::Result<Kept> {
        self.keep_by(target, move_into_place).await
    }

    async fn keep_by(mut self, target: Option<PathBuf>, moved: Move) -> io::Result<Kept> {
        let bytes = self.buffer.split().freeze();
        let sink = self.sink.take().ok_or_else(interrupted)?;
        blocking(move || sink.keep(&bytes, target.as_deref(), moved)).await
    }
}

impl Kept {
    fn in_place(self) -> io::Result<()> {
        match self {
            Self::InPlace(_) => Ok(()),
            Self::Nameless(_) | Self::InMemory(_) => Err(io::ErrorKind::StorageFull.into()),
        }
    }
}

impl Sink {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.whole.is_some() {
            return if bytes.is_empty() { Ok(()) } else { Err(interrupted()) };
        }
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

    fn source(&mut self, bytes: &[u8]) -> io::Result<Source> {
        self.append(bytes)?;
        if let Some(held) = self.memory.take() {
            self.whole = Some(Bytes::from_owner(held));
        }
        match (&self.whole, &self.file) {
            (Some(whole), _) => Ok(Source::Memory(whole.clone())),
            (None, Some(file)) => Ok(Source::File(Arc::clone(file))),
            (None, None) => Err(interrupted()),
        }
    }

    fn keep(mut self, bytes: &[u8], target: Option<&Path>, moved: Move) -> io::Result<Kept> {
        let file = match self.source(bytes)? {
            Source::Memory(whole) => return Ok(Kept::InMemory(whole)),
            Source::File(file) => file,
        };
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

    fn is_in_memory(&self) -> bool {
        self.memory.is_some() || self.whole.is_some()
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

fn move_into_place(draft: &Path, target: &Path) -> io::Result<()> {
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::rename(draft, target)
}
