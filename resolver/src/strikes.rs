//! Whether a peer may be asked for tarballs: three strikes and it is out, for a while at first and then for longer; one trial
//! request brings it back. Who gave wrong bytes is out at once.
//!
//! A strike is not taken back by the next success: a peer that fails every other time would never be out. Time is passed in,
//! as the time since the start.

use core::time::Duration;

/// Strikes until a peer is out.
const OUT: u8 = 3;
/// For how long, the first time, the second, and so on: soon enough after a short trouble, and seldom enough in a long one that
/// trials are far fewer than one miss in a hundred.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(60 * 60),
];
/// For wrong bytes, which no trouble explains, as long as the quarantine of `peers`; after that, until the next start.
const FOR_WRONG_BYTES: [Duration; 3] =
    [Duration::from_secs(3600), Duration::from_secs(6 * 3600), Duration::from_secs(24 * 3600)];
/// Successes in a row that take back one strike: an honest peer evicts now and then what it has just announced.
const FORGIVING: u8 = 16;
/// Without a strike for so long, all are forgotten; wrong bytes never are.
const FORGOTTEN: Duration = Duration::from_secs(30 * 60);

/// What a peer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It did not answer in time, or broke off, or refused.
    Unanswered,
    /// Its bytes came so slowly that another source was quicker.
    TooSlow,
    /// It had not what it said it had.
    FalseInventory,
    /// Its bytes had another digest.
    WrongBytes,
}

/// Whether a peer may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fitness {
    /// Yes.
    Fit,
    /// Once, to see whether it has become better.
    Trial,
    /// Not before this time; `None`: not any more.
    Out(Option<Duration>),
    /// A trial is under way.
    OnTrial,
}

/// What is remembered of one peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Strikes {
    strikes: u8,
    /// Successes in a row.
    good: u8,
    /// Times that it was out, and that it gave wrong bytes.
    outs: u8,
    crimes: u8,
    state: State,
    /// When it was struck last.
    last: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    In,
    Out {
        until: Option<Duration>,
    },
    OnTrial,
}

impl Strikes {
    /// Whether it may be asked now.
    #[must_use]
    pub fn fitness(&self, now: Duration) -> Fitness {
        match self.state {
            State::In => Fitness::Fit,
            State::OnTrial => Fitness::OnTrial,
            State::Out { until: Some(until) } if now >= until => Fitness::Trial,
            State::Out { until } => Fitness::Out(until),
        }
    }

    /// When it was struck last.
    #[must_use]
    pub fn last(&self) -> Option<Duration> {
        self.last
    }

    /// Strikes that count now.
    #[must_use]
    pub fn count(&self) -> u8 {
        self.strikes
    }

    /// It has a strike, or is on trial: what it promises is not to be waited for as what others promise.
    #[must_use]
    pub fn is_doubted(&self) -> bool {
        self.strikes > 0 || self.state == State::OnTrial
    }

