//! Peers as sources of tarballs: who is asked, how they fared, and what is held against them.
//!
//! `resolver` decides ([`sources`], [`hedge`](resolver::hedge), [`strikes`](resolver::strikes)); here is what it decides
//! about. [`line`] makes requests, [`attempt`] takes one answer in, [`record`] is what remains of it. No
//! peer is asked for a private package.

mod attempt;
mod blocks;
mod line;
mod record;
#[cfg(test)]
pub(super) mod stand_in;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use resolver::hedge::{Errand, Hedge, Look, SoFar};
use resolver::integrity::Integrity;
use resolver::package::{FileName, PackageName};
use resolver::peer::PeerId;
use resolver::peers::Sighting;
use resolver::rank::Snapshot;
use resolver::sources::{self, Candidate, Known};
use resolver::strikes::Fitness;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Provenance;
use crate::metrics::Metrics;
use crate::share::Inventories;
use crate::swarm::{Neighbour, Swarm};

pub(super) use attempt::{Meter, Miss};
pub(super) use record::Asking;

use line::{Line, Route};
use record::{Record, State};

/// What peers are asked on the strength of.
pub struct Basis {
    /// This gateway.
    pub own: PeerId,
    /// Whether it serves peers itself.
    pub shares: bool,
    /// What no peer is asked for, not even by name.
    pub private_scopes: Vec<String>,
    /// How long a peer may take, if that is configured.
    pub hedge: Option<Duration>,
    /// Who is connected.
    pub swarm: Swarm,
    /// What they say that they hold.
    pub inventories: Inventories,
    /// How their addresses fare.
    pub known: watch::Receiver<Arc<Snapshot>>,
    /// Told of what is seen of them.
    pub seen: Box<dyn Fn(Sighting) + Send + Sync>,
    /// Where bytes are counted.
    pub metrics: Arc<Metrics>,
}

/// Peers as sources. Cheap to clone.
#[derive(Clone)]
pub struct Peers {
    inner: Arc<Inner>,
}

struct Inner {
    own: PeerId,
    shares: bool,
    private_scopes: Vec<String>,
    swarm: Swarm,
    inventories: Inventories,
    known: watch::Receiver<Arc<Snapshot>>,
    seen: Box<dyn Fn(Sighting) + Send + Sync>,
    metrics: Arc<Metrics>,
    line: Line,
    started: Instant,
    state: Mutex<State>,
}

/// How a peer fares as a source, as people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether it is asked.
    pub fitness: Fitness,
    /// Strikes that count now, of three.
    pub strikes: u8,
    /// Seconds until it is asked again; `None`: it is asked, or never again.
    pub out_for: Option<Duration>,
    /// Bytes that it gave, right or wrong.
    pub received: u64,
}

/// A tarball, as peers are asked for it.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) integrity: Integrity,
    /// Its path in a registry, if its name is known.
    pub(super) path: Option<String>,
}

/// A peer to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) id: PeerId,
    pub(super) near: bool,
    pub(super) errand: Errand,
    route: Route,
}

impl Source {
    pub(super) fn provenance(&self) -> Provenance {
        if self.near { Provenance::Near } else { Provenance::Far }
    }
}

