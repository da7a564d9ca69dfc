//! Packuments: served while fresh, confirmed by upstream when not, and served all the same when upstream
//! does not answer.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT, ACCEPT_ENCODING, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use resolver::attempts::{Attempts, Next, Setback};
use resolver::connectivity::Link;
use resolver::package::PackageName;
use resolver::plan::{self, Plan};

use super::failure::Failure;
use super::flights::{Flight, Flights};
use super::ingest::{TakeError, Taken};
use super::{FIRST_BYTE, Fetch, Provenance, age, now_ms};
use crate::metrics::Metrics;
use crate::store::{Frames, PackumentRecord, Store, StoreError};
use crate::upstream::{Answer, UpstreamError, headers};

/// The longest document that is taken, decoded: the largest packuments have 40 MB.
pub(super) const LONGEST: u64 = 256 * 1024 * 1024;

/// Packuments under way, and what they need.
pub(super) struct Packuments {
    fresh: Duration,
    flights: Flights<PackageName, Readable>,
    pub(super) metrics: Arc<Metrics>,
}

/// A packument that can be read.
#[derive(Debug, Clone)]
pub(super) struct Readable {
    /// Which bytes.
    pub(super) record: Arc<PackumentRecord>,
    /// The bytes, when there was no room for them.
    pub(super) loose: Option<Frames>,
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
    /// The bytes, when there was no room for them in the store.
    pub(super) loose: Option<Frames>,
}

impl Document {
    /// The bytes, wherever they are. Blocks.
    pub(super) fn frames(&self, store: &Store) -> Option<Frames> {
        self.loose.clone().or_else(|| store.document(&self.record.revision))
    }
}

impl From<PackumentRecord> for Readable {
    fn from(record: PackumentRecord) -> Self {
        Self { record: Arc::new(record), loose: None }
    }
}

impl Packuments {
    pub(super) fn new(fresh: Duration, metrics: Arc<Metrics>) -> Self {
        Self { fresh, flights: Flights::default(), metrics }
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
    pub(super) fn held(&self, name: &PackageName) -> Option<Document> {
        let record = self.inner.store.packument(name)?;
        Some(self.document(name, record.into(), Provenance::Store, None))
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
                    return Ok(self.document(name, record.clone().into(), Provenance::Store, obstacle));
                }
                (plan::Source::Store, None) => {}
                (plan::Source::Upstream { patience }, _) => {
                    let flight = if held.is_some() { self.revalidate(name) } else { self.obtain(name) };
                    match tokio::time::timeout(patience.unwrap_or(FIRST_BYTE), flight).await {
                        Ok(Ok(held)) => return Ok(self.document(name, held, Provenance::Upstream, None)),
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
        held: Readable,
        source: Provenance,
        obstacle: Option<String>,
    ) -> Document {
        let Readable { record, loose } = held;
        let fresh_for = self.inner.packuments.fresh.saturating_sub(age(record.checked_ms));
        let stale = obstacle.filter(|_| fresh_for.is_zero());
        Document { name: name.clone(), record, fresh_for, source, stale, loose }
    }

    /// Asks upstream, whatever is held; one request however many ask.
    pub(super) fn revalidate(&self, name: &PackageName) -> Flight<Readable> {
        self.inner.packuments.flights.join(name, || {
            let (fetch, name) = (self.clone(), name.clone());
            async move { fetch.ask_upstream(&name).await }
        })
    }

    /// For what was not held: asks upstream, unless another flight has landed since somebody looked.
    fn obtain(&self, name: &PackageName) -> Flight<Readable> {
        self.inner.packuments.flights.join(name, || {
            let (fetch, name) = (self.clone(), name.clone());
            async move {
                match fetch.inner.store.packument(&name) {
                    Some(record) => Ok(record.into()),
                    None => fetch.ask_upstream(&name).await,
                }
            }
        })
    }

    async fn ask_upstream(&self, name: &PackageName) -> Result<Readable, Failure> {
        let mut attempts = Attempts::default();
        loop {
            let error = match self.attempt(name, attempts.barren()).await {
                Ok(held) => return Ok(held),
                Err(TakeError::Store(failure)) => return Err(failure),
                Err(TakeError::Upstream(error)) => error,
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

    async fn attempt(&self, name: &PackageName, attempt: u32) -> Result<Readable, TakeError> {
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
                self.confirm(name, confirmed).await
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

    async fn take(&self, name: &PackageName, answer: Answer) -> Result<Readable, TakeError> {
        let Taken { record, new } = self.take_packument(name, answer).await?;
        let Some(new) = new else {
            return self.confirm(name, record).await;
        };
        self.inner.renderings.remember(record.revision, Arc::new(new.outline));
        Ok(self.inner.store.keep_packument(name, new.draft, record).await?.into())
    }

    /// Upstream still has what is held. That there is no room to write this down changes nothing of it.
    async fn confirm(&self, name: &PackageName, confirmed: PackumentRecord) -> Result<Readable, TakeError> {
        match self.inner.store.confirm_packument(name, confirmed.clone()).await {
            Ok(()) | Err(StoreError::Full) => Ok(confirmed.into()),
            Err(error) => Err(error.into()),
        }
    }
}
