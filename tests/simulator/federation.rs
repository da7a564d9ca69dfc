//! Gateways of one LAN, tied together in one way or another, and a client beside each of them.

use std::thread;
use std::time::Duration;

use harness::{Client, Gateway, GatewayBuilder, Identity, clients, free_port};

use super::Settings;
use super::finding::Finding;
use super::internet::Internet;
use super::measure::{Between, Installation, Run, await_that, install, measure};
use super::office::{Machine, Office, Role};
use super::probe::probe_after;
use super::verdaccio::Verdaccio;

/// Where peers connect, on each machine of a LAN.
const PEERS: &str = "0.0.0.0:6738,[::]:6738";
/// How long gateways may take until all of them are connected.
const PATIENCE: Duration = Duration::from_secs(60);
/// Beside five gateways and five clients on the processors of one machine any peer is slow at times, and would be
/// overtaken by upstream, which has these processors too but a latency and a bandwidth of its own.
const PATIENT: &str = "[federation]\nhedge_ms = 10000\n";
/// As gateways come.
const USUAL: &str = "[federation]\n";

/// How gateways have to do with one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ties {
    /// They know of nobody: sharing is off.
    Apart,
    /// They share, and each has its own way to upstream.
    Equals,
    /// The first is home to the others, and everybody has a way to the Internet.
    WithHome,
    /// The first is home to the others, who have no way to the Internet.
    OneConnected,
}

/// Machines in an office, and how the gateways on them are tied together.
#[derive(Debug)]
pub(crate) struct Federation {
    pub(crate) office: Office,
    /// Where the gateways run.
    pub(crate) servers: Vec<Machine>,
    /// Whose clients ask the gateway of the same number.
    pub(crate) clients: Vec<Machine>,
    ties: Ties,
    home: Identity,
    /// The beginning of every gateway's configuration.
    lines: &'static str,
}

impl Federation {
    /// An office of this number with so many machines for gateways, and for clients.
    pub(crate) fn new(internet: &Internet, number: u8, ties: Ties, count: usize) -> Self {
        let office = internet.office("office", number);
        let server = |nth: usize| {
            let name = format!("server-{nth}");
            if ties == Ties::OneConnected && nth > 0 {
                office.cut_off_machine(Role::Gateway, &name)
            } else {
                office.machine(Role::Gateway, &name)
            }
        };
        let servers = (0..count).map(server).collect();
        let clients = (0..count).map(|nth| office.machine(Role::Client, &format!("desk-{nth}"))).collect();
        Self { office, servers, clients, ties, home: Identity::new(), lines: PATIENT }
    }

    /// The same with gateways that wait for peers no longer than they usually do, before they ask others as well.
    pub(crate) fn impatient(self) -> Self {
        Self { lines: USUAL, ..self }
    }

    /// Starts new gateways, and waits until all are connected to one another.
    pub(crate) fn start(&self, internet: &Internet) -> Vec<Gateway> {
        let mut gateways: Vec<Gateway> = Vec::new();
        for machine in &self.servers {
            let builder = self.describe(internet, machine, &gateways);
            gateways.push(machine.run(|| builder.start()));
        }
        if self.ties != Ties::Apart {
            let others = gateways.len() as f64 - 1.0;
            for gateway in &gateways {
                let connected = || gateway.metric("open_registry_peers_connected", &[]) >= others;
                await_that("a connection to every peer", PATIENCE, connected);
            }
        }
        gateways
    }

    /// One more gateway, on a machine beyond those that it began with, which has to do with the others as with equals.
    pub(crate) fn start_on(&self, internet: &Internet, machine: &Machine) -> Gateway {
        let builder = internet.gateway_on(machine).peers_at(PEERS).config_toml(self.lines);
        machine.run(|| builder.start())
    }

