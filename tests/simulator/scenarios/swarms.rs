//! A private swarm beside a public one: how long a gateway takes to be in it, and to have what another holds.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use harness::http::Request;
use harness::lan::{Host, Region};
use harness::{Gateway, GatewayBuilder, Identity, Release};
use serde_json::Value;
use tempfile::TempDir;

use super::Scenario;
use crate::simulator::Settings;
use crate::simulator::finding::{Finding, Unit};
use crate::simulator::internet::Internet;
use crate::simulator::measure::{self, await_that};
use crate::simulator::progress::Progress;

pub(super) const SCENARIO: Scenario = Scenario {
    number: 8,
    name: "A private swarm beside a public one",
    condition: "In each, whoever joins late is connected within 10 s of its start, and told what one of the others holds; then it \
                has that within 10 s without a way to upstream, and nobody asks upstream for it; and within 5 s with one. (Asked \
                before it is connected, or while upstream is silent: shown beside it.)",
    needs_namespaces: true,
    play,
};

/// The gateways that are there first, and the numbers of their machines, and of those who join late.
const MEMBERS: usize = 5;
const MACHINES: [u8; MEMBERS + 4] = [31, 32, 33, 34, 35, 36, 37, 38, 39];
/// Who holds what is asked for. It is not the one that the others are led to.
const HOLDER: usize = 3;
/// How many tarballs each of the late asks for at most, one after the other.
const WANTED: usize = 10;
/// What the condition allows.
const CONNECTED: f64 = 10.0;
const FOUND: f64 = 10.0;
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

/// What upstream is to one that joins late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upstream {
    /// Nobody listens where it is looked for.
    Nowhere,
    There,
    /// It hears nothing any more, and nobody knows.
    Silent,
}

/// In which situation somebody joins late, and what is asked of it.
#[derive(Debug, Clone, Copy)]
struct Situation {
    name: &'static str,
    upstream: Upstream,
    /// It is asked as soon as it listens, and not only when it has been told what the holder has.
    at_once: bool,
    /// How long the first tarball may take, and any other.
    most: Option<f64>,
}

