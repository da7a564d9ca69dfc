//! One download for all who wait for the same tarball: resumed where it broke off, restarted when its bytes
//! are wrong, kept when its digest is right.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use resolver::attempts::{Attempts, Next, Setback};
use resolver::integrity::{Expected, Verifier};
use tokio::sync::{Semaphore, watch};

use super::FIRST_BYTE;
use super::arriving::Arriving;
use super::failure::Failure;
use super::progress::{Progress, Received, Ticket};
use super::through::Through;
use crate::metrics::Metrics;
use crate::store::{Blob, Draft, Store};
use crate::upstream::{Answer, Upstream, UpstreamError, headers};

/// The largest tarball that is taken. The largest on the public registry have a few hundred MB.
pub(super) const LARGEST: u64 = 2 * 1024 * 1024 * 1024;

/// Downloads at once. Fewer than upstream's places: tarballs never keep metadata waiting.
const AT_ONCE: usize = 48;
/// Downloads that wait or are under way; a client asks for 100 at once.
const WAITING: usize = 4096;

/// What a download is for.
#[derive(Debug, Clone)]
pub(super) struct Order {
    /// In words, for the log and for clients.
    pub(super) what: String,
    /// Where it is.
    pub(super) address: String,
    /// What it must hash to.
    pub(super) expected: Expected,
    /// Whose word the digest is.
    pub(super) word: Word,
}

/// Who says which digest is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Word {
    /// Upstream's packument, or the address itself: other bytes are upstream's mistake, and worth another try.
    Upstream,
    /// A client alone: other bytes are just as likely the client's mistake, and cost one try.
    Client,
}

/// A tarball whose bytes may be given to a client.
pub(super) enum Opened {
    /// Verified and kept.
    Kept(Blob),
    /// Large, and still coming.
    Arriving(Arriving),
}

/// All downloads under way. Cheap to clone.
#[derive(Clone)]
pub(super) struct Downloads {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    upstream: Upstream,
    verify_first_max: u64,
    metrics: Arc<Metrics>,
    places: Semaphore,
    under_way: Mutex<HashMap<Key, Ticket>>,
}

/// Takes a download off the list, however it ends.
struct Listed {
    downloads: Downloads,
    key: Key,
}

/// What one download can be shared by: a client's mistake must not fail those who have upstream's word.
type Key = (Expected, Word);

/// One draft and the running hash over it.
struct Partial {
    number: u32,
    draft: Draft,
    verifier: Verifier,
    length: Option<u64>,
    etag: Option<String>,
}

/// What went wrong in one attempt.
enum AttemptError {
    Upstream(UpstreamError),
    /// The bytes that have come are of no use.
    Wrong,
    /// There is room for them neither on the disk nor in memory.
    NoRoom,
}

/// How a download ended that gave no blob.
enum Ended {
    Failed(Failure),
    NoRoom,
}

impl Downloads {
    pub(super) fn new(
        store: Store,
        upstream: Upstream,
        verify_first_max: u64,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (places, under_way) = (Semaphore::new(AT_ONCE), Mutex::default());
        Self { inner: Arc::new(Inner { store, upstream, verify_first_max, metrics, places, under_way }) }
    }

    /// Joins the download of these bytes, or starts it, and waits until they may be given to a client: with
    /// `whole`, when all of them are here. As long as bytes come, or others are served first, there is no limit:
    /// yarn 1 repeats a request that took too long, not one that met a 503, and all other clients wait.
    pub(super) async fn open(&self, order: Order, whole: bool) -> Result<Opened, Failure> {
        let what = order.what.as_str();
        let Ticket { mut progress, received } = self.join(&order)?;
        let mut seen = 0;
        loop {
            let ready = progress.wait_for(|now| match now {
                Progress::Done(_) | Progress::NoRoom => true,
                Progress::Receiving(received) => !whole && self.may_stream(received),
                Progress::Queued | Progress::Begun => false,
            });
            if let Ok(Err(_)) = tokio::time::timeout(FIRST_BYTE, ready).await {
                return Err(Failure::unavailable(what, "its download came to a sudden end"));
            }
            let so_far = received.load(Ordering::Relaxed);
            let now = progress.borrow_and_update().clone();
            match now {
                Progress::Done(result) => return result.map(Opened::Kept),
                Progress::NoRoom => return self.pass_through(order).await,
                Progress::Receiving(received) if !whole && self.may_stream(&received) => {
                    let alone = self.through(order);
                    return Ok(Opened::Arriving(Arriving::new(alone, received, progress)));
                }
                Progress::Queued => {}
                Progress::Begun | Progress::Receiving(_) if so_far > seen => seen = so_far,
                Progress::Begun | Progress::Receiving(_) => {
                    return Err(Failure::unavailable(what, "upstream is slow"));
                }
            }
        }
    }

