//! Promise: in a LAN whose DNS leads to a gateway, `registry=http://registry.open-registry.dev` is all that a client
//! needs, or the same with https and the site's certificate authority, and nothing else about its installs changes.
//!
//! An office with a router, dnsmasq on it with rebinding protection as routers have it, and a gateway on a small box;
//! the resolver's lines and the client's are those that `open-registry setup` prints. One office per client.

use std::net::{Ipv6Addr, SocketAddr};

use harness::clients::{Mode, Outcome, Settings, World, assert_same_lines, assert_same_packages};
use harness::lan::{Host, NameServer, Office, PUBLIC_ENTRY, ZONE};
use harness::{Client, Gateway, in_own_network};

/// What routers come with: a filter against DNS rebinding, and DHCP.
const ROUTER: &str =
    "stop-dns-rebind\ndhcp-range=192.168.7.100,192.168.7.150\ndhcp-leasefile=leases\nno-ping\n";

/// One test per client, so that each fails for itself.
macro_rules! promises {
    ($($test:ident: $client:ident by $lines:literal,)*) => {$(
        #[test]
        fn $test() {
            installs_by_name(stringify!($test), Client::$client, $lines);
        }
    )*};
}

promises! {
    npm_11_installs_by_name: Npm11 by "npm",
    npm_12_installs_by_name: Npm12 by "npm",
    yarn_1_installs_by_name: Yarn1 by "yarn1",
    yarn_4_installs_by_name: Yarn4 by "yarn",
    pnpm_10_installs_by_name: Pnpm10 by "pnpm",
    pnpm_12_installs_by_name: Pnpm12 by "pnpm",
    bun_installs_by_name: Bun by "bun",
    deno_installs_by_name: Deno by "deno",
}

fn installs_by_name(test: &str, client: Client, lines: &str) {
    in_own_network(test, &[], || {
        let scene = Scene::new(client);
        let straight = scene.install("straight", &scene.world.straight());
        scene.world.registry.reset_log();

        let settings = Settings::lines(&scene.setup(&[lines]));
        scene.assert_installs_the_same("http", &settings, &straight, &format!("http://{ZONE}"));
        scene.world.assert_only_the_gateway_asked();
        scene.world.assert_no_tarball_was_asked_for_twice();

        let (url, authority) = (format!("https://{ZONE}"), scene.world.authority());
        let lines = scene.setup(&[lines, "--url", &url, "--ca", authority]);
        let settings = Settings::lines(&lines).trusting(authority.as_ref());
        scene.assert_installs_the_same("https", &settings, &straight, &url);
        scene.world.assert_only_the_gateway_asked();
        let answered = scene.gateway.metric("open_registry_dns_queries_total", &[("outcome", "answered")]);
        assert!(answered >= 1.0, "the name was not the gateway's answer");
    });
}

#[test]
fn one_line_is_enough() {
    in_own_network("one_line_is_enough", &[], || {
        let scene = Scene::new(Client::Npm11);
        let settings = Settings::lines(&format!("registry=http://{ZONE}\n"));
        scene.install("line", &settings);
        scene.world.assert_only_the_gateway_asked();
    });
}

#[test]
fn what_was_installed_before_is_installed_while_the_internet_is_away() {
    in_own_network("what_was_installed_before_is_installed_while_the_internet_is_away", &[], || {
        let scene = Scene::new(Client::Npm11);
        let settings = Settings::lines(&scene.setup(&["npm"]));
        let first = scene.install("first", &settings);

        scene.office.router.on(&scene.office.internet).cut();
        scene.assert_installs_the_same("away", &settings, &first, &format!("http://{ZONE}"));
    });
}

#[test]
fn a_laptop_with_ipv6_alone_installs_by_name() {
    in_own_network("a_laptop_with_ipv6_alone_installs_by_name", &[], || {
        let scene = Scene::new(Client::Npm11);
        let Office { lan, router, server, laptop, .. } = &scene.office;
        laptop.output("ip", &["-4", "address", "flush", "dev", lan.name()]).expect_success();
        laptop.use_name_servers(&[router.v6().into()]);

        assert_eq!(laptop.dig(&["AAAA", ZONE]).answers, [server.v6().to_string()]);
        scene.install("six", &Settings::lines(&scene.setup(&["npm"])));
        scene.world.assert_only_the_gateway_asked();
    });
}