const SITUATIONS: [Situation; 4] = [
    Situation { name: "no upstream", upstream: Upstream::Nowhere, at_once: false, most: Some(FOUND) },
    Situation { name: "upstream there", upstream: Upstream::There, at_once: false, most: Some(LONGEST) },
    Situation {
        name: "no upstream, asked before it is connected",
        upstream: Upstream::Nowhere,
        at_once: true,
        most: None,
    },
    Situation { name: "upstream silent", upstream: Upstream::Silent, at_once: false, most: None },
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
#[derive(Debug)]
struct Measured {
    /// Until all members had somebody.
    members: f64,
    /// Neighbours of each member when the late ones came.
    neighbours: Vec<f64>,
    /// In each situation.
    late: Vec<Late>,
}

/// Of one that joined late.
#[derive(Debug)]
struct Late {
    /// From its start until it listens, and until it is connected to somebody.
    listens: f64,
    connected: f64,
    /// From its start until it was told of all that the holder has.
    told: f64,
    /// How long it took from the first request until there was the first tarball, and how long for each of the others.
    first: f64,
    others: Vec<f64>,
    /// Tarballs that upstream was asked for.
    upstream: f64,
    /// Bytes of tarballs that came from other gateways, and resident memory in the end.
    from_others: f64,
    resident: Option<f64>,
}

fn play(settings: &Settings, progress: &Progress) -> Finding {
    let internet = Internet::new(settings, progress);
    let Some((lan, public_dns)) = internet.lan() else { return Finding::default() };
    if settings.project.packages.len() < SITUATIONS.len() {
        let mut finding = Finding::default();
        finding.require(false, || format!("the project has fewer than {} packages", SITUATIONS.len()));
        return finding;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = folder.path().join("swarm.key");
    fs::write(&key, "0f".repeat(32)).expect("a file in a new folder");
    let office = Region::lan("office", 7, lan, public_dns, &MACHINES);
    let world = Region::public("world", lan, public_dns, &MACHINES);
    let scene = Scene { settings, internet: &internet, office, world, key, _folder: folder };
    let mut finding = Finding::default();
    finding.note("Verdaccio is left out: it has no peers. What upstream alone would take is scenario 1's.");
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
    let mut add = |what: &str, unit, values: Vec<f64>| {
        finding.add(what, of, unit, values).map_or(f64::NAN, |spread| spread.most)
    };
    let late = |nth: usize| measured.iter().map(move |one| &one.late[nth]);
    let of_all =
        |value: fn(&Late) -> f64| measured.iter().flat_map(|one| one.late.iter().map(value)).collect();
    add(
        "five members: until each has a neighbour",
        Unit::Seconds,
        measured.iter().map(|one| one.members).collect(),
    );
    let neighbours = measured.iter().flat_map(|one| one.neighbours.clone());
    add("five members: neighbours of each then", Unit::Count, neighbours.collect());
    add("late: start until it listens", Unit::Seconds, of_all(|late| late.listens));
    let connected = add("late: start until it is connected", Unit::Seconds, of_all(|late| late.connected));
    add("late: start until told what the holder has", Unit::Seconds, of_all(|late| late.told));
    let memory = measured.iter().flat_map(|one| one.late.iter().filter_map(|late| late.resident));
    add("late: resident memory", Unit::Bytes, memory.collect());
    let mut complaints = Vec::new();
    for (nth, Situation { name, most, .. }) in SITUATIONS.iter().enumerate() {
        let first = late(nth).map(|late| late.first).collect();
        let first = add(&format!("{name}: first tarball"), Unit::Seconds, first);
        let others = late(nth).flat_map(|late| late.others.clone()).collect();
        let others = add(&format!("{name}: another"), Unit::Seconds, others);
        let asked = late(nth).map(|late| late.upstream).collect();
        add(&format!("{name}: asked of upstream"), Unit::Count, asked);
        if *name == SITUATIONS[0].name && late(nth).any(|late| late.upstream > 0.0) {
            complaints.push(format!("{of}, {name}: upstream was asked by somebody"));
        }
        let from_others = late(nth).map(|late| late.from_others).collect();
        add(&format!("{name}: bytes from other gateways"), Unit::Bytes, from_others);
        let longest = first.max(others);
        if most.is_some_and(|most| longest > most) {
            complaints.push(format!("{of}, {name}: a tarball took {longest:.1} s"));
        }
    }
    finding.require(connected <= CONNECTED, || format!("{of}: connected after {connected:.1} s"));
    finding.require(complaints.is_empty(), || complaints.join("; "));
}

impl Scene<'_> {
    /// A new swarm, and one in each situation who joins it late.
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
        let wanted = |nth: usize| self.wanted(nth);
        for release in (0..SITUATIONS.len()).flat_map(wanted) {
            assert_eq!(ask(&servers[HOLDER], &members[HOLDER], release), 200, "{}", release.name);
        }
        let neighbours = members.iter().map(neighbours).collect();
        let numbered = SITUATIONS.into_iter().enumerate();
        let holder = members[HOLDER].id();
        let late = numbered
            .map(|(nth, situation)| swarm.join(&late[nth], situation, &wanted(nth), &holder))
            .collect();
        Measured { members: until_all, neighbours, late }
    }

    /// What is asked for in a situation: tarballs of the project that are asked for in no other.
    fn wanted(&self, situation: usize) -> Vec<&Release> {
        let packages = &self.settings.project.packages;
        let each = (packages.len() / SITUATIONS.len()).min(WANTED);
        let releases = packages.iter().filter_map(|package| package.releases().last());
        releases.skip(situation * each).take(each).collect()
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

    /// One more, which is asked for these.
    fn join(&self, host: &Host, situation: Situation, wanted: &[&Release], holder: &str) -> Late {
        let internet = self.scene.internet;
        internet.registry().reset_log();
        let late = match situation.upstream {
            Upstream::Nowhere => {
                self.ask(host, situation, internet.gateway().upstream(NOWHERE), wanted, holder)
            }
            Upstream::There => self.ask(host, situation, internet.gateway(), wanted, holder),
            Upstream::Silent => {
                internet.silenced(|| self.ask(host, situation, internet.gateway(), wanted, holder))
            }
        };
        Late { upstream: internet.registry().tarball_requests() as f64, ..late }
    }

    fn ask(
        &self,
        host: &Host,
        situation: Situation,
        builder: GatewayBuilder,
        wanted: &[&Release],
        holder: &str,
    ) -> Late {
        let started = Instant::now();
        let gateway = self.start(host, builder);
        let listens = started.elapsed().as_secs_f64();
        let is_connected = || neighbours(&gateway) > 0.0;
        let all = (wanted.len() * SITUATIONS.len()) as u64;
        let knows = || {
            let status = gateway.status();
            let connected = status["connected"].as_array().into_iter().flatten();
            let tells = |one: &Value| one["peer"] == holder && one["tarballs"].as_u64() >= Some(all);
            connected.into_iter().any(tells)
        };
        let watch = || {
            await_that("a neighbour", PATIENCE, is_connected);
            let connected = started.elapsed().as_secs_f64();
            await_that("word of what the holder has", PATIENCE, knows);
            (connected, started.elapsed().as_secs_f64())
        };
        thread::scope(|scope| {
            let watching = scope.spawn(watch);
            if !situation.at_once {
                await_that("word of what the holder has", PATIENCE, knows);
            }
            let mut times = wanted.iter().map(|release| time_until_given(host, &gateway, release));
            let first = times.next().expect("something is wanted");
            let others = times.collect();
            let (connected, told) = watching.join().expect("a thread that ends");
            let [from_others, _] = measure::told(&[&gateway]);
            let resident = measure::resident(gateway.pid());
            Late { listens, connected, told, first, others, upstream: 0.0, from_others, resident }
        })
    }
}

/// Asks again and again, until it is given.
fn time_until_given(host: &Host, gateway: &Gateway, release: &Release) -> f64 {
    let asked = Instant::now();
    while ask(host, gateway, release) != 200 {
        assert!(asked.elapsed() < PATIENCE, "nobody has given {}", release.name);
        thread::sleep(PAUSE);
    }
    asked.elapsed().as_secs_f64()
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
