//! A tarball from upstream: resumed where it broke off, begun again when its bytes are wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use resolver::attempts::{Attempts, Next, Setback};
use resolver::integrity::{Expected, Integrity, Verifier};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Provenance;
use super::download::{Ended, LARGEST, Order, Word, is_abandoned};
use super::failure::Failure;
use super::progress::{Progress, Received};
use crate::metrics::Metrics;
use crate::store::{Draft, Store};
use crate::upstream::{Answer, Upstream, UpstreamError, headers};

/// Asks upstream for one tarball.
pub(super) struct FromUpstream<'a> {
    pub(super) store: &'a Store,
    pub(super) upstream: &'a Upstream,
    pub(super) metrics: &'a Arc<Metrics>,
    pub(super) order: &'a Order,
    pub(super) progress: &'a watch::Sender<Progress>,
    pub(super) received: &'a AtomicU64,
}

/// What upstream gave, verified.
pub(super) struct Given {
    pub(super) draft: Draft,
    pub(super) integrity: Integrity,
    pub(super) source: Provenance,
    /// How long it took until the first byte and until the last; `None`: not in one go.
    pub(super) took: Option<(Duration, Duration)>,
}

/// One draft and the running hash over it.
struct Partial {
    number: u32,
    draft: Draft,
    verifier: Verifier,
    length: Option<u64>,
    etag: Option<String>,
    /// Who has answered last.
    source: Provenance,
    /// When its body began.
    head: Option<Instant>,
}

/// What went wrong in one attempt.
enum AttemptError {
    Upstream(UpstreamError),
    /// The bytes that have come are of no use.
    Wrong,
    /// There is room for them neither on the disk nor in memory.
    NoRoom,
}

impl FromUpstream<'_> {
    /// Until it is whole, or nobody would try any more.
    ///
    /// # Errors
    /// [`Ended`].
    pub(super) async fn run(&self) -> Result<Given, Ended> {
        let (order, progress, begun) = (self.order, self.progress, Instant::now());
        let mut attempts = Attempts::default();
        let mut partial = self.begin(order.expected, 0);
        loop {
            let before = partial.draft.length();
            let ended = self.attempt(&mut partial, attempts.barren()).await;
            let (setback, cause) = match (ended, partial.verifier.clone().finish()) {
                (Err(AttemptError::NoRoom), _) => return Err(Ended::NoRoom),
                // Also when the connection broke behind the last byte: there is nothing left to resume.
                (_, Ok(integrity)) => {
                    let head = partial.head.filter(|_| attempts.is_first());
                    let took = head.map(|head| (head - begun, begun.elapsed()));
                    let source = partial.source;
                    return Ok(Given { draft: partial.draft, integrity, source, took });
                }
                (Ok(()), Err(mismatch)) => (Setback::Wrong, self.wrong(&mismatch.to_string())),
                (Err(AttemptError::Wrong), _) => {
                    (Setback::Wrong, self.wrong("its parts do not fit together"))
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
        let draft = self.store.draft();
        let (verifier, source) = (Verifier::new(expected), Provenance::Upstream);
        Partial { number, draft, verifier, length: None, etag: None, source, head: None }
    }

    fn wrong(&self, cause: &str) -> Failure {
        let tarball = self.order.what.as_str();
        match self.order.word {
            Word::Upstream => {
                tracing::warn!(tarball, cause, "upstream sent wrong bytes; they were thrown away");
                self.metrics.upstream_failed("wrong");
            }
            Word::Client => tracing::debug!(tarball, cause, "not the bytes that a client expects"),
        }
        Failure::unavailable(tarball, "upstream sends other bytes than its packument promises")
    }

    /// One request, from where the draft ends.
    async fn attempt(&self, partial: &mut Partial, barren: u32) -> Result<(), AttemptError> {
        let address = self.order.address.as_str();
        let from = partial.draft.length();
        let mut answer = match self.upstream.get(address, partial.request(), barren).await {
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
        partial.head = Some(Instant::now());
        partial.source = Provenance::of(&answer);
        if partial.length.is_some_and(|length| self.store.has_no_room_for(length)) {
            return Err(AttemptError::NoRoom);
        }
        // Home's key is proved by its connection.
        let authentic = answer.is_of_home() || address.starts_with("https://");
        while let Some(chunk) = answer.chunk().await? {
            partial.source.count(self.metrics, chunk.len());
            self.received.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if partial.draft.length() + chunk.len() as u64 > LARGEST {
                return Err(UpstreamError::Wrong("the tarball is larger than any may be".into()).into());
            }
            partial.verifier.update(&chunk);
            let flushed = partial.draft.flushed();
            partial.draft.write(&chunk).await.map_err(|_| AttemptError::NoRoom)?;
            if partial.draft.flushed() > flushed {
                partial.show(self.progress, authentic);
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

impl From<UpstreamError> for AttemptError {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

/// The first byte's position in `Content-Range: bytes <first>-<last>/<length>`.
pub(super) fn range_start(answer: &Answer) -> Option<u64> {
    answer.header(CONTENT_RANGE)?.trim().strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}
