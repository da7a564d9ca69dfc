//! An update that is published upstream, and how long it takes until every gateway serves it.

use std::thread;
use std::time::{Duration, Instant};

use harness::http::Request;
use harness::{Gateway, GatewayBuilder, Identity, Package, free_port};
use serde_json::Value;

use super::Scenario;
use crate::simulator::Settings;
use crate::simulator::finding::{Finding, Unit};
use crate::simulator::internet::Internet;
use crate::simulator::measure::{await_that, resident, told};
use crate::simulator::office::{Machine, Office, Role};
use crate::simulator::probe::Probed;
use crate::simulator::progress::Progress;
use crate::simulator::project::fraction;

pub(super) const SCENARIO: Scenario = Scenario {
    number: 9,
    name: "An update published upstream",
    condition: "Every gateway serves it to a client that keeps asking within what its configuration promises: 10 s at a \
                home that follows upstream's change feed, 25 s at its follower by pubsub, 47 s at its follower by http, and \
                15 s at a gateway that has no feed and asks again after 10 s. Its tarball is there as well.",
    needs_namespaces: false,
    play,
};

/// The package that is published again and again.
const NAME: &str = "updated";
/// How often a client asks.
const PAUSE: Duration = Duration::from_millis(100);
/// How often it is published at least: of one there is no spread.
const LEAST: usize = 3;
/// How long everything may take until it is known everywhere for the first time.
const SETTLED: Duration = Duration::from_secs(90);
/// How long any of them may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the bounds are made of, in seconds: how often home looks at the feed;
const FEED: u64 = 5;
/// how long questions to upstream and to home take, with what else happens on the processors of one machine;
const ASKING: u64 = 5;
/// how often home confirms what has changed and is held, for those who follow it;
const CONFIRMING: u64 = 2;
/// how often it has a new root, and the time until gossip has told of it and the follower has taken it in;
const TOLD: u64 = 8;
/// how often a follower asks for it by http, a tenth of that, and the time to take it in;
const ASKED: u64 = 30;
/// how soon after the last time home says again that all it names is upstream's word, when something has changed. Until then a
/// follower keeps to what he has asked home for since it said so last, whatever the root names;
const CURRENT: u64 = 5;
/// how long the gateway without a feed serves what it has without asking.
const FRESH: u64 = 10;

/// A gateway, or upstream itself, and a client that asks it.
struct Asked {
    who: &'static str,
    bound: Option<Duration>,
    url: String,
    client: Machine,
    gateway: Option<Gateway>,
}

/// What became of one update at one of them.
struct Served {
    seconds: f64,
    has_tarball: bool,
    /// How long each of the client's requests took, in milliseconds.
    requests: Vec<f64>,
    /// Those that got no packument.
    failures: usize,
    /// Bytes from other gateways.
    from_others: Option<f64>,
}

fn play(settings: &Settings, progress: &Progress) -> Finding {
    let internet = Internet::new(settings, progress);
    let office = internet.office("office", 7);
    publish(&internet, 0);
    progress.step("a home with upstream's change feed, two followers, and one gateway without a feed");
    let all = start(&internet, &office);
    settle(&internet, &all);
    let mut finding = Finding::default();
    finding.note(
        "Time from the publication until a client that asks every 0.1 s is given the new version. Verdaccio has no change \
         feed: it asks again after its maxage, like the gateway that has none.",
    );
    finding.note(
        "What home has promises: it looks at the feed every 5 s, and its root is told at once by pubsub and asked for every 20 s \
         by http. A follower that has asked home for a document since home last said that it is current keeps to its own until home \
         says so again, which it does as soon as it has taken in what has changed, and at most every 5 s.",
    );
    let rounds = settings.options.pairs.max(LEAST);
    let mut found: Vec<Vec<Served>> = all.iter().map(|_| Vec::new()).collect();
    let (mut bytes, mut requests) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        progress.step(&format!("version {round} of {rounds} is published"));
        // Not always at the same time between two looks at the feed.
        thread::sleep(Duration::from_secs(FEED).mul_f64(fraction(settings.options.seed, round as u64)));
        internet.registry().reset_log();
        let before = internet.received();
        for (asked, served) in found.iter_mut().zip(one(&internet, &all, round)) {
            asked.push(served);
        }
        bytes.push(internet.received().saturating_sub(before) as f64);
        requests.push(internet.registry().requests().len() as f64);
    }
    for (asked, served) in all.iter().zip(&found) {
        judge(&mut finding, asked, served);
    }
    let everybody = "four gateways, and a client that asks upstream";
    finding.add("bytes from the Internet for one update", everybody, Unit::Bytes, bytes);
    finding.add("requests to upstream for one update", everybody, Unit::Count, requests);
    finding
}

