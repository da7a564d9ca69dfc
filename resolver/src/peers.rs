//! The one that learns: which peers there are, and how each of their addresses fares. Everybody else holds a snapshot.
//!
//! [`Peers::learn`] takes what somebody has seen, [`Peers::due`] says whom to probe now, [`Peers::snapshot`] says what is
//! known. Nothing here waits or looks anything up; time is passed in, as the time since the start.

mod guard;
mod known;
mod schedule;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use self::guard::Guard;
use self::known::Known;
use self::schedule::Schedule;
use crate::geo::Whereabouts;
use crate::health::{self, Health, Outcome, State};
use crate::links::{Class, Links};
use crate::peer::{Endpoint, Peer, PeerId};
use crate::rank::table::{Standing, This};
use crate::rank::{self, Snapshot, Table};

/// Peers that are known at most: of more, those that come later are not learned.
pub const MOST_PEERS: usize = 10_000;
/// After so long it has been seen how everybody fares; until then answers hold as short as they can.
const SETTLED_AFTER: Duration = Duration::from_secs(600);
/// A peer is looked at this part of the interval sooner or later, so that many do not come at once.
const JITTER: f64 = 0.2;

/// What somebody has seen of a peer.
#[derive(Debug, Clone, PartialEq)]
pub enum Sighting {
    /// There is such a peer, and this is what is said of it.
    Known(Peer),
    /// Nobody says so any more.
    Gone(PeerId),
    /// What is known of where a peer is.
    Located(PeerId, Whereabouts),
    /// One of its addresses was probed, or a client was sent there.
    Met(PeerId, Target, Outcome),
    /// It was caught: bytes with another digest, metadata that is not what the root says. Not by who answers at one of
    /// its addresses: that need not be it.
    Caught(PeerId, Offence),
    /// Whether upstream answers.
    Upstream(bool),
    /// This machine's interfaces.
    Links(Links),
    /// This gateway, as its own entry describes it.
    This(This),
    /// Whether this gateway takes clients, and how busy it is: 0 to 1.
    Own {
        /// It takes clients.
        accepting: bool,
        /// Between 0 and 1.
        load: f32,
    },
}

/// An address of a peer: what is probed, and what clients are told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Port 80 of an IP address, and 443 where https is offered.
    Address(IpAddr),
    /// Scheme, host and perhaps a port.
    Url(String),
}

/// What a peer was caught at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offence {
    /// Its bytes had another digest.
    WrongBytes,
}

/// A probe that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Of whom.
    pub id: PeerId,
    /// Where.
    pub target: Target,
    /// Clients that say https are served at this address too.
    pub https: bool,
    /// The longest that it may take.
    pub timeout: Duration,
}

/// All that is known of peers.
#[derive(Debug)]
pub struct Peers {
    started: Duration,
    this: This,
    own: Standing,
    links: Links,
    known: BTreeMap<PeerId, Known>,
    /// What those were caught at who have gone since: who comes back is the same.
    offenders: BTreeMap<PeerId, Vec<(Offence, Duration)>>,
    schedule: Schedule,
    guard: Guard,
    /// Arranged as long as nobody comes or goes.
    table: Option<Arc<Table>>,
}

