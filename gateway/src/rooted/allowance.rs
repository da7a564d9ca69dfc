//! How much of home's tree is taken in behind clients' backs: what a laptop can do with beside a home with a busy feed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use resolver::bucket::Bucket;
use tokio::time::Instant;

/// Bytes in a second, for ever: some twenty packages that have changed.
const RATE: f64 = 256.0 * 1024.0;
/// At once: what leads to 3,000 packages.
const BURST: f64 = 16.0 * 1024.0 * 1024.0;

/// What is left.
pub(super) struct Allowance {
    started: Instant,
    bucket: Mutex<Bucket>,
}

impl Allowance {
    pub(super) fn full() -> Self {
        let bucket = Mutex::new(Bucket::full(RATE, BURST, Duration::ZERO));
        Self { started: Instant::now(), bucket }
    }

    /// So many bytes have come.
    pub(super) fn spend(&self, bytes: usize) {
        let now = self.started.elapsed();
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).spend(f64::from(bytes), now);
    }

    /// Returns when there is no debt.
    pub(super) async fn wait(&self) {
        let now = self.started.elapsed();
        let wait = self.bucket.lock().unwrap_or_else(PoisonError::into_inner).wait(now);
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_beyond_the_burst_is_waited_for() {
        let (allowance, begun) = (Allowance::full(), Instant::now());
        for _ in 0..20 {
            allowance.wait().await;
            allowance.spend(1024 * 1024);
        }
        allowance.wait().await;
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(15) && took < Duration::from_secs(17), "{took:?}");
    }
}
