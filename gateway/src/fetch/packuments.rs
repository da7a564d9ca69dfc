//! Packuments: served while fresh, confirmed by upstream when not, and served all the same when upstream
//! does not answer.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use resolver::attempts::{Attempts, Next, Setback};
use resolver::connectivity::Link;
use resolver::package::PackageName;
use resolver::packument::Outline;
use resolver::plan::{self, Plan};
use resolver::variant::Revision;
use sha2::{Digest, Sha256};

use super::budget::Budget;
use super::decode::Decoder;
use super::failure::Failure;
use super::flights::{Flight, Flights};
use super::{FIRST_BYTE, Fetch, Provenance, age, now_ms};
use crate::metrics::Metrics;
use crate::store::{Draft, PackumentRecord};
use crate::upstream::{Answer, UpstreamError, headers};

/// The longest document that is taken, decoded: the largest packuments have 40 MB.
pub(super) const LONGEST: u64 = 256 * 1024 * 1024;

/// Packuments under way, and what they need.
pub(super) struct Packuments {
    fresh: Duration,
    budget: Budget,
    flights: Flights<PackageName, Arc<PackumentRecord>>,
    metrics: Arc<Metrics>,
}

/// A packument that may be served.
#[derive(Debug, Clone)]
pub struct Document {
    /// Whose.
    pub name: PackageName,
    /// Which bytes, and since when.
    pub record: Arc<PackumentRecord>,
    /// How long it may be served without asking again; nothing when it is stale.
    pub fresh_for: Duration,
    /// Whether it was here, or upstream was asked for it just now.
    pub source: Provenance,
    /// Why it is served although it is stale.
    pub stale: Option<String>,
}

impl Packuments {
    pub(super) fn new(fresh: Duration, budget: Budget, metrics: Arc<Metrics>) -> Self {
        Self { fresh, budget, flights: Flights::default(), metrics }
    }
}

impl Fetch {
    /// The packument of `name`, as fresh as it can be had.
    ///
    /// # Errors
    /// [`Failure`], when it is neither held nor to be had.
    pub async fn packument(&self, name: &PackageName) -> Result<Document, Failure> {
        let held = self.inner.store.packument(name);
        let link = match held {
            Some(_) => self.inner.upstream.latch().link(),
            None => self.inner.upstream.link_for_missing().await,
        };
        let fresh = self.inner.packuments.fresh;
        let plan = Plan::for_document(held.as_ref().map(|held| age(held.checked_ms)), fresh, &link);
        self.walk(name, held, plan).await
    }

    /// The packument that is held, however old; nobody is asked.
    #[must_use]
    pub fn held(&self, name: &PackageName) -> Option<Document> {
        let record = self.inner.store.packument(name)?;
        Some(self.document(name, Arc::new(record), Provenance::Store, None))
    }

    async fn walk(
        &self,
        name: &PackageName,
        held: Option<PackumentRecord>,
        plan: Plan,
    ) -> Result<Document, Failure> {
        if plan.revalidate_behind {
            drop(self.revalidate(name));
        }
        let mut obstacle = plan.obstacle;
        for source in plan.sources {
            match (source, &held) {
                (plan::Source::Store, Some(record)) => {
                    return Ok(self.document(name, Arc::new(record.clone()), Provenance::Store, obstacle));
                }
                (plan::Source::Store, None) => {}
                (plan::Source::Upstream { patience }, _) => {
                    let flight = if held.is_some() { self.revalidate(name) } else { self.obtain(name) };
                    match tokio::time::timeout(patience.unwrap_or(FIRST_BYTE), flight).await {
                        Ok(Ok(record)) => return Ok(self.document(name, record, Provenance::Upstream, None)),
                        Ok(Err(failure @ Failure::NotFound(_))) => return Err(failure),
                        Ok(Err(failure)) if held.is_none() => return Err(failure),
                        Ok(Err(failure)) => obstacle = Some(failure.cause()),
                        Err(_) => {
                            self.inner.upstream.latch().overdue();
                            obstacle = Some("upstream is slow".into());
                        }
                    }
                }
            }
        }
        Err(Failure::unavailable(name.as_str(), obstacle.unwrap_or_else(|| "upstream gave nothing".into())))
    }

