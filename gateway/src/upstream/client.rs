//! The HTTP client: HTTP/2 where upstream speaks it, TLS with the system's trust store.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

/// Until a connection stands, of all addresses of a name together.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Until it can be used, with the look-up of the name before and the handshake behind: a resolver that has lost one datagram is
/// asked again after 5 s, and one whose own way is cut may take half a minute to say so.
const USABLE_WAIT: Duration = Duration::from_secs(7);
/// Unused connections are closed before upstream's or a NAT's own limit can surprise us.
const IDLE: Duration = Duration::from_secs(60);
/// A silent HTTP/2 connection is asked whether it still lives, and given up after the wait.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_WAIT: Duration = Duration::from_secs(5);
/// Flow-control windows: a stream's lets one tarball fill a long, fast line; the connection's is so much larger that
/// streams which nobody reads at the moment (a slow client's) never stop the others.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024 * 1024;

/// The body of a request to upstream.
pub(super) type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;
/// The client.
pub(super) type Client = hyper_util::client::legacy::Client<InTime, Body>;

/// A connector that gives up in time, whatever takes so long.
#[derive(Clone)]
pub(super) struct InTime(HttpsConnector<HttpConnector>);

type Connection = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;
type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for InTime {
    type Response = Connection;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Connection, Failure>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let connecting = self.0.call(address);
        Box::pin(async {
            let connected = tokio::time::timeout(USABLE_WAIT, connecting).await;
            connected.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
        })
    }
}

/// The usual client, and one that makes a connection for each request and keeps none.
pub(super) fn clients() -> anyhow::Result<(Client, Client)> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_WAIT));
    connector.set_keepalive(Some(IDLE));
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .try_with_platform_verifier()?
        .https_or_http()
        .enable_http1()
        .enable_http2()
        .wrap_connector(connector);
    let https = InTime(https);
    let mut builder = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .http2_keep_alive_timeout(KEEP_ALIVE_WAIT);
    let usual = builder.build(https.clone());
    Ok((usual, builder.pool_max_idle_per_host(0).build(https)))
}

/// No body.
pub(super) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}
