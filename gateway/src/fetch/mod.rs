//! Gets content: walks the plan, single-flights what is not held, verifies, keeps.
//!
//! [`Fetch`] is what `http` sees. A packument is a [`Document`]; a tarball is [`Tarball::Held`] or, when it
//! is large and still coming, [`Tarball::Arriving`]. `http` never sees a plan, a peer or upstream.

mod arriving;
mod behind;
mod blocked;
mod budget;
mod coder;
mod confirmed;
mod decode;
mod download;
mod evidence;
mod examined;
mod failure;
mod flights;
mod from_upstream;
mod ingest;
mod insist;
mod kept;
mod lately;
mod packuments;
mod peers;
mod progress;
mod prospect;
mod race;
mod ready;
mod removed;
mod renderings;
mod repairs;
mod rewrite;
mod tarballs;
mod through;
mod under_root;
mod workers;

#[cfg(test)]
mod following;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use resolver::evidence::EvidenceName;
use resolver::integrity::Integrity;
use resolver::package::{FileName, PackageName};
use resolver::plan::Windows;

use crate::metrics::Metrics;
use crate::store::Store;
use crate::takedown::Takedowns;
use crate::upstream::{Answer, Upstream};

pub use arriving::Arriving;
pub use confirmed::Doubtful;
pub use examined::install_form;
pub use failure::Failure;
pub use packuments::Document;
pub use peers::{Basis, Peers, Standing};
pub use prospect::{Connection, Content, InvalidContent, NoProspect, Prospect};
pub use ready::{Ready, Sending};
pub use renderings::Rendering;
pub use resolver::strikes::Fitness;
pub use tarballs::Tarball;

use budget::Budget;
use download::Downloads;
use packuments::Packuments;
use renderings::Renderings;
use workers::Workers;

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
    workers: Workers,
    budget: Budget,
    peers: Option<Peers>,
    takedowns: Takedowns,
    downloads: Downloads,
    evidence: flights::Flights<EvidenceName, (crate::store::Evidence, Provenance)>,
}

/// What `Fetch` needs to know of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long a packument is served unasked, and after that while it is confirmed behind the client's back.
    pub windows: Windows,
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
    /// A peer on a network of ours gave them.
    Near,
    /// Another peer gave them.
    Far,
    /// Home gave them.
    Home,
    /// The registry of record gave them.
    Upstream,
}

impl Provenance {
    /// One word for the metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Near => "lan_peer",
            Self::Far => "far_peer",
            Self::Home => "home",
            Self::Upstream => "upstream",
        }
    }

    /// Bytes of a body have come from there.
    fn count(self, metrics: &Metrics, bytes: usize) {
        match self {
            Self::Upstream => metrics.received(bytes as u64),
            other => metrics.received_from(other.label(), bytes as u64),
        }
    }

    fn of(answer: &Answer) -> Self {
        if answer.is_of_home() { Self::Home } else { Self::Upstream }
    }
}

impl Fetch {
    /// Wires the parts.
    #[must_use]
    pub fn new(store: Store, upstream: Upstream, settings: Settings, metrics: Arc<Metrics>) -> Self {
        Self::with_peers(store, upstream, (None, Takedowns::none()), settings, metrics)
    }

    /// Likewise, with peers that are asked for tarballs before upstream, and without what is not served here.
    #[must_use]
    pub fn with_peers(
        store: Store,
        upstream: Upstream,
        (peers, takedowns): (Option<Peers>, Takedowns),
        settings: Settings,
        metrics: Arc<Metrics>,
    ) -> Self {
        let verify_first_max = settings.verify_first_max;
        let inner = Inner {
            packuments: Packuments::new(settings.windows, Arc::clone(&metrics)),
            renderings: Renderings::new(),
            workers: Workers::new(),
            budget: Budget::new(),
            downloads: Downloads::new(
                store.clone(),
                upstream.clone(),
                verify_first_max,
                peers.clone(),
                metrics,
            ),
            peers,
            takedowns,
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

    /// Peers as sources, to see how they fare.
    #[must_use]
    pub fn peers(&self) -> Option<&Peers> {
        self.inner.peers.as_ref()
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

/// How long ago a moment was (milliseconds since 1970).
pub(crate) fn age(moment_ms: u64) -> Duration {
    age_at(now_ms(), moment_ms)
}

/// How long before `now_ms` a moment was. One in the future was noted by a clock that went wrong: it tells nothing, and
/// so counts as long ago.
fn age_at(now_ms: u64, moment_ms: u64) -> Duration {
    now_ms.checked_sub(moment_ms).map_or(Duration::MAX, Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOWS: Windows = Windows { fresh: Duration::from_secs(300), stale: Duration::from_secs(3600) };

    #[test]
    fn what_a_clock_that_went_wrong_has_noted_is_neither_fresh_nor_usable() {
        let (now, year) = (1_800_000_000_000, 365 * 86_400 * 1000);
        for (noted, seen) in [(now + 20 * year, now), (now, now - 1), (now, 0), (0, now), (u64::MAX, now)] {
            assert_eq!(WINDOWS.left(age_at(seen, noted)), (Duration::ZERO, Duration::ZERO), "{noted} {seen}");
        }
    }

    proptest! {
        /// However the clock jumps, and whenever the document was confirmed by it.
        #[test]
        fn no_jump_of_the_clock_makes_anything_fresh_for_longer_than_its_window(
            confirmed in 0u64..u64::MAX,
            jumped_to in 0u64..u64::MAX - 10_000_000,
        ) {
            let later = |ms: u64| WINDOWS.left(age_at(jumped_to + ms, confirmed)).0;
            // From here on the clock goes as it should: a window later at most, it is asked for.
            let asked = (0..=300_001).step_by(100_000).chain([300_001]).map(later).any(|left| left.is_zero());
            prop_assert!(asked);
        }
    }
}
