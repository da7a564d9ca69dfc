//! The registry of record: asking it, through the gateway that is followed or directly, and knowing whether it can be asked.

mod answer;
mod ask;
mod client;
mod failure;
mod home;
mod latch;
#[cfg(test)]
pub(crate) mod played;
mod probe;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_ENCODING, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use resolver::connectivity::Link;
use resolver::origin::Origins;
use resolver::ways::Way;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::Url;

use crate::metrics::Metrics;
use crate::units::Period;

use ask::Course;
use home::Home;

pub use answer::Answer;
pub use ask::{Patience, Question};
pub use failure::UpstreamError;
pub use home::{ASKED, DOWN, Following, HOMES};
pub use latch::Latch;
pub use probe::Followed;

/// How this program names itself to upstream.
pub const PRODUCT: &str = concat!("open-registry/", env!("CARGO_PKG_VERSION"));
/// Requests to upstream at once; more wait for a place. Browsers and npm clients use 15 to 64 for themselves.
const AT_ONCE: usize = 64;
/// Likewise for requests with a body, which are as slow as the client that sends it: whoever dawdles must not
/// take a place from those who fetch.
const UPLOADS_AT_ONCE: usize = 256;
/// The wait for a response's headers, doubled at each further attempt for the same thing: a silent request is
/// soon repeated, and a slow upstream gets its time.
const HEADERS_WAIT: Duration = Duration::from_secs(10);
/// Redirects followed for one tarball, each to an allowed host only.
const HOPS: usize = 3;

/// `[upstream]`: the registry of record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its address: http or https, no query, no credentials.
    pub url: Url,
    /// How long a packument is served without asking whether it has changed.
    pub fresh: Period,
    /// How long after that it is served while upstream is asked behind the client's back.
    pub stale: Period,
    /// The address of its replication API, whose change feed says early what has changed; `None`: there is none.
    #[serde(deserialize_with = "crate::units::unset_when_empty")]
    pub changes: Option<Url>,
    /// `host` or `host:port` besides upstream's own from which tarballs may be fetched.
    pub tarball_hosts: Vec<String>,
}

/// The registry of record. Cheap to clone.
#[derive(Clone)]
pub struct Upstream {
    inner: Arc<Inner>,
}

struct Inner {
    base: String,
    safe: bool,
    /// How this gateway names itself in `Via`, and knows its own requests again.
    instance: String,
    origins: Origins,
    client: client::Client,
    /// Makes a connection for each request.
    client_apart: client::Client,
    places: Arc<Semaphore>,
    upload_places: Arc<Semaphore>,
    /// Whom it is asked through, once that is known.
    home: Arc<OnceLock<Home>>,
    latch: Latch,
    /// When it was last looked whether upstream is gone, and whether it was: one look for all who wait.
    looked: tokio::sync::Mutex<Option<(Instant, bool)>>,
    metrics: Arc<Metrics>,
}

impl Upstream {
    /// Makes no connection yet.
    ///
    /// # Errors
    /// When the system's trust store cannot be read, or the address is none.
    pub fn new(config: &Config, offline: bool, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let home = Arc::new(OnceLock::new());
        let base = config.url.as_str().trim_end_matches('/').to_owned();
        let origins = Origins::new(&base, &config.tarball_hosts)
            .ok_or_else(|| anyhow::anyhow!("upstream.url {base} is not an http or https address"))?;
        let (client, client_apart) = client::clients()?;
        let inner = Inner {
            safe: base.starts_with("https://") || is_loopback(&config.url),
            base,
            // Seeded by the system for each process; any number that others are unlikely to have will do.
            instance: format!("open-registry-{:016x}", RandomState::new().hash_one(std::process::id())),
            origins,
            client,
            client_apart,
            places: Arc::new(Semaphore::new(AT_ONCE)),
            upload_places: Arc::new(Semaphore::new(UPLOADS_AT_ONCE)),
            latch: Latch::new(offline, Arc::clone(&home)),
            home,
            looked: tokio::sync::Mutex::default(),
            metrics,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// From now on it is asked through another gateway wherever that can be. To be said once; offline it means nothing.
    pub fn follow(&self, following: Following) {
        if self.inner.latch.link() != Link::Offline && self.inner.home.set(Home::new(following)).is_ok() {
            self.inner.latch.follow();
        }
    }

    fn home_line(&self) -> Option<&Home> {
        self.inner.home.get()
    }

    /// Its address, without a slash at its end.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.inner.base
    }

    /// Whether nobody on the way can read what is sent: TLS, or this very machine.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.inner.safe
    }

    /// How this gateway names itself in `Via`.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.inner.instance
    }

    /// Where tarballs may be fetched from.
    #[must_use]
    pub fn origins(&self) -> &Origins {
        &self.inner.origins
    }

    /// Whether it can be asked.
    #[must_use]
    pub fn latch(&self) -> &Latch {
        &self.inner.latch
    }

    /// The request for what is not held: waits, within limits, for a latch that may be about to open.
    pub async fn link_for_missing(&self) -> Link {
        self.inner.latch.wait_until_up().await
    }

    /// The text of what stands beside upstream: its change feed. `None`: it is gone (410). No redirect is followed, and
    /// the latch learns nothing. One asks at a time, so it needs no place.
    ///
    /// # Errors
    /// [`UpstreamError`], also when the text is longer than `longest` bytes.
    pub async fn aside(&self, address: &str, longest: usize) -> Result<Option<String>, UpstreamError> {
        let mut request = Request::new(client::empty());
        *request.uri_mut() =
            address.parse::<Uri>().map_err(|_| UpstreamError::Wrong("an odd address".into()))?;
        *request.headers_mut() = self::headers(&[(ACCEPT, "application/json"), (USER_AGENT, PRODUCT)]);
        let course = Course { way: Way::Direct, apart: false, is_own: false };
        let sent = self.send(request, course, HEADERS_WAIT, None).await;
        let mut answer = sent.map_err(|error| self.counted(error))?;
        match (answer.head.status, failure::of_status(&answer.head)) {
            (StatusCode::OK, _) if answer.header(CONTENT_ENCODING).is_none() => {}
            (StatusCode::GONE, _) => return Ok(None),
            (_, Some(error)) => return Err(self.counted(error)),
            (status, None) => {
                let words = format!("it answered {} in a way that was not asked for", status.as_u16());
                return Err(self.counted(UpstreamError::Wrong(words)));
            }
        }
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if text.len() + chunk.len() > longest {
                return Err(UpstreamError::Wrong(format!("it sent more than {longest} bytes")));
            }
            self.inner.metrics.received(chunk.len() as u64);
            text.extend_from_slice(&chunk);
        }
        String::from_utf8(text).map(Some).map_err(|_| UpstreamError::Wrong("it sent no UTF-8".into()))
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Headers for a request of our own.
#[must_use]
pub fn headers(entries: &[(HeaderName, &str)]) -> HeaderMap {
    let valid =
        entries.iter().filter_map(|(name, value)| Some((name.clone(), HeaderValue::from_str(value).ok()?)));
    valid.collect()
}
