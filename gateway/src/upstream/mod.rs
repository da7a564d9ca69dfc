//! The registry of record: asking it, and knowing whether it can be asked.

mod answer;
mod client;
mod failure;
mod latch;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_ENCODING, HeaderName, HeaderValue, LOCATION, USER_AGENT, VIA};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use resolver::connectivity::Link;
use resolver::origin::Origins;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use crate::metrics::Metrics;
use crate::units::Period;

use answer::Pace;

pub use answer::Answer;
pub use failure::UpstreamError;
pub use latch::Latch;

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
    latch: Latch,
    metrics: Arc<Metrics>,
}

impl Upstream {
    /// Makes no connection yet.
    ///
    /// # Errors
    /// When the system's trust store cannot be read, or the address is none.
    pub fn new(config: &Config, offline: bool, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
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
            latch: Latch::new(offline),
            metrics,
        };
        Ok(Self { inner: Arc::new(inner) })
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

    /// `GET address`, following redirects to allowed hosts; `attempt` counts from 0 and lengthens the wait.
    /// 404, 410 and other refusals come back as errors.
    ///
    /// # Errors
    /// [`UpstreamError`], which the latch has learned from already.
    pub async fn get(
        &self,
        address: &str,
        headers: HeaderMap,
        attempt: u32,
    ) -> Result<Answer, UpstreamError> {
        self.get_by(&self.inner.client, address, headers, attempt).await
    }

    /// As [`Upstream::get`], on a connection of its own: where upstream is many servers, likely another one answers.
    ///
    /// # Errors
    /// [`UpstreamError`], which the latch has learned from already.
    pub async fn get_apart(
        &self,
        address: &str,
        headers: HeaderMap,
        attempt: u32,
    ) -> Result<Answer, UpstreamError> {
        self.get_by(&self.inner.client_apart, address, headers, attempt).await
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
        let sent = self.send(&self.inner.client, request, HEADERS_WAIT, None, false).await;
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

    async fn get_by(
        &self,
        client: &client::Client,
        address: &str,
        headers: HeaderMap,
        attempt: u32,
    ) -> Result<Answer, UpstreamError> {
        let mut address = address.to_owned();
        for _ in 0..=HOPS {
            let answer = self.get_once(client, &address, headers.clone(), attempt).await?;
            if !answer.head.status.is_redirection() || answer.head.status == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            address = self.redirected(&address, &answer.head)?;
        }
        Err(UpstreamError::Wrong("it redirects in circles".into()))
    }

    /// Passes a client's request on, once, as it is. Any status is an answer. Where the client was still sending,
    /// nobody can tell whose silence or whose break it was, and the latch learns nothing from it.
    ///
    /// # Errors
    /// [`UpstreamError`] when no headers come within `wait`.
    pub async fn pass<B>(&self, request: Request<B>, wait: Duration) -> Result<Answer, UpstreamError>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let uploads = !request.body().is_end_stream();
        let places = if uploads { &self.inner.upload_places } else { &self.inner.places };
        let place = tokio::time::timeout(wait, Arc::clone(places).acquire_owned()).await;
        let place = place.map_err(|_| self.counted(UpstreamError::Queued))?;
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        let sent = self.send(&self.inner.client, request, wait, place.ok(), true).await;
        sent.map_err(|error| match error {
            UpstreamError::Silent(_) | UpstreamError::Broken(_) if uploads => self.counted(error),
            error => self.failed(error),
        })
    }

    async fn get_once(
        &self,
        client: &client::Client,
        address: &str,
        headers: HeaderMap,
        attempt: u32,
    ) -> Result<Answer, UpstreamError> {
        let mut request = Request::new(client::empty());
        *request.method_mut() = Method::GET;
        *request.uri_mut() =
            address.parse::<Uri>().map_err(|_| UpstreamError::Wrong("an odd address".into()))?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(PRODUCT));
        let wait = HEADERS_WAIT * 2u32.saturating_pow(attempt.min(4));
        let is_own = address.strip_prefix(&self.inner.base).is_some_and(|path| path.starts_with('/'));
        let place = Arc::clone(&self.inner.places).acquire_owned().await;
        let sent = self.send(client, request, wait, place.ok(), is_own).await;
        let answer = sent.map_err(|error| self.learned(error, is_own, attempt))?;
        match failure::of_status(&answer.head) {
            None => Ok(answer),
            Some(error) => {
                // A refusal says all by its status.
                answer.is_whole();
                Err(self.learned(error, is_own, attempt))
            }
        }
    }

    /// The latch learns from upstream's own origin only, and one thing that fails again and again shows it only
    /// once that the server is at fault.
    fn learned(&self, error: UpstreamError, is_own: bool, attempt: u32) -> UpstreamError {
        let is_repeated =
            attempt > 0 && matches!(error, UpstreamError::ServerError(_) | UpstreamError::Busy(..));
        if is_own && !is_repeated { self.failed(error) } else { self.counted(error) }
    }

    /// The latch has yet to learn from an error.
    async fn send(
        &self,
        client: &client::Client,
        mut request: Request<client::Body>,
        wait: Duration,
        place: Option<OwnedSemaphorePermit>,
        is_own: bool,
    ) -> Result<Answer, UpstreamError> {
        if let Ok(via) = HeaderValue::try_from(format!("1.1 {}", self.inner.instance)) {
            request.headers_mut().append(VIA, via);
        }
        if self.inner.latch.link() == Link::Offline {
            return Err(UpstreamError::Offline);
        }
        let timer = self.inner.metrics.upstream_started();
        let sent = tokio::time::timeout(wait, client.request(request)).await;
        let response: Response<Incoming> = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(failure::of_transport(&error)),
            Err(_) => return Err(UpstreamError::Silent(wait)),
        };
        timer.answered();
        let (head, body) = response.into_parts();
        let counts = is_own && failure::of_status(&head).is_none_or(|error| error.failure().is_none());
        let pace = Pace::default();
        let answer = Answer { head, body, upstream: self.clone(), counts, is_own, pace, place };
        if answer.body.is_end_stream() {
            answer.is_whole();
        }
        Ok(answer)
    }

    fn redirected(&self, from: &str, head: &http::response::Parts) -> Result<String, UpstreamError> {
        let location = head.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let target = Url::parse(from).ok().zip(location).and_then(|(from, to)| from.join(to).ok());
        let allowed = target.and_then(|target| self.inner.origins.allowed(target.as_str()));
        allowed.ok_or_else(|| {
            UpstreamError::Wrong("it redirects to a host that upstream.tarball_hosts does not name".into())
        })
    }

    fn failed(&self, error: UpstreamError) -> UpstreamError {
        self.inner.latch.failed(&error);
        self.counted(error)
    }

    fn counted(&self, error: UpstreamError) -> UpstreamError {
        self.inner.metrics.upstream_failed(error.label());
        error
    }

    /// Keeps asking while upstream is down, so that its return is noticed. Ends with the program.
    pub async fn probe_forever(self) {
        loop {
            self.inner.latch.wait_for_probe().await;
            match self.try_once().await {
                Ok(()) => self.inner.latch.succeeded(),
                Err(error) => tracing::debug!(%error, "upstream probe failed"),
            }
        }
    }

    /// Whether upstream answers at all; for readiness and the terminal.
    pub async fn try_once(&self) -> Result<(), UpstreamError> {
        match self.get(&format!("{}/-/ping", self.inner.base), HeaderMap::new(), 0).await {
            Ok(mut answer) => {
                while answer.chunk().await?.is_some() {}
                Ok(())
            }
            Err(UpstreamError::Missing | UpstreamError::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
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