    /// The next gateway, for this machine, after these.
    fn describe(&self, internet: &Internet, machine: &Machine, earlier: &[Gateway]) -> GatewayBuilder {
        let builder = internet.gateway_on(machine);
        if self.ties == Ties::Apart {
            return builder;
        }
        let builder = match machine.host() {
            Some(_) => builder.peers_at(PEERS).config_toml(self.lines),
            // Nobody is looked for on a loopback that is everybody's.
            None => {
                let led_to: Vec<_> = earlier.iter().map(|one| format!("{:?}", one.contact())).collect();
                let lines = format!("{}discover = false\nbootstrap = [{}]\n", self.lines, led_to.join(", "));
                builder.peers_at(&format!("127.0.0.1:{}", free_port())).config_toml(&lines)
            }
        };
        match (earlier.first(), self.ties) {
            (None, _) => builder.identity(&self.home),
            (Some(_), Ties::Equals | Ties::Apart) => builder,
            (Some(home), _) => builder.flag("--federate").flag(&contact_of(home, &self.servers[0])),
        }
    }

    /// Starts new gateways, and everybody installs at the same moment; then the last of them is probed.
    pub(crate) fn play(&self, settings: &Settings, internet: &Internet) -> Run {
        let gateways = self.start(internet);
        let all: Vec<&Gateway> = gateways.iter().collect();
        let urls: Vec<String> = gateways.iter().map(Gateway::url).collect();
        self.install(settings, internet, &urls, Between::Gateways(&all), || ())
    }

    /// Everybody installs at the same moment from what stands at these addresses; as soon as all have, something may be to be done;
    /// then the last of them is probed.
    pub(crate) fn install(
        &self,
        settings: &Settings,
        internet: &Internet,
        urls: &[String],
        between: Between<'_>,
        then: impl FnOnce(),
    ) -> Run {
        let all: Vec<_> = self.clients.iter().zip(urls.iter().cloned()).collect();
        let install = || {
            let installed = together(settings, internet, &all);
            then();
            installed
        };
        let (mut run, installed) = measure(internet, &[&self.office], between, install);
        if let Some((client, url)) = all.last() {
            run.probed = probe_after(settings, internet, client, url, &installed);
        }
        run
    }

    /// Verdaccio in the place of each gateway: the first asks upstream, and all others the first.
    pub(crate) fn play_verdaccios(&self, settings: &Settings, internet: &Internet) -> Run {
        let mut all: Vec<Verdaccio> = Vec::new();
        for machine in &self.servers {
            let above = all.first().map_or_else(|| internet.url(), Verdaccio::url);
            all.push(Verdaccio::start(internet, machine, &above));
        }
        let pids: Vec<u32> = all.iter().map(Verdaccio::pid).collect();
        let urls: Vec<String> = all.iter().map(Verdaccio::url).collect();
        self.install(settings, internet, &urls, Between::Others(&pids), || ())
    }

    /// How this is not quite as gateways come, for whoever reads the figures.
    pub(crate) fn explain(finding: &mut Finding) {
        finding.note(
            "Gateways wait 10 s for each other before they ask upstream as well (federation.hedge_ms), for all of them share the \
             processors of one machine; usually it is a quarter of a second at most.",
        );
    }
}

/// Where peers find this gateway, which runs on that machine.
pub(crate) fn contact_of(gateway: &Gateway, machine: &Machine) -> String {
    match machine.host() {
        Some(host) => format!("/ip4/{}/tcp/6738/p2p/{}", host.v4(), gateway.id()),
        None => gateway.contact(),
    }
}

/// Everybody installs from the registry at his address, at the same moment.
pub(crate) fn together(
    settings: &Settings,
    internet: &Internet,
    all: &[(&Machine, String)],
) -> Vec<Installation> {
    let all: Vec<_> = all.iter().map(|(machine, url)| (*machine, internet.through(url))).collect();
    at_once(settings, &all)
}

/// Everybody installs straight from upstream, at the same moment.
pub(crate) fn together_straight(
    settings: &Settings,
    internet: &Internet,
    clients: &[Machine],
) -> Vec<Installation> {
    let all: Vec<_> = clients.iter().map(|machine| (machine, internet.straight())).collect();
    at_once(settings, &all)
}

fn at_once(settings: &Settings, all: &[(&Machine, clients::Settings)]) -> Vec<Installation> {
    thread::scope(|scope| {
        let running: Vec<_> = all
            .iter()
            .map(|(machine, registry)| {
                scope.spawn(move || install(settings, machine, Client::Npm11, registry))
            })
            .collect();
        running.into_iter().map(|one| one.join().expect("an install that ends")).collect()
    })
}
