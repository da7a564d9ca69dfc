//! A decision as addresses: of one class, at most two, and for how long.

use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;

use super::{Facts, MOST};
use crate::asker::Asker;
use crate::fold::is_global;
use crate::links::Class;
use crate::rank::table::THIS;
use crate::rank::{Client, Decision, Purpose, Ranked, Snapshot};

/// Seconds that an answer holds at least and at most: on a private network, and anywhere else.
const LAN: (u16, u16) = (5, 20);
const PUBLIC: (u16, u16) = (20, 60);
/// Milliseconds beyond which an address is not told beside a better one: clients that try one after the other give each
/// of them 250 ms.
const TOO_FAR_BESIDE: f64 = 200.0;

/// Whom a client is told, with all that an answer needs.
#[derive(Debug)]
pub struct Steered<'a> {
    /// The client.
    pub client: Client,
    /// Whom it should talk to.
    pub decision: Decision,
    snapshot: &'a Snapshot,
    /// This gateway's own addresses for it.
    own: Vec<IpAddr>,
}

impl Facts {
    /// Whom this asker is told.
    #[must_use]
    pub fn steer(&self, asker: &Asker) -> Steered<'_> {
        let client = self.client(asker);
        let decision = self.peers.decide(&client, Purpose::Answer);
        Steered { client, decision, snapshot: &self.peers, own: self.told(&asker.arrival) }
    }

    /// The network whose clients are all told what this asker is told, if so much of him is known; `None` for whoever is of a
    /// private network, or asks for one.
    #[must_use]
    pub fn alike(&self, asker: &Asker) -> Option<IpNet> {
        let client = self.client(asker);
        let public =
            Class::of(asker.arrival.client) == Class::Public && !self.links.is_private(&asker.arrival);
        let scope = self.peers.scope(&client);
        let known = is_global(client.address()) && client.network().prefix_len() >= scope;
        IpNet::new(client.address(), scope).ok().filter(|_| public && known).map(|network| network.trunc())
    }

    /// The client that an asker asks for. Whoever asks for a private network that he is believed to be of, or to know, asks
    /// for a client at home.
    #[must_use]
    pub fn client(&self, asker: &Asker) -> Client {
        let of_private_network =
            Class::of(asker.client.addr()) < Class::Public && self.links.is_private(&asker.arrival);
        let itself = asker.is_sender() && self.links.is_private(&asker.arrival);
        Client::new(asker.client, of_private_network || itself, asker.whereabouts)
    }
}

impl Steered<'_> {
    /// The addresses of one family, the best one first, and how many seconds they hold; `None`: there are none. Both families
    /// are of one class, and so of one network: a client that has both must not be led away from the gateway beside it by the
    /// other one.
    #[must_use]
    pub fn told(&self, v4: bool) -> Option<(Vec<IpAddr>, u32)> {
        let class = self.class()?;
        let (mut addresses, mut ttl) =
            (self.addresses(&self.decision, class, v4), ttl(&self.decision, class));
        if addresses.is_empty() && class == Class::Public {
            // A client of the other family alone has to be told somebody. That none of the best has such an address can change too.
            let others = self.snapshot.decide(&self.client, Purpose::OneFamily { v4 });
            addresses = self.addresses(&others, class, v4);
            ttl = ttl.min(self::ttl(&others, class));
        }
        (!addresses.is_empty()).then_some((addresses, ttl))
    }

    /// Two gateways are better than two addresses of one; a second one that is too far is none.
    fn addresses(&self, decision: &Decision, class: Class, v4: bool) -> Vec<IpAddr> {
        let fits = |address: &IpAddr| address.is_ipv4() == v4 && Class::of(*address) == class;
        let of =
            |one: &Ranked| (one.cost.total(), self.all_of(one).into_iter().filter(fits).collect::<Vec<_>>());
        let each = decision.ranked.iter().map(of).filter(|(_, all)| !all.is_empty()).enumerate();
        let near = each.filter(|(nth, (cost, _))| *nth == 0 || *cost < TOO_FAR_BESIDE);
        let near: Vec<Vec<IpAddr>> = near.map(|(_, (_, all))| all).take(MOST).collect();
        match near.as_slice() {
            [only] => only.iter().copied().take(MOST).collect(),
            several => several.iter().filter_map(|all| all.first().copied()).collect(),
        }
    }

    fn all_of(&self, ranked: &Ranked) -> Vec<IpAddr> {
        match ranked.number {
            THIS => self.own.clone(),
            _ => self.snapshot.addresses(ranked).map(|endpoint| endpoint.address).collect(),
        }
    }

    /// The class of the best gateway that has an address at all.
    fn class(&self) -> Option<Class> {
        let first = self.decision.ranked.iter().find_map(|one| self.all_of(one).first().copied());
        first.map(Class::of)
    }
}

/// Seconds that a decision holds: until it can change, within bounds.
fn ttl(decision: &Decision, class: Class) -> u32 {
    let (least, most) = if class == Class::Public { PUBLIC } else { LAN };
    let until = if decision.degraded { least } else { decision.changes_in_s.unwrap_or(most) };
    u32::from(until.clamp(least, most))
}

#[cfg(test)]
mod tests;
