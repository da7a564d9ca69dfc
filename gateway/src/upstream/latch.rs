//! The connectivity latch (see `resolver::connectivity`), shared by all requests.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use resolver::connectivity::{Connectivity, Link};
use tokio::sync::watch;

use super::failure::UpstreamError;

/// How long a request for what is not held waits for a latch that may be about to open.
const WAIT: Duration = Duration::from_secs(3);

/// Whether upstream can be asked. Cheap to clone.
#[derive(Clone)]
pub struct Latch {
    inner: Arc<Inner>,
}

struct Inner {
    started: Instant,
    connectivity: Mutex<Connectivity>,
    changed: watch::Sender<()>,
}

impl Latch {
    pub(super) fn new(offline: bool) -> Self {
        let connectivity = Mutex::new(Connectivity::new(offline));
        Self {
            inner: Arc::new(Inner { started: Instant::now(), connectivity, changed: watch::Sender::new(()) }),
        }
    }

    /// What a request may expect of upstream now.
    #[must_use]
    pub fn link(&self) -> Link {
        self.with(|connectivity, now| connectivity.link(now))
    }

    /// A request has waited longer than it should have to.
    pub fn overdue(&self) {
        self.with(Connectivity::overdue);
    }

    pub(super) fn succeeded(&self) {
        if self.with(|connectivity, _| connectivity.succeeded()) {
            tracing::info!("upstream answers again");
            self.inner.changed.send_replace(());
        }
    }

    pub(super) fn failed(&self, error: &UpstreamError) {
        let Some(failure) = error.failure() else {
            return;
        };
        let cause = error.to_string();
        if self.with(|connectivity, now| connectivity.failed(failure, &cause, now)) {
            tracing::warn!(cause, "upstream cannot be reached; serving what is held");
            self.inner.changed.send_replace(());
        }
    }

    /// Up or not, once the latch has opened or the wait is over.
    pub(super) async fn wait_until_up(&self) -> Link {
        let mut changed = self.inner.changed.subscribe();
        let opened = async {
            while matches!(self.link(), Link::Down(_)) {
                // The sender lives as long as `self`.
                let _ = changed.changed().await;
            }
        };
        // Over or not, the link tells.
        let _ = tokio::time::timeout(WAIT, opened).await;
        self.link()
    }

    /// Returns when upstream has to be probed.
    pub(super) async fn wait_for_probe(&self) {
        let mut changed = self.inner.changed.subscribe();
        loop {
            let due = self.with(|connectivity, now| connectivity.probe_at().map(|at| at.saturating_sub(now)));
            match due {
                Some(Duration::ZERO) => return,
                Some(wait) => tokio::time::sleep(wait).await,
                // The sender lives as long as `self`.
                None => _ = changed.changed().await,
            }
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Connectivity, Duration) -> T) -> T {
        let mut connectivity = self.inner.connectivity.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut connectivity, self.inner.started.elapsed())
    }
}
