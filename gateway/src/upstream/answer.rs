//! Upstream's answers: a body that stalls, trickles or breaks off is found out, and the latch learns of it.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use resolver::ways::Way;
use tokio::sync::OwnedSemaphorePermit;

use super::{Upstream, UpstreamError, home};

/// A body that brings nothing for this long has stalled.
const STALL: Duration = Duration::from_secs(10);
/// What a body has to bring within this time: 0.3 KiB a second, a tenth of the slowest line's share for one of
/// fifty downloads.
const PACE_TIME: Duration = Duration::from_secs(30);
const PACE_BYTES: usize = 10 * 1024;

/// An answer with its body still to come; it holds one of the places until it is dropped.
pub struct Answer {
    /// Status and headers.
    pub head: http::response::Parts,
    pub(super) body: Incoming,
    pub(super) upstream: Upstream,
    /// By which way it comes.
    pub(super) way: Way,
    /// Once its body is whole, that way has shown that it works.
    pub(super) counts: bool,
    /// Whether its failure says anything about that way.
    pub(super) is_own: bool,
    pub(super) pace: Pace,
    pub(super) place: Option<OwnedSemaphorePermit>,
}

/// How fast a body comes: one that trickles keeps a place from others as one that stalls does.
#[derive(Default)]
pub(super) struct Pace {
    waited: Duration,
    brought: usize,
}

impl Answer {
    /// A header as text.
    #[must_use]
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether home has given it.
    #[must_use]
    pub fn is_of_home(&self) -> bool {
        self.way == Way::Home
    }

    /// Whether home has given it without having been able to ask upstream.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.is_of_home() && home::is_cut_off(&self.head.headers)
    }

    /// How long ago upstream has said this: just now, unless home gives what it was told before.
    #[must_use]
    pub fn age(&self) -> Duration {
        if self.is_of_home() { home::age(&self.head.headers) } else { Duration::ZERO }
    }

    /// The next chunk of the body; `None` at its end. A body that stalls or breaks off is an error.
    ///
    /// # Errors
    /// [`UpstreamError::Stalled`] or [`UpstreamError::Broken`].
    pub async fn chunk(&mut self) -> Result<Option<bytes::Bytes>, UpstreamError> {
        loop {
            let asked = Instant::now();
            let frame = tokio::time::timeout(STALL, self.body.frame()).await;
            let error = match frame {
                Ok(None) => {
                    self.is_whole();
                    return Ok(None);
                }
                Ok(Some(Ok(frame))) => {
                    // Nobody has to ask once more after the last byte of an announced length.
                    if self.body.is_end_stream() {
                        self.is_whole();
                    }
                    match frame.into_data() {
                        Ok(data) if self.pace.is_too_slow(asked.elapsed(), data.len()) => {
                            UpstreamError::Stalled
                        }
                        Ok(data) => return Ok(Some(data)),
                        Err(_trailers) => continue,
                    }
                }
                Ok(Some(Err(_))) => UpstreamError::Broken("the connection broke within a body".into()),
                Err(_) => UpstreamError::Stalled,
            };
            return Err(self.upstream.learned(error, (self.way, self.is_own), 0));
        }
    }

    /// The latch learns of it now: headers alone prove nothing, for an upstream whose bodies stall sends them, too.
    pub(super) fn is_whole(&self) {
        if self.counts {
            self.upstream.inner.latch.succeeded(self.way);
        }
    }

    /// For an answer that is passed on at a client's pace: that may be slow, so its place goes to another.
    pub fn give_up_place(&mut self) {
        self.place = None;
    }
}

impl Pace {
    /// Counts the time that was spent waiting for upstream, not the time that a client took to read.
    fn is_too_slow(&mut self, waited: Duration, brought: usize) -> bool {
        self.waited += waited;
        self.brought += brought;
        if self.waited < PACE_TIME {
            return false;
        }
        let too_slow = self.brought < PACE_BYTES;
        *self = Self::default();
        too_slow
    }
}
