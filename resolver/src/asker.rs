//! Who a question is asked for: the sender of its packet, or the network that a resolver asks for.

use core::net::IpAddr;

use ipnet::IpNet;

use crate::fold::{Folded, is_global, site};
use crate::geo::Whereabouts;
use crate::links::{Arrival, Links};
use crate::subnet::Subnet;

/// The legal scopes of an answer for IPv4: below, one answer would stand for half of the Internet; above, for less
/// than a site.
const SCOPES_V4: (u8, u8) = (8, 24);
/// The same for IPv6.
const SCOPES_V6: (u8, u8) = (16, 56);

/// Whom an answer is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asker {
    /// How the question came here.
    pub arrival: Arrival,
    /// Where the client is: of a global address its /24 or /56, so that whoever is known by a resolver's word is told what he
    /// would be told himself; of another, and of a neighbour on a link of this machine, as much as is known. IPv4 in IPv6 is
    /// IPv4.
    pub client: IpNet,
    /// How that is known.
    pub known_by: KnownBy,
    /// Where on Earth that is, if somebody has looked.
    pub whereabouts: Whereabouts,
}

/// How it is known where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownBy {
    /// By the sender's address.
    Sender,
    /// By the query's client subnet, in whose address so many bits stand before the client's.
    Subnet {
        /// 0, unless the client's IPv4 address stood in an IPv6 one.
        before: u8,
    },
}

impl Asker {
    /// The asker of a question. A subnet that is nobody's on the Internet (private, a carrier's, loopback, link-local,
    /// documentation) is believed only from a resolver that is trusted or of a private network of this machine's.
    #[must_use]
    pub fn of(arrival: &Arrival, subnet: Option<&Subnet>, trusted: &[IpNet], links: &Links) -> Self {
        let told = subnet.and_then(Subnet::network).map(Folded::of);
        let believed = told.filter(|told| {
            is_global(told.network.addr())
                || trusted.iter().any(|network| network.contains(&arrival.client))
                || links.is_private(arrival)
        });
        let (client, known_by) = match believed {
            Some(Folded { network, before }) => (site(network), KnownBy::Subnet { before }),
            None => (sender(arrival.client.to_canonical(), links), KnownBy::Sender),
        };
        Self { arrival: *arrival, client, known_by, whereabouts: Whereabouts::default() }
    }

    /// The question is for the sender of its packet.
    #[must_use]
    pub fn is_sender(&self) -> bool {
        self.known_by == KnownBy::Sender
    }

    /// The asker whose address is the packet's.
    #[must_use]
    pub fn sender(arrival: &Arrival) -> Self {
        Self::of(arrival, None, &[], &Links::default())
    }

    /// The scope that stands beside the client's subnet, where an answer holds for all addresses that share `prefix`
    /// bits with [`Asker::client`]. It is 0 if the answer does not depend on the subnet, and legal otherwise.
    #[must_use]
    pub fn scope(&self, prefix: u8) -> u8 {
        let KnownBy::Subnet { before } = self.known_by else { return 0 };
        if prefix == 0 {
            return 0;
        }
        let (least, most) = if self.client.addr().is_ipv4() { SCOPES_V4 } else { SCOPES_V6 };
        let within =
            if is_global(self.client.addr()) { prefix.clamp(least, most) } else { prefix.max(least) };
        before.saturating_add(within)
    }
}

