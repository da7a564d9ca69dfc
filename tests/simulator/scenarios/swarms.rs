//! A private swarm beside a public one: how long a gateway takes to be in it, and to have what another holds.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use harness::http::Request;
use harness::lan::{Host, Region};
use harness::{Gateway, GatewayBuilder, Identity, Release};
use tempfile::TempDir;

use super::Scenario;
use crate::simulator::Settings;
use crate::simulator::finding::{Finding, Unit};
use crate::simulator::internet::Internet;
use crate::simulator::measure::await_that;
use crate::simulator::progress::Progress;

pub(super) const SCENARIO: Scenario = Scenario {
    number: 8,
    name: "A private swarm beside a public one",
    condition: "In each, whoever joins late is connected within 10 s of its start; has what one of the others holds within 10 s \
                of that, without a way to upstream and while upstream is silent; and with upstream no request takes longer \
                than 5 s.",
    needs_namespaces: true,
    play,
};

/// The gateways that are there first, and the numbers of their machines, and of those who join late.
const MEMBERS: usize = 5;
const MACHINES: [u8; MEMBERS + 3] = [31, 32, 33, 34, 35, 36, 37, 38];
/// Who holds what is asked for. It is not the one that the others are led to.
const HOLDER: usize = 3;
/// How many tarballs each of the late asks for, one after the other.
const WANTED: usize = 10;
/// What the condition allows.
const CONNECTED: Duration = Duration::from_secs(10);
const FOUND: Duration = Duration::from_secs(10);
const LONGEST: f64 = 5.0;
/// How long anything is waited for, so that what takes too long still has a figure.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two requests for what nobody has given yet.
const PAUSE: Duration = Duration::from_millis(20);
/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9";

/// One way to be a swarm.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    /// Whether only those who have a key belong to it.
    private: bool,
    /// Whether members look for each other in their LAN; otherwise they are told of the first.
    looks: bool,
}

const KINDS: [Kind; 3] = [
    Kind { name: "private, in one LAN, by multicast DNS", private: true, looks: true },
    Kind { name: "private, on the Internet, by a bootstrap address", private: true, looks: false },
    Kind { name: "public, on the Internet, by a bootstrap address", private: false, looks: false },
];

struct Scene<'a> {
    settings: &'a Settings,
    internet: &'a Internet,
    office: Region,
    world: Region,
    key: PathBuf,
    _folder: TempDir,
}

/// What was measured of one swarm once, in seconds.
#[derive(Debug, Default)]
struct Measured {
    /// Until all members had somebody.
    members: f64,
    /// Neighbours of each member when the late ones came.
    neighbours: Vec<f64>,
    cut_off: Late,
    connected: Late,
    silenced: Late,
}

/// Of one that joined late.
#[derive(Debug, Default)]
struct Late {
    /// From its start until it listens, and until it is connected to somebody.
    listens: f64,
    connected: f64,
    /// From then until it had the first tarball, and how long each request took for the others.
    first: f64,
    others: Vec<f64>,
    /// From being connected until it was told of anything that others hold.
    told: f64,
    /// Tarballs that it asked upstream for.
    upstream: f64,
}

fn play(settings: &Settings, progress: &Progress) -> Finding {
    let internet = Internet::new(settings);
    let Some((lan, public_dns)) = internet.lan() else { return Finding::default() };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = folder.path().join("swarm.key");
    fs::write(&key, "0f".repeat(32)).expect("a file in a new folder");
    let office = Region::lan("office", 7, lan, public_dns, &MACHINES);
    let world = Region::public("world", lan, public_dns, &MACHINES);
    let scene = Scene { settings, internet: &internet, office, world, key, _folder: folder };
    let mut finding = Finding::default();
    finding.note("between the machines of the Internet there is neither latency nor a limit: only upstream's link has them");
    let mut found: Vec<Vec<Measured>> = KINDS.iter().map(|_| Vec::new()).collect();
    for round in 0..settings.options.pairs {
        for nth in 0..KINDS.len() {
            let which = (nth + round) % KINDS.len();
            progress.step(KINDS[which].name);
            found[which].push(scene.measure(KINDS[which]));
        }
    }
    for (kind, measured) in KINDS.iter().zip(&found) {
        report(&mut finding, kind.name, measured);
    }
    finding
}

fn report(finding: &mut Finding, of: &str, measured: &[Measured]) {
    let mut add = |what: &str, unit, values: &dyn Fn(&Measured) -> Vec<f64>| {
        finding.add(what, of, unit, measured.iter().flat_map(values)).map_or(f64::NAN, |spread| spread.most)
    };
    let (seconds, count) = (Unit::Seconds, Unit::Count);
    add("five members: until each has a neighbour", seconds, &|one| vec![one.members]);
    add("neighbours of a member then", count, &|one| one.neighbours.clone());
    add("a late one: until it listens", seconds, &|one| vec![one.cut_off.listens, one.connected.listens]);
    let connected = add("a late one: until it is connected", seconds, &|one| {
        vec![one.cut_off.connected, one.connected.connected]
    });
    add("from then until it knows what others hold", seconds, &|one| {
        vec![one.cut_off.told, one.connected.told]
    });
    let first =
        add("cut off: from then until it has the first tarball", seconds, &|one| vec![one.cut_off.first]);
    add("cut off: a request for another tarball", seconds, &|one| one.cut_off.others.clone());
    let straight = add("with upstream: the first tarball", seconds, &|one| vec![one.connected.first]);
    let others =
        add("with upstream: a request for another tarball", seconds, &|one| one.connected.others.clone());
    let silent = add("upstream silent: from then until it has the first tarball", seconds, &|one| {
        vec![one.silenced.first]
    });
    let later =
        add("upstream silent: a request for another tarball", seconds, &|one| one.silenced.others.clone());
    add("with upstream: tarballs of ten taken from upstream", count, &|one| vec![one.connected.upstream]);
    finding
        .require(connected <= CONNECTED.as_secs_f64(), || format!("{of}: connected after {connected:.1} s"));
    finding.require(first <= FOUND.as_secs_f64(), || format!("{of}: the first tarball after {first:.1} s"));
    finding.require(silent.max(later) <= FOUND.as_secs_f64(), || {
        format!("{of}: a tarball after {:.1} s while upstream was silent", silent.max(later))
    });
    let longest = straight.max(others);
    finding.require(longest <= LONGEST, || format!("{of}: a request took {longest:.1} s beside upstream"));
}

