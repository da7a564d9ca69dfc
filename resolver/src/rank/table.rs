//! Who could be told: all gateways that are known, this one among them, and how they fare.
//!
//! The table holds what changes with the configuration and with who comes and goes, arranged so that a decision need not
//! look at everybody; standings lie beside it, for they change with every probe.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use ipnet::IpNet;

use super::client::Client;
use super::nearest::Nearest;
use super::rendezvous;
use super::verdict::{Ranked, Tier};
use crate::fold;
use crate::geo::Whereabouts;
use crate::health::State;
use crate::links::{Class, Links};
use crate::networks::Networks;
use crate::peer::{Endpoint, Peer, PeerId};

/// The number of this gateway in every table.
pub const THIS: u32 = 0;

/// A gateway that could be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Who it is; `None`: this gateway, where it has no identity.
    pub id: Option<PeerId>,
    /// Its addresses; those of this gateway depend on who asks, and are not here.
    pub endpoints: Vec<Endpoint>,
    /// Where a redirect may lead.
    pub urls: Vec<alloc::string::String>,
    /// Where it is.
    pub whereabouts: Whereabouts,
    /// How many clients it takes, as a multiple.
    pub capacity: f32,
    /// Clients may be steered to it.
    pub admitted: bool,
    /// What stands for it in the rendezvous.
    pub(super) hash: u64,
    /// Which endpoints are public, which are IPv4, and which URLs are https.
    pub(super) public: u8,
    v4: u8,
    pub(super) https: u8,
}

/// How a candidate fares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// That of its best endpoint.
    pub state: State,
    /// Its endpoints that can be told: bit 0 is the first.
    pub endpoints: u8,
    /// Its URLs that can be told.
    pub urls: u8,
    /// The part of its clients that it gets: 0 to 1.
    pub weight: f32,
    /// How busy it says it is: 0 to 1.
    pub load: f32,
    /// Seconds until this can change; `None`: never by itself.
    pub changes_in_s: Option<u16>,
    /// Seconds for which it counts as caught.
    pub quarantined_s: Option<u32>,
}

/// All that is known, arranged.
#[derive(Debug)]
pub struct Table {
    pub(super) candidates: Vec<Candidate>,
    /// Of each its hash and its capacity, close together: in a search nearly everybody is dismissed by them.
    pub(super) draws: Vec<(u64, f32)>,
    /// Networks of this machine's interfaces, each with who else is in it.
    pub(super) links: Vec<(IpNet, Vec<u32>)>,
    pub(super) networks: Networks,
    pub(super) systems: BTreeMap<u32, Vec<u32>>,
    pub(super) placed: Nearest,
    /// Those whose place is not known.
    pub(super) placeless: Vec<u32>,
    /// Those to whom a client was led since somebody looked. It decides nothing.
    told: Vec<AtomicBool>,
}

/// What this gateway says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct This {
    /// Who it is.
    pub id: Option<PeerId>,
    /// Where it is, if that is configured.
    pub whereabouts: Whereabouts,
    /// The networks that it serves.
    pub networks: Vec<IpNet>,
    /// How many clients it takes, as a multiple; 0 stands for 1.
    pub capacity: f32,
}

/// All that a decision rests on, besides the client. It does not change; there is a new one.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Who there is.
    pub table: Arc<Table>,
    /// How they fare, by number.
    pub standings: Vec<Standing>,
    /// The numbers of those that have just failed.
    pub(super) suspects: Vec<u32>,
    /// It has been seen for a while how they fare.
    pub settled: bool,
}

impl Standing {
    /// Of a gateway about which nobody has to ask: this one.
    #[must_use]
    pub fn own(accepting: bool, load: f32) -> Self {
        let state = if accepting { State::Up } else { State::Draining };
        Self { state, endpoints: 0, urls: 0, weight: 1.0, load, changes_in_s: None, quarantined_s: None }
    }

    /// The same when all is well again.
    pub(super) fn well(&self, candidate: &Candidate) -> Self {
        Self {
            state: State::Up,
            endpoints: mask(candidate.endpoints.iter().map(|_| true)),
            urls: mask(candidate.urls.iter().map(|_| true)),
            weight: 1.0,
            load: 0.0,
            ..*self
        }
    }
}

impl Candidate {
    /// Its endpoints of one family.
    pub(super) fn of_family(&self, v4: bool) -> u8 {
        if v4 { self.v4 } else { !self.v4 }
    }

    /// The endpoints that can be told: private ones mean nothing but where they are. A client of the Internet is told them if
    /// there are no others, for the filters of home routers take private addresses out of its answers.
    pub(super) fn told(&self, standing: &Standing, tier: Tier, client: &Client) -> u8 {
        let (usable, public) = (standing.endpoints, standing.endpoints & self.public);
        let is_near = tier <= Tier::Declared;
        if is_near && (client.is_private() || public == 0) { usable } else { public }
    }

    fn this(this: &This) -> Self {
        Self {
            id: this.id,
            endpoints: Vec::new(),
            urls: Vec::new(),
            whereabouts: this.whereabouts,
            capacity: if this.capacity > 0.0 { this.capacity } else { 1.0 },
            admitted: true,
            hash: this.id.map_or(0, |id| rendezvous::key(id.key())),
            public: 0,
            v4: 0,
            https: 0,
        }
    }

