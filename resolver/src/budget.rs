//! What a peer may ask of us: who floods, asks for what does not exist, or sends garbage is slowed, then cut.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::bucket::Bucket;

/// Whoever is counted at all: more than a gateway is connected to, and an office of addresses besides. A few hundred
/// bytes each.
const MOST: usize = 4096;
/// The longest that one answer is held back: a slow answer is to slow a flood, not to look like a dead gateway.
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// How long somebody is cut off for the first time; each time that follows within [`REMEMBERED`] is twice as long.
const CUT: Duration = Duration::from_secs(5 * 60);
/// The longest.
const LONGEST_CUT: Duration = Duration::from_secs(60 * 60);
/// How long it is remembered that somebody was cut off.
const REMEMBERED: Duration = Duration::from_secs(2 * 60 * 60);

/// How much of one kind is nobody's concern, and how much is too much.
#[derive(Debug, Clone, Copy)]
struct Limit {
    /// In a second, for ever.
    rate: f64,
    /// At once.
    burst: f64,
    /// Beyond the burst: slowed up to here, then cut.
    grace: f64,
}

/// A project of 1,500 packages is 1,500 requests, and a peer that installs for a class of thirty asks for each package
/// once. So six large projects at once are nobody's concern. 500 requests a second are a twentieth of what one processor
/// answers. Who is slowed and waits for his answers is never cut: only who leaves them and comes again.
const REQUESTS: Limit = Limit { rate: 500.0, burst: 10_000.0, grace: 10_000.0 };
/// Of 1,500 packages that we do not hold an inventory of a million fingerprints seems to have one, and of the
/// tarballs that are evicted few are asked for before that is told (a tenth of a second). So a hundred is already strange.
const MISSES: Limit = Limit { rate: 5.0, burst: 500.0, grace: 500.0 };
/// No version of any gateway sends it; a broken disk or cable may, once.
const GARBAGE: Limit = Limit { rate: 1.0 / 60.0, burst: 5.0, grace: 0.0 };

/// Asking whether something is held is no claim that it is, as a request for it is: it costs so much of a miss.
const OF_A_QUESTION: f64 = 0.1;

/// What somebody has done, besides asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offence {
    /// Asked for what is not there.
    Miss,
    /// Asked whether something is there that is not.
    Question,
    /// Sent what nobody sends.
    Garbage,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered.
    Pass,
    /// It is answered after so long.
    Slow(Duration),
    /// Its sender gets nothing from now on for so long.
    Cut(Duration),
    /// Its sender still gets nothing for so long.
    Barred(Duration),
}

/// What everybody has left.
#[derive(Debug, Clone)]
pub struct Budgets<K> {
    ledgers: BTreeMap<K, Ledger>,
}

#[derive(Debug, Clone)]
struct Ledger {
    requests: Bucket,
    misses: Bucket,
    garbage: Bucket,
    /// When the last cut ends, or has ended.
    until: Option<Duration>,
    /// How often there was one.
    cuts: u32,
}

impl<K: Ord + Copy> Default for Budgets<K> {
    fn default() -> Self {
        Self { ledgers: BTreeMap::new() }
    }
}

impl<K: Ord + Copy> Budgets<K> {
    /// A request has come.
    pub fn ask(&mut self, who: K, now: Duration) -> Verdict {
        let ledger = self.ledger(who, now);
        if let Some(left) = ledger.left(now) {
            return Verdict::Barred(left);
        }
        ledger.requests.spend(1.0, now);
        if ledger.requests.debt(now) > REQUESTS.grace {
            return Verdict::Cut(ledger.cut(now));
        }
        let delay = ledger.requests.wait(now).max(ledger.misses.wait(now)).min(LONGEST_DELAY);
        if delay.is_zero() { Verdict::Pass } else { Verdict::Slow(delay) }
    }

    /// Somebody has done something; says for how long he is cut off, if he is from now on.
    pub fn note(&mut self, who: K, offence: Offence, now: Duration) -> Option<Duration> {
        let ledger = self.ledger(who, now);
        if ledger.left(now).is_some() {
            return None;
        }
        match offence {
            Offence::Miss => ledger.misses.spend(1.0, now),
            Offence::Question => ledger.misses.spend(OF_A_QUESTION, now),
            Offence::Garbage => ledger.garbage.spend(1.0, now),
        }
        let too_much = ledger.misses.debt(now) > MISSES.grace || ledger.garbage.debt(now) > GARBAGE.grace;
        too_much.then(|| ledger.cut(now))
    }

