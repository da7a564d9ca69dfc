//! The Internet: upstream, and the way to it.
//!
//! ```text
//! upstream ── a line with a latency ── its link, with a bandwidth ── the Internet ── routers ── offices
//! ```
//!
//! Upstream is the npm registry to everybody here: over TLS, by its own name, which the public DNS has. On loopback there is
//! the line alone, upstream has another address, and what it counts itself takes the place of the link's counters.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use harness::clients::{self, World};
use harness::http::Request;
use harness::lan::{Counter, Host, Lan, PublicDns, Publication, ZONE};
use harness::{Client, Delay, Gateway, GatewayBuilder, Registry, canonical_url};

use super::measure::Tree;
use super::office::{Machine, Office};
use super::progress::Progress;
use super::{Ground, Settings};

/// Any free port, in the place of this whole process, where the far end of the line is.
const BEHIND: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
/// Nobody listens there: whoever has this for upstream on loopback has no way to it.
const NOWHERE: &str = "http://127.0.0.1:9";
/// Where gateways serve clients, in LANs.
const HTTP: u16 = 80;

/// Upstream, and the way to it.
#[derive(Debug)]
pub(crate) struct Internet {
    way: Way,
    line: Delay,
    /// Where is said what was measured.
    pub(crate) progress: Progress,
    /// What each client's first install has left, which all others are held to.
    trees: Mutex<BTreeMap<Client, Tree>>,
}

#[derive(Debug)]
enum Way {
    Namespaces(Box<Namespaces>),
    /// With what upstream holds.
    Loopback(Registry),
}

#[derive(Debug)]
struct Namespaces {
    world: World,
    public_dns: PublicDns,
    link: Counter,
    npm: Host,
    lan: Lan,
}

impl Internet {
    /// One whose upstream is the npm registry as npm knows it.
    pub(crate) fn new(settings: &Settings, progress: &Progress) -> Self {
        Self::of(settings, progress, &[Client::Npm11])
    }

    /// One whose upstream is the npm registry by every name under which these clients know it.
    pub(crate) fn of(settings: &Settings, progress: &Progress, clients: &[Client]) -> Self {
        match settings.ground {
            Ground::Namespaces => Self::in_namespaces(settings, progress.clone(), clients),
            Ground::Loopback(_) => Self::on_loopback(settings, progress.clone()),
        }
    }

