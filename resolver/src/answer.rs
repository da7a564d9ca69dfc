//! The answer to one DNS question: addresses and a time to live, or the reason why there are none.
//!
//! One synchronous call on facts that somebody else has gathered: an answer never waits. Whoever is alone answers with
//! itself; where there are peers, the engine ranks them ([`crate::rank`]).

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::asker::Asker;
use crate::links::{Arrival, Class, Links};
use crate::rank::Snapshot;
use crate::subnet::Subnet;
use crate::zone::Location;

mod steered;

pub use self::steered::Steered;

/// Addresses in one answer: one to use, and one more for when that has died.
const MOST: usize = 2;
/// Seconds that an answer holds on a private network, where machines come and go.
const TTL_LAN: u32 = 20;
/// Seconds that an answer holds anywhere else.
const TTL_PUBLIC: u32 = 60;
/// Seconds that the texts of a head hold: whoever follows by DNS hears of a new root so much later than he asks. A resolver
/// asks for them three times a minute at most.
pub const TTL_HEAD: u32 = 20;
/// Seconds that it holds that there is nothing (RFC 2308): a peer that comes back is not missed for long.
pub const TTL_NEGATIVE: u32 = 30;
/// The ports that an address alone leads to.
const WEB: [u16; 2] = [80, 443];

/// The types of records that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Words.
    Txt,
    /// The start of authority.
    Soa,
    /// The name servers.
    Ns,
    /// Whatever there is (RFC 8482).
    Any,
    /// The whole zone (AXFR, IXFR), or mail's types that nobody has used since 1987.
    Meta,
    /// Any other.
    Other,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Where the name leads.
    Addresses {
        /// Of one family and one class, the best one first.
        addresses: Vec<IpAddr>,
        /// How many seconds they hold.
        ttl: u32,
        /// For how many bits of the client's subnet they hold, as [`Asker::scope`] says; 0: whoever asks.
        scope: u8,
    },
    /// Who asked, as `key=value`: `client=192.168.7.20`.
    Words(Vec<String>),
    /// The zone's SOA record.
    Authority,
    /// The zone's NS record.
    NameServer,
    /// What this gateway publishes ([`crate::head::dns::texts`]); no such record, while there is nothing.
    Head,
    /// The link to it ([`crate::head::dns::link`]); the same.
    Link,
    /// RFC 8482: there is no "any".
    Minimal,
    /// The name is there, such a record is not.
    NoData,
    /// There is no such name.
    NoName,
    /// Not for us to say.
    Refused,
    /// Not ours, but the client may have it looked up.
    Forward,
}

/// What an answer depends on besides the question.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The addresses of this gateway, where they are configured.
    pub configured: Vec<IpAddr>,
    /// Where clients are served; an unspecified address stands for all of its family.
    pub served: Vec<SocketAddr>,
    /// The interfaces of this machine.
    pub links: Links,
    /// Whether other names are looked up for private clients.
    pub forwards: bool,
    /// Other gateways, and how they fare.
    pub peers: Arc<Snapshot>,
    /// Resolvers that are believed when they ask for a client of a private network.
    pub trusted_forwarders: Vec<IpNet>,
}

/// The answer to a question of class IN for what lies at `location` of the zone.
#[must_use]
pub fn answer(location: Location, kind: Kind, asker: &Asker, facts: &Facts) -> Answer {
    let arrival = &asker.arrival;
    match (location, kind) {
        (_, Kind::Meta) => Answer::Refused,
        (Location::Outside, _) if facts.forwards && facts.links.is_private(arrival) => Answer::Forward,
        (Location::Outside, _) => Answer::Refused,
        (Location::Nowhere, _) => Answer::NoName,
        (_, Kind::Any) => Answer::Minimal,
        (Location::Link, Kind::Txt) => Answer::Link,
        (Location::Link, _) => Answer::NoData,
        (Location::Apex, Kind::A | Kind::Aaaa) if !facts.peers.is_alone() => steered(kind, asker, facts),
        (_, Kind::A | Kind::Aaaa) => own(kind, arrival, facts),
        (Location::Apex, Kind::Txt) => Answer::Head,
        (Location::Direct, Kind::Txt) => Answer::Words(words(arrival)),
        (Location::Apex, Kind::Soa) => Answer::Authority,
        (Location::Apex, Kind::Ns) => Answer::NameServer,
        _ => Answer::NoData,
    }
}

