//! Confirms what is held and has changed while somebody follows this gateway, and says when all of it is upstream's word:
//! `/.federation/state.json`, which comes into a root only with all that was known by then.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use resolver::connectivity::Link;
use resolver::freshness::State;
use resolver::package::PackageName;
use resolver::unconfirmed::Unconfirmed;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::{Feed, since_1970};
use crate::index::Index;

/// Packages that are asked for at once: an eighth of the places at upstream, for whoever waits for something comes first.
const AT_ONCE: usize = 8;
/// Packages that are taken up in one go: new ones wait for no more than these.
const BATCH: usize = 64;
/// Between two looks whether there is somebody who follows, upstream can be asked, and something is due.
const PAUSE: Duration = Duration::from_secs(2);

/// What there is to confirm, and what has been said.
pub(super) struct Confirming {
    index: Index,
    /// How long documents are fresh at this gateway.
    fresh: Duration,
    known: Mutex<Known>,
    more: Notify,
    began: Instant,
}

struct Known {
    unconfirmed: Unconfirmed,
    /// What was last said.
    state: State,
    /// When the feed was last followed to its end, since 1970, and how often something that is held had changed by then; `None`: not
    /// since the start.
    looked: Option<(Duration, u64)>,
    changed: u64,
    /// How often it had when the state was said.
    said: u64,
}

impl Confirming {
    pub(super) fn new(index: Index, fresh: Duration, said: Option<State>) -> Self {
        index.say_state(said.clone());
        let known = Known {
            unconfirmed: Unconfirmed::all(),
            state: said.unwrap_or_default(),
            looked: None,
            changed: 0,
            said: 0,
        };
        Self { index, fresh, known: Mutex::new(known), more: Notify::new(), began: Instant::now() }
    }

    /// How many are known to be unconfirmed, and when all were last confirmed, in seconds since 1970.
    pub(super) fn told(&self) -> (usize, Option<u64>) {
        let known = self.known();
        (known.unconfirmed.count(), known.state.current.map(|current| current / 1000))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be said if nothing is in doubt but what upstream gives nobody, and is worth a root; and how often something had changed
    /// by then.
    fn news(&self) -> Option<(State, u64)> {
        let known = self.known();
        let ((looked, changed), except) = (known.looked?, known.unconfirmed.stuck()?);
        let state = known.state.after_look(0, except, looked);
        state.is_worth_a_root(&known.state, self.fresh, changed != known.said).then_some((state, changed))
    }
}

impl Feed {
    /// These are held, and have changed.
    pub(super) fn doubt<'a>(&self, names: impl Iterator<Item = &'a PackageName>) {
        let told_ms = u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX);
        let mut known = self.inner.confirming.known();
        for name in names {
            known.unconfirmed.tell(name.clone(), told_ms);
            known.changed += 1;
        }
        self.inner.confirming.more.notify_one();
    }

    /// Nobody knows what has changed.
    pub(super) fn doubt_all(&self) {
        self.inner.confirming.known().unconfirmed.go_over();
        self.inner.confirming.more.notify_one();
    }

    /// The feed has been followed to where its end was at this moment, since 1970.
    pub(super) async fn has_looked(&self, looked: Duration) {
        {
            let mut known = self.inner.confirming.known();
            known.looked = Some((looked, known.changed));
        }
        self.speak().await;
    }

    /// Ends with the program.
    pub(super) async fn confirm_forever(self) {
        loop {
            let is_busy = self.is_to_confirm() && self.confirm_some().await;
            if !is_busy {
                self.speak().await;
                let _ = timeout(PAUSE, self.inner.confirming.more.notified()).await;
            }
        }
    }

    fn is_to_confirm(&self) -> bool {
        let link = self.inner.fetch.upstream().latch().link();
        self.inner.confirming.index.is_followed() && matches!(link, Link::Up | Link::Doubtful)
    }

    /// Says whether there was anything to do.
    async fn confirm_some(&self) -> bool {
        let confirming = &self.inner.confirming;
        let from = confirming.known().unconfirmed.wants_behind().map(str::to_owned);
        let has_looked = match from {
            Some(from) => self.look_behind(from).await,
            None => false,
        };
        let due = confirming.known().unconfirmed.due(confirming.began.elapsed(), BATCH);
        let is_some = !due.is_empty();
        let ask = |(name, told_ms): (PackageName, u64)| async move {
            let is_confirmed = self.inner.fetch.confirm_held(&name, told_ms).await;
            if !is_confirmed {
                tracing::debug!(%name, "what has changed is not confirmed yet");
            }
            let now = confirming.began.elapsed();
            confirming.known().unconfirmed.asked(&name, told_ms, is_confirmed, now);
        };
        stream::iter(due).for_each_concurrent(AT_ONCE, ask).await;
        has_looked || is_some
    }

    /// Looks for what is doubtful of the next that is held; says whether that could be read.
    async fn look_behind(&self, from: String) -> bool {
        let (fetch, behind) = (self.inner.fetch.clone(), from.clone());
        let looked = tokio::task::spawn_blocking(move || fetch.doubtful_behind(&behind)).await;
        let Some(doubtful) = looked.ok().flatten() else { return false };
        let mut known = self.inner.confirming.known();
        known.unconfirmed.found(&from, doubtful.names, doubtful.last, doubtful.told_ms);
        true
    }

    /// Says how far all that is held is upstream's word, if that is news. It is kept first: whoever makes the index again says the same.
    async fn speak(&self) {
        let confirming = &self.inner.confirming;
        let Some((state, changed)) = confirming.news() else { return };
        if let Err(error) = self.inner.fetch.store().keep_feed_state(&state).await {
            tracing::debug!(%error, "how far the feed was followed cannot be kept now");
            return;
        }
        {
            let mut known = confirming.known();
            (known.state, known.said) = (state.clone(), changed);
        }
        confirming.index.say_state(Some(state));
    }
}
