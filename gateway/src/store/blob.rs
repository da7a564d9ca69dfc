//! One verified tarball, and how it is read: from memory, from the kernel's page cache, or from the disk.

use std::fs::{File, Metadata};
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use resolver::integrity::Integrity;
use rustix::fs::fstatfs;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tokio::task::JoinHandle;

use super::buffers::Buffers;

/// A file system in memory, which does not know of reads that do not wait (`TMPFS_MAGIC` in linux/magic.h).
const TMPFS: u64 = 0x0102_1994;

/// One verified tarball; it can be read to its end even when it is removed from the store meanwhile.
#[derive(Clone)]
pub struct Blob {
    integrity: Integrity,
    length: u64,
    bytes: Where,
}

/// Where the bytes of a blob are.
#[derive(Clone)]
enum Where {
    Memory(Bytes),
    File(Arc<OpenFile>),
}

/// A file whose content was verified, and that stays open.
pub(super) struct OpenFile {
    file: Arc<File>,
    length: u64,
    buffers: Arc<Buffers>,
    /// A read has failed.
    broken: AtomicBool,
}

/// Reads a part of a blob, or of another file, chunk by chunk.
pub struct BlobReader {
    bytes: Where,
    at: u64,
    end: u64,
    /// What is read at once, in bytes.
    step: usize,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl OpenFile {
    pub(super) fn new(file: Arc<File>, length: u64, buffers: Arc<Buffers>) -> Self {
        Self { file, length, buffers, broken: AtomicBool::new(false) }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Whether nothing shows that the file is not any more what was verified, or not any more in the store.
    pub(super) fn is_as_it_was(&self) -> bool {
        let same = |file: Metadata| file.nlink() > 0 && file.len() == self.length;
        !self.broken.load(Ordering::Relaxed) && self.file.metadata().is_ok_and(same)
    }

    /// Up to `length` bytes from `offset` on that the kernel has in memory; `None` when it would have to wait for the
    /// disk, or does not know how to tell.
    fn read_at_once(&self, offset: u64, length: usize) -> Option<Bytes> {
        let read = |room: &mut [u8]| self.read_cached(room, offset);
        self.buffers.fill(length, read).ok().filter(|bytes| !bytes.is_empty())
    }

    /// The whole file, if the kernel has all of it in memory.
    pub(super) fn whole_at_once(&self) -> Option<Bytes> {
        let mut bytes = vec![0; usize::try_from(self.length).ok()?];
        let read = self.read_cached(&mut bytes, 0).ok()?;
        (read == bytes.len()).then(|| bytes.into())
    }

    fn read_cached(&self, room: &mut [u8], offset: u64) -> io::Result<usize> {
        match preadv2(&*self.file, &mut [IoSliceMut::new(room)], offset, ReadWriteFlags::NOWAIT) {
            // There is no disk to wait for.
            Err(Errno::OPNOTSUPP) if self.is_in_memory() => self.file.read_at(room, offset),
            read => Ok(read?),
        }
    }

    fn is_in_memory(&self) -> bool {
        fstatfs(&*self.file).is_ok_and(|system| u64::try_from(system.f_type) == Ok(TMPFS))
    }

    /// Up to `length` bytes from `offset` on. Blocks.
    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let read = self.buffers.fill(length, |room| self.file.read_at(room, offset));
        let read = read.and_then(|bytes| match bytes.is_empty() {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(bytes),
        });
        self.broken.fetch_or(read.is_err(), Ordering::Relaxed);
        read
    }
}

impl Blob {
    pub(super) fn in_memory(integrity: &Integrity, bytes: Bytes) -> Self {
        Self { integrity: *integrity, length: bytes.len() as u64, bytes: Where::Memory(bytes) }
    }

    pub(super) fn in_file(integrity: &Integrity, file: Arc<OpenFile>) -> Self {
        Self { integrity: *integrity, length: file.length, bytes: Where::File(file) }
    }

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

    /// Its bytes in `range`, which must lie within it, when they are in memory.
    #[must_use]
    pub fn at_once(&self, range: &Range<u64>) -> Option<Bytes> {
        self.bytes.at_once(range)
    }

    /// Gives all its bytes to `take`, in pieces. Blocks.
    ///
    /// # Errors
    /// When the disk refuses, or the file has become shorter than it was.
    pub fn read_all(&self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let file = match &self.bytes {
            Where::Memory(bytes) => {
                take(bytes);
                return Ok(());
            }
            Where::File(file) => file,
        };
        let mut at = 0;
        while at < self.length {
            let room = usize::try_from(self.length - at).unwrap_or(usize::MAX);
            let bytes = file.read(at, room)?;
            take(&bytes);
            at += bytes.len() as u64;
        }
        Ok(())
    }

    /// A reader of the bytes in `range`.
    #[must_use]
    pub fn reader(&self, range: Range<u64>) -> BlobReader {
        BlobReader {
            bytes: self.bytes.clone(),
            at: range.start,
            end: range.end.min(self.length),
            step: usize::MAX,
            reading: None,
        }
    }
}

impl Where {
    fn at_once(&self, range: &Range<u64>) -> Option<Bytes> {
        let Self::Memory(bytes) = self else {
            return None;
        };
        let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
        (start <= end && end <= bytes.len()).then(|| bytes.slice(start..end))
    }
}

impl BlobReader {
    /// A reader of the first `length` bytes of a file.
    pub(super) fn of_file(file: Arc<File>, length: u64, buffers: Arc<Buffers>) -> Self {
        let bytes = Where::File(Arc::new(OpenFile::new(file, length, buffers)));
        Self { bytes, at: 0, end: length, step: usize::MAX, reading: None }
    }

    /// Reads so many bytes at once from now on, or as many as it would without.
    pub fn set_step(&mut self, step: usize) {
        self.step = step.max(1);
    }

    /// How many bytes are still to come.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }

    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// When the disk refuses, or the file has become shorter than it was.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`next`](Self::next). What the kernel has in memory is read here and now: a trip to the threads that may
    /// block costs several times as much as the read. Only what must come from the disk is read there.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if self.reading.is_none() {
            match self.at_once() {
                Some(bytes) => return Poll::Ready(Ok(bytes.map(|bytes| self.past(bytes)))),
                None => self.reading = self.read(),
            }
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(Ok(None));
        };
        let read = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        let read = read.unwrap_or_else(|panicked| Err(io::Error::other(panicked)));
        Poll::Ready(read.map(|bytes| Some(self.past(bytes))))
    }

    /// The next chunk, or that there is none; `None` when the disk has to be asked.
    fn at_once(&self) -> Option<Option<Bytes>> {
        match &self.bytes {
            _ if self.left() == 0 => Some(None),
            Where::Memory(_) => Some(self.bytes.at_once(&(self.at..self.at + self.room() as u64))),
            Where::File(file) => file.read_at_once(self.at, self.room()).map(Some),
        }
    }

    /// Reads the next chunk where it may block.
    fn read(&self) -> Option<JoinHandle<io::Result<Bytes>>> {
        let Where::File(file) = &self.bytes else {
            return None;
        };
        let (file, at, room) = (Arc::clone(file), self.at, self.room());
        Some(tokio::task::spawn_blocking(move || file.read(at, room)))
    }

    fn room(&self) -> usize {
        usize::try_from(self.left()).unwrap_or(usize::MAX).min(self.step)
    }

    fn past(&mut self, bytes: Bytes) -> Bytes {
        self.at += bytes.len() as u64;
        bytes
    }
}