fn judge(finding: &mut Finding, asked: &Asked, served: &[Served]) {
    let seconds = served.iter().map(|served| served.seconds);
    let spread = finding.add("time until it is served", asked.who, Unit::Seconds, seconds);
    let Probed { p50, p99 } = Probed::of(served.iter().flat_map(|served| served.requests.clone()).collect());
    finding.add("p50 of a request", asked.who, Unit::Milliseconds, [p50]);
    finding.add("p99 of a request", asked.who, Unit::Milliseconds, [p99]);
    let failures: usize = served.iter().map(|served| served.failures).sum();
    finding.add("requests that failed", asked.who, Unit::Count, [failures as f64]);
    finding.require(failures == 0, || format!("{}: {failures} requests failed", asked.who));
    let from_others = served.iter().filter_map(|served| served.from_others);
    finding.add("bytes from other gateways", asked.who, Unit::Bytes, from_others);
    if let Some(gateway) = &asked.gateway {
        finding.add("resident memory of each", asked.who, Unit::Bytes, resident(gateway.pid()));
    }
    let most = spread.map_or(f64::INFINITY, |spread| spread.most);
    if let Some(bound) = asked.bound.map(|bound| bound.as_secs_f64()) {
        finding.require(most <= bound, || format!("{}: {most:.1} s, {bound} s are promised", asked.who));
    }
    finding.require(served.iter().all(|served| served.has_tarball), || {
        format!("{}: the new version's tarball was not served", asked.who)
    });
}

/// Publishes the next version, and waits until everybody serves it.
fn one(internet: &Internet, all: &[Asked], round: usize) -> Vec<Served> {
    publish(internet, round);
    let published = Instant::now();
    thread::scope(|scope| {
        let waiting: Vec<_> =
            all.iter().map(|asked| scope.spawn(move || asked.wait(internet, round, published))).collect();
        waiting.into_iter().map(|one| one.join().expect("a client that asks")).collect()
    })
}

fn version(round: usize) -> String {
    format!("1.{round}.0")
}

fn publish(internet: &Internet, round: usize) {
    let package = Package::new(NAME).version(&version(round), |version| version.size(100_000));
    internet.registry().publish(package);
}

impl Asked {
    /// Asks until it is there.
    fn wait(&self, internet: &Internet, round: usize, published: Instant) -> Served {
        let wanted = version(round);
        let (mut requests, mut failures) = (Vec::new(), 0);
        let from_others = || self.gateway.as_ref().map(|gateway| told(&[gateway])[0]);
        let before = from_others();
        await_that(&format!("{wanted} at {}", self.who), PATIENCE, || {
            thread::sleep(PAUSE);
            let asked = Instant::now();
            let latest = self.latest(internet);
            requests.push(asked.elapsed().as_secs_f64() * 1000.0);
            failures += usize::from(latest.is_none());
            latest.as_deref() == Some(&*wanted)
        });
        let seconds = published.elapsed().as_secs_f64();
        let has_tarball = self.ask(internet, &format!("/{NAME}/-/{NAME}-{wanted}.tgz")).0 == 200;
        let from_others = from_others().zip(before).map(|(now, before)| now - before);
        Served { seconds, has_tarball, requests, failures, from_others }
    }

