//! Promise: the gateways of a LAN are one cache. What none of them has is downloaded once, and one connection to the Internet is
//! enough for all.

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
fn five_connected_gateways_download_everything_once() {
    in_own_network("five_connected_gateways_download_everything_once", &[], || {
        let alone = bytes_of_one();
        // A machine that runs five gateways and five clients is slower than any peer may be.
        let scene = Scene::new(5, Connected::AllWithHome, "[federation]\nhedge_ms = 10000\n");
        scene.world.registry.fault(Matcher::Tarballs, Times::Always, Fault::Delay(SLOW));
        scene.install_everywhere(Mode::Cold);
        let all = scene.internet_bytes();
        assert!(all <= 1.1 * alone, "five gateways took {all} bytes of the Internet, one takes {alone}");
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

    fn internet_bytes(&self) -> f64 {
        // Counts of bytes are far below 2^53.
        #[allow(clippy::cast_precision_loss, reason = "a few million")]
        let bytes = self.world.registry.bytes_sent() as f64;
        bytes
    }
}