/// This gateway, whoever else there is.
fn own(kind: Kind, arrival: &Arrival, facts: &Facts) -> Answer {
    let addresses: Vec<IpAddr> =
        facts.told(arrival).into_iter().filter(|address| is_of(kind, *address)).take(MOST).collect();
    match addresses.first().map(|first| ttl(*first)) {
        Some(ttl) => Answer::Addresses { addresses, ttl, scope: 0 },
        None => Answer::NoData,
    }
}

/// The best gateways for this client.
fn steered(kind: Kind, asker: &Asker, facts: &Facts) -> Answer {
    let steered = facts.steer(asker);
    match steered.told(kind == Kind::A) {
        Some((addresses, ttl)) => {
            Answer::Addresses { ttl, scope: asker.scope(steered.decision.scope), addresses }
        }
        None => Answer::NoData,
    }
}

fn is_of(kind: Kind, address: IpAddr) -> bool {
    address.is_ipv4() == (kind == Kind::A)
}

impl Facts {
    /// Whom a question is for that arrived so, with this client subnet.
    #[must_use]
    pub fn asker(&self, arrival: &Arrival, subnet: Option<&Subnet>) -> Asker {
        Asker::of(arrival, subnet, &self.trusted_forwarders, &self.links)
    }

    /// This gateway's addresses for this client, all of one class: those that are configured, else those that it can use.
    pub(crate) fn told(&self, arrival: &Arrival) -> Vec<IpAddr> {
        if self.configured.is_empty() {
            let mut own: Vec<IpAddr> = self.own(arrival).collect();
            // One of each family: interfaces have more addresses than anybody needs.
            let first = |v4: bool| own.iter().copied().find(|address| address.is_ipv4() == v4);
            let told = [first(arrival.local.is_ipv4()), first(!arrival.local.is_ipv4())];
            own = told.into_iter().flatten().collect();
            return own;
        }
        let wanted = self.configured_class(arrival);
        self.configured.iter().copied().filter(|address| Class::of(*address) == wanted).collect()
    }

    /// The addresses that the client can use: the one that it asked, then those beside it of the same class.
    fn own(&self, arrival: &Arrival) -> impl Iterator<Item = IpAddr> {
        let class = usable_class(arrival.local);
        let asked = core::iter::once(arrival.local);
        asked.chain(self.links.beside(arrival)).filter(move |address| {
            usable(*address)
                && class.is_none_or(|class| Class::of(*address) == class)
                && self.serves(*address)
        })
    }

    /// Whether an address leads to where clients are served. With no listener on the ports of the web somebody else
    /// has them, a reverse proxy for one, and every address counts.
    fn serves(&self, address: IpAddr) -> bool {
        let mut web = self.served.iter().filter(|listener| WEB.contains(&listener.port())).peekable();
        let everywhere =
            |listener: &SocketAddr| listener.ip().is_unspecified() && listener.is_ipv4() == address.is_ipv4();
        web.peek().is_none() || web.any(|listener| listener.ip() == address || everywhere(listener))
    }

    /// The class of configured addresses that the client is told: the private ones if it is of a private network
    /// and there are any.
    fn configured_class(&self, arrival: &Arrival) -> Class {
        let private = Class::of(arrival.client) < Class::Public || self.links.is_private(arrival);
        let has = |class| self.configured.iter().any(|address| Class::of(*address) == class);
        match (has(Class::Private), has(Class::Public)) {
            (true, true) if private => Class::Private,
            (true, false) => Class::Private,
            (false, false) => self.configured.first().map_or(Class::Public, |address| Class::of(*address)),
            _ => Class::Public,
        }
    }
}

/// An address without a scope does not lead anywhere on its link.
fn usable(address: IpAddr) -> bool {
    let scoped = address.is_ipv6() && Class::of(address) == Class::LinkLocal;
    !scoped && !address.is_unspecified()
}

/// The class that the other addresses must have; any, where the one that was asked is of no use to a client.
fn usable_class(address: IpAddr) -> Option<Class> {
    usable(address).then(|| Class::of(address))
}

fn ttl(address: IpAddr) -> u32 {
    if Class::of(address) == Class::Public { TTL_PUBLIC } else { TTL_LAN }
}

/// For whoever wants to know by whom his question came here; not beside the texts of the head, for these hold for everybody, and all
/// texts of a name have one time to live (RFC 2181, section 5.2). One fact, for an answer must not be much longer than its question.
fn words(arrival: &Arrival) -> Vec<String> {
    [alloc::format!("client={}", arrival.client)].into()
}

#[cfg(test)]
mod tests;