    /// The newest version, if it answers.
    fn latest(&self, internet: &Internet) -> Option<String> {
        let (status, body) = self.ask(internet, &format!("/{NAME}"));
        let packument: Value = serde_json::from_slice(&body).ok().filter(|_| status == 200)?;
        packument["dist-tags"]["latest"].as_str().map(str::to_owned)
    }

    fn ask(&self, internet: &Internet, path: &str) -> (u16, Vec<u8>) {
        let request = internet.trusting(Request::get(&format!("{}{path}", self.url)));
        match self.client.run(|| request.try_send()) {
            Ok(reply) => (reply.status, reply.body.to_vec()),
            Err(_) => (0, Vec::new()),
        }
    }
}

/// A gateway of each kind, and upstream for comparison, each with a client of its own.
fn start(internet: &Internet, office: &Office) -> Vec<Asked> {
    let feed = format!("[upstream]\nchanges = \"{}/-/replica\"\n", internet.url());
    let fresh = format!("[upstream]\nfresh = \"{FRESH}s\"\n");
    let identity = Identity::new();
    let (machine, builder) = describe(internet, office, "home", &feed);
    let home = machine.run(|| builder.identity(&identity).start());
    let contact = match machine.host() {
        Some(host) => format!("/ip4/{}/tcp/6738/p2p/{}", host.v4(), identity.id()),
        None => home.contact(),
    };
    let follower = |name: &str, way: &str| {
        let (machine, builder) = describe(internet, office, name, "");
        let builder = builder.flag("--federate").flag(&contact).flag("--update-type").flag(way);
        machine.run(|| builder.start())
    };
    let by_pubsub = follower("by-pubsub", "pubsub");
    let by_http = follower("by-http", "http");
    let (machine, builder) = describe(internet, office, "no-feed", &fresh);
    let without = machine.run(|| builder.start());
    let of = |who, seconds: u64, gateway: Gateway| {
        let client = office.machine(Role::Client, "client");
        let url = gateway.url();
        Asked { who, bound: Some(Duration::from_secs(seconds)), url, client, gateway: Some(gateway) }
    };
    let at_home = FEED + ASKING;
    let client = office.machine(Role::Client, "client");
    vec![
        of("home, which follows the feed", at_home, home),
        of("follower by pubsub", at_home + CONFIRMING + TOLD + CURRENT, by_pubsub),
        of("follower by http", at_home + CONFIRMING + ASKED + CURRENT, by_http),
        of("gateway without a feed, fresh for 10 s", FRESH + ASKING, without),
        Asked { who: "straight", bound: None, url: internet.url(), client, gateway: None },
    ]
}

/// A gateway with peers that looks for nobody.
fn describe(internet: &Internet, office: &Office, name: &str, lines: &str) -> (Machine, GatewayBuilder) {
    let machine = office.machine(Role::Gateway, name);
    let peers = match machine.host() {
        Some(host) => host.at(6738).to_string(),
        None => format!("127.0.0.1:{}", free_port()),
    };
    let config = format!("{lines}[federation]\ndiscover = false\n");
    let builder = internet.gateway_on(&machine).peers_at(&peers).config_toml(&config);
    (machine, builder)
}

/// Everybody holds the first version, and followers know home's root with it.
fn settle(internet: &Internet, all: &[Asked]) {
    for asked in all {
        let what = format!("the first version at {}", asked.who);
        await_that(&what, SETTLED, || asked.latest(internet) == Some(version(0)));
    }
    let gateways: Vec<&Gateway> = all.iter().filter_map(|asked| asked.gateway.as_ref()).collect();
    let home = gateways[0];
    await_that("home at the feed's end", SETTLED, || home.status()["changes"]["lag"] == 0);
    for follower in &gateways[1..=2] {
        await_that("home's root at a follower", SETTLED, || {
            let (root, followed) = (home.status()["index"]["root"].clone(), follower.status());
            root.is_string() && followed["followed"]["root"] == root
        });
        await_that("home's root, current, at a follower", SETTLED, || {
            follower.metric("open_registry_root_current_timestamp_seconds", &[]) > 0.0
        });
    }
}
