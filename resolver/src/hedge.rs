//! How long a peer may take before another source is asked as well.
//!
//! Two questions: does it answer (its time is what nine of ten answers took lately), and then: do its bytes come quickly enough
//! (would upstream, as it was lately, be done with the whole before the peer is done with the rest)? What upstream gave is
//! learned from every download; time is passed in as durations.

use core::time::Duration;

/// What a peer may take before any has answered.
const AT_FIRST: Duration = Duration::from_millis(30);
/// A peer never gets less than this: a shorter delay would fetch twice whenever a machine is busy for a moment. It is also what
/// a miss may become slower by.
const SHORTEST: Duration = Duration::from_millis(10);
/// And never more: peers that slowly become slower must not take the measure with them.
const LONGEST: Duration = Duration::from_millis(250);
/// A body is upstream's to be overtaken by only where it is clearly quicker: a good peer is not doubled.
const CLEARLY: f64 = 2.0;
/// However quickly the bytes come, and however many are said to come: after so long another source is asked. Nobody can know
/// that they are the right ones before the last; on a LAN 2 s are 200 MB.
const BODY: Duration = Duration::from_secs(2);
/// Likewise for one that fetches from upstream for us, at upstream's pace.
const BODY_FETCHED: Duration = Duration::from_secs(10);
/// For a peer that has a strike or is on trial, after it was to answer: so long is a body of 25 MB on a LAN, and no longer does
/// one hold a miss up that has nothing to show but a length.
const BODY_DOUBTED: Duration = Duration::from_millis(250);
/// Upstream, before it has given anything: a usual line.
const USUAL_ANSWER: Duration = Duration::from_millis(50);
const USUAL_PACE: f64 = 4e6;
/// Bodies that show how fast upstream's bytes come; of shorter ones the line's delay is all that shows.
const SHOWS_PACE: u64 = 64 * 1024;
/// What the last body counts against those before it.
const SHARE: f64 = 0.25;
/// How long a neighbour may take to fetch for us: twice what nine of ten of our own downloads took, for it has the same to
/// do, behind what others want of it; and bounds, for a quick upstream and a stalled one.
const DEADLINE_FACTOR: u32 = 2;
const DEADLINE_AT_FIRST: Duration = Duration::from_secs(1);
const SHORTEST_DEADLINE: Duration = Duration::from_millis(250);
const LONGEST_DEADLINE: Duration = Duration::from_secs(5);
/// Without another source, a peer that brings less than this is given up after [`HOPELESS_AFTER`]: what upstream is granted.
const HOPELESS_PACE: f64 = 350.0;
const HOPELESS_AFTER: Duration = Duration::from_secs(10);
/// The same for one that fetches from upstream for us.
const HOPELESS_AFTER_FETCH: Duration = Duration::from_secs(25);

/// What a peer was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// What it said that it holds.
    Held,
    /// To fetch it from upstream for us.
    Fetch,
}

/// What has come of a peer's answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SoFar {
    /// When its head came, after it was asked; `None`: not yet.
    pub head: Option<Duration>,
    /// How long the body will be, as the head says.
    pub length: u64,
    /// How much of it is here.
    pub came: u64,
}

/// What is to be done about a peer that has not given everything yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Look again so long after it was asked.
    Again(Duration),
    /// Another source is to be asked as well.
    Overdue,
}

/// What is known of how long things take.
#[derive(Debug, Clone)]
pub struct Hedge {
    /// As it is configured, instead of what is observed.
    fixed: Option<Duration>,
    answers: Times,
    upstream: Upstream,
}

#[derive(Debug, Clone, Default)]
struct Upstream {
    /// Until a body began, and until it was whole.
    answers: Times,
    wholes: Times,
    /// Bytes in a second.
    pace: Option<f64>,
}

/// The last durations of a kind.
#[derive(Debug, Clone, Default)]
struct Times {
    last: [Duration; 32],
    known: usize,
    next: usize,
}

impl Times {
    fn push(&mut self, time: Duration) {
        self.last[self.next] = time;
        self.next = (self.next + 1) % self.last.len();
        self.known = (self.known + 1).min(self.last.len());
    }

