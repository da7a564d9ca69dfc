//! One connection: TLS where it is due, then HTTP, until the client or the gateway has had enough.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use resolver::peer::PeerId;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::body::Body;

/// The wait for a request's head, idle connections included: longer than clients keep theirs.
pub(super) const HEAD_WAIT: Duration = Duration::from_secs(75);
/// A client that takes nothing of an answer for this long has gone.
const WRITE_WAIT: Duration = Duration::from_secs(60);
/// From accepting to the end of TLS's handshake: two round trips and a signature.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// When the gateway stops, a connection may still bring a handshake or a request: one that has just been opened has
/// brought none yet, and over one that is kept alive the next may be on its way. hyper would close both at once.
const LAST_CALL: Duration = Duration::from_secs(1);
/// The first byte of TLS: a handshake record (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;
/// For whoever has typed http instead of https.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 57\r\n\
    connection: close\r\n\r\nthis port speaks https; its address begins with https://\n";

/// Answers requests.
pub trait Handle: Clone + Send + Sync + 'static {
    /// One request, over this connection.
    fn handle(&self, request: Request<Incoming>, wire: Wire) -> impl Future<Output = Response<Body>> + Send;
}

/// Both ends of a connection, and how it is protected.
#[derive(Debug, Clone)]
pub struct Wire {
    /// The client's end, or its proxy's.
    pub peer: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
    /// TLS ends here.
    pub tls: bool,
    /// It is a stream, and its connection proves that this peer has opened it. (By reference: every request of every client
    /// carries this.)
    pub proved: Option<Arc<PeerId>>,
}

/// Why TLS did not begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoTls {
    #[error("no handshake within {} seconds", HANDSHAKE.as_secs())]
    TimedOut,
    #[error("plain http on a port for https")]
    PlainHttp,
    #[error("the gateway stops")]
    Stopping,
    #[error("{0}")]
    Failed(#[from] std::io::Error),
}

/// How a connection has to end.
enum End {
    /// Now: it has never asked for anything.
    Silent,
    /// With the answers that are under way.
    Finish,
}

/// Small answers must not wait for the acknowledgement of those before.
pub(super) fn prompt(stream: TcpStream) -> TcpStream {
    // Without it answers are only slower.
    let _ = stream.set_nodelay(true);
    stream
}

/// Nobody waits for a client that is gone.
pub(super) fn limited<S: AsyncRead + AsyncWrite>(stream: S) -> TimeoutStream<S> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_WAIT));
    stream
}

/// TLS's handshake; after `stop` it has to be quick.
pub(super) async fn secured(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    stop: &CancellationToken,
) -> Result<TlsStream<std::pin::Pin<Box<TimeoutStream<TcpStream>>>>, NoTls> {
    let handshake = async {
        let mut first = [0; 1];
        if stream.peek(&mut first).await? == 1 && first[0] != TLS_HANDSHAKE {
            return Err(refuse(stream).await);
        }
        Ok(acceptor.accept(Box::pin(limited(prompt(stream)))).await?)
    };
    let overdue = async {
        stop.cancelled().await;
        sleep(LAST_CALL).await;
    };
    tokio::select! {
        ended = timeout(HANDSHAKE, handshake) => ended.unwrap_or(Err(NoTls::TimedOut)),
        () = overdue => Err(NoTls::Stopping),
    }
}

async fn refuse(mut stream: TcpStream) -> NoTls {
    // What was not read would make the kernel reset the connection, and the client not see the answer.
    let _ = stream.read(&mut [0; 4096]).await;
    match stream.write_all(SPEAK_TLS).await {
        Ok(()) => NoTls::PlainHttp,
        Err(error) => error.into(),
    }
}

/// HTTP/1.1 or HTTP/2 until the end; after `stop` not longer than it takes to answer what was asked.
pub(super) async fn serve<H: Handle>(
    builder: &auto::Builder<TokioExecutor>,
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    handler: &H,
    wire: Wire,
    stop: &CancellationToken,
) {
    let (asked, mut asks) = watch::channel(());
    // The token itself would be a lock that all requests share.
    let stopping = Arc::new(AtomicBool::new(false));
    let service = service_fn(|request: Request<Incoming>| {
        asked.send_replace(());
        let (handler, stopping, version) = (handler.clone(), Arc::clone(&stopping), request.version());
        let wire = wire.clone();
        async move {
            let mut response = handler.handle(request, wire).await;
            // The client is told to open another for its next request; HTTP/2 has words of its own for that.
            if stopping.load(Ordering::Relaxed) && version <= Version::HTTP_11 {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        end = end(&mut asks, stop, &stopping) => match end {
            End::Silent => return,
            End::Finish => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}

async fn end(asks: &mut watch::Receiver<()>, stop: &CancellationToken, stopping: &AtomicBool) -> End {
    // hyper's own limit begins with the first byte; whoever never sends one keeps no place.
    match stop.run_until_cancelled(timeout(HEAD_WAIT, asks.changed())).await {
        Some(Err(_)) => return End::Silent,
        _ => stop.cancelled().await,
    }
    stopping.store(true, Ordering::Relaxed);
    asks.mark_unchanged();
    // An answer to a request that comes now says that it is the last one.
    let _ = timeout(LAST_CALL, asks.changed()).await;
    End::Finish
}
