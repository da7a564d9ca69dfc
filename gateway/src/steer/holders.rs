//! Which peers are known to have which tarballs: asked behind the client's back, and remembered for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HeaderName;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use quick_cache::sync::Cache;
use resolver::integrity::Integrity;
use resolver::peer::PeerId;
use resolver::redirect::Target;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// What a request of a peer's own carries: its id. It is answered out of the store and goes no further.
pub const PEER: HeaderName = HeaderName::from_static("open-registry-peer");
/// What stands in the query of a redirect: whoever comes with it is served where he came to.
pub const HOP: &str = "open-registry-hop";

/// What is remembered: some 120 bytes each, so 8 MiB.
const REMEMBERED: usize = 65_536;
/// Questions under way; what is more is asked when it comes up again.
const AT_ONCE: usize = 16;
/// A peer that takes longer would be no quicker for a client either.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a peer is taken to have what it said it had: whoever has evicted it meanwhile fetches it again.
const HELD: Duration = Duration::from_secs(10 * 60);
/// How soon one is asked again that had it not, or did not answer.
const MISSED: Duration = Duration::from_secs(30);

/// Who has what. Cheap to clone.
#[derive(Clone)]
pub struct Holders {
    inner: Arc<Inner>,
}

struct Inner {
    own: PeerId,
    known: Cache<(PeerId, Integrity), Known>,
    places: Arc<Semaphore>,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    holds: bool,
    since: Instant,
}

impl Known {
    fn is_fresh(self) -> bool {
        self.since.elapsed() < if self.holds { HELD } else { MISSED }
    }
}

impl Holders {
    /// Nothing is known yet. `own` is this gateway's id.
    ///
    /// # Errors
    /// When the system's trust store cannot be read.
    pub fn new(own: PeerId) -> anyhow::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(PATIENCE));
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .try_with_platform_verifier()?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(PATIENCE)
            .build(https);
        let (known, places) = (Cache::new(REMEMBERED), Arc::new(Semaphore::new(AT_ONCE)));
        Ok(Self { inner: Arc::new(Inner { own, known, places, client }) })
    }

    /// Whether a peer is known to have a tarball. What is not known is asked, for the next one who wants it; nobody
    /// waits here.
    #[must_use]
    pub fn holds(&self, target: &Target, integrity: &Integrity) -> bool {
        let key = (target.id, *integrity);
        match self.inner.known.get(&key) {
            Some(known) if known.is_fresh() => known.holds,
            _ => {
                self.ask(key, &target.base);
                false
            }
        }
    }

    fn ask(&self, key: (PeerId, Integrity), base: &str) {
        let Ok(place) = Arc::clone(&self.inner.places).try_acquire_owned() else { return };
        // Until there is an answer nobody else asks.
        self.inner.remember(key, false);
        let address = format!("{base}/-/tarballs/sha512/{}", key.1.base64url());
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            let holds = timeout(PATIENCE, inner.head(&address)).await.unwrap_or(false);
            inner.remember(key, holds);
            drop(place);
        });
    }
}

impl Inner {
    fn remember(&self, key: (PeerId, Integrity), holds: bool) {
        self.known.insert(key, Known { holds, since: Instant::now() });
    }

    async fn head(&self, address: &str) -> bool {
        let request = Request::head(address).header(PEER, self.own.to_string()).body(Empty::new());
        let Ok(request) = request else { return false };
        self.client.request(request).await.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }
}
