//! Who asks: an address, and how much of it is known.

use core::net::IpAddr;

use ipnet::IpNet;

use super::rendezvous;
use crate::fold::is_global;
use crate::geo::Whereabouts;
use crate::links::Class;

/// Scopes that are told, for IPv4 and IPv6 (RFC 7871, section 7.2.1): as wide as is useful to a cache, and as narrow as
/// public clients are told apart, but for this machine's neighbours. More than that resolvers do not tell of their clients.
const WIDEST: [u8; 2] = [8, 16];
const NARROWEST: [u8; 2] = [24, 56];

/// A client, located.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Client {
    network: IpNet,
    /// It is of a private network that this machine is attached to.
    pub at_home: bool,
    /// Where it is.
    pub whereabouts: Whereabouts,
}

impl Client {
    /// A client in this network, as narrow as it is known and counts: [`Asker::client`](crate::asker::Asker::client).
    #[must_use]
    pub fn new(network: IpNet, at_home: bool, whereabouts: Whereabouts) -> Self {
        Self { network, at_home, whereabouts }
    }

    /// Its address; what is not known of it is zero.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.network.addr()
    }

    /// What is known of its address.
    #[must_use]
    pub fn network(&self) -> IpNet {
        self.network
    }

    /// Private addresses mean something to it.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.at_home || Class::of(self.address()) < Class::Public
    }

    /// How many bits of the address an answer depends on, when declared networks treat all of `alike` bits alike. Private
    /// networks are sites of their own, for no cache knows them but their own.
    pub(super) fn scope(&self, alike: u8) -> u8 {
        let v6 = usize::from(self.address().is_ipv6());
        let told_apart = self.whereabouts.prefix.max(alike);
        if is_global(self.address()) {
            told_apart.clamp(WIDEST[v6], NARROWEST[v6].max(self.network.prefix_len()))
        } else {
            told_apart.max(NARROWEST[v6])
        }
    }

    /// What its place in the rendezvous depends on: what answers may be remembered for. A key of its own for each site
    /// would give two answers to clients within one scope.
    pub(super) fn key(&self, scope: u8) -> u64 {
        let address = IpNet::new(self.address(), scope).map_or(self.address(), |scope| scope.trunc().addr());
        match address {
            IpAddr::V4(v4) => rendezvous::key(&v4.octets()),
            IpAddr::V6(v6) => rendezvous::key(&v6.octets()),
        }
    }
}
