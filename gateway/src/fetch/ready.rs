//! Variants as they go out: out of memory, out of a file, or decoded frame by frame.

use std::io;

use bytes::Bytes;

use crate::store::{Coded, Frames, Source};

/// What is read of a file at once.
const CHUNK: u64 = 256 * 1024;

/// A variant that can be sent.
#[derive(Debug, Clone)]
pub enum Ready {
    /// As it is kept: all of it, or a file.
    Coded(Coded),
    /// Long and uncoded: to be sent frame by frame.
    Plain(Frames),
}

/// Reads a variant that is not in memory, chunk by chunk.
pub struct ReadyReader {
    ready: Ready,
    /// In a file, the bytes that were read; else the frames.
    next: u64,
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

    /// All bytes, when they are in memory.
    #[must_use]
    pub fn at_once(&self) -> Option<Bytes> {
        match self {
            Self::Coded(Coded::Whole(bytes)) => Some(bytes.clone()),
            Self::Coded(Coded::File(..)) | Self::Plain(_) => None,
        }
    }

    /// A reader of all bytes.
    #[must_use]
    pub fn reader(self) -> ReadyReader {
        ReadyReader { ready: self, next: 0 }
    }
}

impl ReadyReader {
    /// The next chunk; `None` at the end. Memory is that of one chunk.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let (ready, at) = (self.ready.clone(), self.next);
        let read = tokio::task::spawn_blocking(move || ready.chunk(at)).await;
        let chunk = read.unwrap_or_else(|ended| Err(io::Error::other(ended))).transpose()?;
        self.next += match (&chunk, &self.ready) {
            (Ok(_), Ready::Plain(_)) => 1,
            (Ok(bytes), Ready::Coded(_)) => bytes.len() as u64,
            (Err(_), _) => 0,
        };
        Some(chunk)
    }
}

impl Ready {
    fn chunk(&self, at: u64) -> io::Result<Option<Bytes>> {
        match self {
            Self::Coded(Coded::Whole(bytes)) => Ok(Some(bytes.clone()).filter(|_| at == 0)),
            Self::Coded(Coded::File(_, length)) if at >= *length => Ok(None),
            Self::Coded(Coded::File(file, length)) => {
                let source = Source::File(std::sync::Arc::clone(file));
                source.part(at..length.min(&(at + CHUNK)).to_owned()).map(Some)
            }
            Self::Plain(frames) if at >= frames.frames() as u64 => Ok(None),
            Self::Plain(frames) => {
                let number = usize::try_from(at).map_err(io::Error::other)?;
                frames.frame(number).map(|frame| Some(frame.into()))
            }
        }
    }
}
