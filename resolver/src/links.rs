//! The networks that this machine is attached to, and what an address is worth on them.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Whom an address can be told to. Addresses of different classes never stand in one RRset: filters against DNS
/// rebinding then drop the whole answer, or the half of it that was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Only this machine.
    Loopback,
    /// Only this link (RFC 3927; RFC 4291, section 2.5.6).
    LinkLocal,
    /// A private network (RFC 1918, RFC 4193).
    Private,
    /// Everybody else.
    Public,
}

/// One network interface of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The number that the system gives it, and that a datagram arrives with.
    pub index: u32,
    /// Its addresses, each with the prefix of its network.
    pub networks: Vec<IpNet>,
}

/// All interfaces of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links(pub Vec<Link>);

/// Where a question came from, and where it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The sender's address.
    pub client: IpAddr,
    /// Our address that was asked.
    pub local: IpAddr,
    /// The interface that it came in by.
    pub by: By,
}

/// How it is known by which interface a question came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The system said its number, as with a datagram.
    Number(u32),
    /// Packets to the sender leave by the one with this address. For a connection that is the same: its sender has
    /// answered what was sent there.
    Address(IpAddr),
}

impl Class {
    /// The class of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address {
            _ if address.is_loopback() => Self::Loopback,
            _ if address.is_link_local() => Self::LinkLocal,
            _ if address.is_private() => Self::Private,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        match address {
            _ if address.is_loopback() => Self::Loopback,
            _ if address.is_unicast_link_local() => Self::LinkLocal,
            _ if address.is_unique_local() => Self::Private,
            _ => Self::Public,
        }
    }
}

/// What counts as one client: an IPv4 address, or the /64 of an IPv6 address, for one machine has as many of those as
/// it likes.
#[must_use]
pub fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Link {
    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.networks.iter().map(IpNet::addr)
    }

    /// A private network's: with private addresses, and no public one but those that IPv6 gives every host.
    fn is_private(&self) -> bool {
        let is = |class| self.addresses().any(|address| Class::of(address) == class);
        let public_v4 = self.addresses().any(|ip| ip.is_ipv4() && Class::of(ip) == Class::Public);
        is(Class::Loopback) || (is(Class::Private) && !public_v4)
    }

    fn is_neighbour(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }
}

impl Links {
    /// The interface that a question came in by.
    #[must_use]
    pub fn of(&self, by: By) -> Option<&Link> {
        self.0.iter().find(|link| match by {
            By::Number(index) => link.index == index,
            By::Address(own) => link.addresses().any(|address| address == own),
        })
    }

    /// Whether one of the interfaces has this address.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        self.of(By::Address(address)).is_some()
    }

    /// The networks of all interfaces.
    pub fn networks(&self) -> impl Iterator<Item = IpNet> {
        self.0.iter().flat_map(|link| link.networks.iter().copied())
    }

    /// All addresses of one family that can be listened on: a link-local one of IPv6 would need its link beside it, and
    /// no resolver is configured with such a one.
    pub fn own(&self, v4: bool) -> impl Iterator<Item = IpAddr> {
        let all = self.0.iter().flat_map(Link::addresses);
        all.filter(move |ip| ip.is_ipv4() == v4 && (v4 || Class::of(*ip) != Class::LinkLocal))
    }

    /// Whether the sender is certainly of a private network that this machine is attached to. It must have come in
    /// by an interface of such a network, so that a forged sender's address gains nobody anything, and its address
    /// must be a neighbour's or a private one, as behind a router of that network.
    #[must_use]
    pub fn is_private(&self, arrival: &Arrival) -> bool {
        self.of(arrival.by).is_some_and(|link| {
            link.is_private()
                && (link.is_neighbour(arrival.client) || Class::of(arrival.client) < Class::Public)
        })
    }

    /// The addresses of the interface that a question came in by, those that were configured first coming first.
    pub(crate) fn beside(&self, arrival: &Arrival) -> impl Iterator<Item = IpAddr> {
        // On its way to itself a machine's packets come in by loopback, whatever address they are for.
        let owner = self.of(By::Address(arrival.local));
        owner.or_else(|| self.of(arrival.by)).into_iter().flat_map(Link::addresses)
    }
}

