//! Variants as they go out: out of memory, out of a file, or decoded frame by frame.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use resolver::variant::Revision;

use super::Fetch;
use crate::store::{BlobReader, Coded, Frames};

/// A variant that can be sent.
#[derive(Debug, Clone)]
pub enum Ready {
    /// As it is kept: all of it, or a file.
    Coded(Coded),
    /// Long and uncoded: to be sent frame by frame.
    Plain(Frames),
    /// Long, and to be sent in the frames that it is kept in.
    Packed(Frames),
}

/// How a variant is sent.
pub enum Sending {
    /// In one piece.
    Whole(Bytes),
    /// Out of a file.
    File(BlobReader),
    /// Read, verified, and perhaps decoded, as it is taken.
    Frames(FramesReader),
}

/// Reads a long variant, a frame at a time.
pub struct FramesReader {
    frames: Frames,
    packed: bool,
    next: usize,
    fetch: Fetch,
    etag: String,
}

impl Ready {
    /// The number of bytes that go out.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Coded(Coded::Whole(bytes)) => bytes.len() as u64,
            Self::Coded(Coded::File(_, length)) => *length,
            Self::Plain(frames) => frames.length(),
            Self::Packed(frames) => frames.packed_length(),
        }
    }
}

impl Fetch {
    /// Begins to send a variant.
    #[must_use]
    pub fn send(&self, ready: Ready, etag: &str) -> Sending {
        match ready {
            Ready::Coded(Coded::Whole(bytes)) => Sending::Whole(bytes),
            Ready::Coded(Coded::File(file, length)) => {
                Sending::File(self.inner.store.reader(Arc::clone(&file), length))
            }
            Ready::Plain(frames) => Sending::Frames(self.reader(frames, false, etag)),
            Ready::Packed(frames) => Sending::Frames(self.reader(frames, true, etag)),
        }
    }

    fn reader(&self, frames: Frames, packed: bool, etag: &str) -> FramesReader {
        let (fetch, etag) = (self.clone(), etag.to_owned());
        FramesReader { frames, packed, next: 0, fetch, etag }
    }
}

impl FramesReader {
    /// The next frame; `None` at the end. Memory is that of one frame.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let (frames, packed, number) = (self.frames.clone(), self.packed, self.next);
        if number == frames.frames() {
            return None;
        }
        self.next += 1;
        let read = tokio::task::spawn_blocking(move || {
            if packed { frames.packed(number) } else { frames.frame(number).map(Bytes::from) }
        });
        let read = read.await;
        let read = read.unwrap_or_else(|ended| Err(io::Error::other(ended)));
        if let Err(error) = &read {
            tracing::warn!(%error, etag = self.etag, "a body broke off while it was sent; it is looked at again");
            self.fetch.forget_ready(&self.etag);
            self.forget_document(error.kind()).await;
        }
        Some(read)
    }

    /// Upstream's own bytes are tagged with their digest, and other variants with something shorter.
    async fn forget_document(&self, found: io::ErrorKind) {
        let revision = Revision::from_hex(self.etag.trim_matches('"'));
        if let Some(revision) = revision.filter(|_| found == io::ErrorKind::InvalidData) {
            let (store, frames) = (self.fetch.inner.store.clone(), self.frames.clone());
            // Removing cannot fail; the task can only be cancelled with the runtime.
            let _ = tokio::task::spawn_blocking(move || store.document_is_damaged(&revision, &frames)).await;
        }
    }
}