    fn of(peer: Peer) -> Self {
        let is_public = |endpoint: &Endpoint| Class::of(endpoint.address) == Class::Public;
        Self {
            public: mask(peer.endpoints.iter().map(is_public)),
            v4: mask(peer.endpoints.iter().map(|endpoint| endpoint.address.is_ipv4())),
            https: mask(peer.urls.iter().map(|url| url.starts_with("https:"))),
            hash: rendezvous::key(peer.id.key()),
            id: Some(peer.id),
            endpoints: peer.endpoints,
            urls: peer.urls,
            whereabouts: peer.whereabouts,
            capacity: peer.capacity,
            admitted: peer.admitted,
        }
    }
}

/// Bit n for the n-th; what is beyond the eighth does not count.
pub(crate) fn mask(each: impl Iterator<Item = bool>) -> u8 {
    each.take(8).enumerate().fold(0, |mask, (nth, is)| mask | u8::from(is) << nth)
}

impl Table {
    /// Arranges this gateway and its peers, on a machine with these interfaces.
    #[must_use]
    pub fn new(this: &This, peers: impl IntoIterator<Item = Peer>, links: &Links) -> Self {
        let mut table = Self {
            candidates: vec![Candidate::this(this)],
            draws: Vec::new(),
            links: links.networks().map(|network| (network.trunc(), Vec::new())).collect(),
            networks: Networks::default(),
            systems: BTreeMap::new(),
            placed: Nearest::default(),
            placeless: Vec::new(),
            told: Vec::new(),
        };
        table.links.sort_unstable();
        table.links.dedup();
        let links = table.links.iter().map(|(network, _)| *network);
        links.chain(fold::special()).for_each(|network| table.networks.split(network));
        table.relate(THIS, &this.networks);
        for (peer, number) in peers.into_iter().zip(1..) {
            let networks = peer.networks.clone();
            table.candidates.push(Candidate::of(peer));
            table.relate(number, &networks);
        }
        table.told = table.candidates.iter().map(|_| AtomicBool::new(false)).collect();
        table.draws = table.candidates.iter().map(|one| (one.hash, one.capacity)).collect();
        table.placed = Nearest::new(table.candidates.iter().zip(0..).filter_map(|(candidate, number)| {
            candidate.whereabouts.place.map(|place| (place.direction(), number))
        }));
        table
    }

    fn relate(&mut self, number: u32, networks: &[IpNet]) {
        let candidate = &self.candidates[number as usize];
        for network in networks {
            self.networks.declare(network.trunc(), number);
        }
        for (network, there) in &mut self.links {
            if candidate.endpoints.iter().any(|endpoint| network.contains(&endpoint.address)) {
                there.push(number);
            }
        }
        if let Some(asn) = candidate.whereabouts.asn {
            self.systems.entry(asn).or_default().push(number);
        }
        if candidate.whereabouts.place.is_none() {
            self.placeless.push(number);
        }
    }

    /// A client is led to this one.
    pub(super) fn note_told(&self, number: u32) {
        let told = &self.told[number as usize];
        // Written once, and then only read: all threads share the line.
        if !told.load(Ordering::Relaxed) {
            told.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a client was led there since this was last asked.
    pub(crate) fn take_told(&self, number: u32) -> bool {
        let told = &self.told[number as usize];
        told.load(Ordering::Relaxed) && told.swap(false, Ordering::Relaxed)
    }

    /// Who has this number.
    #[must_use]
    pub fn candidate(&self, number: u32) -> &Candidate {
        &self.candidates[number as usize]
    }

    /// Everybody, by number.
    #[must_use]
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }
}

impl Snapshot {
    /// `standings` has one for each candidate of the table.
    #[must_use]
    pub fn new(table: Arc<Table>, standings: Vec<Standing>, settled: bool) -> Self {
        debug_assert_eq!(table.candidates.len(), standings.len());
        let is_suspect =
            |(standing, number): (&Standing, u32)| (standing.state == State::Suspect).then_some(number);
        let suspects = standings.iter().zip(0..).filter_map(is_suspect).collect();
        Self { table, standings, suspects, settled }
    }

    /// Nobody but this gateway.
    #[must_use]
    pub fn alone() -> Self {
        let table = Table::new(&This::default(), [], &Links::default());
        Self::new(Arc::new(table), vec![Standing::own(true, 0.0)], true)
    }

    /// Whether there is anybody else.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.standings.len() == 1
    }

    /// The addresses of a candidate that the client is told, or nothing for this gateway.
    pub fn addresses(&self, ranked: &Ranked) -> impl Iterator<Item = &Endpoint> {
        let told = ranked.told;
        let endpoints = self.table.candidates[ranked.number as usize].endpoints.iter().enumerate();
        endpoints.filter(move |(nth, _)| told >> nth & 1 == 1).map(|(_, endpoint)| endpoint)
    }
}

impl Default for Snapshot {
    fn default() -> Self {
        Self::alone()
    }
}
