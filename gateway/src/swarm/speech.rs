//! How much of what strangers do is told in the log: enough to see it, and not so much that nothing else can be seen.

use std::time::Duration;

use resolver::bucket::Bucket;
use tokio::time::Instant;

/// Lines that may come at once, as when a LAN of gateways starts, and then in a second.
const BURST: f64 = 60.0;
const RATE: f64 = 0.2;

/// What is left of it.
#[derive(Debug)]
pub(super) struct Speech {
    since: Instant,
    lines: Bucket,
}

impl Default for Speech {
    fn default() -> Self {
        Self { since: Instant::now(), lines: Bucket::full(RATE, BURST, Duration::ZERO) }
    }
}

impl Speech {
    /// Whether one more line may be written. What is not written is counted by metrics all the same.
    pub(super) fn may_speak(&mut self) -> bool {
        let now = self.since.elapsed();
        let may = self.lines.debt(now) <= 0.0;
        if may {
            self.lines.spend(1.0, now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_crowd_cannot_fill_the_log() {
        let mut speech = Speech::default();
        let mut said = 0;
        for _ in 0..600 {
            said += (0..100).filter(|_| speech.may_speak()).count();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!((60..=60 + 125).contains(&said), "{said}");
    }
}
