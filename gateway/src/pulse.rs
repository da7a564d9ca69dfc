//! Loops that must never stand still, and which of them does.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// How often a loop beats while it has nothing to do.
pub const BEAT: Duration = Duration::from_secs(1);

/// All loops of this gateway. Cheap to clone.
#[derive(Clone)]
pub struct Pulses {
    inner: Arc<Inner>,
}

struct Inner {
    started: Instant,
    /// As many as there are listening sockets.
    loops: Mutex<Vec<Arc<Beating>>>,
}

struct Beating {
    name: String,
    /// Of the last beat, in milliseconds since `Inner::started`.
    last: AtomicU64,
}

/// One loop's: it beats whenever the loop turns. When a loop ends in order, its pulse is not missed any more;
/// that of a loop that panicked is.
pub struct Pulse {
    beating: Arc<Beating>,
    all: Arc<Inner>,
}

impl Default for Pulses {
    fn default() -> Self {
        Self::new()
    }
}

impl Pulses {
    /// Of no loop yet.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: Arc::new(Inner { started: Instant::now(), loops: Mutex::default() }) }
    }

    /// One more loop; its name is what is said when it stands still: `http 127.0.0.1:6736`.
    #[must_use]
    pub fn add(&self, name: impl Into<String>) -> Pulse {
        let beating = Arc::new(Beating { name: name.into(), last: AtomicU64::new(self.inner.now()) });
        self.inner.loops().push(Arc::clone(&beating));
        Pulse { beating, all: Arc::clone(&self.inner) }
    }

    /// The names of loops that have not beaten for so long.
    #[must_use]
    pub fn silent(&self, period: Duration) -> Vec<String> {
        let now = self.inner.now();
        let loops = self.inner.loops();
        let age = |one: &Beating| Duration::from_millis(now.saturating_sub(one.last.load(Ordering::Relaxed)));
        loops.iter().filter(|one| age(one) > period).map(|one| one.name.clone()).collect()
    }
}

impl Inner {
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn loops(&self) -> MutexGuard<'_, Vec<Arc<Beating>>> {
        self.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    /// The loop turns.
    pub fn beat(&self) {
        self.beating.last.store(self.all.now(), Ordering::Relaxed);
    }

    /// Waits in a loop, and beats meanwhile: what it waits for may take any time.
    pub async fn during<F: Future>(&self, waiting: F) -> F::Output {
        let mut waiting = pin!(waiting);
        loop {
            self.beat();
            if let Ok(output) = timeout(BEAT, waiting.as_mut()).await {
                return output;
            }
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.all.loops().retain(|one| !Arc::ptr_eq(one, &self.beating));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stands_still_is_named() {
        let pulses = Pulses::new();
        let (turning, still) = (pulses.add("turning"), pulses.add("still"));
        still.beat();
        turning.during(tokio::time::sleep(Duration::from_secs(60))).await;
        assert_eq!(pulses.silent(PERIOD), ["still"]);
        still.beat();
        assert!(pulses.silent(PERIOD).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_has_ended_is_missed_only_if_it_panicked() {
        let pulses = Pulses::new();
        drop(pulses.add("stopped"));
        let broken = pulses.add("broken");
        let panics = tokio::spawn(async move {
            broken.beat();
            panic!("as a loop must not");
        });
        assert!(panics.await.is_err());
        tokio::time::sleep(PERIOD * 2).await;
        assert_eq!(pulses.silent(PERIOD), ["broken"]);
    }
}
