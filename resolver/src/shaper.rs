//! Who may send next when what all send together is limited, or what each is sent: everybody in turn.
//!
//! Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) over token buckets: of those who wait and may be sent
//! something, the one goes first that has got least; who comes new has got as much as those who were there.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use crate::bucket::Bucket;

/// What may be sent at once after a pause: so much time's worth of the rate.
const BURST_S: f64 = 0.1;
/// The largest step: what a file is read in.
const LARGEST_STEP: u64 = 128 * 1024;
/// The smallest: less would be all headers.
const SMALLEST_STEP: u64 = 1024;
/// Steps in a second, so that a slow line is not silent for long.
const STEPS: u64 = 8;

/// Whoever waits; K says to whom it is sent.
#[derive(Debug)]
pub struct Shaper<K> {
    /// Bytes a second; 0: no limit.
    of_all: u64,
    of_one: u64,
    all: Option<Bucket>,
    lanes: BTreeMap<K, Lane>,
    /// What whoever went last had got before.
    clock: u64,
}

#[derive(Debug)]
struct Lane {
    bucket: Option<Bucket>,
    waiting: VecDeque<u64>,
    /// What was sent, counted on from the clock.
    got: u64,
}

/// Who goes, and when to ask again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turns {
    /// By number, in order.
    pub go: Vec<u64>,
    /// When somebody may go who waits; `None`: nobody waits.
    pub again: Option<Duration>,
}

impl<K: Ord + Copy> Shaper<K> {
    /// So many bytes a second for all together, and for each; 0: no limit.
    #[must_use]
    pub fn new(of_all: u64, of_one: u64, now: Duration) -> Self {
        Self { of_all, of_one, all: bucket(of_all, now), lanes: BTreeMap::new(), clock: 0 }
    }

    /// What is sent in one turn, in bytes.
    #[must_use]
    pub fn step(&self) -> u64 {
        let rates = [self.of_all, self.of_one].into_iter().filter(|rate| *rate > 0);
        rates.min().map_or(LARGEST_STEP, |rate| (rate / STEPS).clamp(SMALLEST_STEP, LARGEST_STEP))
    }

    /// Number `turn` waits to send somebody one step.
    pub fn wait(&mut self, who: K, turn: u64, now: Duration) {
        let (of_one, clock) = (self.of_one, self.clock);
        let new = || Lane { bucket: bucket(of_one, now), waiting: VecDeque::new(), got: clock };
        let lane = self.lanes.entry(who).or_insert_with(new);
        if lane.waiting.is_empty() {
            lane.got = lane.got.max(clock);
        }
        lane.waiting.push_back(turn);
    }

    /// It does not wait any more.
    pub fn leave(&mut self, who: K, turn: u64) {
        if let Some(lane) = self.lanes.get_mut(&who) {
            lane.waiting.retain(|other| *other != turn);
        }
    }

    /// A step was larger than it was to be, by so many bytes, or smaller.
    pub fn correct(&mut self, who: K, more: i64, now: Duration) {
        let (of_one, clock) = (self.of_one, self.clock);
        let new = || Lane { bucket: bucket(of_one, now), waiting: VecDeque::new(), got: clock };
        self.lanes.entry(who).or_insert_with(new).spend(more, now);
        spend(&mut self.all, more, now);
    }

    /// Who goes now.
    pub fn turns(&mut self, now: Duration) -> Turns {
        let (step, mut go) = (i64::try_from(self.step()).unwrap_or(i64::MAX), Vec::new());
        while wait(self.all.as_ref(), now).is_zero() {
            let ready = self.lanes.iter_mut().filter(|(_, lane)| lane.is_ready(now));
            let Some((_, lane)) = ready.min_by_key(|(_, lane)| lane.got) else { break };
            self.clock = lane.got;
            go.extend(lane.waiting.pop_front());
            lane.spend(step, now);
            spend(&mut self.all, step, now);
        }
        // Who has got more than others may not come back as somebody new while they wait.
        let (clock, alone) = (self.clock, self.lanes.values().all(|lane| lane.waiting.is_empty()));
        self.lanes.retain(|_, lane| !lane.is_idle(now) || (lane.got > clock && !alone));
        Turns { go, again: self.again(now) }
    }

    fn again(&self, now: Duration) -> Option<Duration> {
        let waiting = self.lanes.values().filter(|lane| !lane.waiting.is_empty());
        let soonest = waiting.map(|lane| wait(lane.bucket.as_ref(), now)).min()?;
        Some(now.saturating_add(soonest.max(wait(self.all.as_ref(), now))))
    }
}

impl Lane {
    fn is_ready(&self, now: Duration) -> bool {
        !self.waiting.is_empty() && wait(self.bucket.as_ref(), now).is_zero()
    }

    fn is_idle(&self, now: Duration) -> bool {
        self.waiting.is_empty() && self.bucket.as_ref().is_none_or(|bucket| bucket.is_full(now))
    }

    fn spend(&mut self, bytes: i64, now: Duration) {
        self.got = self.got.saturating_add_signed(bytes);
        spend(&mut self.bucket, bytes, now);
    }
}

fn bucket(rate: u64, now: Duration) -> Option<Bucket> {
    // Nobody's line has so many bytes a second that a float would not hold them.
    #[allow(clippy::cast_precision_loss, reason = "see above")]
    let rate = (rate > 0).then_some(rate as f64)?;
    Some(Bucket::full(rate, rate * BURST_S, now))
}

fn spend(bucket: &mut Option<Bucket>, bytes: i64, now: Duration) {
    if let Some(bucket) = bucket {
        #[allow(clippy::cast_precision_loss, reason = "a step has not so many bytes")]
        bucket.spend(bytes as f64, now);
    }
}