impl Scene<'_> {
    /// A new swarm, and three who join it late: one without a way to upstream, one with it, and one when upstream has fallen
    /// silent, which none of them knows.
    fn measure(&self, kind: Kind) -> Measured {
        let place = if kind.looks { &self.office } else { &self.world };
        let (servers, late) = place.servers.split_at(MEMBERS);
        let identity = Identity::new();
        let swarm = Swarm { scene: self, kind, first: &servers[0], identity: &identity };
        let started = Instant::now();
        let members: Vec<Gateway> = thread::scope(|scope| {
            let swarm = &swarm;
            let start = |host| scope.spawn(move || swarm.start(host, self.internet.gateway()));
            let running: Vec<_> = servers.iter().map(start).collect();
            running.into_iter().map(|one| one.join().expect("a gateway that starts")).collect()
        });
        for member in &members {
            await_that("a neighbour", PATIENCE, || neighbours(member) > 0.0);
        }
        let until_all = started.elapsed().as_secs_f64();
        let [first, second, third] = [0, 1, 2].map(|nth| self.wanted(nth * WANTED));
        for release in first.iter().chain(&second).chain(&third) {
            assert_eq!(ask(&servers[HOLDER], &members[HOLDER], release), 200, "{}", release.name);
        }
        let neighbours = members.iter().map(neighbours).collect();
        let nowhere = self.internet.gateway().upstream(NOWHERE);
        let cut_off = swarm.join(&late[0], nowhere, &first);
        self.internet.registry().reset_log();
        let mut connected = swarm.join(&late[1], self.internet.gateway(), &second);
        connected.upstream = self.internet.registry().tarball_requests() as f64;
        let silenced = self.internet.silenced(|| swarm.join(&late[2], self.internet.gateway(), &third));
        Measured { members: until_all, neighbours, cut_off, connected, silenced }
    }

    /// Ten tarballs of the project, after so many.
    fn wanted(&self, skipped: usize) -> Vec<&Release> {
        let releases = self.settings.project.packages.iter().filter_map(|package| package.releases().last());
        releases.skip(skipped).take(WANTED).collect()
    }
}

/// How gateways of one swarm are started.
struct Swarm<'a> {
    scene: &'a Scene<'a>,
    kind: Kind,
    /// The machine of the one that the others are led to, and who it is.
    first: &'a Host,
    identity: &'a Identity,
}

impl Swarm<'_> {
    fn start(&self, host: &Host, builder: GatewayBuilder) -> Gateway {
        let mut lines = format!("[federation]\ndiscover = {}\n", self.kind.looks);
        if self.kind.private {
            lines.push_str(&format!("psk_file = {:?}\n", self.scene.key));
        }
        let is_first = host.v4() == self.first.v4();
        if !self.kind.looks && !is_first {
            let contact = format!("/ip4/{}/tcp/6738/p2p/{}", self.first.v4(), self.identity.id());
            lines.push_str(&format!("bootstrap = [\"{contact}\"]\n"));
        }
        let builder = builder.listen(host.at(80)).peers_at("0.0.0.0:6738,[::]:6738").config_toml(&lines);
        let builder = if is_first { builder.identity(self.identity) } else { builder };
        host.run(|| builder.start())
    }

    /// One more, which asks for these as soon as it is connected to anybody.
    fn join(&self, host: &Host, builder: GatewayBuilder, wanted: &[&Release]) -> Late {
        let started = Instant::now();
        let gateway = self.start(host, builder);
        let listens = started.elapsed().as_secs_f64();
        await_that("a neighbour", PATIENCE, || neighbours(&gateway) > 0.0);
        let connected = started.elapsed().as_secs_f64();
        let knows = || gateway.metric("open_registry_peers_tarballs", &[]) > 0.0;
        thread::scope(|scope| {
            let told = scope.spawn(|| await_that("word of what others hold", PATIENCE, knows));
            let mut times = wanted.iter().map(|release| {
                let asked = Instant::now();
                while ask(host, &gateway, release) != 200 {
                    assert!(asked.elapsed() < PATIENCE, "nobody has given {}", release.name);
                    thread::sleep(PAUSE);
                }
                asked.elapsed().as_secs_f64()
            });
            let first = times.next().expect("something is wanted");
            let others = times.collect();
            let told = told.join().expect("a thread that ends").as_secs_f64();
            Late { listens, connected, first, others, told, upstream: 0.0 }
        })
    }
}

/// Asks a gateway for a tarball on its own machine, as npm does with a lockfile; the status.
fn ask(host: &Host, gateway: &Gateway, release: &Release) -> u16 {
    let url = format!("{}{}", gateway.url(), release.tarball_path());
    let request = Request::get(&url).header("pacote-integrity", &release.integrity).within(PATIENCE);
    host.run(|| request.send()).status
}

fn neighbours(gateway: &Gateway) -> f64 {
    gateway.metric("open_registry_peers_connected", &[])
}
