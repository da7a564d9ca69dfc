//! Promise: the gateways of a LAN are one cache. What one of them has, the others take from it; what none has is downloaded
//! once; and one connection to the Internet is enough for all.

use std::net::{Ipv6Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use harness::clients::{Mode, Outcome, Settings, World};
use harness::lan::{Host, Lan, NameServer, PublicDns, Publication};
use harness::projects::{self, Project};
use harness::{Client, Fault, Gateway, Identity, Matcher, Package, Times, in_own_network, until};

/// Packages of the project besides the usual ones: some 24 MB of tarballs, so that metadata does not decide.
const PACKAGES: usize = 60;
/// How long upstream takes for a tarball, so that gateways miss the same content at the same time.
const SLOW: Duration = Duration::from_millis(150);
/// Where peers connect, in each host.
const PEERS: &str = "0.0.0.0:6738,[::]:6738";

#[test]
fn the_second_machine_takes_its_tarballs_from_the_first() {
    in_own_network("the_second_machine_takes_its_tarballs_from_the_first", &[], || {
        // Beside two gateways and a client on the same processors any peer is slow at times.
        let mut scene = Scene::new(2, Connected::All, "[federation]\nhedge_ms = 10000\n");
        // Otherwise it would fetch for the first what both want to be downloaded once.
        scene.gateways[1].kill();
        scene.install(0, Mode::Cold).expect_success();
        let asked = scene.world.registry.tarball_requests();

        scene.gateways[1].restart();
        scene.await_inventories();
        scene.install(1, Mode::Cold).expect_success();

        assert_eq!(scene.world.registry.tarball_requests(), asked, "upstream was asked for tarballs again");
        let (near, all) = (received(scene.gateway(1), "lan_peer"), scene.tarball_bytes());
        assert!(near >= 0.95 * all, "{near} of {all} bytes came from the first machine");
    });
}

#[test]
fn one_connected_gateway_is_home_to_all() {
    in_own_network("one_connected_gateway_is_home_to_all", &[], || {
        let alone = bytes_of_one();
        let scene = Scene::new(5, Connected::First, "");
        scene.install_everywhere(Mode::Cold);
        let all = scene.internet_bytes();
        assert!(all <= 1.02 * alone, "five gateways took {all} bytes of the Internet, one takes {alone}");
    });
}

#[test]
fn five_connected_gateways_with_a_home_among_them_download_everything_once() {
    in_own_network("five_connected_gateways_with_a_home_among_them_download_everything_once", &[], || {
        let alone = bytes_of_one();
        // Beside five gateways and five clients on the same processors any peer is slow at times.
        let scene = Scene::new(5, Connected::AllWithHome, "[federation]\nhedge_ms = 10000\n");
        scene.world.registry.fault(Matcher::Tarballs, Times::Always, Fault::Delay(SLOW));
        scene.install_everywhere(Mode::Cold);
        let all = scene.internet_bytes();
        assert!(all <= 1.1 * alone, "five gateways took {all} bytes of the Internet, one takes {alone}");
    });
}

/// Metadata is each one's own affair: only upstream's word counts where there is no home.
#[test]
fn five_equals_download_every_tarball_once() {
    in_own_network("five_equals_download_every_tarball_once", &[], || {
        let alone = {
            let scene = Scene::new(1, Connected::All, "");
            scene.install_everywhere(Mode::Cold);
            scene.world.registry.tarball_requests()
        };
        let scene = Scene::new(5, Connected::All, "[federation]\nhedge_ms = 10000\n");
        scene.world.registry.fault(Matcher::Tarballs, Times::Always, Fault::Delay(SLOW));
        scene.install_everywhere(Mode::Cold);
        let all = scene.world.registry.tarball_requests();
        assert!(all * 10 <= alone * 11, "five gateways asked for {all} tarballs, one asks for {alone}");
    });
}

/// Who has a way to the Internet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Connected {
    /// Everybody, and everybody is his own home.
    All,
    /// The first alone, who is home to the others.
    First,
    /// Everybody, and the first is home to the others.
    AllWithHome,
}

/// A LAN with gateways that have only found each other, and a client on each of their machines.
struct Scene {
    world: World,
    gateways: Vec<Gateway>,
    hosts: Vec<Host>,
    _resolver: NameServer,
    _public_dns: PublicDns,
    _router: Host,
    _npm: Host,
    _lan: Lan,
    _internet: Lan,
}