    /// So many tenths of them took no longer than this; `None` before there are enough to say so.
    fn quantile(&self, tenths: usize) -> Option<Duration> {
        if self.known < 8 {
            return None;
        }
        let mut sorted = self.last;
        let sorted = &mut sorted[..self.known];
        sorted.sort_unstable();
        sorted.get((self.known * tenths).div_ceil(10) - 1).copied()
    }
}

impl Hedge {
    /// Nothing is known. `fixed`: what a peer may take, whatever is observed.
    #[must_use]
    pub fn new(fixed: Option<Duration>) -> Self {
        Self { fixed, answers: Times::default(), upstream: Upstream::default() }
    }

    /// A peer has begun to answer, so long after it was asked for what it holds.
    pub fn answered(&mut self, after: Duration) {
        self.answers.push(after);
    }

    /// Upstream has given so many bytes: the first came after `head`, the last after `whole`.
    pub fn upstream_gave(&mut self, bytes: u64, head: Duration, whole: Duration) {
        let upstream = &mut self.upstream;
        upstream.answers.push(head);
        upstream.wholes.push(whole);
        let took = whole.saturating_sub(head).as_secs_f64();
        if bytes >= SHOWS_PACE && took > 0.0 {
            let pace = real(bytes) / took;
            let before = upstream.pace.unwrap_or(pace);
            upstream.pace = Some(before + (pace - before) * SHARE);
        }
    }

    /// What a peer may take until it answers: what nine of ten answers took lately, but no longer than upstream itself
    /// usually takes: a peer that is no quicker is of no use.
    #[must_use]
    pub fn delay(&self) -> Duration {
        if let Some(fixed) = self.fixed {
            return fixed;
        }
        let usual = self.upstream.wholes.quantile(5).unwrap_or(AT_FIRST);
        let most = usual.clamp(AT_FIRST, LONGEST);
        self.answers.quantile(9).unwrap_or(AT_FIRST).clamp(SHORTEST, most)
    }

    /// How long a neighbour may take that fetches something for us.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        let usual = self.upstream.wholes.quantile(9).map(|took| took * DEADLINE_FACTOR);
        let usual = usual.unwrap_or(DEADLINE_AT_FIRST).clamp(SHORTEST_DEADLINE, LONGEST_DEADLINE);
        usual.max(self.delay())
    }

    /// What upstream would take for so many bytes, as it was lately.
    #[must_use]
    pub fn upstream_takes(&self, bytes: u64) -> Duration {
        let answer = self.upstream.answers.quantile(5).unwrap_or(USUAL_ANSWER);
        let seconds = real(bytes) / self.upstream.pace.unwrap_or(USUAL_PACE);
        answer + Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 2)
    }

    /// Looks at a peer that was asked `elapsed` ago and has given `so_far`. `is_doubted`: it has a strike, or is on trial.
    #[must_use]
    pub fn look(&self, errand: Errand, elapsed: Duration, so_far: &SoFar, is_doubted: bool) -> Look {
        let (delay, longest) = match errand {
            Errand::Held => (self.delay(), BODY),
            Errand::Fetch => (self.deadline(), BODY_FETCHED),
        };
        let longest = if is_doubted { longest.min(delay + BODY_DOUBTED) } else { longest };
        let longest = longest.max(self.fixed.unwrap_or_default());
        let Some(head) = so_far.head else {
            return if elapsed < delay { Look::Again(delay) } else { Look::Overdue };
        };
        // A body that has just begun shows no pace yet.
        let step = self.delay() / 2;
        let judged = delay.max(head + step);
        if elapsed < judged {
            return Look::Again(judged);
        }
        if elapsed >= longest || self.is_overtaken(elapsed.saturating_sub(head), so_far) {
            return Look::Overdue;
        }
        Look::Again((elapsed + step.max(SHORTEST)).min(longest))
    }

    /// Upstream would have given the whole, clearly before the peer gives the rest.
    fn is_overtaken(&self, took: Duration, so_far: &SoFar) -> bool {
        let pace = real(so_far.came) / took.as_secs_f64().max(0.001);
        let rest = real(so_far.length.saturating_sub(so_far.came)) / pace.max(1e-9);
        rest > self.upstream_takes(so_far.length).as_secs_f64() * CLEARLY
    }
}