    fn document(
        &self,
        name: &PackageName,
        record: Arc<PackumentRecord>,
        source: Provenance,
        obstacle: Option<String>,
    ) -> Document {
        let fresh_for = self.inner.packuments.fresh.saturating_sub(age(record.checked_ms));
        let stale = obstacle.filter(|_| fresh_for.is_zero());
        Document { name: name.clone(), record, fresh_for, source, stale }
    }

    /// Asks upstream, whatever is held; one request however many ask.
    pub(super) fn revalidate(&self, name: &PackageName) -> Flight<Arc<PackumentRecord>> {
        self.inner.packuments.flights.join(name, || {
            let (fetch, name) = (self.clone(), name.clone());
            async move { fetch.ask_upstream(&name).await }
        })
    }

    /// For what was not held: asks upstream, unless another flight has landed since somebody looked.
    fn obtain(&self, name: &PackageName) -> Flight<Arc<PackumentRecord>> {
        self.inner.packuments.flights.join(name, || {
            let (fetch, name) = (self.clone(), name.clone());
            async move {
                match fetch.inner.store.packument(&name) {
                    Some(record) => Ok(Arc::new(record)),
                    None => fetch.ask_upstream(&name).await,
                }
            }
        })
    }

    async fn ask_upstream(&self, name: &PackageName) -> Result<Arc<PackumentRecord>, Failure> {
        let mut attempts = Attempts::default();
        loop {
            let error = match self.attempt(name, attempts.barren()).await {
                Ok(record) => return Ok(Arc::new(record)),
                Err(AttemptError::Store(failure)) => return Err(failure),
                Err(AttemptError::Upstream(error)) => error,
            };
            if error == UpstreamError::Missing {
                self.inner.store.remove_packument(name).await?;
            }
            let next = attempts.after(Setback::Broken { progress: false, pause: error.pause() });
            let (Next::Resume(pause), true) = (next, self.may_pass(name, &error)) else {
                tracing::debug!(%name, %error, "upstream did not give the packument");
                return Err(Failure::of(name.as_str(), &error));
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Whether it is worth asking again: not while upstream is down, unless nothing is held that could be
    /// served meanwhile, and upstream has said when to come back.
    fn may_pass(&self, name: &PackageName, error: &UpstreamError) -> bool {
        let down = matches!(self.inner.upstream.latch().link(), Link::Down(_));
        let worth_waiting = error.pause().is_some() && self.inner.store.packument(name).is_none();
        error.is_passing() && (!down || worth_waiting)
    }

    async fn attempt(&self, name: &PackageName, attempt: u32) -> Result<PackumentRecord, AttemptError> {
        // Only the first attempt is conditional: a confirmation of bytes that cannot be read would never end.
        let held = self.inner.store.packument(name).filter(|held| attempt == 0 && self.is_readable(held));
        let address = format!("{}/{}", self.inner.upstream.base(), name.packument_path());
        let mut wanted = vec![(ACCEPT, "application/json"), (ACCEPT_ENCODING, "gzip")];
        if let Some(held) = &held {
            wanted.extend(held.etag.as_deref().map(|etag| (IF_NONE_MATCH, etag)));
            wanted.extend(held.last_modified.as_deref().map(|at| (IF_MODIFIED_SINCE, at)));
        }
        let answer = self.inner.upstream.get(&address, headers(&wanted), attempt).await?;
        match (answer.head.status, held) {
            (StatusCode::NOT_MODIFIED, Some(held)) => {
                let confirmed = PackumentRecord { checked_ms: now_ms(), ..held };
                self.inner.store.confirm_packument(name, confirmed.clone()).await?;
                Ok(confirmed)
            }
            (StatusCode::OK, _) => self.take(name, answer).await,
            (status, _) => {
                Err(UpstreamError::Wrong(format!("it answered {} to a plain GET", status.as_u16())).into())
            }
        }
    }

    /// Whether the bytes are there; whether they are intact shows when they are read.
    fn is_readable(&self, held: &PackumentRecord) -> bool {
        self.inner.store.has_document(&held.revision)
    }

    /// Takes a body: to disk first, then, within the memory budget, read and checked.
    async fn take(&self, name: &PackageName, mut answer: Answer) -> Result<PackumentRecord, AttemptError> {
        let mut draft = self.inner.store.draft();
        let mut hash = Sha256::new();
        self.receive(&mut answer, &mut draft, &mut hash).await?;
        draft.flush().await?;
        let revision = Revision::from_digest(hash.finalize().into());
        let length = draft.length();
        let room = self.inner.packuments.budget.room_for(length).await;
        let outline = read_outline(name.clone(), &draft, length).await?;
        drop(room);
        let last_modified = answer.header(LAST_MODIFIED).map(str::to_owned);
        let before = self.inner.store.packument(name).filter(|before| before.revision == revision);
        let record = PackumentRecord {
            revision,
            length,
            checked_ms: now_ms(),
            fetched_ms: now_ms(),
            stored: length,
            // The same bytes are not newer because they came again.
            modified_s: before.map_or_else(
                || modified_s(outline.modified(), last_modified.as_deref()),
                |before| before.modified_s,
            ),
            etag: answer.header(ETAG).map(str::to_owned),
            last_modified,
        };
        self.inner.renderings.remember(revision, Arc::new(outline));
        self.inner.store.keep_packument(name, draft, record.clone()).await?;
        Ok(record)
    }

    async fn receive(
        &self,
        answer: &mut Answer,
        draft: &mut Draft,
        hash: &mut Sha256,
    ) -> Result<(), AttemptError> {
        let mut decoder = Decoder::for_coding(answer.header(CONTENT_ENCODING))
            .ok_or_else(|| UpstreamError::Wrong("it sent a coding that was not asked for".into()))?;
        while let Some(chunk) = answer.chunk().await? {
            self.inner.packuments.metrics.received(chunk.len() as u64);
            let decoded = decoder.decode(chunk, LONGEST - draft.length()).map_err(|e| garbled(&e))?;
            hash.update(&decoded);
            draft.write(&decoded).await?;
        }
        let rest = decoder.finish().map_err(|e| garbled(&e))?;
        hash.update(&rest);
        draft.write(&rest).await?;
        Ok(())
    }
}

/// Whose fault an attempt's failure was.
enum AttemptError {
    Upstream(UpstreamError),
    Store(Failure),
}

impl From<UpstreamError> for AttemptError {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

impl<E: Into<crate::store::StoreError>> From<E> for AttemptError {
    fn from(error: E) -> Self {
        Self::Store(error.into().into())
    }
}

async fn read_outline(name: PackageName, draft: &Draft, length: u64) -> Result<Outline, AttemptError> {
    let bytes = match draft.reader() {
        Some(reader) => reader.read(0, usize::try_from(length).unwrap_or(usize::MAX)).await?,
        None => bytes::Bytes::new(),
    };
    let read = tokio::task::spawn_blocking(move || {
        let document = std::str::from_utf8(&bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        Outline::read(&name, document).map_err(|error| error.to_string())
    });
    let read = read.await.unwrap_or_else(|_| Err("it cannot be read".into()));
    Ok(read.map_err(|cause| UpstreamError::Wrong(format!("it sent something else: {cause}")))?)
}

fn garbled(error: &std::io::Error) -> UpstreamError {
    UpstreamError::Wrong(format!("it sent a body that cannot be decoded: {error}"))
}

/// When the package last changed, in seconds since 1970.
fn modified_s(modified: Option<&str>, last_modified: Option<&str>) -> u64 {
    let utc =
        |text: &str| text.strip_suffix("+00:00").map_or_else(|| text.to_owned(), |utc| format!("{utc}Z"));
    let of_document = modified.and_then(|text| humantime::parse_rfc3339(&utc(text)).ok());
    let at = of_document.or_else(|| last_modified.and_then(|text| httpdate::parse_http_date(text).ok()));
    let since = at.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    since.map_or_else(|| now_ms() / 1000, |since| since.as_secs())
}