    /// Nothing is held against it.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.strikes == 0 && self.outs == 0 && self.crimes == 0
    }

    /// It is asked. One that was out is on trial from now on.
    pub fn ask(&mut self, now: Duration) {
        if self.fitness(now) == Fitness::Trial {
            self.state = State::OnTrial;
        }
    }

    /// It was asked, and nobody waited for its answer: a trial that has shown nothing is made again.
    pub fn left(&mut self, now: Duration) {
        if self.state == State::OnTrial {
            self.state = State::Out { until: Some(now) };
        }
    }

    /// It gave the right bytes in time.
    pub fn served(&mut self, now: Duration) {
        match self.state {
            // What was on its way before.
            State::Out { .. } => return,
            State::OnTrial => {
                self.state = State::In;
                self.strikes = OUT - 1;
                self.good = 0;
            }
            State::In => {}
        }
        if self.last.is_some_and(|last| now.saturating_sub(last) >= FORGOTTEN) {
            (self.strikes, self.outs) = (0, 0);
        }
        self.good += 1;
        if self.good >= FORGIVING {
            self.good = 0;
            self.strikes = self.strikes.saturating_sub(1);
        }
    }

    /// It did something wrong with a request that was `asked` then. True when it is out for that from now on.
    ///
    /// Of all requests that were under way at one moment the first counts: an install makes fifty at once, and a peer that
    /// stops for that moment has stopped once.
    pub fn strike(&mut self, fault: Fault, asked: Duration, now: Duration) -> bool {
        if fault == Fault::WrongBytes {
            return self.convict(now);
        }
        let is_counted = self.last.is_some_and(|last| asked <= last);
        if is_counted || matches!(self.state, State::Out { .. }) {
            return false;
        }
        self.strikes += 1;
        self.good = 0;
        self.last = Some(now);
        if self.state != State::OnTrial && self.strikes < OUT {
            return false;
        }
        let pause = PAUSES[usize::from(self.outs).min(PAUSES.len() - 1)];
        self.outs = self.outs.saturating_add(1);
        self.strikes = 0;
        self.state = State::Out { until: Some(now + pause) };
        true
    }

    fn convict(&mut self, now: Duration) -> bool {
        let until = FOR_WRONG_BYTES.get(usize::from(self.crimes)).map(|pause| now + *pause);
        self.crimes = self.crimes.saturating_add(1);
        (self.strikes, self.good, self.last) = (0, 0, Some(now));
        self.state = State::Out { until };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const MS: Duration = Duration::from_millis(1);

    /// A strike for a request that took no time.
    fn strike(strikes: &mut Strikes, fault: Fault, now: Duration) -> bool {
        strikes.strike(fault, now, now)
    }

    fn out_at(now: Duration) -> Strikes {
        let mut strikes = Strikes::default();
        let struck: Vec<_> = [2, 1, 0]
            .map(|before| strike(&mut strikes, Fault::Unanswered, now + MS * 2 - MS * before))
            .into();
        assert_eq!(struck, [false, false, true]);
        Strikes { last: Some(now), state: State::Out { until: Some(now + PAUSES[0]) }, ..strikes }
    }

    #[test]
    fn what_was_under_way_at_one_moment_is_one_strike() {
        let mut strikes = Strikes::default();
        (0..50).for_each(|_| _ = strikes.strike(Fault::Unanswered, S(1), S(2)));
        assert_eq!((strikes.fitness(S(2)), strikes.count()), (Fitness::Fit, 1));
        assert!(!strikes.strike(Fault::Unanswered, S(3), S(4)));
        assert!(strikes.strike(Fault::Unanswered, S(5), S(6)));
    }

    #[test]
    fn three_strikes_and_a_peer_is_out_until_one_trial_has_gone_well() {
        let mut strikes = out_at(S(0));
        assert_eq!(strikes.fitness(S(9)), Fitness::Out(Some(S(10))));
        assert_eq!(strikes.fitness(S(10)), Fitness::Trial);
        strikes.ask(S(10));
        assert_eq!(strikes.fitness(S(10)), Fitness::OnTrial, "one at a time");
        assert!(strikes.is_doubted());
        strikes.served(S(11));
        assert_eq!(strikes.fitness(S(11)), Fitness::Fit);
        assert!(strike(&mut strikes, Fault::TooSlow, S(12)), "the next strike puts it out again");
        assert_eq!(strikes.fitness(S(71)), Fitness::Out(Some(S(72))), "and for longer");
    }

    #[test]
    fn a_trial_that_fails_puts_a_peer_out_for_longer_and_longer() {
        let (mut strikes, mut now) = (out_at(S(0)), S(10));
        for pause in [60, 600, 3600, 3600] {
            strikes.ask(now);
            assert!(strike(&mut strikes, Fault::Unanswered, now));
            assert_eq!(strikes.fitness(now), Fitness::Out(Some(now + S(pause))));
            now += S(pause);
        }
    }

    #[test]
    fn a_trial_that_nobody_waited_for_is_made_again() {
        let mut strikes = out_at(S(0));
        strikes.ask(S(10));
        strikes.left(S(11));
        assert_eq!(strikes.fitness(S(11)), Fitness::Trial);
    }

    #[test]
    fn wrong_bytes_put_a_peer_out_at_once_and_the_fourth_time_for_good() {
        let (mut strikes, mut now) = (Strikes::default(), S(0));
        for pause in [3600, 6 * 3600, 24 * 3600] {
            assert!(strike(&mut strikes, Fault::WrongBytes, now));
            assert_eq!(strikes.fitness(now), Fitness::Out(Some(now + S(pause))));
            now += S(pause);
        }
        strike(&mut strikes, Fault::WrongBytes, now);
        assert_eq!(strikes.fitness(now + S(1_000_000)), Fitness::Out(None));
    }

    #[test]
    fn what_an_honest_peer_has_just_evicted_is_forgiven() {
        let mut strikes = Strikes::default();
        for second in 0..100 {
            assert!(!strike(&mut strikes, Fault::FalseInventory, S(second)));
            (0..32).for_each(|_| strikes.served(S(second)));
        }
        assert!(strikes.fitness(S(100)) == Fitness::Fit && strikes.count() == 0);
        assert!(strikes.is_clean());
    }

    #[test]
    fn an_hour_without_a_strike_and_the_next_pause_is_short_again() {
        let mut strikes = out_at(S(0));
        strikes.ask(S(10));
        strikes.served(S(10));
        strikes.served(S(3600));
        assert!(strikes.is_clean());
    }

    proptest! {
        /// However often it succeeds in between.
        #[test]
        fn who_fails_every_other_time_is_out_soon(between in 1u8..8) {
            let (mut strikes, mut failures) = (Strikes::default(), 0);
            while strikes.fitness(S(failures)) == Fitness::Fit {
                failures += 1;
                (0..between).for_each(|_| strikes.served(S(failures)));
                strike(&mut strikes, Fault::Unanswered, S(failures));
                prop_assert!(failures <= 3);
            }
        }

        /// In an hour a peer that never answers is asked at most eight times, whoever asks and how often.
        #[test]
        fn a_dead_peer_costs_few_requests(pauses in proptest::collection::vec(1u64..20_000, 600)) {
            let (mut strikes, mut asked, mut now) = (Strikes::default(), 0, Duration::ZERO);
            for pause in pauses {
                now += Duration::from_millis(pause);
                if now > S(3600) {
                    break;
                }
                if matches!(strikes.fitness(now), Fitness::Fit | Fitness::Trial) {
                    asked += 1;
                    strikes.ask(now);
                    strike(&mut strikes, Fault::Unanswered, now);
                }
            }
            prop_assert!(asked <= 8, "{asked}");
        }

        #[test]
        fn whatever_happens_wrong_bytes_are_never_forgotten(events in proptest::collection::vec(0u8..5, 0..200)) {
            let (mut strikes, mut now) = (Strikes::default(), Duration::ZERO);
            strike(&mut strikes, Fault::WrongBytes, now);
            for event in events {
                now += S(100);
                match event {
                    0 => strikes.ask(now),
                    1 => strikes.left(now),
                    2 => strikes.served(now),
                    3 => _ = strike(&mut strikes, Fault::TooSlow, now),
                    _ => now += S(10_000),
                }
            }
            prop_assert!(!strikes.is_clean());
        }
    }
}