#[cfg(test)]
impl Link {
    /// `192.168.7.9/24`: an address, and its network's prefix.
    pub(crate) fn written(index: u32, networks: &[&str]) -> Self {
        Self { index, networks: networks.iter().map(|network| network.parse().unwrap()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    fn links() -> Links {
        Links(vec![
            Link::written(1, &["127.0.0.1/8", "::1/128"]),
            Link::written(2, &["192.168.7.9/24", "2001:db8:7::9/64", "fe80::9/64"]),
            Link::written(3, &["198.51.100.9/24"]),
            Link::written(4, &["198.51.100.77/24", "10.0.0.1/8"]),
            Link::written(5, &["fd00::9/64", "fe80::5/64"]),
        ])
    }

    fn is_private(client: &str, local: &str, number: u32) -> bool {
        links().is_private(&arrival(client, local, By::Number(number)))
    }

    /// A connection, to whose other end packets leave from `way_back`.
    fn is_private_connection(client: &str, local: &str, way_back: &str) -> bool {
        links().is_private(&arrival(client, local, By::Address(way_back.parse().unwrap())))
    }

    fn arrival(client: &str, local: &str, by: By) -> Arrival {
        Arrival { client: client.parse().unwrap(), local: local.parse().unwrap(), by }
    }

    #[test]
    fn a_neighbour_on_a_private_network_is_of_it() {
        assert!(is_private("192.168.7.20", "192.168.7.9", 2));
        assert!(is_private("2001:db8:7::20", "2001:db8:7::9", 2));
        assert!(is_private("fe80::20", "fe80::9", 2));
        assert!(is_private("10.1.2.3", "192.168.7.9", 2), "another network behind a router");
        assert!(is_private("127.0.0.1", "127.0.0.1", 1));
        assert!(is_private("fd00::1", "fd00::9", 5));
        assert!(is_private_connection("192.168.7.20", "192.168.7.9", "192.168.7.9"));
        assert!(is_private_connection("127.0.0.1", "127.0.0.1", "127.0.0.1"));
    }

    #[test]
    fn a_forged_sender_gains_nothing() {
        assert!(!is_private("192.168.7.20", "192.168.7.9", 3), "came in from outside");
        assert!(!is_private("192.168.7.20", "198.51.100.9", 3));
        assert!(!is_private("198.51.100.20", "198.51.100.9", 3));
        assert!(!is_private("203.0.113.5", "192.168.7.9", 2), "a stranger's address on the LAN");
        assert!(!is_private("10.0.0.5", "10.0.0.1", 4), "public and private on one interface");
        assert!(!is_private("192.168.7.20", "192.168.7.9", 9), "an interface nobody knows");
        assert!(
            !is_private_connection("10.99.0.5", "192.168.7.9", "198.51.100.9"),
            "the way back is outside"
        );
        assert!(!is_private_connection("192.168.7.20", "192.168.7.9", "0.0.0.0"), "no way back");
    }

    #[test]
    fn all_addresses_of_one_ipv6_network_are_one_client() {
        let of = |text: &str| one_client(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.168.7.1"), of("192.168.7.1"));
        assert_ne!(of("192.168.7.1"), of("192.168.7.2"));
    }

    #[test]
    fn own_addresses_are_those_that_can_be_listened_on() {
        let own = |v4| links().own(v4).map(|ip| ip.to_string()).collect::<Vec<_>>();
        assert_eq!(own(true), ["127.0.0.1", "192.168.7.9", "198.51.100.9", "198.51.100.77", "10.0.0.1"]);
        assert_eq!(own(false), ["::1", "2001:db8:7::9", "fd00::9"]);
    }

    #[test]
    fn every_address_has_one_class() {
        let class = |address: &str| Class::of(address.parse().unwrap());
        assert_eq!(class("127.0.0.53"), Class::Loopback);
        assert_eq!(class("::1"), Class::Loopback);
        assert_eq!(class("169.254.1.1"), Class::LinkLocal);
        assert_eq!(class("fe80::1"), Class::LinkLocal);
        assert_eq!(class("172.16.0.1"), Class::Private);
        assert_eq!(class("fd00::1"), Class::Private);
        assert_eq!(class("::ffff:10.0.0.1"), Class::Private);
        assert_eq!(class("100.64.0.1"), Class::Public, "a carrier's network is not one's own");
        assert_eq!(class("2001:db8::1"), Class::Public);
    }
}
