//! Serving from the root that is followed: which documents it names, how fresh that makes them, and the documents themselves with
//! the proof that they are the ones.
//!
//! ```text
//! follow ── root ──> settle (what differs, of what is held) ──> settled ──> fetch: said(name), arrival(name)
//! <dir>/followed.redb      nodes of home's tree, and the root that is settled (see `database`)
//! ```
//!
//! A root counts once it is *settled*: what it says otherwise than the one before of packages that are held is known. Blocks come from
//! home and from whoever follows it too ([`providers`]); each is hashed before anything is made of it, and what is wrong is held
//! against whoever sent it. Nobody is asked for what is private, and nothing of it is in the tree.

mod allowance;
mod arrival;
mod ask;
mod blocks;
mod database;
#[cfg(test)]
pub(crate) mod played;
mod providers;
mod settle;
mod unpack;
mod words;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quick_cache::sync::Cache;
use resolver::freshness::State;
use resolver::head::Root;
use resolver::index::Cid;
use resolver::package::PackageName;
use resolver::peer::PeerId;
use resolver::strikes::Fault;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::store::Store;
use crate::swarm::Swarm;

pub use arrival::{Arrival, Ended};
pub use ask::Miss;
pub use database::Nodes;
pub use providers::Provider;
pub use settle::{Changed, Events, Told};
pub use words::Said;

use allowance::Allowance;
use ask::Asker;
use blocks::Flight;
use database::Database;
use providers::Providers;

/// Words on packages that are in memory: those of a few large projects, at some 300 bytes each.
const WORDS: usize = 16 * 1024;
/// Proofs that are got at once behind clients' backs.
const PROOFS: usize = 4;
/// Documents that are asked for at once: somewhat less than one peer is served at once.
const DOCUMENTS: usize = 24;

/// What it is told of a request to a peer: nothing, or what is held against it. Dropped, it was no verdict.
pub type Verdict = Box<dyn FnOnce(Result<(), Fault>) + Send>;

/// Whoever keeps account of peers.
pub trait Judge: Send + Sync {
    /// A request to a peer begins; `None`: it is not to be asked now.
    fn begin(&self, peer: PeerId) -> Option<Verdict>;
}

/// What it is made of.
pub struct Basis {
    /// The data directory.
    pub dir: PathBuf,
    /// Who is followed.
    pub home: PeerId,
    /// This gateway.
    pub own: PeerId,
    /// Scopes, with their `@`, of which nobody is asked.
    pub private_scopes: Vec<String>,
    /// Who is connected.
    pub swarm: Swarm,
    /// What is held.
    pub store: Store,
    /// Who keeps account of peers.
    pub judge: Arc<dyn Judge>,
    /// Makes the head be asked for soon.
    pub hurry: Arc<dyn Fn() + Send + Sync>,
    /// Where blocks are counted.
    pub metrics: Arc<Metrics>,
}

/// A root whose differences to the one before have been taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The tree.
    pub root: Root,
    /// How home stands towards upstream under it; `None`: it does not say.
    pub state: Option<Arc<State>>,
}

/// Home's tree, as far as it is known here. Cheap to clone.
#[derive(Clone)]
pub struct Rooted {
    inner: Arc<Inner>,
}

struct Inner {
    basis: Basis,
    database: Database,
    asker: Asker,
    providers: Providers,
    settled: watch::Sender<Option<Settled>>,
    words: Cache<PackageName, Said>,
    /// Packages whose proofs could not be had, or are being got: until when nobody tries again.
    unproven: Cache<PackageName, Instant>,
    proofs: Arc<Semaphore>,
    documents: Arc<Semaphore>,
    flights: Mutex<HashMap<Cid, Flight>>,
    allowance: Allowance,
    /// Documents of home's own directory that were handed on, by their names.
    told: Mutex<BTreeMap<&'static str, Option<Cid>>>,
}

impl Rooted {
    /// Of the root that was settled last. Blocks while its file is opened.
    #[must_use]
    pub fn open(basis: Basis) -> Self {
        let database = Database::open(&basis.dir, basis.home, basis.store.limits().max_bytes);
        let before = database.settled().map(|(root, state)| {
            let state = state.and_then(|state| State::parse(&state).ok());
            Settled { root, state: state.map(Arc::new) }
        });
        let asker = Asker::new(basis.own, basis.swarm.clone());
        let providers = Providers::new(basis.own, basis.home, basis.swarm.clone());
        let inner = Inner {
            basis,
            database,
            asker,
            providers,
            settled: watch::Sender::new(before),
            words: Cache::new(WORDS),
            unproven: Cache::new(WORDS),
            proofs: Arc::new(Semaphore::new(PROOFS)),
            documents: Arc::new(Semaphore::new(DOCUMENTS)),
            flights: Mutex::default(),
            allowance: Allowance::full(),
            told: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The root that counts now; `None`: none has been settled yet.
    #[must_use]
    pub fn current(&self) -> Option<Settled> {
        self.inner.settled.borrow().clone()
    }

    /// The same, whenever it changes.
    #[must_use]
    pub fn settled(&self) -> watch::Receiver<Option<Settled>> {
        self.inner.settled.subscribe()
    }

    /// Who is followed.
    #[must_use]
    pub fn home(&self) -> PeerId {
        self.inner.basis.home
    }

    /// Makes the head be asked for soon: there is something that it does not know.
    pub fn hurry(&self) {
        (self.inner.basis.hurry)();
    }

    /// Whether nobody is asked for it.
    #[must_use]
    pub fn is_private(&self, name: &PackageName) -> bool {
        let private = &self.inner.basis.private_scopes;
        name.scope().is_some_and(|scope| private.iter().any(|private| private == scope))
    }

    /// The nodes of home's tree that are here, for whoever serves them. Blocks for a moment.
    #[must_use]
    pub fn nodes(&self) -> Option<Nodes> {
        self.inner.database.nodes()
    }
}

impl Settled {
    /// How long ago home knew of everything that upstream's feed had told; `None`: there is no telling.
    #[must_use]
    pub fn since_current(&self) -> Option<Duration> {
        self.state.as_ref()?.since_current(since_1970())
    }

    /// The same of one package: home may except some.
    #[must_use]
    pub fn since_current_of(&self, name: &PackageName) -> Option<Duration> {
        self.state.as_ref()?.since_current_of(name, since_1970())
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
