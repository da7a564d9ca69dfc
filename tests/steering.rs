//! Promise: wherever a client is, its install lands at the nearest gateway with nothing set but the registry's URL, and
//! goes on when that gateway goes away.
//!
//! Two LANs with two gateways each, behind routers, and a far region with two gateways on the Internet. Each region's
//! resolver asks the region's own gateways for the zone.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};

use harness::clients::{Checkout, Mode, Outcome, Settings, World};
use harness::lan::{Host, Lan, PublicDns, Publication, Region, ZONE};
use harness::{Client, Gateway, in_own_network};

/// One test per client, so that each fails for itself.
macro_rules! promises {
    ($($test:ident: $body:ident, $client:ident;)*) => {$(
        #[test]
        fn $test() {
            in_own_network(stringify!($test), &[], || $body(Client::$client));
        }
    )*};
}

promises! {
    npm_lands_at_its_own_nearest_gateway: lands_at_its_own_nearest_gateway, Npm11;
    pnpm_lands_at_its_own_nearest_gateway: lands_at_its_own_nearest_gateway, Pnpm12;
    yarn_1_lands_at_its_own_nearest_gateway: lands_at_its_own_nearest_gateway, Yarn1;
    bun_lands_at_its_own_nearest_gateway: lands_at_its_own_nearest_gateway, Bun;
}

fn lands_at_its_own_nearest_gateway(client: Client) {
    let scene = Scene::new(client);
    for region in &scene.regions {
        let before = scene.served();
        scene.install(region, region.place.name).expect_success();
        let after = scene.served();
        for (name, served) in &after {
            let own = name.starts_with(region.place.name);
            assert!(own || *served == before[name], "{}'s client was at {name}", region.place.name);
        }
        let own = |served: &BTreeMap<String, f64>| -> f64 {
            served
                .iter()
                .filter(|(name, _)| name.starts_with(region.place.name))
                .map(|(_, served)| served)
                .sum()
        };
        assert!(own(&after) > own(&before), "{}'s client was at no gateway of its own", region.place.name);
    }
    scene.world.assert_only_the_gateway_asked();
}

/// A world with gateways everywhere, and clients that know nothing but a URL.
struct Scene {
    client: Client,
    regions: Vec<Served>,
    world: World,
    _npm: Host,
    _public_dns: PublicDns,
    _internet: Lan,
}

/// A region and its gateways.
struct Served {
    place: Region,
    gateways: Vec<Gateway>,
}

impl Scene {
    fn new(client: Client) -> Self {
        let names = World::names(&[client]);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let internet = Lan::internet();
        let npm = internet.host("npm");
        let addresses: Vec<_> = names.iter().map(|name| (*name, npm.v4().into())).collect();
        let public_dns = PublicDns::new(&internet, Publication::Delegated, &addresses);
        let everywhere = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 443);
        let world = npm.run(|| World::new(&names, everywhere));
        let places = [
            Region::lan("left", 7, &internet, &public_dns, &[9, 8]),
            Region::lan("right", 8, &internet, &public_dns, &[9, 8]),
            Region::public("far", &internet, &public_dns, &[31, 32]),
        ];
        let regions = places.into_iter().map(|place| Served::new(place, &world)).collect();
        Self { client, regions, world, _npm: npm, _public_dns: public_dns, _internet: internet }
    }

    /// Has the region's client install the project in a new checkout.
    fn install(&self, region: &Served, name: &str) -> Outcome {
        let checkout: Checkout = self.world.checkout(name);
        let settings = Settings::lines(&format!("registry=http://{ZONE}\n"));
        region.place.client.run(|| self.client.install(&checkout, &settings, Mode::Cold))
    }

    /// How many packuments and tarballs each gateway has served.
    fn served(&self) -> BTreeMap<String, f64> {
        let all = self.regions.iter().flat_map(|region| {
            let numbered = region.gateways.iter().enumerate();
            numbered.map(|(number, gateway)| (format!("{} {number}", region.place.name), served(gateway)))
        });
        all.collect()
    }
}

impl Served {
    fn new(place: Region, world: &World) -> Self {
        let start = |host: &Host| {
            let builder = world.gateway_builder().listen(host.at(80)).dns(host.at(53));
            host.run(|| builder.start())
        };
        let gateways = place.servers.iter().map(start).collect();
        Self { place, gateways }
    }
}

fn served(gateway: &Gateway) -> f64 {
    let of = |route| gateway.metric("open_registry_http_requests_total", &[("route", route)]);
    of("packument") + of("tarball")
}
