//! HTTP over streams of the swarm: requests to `http://<peer id>/...` go to that peer, by streams of the connection that proves
//! who it is, as an HTTP client takes connections.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use resolver::peer::PeerId;
use tower_service::Service;

use crate::swarm::{NoStream, Protocol, Stream, Swarm};

/// Unused streams that are kept: as many as a client asks for at once.
const IDLE_STREAMS: usize = 16;
/// How long: home closes them itself after a while.
const IDLE: Duration = Duration::from_secs(30);

/// Asks peers. A stream carries one request at a time, and is used again.
pub type Line<Body> = Client<Opener, Body>;

/// Opens streams to peers.
#[derive(Clone)]
pub struct Opener {
    swarm: Swarm,
}

/// A stream as a connection of HTTP's.
pub struct Wire(TokioIo<Stream>);

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub enum NoLine {
    /// The address does not begin with a peer's id.
    #[error("the address names no peer")]
    NoPeer,
    /// It cannot be opened.
    #[error("{0}")]
    Stream(#[from] NoStream),
}

/// The line to all peers of the swarm.
pub fn over<Body>(swarm: Swarm) -> Line<Body>
where
    Body: http_body::Body + Send,
    Body::Data: Send,
{
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_STREAMS)
        .build(Opener { swarm })
}

impl Service<Uri> for Opener {
    type Response = Wire;
    type Error = NoLine;
    type Future = BoxFuture<'static, Result<Wire, NoLine>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoLine>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { swarm } = self.clone();
        async move {
            let to = uri.host().and_then(|host| host.parse::<PeerId>().ok()).ok_or(NoLine::NoPeer)?;
            Ok(Wire(TokioIo::new(swarm.open(to, Protocol::Http).await?)))
        }
        .boxed()
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