#[test]
fn a_lan_whose_only_resolver_is_the_gateway_installs_by_name() {
    in_own_network("a_lan_whose_only_resolver_is_the_gateway_installs_by_name", &[], || {
        let scene = Scene::led_by("dhcp-dnsmasq", Client::Npm11);
        let office = &scene.office;
        assert_eq!(office.laptop.dig(&["A", ZONE]).answers, [PUBLIC_ENTRY[0]], "until its lease is renewed");
        office.laptop.renew_lease(&office.lan);

        assert_eq!(office.laptop.dig(&["A", ZONE]).answers, [office.server.v4().to_string()]);
        assert_eq!(
            office.laptop.dig(&["A", "open-registry.dev"]).status,
            "NOERROR",
            "other names are looked up"
        );
        scene.install("leased", &Settings::lines(&scene.setup(&["npm"])));
        scene.world.assert_only_the_gateway_asked();
    });
}

/// An office in which everything is set up but the client.
struct Scene {
    client: Client,
    gateway: Gateway,
    _resolver: NameServer,
    world: World,
    office: Office,
}

/// What a client left behind.
struct Installed {
    outcome: Outcome,
    checkout: harness::clients::Checkout,
}

impl Scene {
    fn new(client: Client) -> Self {
        Self::led_by("dnsmasq-forward", client)
    }

    /// The router's dnsmasq gets what `open-registry setup` prints for this recipe.
    fn led_by(recipe: &str, client: Client) -> Self {
        let names = World::names(&[client]);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let office = Office::new(&names);
        let everywhere = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 443);
        let world = office.npm.run(|| World::new(&names, everywhere));
        // The gateway looks its upstream up, so the resolver is there before it knows of the gateway.
        let usual = format!("{ROUTER}{}", office.public_dns.for_dnsmasq(false));
        let before = NameServer::dnsmasq(&office.router, &usual);
        let gateway = start_gateway(&office, &world);
        let lines = gateway.ask(&["setup", recipe]).expect_success().stdout;
        drop(before);
        let resolver = NameServer::dnsmasq(&office.router, &format!("{usual}{lines}"));
        Self { client, gateway, _resolver: resolver, world, office }
    }

    /// The lines that the admin of the gateway hands out.
    fn setup(&self, arguments: &[&str]) -> String {
        self.gateway.ask(&[&["setup"], arguments].concat()).expect_success().stdout
    }

    /// Has the laptop install the project in a new checkout.
    fn install(&self, name: &str, settings: &Settings) -> Installed {
        let checkout = self.world.checkout(name);
        let outcome = self.office.laptop.run(|| self.client.install(&checkout, settings, Mode::Cold));
        Installed { outcome: outcome.expect_success(), checkout }
    }

    fn assert_installs_the_same(&self, name: &str, settings: &Settings, straight: &Installed, url: &str) {
        let installed = self.install(name, settings);
        assert_same_packages(&installed.checkout.installed(), &straight.checkout.installed());
        let promised = self.client.promised_lockfile(&straight.outcome, url);
        assert_same_lines(&installed.outcome.locked(), &promised);
    }
}

/// It serves http, https and DNS on the ports that a name alone leads to, and looks other names up for its LAN.
fn start_gateway(office: &Office, world: &World) -> Gateway {
    let server = &office.server;
    let forward = format!("[dns]\nforward = [\"{}\"]\n", office.public_dns.address());
    let mut builder = world.gateway_builder().config_toml(&forward).tls(world.certificate(&[ZONE]));
    for at in [Host::at, Host::at_v6] {
        builder = builder.listen(at(server, 80)).tls_listen(at(server, 443)).dns(at(server, 53));
    }
    server.run(|| builder.start())
}
