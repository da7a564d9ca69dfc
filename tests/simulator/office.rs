//! An office: a LAN behind a router, with machines whose links are counted; on loopback, nothing but the machines' names.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use harness::lan::{Counter, Host, Lan, NameServer, PublicDns};

/// A LAN with a way to the Internet.
pub(crate) struct Office {
    network: Option<Network>,
    counters: Mutex<Vec<(Role, Counter)>>,
}

/// What there is of it in namespaces.
struct Network {
    _resolver: NameServer,
    router: Host,
    lan: Lan,
}

/// What a machine is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A gateway runs on it, or what stands in its place.
    Gateway,
    /// Somebody installs on it.
    Client,
}

/// A machine of an office, or this machine itself.
#[derive(Debug)]
pub(crate) struct Machine {
    host: Option<Host>,
    connected: bool,
}

impl Office {
    /// Its router's resolver has these lines as well.
    pub(super) fn in_namespaces(
        name: &str,
        number: u8,
        internet: &Lan,
        public_dns: &PublicDns,
        lines: &str,
    ) -> Self {
        let lan = Lan::new(name, number);
        let router = lan.router(internet);
        let resolver = NameServer::dnsmasq(&router, &format!("{}{lines}", public_dns.for_dnsmasq(false)));
        let counters = Mutex::default();
        Self { network: Some(Network { _resolver: resolver, router, lan }), counters }
    }

    pub(super) fn on_loopback() -> Self {
        Self { network: None, counters: Mutex::default() }
    }

    /// A new machine, which is counted as what it is there for.
    pub(crate) fn machine(&self, role: Role, name: &str) -> Machine {
        self.made(role, |lan| lan.host(name))
    }

    /// The same with this number, where there are any.
    pub(crate) fn machine_at(&self, role: Role, name: &str, number: u8) -> Machine {
        self.made(role, |lan| lan.host_at(name, number))
    }

    fn made(&self, role: Role, make: impl FnOnce(&Lan) -> Host) -> Machine {
        let host = self.network.as_ref().map(|network| {
            let host = make(&network.lan);
            let counter = host.on(&network.lan).counter();
            self.counters.lock().unwrap_or_else(PoisonError::into_inner).push((role, counter));
            host
        });
        Machine { host, connected: true }
    }

    /// The same without a way to the Internet.
    pub(crate) fn cut_off_machine(&self, role: Role, name: &str) -> Machine {
        let machine = self.machine(role, name);
        for family in ["-4", "-6"] {
            if let Some(host) = &machine.host {
                host.output("ip", &[family, "route", "del", "default"]).expect_success();
            }
        }
        Machine { connected: false, ..machine }
    }

    /// Runs `body` while the router drops whatever leaves for the Internet, and tells nobody.
    pub(crate) fn without_internet<T>(&self, body: impl FnOnce() -> T) -> T {
        let chain = |name: &str| {
            format!("chain {name} {{ type filter hook {name} priority 0; oifname \"internet\" drop; }}; ")
        };
        let table = format!("table inet away {{ {}{} }}", chain("forward"), chain("output"));
        let set = |command: &str| {
            if let Some(network) = &self.network {
                network.router.output("nft", &[command]).expect_success();
            }
        };
        set(&table);
        let done = body();
        set("delete table inet away");
        done
    }

    /// Bytes that came to machines for gateways from other machines of the office so far: neither from the Internet nor from clients.
    /// `None`: nobody counts here.
    pub(crate) fn between_gateways(&self) -> Option<u64> {
        let network = self.network.as_ref()?;
        let from_outside = network.router.on(&network.lan).counter().passed().sent;
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |wanted: Role| {
            let of_role = counters.iter().filter(move |(role, _)| *role == wanted);
            of_role.map(|(_, counter)| counter.passed())
        };
        let to_gateways: u64 = of(Role::Gateway).map(|passed| passed.received).sum();
        let from_clients: u64 = of(Role::Client).map(|passed| passed.sent).sum();
        // Clients ask gateways, and the router answers those who ask: nobody else is in this LAN.
        Some(to_gateways.saturating_sub(from_outside + from_clients))
    }
}

impl fmt::Debug for Office {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Office({:?})", self.network.as_ref().map(|network| network.lan.name()))
    }
}

impl Machine {
    /// Runs `body` there: what it starts, opens and looks up is of this machine.
    pub(crate) fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        match &self.host {
            Some(host) => host.run(body),
            None => body(),
        }
    }

    /// Where something of it listens: this port of its address, or any free port of loopback.
    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        match &self.host {
            Some(host) => host.at(port),
            None => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        }
    }

    /// Whether it has a network of its own.
    pub(crate) fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// Whether it has a way to the Internet.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }
}