    fn ledger(&mut self, who: K, now: Duration) -> &mut Ledger {
        if self.ledgers.len() >= MOST && !self.ledgers.contains_key(&who) {
            self.make_room(now);
        }
        self.ledgers.entry(who).or_insert_with(|| Ledger::new(now))
    }

    /// Who has all of his budget is as good as not known. When everybody has done something, whoever has done least is
    /// forgotten.
    fn make_room(&mut self, now: Duration) {
        self.ledgers.retain(|_, ledger| !ledger.is_forgotten(now));
        if self.ledgers.len() < MOST {
            return;
        }
        let least =
            self.ledgers.iter().min_by(|(_, one), (_, other)| one.guilt(now).total_cmp(&other.guilt(now)));
        if let Some(who) = least.map(|(who, _)| *who) {
            self.ledgers.remove(&who);
        }
    }
}

impl Ledger {
    fn new(now: Duration) -> Self {
        let full = |limit: Limit| Bucket::full(limit.rate, limit.burst, now);
        Self { requests: full(REQUESTS), misses: full(MISSES), garbage: full(GARBAGE), until: None, cuts: 0 }
    }

    /// How long he is still cut off.
    fn left(&self, now: Duration) -> Option<Duration> {
        self.until.and_then(|until| until.checked_sub(now)).filter(|left| !left.is_zero())
    }

    fn cut(&mut self, now: Duration) -> Duration {
        if self.until.is_some_and(|until| now.saturating_sub(until) > REMEMBERED) {
            self.cuts = 0;
        }
        let pause = CUT.saturating_mul(1 << self.cuts.min(8)).min(LONGEST_CUT);
        let cuts = self.cuts + 1;
        *self = Self { until: Some(now + pause), cuts, ..Self::new(now) };
        pause
    }

    fn is_forgotten(&self, now: Duration) -> bool {
        let clean = [&self.requests, &self.misses, &self.garbage].iter().all(|bucket| bucket.is_full(now));
        clean && self.until.is_none_or(|until| now.saturating_sub(until) > REMEMBERED)
    }