/// A public link may be smaller than a site, and not all of its site is on it.
fn sender(address: IpAddr, links: &Links) -> IpNet {
    if links.networks().any(|network| network.contains(&address)) {
        return address.into();
    }
    site(Folded::of(address.into()).network)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::{By, Link};
    use alloc::string::ToString;
    use alloc::vec;

    fn links() -> Links {
        Links(vec![Link::written(2, &["192.168.7.9/24"]), Link::written(3, &["8.8.4.9/24"])])
    }

    fn arrival(client: &str, local: &str, number: u32) -> Arrival {
        Arrival { client: client.parse().unwrap(), local: local.parse().unwrap(), by: By::Number(number) }
    }

    fn outside() -> Arrival {
        arrival("9.9.9.9", "8.8.4.9", 3)
    }

    fn lan() -> Arrival {
        arrival("192.168.7.1", "192.168.7.9", 2)
    }

    fn v4(octets: [u8; 3]) -> Subnet {
        Subnet::read(&[&[0, 1, 24, 0], &octets[..]].concat()).unwrap()
    }

    fn client(
        arrival: &Arrival,
        subnet: Option<&Subnet>,
        trusted: &[&str],
    ) -> (alloc::string::String, KnownBy) {
        let trusted: alloc::vec::Vec<_> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let asker = Asker::of(arrival, subnet, &trusted, &links());
        (asker.client.to_string(), asker.known_by)
    }

    const BY_SUBNET: KnownBy = KnownBy::Subnet { before: 0 };

    #[test]
    fn a_client_is_where_the_packet_came_from_or_where_its_resolver_says() {
        assert_eq!(client(&outside(), None, &[]), ("9.9.9.0/24".to_string(), KnownBy::Sender));
        let neighbour = arrival("8.8.4.20", "8.8.4.9", 3);
        assert_eq!(client(&neighbour, None, &[]), ("8.8.4.20/32".to_string(), KnownBy::Sender));
        assert_eq!(client(&neighbour, Some(&v4([8, 8, 4])), &[]), ("8.8.4.0/24".to_string(), BY_SUBNET));
        assert_eq!(client(&lan(), None, &[]), ("192.168.7.1/32".to_string(), KnownBy::Sender));
        let swiss = v4([130, 59, 31]);
        assert_eq!(client(&outside(), Some(&swiss), &[]), ("130.59.31.0/24".to_string(), BY_SUBNET));
        let nobody = Subnet::read(&[0, 1, 0, 0]).unwrap();
        assert_eq!(client(&outside(), Some(&nobody), &[]), ("9.9.9.0/24".to_string(), KnownBy::Sender));
    }

    #[test]
    fn a_private_subnet_is_believed_only_from_who_can_know() {
        for octets in [[192, 168, 8], [100, 64, 1], [127, 0, 0], [169, 254, 1], [198, 51, 100], [10, 1, 1]] {
            let subnet = v4(octets);
            assert_eq!(client(&outside(), Some(&subnet), &[]).1, KnownBy::Sender, "{octets:?}");
            assert_eq!(client(&outside(), Some(&subnet), &["9.9.9.0/24"]).1, BY_SUBNET, "{octets:?}");
            assert_eq!(client(&outside(), Some(&subnet), &["9.9.8.0/24"]).1, KnownBy::Sender, "{octets:?}");
            assert_eq!(client(&lan(), Some(&subnet), &[]).1, BY_SUBNET, "{octets:?}");
        }
        let forged = arrival("192.168.7.1", "8.8.4.9", 3);
        assert_eq!(client(&forged, Some(&v4([192, 168, 8])), &[]).1, KnownBy::Sender);
    }

    #[test]
    fn ipv4_in_ipv6_is_located_as_ipv4_and_its_scope_counts_the_bits_before() {
        let tunnel = Subnet::read(&[0, 2, 40, 0, 0x20, 0x02, 130, 59, 31]).unwrap();
        let asker = Asker::of(&outside(), Some(&tunnel), &[], &links());
        assert_eq!(asker.client.to_string(), "130.59.31.0/24");
        assert_eq!(asker.scope(20), 36);
        let private = Subnet::read(&[0, 2, 40, 0, 0x20, 0x02, 10, 1, 1]).unwrap();
        assert_eq!(client(&outside(), Some(&private), &[]).1, KnownBy::Sender);
        let tunnelled = arrival("2002:823b:1f01::1", "8.8.4.9", 3);
        assert_eq!(client(&tunnelled, None, &[]).0, "130.59.31.0/24");
    }

    #[test]
    fn scopes_are_legal() {
        let asker = Asker::of(&outside(), Some(&v4([130, 59, 31])), &[], &links());
        assert_eq!([0, 1, 8, 20, 24, 32].map(|prefix| asker.scope(prefix)), [0, 8, 8, 20, 24, 24]);
        let v6 = Subnet::read(&[0, 2, 56, 0, 0x2a, 0, 0, 1, 0, 2, 0x34]).unwrap();
        let asker = Asker::of(&outside(), Some(&v6), &[], &links());
        assert_eq!([0, 3, 16, 48, 64, 128].map(|prefix| asker.scope(prefix)), [0, 16, 16, 48, 56, 56]);
        let sender = Asker::of(&outside(), None, &[], &links());
        assert_eq!(sender.scope(24), 0, "nobody asked");
        let lan = Asker::of(&lan(), Some(&v4([192, 168, 8])), &[], &links());
        assert_eq!(lan.scope(26), 26, "a private network may be smaller than a site");
    }
}
