//! Promise: wherever a client is, its install lands at the nearest gateway with nothing set but the registry's URL, and
//! goes on when that gateway goes away.
//!
//! Two LANs with two gateways each, behind routers, and a far region with two gateways on the Internet. Each region's
//! resolver asks the region's own gateways for the zone.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use harness::clients::{Checkout, Mode, Outcome, Settings, World};
use harness::lan::{Host, Lan, PublicDns, Publication, Region, ZONE};
use harness::projects::{self, Project};
use harness::{Client, Fault, Gateway, Identity, Matcher, Recorded, Times, in_own_network, until};
use nix::sys::signal::Signal;

/// How long upstream takes for a tarball, so that an install has a middle.
const SLOW: Duration = Duration::from_millis(700);
/// What has been sent of a body when its gateway dies, or its connection is cut.
const PART: u32 = 1 << 20;
/// What upstream sends of a large body at a time, and how long it waits in between.
const DRIP: (usize, Duration) = (1 << 19, Duration::from_millis(150));
const LARGE: &str = "/large/-/large-1.0.0.tgz";

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
    npm_installs_while_its_gateway_is_drained: installs_while_its_gateway_is_drained, Npm11;
    pnpm_installs_while_its_gateway_is_drained: installs_while_its_gateway_is_drained, Pnpm12;
    yarn_1_installs_while_its_gateway_is_drained: installs_while_its_gateway_is_drained, Yarn1;
    bun_installs_while_its_gateway_is_drained: installs_while_its_gateway_is_drained, Bun;
    npm_goes_on_at_the_second_address: goes_on_at_the_second_address, Npm11;
    pnpm_goes_on_at_the_second_address: goes_on_at_the_second_address, Pnpm12;
    yarn_1_goes_on_at_the_second_address: goes_on_at_the_second_address, Yarn1;
    bun_goes_on_at_the_second_address: goes_on_at_the_second_address, Bun;
    npm_loses_no_more_within_a_body_than_without_us: loses_no_more_within_a_body, Npm11;
    pnpm_loses_no_more_within_a_body_than_without_us: loses_no_more_within_a_body, Pnpm12;
    yarn_1_loses_no_more_within_a_body_than_without_us: loses_no_more_within_a_body, Yarn1;
    bun_loses_no_more_within_a_body_than_without_us: loses_no_more_within_a_body, Bun;
}

fn lands_at_its_own_nearest_gateway(client: Client) {
    let scene = Scene::new(client, projects::typical(), &[]);
    for region in &scene.regions {
        let before = scene.served();
        scene.install(region, region.place.name).expect_success();
        let after = scene.served();
        for (name, served) in &after {
            let own = name.starts_with(region.place.name);
            assert!(own || *served == before[name], "{}'s client was at {name}", region.place.name);
        }
        assert!(region.served() > 0.0, "{}'s client was at no gateway of its own", region.place.name);
    }
    scene.world.assert_only_the_gateway_asked();
}

/// SIGTERM in the middle: nobody notices.
fn installs_while_its_gateway_is_drained(client: Client) {
    let scene = Scene::new(client, projects::typical(), &["left"]);
    scene.world.registry.fault(Matcher::Tarballs, Times::Always, Fault::Delay(SLOW));
    let (outcome, drained) = scene.install_and(Signal::SIGTERM, Scene::is_in_the_middle);
    outcome.expect_success();
    scene.assert_the_other_took_over(drained);
}

/// SIGKILL when no body is under way: what is asked already is asked again, and the other address is there for it.
fn goes_on_at_the_second_address(client: Client) {
    let scene = Scene::new(client, projects::typical(), &["left"]);
    scene.world.registry.fault(Matcher::Tarballs, Times::Always, Fault::Delay(SLOW));
    let (outcome, killed) = scene.install_and(Signal::SIGKILL, Scene::is_in_the_middle);
    outcome.expect_success();
    scene.assert_the_other_took_over(killed);
}

