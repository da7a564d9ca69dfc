//! A large tarball that is given to a client while it comes: its tail is held back until the digest matches.

use std::io;

use bytes::Bytes;
use resolver::integrity::{Expected, Integrity};
use tokio::sync::{mpsc, watch};

use super::progress::{Progress, Received};
use super::through::Through;
use crate::store::Blob;

/// What stays behind until the digest matches: without it no client takes the body for complete.
pub(super) const TAIL: u64 = 64 * 1024;
/// What is read and sent at once.
pub(super) const CHUNK: u64 = 256 * 1024;
/// Chunks on their way to a client that is slower than upstream.
const AHEAD: usize = 4;

/// A body on its way.
pub struct Arriving {
    expected: Expected,
    length: Option<u64>,
    chunks: mpsc::Receiver<io::Result<Bytes>>,
}

/// Hands one client what has come so far.
struct Pump {
    progress: watch::Receiver<Progress>,
    from: Received,
    /// How it goes on where there is no room for the rest.
    alone: Option<Through>,
    sent: u64,
    chunks: mpsc::Sender<io::Result<Bytes>>,
}

/// The client has gone away.
struct Gone;

impl Arriving {
    pub(super) fn new(alone: Through, from: Received, progress: watch::Receiver<Progress>) -> Self {
        let (sender, chunks) = mpsc::channel(AHEAD);
        let (expected, length) = (alone.expected(), from.length);
        tokio::spawn(Pump { progress, from, alone: Some(alone), sent: 0, chunks: sender }.run());
        Self { expected, length, chunks }
    }

    /// A body that no other client shares.
    pub(super) fn through(through: Through, length: Option<u64>) -> Self {
        let (sender, chunks) = mpsc::channel(AHEAD);
        let expected = through.expected();
        tokio::spawn(through.run(sender));
        Self { expected, length, chunks }
    }

    /// Its digest, when the packument names it.
    #[must_use]
    pub fn integrity(&self) -> Option<&Integrity> {
        match &self.expected {
            Expected::Integrity(integrity) => Some(integrity),
            Expected::Shasum(_) => None,
        }
    }

    /// Its size, when the source has said it.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next chunk; `None` at its end, which only a verified body reaches.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        self.chunks.recv().await
    }
}

impl Pump {
    async fn run(mut self) {
        // An error means that nobody listens any more.
        let _ = self.pump().await;
    }

    async fn pump(&mut self) -> Result<(), Gone> {
        loop {
            let now = self.progress.borrow_and_update().clone();
            match now {
                Progress::Done(Ok((blob, _))) => return self.finish(&blob).await,
                Progress::Done(Err(failure)) => return self.send(Err(io::Error::other(failure))).await,
                Progress::NoRoom => return self.go_on_alone().await,
                Progress::Receiving(received) if received.draft == self.from.draft => {
                    self.forward(&received).await?;
                }
                // The source began again: what was sent so far is compared when the new bytes are verified.
                Progress::Receiving(_) | Progress::Queued | Progress::Begun => {}
            }
            if self.progress.changed().await.is_err() {
                return self.send(Err(io::Error::other("the download was given up"))).await;
            }
        }
    }

    /// Sends what may be sent before the digest is known.
    async fn forward(&mut self, received: &Received) -> Result<(), Gone> {
        let end = received.length.map_or(received.flushed, |length| length.min(received.flushed));
        while self.sent < end.saturating_sub(TAIL) {
            let left = end.saturating_sub(TAIL) - self.sent;
            let chunk = received.reader.read(self.sent, small(left)).await;
            self.send_some(chunk).await?;
        }
        Ok(())
    }

    /// The rest comes on a request of its own; what was sent so far is read once more, to be hashed with it.
    async fn go_on_alone(&mut self) -> Result<(), Gone> {
        let Some(mut through) = self.alone.take() else {
            return Err(Gone);
        };
        match through.follow(&self.from.reader, self.sent, self.from.length).await {
            Ok(()) => through.run(self.chunks.clone()).await,
            Err(error) => self.send(Err(error)).await?,
        }
        Ok(())
    }

    /// Sends the rest of a verified body, if what went before was its beginning.
    async fn finish(&mut self, blob: &Blob) -> Result<(), Gone> {
        match self.began_as(blob).await {
            Ok(true) => {}
            Ok(false) => {
                return self.send(Err(io::Error::other("upstream's bytes changed within a body"))).await;
            }
            Err(error) => return self.send(Err(error)).await,
        }
        let mut rest = blob.reader(self.sent..blob.length());
        while let Some(chunk) = rest.next().await.transpose() {
            self.send_some(chunk).await?;
        }
        Ok(())
    }

    /// Whether what this client was told and given is the blob's: a length that was another would make a
    /// complete body of its beginning. Nothing is sent from a draft that was replaced, so both can differ only
    /// after a restart.
    async fn began_as(&self, blob: &Blob) -> io::Result<bool> {
        if self.from.length.is_some_and(|length| length != blob.length()) {
            return Ok(false);
        }
        let mut verified = blob.reader(0..self.sent);
        let mut at = 0;
        while let Some(chunk) = verified.next().await? {
            if self.from.reader.read(at, chunk.len()).await? != chunk {
                return Ok(false);
            }
            at += chunk.len() as u64;
        }
        Ok(true)
    }

    async fn send_some(&mut self, chunk: io::Result<Bytes>) -> Result<(), Gone> {
        match &chunk {
            Ok(bytes) if bytes.is_empty() => {
                return self.send(Err(io::ErrorKind::UnexpectedEof.into())).await;
            }
            Ok(bytes) => self.sent += bytes.len() as u64,
            Err(_) => {}
        }
        self.send(chunk).await
    }

    /// After an error nothing more is sent.
    async fn send(&self, chunk: io::Result<Bytes>) -> Result<(), Gone> {
        let failed = chunk.is_err();
        self.chunks.send(chunk).await.map_err(|_| Gone)?;
        if failed { Err(Gone) } else { Ok(()) }
    }
}

fn small(left: u64) -> usize {
    usize::try_from(left.min(CHUNK)).unwrap_or(0)
}
