//! Two campuses and a far region, each with two gateways: who is served where, and what becomes of installs when a gateway
//! goes away.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use harness::clients::{self, Checkout, Mode, Outcome};
use harness::lan::{Host, Lan, Region, ZONE};
use harness::{Client, Gateway, Identity};
use nix::sys::signal::Signal;

use super::Scenario;
use crate::simulator::Settings;
use crate::simulator::finding::{Finding, Unit};
use crate::simulator::internet::Internet;
use crate::simulator::measure::{await_that, end, resident, told};
use crate::simulator::probe::{Probed, explain, probe};
use crate::simulator::progress::Progress;

pub(super) const SCENARIO: Scenario = Scenario {
    number: 6,
    name: "Two campuses with two gateways each, and a far region: DNS and redirects",
    condition: "Every client is served by gateways of its own region alone, by DNS; one who has a far gateway in his settings \
                gets 9 of 10 tarballs from the nearest by redirects; and installs go on while a gateway is drained in one \
                campus, and while one is killed in the other.",
    needs_namespaces: true,
    play,
};

/// Who installs.
const KINDS: [Client; 4] = [Client::Npm11, Client::Pnpm10, Client::Yarn1, Client::Bun];
/// What has been served of an install when a gateway goes away, as a part of its packuments and tarballs.
const MIDDLE: f64 = 0.15;
/// How long gateways may take until they know of one another.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often somebody installs until everything that is near is known.
const ROUNDS: usize = 5;
/// The part of all tarballs that has to come by redirects.
const REDIRECTED: f64 = 0.9;
/// The number of the gateway that a visitor has in his settings.
const ELSEWHERE: u8 = 33;

struct Scene<'a> {
    settings: &'a Settings,
    progress: &'a Progress,
    internet: &'a Internet,
    regions: Vec<Served>,
}

/// A gateway that went away in the middle of an install.
#[derive(Debug, Default)]
struct Gone {
    which: usize,
    /// What the other one had served by then.
    other: f64,
    /// The install was over.
    too_late: bool,
}

/// A region and its gateways.
struct Served {
    place: Region,
    known: Vec<Identity>,
    gateways: Vec<Gateway>,
}

fn play(settings: &Settings, progress: &Progress) -> Finding {
    let internet = Internet::of(settings, progress, &KINDS);
    let Some((lan, public_dns)) = internet.lan() else { return Finding::default() };
    progress.step("six gateways in three regions");
    let places = vec![
        Region::lan("left", 7, lan, public_dns, &[9, 8]),
        Region::lan("right", 8, lan, public_dns, &[9, 8]),
        Region::public("far", lan, public_dns, &[31, 32]),
    ];
    let regions = everywhere(places, &internet);
    let mut finding = Finding::default();
    explain(settings, &mut finding);
    let mut scene = Scene { settings, progress, internet: &internet, regions };
    scene.straight(&mut finding);
    for nth in 0..scene.regions.len() {
        scene.lands_at_its_own(&mut finding, nth);
    }
    for client in KINDS {
        scene.goes_on(&mut finding, 0, client, Signal::SIGTERM);
        scene.goes_on(&mut finding, 1, client, Signal::SIGKILL);
    }
    scene.is_redirected(&mut finding, lan);
    finding.note(
        "Whoever installs has no lockfile and no cache. Verdaccio is left out: it leads nobody to another one. These \
         gateways have no peers. One round, whatever --pairs says: each has some twenty installs.",
    );
    finding
}

