//! A tarball that finds no room here: fetched for one client alone, hashed as it passes, its tail held back until the
//! digest matches.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, HeaderMap, RANGE};
use resolver::attempts::{Attempts, Next, Setback};
use resolver::integrity::{Expected, Integrity, Mismatch, Verifier};
use tokio::sync::mpsc;

use super::Provenance;
use super::arriving::{CHUNK, TAIL};
use super::download::{LARGEST, Order};
use super::failure::Failure;
use super::from_upstream::range_start;
use crate::metrics::Metrics;
use crate::store::{DraftReader, Store};
use crate::upstream::{Answer, Upstream, UpstreamError, headers};

/// One client's own download; nothing of it is kept. What it takes of memory is the tail and what is on its way to the
/// client, as for any other body that is sent.
pub(super) struct Through {
    store: Store,
    upstream: Upstream,
    metrics: Arc<Metrics>,
    order: Order,
    attempts: Attempts,
    verifier: Verifier,
    /// What the client was told of its size.
    announced: Option<u64>,
    /// Bytes that were hashed: those that were sent, and the tail.
    came: u64,
    tail: BytesMut,
    answer: Option<Answer>,
}

/// Why it ends before its end.
enum Broken {
    /// Perhaps it can go on from here.
    Upstream(UpstreamError),
    /// The bytes are not the ones that were promised.
    Wrong,
    /// The client has gone.
    Gone,
}

impl Through {
    pub(super) fn new(store: Store, upstream: Upstream, metrics: Arc<Metrics>, order: Order) -> Self {
        Self {
            verifier: Verifier::new(order.expected),
            attempts: Attempts::default(),
            announced: None,
            came: 0,
            tail: BytesMut::new(),
            answer: None,
            store,
            upstream,
            metrics,
            order,
        }
    }

    /// What it must hash to.
    pub(super) fn expected(&self) -> Expected {
        self.order.expected
    }

    /// Goes on for a client that has been told of `announced` bytes and given the first `sent`, out of a draft that could
    /// not be finished.
    pub(super) async fn follow(
        &mut self,
        draft: &DraftReader,
        sent: u64,
        announced: Option<u64>,
    ) -> io::Result<()> {
        self.announced = announced;
        while self.came < sent {
            let left = usize::try_from((sent - self.came).min(CHUNK)).unwrap_or(0);
            let chunk = draft.read(self.came, left).await?;
            if chunk.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.hash(&chunk);
        }
        Ok(())
    }

    /// Asks upstream until it begins to answer; says how long the body will be, if upstream does.
    ///
    /// # Errors
    /// [`Failure`], when upstream does not give it.
    pub(super) async fn begin(&mut self) -> Result<Option<u64>, Failure> {
        loop {
            match self.ask().await {
                Ok(()) => {
                    self.announced = self.length();
                    return Ok(self.announced);
                }
                Err(broken) => self.again(broken, false).await?,
            }
        }
    }

    /// Hands the body to the client.
    pub(super) async fn run(mut self, chunks: mpsc::Sender<io::Result<Bytes>>) {
        loop {
            let before = self.came;
            let ended = self.pass(&chunks).await;
            let ended = match (ended, self.verifier.clone().finish()) {
                (Err(Broken::Gone), _) => return,
                // A size that was another would make a complete body of its beginning.
                (_, Ok(_)) if self.announced.is_some_and(|length| length != self.came) => Err(Broken::Wrong),
                // Also when the connection broke behind the last byte.
                (_, Ok(_)) => Ok(()),
                (Ok(()), Err(_)) => Err(Broken::Wrong),
                (Err(broken), _) => Err(broken),
            };
            let last = match ended {
                Ok(()) => {
                    self.store.not_kept();
                    Ok(self.tail.split().freeze())
                }
                Err(broken) => match self.again(broken, self.came > before).await {
                    Ok(()) => continue,
                    Err(failure) => Err(io::Error::other(failure)),
                },
            };
            // The client may have gone just now.
            let _ = chunks.send(last).await;
            return;
        }
    }

    fn length(&self) -> Option<u64> {
        self.answer.as_ref()?.header(CONTENT_LENGTH)?.parse().ok()
    }

