//! Packuments: served while fresh, confirmed by upstream when not (at first behind the client's back), and served all
//! the same when upstream does not answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use http::{HeaderMap, StatusCode};
use resolver::attempts::{Attempts, Next, Setback};
use resolver::confirmation::Validators;
use resolver::connectivity::Link;
use resolver::freshness;
use resolver::package::PackageName;
use resolver::packument::Outline;
use resolver::plan::{self, Held, Plan, Windows, Wish};
use resolver::variant::Revision;
use tokio::time::Instant;

use super::behind::Behind;
use super::failure::Failure;
use super::flights::{Flight, Flights};
use super::ingest::{TakeError, Taken};
use super::lately::Lately;
use super::{FIRST_BYTE, Fetch, Provenance, age, now_ms};
use crate::metrics::Metrics;
use crate::rooted::Rooted;
use crate::store::{Frames, PackumentRecord, Store, StoreError};
use crate::upstream::{self, Answer, UpstreamError, headers};

/// The longest document that is taken, decoded: the largest packuments have 40 MB.
pub(super) const LONGEST: u64 = 256 * 1024 * 1024;

/// Packuments under way, and what they need.
pub(super) struct Packuments {
    pub(super) windows: Windows,
    pub(super) lately: Lately,
    /// What was confirmed before this moment counts as confirmed long ago: milliseconds since 1970.
    pub(super) doubted_ms: AtomicU64,
    pub(super) flights: Flights<PackageName, Readable>,
    behind: Behind,
    /// Addresses that are worked out.
    pub(super) addresses: Behind,
    pub(super) metrics: Arc<Metrics>,
    /// The root that is followed, once that is known.
    pub(super) rooted: OnceLock<Rooted>,
}

/// A packument that can be read.
#[derive(Debug, Clone)]
pub(super) struct Readable {
    /// Which bytes.
    pub(super) record: Arc<PackumentRecord>,
    /// The bytes, when there was no room for them.
    pub(super) loose: Option<Frames>,
    /// Where they, or the word that they are still right, came from.
    pub(super) source: Provenance,
    /// Home has given them without having been able to ask upstream.
    pub(super) cut_off: bool,
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
    /// How long after that it may be served while it is confirmed behind the client's back.
    pub usable_for: Duration,
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
        Self { record: Arc::new(record), loose: None, source: Provenance::Store, cut_off: false }
    }
}

/// How upstream is asked.
#[derive(Debug, Clone, Copy)]
struct Question {
    /// Counts from 0.
    attempt: u32,
    /// Whether a confirmation of what is held is enough.
    conditional: bool,
    /// On a connection of its own.
    apart: bool,
    /// Home is to ask upstream for it too, however fresh it is there.
    insists: bool,
}

impl Packuments {
    pub(super) fn new(windows: Windows, metrics: Arc<Metrics>) -> Self {
        Self {
            windows,
            lately: Lately::default(),
            doubted_ms: AtomicU64::new(0),
            flights: Flights::default(),
            behind: Behind::default(),
            addresses: Behind::default(),
            metrics,
            rooted: OnceLock::new(),
        }
    }
}

impl Packuments {
    /// Since upstream has confirmed what is held, as far as that counts; or since home was current, where its root names it.
    pub(super) fn age(&self, name: &PackageName, held: &PackumentRecord) -> Duration {
        let confirmed = self.confirmed(name, held);
        self.known_by_root(name, held, confirmed).map_or(confirmed, |known| freshness::age(&known))
    }

    /// The same, without a root.
    fn confirmed(&self, name: &PackageName, held: &PackumentRecord) -> Duration {
        let doubted = self.doubted_ms.load(Ordering::Relaxed);
        // In the future it was noted by a clock that went wrong, and must not make all that is held stale for ever.
        if doubted > now_ms() {
            self.doubted_ms.fetch_min(now_ms(), Ordering::Relaxed);
        }
        match age(held.checked_ms) {
            _ if held.checked_ms < doubted => Duration::MAX,
            // Usable, and asked for behind until the change is seen.
            age if self.lately.is_unsettled(name, held.checked_ms) => age.max(self.windows.fresh),
            age => age,
        }
    }
}

impl Document {
    /// Whether it is neither fresh nor confirmed, and upstream is asked behind the client's back.
    #[must_use]
    pub fn is_confirmed_behind(&self) -> bool {
        self.source == Provenance::Store
            && self.stale.is_none()
            && self.fresh_for.is_zero()
            && !self.usable_for.is_zero()
    }
}