/// SIGKILL within a body, beside a connection to the npm registry itself that is cut within the same body.
#[expect(clippy::print_stdout, reason = "a table for whoever asks for it with --nocapture")]
fn loses_no_more_within_a_body(client: Client) {
    let scene = Scene::new(client, projects::small().with_large_tarball(), &["left"]);
    let path = || Matcher::Path(LARGE.to_owned());
    let registry = &scene.world.registry;
    registry.fault(path(), Times::Next(1), Fault::CutAfter(PART as usize));
    let straight = scene.install_with(&scene.regions[0], "straight", &scene.world.straight());
    registry.clear_faults();
    registry.fault(path(), Times::Always, Fault::Drip(DRIP.0, DRIP.1));
    let (with_us, _) = scene.install_and(Signal::SIGKILL, |scene| scene.regions[0].sent() > f64::from(PART));
    let words = |outcome: &Outcome| {
        let how = if outcome.success { "installs" } else { "fails" };
        format!("{how} after {:.1?}", outcome.duration)
    };
    println!(
        "{:8} cut within a body: from a gateway that dies {:24} from the npm registry, once: {}",
        client.name(),
        words(&with_us),
        words(&straight)
    );
    assert!(with_us.success || !straight.success, "{}", with_us.output);
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
    /// With gateways in these regions, or in all if none is named.
    fn new(client: Client, project: Project, wanted: &[&str]) -> Self {
        let names = World::names(&[client]);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let internet = Lan::internet();
        let npm = internet.host("npm");
        let addresses: Vec<_> = names.iter().map(|name| (*name, npm.v4().into())).collect();
        let public_dns = PublicDns::new(&internet, Publication::Delegated, &addresses);
        let everywhere = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 443);
        let world = npm.run(|| World::of(project, &names, everywhere));
        let is_wanted = |name: &&str| wanted.is_empty() || wanted.contains(name);
        let place = |name| match name {
            "left" => Region::lan(name, 7, &internet, &public_dns, &[9, 8]),
            "right" => Region::lan(name, 8, &internet, &public_dns, &[9, 8]),
            _ => Region::public(name, &internet, &public_dns, &[31, 32]),
        };
        let places: Vec<Region> = ["left", "right", "far"].into_iter().filter(is_wanted).map(place).collect();
        let regions = Served::everywhere(places, &world);
        Self { client, regions, world, _npm: npm, _public_dns: public_dns, _internet: internet }
    }

    /// Has the region's client install the project in a new checkout.
    fn install(&self, region: &Served, name: &str) -> Outcome {
        self.install_with(region, name, &Settings::lines(&format!("registry=http://{ZONE}\n")))
    }

    fn install_with(&self, region: &Served, name: &str, settings: &Settings) -> Outcome {
        let checkout: Checkout = self.world.checkout(name);
        region.place.client.run(|| self.client.install(&checkout, settings, Mode::Cold))
    }

    /// Has the first region's client install; its gateway gets a signal as soon as it is time. Says which gateway that
    /// was: the one that has served most until then.
    fn install_and(&self, signal: Signal, is_time: impl Fn(&Self) -> bool) -> (Outcome, usize) {
        let region = &self.regions[0];
        thread::scope(|scope| {
            let installing = scope.spawn(|| self.install(region, "install"));
            until(|| installing.is_finished() || is_time(self), |over| *over);
            assert!(!installing.is_finished(), "too late: {}", installing.join().expect("an outcome").output);
            let served: Vec<f64> = region.gateways.iter().map(busy).collect();
            let used = usize::from(served[1] > served[0]);
            region.gateways[used].signal(signal);
            (installing.join().expect("an outcome"), used)
        })
    }

    /// Upstream has been asked for a tarball, and has not answered yet.
    fn is_in_the_middle(&self) -> bool {
        self.world.registry.requests().iter().any(Recorded::is_tarball)
    }

    fn assert_the_other_took_over(&self, gone: usize) {
        let other = &self.regions[0].gateways[1 - gone];
        assert!(served(other) > 0.0, "the other gateway was not asked for anything");
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
    /// All gateways have the same list of gateways, and are there when each names both of its region.
    fn everywhere(places: Vec<Region>, world: &World) -> Vec<Self> {
        let hosts = places.iter().flat_map(|place| &place.servers);
        let known: Vec<(Identity, String)> = hosts
            .map(|host| {
                let identity = Identity::new();
                let entry = identity.entry(&[format!("http://{}", host.v4())], "");
                (identity, entry)
            })
            .collect();
        let entries: String = known.iter().map(|(_, entry)| entry.as_str()).collect();
        let mut identities = known.iter().map(|(identity, _)| identity);
        let mut start = |host: &Host| {
            let identity = identities.next().expect("one for each host");
            let builder = world.gateway_builder().identity(identity).config_toml(&entries);
            let builder = builder.listen(host.at(80)).dns(host.at(53));
            host.run(|| builder.start())
        };
        let regions: Vec<Self> = places
            .into_iter()
            .map(|place| {
                let gateways = place.servers.iter().map(&mut start).collect();
                Self { place, gateways }
            })
            .collect();
        regions.iter().for_each(Self::await_two_addresses);
        regions
    }

    fn await_two_addresses(&self) {
        let mut own: Vec<String> = self.place.addresses().iter().map(ToString::to_string).collect();
        own.sort();
        for server in self.place.addresses() {
            let ask = || self.place.client.dig(&["A", ZONE, &format!("@{server}")]);
            until(ask, |reply| reply.answers == own);
        }
    }

    fn served(&self) -> f64 {
        self.gateways.iter().map(served).sum()
    }

    /// How many octets of bodies have left for clients.
    fn sent(&self) -> f64 {
        self.gateways.iter().map(|gateway| gateway.metric("open_registry_http_sent_bytes_total", &[])).sum()
    }
}

fn served(gateway: &Gateway) -> f64 {
    let of = |route| gateway.metric("open_registry_http_requests_total", &[("route", route)]);
    of("packument") + of("tarball")
}

/// What it has sent, and is sending.
fn busy(gateway: &Gateway) -> f64 {
    gateway.metric("open_registry_http_sent_bytes_total", &[])
}
