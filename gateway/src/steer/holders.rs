//! Which peers are known to have which tarballs: asked behind the client's back, and remembered for a while. Now and then one
//! is fetched as a client would, and hashed: whoever gives other bytes, and proves before and after that it is the peer, is in
//! quarantine. Where somebody else answers, the peer loses that address and nothing more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::HeaderName;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Collected, Empty, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use quick_cache::sync::Cache;
use resolver::health::Outcome;
use resolver::integrity::Integrity;
use resolver::peer::PeerId;
use resolver::peers::{self, Offence, Sighting};
use resolver::redirect::Target;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::Url;

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
    witness: Box<dyn Witness>,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

/// Who is asked, and told of what was seen there.
pub trait Witness: Send + Sync + 'static {
    /// Whether it is the peer that answers there, proved by its key.
    fn prove(&self, id: PeerId, target: peers::Target) -> BoxFuture<'static, bool>;
    /// Something was seen.
    fn learn(&self, sighting: Sighting);
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
    pub fn new(own: PeerId, witness: impl Witness) -> anyhow::Result<Self> {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(PATIENCE)
            .build(super::connector(PATIENCE)?);
        let (known, places) = (Cache::new(REMEMBERED), Arc::new(Semaphore::new(AT_ONCE)));
        let (said, witness) = (AtomicU64::new(0), Box::new(witness));
        Ok(Self { inner: Arc::new(Inner { own, known, places, said, witness, client }) })
    }

    /// Whether a peer is known to have a tarball. What is not known is asked, for the next one who wants it; nobody
    /// waits here.
    #[must_use]
    pub fn holds(&self, target: &Target, integrity: &Integrity) -> bool {
        let key = (target.id, *integrity);
        match self.inner.known.get(&key) {
            Some(known) if known.is_fresh() => known.holds,
            _ => {
                self.ask(key, target);
                false
            }
        }
    }

    fn ask(&self, key: (PeerId, Integrity), target: &Target) {
        let Ok(place) = Arc::clone(&self.inner.places).try_acquire_owned() else { return };
        // Until there is an answer nobody else asks.
        self.inner.remember(key, false);
        let address = format!("{}/-/tarballs/sha512/{}", target.base, key.1.base64url());
        let (inner, target) = (Arc::clone(&self.inner), steered(&target.base));
        tokio::spawn(async move {
            let asked = timeout(PATIENCE, inner.head(&address)).await;
            let holds = asked.as_ref().is_ok_and(|asked| *asked == Ok(StatusCode::OK));
            inner.remember(key, holds);
            if let Some(outcome) = passive(asked.ok()) {
                inner.witness.learn(Sighting::Met(key.0, target.clone(), outcome));
            }
            if holds && inner.said.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLED) {
                inner.sample(key, &address, target).await;
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
    async fn sample(&self, key: (PeerId, Integrity), address: &str, target: peers::Target) {
        let (id, integrity) = key;
        if !self.gives_others(address, &integrity).await {
            return;
        }
        self.remember(key, false);
        // Whoever has got hold of an address of the peer must not be able to take it down at all of them.
        let is_the_peer =
            self.witness.prove(id, target.clone()).await && self.gives_others(address, &integrity).await;
        let sighting = if is_the_peer && self.witness.prove(id, target.clone()).await {
            tracing::error!(peer = %id, %integrity, "a peer gave other bytes than it said: nobody is sent to it");
            Sighting::Caught(id, Offence::WrongBytes)
        } else {
            tracing::warn!(peer = %id, address, "somebody gave wrong bytes at the address of a peer");
            Sighting::Met(id, target, Outcome::Deceived)
        };
        self.witness.learn(sighting);
    }

    /// Whether what comes there is whole and has another digest.
    async fn gives_others(&self, address: &str, integrity: &Integrity) -> bool {
        let fetched = timeout(SAMPLE_PATIENCE, self.fetch(address)).await;
        fetched.ok().flatten().is_some_and(|bytes| Integrity::of(&bytes) != *integrity)
    }

    /// The whole body of a 200, if it is not too long.
    async fn fetch(&self, address: &str) -> Option<Bytes> {
        let request = Request::get(address).header(PEER, self.own.to_string()).body(Empty::new()).ok()?;
        let answer = self.client.request(request).await.ok()?;
        let is_whole = answer.status() == StatusCode::OK;
        let body = Limited::new(answer.into_body(), LONGEST_SAMPLE).collect().await;
        body.ok().filter(|_| is_whole).map(Collected::to_bytes)
    }

    async fn head(&self, address: &str) -> Result<StatusCode, NoAnswer> {
        let request = Request::head(address).header(PEER, self.own.to_string()).body(Empty::new());
        let request = request.map_err(|_| NoAnswer::Broken)?;
        match self.client.request(request).await {
            Ok(answer) => Ok(answer.status()),
            Err(error) if error.is_connect() => Err(NoAnswer::Unreachable),
            Err(_) => Err(NoAnswer::Broken),
        }
    }
}

/// How a question ended that got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoAnswer {
    /// Nobody took the connection.
    Unreachable,
    /// It broke off.
    Broken,
}

/// What a question says of an address besides its answer: it can only take it down. `None`: there was none in time.
fn passive(asked: Option<Result<StatusCode, NoAnswer>>) -> Option<Outcome> {
    match asked {
        Some(Ok(status)) if !status.is_server_error() => None,
        Some(Err(NoAnswer::Unreachable)) => Some(Outcome::Unreachable),
        _ => Some(Outcome::Erred),
    }
}

/// The address of a peer that a redirect leads to, as it is probed: an IP address alone is one that DNS tells too.
fn steered(base: &str) -> peers::Target {
    let bare = Url::parse(base).ok().filter(|url| url.scheme() == "http" && url.port().is_none());
    let address = bare.as_ref().and_then(super::address);
    address.map_or_else(|| peers::Target::Url(base.to_owned()), peers::Target::Address)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;

    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpSocket};

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

    /// Somebody who knows whether it is the peer that answers, and writes down what is seen.
    #[derive(Default)]
    struct Notes {
        is_the_peer: AtomicBool,
        seen: Mutex<Vec<Sighting>>,
    }

    struct Writer(Arc<Notes>);

    impl Witness for Writer {
        fn prove(&self, _: PeerId, _: peers::Target) -> BoxFuture<'static, bool> {
            std::future::ready(self.0.is_the_peer.load(Ordering::Relaxed)).boxed()
        }

        fn learn(&self, sighting: Sighting) {
            self.0.seen.lock().unwrap().push(sighting);
        }
    }

    const PEER_ID: [u8; 32] = [2; 32];

    /// What is seen when somebody is asked at `base` for a tarball of "right", and sampled.
    async fn seen(base: String, is_the_peer: bool, holds: bool) -> Vec<Sighting> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let notes = Arc::new(Notes { is_the_peer: is_the_peer.into(), ..Notes::default() });
        let holders = Holders::new(PeerId::of_key([1; 32]), Writer(Arc::clone(&notes))).unwrap();
        let target = Target { id: PeerId::of_key(PEER_ID), base };
        assert!(!holders.holds(&target, &Integrity::of(b"right")), "it has not been asked yet");
        // All places are free when the sample has been taken.
        let all = u32::try_from(AT_ONCE).unwrap();
        drop(holders.inner.places.acquire_many(all).await.unwrap());
        assert_eq!(holders.holds(&target, &Integrity::of(b"right")), holds);
        std::mem::take(&mut *notes.seen.lock().unwrap())
    }

    #[tokio::test]
    async fn a_peer_that_gives_other_bytes_than_it_said_is_caught() {
        let caught = Sighting::Caught(PeerId::of_key(PEER_ID), Offence::WrongBytes);
        assert_eq!(seen(peer(b"wrong").await, true, false).await, [caught]);
        assert_eq!(seen(peer(b"right").await, true, true).await, []);
    }

    #[tokio::test]
    async fn whoever_has_got_hold_of_an_address_cannot_have_its_peer_put_in_quarantine() {
        let base = peer(b"wrong").await;
        let lost = Sighting::Met(PeerId::of_key(PEER_ID), steered(&base), Outcome::Deceived);
        assert_eq!(seen(base, false, false).await, [lost]);
    }

    #[tokio::test]
    async fn where_nobody_answers_is_told() {
        // Taken, so that nobody else has it, and not listened on.
        let taken = TcpSocket::new_v4().unwrap();
        taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let base = format!("http://{}", taken.local_addr().unwrap());
        let down = Sighting::Met(PeerId::of_key(PEER_ID), steered(&base), Outcome::Unreachable);
        assert_eq!(seen(base, true, false).await, [down]);
    }

    #[test]
    fn an_ip_address_alone_is_the_one_that_dns_tells() {
        let address = |base| steered(base);
        assert_eq!(address("http://192.0.2.7"), peers::Target::Address([192, 0, 2, 7].into()));
        for url in ["http://192.0.2.7:6736", "https://192.0.2.7", "http://a.example"] {
            assert_eq!(address(url), peers::Target::Url(url.to_owned()));
        }
    }
}
