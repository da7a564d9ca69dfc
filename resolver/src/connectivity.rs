//! Whether upstream can be asked: one latch for all requests, instead of a timeout for each package.
//!
//! Failures are weighed: a refused connection closes the latch at once, a single bad answer does not. While
//! it is closed, what is held is served without asking, and probes (made by `gateway`, paced here) open it
//! again. Only what is not held has to wait for a probe, or fail.

use alloc::string::String;
use core::time::Duration;

/// Points at which the latch closes.
const LIMIT: u32 = 3;
/// The wait before the first probe; doubled after each that fails.
const FIRST_PROBE: Duration = Duration::from_millis(500);
/// The longest wait between probes: how late a returned upstream may be noticed.
const LAST_PROBE: Duration = Duration::from_secs(15);
/// The wait that upstream may ask for with `Retry-After`, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long one slow answer makes us doubt upstream.
const DOUBT: Duration = Duration::from_secs(15);

/// How an attempt to reach upstream failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection: refused, no route, no such name, no TLS.
    Unreachable,
    /// Connected, but silent or stalled.
    Silent,
    /// The connection broke.
    Broken,
    /// 500 to 504.
    ServerError,
    /// 429: how long upstream wants to be left alone.
    Busy(Option<Duration>),
}

/// What a request may expect of upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// It answers.
    Up,
    /// It has been slow a moment ago: do not wait for it when there is another way.
    Doubtful,
    /// It does not answer, for this reason.
    Down(String),
    /// It must not be asked (`--offline`).
    Offline,
}

/// The latch. `now` is any clock that never goes back.
#[derive(Debug, Default)]
pub struct Connectivity {
    offline: bool,
    points: u32,
    doubtful_until: Duration,
    down: Option<Down>,
}

#[derive(Debug)]
struct Down {
    cause: String,
    probe_at: Duration,
    wait: Duration,
}

impl Connectivity {
    /// Upstream is taken to be there until it shows otherwise; `offline`: it is never asked.
    #[must_use]
    pub fn new(offline: bool) -> Self {
        Self { offline, ..Self::default() }
    }

    /// What a request may expect now.
    #[must_use]
    pub fn link(&self, now: Duration) -> Link {
        match &self.down {
            _ if self.offline => Link::Offline,
            Some(down) => Link::Down(down.cause.clone()),
            None if now < self.doubtful_until => Link::Doubtful,
            None => Link::Up,
        }
    }

    /// When upstream must be probed next; `None` while nothing needs to be known.
    #[must_use]
    pub fn probe_at(&self) -> Option<Duration> {
        self.down.as_ref().filter(|_| !self.offline).map(|down| down.probe_at)
    }

    /// Upstream has answered; says whether that opened the latch.
    pub fn succeeded(&mut self) -> bool {
        self.points = 0;
        self.doubtful_until = Duration::ZERO;
        self.down.take().is_some()
    }

    /// Somebody has waited longer than he should have to.
    pub fn overdue(&mut self, now: Duration) {
        self.doubtful_until = now + DOUBT;
    }

    /// An attempt has failed; says whether that closed the latch.
    pub fn failed(&mut self, failure: Failure, cause: &str, now: Duration) -> bool {
        let pause = match failure {
            Failure::Busy(asked) => asked.map(|pause| pause.min(LONGEST_PAUSE)),
            _ => None,
        };
        if let Some(down) = &mut self.down {
            if now >= down.probe_at {
                down.wait = (down.wait * 2).min(LAST_PROBE);
                down.probe_at = now + pause.unwrap_or(down.wait);
                down.cause = cause.into();
            }
            return false;
        }
        self.points += failure.points();
        if self.points < LIMIT {
            return false;
        }
        self.down = Some(Down {
            cause: cause.into(),
            probe_at: now + pause.unwrap_or(FIRST_PROBE),
            wait: FIRST_PROBE,
        });
        true
    }
}

impl Failure {
    fn points(self) -> u32 {
        match self {
            Self::Unreachable | Self::Busy(_) => LIMIT,
            Self::Silent => 2,
            Self::Broken | Self::ServerError => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_refused_connection_closes_the_latch_at_once_and_an_answer_opens_it() {
        let mut latch = Connectivity::new(false);
        assert!(latch.failed(Failure::Unreachable, "connection refused", s(1)));
        assert_eq!(latch.link(s(1)), Link::Down("connection refused".into()));
        assert!(latch.succeeded());
        assert_eq!(latch.link(s(2)), Link::Up);
        assert_eq!(latch.probe_at(), None);
    }

    #[test]
    fn one_bad_answer_is_not_an_outage() {
        let mut latch = Connectivity::new(false);
        assert!(!latch.failed(Failure::ServerError, "500", s(1)));
        assert!(!latch.failed(Failure::Broken, "reset", s(2)));
        assert_eq!(latch.link(s(2)), Link::Up);
        latch.succeeded();
        assert!(!latch.failed(Failure::Broken, "reset", s(3)));
        assert!(!latch.failed(Failure::Broken, "reset", s(4)));
        assert!(latch.failed(Failure::Broken, "reset", s(5)));
    }

    #[test]
    fn a_slow_answer_makes_the_next_requests_impatient_for_a_while() {
        let mut latch = Connectivity::new(false);
        latch.overdue(s(10));
        assert_eq!(latch.link(s(11)), Link::Doubtful);
        assert_eq!(latch.link(s(25)), Link::Up);
    }

    #[test]
    fn a_wait_that_upstream_asked_for_is_kept_within_bounds() {
        let mut latch = Connectivity::new(false);
        latch.failed(Failure::Busy(Some(s(30))), "429", s(0));
        assert_eq!(latch.probe_at(), Some(s(30)));
        latch.failed(Failure::Busy(Some(s(86_400))), "429", s(30));
        assert_eq!(latch.probe_at(), Some(s(90)));
    }

    #[test]
    fn offline_never_probes() {
        let mut latch = Connectivity::new(true);
        latch.failed(Failure::Unreachable, "x", s(0));
        assert_eq!((latch.link(s(1)), latch.probe_at()), (Link::Offline, None));
    }

    proptest! {
        #[test]
        fn probes_never_stop_while_down(failures in proptest::collection::vec(0u64..40, 1..50)) {
            let mut latch = Connectivity::new(false);
            let mut now = s(0);
            latch.failed(Failure::Unreachable, "x", now);
            for step in failures {
                now += s(step);
                latch.failed(Failure::Silent, "x", now);
                let at = latch.probe_at().unwrap();
                prop_assert!(at <= now + LAST_PROBE);
            }
        }
    }
}
