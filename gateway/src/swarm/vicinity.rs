//! The networks around: which of this machine's interfaces peers are looked for on, and who is near.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, PoisonError, RwLock};

use ipnet::IpNet;
use resolver::links::Class;

use crate::interfaces;

/// What interfaces of containers, of virtual machines and of tunnels are called: behind them are no neighbours.
const OTHERS: [&str; 12] =
    ["br-", "cni", "docker", "lo", "tailscale", "tap", "tun", "veth", "virbr", "vmnet", "wg", "zt"];

/// Places that are remembered as the operator's: names lead elsewhere with time.
const MOST_ALLOWED: usize = 1024;

/// What is around. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Vicinity {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Interfaces that the operator names.
    named: Vec<String>,
    around: RwLock<Around>,
    /// Places that the operator has named, wherever they are.
    allowed: RwLock<BTreeSet<SocketAddr>>,
}

/// This machine's addresses, each with its network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Around {
    near: Vec<IpNet>,
    /// Of the interfaces that are left out some has an IPv4 address, or an IPv6 address.
    left_out: [bool; 2],
}

impl Vicinity {
    /// As it is now; `named` interfaces count whatever they look like.
    pub(super) fn new(named: &[String]) -> Self {
        let inner = Inner { named: named.to_vec(), around: RwLock::default(), allowed: RwLock::default() };
        let vicinity = Self { inner: Arc::new(inner) };
        vicinity.look();
        vicinity
    }

    /// Looks again. True when it has changed.
    pub(super) fn look(&self) -> bool {
        let Ok(addresses) = interfaces::addresses() else { return false };
        let up = addresses.into_iter().filter(|one| one.up);
        let (meant, others): (Vec<_>, Vec<_>) = up.partition(|one| self.is_meant(&one.interface));
        let others: Vec<IpNet> = others.into_iter().map(|one| one.network).collect();
        let of_family =
            |v6| others.iter().any(|one| matches!(one, IpNet::V6(_)) == v6 && !one.addr().is_loopback());
        let near = meant.into_iter().map(|one| one.network).collect();
        let next = Around { near, left_out: [of_family(false), of_family(true)] };
        let mut around = self.inner.around.write().unwrap_or_else(PoisonError::into_inner);
        let changed = *around != next;
        *around = next;
        changed
    }

    /// Whether peers are looked for on an interface of this name.
    pub(super) fn is_meant(&self, interface: &str) -> bool {
        is_meant(interface, &self.inner.named)
    }

    /// Whether an address is on a network that this machine is attached to, and not behind a tunnel.
    pub(super) fn is_near(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.is_beside(address)
    }

    /// The same, and it is another machine's or may be.
    pub(super) fn is_beside(&self, address: IpAddr) -> bool {
        self.around().near.iter().any(|network| network.contains(&address))
    }

    /// Whether there is an interface that is left out, with an address of this family.
    pub(super) fn leaves_out(&self, v6: bool) -> bool {
        self.around().left_out[usize::from(v6)]
    }

    /// The operator has named this place.
    pub(super) fn allow(&self, place: SocketAddr) {
        let mut allowed = self.inner.allowed.write().unwrap_or_else(PoisonError::into_inner);
        if allowed.len() >= MOST_ALLOWED {
            // Whatever is still meant is looked up again.
            allowed.clear();
        }
        allowed.insert(place);
    }

    /// Whether this gateway connects there, whoever says that a peer is there: to what is everybody's, and to the networks
    /// around. Not to itself, nor to private networks elsewhere: a stranger could have it knock at their doors.
    pub(super) fn may_be_dialled(&self, place: SocketAddr) -> bool {
        let allowed = || self.inner.allowed.read().unwrap_or_else(PoisonError::into_inner).contains(&place);
        match Class::of(place.ip()) {
            Class::Public => true,
            Class::Private => self.is_beside(place.ip()) || allowed(),
            // Without its interface an address of a link leads nowhere.
            Class::LinkLocal | Class::Loopback => allowed(),
        }
    }

    fn around(&self) -> std::sync::RwLockReadGuard<'_, Around> {
        self.inner.around.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_meant(interface: &str, named: &[String]) -> bool {
    let looks_like = |prefix: &&str| match *prefix {
        "lo" => interface == "lo",
        prefix => interface.starts_with(prefix),
    };
    named.iter().any(|one| one == interface) || !OTHERS.iter().any(looks_like)
}

/// The address of this machine that packets to another leave from. Sends nothing.
pub(super) fn own_address_towards(other: IpAddr) -> Option<IpAddr> {
    let any: SocketAddr = if other.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    // Any port will do: nothing is sent there.
    socket.connect((other, 9)).ok()?;
    socket.local_addr().ok().map(|local| local.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_and_tunnels_are_left_out_unless_they_are_named() {
        for out in [
            "lo",
            "docker0",
            "veth12ab",
            "br-4f2a",
            "virbr0",
            "cni0",
            "tun0",
            "tap1",
            "wg0",
            "zt7",
            "tailscale0",
        ] {
            assert!(!is_meant(out, &[]), "{out}");
            assert!(is_meant(out, &[out.to_owned()]), "{out}");
        }
        for kept in ["eth0", "enp3s0", "wlan0", "br0", "bond0", "lowpan0", "office"] {
            assert!(is_meant(kept, &[]), "{kept}");
        }
    }

    #[test]
    fn a_stranger_cannot_have_this_gateway_knock_at_private_doors() {
        let vicinity = Vicinity::new(&[]);
        let place = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(vicinity.may_be_dialled(place("198.51.100.7:6738")));
        for refused in ["127.0.0.1:6379", "[::1]:6737", "169.254.169.254:80", "[fe80::1]:6738"] {
            assert!(!vicinity.may_be_dialled(place(refused)), "{refused}");
        }
        vicinity.allow(place("127.0.0.1:6379"));
        assert!(vicinity.may_be_dialled(place("127.0.0.1:6379")));
        assert!(!vicinity.may_be_dialled(place("127.0.0.1:6380")));
    }

    #[test]
    fn packets_to_oneself_leave_from_oneself() {
        assert_eq!(own_address_towards([127, 0, 0, 1].into()), Some([127, 0, 0, 1].into()));
    }
}