    /// What is asked for again after a setback, if it is.
    async fn again(&mut self, broken: Broken, progress: bool) -> Result<(), Failure> {
        self.answer = None;
        let what = self.order.what.as_str();
        let (setback, failure) = match broken {
            Broken::Upstream(error) if error.is_passing() => {
                (Setback::Broken { progress, pause: error.pause() }, Failure::of(what, &error))
            }
            Broken::Upstream(error) => return Err(Failure::of(what, &error)),
            // The client may have some of them.
            Broken::Wrong | Broken::Gone => {
                self.metrics.upstream_failed("wrong");
                return Err(Failure::unavailable(
                    what,
                    "upstream sends other bytes than its packument promises",
                ));
            }
        };
        match self.attempts.after(setback) {
            Next::Resume(pause) | Next::Restart(pause) => tokio::time::sleep(pause).await,
            Next::GiveUp => return Err(failure),
        }
        Ok(())
    }

    /// One request, from where the bytes end that came before.
    async fn ask(&mut self) -> Result<(), Broken> {
        let wanted = self.wanted();
        let mut answer = match self.upstream.get(&self.order.address, wanted, self.attempts.barren()).await {
            Err(UpstreamError::Refused(StatusCode::RANGE_NOT_SATISFIABLE)) => return Err(Broken::Wrong),
            answer => answer.map_err(Broken::Upstream)?,
        };
        // It goes at the client's pace, and must not keep a place from others.
        answer.give_up_place();
        let status = answer.head.status;
        let resumes = status == StatusCode::PARTIAL_CONTENT && range_start(&answer) == Some(self.came);
        match status {
            StatusCode::OK => {}
            _ if self.came > 0 && resumes => {}
            _ => return Err(Broken::Wrong),
        }
        self.answer = Some(answer);
        if status == StatusCode::OK && self.came > 0 { self.skip().await } else { Ok(()) }
    }

    fn wanted(&self) -> HeaderMap {
        let range = format!("bytes={}-", self.came);
        let mut wanted = vec![(ACCEPT, "*/*"), (ACCEPT_ENCODING, "identity")];
        if self.came > 0 {
            wanted.push((RANGE, range.as_str()));
        }
        headers(&wanted)
    }

    /// Upstream cannot resume and has begun again: what came before must come once more.
    async fn skip(&mut self) -> Result<(), Broken> {
        let mut again = Verifier::new(self.order.expected);
        let mut left = self.came;
        while left > 0 {
            let Some(mut chunk) = self.next().await? else {
                return Err(Broken::Wrong);
            };
            let before =
                chunk.split_to(usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len())));
            again.update(&before);
            left -= before.len() as u64;
            if left == 0 && digest(&again) == digest(&self.verifier) {
                self.take(&chunk);
            } else if left == 0 {
                return Err(Broken::Wrong);
            }
        }
        Ok(())
    }

    /// Passes on what comes, but for the tail.
    async fn pass(&mut self, chunks: &mpsc::Sender<io::Result<Bytes>>) -> Result<(), Broken> {
        if self.answer.is_none() {
            self.ask().await?;
        }
        while let Some(chunk) = self.next().await? {
            self.take(&chunk);
            if self.came > LARGEST {
                let words = "the tarball is larger than any may be";
                return Err(Broken::Upstream(UpstreamError::Wrong(words.into())));
            }
            let ready = self.tail.len().saturating_sub(usize::try_from(TAIL).unwrap_or(usize::MAX));
            if ready > 0 {
                chunks.send(Ok(self.tail.split_to(ready).freeze())).await.map_err(|_| Broken::Gone)?;
            }
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        let Some(answer) = &mut self.answer else {
            return Ok(None);
        };
        let chunk = answer.chunk().await.map_err(Broken::Upstream)?;
        Provenance::of(answer).count(&self.metrics, chunk.as_ref().map_or(0, Bytes::len));
        Ok(chunk)
    }

    fn take(&mut self, chunk: &[u8]) {
        self.hash(chunk);
        self.tail.extend_from_slice(chunk);
    }

    fn hash(&mut self, chunk: &[u8]) {
        self.verifier.update(chunk);
        self.came += chunk.len() as u64;
    }
}

/// Of what was hashed so far, whatever it should be.
fn digest(verifier: &Verifier) -> Integrity {
    verifier.clone().finish().unwrap_or_else(|Mismatch(found)| found)
}
