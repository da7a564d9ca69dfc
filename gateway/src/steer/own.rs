//! This gateway's own address in an explanation, where nobody has asked and so it is not known which one it would be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use resolver::answer::{Answer, Facts, Kind, answer};
use resolver::asker::Asker;
use resolver::links::Class;
use resolver::zone::Location;
use serde::{Deserialize, Serialize};

/// This gateway among the addresses that a client is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// What is known of its address.
    pub words: String,
    /// How many of the addresses come before it.
    pub place: usize,
}

/// What is answered, as if this gateway had one address of the client's class in each family that it has.
pub(super) struct StandIn {
    facts: Facts,
}

impl StandIn {
    /// `None`: it is known which address was asked, or which addresses are told.
    pub(super) fn of(asker: &Asker, facts: &Facts) -> Option<Self> {
        if !asker.arrival.local.is_unspecified() || !facts.configured.is_empty() {
            return None;
        }
        let class = Class::of(asker.arrival.client).max(Class::Private);
        let led_to = |address: IpAddr| Class::of(address) >= Class::Private;
        let families = [true, false].into_iter().filter(|v4| facts.links.own(*v4).any(led_to));
        let configured = families.filter_map(|v4| free(class, v4, facts)).collect();
        Some(Self { facts: Facts { configured, ..facts.clone() } })
    }

    /// The addresses of others, their TTL, and where this gateway's own would stand.
    pub(super) fn told(&self, kind: Kind, asker: &Asker) -> (Vec<IpAddr>, Option<u32>, Option<Own>) {
        let Answer::Addresses { mut addresses, ttl, .. } = answer(Location::Apex, kind, asker, &self.facts)
        else {
            return (Vec::new(), None, None);
        };
        let place = addresses.iter().position(|address| self.facts.configured.contains(address));
        addresses.retain(|address| !self.facts.configured.contains(address));
        let words = "this gateway's own address, whichever is asked".to_owned();
        (addresses, Some(ttl), place.map(|place| Own { words, place }))
    }
}

/// An address of this class and family that no candidate has. Of the public ones it is of a range that nobody has.
fn free(class: Class, v4: bool, facts: &Facts) -> Option<IpAddr> {
    let is_taken = |address: &IpAddr| {
        let mut endpoints = facts.peers.table.candidates().iter().flat_map(|one| &one.endpoints);
        endpoints.any(|endpoint| endpoint.address == *address)
    };
    let nth = |nth: u8| match (class, v4) {
        (Class::Public, true) => IpAddr::V4(Ipv4Addr::new(240, 0, 0, nth)),
        (_, true) => IpAddr::V4(Ipv4Addr::new(10, 255, 255, nth)),
        (Class::Public, false) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, nth.into())),
        (_, false) => IpAddr::V6(Ipv6Addr::new(0xfdff, 0, 0, 0, 0, 0, 0, nth.into())),
    };
    (0..=u8::MAX).map(nth).find(|address| !is_taken(address))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use resolver::geo::Whereabouts;
    use resolver::health::Outcome;
    use resolver::links::{Arrival, By, Link, Links};
    use resolver::peer::{Endpoint, Peer, PeerId};
    use resolver::peers::{Peers, Sighting};

    use super::*;
    use crate::steer::Explanation;

    const WORDS: &str = "this gateway's own address, whichever is asked";

    /// A peer for all clients whose addresses begin with 8, at this address.
    fn peer(address: [u8; 4]) -> Peer {
        Peer {
            id: PeerId::of_key([address[3]; 32]),
            endpoints: vec![Endpoint { address: address.into(), https: false }],
            urls: Vec::new(),
            whereabouts: Whereabouts::default(),
            networks: vec!["8.0.0.0/8".parse().unwrap()],
            capacity: 1.0,
            admitted: true,
        }
    }

    fn facts(own: &[&str], peers: &[[u8; 4]]) -> Facts {
        let networks = own.iter().map(|network| network.parse().unwrap()).collect();
        let links = Links(vec![Link { index: 2, networks }]);
        let (mut known, now) = (Peers::new(Duration::ZERO), Duration::from_secs(3600));
        for address in peers {
            known.learn(Sighting::Known(peer(*address)), Duration::ZERO);
        }
        for due in known.due(now) {
            let passed = Outcome::Passed { load: 0.0, accepting: true };
            known.learn(Sighting::Met(due.id, due.target, passed), now);
        }
        Facts { links, peers: Arc::new(known.snapshot(now)), ..Facts::default() }
    }

    fn explain(facts: &Facts, client: &str) -> Explanation {
        let (client, local) = (client.parse().unwrap(), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let asker = facts.asker(&Arrival { client, local, by: By::Address(local) }, None);
        Explanation::of(facts, &asker, "as asked for", 10)
    }

    #[test]
    fn this_gateway_stands_in_the_answer_where_it_would_though_its_address_is_not_known() {
        let first = explain(&facts(&["192.168.7.9/24"], &[]), "8.8.8.8");
        assert_eq!(first.answers[0].to_string(), format!("A: {WORDS}, for 60 s"));
        assert_eq!(first.answers[1].to_string(), "AAAA: none", "it has no such address");

        let peers = [[198, 18, 0, 1]];
        let second = explain(&facts(&["192.168.7.9/24"], &peers), "8.8.8.8");
        assert_eq!(second.answers[0].addresses, [IpAddr::from(peers[0])]);
        assert_eq!(second.answers[0].own, Some(Own { words: WORDS.to_owned(), place: 1 }));
        assert!(second.answers[0].to_string().starts_with(&format!("A: 198.18.0.1, {WORDS}, for")));
        let third = explain(&facts(&["192.168.7.9/24"], &[[198, 18, 0, 1], [198, 18, 0, 2]]), "8.8.8.8");
        assert_eq!((third.answers[0].addresses.len(), &third.answers[0].own), (2, &None));
    }

    #[test]
    fn what_stands_for_the_address_is_nobodys() {
        let taken: Vec<_> = (0..3).map(|nth| [240, 0, 0, nth]).collect();
        let facts = facts(&["192.168.7.9/24"], &taken);
        assert_eq!(free(Class::Public, true, &facts), Some([240, 0, 0, 3].into()));
    }
}
