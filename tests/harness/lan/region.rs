//! A part of the world with gateways of its own: a LAN behind a router, or the Internet itself.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::switch::ROUTER;
use super::{Host, Lan, NameServer, PublicDns, ZONE};

/// What routers come with: a filter against DNS rebinding.
const REBINDING: &str = "stop-dns-rebind\nrebind-domain-ok=/registry.open-registry.dev/\n";

/// Machines for gateways and for a client, who all look names up at the region's own resolver.
#[derive(Debug)]
pub struct Region {
    /// What it is called.
    pub name: &'static str,
    /// The resolver's machine, at .1: the router, if the region is a LAN.
    pub router: Host,
    /// Machines for gateways.
    pub servers: Vec<Host>,
    /// A machine with a client.
    pub client: Host,
    _lan: Option<Lan>,
    _resolver: NameServer,
}

impl Region {
    /// A LAN, 192.168.`number`.0/24, behind a router with a filter against DNS rebinding; its machines for gateways have
    /// these numbers, and are asked for the zone.
    pub fn lan(name: &'static str, number: u8, internet: &Lan, public: &PublicDns, servers: &[u8]) -> Self {
        let lan = Lan::new(name, number);
        let router = lan.router(internet);
        let region = Self::of(&lan, name, router, public, servers, REBINDING);
        Self { _lan: Some(lan), ..region }
    }

    /// Machines of the Internet itself, with public addresses.
    pub fn public(name: &'static str, internet: &Lan, public: &PublicDns, servers: &[u8]) -> Self {
        let router = internet.host_at("resolver", ROUTER);
        Self::of(internet, name, router, public, servers, "")
    }

    fn of(
        lan: &Lan,
        name: &'static str,
        router: Host,
        public: &PublicDns,
        servers: &[u8],
        lines: &str,
    ) -> Self {
        let servers: Vec<Host> = servers.iter().map(|number| lan.host_at(name, *number)).collect();
        let client = lan.host("client");
        let mut lines = format!("{lines}{}", public.for_dnsmasq(false));
        for server in &servers {
            writeln!(lines, "server=/{ZONE}/{}", server.v4()).expect("a write to memory");
        }
        let resolver = NameServer::dnsmasq(&router, &lines);
        Self { name, router, servers, client, _lan: None, _resolver: resolver }
    }

    /// Where its gateways are.
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        self.servers.iter().map(Host::v4).collect()
    }
}