    /// The larger, the worse.
    fn guilt(&self, now: Duration) -> f64 {
        let cut = self.left(now).map_or(0.0, |left| left.as_secs_f64());
        cut + f64::from(self.cuts)
            + self.misses.debt(now) / MISSES.grace
            + self.requests.debt(now) / REQUESTS.grace
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Six projects of 1,500 packages at once, of which we have told of one in four thousand wrongly.
    #[test]
    fn an_honest_peer_is_never_slowed() {
        let mut budgets = Budgets::default();
        for nth in 0..9_000u32 {
            let now = Duration::from_micros(u64::from(nth) * 100);
            assert_eq!(budgets.ask(1, now), Verdict::Pass, "request {nth}");
            if nth % 4000 == 0 {
                assert_eq!(budgets.note(1, Offence::Miss, now), None);
            }
        }
        // Without an inventory each of 1,500 packages is asked about.
        let mut budgets = Budgets::default();
        for _ in 0..1500 {
            assert_eq!(budgets.ask(1, SECOND), Verdict::Pass);
            assert_eq!(budgets.note(1, Offence::Question, SECOND), None);
        }
        assert_eq!(budgets.ask(1, SECOND), Verdict::Pass);
    }

    #[test]
    fn who_floods_is_slowed_and_then_cut_and_nobody_else_is() {
        let mut budgets = Budgets::default();
        let verdicts: Vec<_> = (0..20_001).map(|_| budgets.ask(1, SECOND)).collect();
        assert!(verdicts[..10_000].iter().all(|verdict| *verdict == Verdict::Pass));
        let slowed = &verdicts[10_000..20_000];
        assert!(
            slowed.iter().all(|verdict| matches!(verdict, Verdict::Slow(delay) if *delay <= LONGEST_DELAY))
        );
        assert_eq!(verdicts[20_000], Verdict::Cut(CUT));
        assert_eq!(budgets.ask(2, SECOND), Verdict::Pass);
    }

    #[test]
    fn who_waits_for_his_answers_is_slowed_and_never_cut() {
        let (mut budgets, mut now) = (Budgets::default(), Duration::ZERO);
        // As many at a time as a peer may have streams.
        for _ in 0..10_000 {
            let slowest = (0..128).map(|_| match budgets.ask(1, now) {
                Verdict::Pass => Duration::ZERO,
                Verdict::Slow(delay) => delay,
                Verdict::Cut(_) | Verdict::Barred(_) => panic!("cut off after {now:?}"),
            });
            now += slowest.max().unwrap();
        }
        let rate = 1_280_000.0 / now.as_secs_f64();
        assert!((495.0..550.0).contains(&rate), "{rate} requests a second");
    }

    #[test]
    fn who_asks_for_what_does_not_exist_is_slowed_and_then_cut() {
        let mut budgets = Budgets::default();
        let cut = (0..2000).position(|_| budgets.note(1, Offence::Miss, SECOND).is_some());
        assert_eq!(cut, Some(1000));
        let mut budgets = Budgets::default();
        for _ in 0..510 {
            assert_eq!(budgets.note(1, Offence::Miss, SECOND), None);
        }
        assert_eq!(budgets.ask(1, SECOND), Verdict::Slow(Duration::from_secs(2)));
    }

    #[test]
    fn garbage_is_forgiven_a_few_times() {
        let mut budgets = Budgets::default();
        let cut = (0..10).position(|_| budgets.note(1, Offence::Garbage, SECOND).is_some());
        assert_eq!(cut, Some(5));
        let mut budgets = Budgets::default();
        let once_in_two_minutes = (0..1000).map(|n| Duration::from_secs(120) * n);
        assert!(
            once_in_two_minutes.map(|now| budgets.note(1, Offence::Garbage, now)).all(|cut| cut.is_none())
        );
    }

    #[test]
    fn who_does_it_again_is_cut_for_longer_and_after_a_while_all_is_forgiven() {
        let (mut budgets, mut now, mut pauses) = (Budgets::default(), SECOND, Vec::new());
        for _ in 0..6 {
            let pause = (0..10).find_map(|_| budgets.note(1, Offence::Garbage, now)).unwrap();
            assert_eq!(budgets.ask(1, now + pause - SECOND), Verdict::Barred(SECOND));
            now += pause;
            assert_eq!(budgets.ask(1, now), Verdict::Pass);
            pauses.push(pause.as_secs() / 60);
        }
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
        now += REMEMBERED + SECOND;
        assert_eq!((0..10).find_map(|_| budgets.note(1, Offence::Garbage, now)), Some(CUT));
    }

    #[test]
    fn however_many_come_the_table_is_bounded_and_who_is_cut_stays_in_it() {
        let mut budgets = Budgets::default();
        for _ in 0..6 {
            budgets.note(0u32, Offence::Garbage, SECOND);
        }
        for who in 1..20_000u32 {
            budgets.ask(who, SECOND);
        }
        assert_eq!(budgets.ledgers.len(), MOST);
        assert!(matches!(budgets.ask(0, SECOND), Verdict::Barred(_)));
    }

    proptest! {
        #[test]
        fn whatever_is_done_a_pause_ends(
            events in proptest::collection::vec((0u8..4, 0u64..10_000), 0..300),
        ) {
            let (mut budgets, mut now) = (Budgets::default(), Duration::ZERO);
            for (kind, ms) in events {
                now += Duration::from_millis(ms);
                let pause = match kind {
                    0 => match budgets.ask(1u8, now) {
                        Verdict::Pass => None,
                        Verdict::Slow(delay) | Verdict::Cut(delay) | Verdict::Barred(delay) => Some(delay),
                    },
                    1 => budgets.note(1, Offence::Miss, now),
                    2 => budgets.note(1, Offence::Question, now),
                    _ => budgets.note(1, Offence::Garbage, now),
                };
                prop_assert!(pause.is_none_or(|pause| !pause.is_zero() && pause <= LONGEST_CUT));
            }
            prop_assert_eq!(budgets.ask(1, now + LONGEST_CUT + Duration::from_secs(20)), Verdict::Pass);
        }
    }
}
