//! Which peers are known to have which tarballs: asked behind the client's back, and remembered for a while. Now and then one
//! is fetched as a client would, and hashed: whoever gives other bytes is in quarantine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HeaderName;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Collected, Empty, Limited};
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
/// Of so many tarballs that a peer says it has one is fetched, the first among them.
const SAMPLED: u64 = 16;
/// The longest that is fetched for that; of a longer one nothing is said.
const LONGEST_SAMPLE: usize = 4 << 20;
/// The longest that it may take.
const SAMPLE_PATIENCE: Duration = Duration::from_secs(20);
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
    /// Tarballs that peers said they had.
    said: AtomicU64,
    /// Told of who gave wrong bytes.
    caught: Box<dyn Fn(PeerId) + Send + Sync>,
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
    /// Nothing is known yet. `own` is this gateway's id; `caught` is told of whoever gives wrong bytes.
    ///
    /// # Errors
    /// When the system's trust store cannot be read.
    pub fn new(own: PeerId, caught: impl Fn(PeerId) + Send + Sync + 'static) -> anyhow::Result<Self> {
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
        let (said, caught) = (AtomicU64::new(0), Box::new(caught));
        Ok(Self { inner: Arc::new(Inner { own, known, places, said, caught, client }) })
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
            if holds && inner.said.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLED) {
                inner.sample(key, &address).await;
            }
            drop(place);
        });
    }
}

impl Inner {
    fn remember(&self, key: (PeerId, Integrity), holds: bool) {
        self.known.insert(key, Known { holds, since: Instant::now() });
    }

    /// Fetches a tarball that a peer says it has. Silence and breaking off are the probes' concern.
    async fn sample(&self, key: (PeerId, Integrity), address: &str) {
        let (id, integrity) = key;
        let fetched = timeout(SAMPLE_PATIENCE, self.fetch(address)).await;
        let Some(bytes) = fetched.ok().flatten() else { return };
        if Integrity::of(&bytes) != integrity {
            tracing::error!(peer = %id, %integrity, "a peer gave other bytes than it said: nobody is sent to it");
            self.remember(key, false);
            (self.caught)(id);
        }
    }

    /// The whole body of a 200, if it is not too long.
    async fn fetch(&self, address: &str) -> Option<Bytes> {
        let request = Request::get(address).header(PEER, self.own.to_string()).body(Empty::new()).ok()?;
        let answer = self.client.request(request).await.ok()?;
        let is_whole = answer.status() == StatusCode::OK;
        let body = Limited::new(answer.into_body(), LONGEST_SAMPLE).collect().await;
        body.ok().filter(|_| is_whole).map(Collected::to_bytes)
    }

    async fn head(&self, address: &str) -> bool {
        let request = Request::head(address).header(PEER, self.own.to_string()).body(Empty::new());
        let Ok(request) = request else { return false };
        self.client.request(request).await.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A peer that says that it has everything, and gives `bytes`.
    async fn peer(bytes: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {
                        let body = if head.starts_with(b"GET") { bytes } else { b"" };
                        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", bytes.len());
                        stream.write_all(&[answer.as_bytes(), body].concat()).await.unwrap();
                        head.clear();
                    }
                });
            }
        });
        base
    }

    /// How often a peer that gives `given` for a tarball of "right" is caught, once it has been sampled.
    async fn caught(given: &'static [u8]) -> usize {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let holders = Holders::new(PeerId::of_key([1; 32]), move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let holders = holders.unwrap();
        let target = Target { id: PeerId::of_key([2; 32]), base: peer(given).await };
        assert!(!holders.holds(&target, &Integrity::of(b"right")), "it has not been asked yet");
        // All places are free when the sample has been taken.
        let all = u32::try_from(AT_ONCE).unwrap();
        drop(holders.inner.places.acquire_many(all).await.unwrap());
        assert_eq!(holders.holds(&target, &Integrity::of(b"right")), given == b"right");
        count.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn a_peer_that_gives_other_bytes_than_it_said_is_caught() {
        assert_eq!(caught(b"wrong").await, 1);
        assert_eq!(caught(b"right").await, 0);
    }
}