    fn in_namespaces(settings: &Settings, progress: Progress, clients: &[Client]) -> Self {
        let names = World::names(clients);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let lan = Lan::internet();
        let npm = lan.host("npm");
        let addresses: Vec<_> = names.iter().map(|name| (*name, npm.v4().into())).collect();
        let public_dns = PublicDns::new(&lan, Publication::Delegated, &addresses);
        let world = World::of(settings.project.clone(), &names, BEHIND);
        world.registry.render();
        let everywhere = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 443);
        let line = npm.run(|| Delay::at(everywhere, settings.options.round_trip));
        line.lead_to(world.registry.address());
        let link = npm.on(&lan);
        link.limit(settings.options.bandwidth);
        let link = link.counter();
        Self {
            way: Way::Namespaces(Box::new(Namespaces { world, public_dns, link, npm, lan })),
            line,
            progress,
            trees: Mutex::default(),
        }
    }

    fn on_loopback(settings: &Settings, progress: Progress) -> Self {
        let line = Delay::of(settings.options.round_trip);
        let packages = settings.project.packages.clone();
        let registry = Registry::builder().packages(packages).public_url(&line.url()).start();
        registry.render();
        line.lead_to(registry.address());
        Self { way: Way::Loopback(registry), line, progress, trees: Mutex::default() }
    }

    /// Upstream itself.
    pub(crate) fn registry(&self) -> &Registry {
        match &self.way {
            Way::Namespaces(here) => &here.world.registry,
            Way::Loopback(registry) => registry,
        }
    }

    /// A new LAN with a router to the Internet, or what stands for it on loopback.
    pub(crate) fn office(&self, name: &str, number: u8) -> Office {
        match &self.way {
            Way::Namespaces(here) => Office::in_namespaces(name, number, &here.lan, &here.public_dns, ""),
            Way::Loopback(_) => Office::on_loopback(),
        }
    }

    /// The same, whose resolver asks the gateway on the machine with this number for the zone of the gateways.
    pub(crate) fn office_led_to(&self, name: &str, number: u8, gateway: u8) -> Office {
        match &self.way {
            Way::Namespaces(here) => {
                let lines = format!("server=/{ZONE}/192.168.{number}.{gateway}\n");
                Office::in_namespaces(name, number, &here.lan, &here.public_dns, &lines)
            }
            Way::Loopback(_) => Office::on_loopback(),
        }
    }

    /// The Internet as a LAN, for what stands in it besides upstream, and its DNS; nothing of it is there on loopback.
    pub(crate) fn lan(&self) -> Option<(&Lan, &PublicDns)> {
        match &self.way {
            Way::Namespaces(here) => Some((&here.lan, &here.public_dns)),
            Way::Loopback(_) => None,
        }
    }

    /// Where upstream is, for those who ask it straight.
    pub(crate) fn url(&self) -> String {
        match &self.way {
            Way::Namespaces(_) => canonical_url(),
            Way::Loopback(_) => self.line.url(),
        }
    }

    /// The PEM file of who vouches for upstream, if anybody does.
    pub(crate) fn authority(&self) -> Option<&str> {
        match &self.way {
            Way::Namespaces(here) => Some(here.world.authority()),
            Way::Loopback(_) => None,
        }
    }

    /// What a user has who never heard of a gateway.
    pub(crate) fn straight(&self) -> clients::Settings {
        match &self.way {
            Way::Namespaces(here) => here.world.straight(),
            Way::Loopback(_) => clients::Settings::registry(&self.line.url()),
        }
    }

    /// What a user has who was told of this registry: upstream is trusted all the same, so that what goes round the
    /// gateway arrives and is counted.
    pub(crate) fn through(&self, url: &str) -> clients::Settings {
        let settings = clients::Settings::registry(url);
        match self.authority() {
            Some(authority) => settings.trusting(authority.as_ref()),
            None => settings,
        }
    }

    /// A request that trusts whoever vouches for upstream.
    pub(crate) fn trusting(&self, request: Request) -> Request {
        match &self.way {
            Way::Namespaces(here) => request.trust(&here.world.ca),
            Way::Loopback(_) => request,
        }
    }

    /// A gateway in the making that has a way to upstream, with nothing in it and no peers.
    pub(crate) fn gateway(&self) -> GatewayBuilder {
        match &self.way {
            Way::Namespaces(here) => here.world.gateway_builder(),
            Way::Loopback(_) => Gateway::builder().upstream(&self.line.url()),
        }
    }

    /// A gateway in the making that is to run on this machine, with nothing in it and no peers.
    pub(crate) fn gateway_on(&self, machine: &Machine) -> GatewayBuilder {
        match &self.way {
            Way::Namespaces(_) => self.gateway().listen(machine.at(HTTP)),
            Way::Loopback(_) if machine.is_connected() => self.gateway(),
            Way::Loopback(_) => Gateway::builder().upstream(NOWHERE),
        }
    }

    /// Bytes that have come from upstream so far, as its link has counted them; on loopback bodies, as it has counted
    /// them itself since its log was reset.
    pub(crate) fn received(&self) -> u64 {
        match &self.way {
            Way::Namespaces(here) => here.link.passed().sent,
            Way::Loopback(registry) => registry.bytes_sent(),
        }
    }

    /// Bytes that have gone to upstream so far.
    pub(crate) fn sent(&self) -> Option<u64> {
        match &self.way {
            Way::Namespaces(here) => Some(here.link.passed().received),
            Way::Loopback(_) => None,
        }
    }

    /// Whether this is what every install by this client has left so far.
    pub(crate) fn is_usual(&self, client: Client, tree: &Tree) -> bool {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        trees.entry(client).or_insert_with(|| tree.clone()) == tree
    }

    /// Runs `body` while upstream hears nothing, and tells nobody; on loopback it goes on as ever.
    pub(crate) fn silenced<T>(&self, body: impl FnOnce() -> T) -> T {
        let Way::Namespaces(here) = &self.way else { return body() };
        let deaf = "table inet silent { chain heard { type filter hook input priority 0; drop; }; }";
        here.npm.output("nft", &[deaf]).expect_success();
        let done = body();
        here.npm.output("nft", &["delete table inet silent"]).expect_success();
        done
    }
}