impl Scene<'_> {
    /// Somebody of the first region who never heard of a gateway.
    fn straight(&self, finding: &mut Finding) {
        self.progress.step("a client of the left campus, straight to upstream");
        let registry = self.internet.straight();
        let outcome = self.measured(finding, "straight", || {
            self.install_at(Client::Npm11, &self.regions[0].place.client, &registry)
        });
        require_success(finding, "straight", &outcome);
    }

    /// A client of a region that knows nothing but a name.
    fn lands_at_its_own(&self, finding: &mut Finding, nth: usize) {
        let name = self.regions[nth].place.name;
        self.progress.step(&format!("{name}: a client that knows nothing but a name"));
        let (before, stores) = (self.served(), self.out_of_stores());
        let subject = format!("{name}, nothing held");
        let outcome = self.measured(finding, &subject, || self.install(nth, Client::Npm11));
        finding.add("bytes from the store", &subject, Unit::Bytes, [self.out_of_stores() - stores]);
        require_success(finding, name, &outcome);
        let (mut own, mut strangers) = (0.0, 0.0);
        for (who, served) in self.served() {
            let more = served - before[&who];
            finding.add(
                "packuments and tarballs served",
                &format!("{} {}", who.0, who.1),
                Unit::Count,
                [more],
            );
            *if who.0 == name { &mut own } else { &mut strangers } += more;
        }
        self.probe(finding, nth, &outcome);
        finding.require(own > 0.0, || format!("{name}'s client was not served by its own gateways"));
        finding.require(strangers == 0.0, || {
            format!("{strangers} requests of {name}'s client were served by gateways of other regions")
        });
    }

    /// How long a request takes now that all is held.
    fn probe(&self, finding: &mut Finding, nth: usize, outcome: &Outcome) {
        let place = &self.regions[nth].place;
        let Some(lockfile) = outcome.lockfile.as_ref().filter(|_| outcome.success) else { return };
        let url = format!("http://{ZONE}");
        let Probed { p50, p99 } = place.client.run(|| probe(self.settings, self.internet, &url, lockfile));
        finding.add("p50 of a request to either gateway", place.name, Unit::Milliseconds, [p50]);
        finding.add("p99 of a request to either gateway", place.name, Unit::Milliseconds, [p99]);
    }

    /// One of a region's gateways goes away in the middle of an install, and later both are started again.
    fn goes_on(&mut self, finding: &mut Finding, nth: usize, client: Client, signal: Signal) {
        let name = self.regions[nth].place.name;
        let how = if signal == Signal::SIGTERM { "drained" } else { "killed" };
        let subject = format!("{}, {name}: a gateway is {how}", client.name());
        self.progress.step(&subject);
        let mut gone = Gone::default();
        let outcome = self.measured(finding, &subject, || {
            let (outcome, what) = self.install_and(nth, client, signal);
            gone = what;
            outcome
        });
        require_success(finding, &subject, &outcome);
        finding.require(!gone.too_late, || format!("{subject}: the install was over before"));
        let other = served(&self.regions[nth].gateways[1 - gone.which]) - gone.other;
        finding.add("packuments and tarballs of the other gateway then", &subject, Unit::Count, [other]);
        finding.require(other > 0.0, || format!("{subject}: nobody came to the other gateway then"));
        // Both: whoever goes away again and again is led to later each time, which is not what the next install is about.
        self.regions[nth].gateways.iter_mut().for_each(Gateway::restart);
        self.regions[nth].await_both();
    }

    /// The gateway that has served most of the install gets a signal in the middle.
    fn install_and(&self, nth: usize, client: Client, signal: Signal) -> (Outcome, Gone) {
        let middle = MIDDLE * 2.0 * self.settings.project.packages.len() as f64;
        let region = &self.regions[nth];
        let all = || -> Vec<f64> { region.gateways.iter().map(served).collect() };
        let before = all();
        thread::scope(|scope| {
            let installing = scope.spawn(|| self.install(nth, client));
            let more = || -> Vec<f64> { all().iter().zip(&before).map(|(now, then)| now - then).collect() };
            while !installing.is_finished() && more().iter().sum::<f64>() < middle {
                thread::sleep(Duration::from_millis(20));
            }
            let served = more();
            let which = usize::from(served[1] > served[0]);
            region.gateways[which].signal(signal);
            let gone = Gone {
                which,
                other: before[1 - which] + served[1 - which],
                too_late: installing.is_finished(),
            };
            (installing.join().expect("an install that ends"), gone)
        })
    }

    /// A visitor of the far region who has another gateway in his settings.
    fn is_redirected(&self, finding: &mut Finding, lan: &Lan) {
        let (host, visitor) = (lan.host_at("elsewhere", ELSEWHERE), lan.host("visitor"));
        apart(&host, lan);
        let far = &self.regions[2];
        let nearest =
            far.gateways.iter().map(served).enumerate().max_by(|one, other| one.1.total_cmp(&other.1));
        let nearest = nearest.map_or(0, |(nth, _)| nth);
        let network = format!("networks = [\"{}\"]", network_of(visitor.v4()));
        let entry =
            far.known[nearest].entry(&[format!("http://{}", far.place.servers[nearest].v4())], &network);
        let builder = self.internet.gateway().config_toml(&format!("[steer]\nredirect = true\n{entry}"));
        let gateway = host.run(|| builder.listen(host.at(80)).start());
        let redirects = || {
            let labels = [("route", "tarball"), ("outcome", "redirect")];
            gateway.metric("open_registry_http_requests_total", &labels)
        };
        let tarballs = || gateway.metric("open_registry_http_requests_total", &[("route", "tarball")]);
        let mut part = 0.0;
        for round in 1..=ROUNDS {
            let subject = format!("a visitor with a far gateway in his settings, install {round}");
            self.progress.step(&subject);
            let (before, asked) = (redirects(), tarballs());
            let registry = self.internet.through(&gateway.url());
            let outcome =
                self.measured(finding, &subject, || self.install_at(Client::Npm11, &visitor, &registry));
            require_success(finding, &subject, &outcome);
            part = (redirects() - before) / (tarballs() - asked).max(1.0);
            finding.add("tarballs by redirects / all", &subject, Unit::Ratio, [part]);
            if part >= REDIRECTED {
                break;
            }
        }
        finding.require(part >= REDIRECTED, || {
            format!("{part:.2} of the visitor's tarballs came from the nearest gateway by redirects")
        });
    }

    fn install(&self, nth: usize, client: Client) -> Outcome {
        let registry = self.internet.through(&format!("http://{ZONE}"));
        self.install_at(client, &self.regions[nth].place.client, &registry)
    }

    /// In a new checkout, by somebody who never installed anything. What has left something else than others by the same client
    /// has not succeeded.
    fn install_at(&self, client: Client, host: &Host, registry: &clients::Settings) -> Outcome {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let checkout = Checkout::new(folder.path(), &self.settings.project.package_json_text());
        let mut outcome = host.run(|| client.install(&checkout, registry, Mode::Cold));
        if outcome.success && !self.internet.is_usual(client, &checkout.installed()) {
            outcome.success = false;
            "it has installed something else than before".clone_into(&mut outcome.output);
        }
        outcome
    }

    /// Adds what an install has cost.
    fn measured(&self, finding: &mut Finding, of: &str, body: impl FnOnce() -> Outcome) -> Outcome {
        let upstream = self.internet.registry();
        upstream.reset_log();
        let before = self.internet.received();
        let started = Instant::now();
        let outcome = body();
        let seconds = started.elapsed().as_secs_f64();
        let bytes = self.internet.received().saturating_sub(before) as f64;
        finding.add("time", of, Unit::Seconds, [seconds]);
        finding.add("bytes from the Internet", of, Unit::Bytes, [bytes]);
        finding.add("requests to upstream", of, Unit::Count, [upstream.requests().len() as f64]);
        finding.add("failed installs", of, Unit::Count, [f64::from(u8::from(!outcome.success))]);
        let gateways = self.regions.iter().flat_map(|region| &region.gateways);
        let memory: Vec<f64> = gateways.filter_map(|gateway| resident(gateway.pid())).collect();
        finding.add("resident memory of each", of, Unit::Bytes, memory);
        outcome
    }

    /// Bytes that clients got out of the stores of all gateways so far.
    fn out_of_stores(&self) -> f64 {
        let gateways: Vec<&Gateway> = self.regions.iter().flat_map(|region| &region.gateways).collect();
        told(&gateways)[1]
    }

    /// How many packuments and tarballs each gateway has served.
    fn served(&self) -> BTreeMap<(&'static str, usize), f64> {
        let of = |region: &Served| {
            let name = region.place.name;
            let all = region.gateways.iter().enumerate();
            all.map(|(nth, gateway)| ((name, nth), served(gateway))).collect::<Vec<_>>()
        };
        self.regions.iter().flat_map(of).collect()
    }
}