    /// What finds no room here goes straight to each client, on a request of its own and at its own pace.
    async fn pass_through(&self, order: Order) -> Result<Opened, Failure> {
        let what = order.what.clone();
        let mut through = self.through(order);
        let begun = tokio::time::timeout(FIRST_BYTE, through.begin()).await;
        let length = begun.unwrap_or_else(|_| Err(Failure::unavailable(&what, "upstream is slow")))?;
        Ok(Opened::Arriving(Arriving::through(through, length)))
    }

    fn through(&self, order: Order) -> Through {
        let Inner { store, upstream, metrics, .. } = &*self.inner;
        Through::new(store.clone(), upstream.clone(), Arc::clone(metrics), order)
    }

    /// Large, and from a source that is believed until the digest has the last word.
    fn may_stream(&self, received: &Received) -> bool {
        let large = received.length.unwrap_or(received.flushed) > self.inner.verify_first_max;
        received.authentic && large
    }

    fn join(&self, order: &Order) -> Result<Ticket, Failure> {
        let mut under_way = self.inner.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (order.expected, order.word);
        if let Some(ticket) = under_way.get(&key) {
            return Ok(ticket.clone());
        }
        if under_way.len() >= WAITING {
            return Err(Failure::unavailable(&order.what, "too many downloads are waiting"));
        }
        let (sender, progress) = watch::channel(Progress::Queued);
        let ticket = Ticket { progress, received: Arc::default() };
        let (downloads, listed) = (self.clone(), Listed { downloads: self.clone(), key });
        let (order, received) = (order.clone(), Arc::clone(&ticket.received));
        // Before it starts: without the list's ticket and ours it would take itself for abandoned.
        under_way.insert(key, ticket.clone());
        tokio::spawn(async move {
            let result = downloads.run(&order, &sender, &received).await;
            // Whoever asks again because of a failure has a try of his own.
            drop(listed);
            sender.send_replace(match result {
                Ok(blob) => Progress::Done(Ok(blob)),
                Err(Ended::Failed(failure)) => Progress::Done(Err(failure)),
                Err(Ended::NoRoom) => Progress::NoRoom,
            });
        });
        Ok(ticket)
    }

    async fn run(
        &self,
        order: &Order,
        progress: &watch::Sender<Progress>,
        received: &AtomicU64,
    ) -> Result<Blob, Ended> {
        // The semaphore is never closed.
        let _place = self.inner.places.acquire().await;
        if is_abandoned(progress) {
            return Err(Failure::unavailable(&order.what, "nobody waited for it").into());
        }
        progress.send_replace(Progress::Begun);
        // Another download of it may have ended between the look into the store and the start of this one.
        if let Expected::Integrity(integrity) = &order.expected
            && let Some(blob) = self.inner.store.blob(integrity).await
        {
            return Ok(blob);
        }
        let mut attempts = Attempts::default();
        let mut partial = self.begin(order.expected, 0);
        loop {
            let before = partial.draft.length();
            let ended =
                self.attempt(&mut partial, &order.address, attempts.barren(), (progress, received)).await;
            let (setback, cause) = match (ended, partial.verifier.clone().finish()) {
                (Err(AttemptError::NoRoom), _) => return Err(Ended::NoRoom),
                // Also when the connection broke behind the last byte: there is nothing left to resume.
                (_, Ok(integrity)) => {
                    let kept = self.inner.store.keep_blob(partial.draft, &integrity).await;
                    return kept.map_err(|_| Ended::NoRoom);
                }
                (Ok(()), Err(mismatch)) => (Setback::Wrong, self.wrong(order, &mismatch.to_string())),
                (Err(AttemptError::Wrong), _) => {
                    (Setback::Wrong, self.wrong(order, "its parts do not fit together"))
                }
                (Err(AttemptError::Upstream(error)), _) if !error.is_passing() => {
                    return Err(Failure::of(&order.what, &error).into());
                }
                (Err(AttemptError::Upstream(error)), _) => {
                    let progress = partial.draft.length() > before;
                    (Setback::Broken { progress, pause: error.pause() }, Failure::of(&order.what, &error))
                }
            };
            let is_clients_mistake = setback == Setback::Wrong && order.word == Word::Client;
            if is_clients_mistake || is_abandoned(progress) {
                return Err(cause.into());
            }
            match attempts.after(setback) {
                Next::GiveUp => return Err(cause.into()),
                Next::Resume(pause) => tokio::time::sleep(pause).await,
                Next::Restart(pause) => {
                    tokio::time::sleep(pause).await;
                    partial = self.begin(order.expected, partial.number + 1);
                }
            }
        }
    }