impl Peers {
    /// Nothing is held against anybody yet.
    ///
    /// # Errors
    /// When the system's trust store cannot be read.
    pub fn new(basis: Basis) -> anyhow::Result<Self> {
        let Basis { own, shares, private_scopes, hedge, swarm, inventories, known, seen, metrics } = basis;
        let line = Line::new(own, swarm.clone())?;
        let state = Mutex::new(State { hedge: Hedge::new(hedge), records: BTreeMap::new() });
        let started = Instant::now();
        let inner = Inner {
            own,
            shares,
            private_scopes,
            swarm,
            inventories,
            known,
            seen,
            metrics,
            line,
            started,
            state,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// How a peer fares as a source.
    #[must_use]
    pub fn standing(&self, id: &PeerId) -> Standing {
        let now = self.now();
        let record = self.state().records.get(id).copied().unwrap_or_default();
        let fitness = record.strikes.fitness(now);
        let out_for = match fitness {
            Fitness::Out(until) => until.map(|until| until.saturating_sub(now)),
            _ => None,
        };
        Standing { fitness, strikes: record.strikes.count(), out_for, received: record.received }
    }

    /// What peers may be asked for, and how: by digest, and by name where it is no private one. `None`: for nothing.
    pub(super) fn wanted(
        &self,
        integrity: Integrity,
        named: Option<&(PackageName, FileName)>,
    ) -> Option<Wanted> {
        let is_private = |name: &PackageName| {
            name.scope().is_some_and(|scope| self.inner.private_scopes.iter().any(|private| private == scope))
        };
        if named.is_some_and(|(name, _)| is_private(name)) {
            return None;
        }
        Some(Wanted { integrity, path: named.map(|(name, file)| name.tarball_path(file)) })
    }

    /// Whether any peer has told that it holds this.
    pub(super) fn is_held(&self, integrity: &Integrity) -> bool {
        !self.inner.inventories.holders(integrity).is_empty()
    }

    /// Who is to be asked, in this order, before upstream; `online`: whether upstream answers this gateway.
    pub(super) fn sources(&self, wanted: &Wanted, online: bool) -> Vec<Source> {
        let neighbours = self.inner.swarm.neighbours();
        if neighbours.is_empty() {
            return Vec::new();
        }
        let snapshot = Arc::clone(&self.inner.known.borrow());
        let holding = self.inner.inventories.holders(&wanted.integrity);
        let now = self.now();
        let mut known: BTreeMap<_, _> = neighbours
            .iter()
            .map(|(id, one)| (*id, (one.near, sources::known(&snapshot, id, one.near))))
            .collect();
        let candidates: Vec<_> = {
            let state = self.state();
            let of = |(id, one): (&PeerId, &Neighbour)| {
                let record = state.records.get(id).copied().unwrap_or_default();
                let known = known.get_mut(id).map(|(_, known)| known);
                candidate(*id, one, holding.contains(id), known, &record, now)
            };
            neighbours.iter().map(of).collect()
        };
        let source = |id: PeerId, errand: Errand| {
            let (near, known) = &known[&id];
            let route =
                known.address.clone().map_or(Route::Stream, |(target, base)| Route::Address(target, base));
            Source { id, near: *near, errand, route }
        };
        let holders = sources::holders(&candidates, &wanted.integrity);
        let mut sources: Vec<_> = holders.into_iter().map(|id| source(id, Errand::Held)).collect();
        // Where this gateway can ask upstream itself, nobody fetches for it what some neighbour has.
        if wanted.path.is_some() && (sources.is_empty() || !online) {
            let own = Some(self.inner.own).filter(|_| online && self.inner.shares);
            let owner = sources::owner(own, &candidates, &wanted.integrity);
            sources.extend(
                owner.filter(|owner| *owner != self.inner.own).map(|owner| source(owner, Errand::Fetch)),
            );
        }
        sources
    }

    /// Registers a request to a peer; `None`: it is not to be asked any more.
    pub(super) fn begin(&self, source: &Source) -> Option<Asking> {
        let now = self.now();
        let mut state = self.state();
        state.make_room(now);
        let record = state.records.entry(source.id).or_default();
        let is_fit = matches!(record.strikes.fitness(now), Fitness::Fit | Fitness::Trial);
        if !is_fit || record.is_busy() {
            return None;
        }
        record.asked += 1;
        record.strikes.ask(now);
        Some(Asking { peers: self.clone(), id: source.id, begun: now, overdue: false, over: false })
    }

    /// Whether another source is to be asked besides one that was asked so long ago.
    pub(super) fn look(&self, source: &Source, elapsed: Duration, so_far: &SoFar) -> Look {
        let state = self.state();
        let is_doubted = state.records.get(&source.id).is_some_and(|record| record.strikes.is_doubted());
        state.hedge.look(source.errand, elapsed, so_far, is_doubted)
    }

    /// What a peer may take to answer.
    pub(super) fn delay(&self) -> Duration {
        self.state().hedge.delay()
    }

    /// Upstream has given a tarball, in one go.
    pub(super) fn upstream_gave(&self, bytes: u64, head: Duration, whole: Duration) {
        self.state().hedge.upstream_gave(bytes, head, whole);
    }

    fn answered(&self, after: Duration) {
        self.state().hedge.answered(after);
    }

    fn received(&self, source: &Source, bytes: u64) {
        self.inner.metrics.received_from(source.provenance().label(), bytes);
        if let Some(record) = self.state().records.get_mut(&source.id) {
            record.received += bytes;
        }
    }

    fn distrust_addresses(&self, id: PeerId) {
        if let Some(record) = self.state().records.get_mut(&id) {
            record.by_stream = true;
        }
    }

    fn now(&self) -> Duration {
        self.inner.started.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn candidate(
    id: PeerId,
    one: &Neighbour,
    holds: bool,
    known: Option<&mut Known>,
    record: &Record,
    now: Duration,
) -> Candidate {
    let (ails, caught) = known.as_ref().map_or((false, false), |known| (known.ails, known.caught));
    if let Some(known) = known.filter(|_| record.by_stream) {
        known.address = None;
    }
    Candidate {
        id,
        near: one.near,
        shares: one.card.as_ref().is_some_and(|card| card.shares),
        online: one.card.as_ref().is_some_and(|card| card.online),
        holds,
        well: !ails,
        fit: !caught && matches!(record.strikes.fitness(now), Fitness::Fit | Fitness::Trial),
        busy: record.is_busy(),
    }
}
