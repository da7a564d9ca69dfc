//! Gets content: walks the plan, single-flights what is not held, verifies, keeps.
//!
//! [`Fetch`] is what `http` sees. A packument is a [`Document`]; a tarball is [`Tarball::Held`] or, when it
//! is large and still coming, [`Tarball::Arriving`]. `http` never sees a plan, a peer or upstream.

mod arriving;
mod budget;
mod decode;
mod download;
mod evidence;
mod failure;
mod flights;
mod packuments;
mod progress;
mod renderings;
mod repairs;
mod tarballs;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use resolver::evidence::EvidenceName;
use resolver::integrity::Integrity;
use resolver::package::{FileName, PackageName};

use crate::metrics::Metrics;
use crate::store::Store;
use crate::upstream::Upstream;

pub use arriving::Arriving;
pub use failure::Failure;
pub use packuments::Document;
pub use renderings::Rendering;
pub use tarballs::Tarball;

use budget::Budget;
use download::Downloads;
use packuments::Packuments;
use renderings::Renderings;

/// A client is told within this time that what he asked for is still not there: yarn 1 gives up at 30 s.
const FIRST_BYTE: Duration = Duration::from_secs(25);

/// Gets content. Cheap to clone.
#[derive(Clone)]
pub struct Fetch {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    upstream: Upstream,
    packuments: Packuments,
    renderings: Renderings,
    downloads: Downloads,
    evidence: flights::Flights<EvidenceName, crate::store::Evidence>,
}

/// What `Fetch` needs to know of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long a packument is served unasked.
    pub fresh: Duration,
    /// A tarball up to this size is verified before its first byte goes out.
    pub verify_first_max: u64,
}

/// A tarball as a client asks for it.
#[derive(Debug, Clone)]
pub enum TarballRequest {
    /// By name, with the digest that the client expects, if it says so.
    Named(PackageName, FileName, Option<Integrity>),
    /// By digest.
    Digest(Integrity),
}

/// Where the bytes of an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provenance {
    /// They were here.
    Store,
    /// They had to be fetched.
    Upstream,
}

impl Provenance {
    /// One word for the metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Upstream => "upstream",
        }
    }
}

impl Fetch {
    /// Wires the parts.
    #[must_use]
    pub fn new(store: Store, upstream: Upstream, settings: Settings, metrics: Arc<Metrics>) -> Self {
        let budget = Budget::new();
        let inner = Inner {
            packuments: Packuments::new(settings.fresh, budget.clone(), Arc::clone(&metrics)),
            renderings: Renderings::new(budget),
            downloads: Downloads::new(store.clone(), upstream.clone(), settings.verify_first_max, metrics),
            evidence: flights::Flights::default(),
            store,
            upstream,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Upstream, for what is passed through.
    #[must_use]
    pub fn upstream(&self) -> &Upstream {
        &self.inner.upstream
    }

    /// The store, for its totals.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How long ago a moment was. One in the future was noted by a clock that went wrong: it tells nothing, and so
/// counts as long ago.
fn age(checked_ms: u64) -> Duration {
    now_ms().checked_sub(checked_ms).map_or(Duration::MAX, Duration::from_millis)
}
