//! The operator's listener: metrics, health and status, and warm-ups for the command. It knows no client and nothing private.

mod index;
mod peers;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use resolver::connectivity::Link;
use resolver::peer::PeerId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::catalogue::Catalogue;
use crate::changes::Feed;
use crate::fetch::{Connection, Content, Fetch, NoProspect};
use crate::follow::Following;
use crate::http::{Body, Handle, Wire, full};
use crate::metrics::Metrics;
use crate::steer::Guide;
use crate::store::Totals;
use crate::warm::WarmUps;

pub use peers::Peers;

/// The media type of OpenMetrics, which Prometheus asks for.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `[operator]`: where metrics, health and status are served.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `None`: nowhere.
    #[serde(deserialize_with = "crate::units::unset_when_empty")]
    pub listen: Option<SocketAddr>,
}

/// Answers operators. Cheap to clone.
#[derive(Clone)]
pub struct Operator {
    inner: Arc<Inner>,
}

struct Inner {
    fetch: Fetch,
    changes: Option<Feed>,
    guide: Guide,
    peers: Peers,
    catalogue: Catalogue,
    warm_ups: WarmUps,
    metrics: Arc<Metrics>,
    id: PeerId,
    ready: AtomicBool,
    stopping: AtomicBool,
    started: Instant,
}

impl Operator {
    /// Not ready yet.
    #[must_use]
    pub fn new(
        id: PeerId,
        fetch: Fetch,
        warm_ups: WarmUps,
        changes: Option<Feed>,
        guide: Guide,
        (peers, catalogue, metrics): (Peers, Catalogue, Arc<Metrics>),
    ) -> Self {
        let (ready, stopping) = (AtomicBool::new(false), AtomicBool::new(false));
        Self {
            inner: Arc::new(Inner {
                fetch,
                warm_ups,
                changes,
                guide,
                peers,
                catalogue,
                metrics,
                id,
                ready,
                stopping,
                started: Instant::now(),
            }),
        }
    }

    /// Clients may be sent here from now on.
    pub fn set_ready(&self) {
        self.inner.ready.store(true, Ordering::Release);
    }

    /// No more clients may be sent here, whatever is found out meanwhile.
    pub fn set_stopping(&self) {
        self.inner.stopping.store(true, Ordering::Release);
    }

    fn is_ready(&self) -> bool {
        self.inner.ready.load(Ordering::Acquire) && !self.inner.stopping.load(Ordering::Acquire)
    }

    async fn answer(&self, method: &Method, path: &str, query: Option<&str>) -> Response<Body> {
        if method != Method::GET && method != Method::HEAD {
            return words(StatusCode::METHOD_NOT_ALLOWED, "this can only be read\n");
        }
        match path {
            "/healthz" => words(StatusCode::OK, "ok\n"),
            "/readyz" if self.is_ready() => words(StatusCode::OK, "ready\n"),
            "/readyz" => words(StatusCode::SERVICE_UNAVAILABLE, "not ready: starting or stopping\n"),
            "/metrics" => self.metrics(),
            "/status" => typed(StatusCode::OK, "application/json", self.status().to_string()),
            "/why" => self.why(query).await,
            "/resolve" => self.resolve(query).await,
            _ => words(
                StatusCode::NOT_FOUND,
                "here are /metrics, /healthz, /readyz, /status, /why and /resolve\n",
            ),
        }
    }

    /// `/why?client=<address>`: what a client is told, and why. `/why?content=<package>[@<version>]`: what is held of it,
    /// and what a request for it would lead to.
    async fn why(&self, query: Option<&str>) -> Response<Body> {
        let (key, value) = query.and_then(|query| query.split_once('=')).unwrap_or_default();
        let value = percent_decode_str(value).decode_utf8_lossy();
        match (key, value.parse()) {
            ("client", Ok(client)) => self.why_client(client),
            ("content", _) => self.why_content(&value).await,
            _ => words(
                StatusCode::BAD_REQUEST,
                "ask /why?client=<address>, or /why?content=<package>[@<version>]\n",
            ),
        }
    }

    fn why_client(&self, client: IpAddr) -> Response<Body> {
        typed(StatusCode::OK, "application/json", json!(self.inner.guide.explain(client)).to_string())
    }