/// Whether a peer is to be given up although there is nobody else: it is silent, or trickles.
#[must_use]
pub fn is_hopeless(errand: Errand, elapsed: Duration, so_far: &SoFar) -> bool {
    let patience = match errand {
        Errand::Held => HOPELESS_AFTER,
        Errand::Fetch => HOPELESS_AFTER_FETCH,
    };
    // What it took to answer is granted once.
    let granted = patience + so_far.head.unwrap_or_default();
    let owed = elapsed.saturating_sub(granted).as_secs_f64() * HOPELESS_PACE;
    elapsed >= patience && (so_far.head.is_none() || owed > real(so_far.came))
}

#[allow(clippy::cast_precision_loss, reason = "sizes of tarballs are far below 2^53")]
fn real(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn observed(answers: u64, upstream: u64) -> Hedge {
        let mut hedge = Hedge::new(None);
        for _ in 0..32 {
            hedge.answered(MS(answers));
            // 10 MB/s.
            hedge.upstream_gave(1_000_000, MS(upstream), MS(upstream + 100));
        }
        hedge
    }

    fn body(head: u64, length: u64, came: u64) -> SoFar {
        SoFar { head: Some(MS(head)), length, came }
    }

    /// How long a peer of this pace (bytes in a ms) is left alone with a body, its head being there after 2 ms; `None`: to
    /// its end.
    fn alone(hedge: &Hedge, length: u64, pace: u64) -> Option<Duration> {
        let mut elapsed = Duration::ZERO;
        loop {
            let ms = u64::try_from(elapsed.as_millis()).unwrap().saturating_sub(2);
            let came = (ms * pace).min(length);
            let so_far = if ms == 0 { SoFar::default() } else { body(2, length, came) };
            if came == length {
                return None;
            }
            match hedge.look(Errand::Held, elapsed, &so_far, false) {
                Look::Overdue => return Some(elapsed),
                Look::Again(at) => elapsed = at,
            }
        }
    }

    #[test]
    fn a_silent_peer_costs_30_ms_at_first_and_then_what_nine_of_ten_took() {
        assert_eq!(Hedge::new(None).delay(), MS(30));
        assert_eq!(observed(12, 40).delay(), MS(12));
        let silent = SoFar::default();
        assert_eq!(observed(12, 40).look(Errand::Held, MS(11), &silent, false), Look::Again(MS(12)));
        assert_eq!(observed(12, 40).look(Errand::Held, MS(12), &silent, false), Look::Overdue);
        let mut mixed = Hedge::new(None);
        (0..32).for_each(|nth| mixed.answered(if nth % 16 == 0 { MS(200) } else { MS(20) }));
        assert_eq!(mixed.delay(), MS(20), "two of 32 do not count");
    }

    #[test]
    fn the_operators_delay_counts_whatever_is_observed() {
        let mut hedge = observed(12, 40);
        hedge.fixed = Some(MS(5000));
        assert_eq!((hedge.delay(), hedge.deadline()), (MS(5000), MS(5000)));
        let slow = body(10, 1_000_000, 10);
        assert_eq!(hedge.look(Errand::Held, MS(4999), &slow, false), Look::Again(MS(5000)));
    }

    #[test]
    fn a_slow_peer_is_overtaken_and_a_good_one_is_not_doubled() {
        for hedge in [Hedge::new(None), observed(2, 20)] {
            for length in [50_000, 300_000, 5_000_000] {
                let slow = alone(&hedge, length, 100).expect("100 kB/s are too slow");
                assert!(slow <= MS(50), "{slow:?}");
                assert_eq!(alone(&hedge, length, 50_000), None, "50 MB/s");
                assert_eq!(alone(&hedge, length, 11_000), None, "a LAN of 100 Mbit/s");
            }
        }
    }

    #[test]
    fn what_a_peer_says_of_the_length_keeps_nobody_waiting() {
        let hedge = observed(2, 20);
        assert_eq!(alone(&hedge, 2 << 30, 100_000), Some(BODY));
        assert!(alone(&hedge, 2 << 30, 1000).unwrap() < MS(50));
    }

    #[test]
    fn one_that_is_doubted_holds_a_miss_up_for_a_quarter_of_a_second() {
        let (hedge, quick) = (observed(2, 20), body(2, 2 << 30, 50_000_000));
        let delay = hedge.delay();
        assert_eq!(hedge.look(Errand::Held, delay + MS(250), &quick, true), Look::Overdue);
        assert!(matches!(hedge.look(Errand::Held, delay + MS(250), &quick, false), Look::Again(_)));
        assert!(
            matches!(hedge.look(Errand::Held, MS(100), &quick, true), Look::Again(at) if at <= delay + MS(250))
        );
    }

    #[test]
    fn whoever_fetches_for_others_has_twice_the_time_that_it_took_us_lately() {
        assert_eq!(Hedge::new(None).deadline(), DEADLINE_AT_FIRST);
        assert_eq!(observed(2, 300).deadline(), MS(800));
        assert_eq!(observed(2, 1).deadline(), SHORTEST_DEADLINE);
        assert_eq!(observed(2, 60_000).deadline(), LONGEST_DEADLINE);
        let fetching = SoFar::default();
        assert_eq!(observed(2, 300).look(Errand::Fetch, MS(100), &fetching, false), Look::Again(MS(800)));
        assert_eq!(observed(2, 300).look(Errand::Fetch, MS(800), &fetching, false), Look::Overdue);
        // At upstream's own pace its body may come.
        assert!(matches!(
            observed(2, 300).look(Errand::Fetch, MS(1800), &body(300, 30_000_000, 15_000_000), false),
            Look::Again(_)
        ));
    }

    #[test]
    fn who_is_alone_is_given_up_when_it_is_silent_or_trickles() {
        let silent = SoFar::default();
        assert!(!is_hopeless(Errand::Held, MS(9_999), &silent));
        assert!(is_hopeless(Errand::Held, MS(10_000), &silent));
        assert!(!is_hopeless(Errand::Fetch, MS(10_000), &silent));
        assert!(is_hopeless(Errand::Fetch, MS(25_000), &silent));
        assert!(!is_hopeless(Errand::Held, MS(20_000), &body(2, 1 << 20, 10_000)));
        assert!(is_hopeless(Errand::Held, MS(20_000), &body(2, 1 << 20, 100)));
    }

    proptest! {
        /// Whatever peers did before.
        #[test]
        fn no_peer_costs_more_than_upstream_usually_takes(
            answers in proptest::collection::vec(0u64..10_000, 0..100),
            upstream in proptest::collection::vec((0u64..2000, 0u64..2000), 0..100),
        ) {
            let mut hedge = Hedge::new(None);
            answers.iter().for_each(|ms| hedge.answered(MS(*ms)));
            upstream.iter().for_each(|(head, rest)| hedge.upstream_gave(1000, MS(*head), MS(head + rest)));
            let delay = hedge.delay();
            prop_assert!((SHORTEST..=LONGEST).contains(&delay));
            let usual = hedge.upstream.wholes.quantile(5).unwrap_or(AT_FIRST);
            prop_assert!(delay <= usual.max(AT_FIRST));
        }

        /// Every look is later than the one before, and at the end there is one.
        #[test]
        fn every_peer_is_overdue_in_the_end(
            head in 0u64..100,
            length in 1u64..1 << 32,
            pace in 0u64..1_000_000,
            fetch: bool,
            doubted: bool,
        ) {
            let hedge = Hedge::new(None);
            let errand = if fetch { Errand::Fetch } else { Errand::Held };
            let (mut elapsed, mut looks) = (Duration::ZERO, 0);
            loop {
                let ms = u64::try_from(elapsed.as_millis()).unwrap();
                let came = ms.saturating_sub(head).saturating_mul(pace).min(length - 1);
                let so_far = if ms < head { SoFar::default() } else { body(head, length, came) };
                match hedge.look(errand, elapsed, &so_far, doubted) {
                    Look::Overdue => break,
                    Look::Again(at) => {
                        prop_assert!(at > elapsed);
                        elapsed = at;
                    }
                }
                looks += 1;
                prop_assert!(looks < 2000);
            }
            prop_assert!(elapsed <= BODY_FETCHED + MS(30));
        }
    }
}
