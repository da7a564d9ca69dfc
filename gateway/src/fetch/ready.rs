//! Variants as they go out: out of memory, out of a file, or decoded frame by frame.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::Fetch;
use crate::store::{BlobReader, Coded, Frames};

/// A variant that can be sent.
#[derive(Debug, Clone)]
pub enum Ready {
    /// As it is kept: all of it, or a file.
    Coded(Coded),
    /// Long and uncoded: to be sent frame by frame.
    Plain(Frames),
}

/// How a variant is sent.
pub enum Sending {
    /// In one piece.
    Whole(Bytes),
    /// Out of a file.
    File(BlobReader),
    /// Decoded as it is taken.
    Plain(PlainReader),
}

/// Decodes an uncoded variant, a frame at a time.
pub struct PlainReader {
    frames: Frames,
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
            Ready::Plain(frames) => {
                let (fetch, etag) = (self.clone(), etag.to_owned());
                Sending::Plain(PlainReader { frames, next: 0, fetch, etag })
            }
        }
    }
}

impl PlainReader {
    /// The next frame; `None` at the end. Memory is that of one frame.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let (frames, number) = (self.frames.clone(), self.next);
        if number == frames.frames() {
            return None;
        }
        self.next += 1;
        let read = tokio::task::spawn_blocking(move || frames.frame(number)).await;
        let read = read.unwrap_or_else(|ended| Err(io::Error::other(ended)));
        if let Err(error) = &read {
            tracing::warn!(%error, etag = self.etag, "a variant broke off while it was sent; it is looked at again");
            self.fetch.forget_ready(&self.etag);
        }
        Some(read.map(Bytes::from))
    }
}