    async fn why_content(&self, text: &str) -> Response<Body> {
        let content: Content = match text.parse() {
            Ok(content) => content,
            Err(error) => return words(StatusCode::BAD_REQUEST, format!("{error}\n")),
        };
        match self.inner.fetch.prospect(&content).await {
            Ok(prospect) => typed(StatusCode::OK, "application/json", json!(prospect).to_string()),
            Err(error @ NoProspect::NoVersion { .. }) => words(StatusCode::NOT_FOUND, format!("{error}\n")),
            Err(error) => words(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        }
    }

    fn metrics(&self) -> Response<Body> {
        let up = matches!(self.inner.fetch.upstream().latch().link(), Link::Up | Link::Doubtful);
        self.inner.peers.measure(&self.inner.metrics);
        let text = self.inner.metrics.render(self.inner.fetch.store().totals(), up);
        typed(StatusCode::OK, OPEN_METRICS, text)
    }

    fn status(&self) -> serde_json::Value {
        let (sent, received) = self.inner.metrics.transferred();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "peer": self.inner.id,
            "contacts": self.inner.peers.swarm.contacts(),
            "connected": self.inner.peers.connected(&self.inner.guide, self.inner.fetch.peers()),
            "known": self.inner.peers.known(&self.inner.guide, self.inner.fetch.peers()),
            "uptime_s": self.inner.started.elapsed().as_secs(),
            "ready": self.is_ready(),
            "upstream": Connection::of(self.inner.fetch.upstream()),
            "home": self.inner.fetch.upstream().home(),
            "followed": self.inner.catalogue.following().map(|following| self.followed(following)),
            "changes": self.inner.changes.as_ref().map(changes),
            "index": index::status(&self.inner.catalogue),
            "blocked": blocked(self.inner.fetch.takedowns().count()),
            "store": store_status(self.inner.fetch.store().totals()),
            "bytes": {
                "sent": sent,
                "received": received,
                "received_from": BTreeMap::from(self.inner.metrics.received_by_source()),
            },
        })
    }
}

fn store_status(totals: &Totals) -> serde_json::Value {
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    json!({
        "tarballs": count(&totals.blobs),
        "tarball_bytes": count(&totals.blob_bytes),
        "packuments": count(&totals.packuments),
        "packument_bytes": count(&totals.packument_bytes),
        "corrupt": count(&totals.corrupt),
        "full": count(&totals.full) == 1,
        "on_disk": {
            "tarballs": count(&totals.blob_stored),
            "metadata": count(&totals.packument_stored),
            "state": count(&totals.state_bytes),
        },
        "pinned": { "items": count(&totals.pinned), "bytes": count(&totals.pinned_bytes) },
        "evicted": { "items": count(&totals.evicted), "bytes": count(&totals.evicted_bytes) },
        "scrub": { "percent": count(&totals.scrub_progress), "bytes": count(&totals.scrubbed_bytes) },
    })
}

impl Handle for Operator {
    async fn handle(&self, request: Request<Incoming>, wire: Wire) -> Response<Body> {
        if WarmUps::is_for(request.method(), request.uri().path()) {
            return self.inner.warm_ups.answer(request, wire).await;
        }
        self.answer(request.method(), request.uri().path(), request.uri().query()).await
    }
}

impl Operator {
    /// Home's head, and which root of home's counts already.
    fn followed(&self, following: &Following) -> serde_json::Value {
        let mut status = following.status();
        let settled = self.inner.fetch.settled();
        status["settled"] = json!(settled.map(|(root, _)| root.to_string()));
        status["current_s"] = json!(settled.and_then(|(_, since)| since).map(|since| since.as_secs()));
        status
    }
}

fn blocked((own, home): (usize, usize)) -> serde_json::Value {
    json!({ "own": own, "home": home })
}

fn changes(feed: &Feed) -> serde_json::Value {
    let status = feed.status();
    json!({
        "url": feed.address(),
        "sequence": status.since,
        "lag": status.lag,
        "last_success_s": status.last_success_s,
        "invalidated": status.invalidated,
        "unconfirmed": status.unconfirmed,
        "current_s": status.current_s,
        "failures": status.failures,
        "error": status.error,
    })
}

fn words(status: StatusCode, words: impl Into<String>) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", words.into())
}

fn typed(status: StatusCode, media_type: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
