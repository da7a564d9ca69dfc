//! A LAN: a switch with a place of its own, so that it takes part in nothing, and the numbers of its hosts.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, Ordering};

use super::link::End;
use super::{Host, Link};
use crate::network::{configure, ip_batch};
use crate::place::Place;

/// The switch's own name, inside of its place.
const BRIDGE: &str = "switch";
/// How many bytes the name of an interface may have, says Linux.
const LONGEST: usize = 15;
/// The router's number in every LAN.
pub(super) const ROUTER: u8 = 1;
/// The number of the first host that is not given one.
const FIRST: u8 = 10;

/// A network of up to 253 hosts: a /24 of IPv4 and a /64 of IPv6 addresses.
#[derive(Debug)]
pub struct Lan {
    name: String,
    place: Place,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
    next: AtomicU8,
}

impl Lan {
    /// A LAN with the private addresses 192.168.`number`.0/24 and fd00:`number`::/64.
    ///
    /// `name` is what its interfaces are called, and at most 15 bytes long.
    pub fn new(name: &str, number: u8) -> Self {
        let v6 = Ipv6Addr::new(0xfd00, number.into(), 0, 0, 0, 0, 0, 0);
        Self::with_addresses(name, Ipv4Addr::new(192, 168, number, 0), v6)
    }

    /// The Internet, as one LAN with public addresses: what is not in it cannot be reached.
    ///
    /// The ranges are like real ones, for resolvers treat those that are reserved for documentation as private.
    pub fn internet() -> Self {
        let v6 = Ipv6Addr::new(0x2a0d, 0x5600, 8, 0, 0, 0, 0, 0);
        Self::with_addresses("internet", Ipv4Addr::new(45, 83, 220, 0), v6)
    }

    fn with_addresses(name: &str, v4: Ipv4Addr, v6: Ipv6Addr) -> Self {
        let place = Place::apart();
        place.run(|| {
            configure("net/ipv6/conf/default/disable_ipv6", "1");
            ip_batch(&format!("link add name {BRIDGE} type bridge mcast_snooping 0\nlink set {BRIDGE} up\n"));
        });
        Self { name: name.to_owned(), place, v4, v6, next: AtomicU8::new(FIRST) }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A new host with the next free number; its way out and its name server are the router's address.
    pub fn host(&self, name: &str) -> Host {
        self.host_at(name, self.free_number())
    }

    /// The same with this number: `192.168.7.9` for 9.
    pub fn host_at(&self, name: &str, number: u8) -> Host {
        let mut host = Host::new(name);
        host.join(self, number);
        let (v4, v6) = self.addresses(ROUTER);
        if number != ROUTER {
            let routes = format!("route add default via {v4}\nroute add default via {v6}\n");
            host.run(|| ip_batch(&routes));
        }
        host.use_name_servers(&[v4.into()]);
        host
    }

    /// A new host between this LAN and `outside`: it forwards, and what leaves has its address of there.
    ///
    /// [`Host::v4`] and [`Host::v6`] are its addresses inside.
    pub fn router(&self, outside: &Self) -> Host {
        let mut router = Host::new("router");
        router.join(self, ROUTER);
        router.join(outside, outside.free_number());
        let masquerade = format!(
            "table inet outside {{ chain leaving {{ type nat hook postrouting priority srcnat; \
             oifname \"{}\" masquerade; }}; }}",
            outside.name
        );
        router.run(|| {
            configure("net/ipv4/ip_forward", "1");
            configure("net/ipv6/conf/all/forwarding", "1");
        });
        router.output("nft", &[&masquerade]).expect_success();
        router
    }

    /// The addresses of the host with this number.
    pub(super) fn addresses(&self, number: u8) -> (Ipv4Addr, Ipv6Addr) {
        (Ipv4Addr::from_bits(self.v4.to_bits() | u32::from(number)), self.host_bits(number))
    }

    /// Puts a cable between a port of the switch and a new interface of the host.
    pub(super) fn plug(&self, name: &str, host: &Place, number: u8) -> Link {
        let port: String = format!("{number}-{name}").chars().take(LONGEST).collect();
        self.place.run(|| {
            let end = host.network_path();
            ip_batch(&format!(
                "link add name {port} type veth peer name {} netns {end}\n\
                 link set {port} master {BRIDGE} up\n",
                self.name
            ));
        });
        let switch = End { place: self.place.clone(), name: port };
        let host = End { place: host.clone(), name: self.name.clone() };
        Link::new(switch, host, self.addresses(number))
    }

    /// Written as people write them: host 10 is `::10`.
    fn host_bits(&self, number: u8) -> Ipv6Addr {
        let written = u16::from_str_radix(&number.to_string(), 16).expect("decimal digits are hexadecimal");
        Ipv6Addr::from_bits(self.v6.to_bits() | u128::from(written))
    }

    fn free_number(&self) -> u8 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        assert!(number < u8::MAX, "the LAN {} is full", self.name);
        number
    }
}