/// What one gateway takes of the Internet for one installation of the project.
fn bytes_of_one() -> f64 {
    let scene = Scene::new(1, Connected::All, "");
    scene.install_everywhere(Mode::Cold);
    scene.internet_bytes()
}

fn project() -> Project {
    let size = |number: usize| 20_000 + (number % 10) * 80_000;
    (0..PACKAGES).fold(projects::typical(), |project, number| {
        let name = format!("part-{number:02}");
        project.with(Package::new(&name).version("1.0.0", |version| version.size(size(number))), "^1.0.0")
    })
}

/// Bytes that a gateway has received from sources of this kind.
fn received(gateway: &Gateway, source: &str) -> f64 {
    gateway.metric("open_registry_received_bytes_total", &[("source", source)])
}

impl Scene {
    fn new(count: u8, connected: Connected, lines: &str) -> Self {
        let names = World::names(&[Client::Npm11]);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let internet = Lan::internet();
        let npm = internet.host("npm");
        let addresses: Vec<_> = names.iter().map(|name| (*name, npm.v4().into())).collect();
        let public_dns = PublicDns::new(&internet, Publication::Delegated, &addresses);
        let everywhere = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 443);
        let world = npm.run(|| World::of(project(), &names, everywhere));
        let lan = Lan::new("office", 7);
        let router = lan.router(&internet);
        let resolver = NameServer::dnsmasq(&router, &public_dns.for_dnsmasq(false));
        let hosts: Vec<Host> = (0..count).map(|number| lan.host_at("desk", 20 + number)).collect();
        let home = Identity::new();
        let federate = format!("/ip4/{}/tcp/6738/p2p/{}", hosts[0].v4(), home.id());
        let start = |(number, host): (usize, &Host)| {
            let follows = number > 0 && connected != Connected::All;
            if number > 0 && connected == Connected::First {
                for family in ["-4", "-6"] {
                    host.output("ip", &[family, "route", "del", "default"]).expect_success();
                }
            }
            let builder =
                world.gateway_builder().config_toml(lines).env("OPEN_REGISTRY_FEDERATION__LISTEN", PEERS);
            let builder = if number == 0 { builder.identity(&home) } else { builder };
            let builder = if follows { builder.flag("--federate").flag(&federate) } else { builder };
            host.run(|| builder.start())
        };
        let gateways: Vec<Gateway> = hosts.iter().enumerate().map(start).collect();
        let others = f64::from(count) - 1.0;
        for gateway in &gateways {
            until(|| gateway.metric("open_registry_peers_connected", &[]), |connected| *connected >= others);
        }
        Self {
            world,
            gateways,
            hosts,
            _resolver: resolver,
            _public_dns: public_dns,
            _router: router,
            _npm: npm,
            _lan: lan,
            _internet: internet,
        }
    }

    fn gateway(&self, number: usize) -> &Gateway {
        &self.gateways[number]
    }

    fn install(&self, number: usize, mode: Mode) -> Outcome {
        let checkout = self.world.checkout(&format!("desk-{number}"));
        let settings = Settings::registry(&self.gateways[number].url());
        self.hosts[number].run(|| Client::Npm11.install(&checkout, &settings, mode))
    }

    fn install_everywhere(&self, mode: Mode) {
        thread::scope(|scope| {
            let running: Vec<_> = (0..self.gateways.len())
                .map(|number| scope.spawn(move || self.install(number, mode)))
                .collect();
            for one in running {
                one.join().expect("an installation that ends").expect_success();
            }
        });
    }

    /// Until everybody has been told what the others hold.
    fn await_inventories(&self) {
        let held = |gateway: &Gateway| gateway.metric("open_registry_store_tarballs", &[]);
        let all: f64 = self.gateways.iter().map(held).sum();
        for gateway in &self.gateways {
            let told = || gateway.metric("open_registry_peers_tarballs", &[]);
            until(told, |told| *told >= all - held(gateway));
        }
    }

    /// The bytes of all tarballs of an installation, as the npm registry has sent them to the first gateway.
    fn tarball_bytes(&self) -> f64 {
        self.gateway(0).metric("open_registry_store_tarball_bytes", &[])
    }

    fn internet_bytes(&self) -> f64 {
        // Counts of bytes are far below 2^53.
        #[allow(clippy::cast_precision_loss, reason = "a few million")]
        let bytes = self.world.registry.bytes_sent() as f64;
        bytes
    }
}
