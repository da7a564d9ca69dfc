//! The line to home: streams of its connection, as the HTTP client takes connections.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use resolver::peer::PeerId;
use tower_service::Service;

use super::client::Body;
use crate::swarm::{NoStream, Protocol, Stream, Swarm};

/// Unused streams that are kept: as many as a client asks for at once.
const IDLE_STREAMS: usize = 16;
/// How long: home closes them itself after a while.
const IDLE: Duration = Duration::from_secs(30);

/// Asks home. A stream carries one request at a time, and is used again.
pub(super) type Line = hyper_util::client::legacy::Client<Opener, Body>;

/// Opens streams to one peer.
#[derive(Clone)]
pub(super) struct Opener {
    swarm: Swarm,
    to: PeerId,
}

/// A stream as a connection of HTTP's.
pub(super) struct Wire(TokioIo<Stream>);

/// The line to this peer.
pub(super) fn to(swarm: Swarm, to: PeerId) -> Line {
    hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_STREAMS)
        .build(Opener { swarm, to })
}

impl Service<Uri> for Opener {
    type Response = Wire;
    type Error = NoStream;
    type Future = BoxFuture<'static, Result<Wire, NoStream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoStream>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { swarm, to } = self.clone();
        async move { Ok(Wire(TokioIo::new(swarm.open(to, Protocol::Http).await?))) }.boxed()
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