fn wait(bucket: Option<&Bucket>, now: Duration) -> Duration {
    bucket.map_or(Duration::ZERO, |bucket| bucket.wait(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    /// Sends for so long to peers of which each always has so many bodies waiting; says what each has got.
    fn send(of_all: u64, of_one: u64, bodies: &[usize], seconds: u64) -> Vec<u64> {
        let mut shaper = Shaper::new(of_all, of_one, Duration::ZERO);
        let mut got = alloc::vec![0; bodies.len()];
        for (who, count) in bodies.iter().enumerate() {
            for _ in 0..*count {
                shaper.wait(who, who as u64, Duration::ZERO);
            }
        }
        let mut now = Duration::ZERO;
        while now < Duration::from_secs(seconds) {
            let turns = shaper.turns(now);
            for turn in &turns.go {
                let who = usize::try_from(*turn).unwrap();
                got[who] += shaper.step();
                shaper.wait(who, *turn, now);
            }
            if turns.go.is_empty() {
                now = turns.again.unwrap();
            }
        }
        got
    }

    #[test]
    fn all_together_and_each_get_what_the_limits_say() {
        for (of_all, of_one, bodies, expected) in [
            (MIB, 0, &[1][..], MIB),
            (MIB, 0, &[8, 1, 1], MIB),
            (0, MIB, &[1], MIB),
            (0, MIB, &[3, 1], 2 * MIB),
            (3 * MIB, MIB, &[1, 1, 1, 1, 1], 3 * MIB),
            (10 * MIB, MIB, &[1, 1], 2 * MIB),
            (20_000, 0, &[1, 1], 20_000),
        ] {
            let got: u64 = send(of_all, of_one, bodies, 20).iter().sum();
            let (wanted, slack) = (expected * 20, expected / 4 + 256 * 1024);
            assert!(got.abs_diff(wanted) <= slack, "{of_all} {of_one} {bodies:?}: {got} of {wanted}");
        }
    }

    #[test]
    fn who_has_a_hundred_bodies_waiting_gets_no_more_than_who_has_one() {
        let got = send(4 * MIB, 0, &[100, 1, 10], 20);
        let (most, least) = (got.iter().max().unwrap(), got.iter().min().unwrap());
        assert!(most - least <= 2 * LARGEST_STEP, "{got:?}");
    }

    #[test]
    fn who_comes_late_gets_his_share_and_not_what_he_has_missed() {
        let mut shaper = Shaper::new(MIB, 0, Duration::ZERO);
        let (mut now, mut got) = (Duration::ZERO, [0u64; 2]);
        shaper.wait(0, 0, now);
        while now < Duration::from_secs(20) {
            let turns = shaper.turns(now);
            for turn in &turns.go {
                got[usize::try_from(*turn).unwrap()] += 1;
                shaper.wait(*turn, *turn, now);
                if got == [80, 0] {
                    shaper.wait(1, 1, now);
                }
            }
            if turns.go.is_empty() {
                now = turns.again.unwrap();
            }
        }
        assert!((80 + 35..=80 + 45).contains(&got[0]) && got[1].abs_diff(got[0] - 80) <= 2, "{got:?}");
    }

    #[test]
    fn small_limits_are_small_steps_and_no_limits_are_no_waits() {
        assert_eq!(Shaper::<u8>::new(80_000, 0, Duration::ZERO).step(), 10_000);
        assert_eq!(Shaper::<u8>::new(8, 0, Duration::ZERO).step(), SMALLEST_STEP);
        let mut free = Shaper::new(0, 0, Duration::ZERO);
        for turn in 0..1000 {
            free.wait(1u8, turn, Duration::ZERO);
        }
        assert_eq!(free.turns(Duration::ZERO).go.len(), 1000);
        assert!(free.lanes.is_empty());
    }

    #[test]
    fn who_leaves_is_not_waited_for() {
        let mut shaper = Shaper::new(MIB, MIB, Duration::ZERO);
        shaper.wait(1u8, 7, Duration::ZERO);
        shaper.leave(1, 7);
        assert_eq!(shaper.turns(Duration::ZERO), Turns { go: Vec::new(), again: None });
        assert!(shaper.lanes.is_empty());
    }

    proptest! {
        /// Whoever comes, leaves and sends less or more than a step: what is sent keeps to both limits, and nobody
        /// waits while he could go.
        #[test]
        fn limits_hold_whatever_happens(
            events in proptest::collection::vec((0u8..4, 0u8..3, 0u64..400), 1..300),
        ) {
            let (of_all, of_one) = (MIB, MIB / 2);
            let mut shaper = Shaper::new(of_all, of_one, Duration::ZERO);
            let step = shaper.step();
            let (mut now, mut turn, mut sent) = (Duration::ZERO, 0u64, [0u64; 3]);
            let mut owners = BTreeMap::new();
            for (kind, who, ms) in events {
                match kind {
                    0 | 1 => {
                        turn += 1;
                        owners.insert(turn, who);
                        shaper.wait(who, turn, now);
                    }
                    2 => shaper.leave(who, turn),
                    _ => now += Duration::from_millis(ms),
                }
                let turns = shaper.turns(now);
                prop_assert!(turns.again.is_none_or(|again| again > now));
                for turn in turns.go {
                    let who = owners[&turn];
                    // Every third body ends with half a step.
                    let bytes = if turn % 3 == 0 { step / 2 } else { step };
                    shaper.correct(who, bytes as i64 - step as i64, now);
                    sent[usize::from(who)] += bytes;
                }
            }
            let most = |rate: u64| rate as f64 * (now.as_secs_f64() + BURST_S) + step as f64;
            prop_assert!(sent.iter().sum::<u64>() as f64 <= most(of_all));
            prop_assert!(sent.iter().all(|sent| *sent as f64 <= most(of_one)));
        }
    }
}
