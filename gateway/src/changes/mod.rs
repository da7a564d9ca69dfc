//! Follows the change feed, if one is configured: what it names is confirmed before it is served once more.
//!
//! It only spares waiting and staleness. Nothing is served for longer because of it, and what it fails to say is found out as if there
//! were none. The latch of upstream learns nothing from it. Nothing is fetched because of it that nobody asks for, unless this gateway is
//! followed: then what is held and has changed is confirmed behind ([`confirming`]), so that followers can be told that all of it is
//! upstream's word of now.

mod confirming;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use resolver::changes::{self, InvalidFeed, Page, Standing, Why};
use url::Url;

use crate::fetch::{Failure, Fetch};
use crate::index::Index;
use crate::metrics::Metrics;
use crate::store::{Cursor, StoreError};
use crate::upstream::UpstreamError;

use confirming::Confirming;

/// How often the feed's end is looked at: how late a change is noticed, for one small request.
const POLL: Duration = Duration::from_secs(5);
/// Changes asked for at once: what npm's API gives unless told otherwise, some 130 KB.
const PAGE: usize = 1000;
/// The longest page: 4 KB for each change, which is mostly a name of at most 214 bytes.
const LONGEST: usize = 4 * 1024 * 1024;

/// Follows one feed. Cheap to clone.
#[derive(Clone)]
pub struct Feed {
    inner: Arc<Inner>,
}

struct Inner {
    address: String,
    fetch: Fetch,
    metrics: Arc<Metrics>,
    status: Mutex<Status>,
    confirming: Confirming,
}

/// How following goes.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// The sequence up to which changes are known.
    pub since: Option<u64>,
    /// So many sequences behind the feed's end, when that was last looked at.
    pub lag: Option<u64>,
    /// When the feed last answered: seconds since 1970.
    pub last_success_s: Option<u64>,
    /// Held packuments that it has named since the start.
    pub invalidated: u64,
    /// Held packuments that have changed and were not confirmed yet; nobody asks for them unless this gateway is followed.
    pub unconfirmed: usize,
    /// When all that is held was last known to be upstream's word: seconds since 1970.
    pub current_s: Option<u64>,
    /// Failures in a row.
    pub failures: u32,
    /// The last of them.
    pub error: Option<String>,
}

/// Why a round failed.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("it cannot be asked: {0}")]
    Upstream(#[from] UpstreamError),
    #[error("{0}")]
    Feed(#[from] InvalidFeed),
    #[error("{0}")]
    Fetch(#[from] Failure),
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl Feed {
    /// Asks nobody yet.
    #[must_use]
    pub fn new(address: &Url, fetch: Fetch, index: Index, fresh: Duration, metrics: Arc<Metrics>) -> Self {
        let confirming = Confirming::new(index, fresh, fetch.store().feed_state());
        let address = address.to_string();
        Self { inner: Arc::new(Inner { address, fetch, metrics, status: Mutex::default(), confirming }) }
    }

    /// Where the feed is.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.inner.address
    }

    /// How following goes.
    #[must_use]
    pub fn status(&self) -> Status {
        let (unconfirmed, current_s) = self.inner.confirming.told();
        Status { unconfirmed, current_s, ..self.known().clone() }
    }

    /// Ends with the program.
    pub async fn follow_forever(self) {
        // Where another feed was left says nothing of this one.
        let mut cursor = self.inner.fetch.store().cursor().filter(|cursor| cursor.feed == self.inner.address);
        if let Some(cursor) = &cursor {
            self.inner.fetch.doubt_all_before(cursor.doubted_ms);
        }
        tokio::spawn(self.clone().confirm_forever());
        loop {
            let looked = since_1970();
            let pause = match self.catch_up(&mut cursor).await {
                Ok(()) => {
                    if self.known().lag == Some(0) {
                        self.has_looked(looked).await;
                    }
                    self.succeeded()
                }
                Err(trouble) => self.failed(&trouble),
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Follows the feed to where its end was when this began.
    async fn catch_up(&self, cursor: &mut Option<Cursor>) -> Result<(), Trouble> {
        let Some(root) = self.ask(&self.inner.address).await? else {
            return Err(UpstreamError::Missing.into());
        };
        let end = changes::end(&root)?;
        let since = cursor.as_ref().map(|cursor| cursor.since);
        if let Standing::Lost(why) = changes::standing(since, end) {
            *cursor = Some(self.begin(end, why).await?);
        }
        if let Some(cursor) = cursor {
            self.stands(cursor.since, end);
            while cursor.since < end && self.turn_page(cursor, end).await? {}
        }
        Ok(())
    }

    /// Reads one page; says whether that led further.
    async fn turn_page(&self, cursor: &mut Cursor, end: u64) -> Result<bool, Trouble> {
        let base = self.inner.address.trim_end_matches('/');
        let address = format!("{base}/_changes?since={}&limit={PAGE}", cursor.since);
        let Some(document) = self.ask(&address).await? else {
            *cursor = self.begin(end, Why::Gone).await?;
            return Ok(true);
        };
        let page = Page::read(&document, cursor.since, PAGE)?;
        let held = self.inner.fetch.changed(&page.names).await?;
        self.doubt(page.names.iter().filter(|name| self.inner.fetch.may_hold(name)));
        self.inner.metrics.changes_invalidated(held as u64);
        self.known().invalidated += held as u64;
        let further = page.next > cursor.since;
        if further {
            // Only now: a page that was not taken in is read once more.
            cursor.since = page.next;
            self.inner.fetch.store().keep_cursor(cursor.clone()).await?;
        }
        self.stands(cursor.since, end);
        // A feed may know its end before it gives the last changes: they come the next time.
        Ok(further)
    }

    /// Follows the feed from its end; what was held before may have changed without a word.
    async fn begin(&self, end: u64, why: Why) -> Result<Cursor, Trouble> {
        let why = why.words();
        tracing::info!(
            why,
            sequence = end,
            "following the change feed from its end; what is held is confirmed first"
        );
        let doubted_ms = self.inner.fetch.doubt_all();
        self.doubt_all();
        let cursor = Cursor { feed: self.inner.address.clone(), since: end, doubted_ms };
        self.inner.fetch.store().keep_cursor(cursor.clone()).await?;
        self.stands(end, end);
        Ok(cursor)
    }

    async fn ask(&self, address: &str) -> Result<Option<String>, Trouble> {
        Ok(self.inner.fetch.upstream().aside(address, LONGEST).await?)
    }

    fn stands(&self, since: u64, end: u64) {
        let lag = end.saturating_sub(since);
        self.inner.metrics.changes_lag(lag);
        let mut status = self.known();
        (status.since, status.lag) = (Some(since), Some(lag));
    }

    fn succeeded(&self) -> Duration {
        let mut status = self.known();
        if status.failures > 0 {
            tracing::info!("the change feed answers again");
        }
        let seconds = since_1970().as_secs();
        *status = Status { failures: 0, error: None, last_success_s: Some(seconds), ..status.clone() };
        self.inner.metrics.changes_succeeded(seconds);
        POLL
    }

    fn failed(&self, trouble: &Trouble) -> Duration {
        let mut status = self.known();
        if status.failures == 0 {
            tracing::warn!(error = %trouble, "the change feed cannot be followed; freshness rests on its windows alone");
        }
        status.failures = status.failures.saturating_add(1);
        status.error = Some(trouble.to_string());
        let asked = if let Trouble::Upstream(error) = trouble { error.pause() } else { None };
        changes::pause(status.failures, asked)
    }

    fn known(&self) -> MutexGuard<'_, Status> {
        self.inner.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