fn require_success(finding: &mut Finding, subject: &str, outcome: &Outcome) {
    finding.require(outcome.success, || format!("{subject}: {}", end(&outcome.output)));
}

fn served(gateway: &Gateway) -> f64 {
    let of = |route| gateway.metric("open_registry_http_requests_total", &[("route", route)]);
    of("packument") + of("tarball")
}

/// All gateways have the same list of gateways, and are there when each names both of its region.
fn everywhere(places: Vec<Region>, internet: &Internet) -> Vec<Served> {
    let known: Vec<Vec<Identity>> =
        places.iter().map(|place| place.servers.iter().map(|_| Identity::new()).collect()).collect();
    let entries: String = places
        .iter()
        .zip(&known)
        .flat_map(|(place, known)| place.servers.iter().zip(known))
        .map(|(host, identity)| identity.entry(&[format!("http://{}", host.v4())], ""))
        .collect();
    let start = |host: &Host, identity: &Identity| {
        let builder = internet.gateway().identity(identity).config_toml(&entries);
        let builder = builder.listen(host.at(80)).dns(host.at(53));
        host.run(|| builder.start())
    };
    let regions: Vec<Served> = places
        .into_iter()
        .zip(known)
        .map(|(place, known)| {
            let gateways =
                place.servers.iter().zip(&known).map(|(host, identity)| start(host, identity)).collect();
            Served { place, known, gateways }
        })
        .collect();
    regions.iter().for_each(Served::await_both);
    regions
}

impl Served {
    /// Until each of its gateways names both.
    fn await_both(&self) {
        let mut own: Vec<String> = self.place.addresses().iter().map(ToString::to_string).collect();
        own.sort();
        for server in self.place.addresses() {
            await_that("both gateways of a region", PATIENCE, || {
                self.place.client.dig(&["A", ZONE, &format!("@{server}")]).answers == own
            });
        }
    }
}

/// The smallest network of a public address that clients are told apart by.
fn network_of(address: Ipv4Addr) -> String {
    let [first, second, third, _] = address.octets();
    format!("{first}.{second}.{third}.0/24")
}

/// Takes a host's neighbours away: it has the same address, and everybody is reached all the same.
fn apart(host: &Host, lan: &Lan) {
    let (address, name) = (host.v4().to_string(), lan.name());
    let network = network_of(host.v4());
    host.output("ip", &["address", "flush", "dev", name]).expect_success();
    host.output("ip", &["address", "add", &format!("{address}/32"), "dev", name]).expect_success();
    host.output("ip", &["route", "add", &network, "dev", name]).expect_success();
}
