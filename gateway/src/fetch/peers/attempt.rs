//! One peer's answer: into a draft of its own, hashed, and verified whole before anybody gets any of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use http::header::CONTENT_LENGTH;
use resolver::health::Outcome;
use resolver::hedge::{Errand, SoFar, is_hopeless};
use resolver::integrity::{Expected, Verifier};
use resolver::peers::Sighting;
use resolver::strikes::Fault;
use tokio::time::{Duration, Instant, sleep_until};

use super::line::{NoAnswer, Reply, Route};
use super::{Peers, Source, Wanted};
use crate::fetch::download::LARGEST;
use crate::store::{Draft, Store};

/// How often it is looked whether a peer that has no rival is worth waiting for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What has come of one answer, for whoever looks at it meanwhile.
#[derive(Debug)]
pub(in crate::fetch) struct Meter {
    pub(in crate::fetch) begun: Instant,
    so_far: Mutex<SoFar>,
}

/// Why a peer did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(in crate::fetch) enum Miss {
    /// What is held against it.
    #[error("{1}")]
    Fault(Fault, String),
    /// It was to fetch it and says that it cannot.
    #[error("it answered {0}")]
    Declined(u16),
    /// There is no room here; no fault of the peer's.
    #[error("there is no room for it here")]
    NoRoom,
}

impl Meter {
    pub(in crate::fetch) fn start() -> Self {
        Self { begun: Instant::now(), so_far: Mutex::default() }
    }

    pub(in crate::fetch) fn so_far(&self) -> SoFar {
        *self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::fetch) fn learn(&self, learn: impl FnOnce(&mut SoFar)) {
        learn(&mut self.so_far.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Peers {
    /// Asks one peer, to its end: the bytes in a draft, verified.
    ///
    /// # Errors
    /// [`Miss`]; what has come is gone.
    pub(in crate::fetch) async fn fetch(
        &self,
        source: &Source,
        wanted: &Wanted,
        store: &Store,
        (meter, received): (&Meter, &AtomicU64),
    ) -> Result<Draft, Miss> {
        let body = self.body(source, wanted, store, meter, received);
        let fetched = tokio::select! {
            fetched = body => fetched,
            () = hopeless(source.errand, meter) => Err(unanswered("it gave nothing for too long")),
        };
        if let Err(miss) = &fetched {
            tracing::debug!(peer = %source.id, %miss, "a peer did not give a tarball");
        }
        fetched
    }

    async fn body(
        &self,
        source: &Source,
        wanted: &Wanted,
        store: &Store,
        meter: &Meter,
        received: &AtomicU64,
    ) -> Result<Draft, Miss> {
        let mut reply = self.reply(source, wanted).await?;
        let length = promised(&reply, source.errand)?;
        let head = meter.begun.elapsed();
        meter.learn(|so_far| *so_far = SoFar { head: Some(head), length, came: 0 });
        if source.errand == Errand::Held {
            self.answered(head);
        }
        if store.has_no_room_for(length) {
            return Err(Miss::NoRoom);
        }
        let (mut draft, mut verifier) = (store.draft(), Verifier::new(Expected::Integrity(wanted.integrity)));
        let broken = |error: NoAnswer| unanswered(&error.to_string());
        while let Some(chunk) = reply.chunk().await.map_err(broken)? {
            let bytes = chunk.len() as u64;
            meter.learn(|so_far| so_far.came += bytes);
            received.fetch_add(bytes, Ordering::Relaxed);
            self.received(source, bytes);
            verifier.update(&chunk);
            draft.write(&chunk).await.map_err(|_| Miss::NoRoom)?;
        }
        // Fewer than were promised are an error of the connection, and more are never read.
        match verifier.finish() {
            Ok(_) => Ok(draft),
            Err(mismatch) => Err(self.wrong(source, mismatch.to_string())),
        }
    }

    /// A stream proves who has sent the bytes. Whoever answers at an address need not be the peer: that address is not
    /// used any more, and the peer is asked by its connection.
    fn wrong(&self, source: &Source, words: String) -> Miss {
        let Route::Address(target, address) = &source.route else {
            return Miss::Fault(Fault::WrongBytes, words);
        };
        tracing::warn!(peer = %source.id, address, "somebody gave wrong bytes at the address of a peer; they were thrown away");
        (self.inner.seen)(Sighting::Met(source.id, target.clone(), Outcome::Deceived));
        self.distrust_addresses(source.id);
        unanswered(&words)
    }

    async fn reply(&self, source: &Source, wanted: &Wanted) -> Result<Reply, Miss> {
        let asked = self.inner.line.ask(source.id, &source.route, source.errand, wanted).await;
        let met = |outcome| {
            if let Route::Address(target, _) = &source.route {
                (self.inner.seen)(Sighting::Met(source.id, target.clone(), outcome));
            }
        };
        match &asked {
            Err(NoAnswer::Unreachable(_)) => met(Outcome::Unreachable),
            Ok(reply) if reply.head.status == StatusCode::INTERNAL_SERVER_ERROR => met(Outcome::Erred),
            _ => {}
        }
        asked.map_err(|error| unanswered(&error.to_string()))
    }
}

fn unanswered(words: &str) -> Miss {
    Miss::Fault(Fault::Unanswered, words.to_owned())
}

/// The length of the whole body, which a gateway always says: without it nobody knows where it ends.
fn promised(reply: &Reply, errand: Errand) -> Result<u64, Miss> {
    match reply.head.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND if errand == Errand::Held => {
            return Err(Miss::Fault(Fault::FalseInventory, "it has not what it said it had".into()));
        }
        // What it does not serve it may have said that it holds: that is no lie.
        status if errand == Errand::Fetch || status == StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => {
            return Err(Miss::Declined(status.as_u16()));
        }
        status => return Err(unanswered(&format!("it answered {}", status.as_u16()))),
    }
    let length = reply.head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    length
        .filter(|length| *length <= LARGEST)
        .ok_or_else(|| unanswered("its body has no length, or is larger than any may be"))
}

/// Returns when a peer is to be given up although there is nobody else.
async fn hopeless(errand: Errand, meter: &Meter) {
    let mut look = meter.begun + PATIENCE;
    loop {
        sleep_until(look).await;
        if is_hopeless(errand, meter.begun.elapsed(), &meter.so_far()) {
            return;
        }
        look += PATIENCE;
    }
}
