//! Listens, accepts within limits, and drains.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{self, Either};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::body::Body;
use crate::listen::Listeners;

/// Connections at once; more wait in the kernel's queue. A client opens up to 120, a school has 50 clients.
const CONNECTIONS: usize = 8192;
/// The wait for a request's head, idle connections included: longer than clients keep theirs.
const HEAD_WAIT: Duration = Duration::from_secs(75);
/// A client that takes nothing of an answer for this long has gone.
const WRITE_WAIT: Duration = Duration::from_secs(60);
/// A request's head in bytes and in headers.
const HEAD_BYTES: usize = 64 * 1024;
const HEADERS: usize = 128;
/// What HTTP/2 lets one connection do at once: deno asks for everything on one.
const STREAMS: u32 = 256;
/// An HTTP/2 connection is asked whether it still lives.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// After a failed accept (no file descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long answers that are under way are given when the program ends.
const DRAIN: Duration = Duration::from_secs(30);

/// Answers requests.
pub trait Handle: Clone + Send + Sync + 'static {
    /// One request, from `peer`, to our address `local`.
    fn handle(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// Serves one handler on all listeners.
pub struct Server<H> {
    handler: H,
    connections: Gauge,
    places: Arc<Semaphore>,
    builder: auto::Builder<TokioExecutor>,
}

impl<H: Handle> Server<H> {
    /// A server that listens nowhere yet, and counts its open connections.
    #[must_use]
    pub fn new(handler: H, connections: Gauge) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WAIT)
            .max_buf_size(HEAD_BYTES)
            .max_headers(HEADERS);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX));
        Self { handler, connections, places: Arc::new(Semaphore::new(CONNECTIONS)), builder }
    }

    /// Serves until `stop`, then lets answers that are under way come to their end.
    pub async fn serve(self, listeners: Listeners, stop: CancellationToken) {
        let graceful = Arc::new(GracefulShutdown::new());
        let server = Arc::new(self);
        let accepting = listeners.into_iter().map(|listener| {
            let (server, graceful, stop) = (Arc::clone(&server), Arc::clone(&graceful), stop.clone());
            tokio::spawn(async move {
                // Dropping the listener closes it.
                stop.run_until_cancelled(server.accept(listener, graceful)).await;
            })
        });
        futures_util::future::join_all(accepting.collect::<Vec<_>>()).await;
        // The accepting tasks, which held the others, have ended.
        let Some(graceful) = Arc::into_inner(graceful) else {
            return;
        };
        if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
            tracing::warn!(seconds = DRAIN.as_secs(), "answers were still under way; cut off");
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, graceful: Arc<GracefulShutdown>) {
        loop {
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let (server, watcher) = (Arc::clone(&self), graceful.watcher());
                    tokio::spawn(async move {
                        server.connections.inc();
                        server.connection(stream, peer, watcher).await;
                        server.connections.dec();
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(&self, stream: TcpStream, peer: SocketAddr, watcher: Watcher) {
        let Ok(local) = stream.local_addr() else {
            return;
        };
        // Small answers must not wait for the acknowledgement of those before; without it they are only slower.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(WRITE_WAIT));
        let begun = Notify::new();
        let service = service_fn(|request| {
            begun.notify_one();
            let handler = self.handler.clone();
            async move { Ok::<_, std::convert::Infallible>(handler.handle(request, peer, local).await) }
        });
        let connection = self.builder.serve_connection(TokioIo::new(Box::pin(stream)), service);
        let connection = pin!(watcher.watch(connection));
        // hyper's own limit begins with the first byte; whoever never sends one keeps no place.
        let first_request = pin!(tokio::time::timeout(HEAD_WAIT, begun.notified()));
        let ended = match future::select(connection, first_request).await {
            Either::Left((ended, _)) => ended,
            Either::Right((Ok(()), connection)) => connection.await,
            Either::Right((Err(_), _)) => return,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended badly");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, ErrorKind, Read, Write};
    use tokio::sync::oneshot;

    #[derive(Clone)]
    struct Mute;

    impl Handle for Mute {
        async fn handle(&self, _: Request<Incoming>, _: SocketAddr, _: SocketAddr) -> Response<Body> {
            Response::new(super::super::body::empty())
        }
    }

    /// What a client hears that says this and waits: it does so on a thread of its own, in real time.
    fn hear(address: SocketAddr, says: &'static [u8]) -> oneshot::Receiver<io::Result<usize>> {
        let (sender, heard) = oneshot::channel();
        std::thread::spawn(move || {
            let listen = || {
                let mut stream = std::net::TcpStream::connect(address)?;
                stream.write_all(says)?;
                stream.set_read_timeout(Some(Duration::from_secs(20)))?;
                stream.read(&mut [0; 1])
            };
            // The test may have failed meanwhile.
            let _ = sender.send(listen());
        });
        heard
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_keeps_no_place() {
        let listeners = Listeners::bind("http.listen", &[SocketAddr::from(([127, 0, 0, 1], 0))]).unwrap();
        let address = listeners.addresses()[0];
        tokio::spawn(Server::new(Mute, Gauge::default()).serve(listeners, CancellationToken::new()));
        for says in [&b""[..], b"PRI * HTTP/2", b"GET / HTTP/1.1\r\nhost: x\r\n"] {
            let heard = hear(address, says).await.unwrap();
            // In this clock the time may be over before the client has said what it says.
            let closed =
                heard.as_ref().map_or_else(|error| error.kind() != ErrorKind::WouldBlock, |n| *n == 0);
            assert!(closed, "the connection stayed open: {heard:?}");
        }
    }
}