impl Fetch {
    /// The packument of `name`, as fresh as it is wished for.
    ///
    /// # Errors
    /// [`Failure`], when it is neither held nor to be had.
    pub async fn packument(&self, name: &PackageName, wish: Wish) -> Result<Document, Failure> {
        let packuments = &self.inner.packuments;
        if let Some(notice) = self.takedowns().of_package(name) {
            return Err(Failure::Blocked(notice));
        }
        let held = self.inner.store.packument(name);
        if held.is_none() && packuments.lately.is_absent(name, wish) {
            return Err(Failure::NotFound(name.to_string()));
        }
        if let Some(held) = &held {
            self.learn_address_behind(name, held);
        }
        if let Some(document) = self.when_cut_off(name, held.as_ref()).await {
            return Ok(document);
        }
        let link = match held {
            Some(_) => self.inner.upstream.latch().link(),
            None => self.inner.upstream.link_for_missing().await,
        };
        let facts = held
            .as_ref()
            .map(|held| Held { age: packuments.age(name, held), rest: packuments.lately.rest(name) });
        let may_insist =
            wish == Wish::Confirmed && held.is_some() && link == Link::Up && self.may_insist(name);
        let wish = if may_insist { Wish::Confirmed } else { Wish::Usual };
        let plan = Plan::for_document(facts.as_ref(), wish, &packuments.windows, &link);
        self.walk(name, held, plan, wish).await
    }

    /// The packument that is held, however old; nobody is asked.
    #[must_use]
    pub fn held(&self, name: &PackageName) -> Option<Document> {
        let record = self.inner.store.packument(name)?;
        Some(self.document(name, record.into(), None))
    }