impl Peers {
    /// Nobody but this gateway.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        Self {
            started: now,
            this: This::default(),
            own: Standing::own(true, 0.0),
            links: Links::default(),
            known: BTreeMap::new(),
            offenders: BTreeMap::new(),
            schedule: Schedule::default(),
            guard: Guard::default(),
            table: None,
        }
    }

    /// Takes what was seen. True when that may change an answer.
    pub fn learn(&mut self, sighting: Sighting, now: Duration) -> bool {
        match sighting {
            Sighting::Known(peer) => self.meet(peer, now),
            Sighting::Gone(id) => self.forget(&id),
            Sighting::Located(id, whereabouts) => self.locate(id, whereabouts),
            Sighting::Met(id, target, outcome) => self.met(id, target, outcome, now),
            Sighting::Caught(id, offence) => {
                self.known.get_mut(&id).map(|known| known.catch(offence, now)).is_some()
            }
            Sighting::Upstream(answers) => self.guard.hears(answers),
            Sighting::Links(links) if links == self.links => false,
            Sighting::Links(links) => {
                self.links = links;
                self.rearrange()
            }
            Sighting::This(this) => {
                self.this = this;
                self.rearrange()
            }
            Sighting::Own { accepting, load } => {
                let own = Standing::own(accepting, load);
                let changes = own != self.own;
                self.own = own;
                changes
            }
        }
    }

    /// The probes that are to be made now; each is under way until its outcome is learned.
    pub fn due(&mut self, now: Duration) -> Vec<Due> {
        let mut due = Vec::new();
        while let Some((id, target)) = self.schedule.pop(now) {
            let Some(known) = self.known.get(&id) else { continue };
            let https = known.offers_https(&target);
            due.push(Due { id, https, timeout: timeout(known.interval), target });
        }
        due
    }

    /// When the next probe is to be made.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.schedule.next()
    }

    /// Whether everybody has been looked at once.
    #[must_use]
    pub fn is_first_round_over(&self, now: Duration) -> bool {
        self.known.values().all(|known| known.healths().all(|health| health.state(now) != State::Unknown))
    }

    /// What is known now. Whoever is only waiting for time to pass changes without anything being learned: take another
    /// after a few seconds while [`Self::is_moving`].
    pub fn snapshot(&mut self, now: Duration) -> Snapshot {
        let frozen = self.guard.look(&self.known, now);
        let standings = self.known.values().map(|known| known.standing(now, frozen.holds(known)));
        let standings = core::iter::once(self.own).chain(standings).collect();
        let settled = now.saturating_sub(self.started) >= SETTLED_AFTER;
        Snapshot::new(self.table(), standings, settled)
    }

    /// Somebody is getting his clients back, is in quarantine or is held up by the guard, or it is not long since the start.
    #[must_use]
    pub fn is_moving(&self, now: Duration) -> bool {
        let settling = now.saturating_sub(self.started) < SETTLED_AFTER;
        settling || self.guard.is_holding(now) || self.known.values().any(|known| known.is_moving(now))
    }

    /// Whether a group of peers is taken for well although its probes fail, since this gateway itself seems to be cut off.
    #[must_use]
    pub fn is_holding(&self, now: Duration) -> bool {
        self.guard.is_holding(now)
    }

    /// So many have fallen silent at once that this gateway itself may be cut off, were upstream not said to answer.
    #[must_use]
    pub fn suspects_disconnection(&self, now: Duration) -> bool {
        self.guard.suspects(&self.known, now)
    }

    /// Takes to whom clients were led since the last time: who has none for long is probed less often, and whoever gets one
    /// again is looked at now.
    pub fn note_told(&mut self, now: Duration) {
        let Some(table) = &self.table else { return };
        for ((id, known), number) in self.known.iter_mut().zip(1..) {
            if table.take_told(number) {
                if known.is_idle(now) {
                    self.schedule.hasten(now, id);
                }
                known.used = now;
            }
        }
    }

    fn table(&mut self) -> Arc<Table> {
        let arrange = || {
            let peers = self.known.values().map(|known| known.peer.clone());
            Arc::new(Table::new(&self.this, peers, &self.links))
        };
        Arc::clone(self.table.get_or_insert_with(arrange))
    }

    fn rearrange(&mut self) -> bool {
        self.table = None;
        true
    }

    fn meet(&mut self, peer: Peer, now: Duration) -> bool {
        let id = peer.id;
        if Some(id) == self.this.id || (self.known.len() >= MOST_PEERS && !self.known.contains_key(&id)) {
            return false;
        }
        let interval = interval(&peer);
        let known = match self.known.remove(&id) {
            Some(before) => before.with(peer, interval, now),
            None => Known::new(peer, interval, now).caught(self.offenders.remove(&id).unwrap_or_default()),
        };
        self.schedule.remove(&id);
        known.targets().for_each(|target| self.schedule.put(now, id, target));
        self.known.insert(id, known);
        self.rearrange()
    }

    fn forget(&mut self, id: &PeerId) -> bool {
        let Some(known) = self.known.remove(id) else { return false };
        let offences = known.offences();
        if !offences.is_empty() && self.offenders.len() < MOST_PEERS {
            self.offenders.insert(*id, offences);
        }
        self.schedule.remove(id);
        self.rearrange()
    }

    fn locate(&mut self, id: PeerId, whereabouts: Whereabouts) -> bool {
        match self.known.get_mut(&id) {
            Some(known) if known.peer.whereabouts != whereabouts => {
                known.peer.whereabouts = whereabouts;
                self.rearrange()
            }
            _ => false,
        }
    }

    fn met(&mut self, id: PeerId, target: Target, outcome: Outcome, now: Duration) -> bool {
        let Some(known) = self.known.get_mut(&id) else { return false };
        let usual = if known.is_idle(now) { known.interval * health::IDLE_FACTOR } else { known.interval };
        let Some(health) = known.health(&target) else { return false };
        let changed = health.learn(outcome, now);
        let pause = jittered(health, usual, &id, now);
        self.schedule.put(now + pause, id, target);
        changed
    }
}

/// Half of the interval, and no more than a client would wait.
fn timeout(interval: Duration) -> Duration {
    (interval / 2).min(Duration::from_secs(2))
}

/// Nobody knows how far a name leads.
fn interval(peer: &Peer) -> Duration {
    let is_near = |endpoint: &Endpoint| Class::of(endpoint.address) < Class::Public;
    let all_near = !peer.endpoints.is_empty() && peer.endpoints.iter().all(is_near);
    if all_near { health::LAN } else { health::FEDERATION }
}

/// The usual pause, a fifth sooner or later, as who and when will have it; one that has just failed is not kept waiting.
fn jittered(health: &Health, usual: Duration, id: &PeerId, now: Duration) -> Duration {
    let pause = health.pause(false);
    if pause < health::LAN {
        return pause;
    }
    let drawn = rank::draw(rank::key(id.key()), u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    usual.mul_f64(1.0 - JITTER + 2.0 * JITTER * drawn)
}

#[cfg(test)]
mod tests;
