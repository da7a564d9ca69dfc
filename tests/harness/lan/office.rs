//! The scene that most tests begin with: an office with a router, behind which is the Internet.

use std::net::IpAddr;

use super::public_dns::PUBLIC_ENTRY_NUMBER;
use super::{Host, Lan, PublicDns, Publication};

/// An office LAN, 192.168.7.0/24 and fd00:7::/64. No resolver runs on its router yet.
#[derive(Debug)]
pub struct Office {
    /// Everything else in the world.
    pub internet: Lan,
    /// The host of the Internet that has the names which the office was made with.
    pub npm: Host,
    /// The host of the Internet that the public DNS names for the zone of the gateways; nothing listens there.
    pub entry: Host,
    /// What the Internet's names mean.
    pub public_dns: PublicDns,
    /// The switch.
    pub lan: Lan,
    /// Its way out, at .1: the name server of every host, once there runs one.
    pub router: Host,
    /// The small box for the gateway, at .9.
    pub server: Host,
    /// A host that knows nothing of a gateway.
    pub laptop: Host,
}

impl Office {
    /// An office, and an Internet in which these names are those of the host `npm`.
    pub fn new(names: &[&str]) -> Self {
        let internet = Lan::internet();
        let npm = internet.host("npm");
        let entry = internet.host_at("entry", PUBLIC_ENTRY_NUMBER);
        let addresses = [IpAddr::from(npm.v4()), npm.v6().into()];
        let published = names.iter().flat_map(|name| addresses.map(|address| (*name, address)));
        let names: Vec<(&str, IpAddr)> = published.collect();
        let public_dns = PublicDns::new(&internet, Publication::Delegated, &names);
        let lan = Lan::new("office", 7);
        let router = lan.router(&internet);
        let server = lan.host_at("server", 9);
        let laptop = lan.host("laptop");
        Self { internet, npm, entry, public_dns, lan, router, server, laptop }
    }
}
