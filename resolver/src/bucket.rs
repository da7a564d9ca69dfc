//! A token bucket: what comes in at a rate, is kept up to a burst, and may be spent beforehand.

use core::time::Duration;

/// Tokens of one kind, at one moment. Who spends what is not there has a debt, and waits until it is paid.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// Tokens in a second.
    rate: f64,
    /// What is kept of them.
    burst: f64,
    /// What is there; below nothing: a debt.
    level: f64,
    /// When that was so.
    at: Duration,
}

impl Bucket {
    /// A full one: `rate` tokens come in a second, and `burst` are kept. Both are above nothing.
    #[must_use]
    pub fn full(rate: f64, burst: f64, now: Duration) -> Self {
        Self { rate, burst, level: burst, at: now }
    }

    /// Takes tokens, whether they are there or not; fewer than nothing puts some back.
    pub fn spend(&mut self, tokens: f64, now: Duration) {
        self.refill(now);
        self.level = (self.level - tokens).min(self.burst);
    }

    /// Takes all that is there.
    pub fn empty(&mut self, now: Duration) {
        self.refill(now);
        self.level = self.level.min(0.0);
    }

    /// What is missing.
    #[must_use]
    pub fn debt(&self, now: Duration) -> f64 {
        (-self.level_at(now)).max(0.0)
    }

    /// Whether all is there that is kept.
    #[must_use]
    pub fn is_full(&self, now: Duration) -> bool {
        self.level_at(now) >= self.burst
    }

    /// How long until there is no debt; nothing: there is none.
    #[must_use]
    pub fn wait(&self, now: Duration) -> Duration {
        // A debt that takes longer than a clock goes is never paid.
        Duration::try_from_secs_f64(self.debt(now) / self.rate).unwrap_or(Duration::MAX)
    }

    fn refill(&mut self, now: Duration) {
        self.level = self.level_at(now);
        self.at = self.at.max(now);
    }

    fn level_at(&self, now: Duration) -> f64 {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        (self.level + passed * self.rate).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_was_spent_beforehand_is_waited_for() {
        let mut bucket = Bucket::full(10.0, 5.0, Duration::ZERO);
        bucket.spend(25.0, Duration::ZERO);
        assert_eq!((bucket.debt(Duration::ZERO), bucket.wait(Duration::ZERO)), (20.0, 2 * SECOND));
        assert_eq!(bucket.wait(SECOND), SECOND);
        assert_eq!(bucket.wait(2 * SECOND), Duration::ZERO);
        assert!(!bucket.is_full(2 * SECOND) && bucket.is_full(3 * SECOND));
    }

    #[test]
    fn what_is_put_back_or_comes_in_is_kept_up_to_the_burst() {
        let mut bucket = Bucket::full(10.0, 5.0, Duration::ZERO);
        bucket.spend(-100.0, Duration::ZERO);
        bucket.spend(6.0, 100 * SECOND);
        assert_eq!(bucket.debt(100 * SECOND), 1.0);
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_gives_nothing() {
        let mut bucket = Bucket::full(10.0, 5.0, SECOND);
        bucket.spend(6.0, SECOND);
        bucket.spend(0.0, Duration::ZERO);
        assert_eq!(bucket.debt(Duration::ZERO), 1.0);
        assert_eq!(bucket.debt(SECOND), 1.0);
    }

    proptest! {
        /// Whoever spends only while there is no debt gets the burst, the rate, and one helping beforehand.
        #[test]
        fn nobody_who_waits_for_his_debt_gets_more_than_the_rate(
            steps in proptest::collection::vec((0u64..500, 1u32..50), 1..200),
        ) {
            let mut bucket = Bucket::full(20.0, 10.0, Duration::ZERO);
            let (mut now, mut spent) = (Duration::ZERO, Vec::new());
            for (ms, tokens) in steps {
                now += Duration::from_millis(ms);
                if bucket.wait(now).is_zero() {
                    bucket.spend(tokens.into(), now);
                    spent.push(f64::from(tokens));
                }
            }
            let most = 10.0 + now.as_secs_f64() * 20.0 + 50.0;
            prop_assert!(spent.iter().sum::<f64>() <= most);
        }
    }
}