    fn begin(&self, expected: Expected, number: u32) -> Partial {
        let draft = self.inner.store.draft();
        Partial { number, draft, verifier: Verifier::new(expected), length: None, etag: None }
    }

    fn wrong(&self, order: &Order, cause: &str) -> Failure {
        let tarball = order.what.as_str();
        match order.word {
            Word::Upstream => {
                tracing::warn!(tarball, cause, "upstream sent wrong bytes; they were thrown away");
                self.inner.metrics.upstream_failed("wrong");
            }
            Word::Client => tracing::debug!(tarball, cause, "not the bytes that a client expects"),
        }
        Failure::unavailable(tarball, "upstream sends other bytes than its packument promises")
    }

    /// One request, from where the draft ends.
    async fn attempt(
        &self,
        partial: &mut Partial,
        address: &str,
        barren: u32,
        (progress, received): (&watch::Sender<Progress>, &AtomicU64),
    ) -> Result<(), AttemptError> {
        let from = partial.draft.length();
        let mut answer = match self.inner.upstream.get(address, partial.request(), barren).await {
            // More has come than upstream has by now.
            Err(UpstreamError::Refused(StatusCode::RANGE_NOT_SATISFIABLE)) if from > 0 => {
                return Err(AttemptError::Wrong);
            }
            answer => answer?,
        };
        match answer.head.status {
            StatusCode::OK if from == 0 => partial.learn(&answer),
            // It cannot resume, or has other bytes by now: from the beginning, in a draft of its own.
            StatusCode::OK => {
                *partial = self.begin(partial.verifier.expected(), partial.number + 1);
                partial.learn(&answer);
            }
            StatusCode::PARTIAL_CONTENT if range_start(&answer) == Some(from) => {}
            _ => return Err(AttemptError::Wrong),
        }
        if partial.length.is_some_and(|length| self.inner.store.has_no_room_for(length)) {
            return Err(AttemptError::NoRoom);
        }
        let authentic = address.starts_with("https://");
        while let Some(chunk) = answer.chunk().await? {
            self.inner.metrics.received(chunk.len() as u64);
            received.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if partial.draft.length() + chunk.len() as u64 > LARGEST {
                return Err(UpstreamError::Wrong("the tarball is larger than any may be".into()).into());
            }
            partial.verifier.update(&chunk);
            let flushed = partial.draft.flushed();
            partial.draft.write(&chunk).await.map_err(|_| AttemptError::NoRoom)?;
            if partial.draft.flushed() > flushed {
                partial.show(progress, authentic);
            }
        }
        Ok(())
    }
}

impl Partial {
    fn request(&self) -> http::HeaderMap {
        let range = format!("bytes={}-", self.draft.length());
        let mut wanted = vec![(ACCEPT, "*/*"), (ACCEPT_ENCODING, "identity")];
        if self.draft.length() > 0 {
            wanted.push((RANGE, range.as_str()));
            wanted.extend(self.etag.as_deref().map(|etag| (IF_RANGE, etag)));
        }
        headers(&wanted)
    }

    /// Size and validator of the whole body; a weak validator cannot vouch for a part (RFC 9110, 13.1.5).
    fn learn(&mut self, answer: &Answer) {
        self.length = answer.header(CONTENT_LENGTH).and_then(|length| length.parse().ok());
        self.etag = answer.header(ETAG).filter(|etag| !etag.starts_with("W/")).map(str::to_owned);
    }

    fn show(&self, progress: &watch::Sender<Progress>, authentic: bool) {
        if let Some(reader) = self.draft.reader() {
            let (draft, flushed, length) = (self.number, self.draft.flushed(), self.length);
            progress.send_replace(Progress::Receiving(Received {
                reader,
                draft,
                flushed,
                length,
                authentic,
            }));
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut under_way = self.downloads.inner.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&self.key);
    }
}

/// The list holds a ticket itself: when there is no other, all clients have gone. What is under way is finished all
/// the same, for they will come back; what has not begun, or broke off, is left.
fn is_abandoned(progress: &watch::Sender<Progress>) -> bool {
    progress.receiver_count() <= 1
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<UpstreamError> for AttemptError {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

/// The first byte's position in `Content-Range: bytes <first>-<last>/<length>`.
pub(super) fn range_start(answer: &Answer) -> Option<u64> {
    answer.header(CONTENT_RANGE)?.trim().strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}
