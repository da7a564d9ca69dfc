//! The latches of both ways to upstream (see `resolver::ways`), shared by all requests.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use resolver::connectivity::Link;
use resolver::ways::{Errand, Home as State, Order, Way, Ways};
use tokio::sync::watch;
use tokio::time::Instant;

use super::failure::UpstreamError;
use super::home::Home;

/// How long a request for what is not held waits for a latch that may be about to open.
const WAIT: Duration = Duration::from_secs(3);

/// Whether upstream can be asked, and by which way. Cheap to clone.
#[derive(Clone)]
pub struct Latch {
    inner: Arc<Inner>,
}

struct Inner {
    started: Instant,
    ways: Mutex<Ways>,
    home: Arc<OnceLock<Home>>,
    changed: watch::Sender<()>,
}

impl Latch {
    pub(super) fn new(offline: bool, home: Arc<OnceLock<Home>>) -> Self {
        let ways = Mutex::new(Ways::new(offline));
        Self {
            inner: Arc::new(Inner { started: Instant::now(), ways, home, changed: watch::Sender::new(()) }),
        }
    }

    /// There is a home from now on.
    pub(super) fn follow(&self) {
        self.with(|ways, _, _| ways.follow());
    }

    /// What a request may expect of upstream now, by whichever way.
    #[must_use]
    pub fn link(&self) -> Link {
        self.with(|ways, home, now| ways.link(home, now))
    }

    /// The same for a request that perhaps nobody but upstream may see.
    #[must_use]
    pub fn link_for(&self, errand: Errand) -> Link {
        self.with(|ways, home, now| ways.link_for(errand, home, now))
    }

    /// A request has waited longer than it should have to.
    pub fn overdue(&self) {
        self.with(Ways::overdue);
    }

    /// What is known of home alone; `None`: nobody is followed.
    pub(super) fn link_of_home(&self) -> Option<Link> {
        self.with(|ways, home, now| ways.link_of_home(home, now))
    }

    /// Which ways a request goes; at the start it waits for home for a moment.
    pub(super) async fn order(&self, errand: Errand) -> Order {
        let grace = self.with(|ways, home, now| ways.grace(home, now));
        if let Some(home) = self.inner.home.get().filter(|_| !grace.is_zero() && errand == Errand::Public) {
            home.wait(grace).await;
        }
        self.with(|ways, home, now| ways.order(errand, home, now))
    }

    pub(super) fn succeeded(&self, way: Way) {
        if self.with(|ways, _, _| ways.succeeded(way)) {
            match way {
                Way::Home => tracing::info!("home answers again"),
                Way::Direct => tracing::info!("upstream answers again"),
            }
            self.inner.changed.send_replace(());
        }
    }

    pub(super) fn failed(&self, way: Way, error: &UpstreamError) {
        let Some(failure) = error.failure() else {
            return;
        };
        let cause = error.to_string();
        if self.with(|ways, _, now| ways.failed(way, failure, &cause, now)) {
            self.tell_failed(way, &cause);
            self.inner.changed.send_replace(());
        }
    }

    fn tell_failed(&self, way: Way, cause: &str) {
        let what = if way == Way::Home { "home cannot be asked" } else { "upstream cannot be reached" };
        let instead = match (way, self.link()) {
            (_, Link::Down(_)) => "serving what is held",
            (Way::Home, _) => "upstream is asked directly",
            (Way::Direct, _) => "it is asked through home",
        };
        tracing::warn!(cause, "{what}; {instead}");
    }

    /// Home is connected, newly, or no longer.
    pub(super) fn home_changed(&self, is_connected: bool) {
        if is_connected {
            self.with(|ways, _, _| ways.connected());
        }
        self.inner.changed.send_replace(());
    }

    /// Up or not, once a latch has opened or the wait is over.
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

    /// Returns when a way has to be probed, and which.
    pub(super) async fn wait_for_probe(&self) -> Way {
        let mut changed = self.inner.changed.subscribe();
        loop {
            let due = self
                .with(|ways, home, now| ways.probe_at(home).map(|(at, way)| (at.saturating_sub(now), way)));
            match due {
                Some((Duration::ZERO, way)) => return way,
                // What has changed meanwhile may be due earlier.
                Some((wait, _)) => _ = tokio::time::timeout(wait, changed.changed()).await,
                // The sender lives as long as `self`.
                None => _ = changed.changed().await,
            }
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Ways, State, Duration) -> T) -> T {
        let home = self.inner.home.get().map_or(State::Absent, Home::state);
        let mut ways = self.inner.ways.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut ways, home, self.inner.started.elapsed())
    }
}
