//! A stream as tokio reads and writes it, with the place that it has among those of its connection.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use libp2p::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _};

/// Both directions of a stream.
pub(in crate::swarm) struct Line {
    stream: Compat<Stream>,
    /// Of a stream that the peer has opened.
    _place: Option<OwnedSemaphorePermit>,
}

impl Line {
    /// One that the peer has opened.
    pub(super) fn taken(stream: Stream, place: OwnedSemaphorePermit) -> Self {
        Self { stream: stream.compat(), _place: Some(place) }
    }

    /// One that this gateway has opened.
    pub(super) fn opened(stream: Stream) -> Self {
        Self { stream: stream.compat(), _place: None }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
