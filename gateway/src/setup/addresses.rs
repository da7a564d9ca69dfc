//! The addresses of this machine that a network's computers could reach it by.

use std::fs;
use std::io;
use std::net::IpAddr;

use resolver::links::Class;

use crate::interfaces;

/// How the names of interfaces begin behind which there is no network of computers: containers, machines, tunnels.
const VIRTUAL: [&str; 8] = ["docker", "veth", "virbr", "vnet", "tun", "tap", "wg", "openreg"];
/// Docker calls the bridge of a network `br-` and this many hexadecimal digits. OpenWrt's `br-lan` is the LAN itself.
const DOCKERS_DIGITS: usize = 12;
/// In the eighth column of `/proc/net/if_inet6`: made to be thrown away, deprecated, a duplicate, not yet certain.
const UNSTABLE: u32 = 0x01 | 0x20 | 0x08 | 0x40;

/// An interface, and its addresses that stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// `eth0`
    pub name: String,
    /// Whether packets to the Internet go through it.
    pub default_route: bool,
    /// Neither of loopback nor of the link alone.
    pub addresses: Vec<IpAddr>,
}

/// This machine has no address that another could reach it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no address of the gateway is known: this machine is in no \
        network; say --address, or set addresses in [zone]"
)]
pub struct NoAddress;

/// The interfaces of this machine, the one towards the Internet first.
///
/// # Errors
/// When the system does not tell.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let unstable = unstable(&fs::read_to_string("/proc/net/if_inet6").unwrap_or_default());
    let mut found: Vec<Interface> = Vec::new();
    for one in interfaces::addresses()? {
        let (name, address) = (one.interface, one.network.addr());
        if !one.up || is_virtual(&name) {
            continue;
        }
        if Class::of(address) <= Class::LinkLocal || unstable.contains(&address) {
            continue;
        }
        match found.iter_mut().find(|known| known.name == name) {
            Some(known) => known.addresses.push(address),
            None => {
                let default_route = is_default_route(&routes, &name);
                found.push(Interface { name, default_route, addresses: vec![address] });
            }
        }
    }
    found.sort_by_key(|interface| !interface.default_route);
    Ok(found)
}

fn is_virtual(name: &str) -> bool {
    let of_docker = |digits: &str| {
        digits.len() == DOCKERS_DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    };
    VIRTUAL.iter().any(|prefix| name.starts_with(prefix)) || name.strip_prefix("br-").is_some_and(of_docker)
}

/// `/proc/net/route` has one line per route: interface and destination first.
fn is_default_route(routes: &str, name: &str) -> bool {
    routes.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(name) && words.next() == Some("00000000")
    })
}

/// `/proc/net/if_inet6`: address, index, prefix, scope, flags (each in hexadecimal) and interface.
fn unstable(table: &str) -> Vec<IpAddr> {
    let of_line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let flags = u32::from_str_radix(words.get(4)?, 16).ok()?;
        let address = u128::from_str_radix(words.first()?, 16).ok()?;
        (flags & UNSTABLE != 0).then_some(IpAddr::V6(address.into()))
    };
    table.lines().filter_map(of_line).collect()
}

/// The addresses to be told to a network: one of each family, of one interface and one class, for private and public
/// ones never go together. Those with IPv4 come first, for not every computer has IPv6; then a private network's.
pub(super) fn choose(interfaces: &[Interface]) -> Result<(&Interface, Vec<IpAddr>), NoAddress> {
    let classes = [Class::Private, Class::Public].into_iter();
    let all = classes.flat_map(|class| interfaces.iter().map(move |one| (one, one.of(class))));
    let mut candidates: Vec<_> = all.filter(|(_, addresses)| !addresses.is_empty()).collect();
    candidates.sort_by_key(|(_, addresses)| !addresses[0].is_ipv4());
    candidates.into_iter().next().ok_or(NoAddress)
}

impl Interface {
    /// Its first address of each family of this class, IPv4 first.
    fn of(&self, class: Class) -> Vec<IpAddr> {
        let mut fits = self.addresses.iter().filter(|ip| Class::of(**ip) == class).copied();
        let v4 = fits.clone().find(IpAddr::is_ipv4);
        v4.into_iter().chain(fits.find(IpAddr::is_ipv6)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, addresses: &[&str]) -> Interface {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Interface { name: name.into(), default_route: false, addresses }
    }

    fn chosen(interfaces: &[Interface]) -> Vec<String> {
        choose(interfaces).unwrap().1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_private_networks_addresses_are_chosen_and_no_public_one_beside_them() {
        let wan = interface("eth0", &["203.0.113.9", "2001:db8::9"]);
        let lan = interface("eth1", &["192.168.7.9", "192.168.7.10", "2001:db8:7::9", "fd00::9"]);
        assert_eq!(chosen(&[wan.clone(), lan]), ["192.168.7.9", "fd00::9"]);
        assert_eq!(chosen(std::slice::from_ref(&wan)), ["203.0.113.9", "2001:db8::9"]);
        assert_eq!(chosen(&[wan, interface("eth1", &["192.168.7.9", "2001:db8:7::9"])]), ["192.168.7.9"]);
        assert_eq!(chosen(&[interface("eth0", &["203.0.113.9", "fd00::9"])]), ["203.0.113.9"]);
        assert_eq!(choose(&[]), Err(NoAddress));
    }

    #[test]
    fn a_networks_own_bridge_is_told_from_one_of_containers() {
        for own in ["br-lan", "br0", "br-guest", "br-0123456789abcd", "eth0"] {
            assert!(!is_virtual(own), "{own}");
        }
        for containers in ["br-0123456789ab", "docker0", "veth1a2b", "wg0"] {
            assert!(is_virtual(containers), "{containers}");
        }
    }

    #[test]
    fn addresses_that_will_go_away_are_told_from_those_that_stay() {
        let table = "fd000000000000000000000000000009 02 40 00 80     eth0\n\
                     fd00000000000000abcdef0123456789 02 40 00 01     eth0\n";
        assert_eq!(unstable(table), ["fd00::abcd:ef01:2345:6789".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn the_interface_towards_the_internet_is_known_by_its_route() {
        let routes = "Iface\tDestination\tGateway\neth1\t0007A8C0\t00000000\neth0\t00000000\t0107A8C0\n";
        assert!(is_default_route(routes, "eth0") && !is_default_route(routes, "eth1"));
    }
}
