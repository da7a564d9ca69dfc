//! Requests to peers: over plain HTTP to an address that is a peer's, or over a stream of the connection that proves who it is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, HOST, HeaderName};
use http::response::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use resolver::hedge::Errand;
use resolver::peer::PeerId;
use resolver::peers::Target;
use tokio::time::Instant;

use super::Wanted;
use crate::share::WISH;
use crate::steer::{PEER, connector};
use crate::swarm::{Protocol, Swarm};

/// A peer on a LAN takes a connection within a millisecond; one that is farther away is hedged.
const DIAL: Duration = Duration::from_millis(250);
/// What an install's next miss finds open; servers close idle connections after 75 s.
const IDLE: Duration = Duration::from_secs(20);
/// Idle connections and streams kept of one peer, and streams of all: an install asks for some 50 at once, mostly of one peer.
const IDLE_OF_ONE: usize = 8;
const IDLE_OF_ALL: usize = 128;
/// An answer's head, and what is read of a body at once.
const BUFFER: usize = 64 * 1024;
const MOST_HEADERS: usize = 64;

/// Says which bytes are wanted, as npm does.
const PACOTE_INTEGRITY: HeaderName = HeaderName::from_static("pacote-integrity");

/// How a peer is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::fetch) enum Route {
    /// By an address of its own.
    Address(Target, String),
    /// By a stream on its connection.
    Stream,
}

/// Makes requests.
pub(super) struct Line {
    own: PeerId,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    swarm: Swarm,
    idle: Arc<Idle>,
}

/// Streams that wait for the next request.
#[derive(Default)]
struct Idle {
    streams: Mutex<BTreeMap<PeerId, Vec<(Sender, Instant)>>>,
}

type Sender = http1::SendRequest<Empty<Bytes>>;

/// An answer whose body is still to come.
pub(super) struct Reply {
    pub(super) head: Parts,
    body: Incoming,
    /// The stream, for the next request.
    back: Option<(PeerId, Sender, Arc<Idle>)>,
}

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// Nobody takes a connection at its address.
    #[error("nobody answers at its address: {0}")]
    Unreachable(String),
    /// Anything else.
    #[error("{0}")]
    Broken(String),
}

impl Line {
    pub(super) fn new(own: PeerId, swarm: Swarm) -> anyhow::Result<Self> {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_OF_ONE)
            .http1_max_buf_size(BUFFER)
            .http1_max_headers(MOST_HEADERS)
            .build(connector(DIAL)?);
        Ok(Self { own, client, swarm, idle: Arc::default() })
    }

    /// Asks a peer for a tarball; returns when its head is here.
    pub(super) async fn ask(
        &self,
        id: PeerId,
        route: &Route,
        errand: Errand,
        wanted: &Wanted,
    ) -> Result<Reply, NoAnswer> {
        let request = || {
            let base = if let Route::Address(_, base) = route { base.as_str() } else { "" };
            self.request(base, errand, wanted).map_err(|error| NoAnswer::Broken(error.to_string()))
        };
        match route {
            Route::Address(..) => {
                let answer =
                    self.client.request(request()?).await.map_err(|error| match error.is_connect() {
                        true => NoAnswer::Unreachable(error.to_string()),
                        false => NoAnswer::Broken(error.to_string()),
                    })?;
                Ok(Reply::of(answer, None))
            }
            Route::Stream => {
                // The peer may just have closed a stream that was idle; then it is asked on a new one.
                if let Some(sender) = self.idle.take(id)
                    && let Ok(reply) = self.ask_on(id, sender, request()?).await
                {
                    return Ok(reply);
                }
                self.ask_on(id, self.open(id).await?, request()?).await
            }
        }
    }

    fn request(
        &self,
        base: &str,
        errand: Errand,
        wanted: &Wanted,
    ) -> Result<Request<Empty<Bytes>>, http::Error> {
        let own = self.own.to_string();
        let builder = match (errand, &wanted.path) {
            (Errand::Fetch, Some(path)) => Request::get(format!("{base}/{path}"))
                .header(WISH, "fetch")
                .header(PACOTE_INTEGRITY, wanted.integrity.to_string()),
            _ => Request::get(format!("{base}/-/tarballs/sha512/{}", wanted.integrity.base64url())),
        };
        // Over a stream nobody looks at the host; HTTP wants one.
        let builder = if base.is_empty() { builder.header(HOST, "open-registry") } else { builder };
        builder.header(PEER, own).header(ACCEPT_ENCODING, "identity").body(Empty::new())
    }

    async fn open(&self, id: PeerId) -> Result<Sender, NoAnswer> {
        let broken = |error: hyper::Error| NoAnswer::Broken(error.to_string());
        let stream = self.swarm.open(id, Protocol::Http).await;
        let stream = stream.map_err(|error| NoAnswer::Broken(error.to_string()))?;
        let mut client = http1::Builder::new();
        client.max_buf_size(BUFFER).max_headers(MOST_HEADERS);
        let (sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // It ends with its sender; what goes wrong in it shows in the answers.
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn ask_on(
        &self,
        id: PeerId,
        mut sender: Sender,
        request: Request<Empty<Bytes>>,
    ) -> Result<Reply, NoAnswer> {
        let broken = |error: hyper::Error| NoAnswer::Broken(error.to_string());
        sender.ready().await.map_err(broken)?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        Ok(Reply::of(answer, Some((id, sender, Arc::clone(&self.idle)))))
    }
}

impl Reply {
    fn of(answer: Response<Incoming>, back: Option<(PeerId, Sender, Arc<Idle>)>) -> Self {
        let (head, body) = answer.into_parts();
        Self { head, body, back }
    }

    /// The next chunk; `None` at the end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, NoAnswer> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| NoAnswer::Broken(error.to_string()))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        if let Some((id, sender, idle)) = self.back.take() {
            idle.put(id, sender);
        }
        Ok(None)
    }
}

impl Idle {
    fn take(&self, id: PeerId) -> Option<Sender> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = streams.get_mut(&id)?;
        let is_good = |(sender, since): &(Sender, Instant)| !sender.is_closed() && since.elapsed() < IDLE;
        let taken = std::iter::from_fn(|| of_peer.pop()).find(is_good);
        if of_peer.is_empty() {
            streams.remove(&id);
        }
        taken.map(|(sender, _)| sender)
    }

    /// Whatever is not kept is closed.
    fn put(&self, id: PeerId, sender: Sender) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.retain(|_, of_peer| {
            of_peer.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < IDLE);
            !of_peer.is_empty()
        });
        let all: usize = streams.values().map(Vec::len).sum();
        let of_peer = streams.entry(id).or_default();
        if all < IDLE_OF_ALL && of_peer.len() < IDLE_OF_ONE {
            of_peer.push((sender, Instant::now()));
        }
    }
}