    async fn walk(
        &self,
        name: &PackageName,
        held: Option<PackumentRecord>,
        plan: Plan,
        wish: Wish,
    ) -> Result<Document, Failure> {
        if plan.revalidate_behind {
            self.revalidate_behind(name);
        }
        let mut obstacle = plan.obstacle;
        for source in plan.sources {
            match (source, &held) {
                (plan::Source::Store, Some(record)) => {
                    return Ok(self.document(name, record.clone().into(), obstacle));
                }
                (plan::Source::Store, None) => {}
                (plan::Source::Upstream { patience }, _) => {
                    let asked = self.asked(name, held.is_some(), wish);
                    match tokio::time::timeout(patience.unwrap_or(FIRST_BYTE), asked).await {
                        Ok(Ok(held)) => return Ok(self.document(name, held, None)),
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

    pub(super) fn document(&self, name: &PackageName, held: Readable, obstacle: Option<String>) -> Document {
        let Readable { record, loose, source, cut_off } = held;
        let obstacle = obstacle.or_else(|| cut_off.then(|| "home cannot reach upstream".into()));
        let (fresh_for, usable_for) =
            self.inner.packuments.windows.left(self.inner.packuments.age(name, &record));
        let stale = obstacle.filter(|_| fresh_for.is_zero());
        Document { name: name.clone(), record, fresh_for, usable_for, source, stale, loose }
    }

    /// Asks upstream when there is a place, if nobody has meanwhile, and it can be asked.
    fn revalidate_behind(&self, name: &PackageName) {
        let (fetch, of) = (self.clone(), name.clone());
        self.inner.packuments.behind.start(name, move || async move {
            let is_wanted = fetch.held(&of).is_some_and(|document| document.fresh_for.is_zero());
            let can_ask = matches!(fetch.inner.upstream.latch().link(), Link::Up | Link::Doubtful);
            if is_wanted && can_ask {
                // Whoever asks next learns what came of it.
                let _ = fetch.revalidate(&of).await;
            }
        });
    }

    async fn asked(&self, name: &PackageName, is_held: bool, wish: Wish) -> Result<Readable, Failure> {
        match (is_held, wish) {
            (false, _) => self.obtain(name).await,
            (true, Wish::Usual) => self.revalidate(name).await,
            (true, Wish::Confirmed) => self.insist(name).await,
        }
    }

    /// Asks upstream, whatever is held; one request however many ask.
    pub(super) fn revalidate(&self, name: &PackageName) -> Flight<Readable> {
        self.fly(name, Wish::Usual)
    }

    /// The same; and where home answers, it is to ask upstream, too.
    pub(super) fn fly(&self, name: &PackageName, wish: Wish) -> Flight<Readable> {
        self.inner.packuments.flights.join(name, || {
            let (fetch, name) = (self.clone(), name.clone());
            async move { fetch.ask_upstream(&name, wish).await }
        })
    }

    /// For what was not held: asks upstream, unless another flight has landed since somebody looked.
    fn obtain(&self, name: &PackageName) -> Flight<Readable> {
        self.inner.packuments.flights.join(name, || {
            let (fetch, name) = (self.clone(), name.clone());
            async move {
                match fetch.inner.store.packument(&name) {
                    Some(record) => Ok(record.into()),
                    None => fetch.ask_upstream(&name, Wish::Usual).await,
                }
            }
        })
    }

    async fn ask_upstream(&self, name: &PackageName, wish: Wish) -> Result<Readable, Failure> {
        let lately = &self.inner.packuments.lately;
        let held = self.inner.store.packument(name);
        let is_doubted =
            held.as_ref().is_some_and(|held| self.inner.packuments.age(name, held) == Duration::MAX);
        let before = held.map(|held| held.revision);
        let under_root = if wish == Wish::Usual { self.under_root(name).await } else { None };
        if let Some(readable) = under_root.as_ref().filter(|readable| self.is_enough(name, readable)) {
            return Ok(readable.clone());
        }
        let (began, mut attempts) = (Instant::now(), Attempts::default());
        let insists = wish == Wish::Confirmed || is_doubted;
        let mut question = Question { attempt: 0, conditional: true, apart: false, insists };
        loop {
            let error = match self.attempt(name, question).await {
                Ok(readable) => {
                    lately.given(name);
                    if lately.has_changed_since(name, began) {
                        match self.inner.store.doubt_packument(name).await {
                            Ok(_) | Err(StoreError::Full) => {}
                            Err(error) => return Err(error.into()),
                        }
                    } else if readable.cut_off {
                        // Perhaps upstream is asked for it again; but not at once.
                        lately.failed(name, None);
                    } else if before != Some(readable.record.revision) {
                        lately.settled(name);
                    } else if lately.is_unsettled(name, now_ms()) {
                        // To be asked for again, but not at once.
                        lately.failed(name, None);
                    }
                    return Ok(readable);
                }
                Err(TakeError::Store(failure)) => return Err(failure),
                Err(TakeError::Upstream(error)) => error,
            };
            if error == UpstreamError::Missing {
                if !question.apart && self.inner.store.packument(name).is_some() {
                    // One that is held is not given up for a single word, which may be one server's of many.
                    question = Question { conditional: false, apart: true, insists: true, ..question };
                    continue;
                }
                self.remove(name).await?;
            }
            let next = attempts.after(Setback::Broken { progress: false, pause: error.pause() });
            let (Next::Resume(pause), true) = (next, self.may_pass(name, &error)) else {
                if error != UpstreamError::Missing {
                    lately.failed(name, error.pause());
                }
                tracing::debug!(%name, %error, "upstream did not give the packument");
                // What home has signed is something, however long ago.
                return under_root
                    .filter(|_| error != UpstreamError::Missing)
                    .ok_or_else(|| Failure::of(name.as_str(), &error));
            };
            tokio::time::sleep(pause).await;
            // A confirmation of bytes that cannot be read would never end.
            question = Question { attempt: attempts.barren(), conditional: false, ..question };
        }
    }

    /// Upstream has no such package. Its tarballs stay.
    async fn remove(&self, name: &PackageName) -> Result<(), Failure> {
        self.inner.packuments.lately.missing(name);
        if self.inner.store.packument(name).is_some() {
            tracing::info!(%name, "upstream has said twice that it does not have this package; removed");
            self.note_removed(name, None).await?;
            match self.inner.store.remove_packument(name).await {
                // It is asked about again when it is asked for.
                Ok(()) | Err(StoreError::Full) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether it is worth asking again: not while upstream is down or wants to be left alone, unless nothing is held
    /// that could be served meanwhile, and upstream has said when to come back.
    fn may_pass(&self, name: &PackageName, error: &UpstreamError) -> bool {
        let down = matches!(self.inner.upstream.latch().link(), Link::Down(_));
        let held = self.inner.store.packument(name).is_some();
        error.is_passing() && if error.pause().is_some() { !held } else { !down }
    }

    async fn attempt(&self, name: &PackageName, question: Question) -> Result<Readable, TakeError> {
        let held =
            self.inner.store.packument(name).filter(|held| question.conditional && self.is_confirmable(held));
        let address = format!("{}/{}", self.inner.upstream.base(), name.packument_path());
        let mut wanted = vec![(ACCEPT, "application/json"), (ACCEPT_ENCODING, "gzip")];
        if let Some(held) = &held {
            wanted.extend(held.etag.as_deref().map(|etag| (IF_NONE_MATCH, etag)));
            wanted.extend(held.last_modified.as_deref().map(|at| (IF_MODIFIED_SINCE, at)));
        }
        let (headers, for_home) = (headers(&wanted), for_home(held.as_ref(), question.insists));
        let Question { attempt, apart, .. } = question;
        let asked = upstream::Question { address: &address, headers, for_home, attempt, apart };
        let answer = self.inner.upstream.ask(asked).await?;
        let (source, cut_off) = (Provenance::of(&answer), answer.is_cut_off());
        let readable = match (answer.head.status, held) {
            (StatusCode::NOT_MODIFIED, Some(held)) if confirms(&answer, &held) => {
                let confirmed = PackumentRecord { checked_ms: confirmed_ms(&answer), ..held };
                self.confirm(name, confirmed).await
            }
            (StatusCode::NOT_MODIFIED, Some(_)) => {
                Err(UpstreamError::Wrong("it confirmed another document than is held".into()).into())
            }
            (StatusCode::OK, _) => self.take(name, answer).await,
            (status, _) => {
                Err(UpstreamError::Wrong(format!("it answered {} to a plain GET", status.as_u16())).into())
            }
        };
        readable.map(|readable| Readable { source, cut_off, ..readable })
    }

    /// Whether a confirmation would do: of bytes that are here (whether they are intact shows when they are read), and
    /// that were not only confirmed for too long.
    fn is_confirmable(&self, held: &PackumentRecord) -> bool {
        plan::is_confirmable(age(held.fetched_ms)) && self.inner.store.has_document(&held.revision)
    }

    async fn take(&self, name: &PackageName, answer: Answer) -> Result<Readable, TakeError> {
        let source = Provenance::of(&answer).label();
        let taken = self.take_packument(name, answer).await?;
        self.inner.packuments.metrics.rooted().document(source, false);
        self.keep_taken(name, taken).await
    }

    pub(super) async fn keep_taken(&self, name: &PackageName, taken: Taken) -> Result<Readable, TakeError> {
        let Taken { record, new } = taken;
        let Some(new) = new else {
            return self.confirm(name, record).await;
        };
        self.tell_undated(name, &new.outline);
        self.learn_blocked(name, &new.outline);
        self.note_removed(name, Some(&new.outline)).await?;
        self.inner.renderings.remember(record.revision, Arc::new(new.outline));
        match self.inner.store.keep_packument(name, new.draft, record.clone()).await {
            Ok(kept) => Ok(kept.into()),
            Err(StoreError::Full) => {
                self.inner.store.not_kept();
                Ok(Readable { loose: Some(new.frames), ..record.into() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Age gates cannot judge a version without a date. It is served all the same: many registries date nothing, a
    /// package that is refused is worse for everybody than one that a gate passes by, and a date is not ours to invent.
    fn tell_undated(&self, name: &PackageName, outline: &Outline) {
        if outline.undated() == 0 {
            return;
        }
        self.inner.packuments.metrics.undated(outline.has_time());
        if outline.has_time() {
            let (undated, versions) = (outline.undated(), outline.releases().len());
            tracing::warn!(%name, undated, versions, "upstream does not say of all versions when they were published");
        }
    }

    /// Upstream still has what is held. That there is no room to write this down changes nothing of it.
    async fn confirm(&self, name: &PackageName, confirmed: PackumentRecord) -> Result<Readable, TakeError> {
        match self.inner.store.confirm_packument(name, confirmed.clone()).await {
            Ok(()) | Err(StoreError::Full) => Ok(confirmed.into()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether a 304 speaks of the document that is held.
fn confirms(answer: &Answer, held: &PackumentRecord) -> bool {
    if answer.is_of_home() {
        return answer.header(ETAG) == Some(tag(&held.revision).as_str());
    }
    let asked = Validators { etag: held.etag.as_deref(), last_modified: held.last_modified.as_deref() };
    asked.are_confirmed_by(Validators {
        etag: answer.header(ETAG),
        last_modified: answer.header(LAST_MODIFIED),
    })
}

/// Home has upstream's own bytes, and sends them as they are kept: it is asked by their digest.
fn for_home(held: Option<&PackumentRecord>, insists: bool) -> HeaderMap {
    let tag = held.map(|held| tag(&held.revision));
    let mut wanted = vec![(ACCEPT, "application/json"), (ACCEPT_ENCODING, "zstd, gzip")];
    wanted.extend(tag.as_deref().map(|tag| (IF_NONE_MATCH, tag)));
    wanted.extend(insists.then_some((CACHE_CONTROL, "no-cache")));
    headers(&wanted)
}

/// A revision as the entity tag of upstream's own bytes, quotes included.
pub(super) fn tag(revision: &Revision) -> String {
    format!("\"{}\"", revision.hex())
}

/// When upstream has said what an answer says: milliseconds since 1970.
pub(super) fn confirmed_ms(answer: &Answer) -> u64 {
    now_ms().saturating_sub(u64::try_from(answer.age().as_millis()).unwrap_or(u64::MAX))
}
