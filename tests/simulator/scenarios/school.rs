//! A school: many clients of every kind, one gateway, and nothing changed but DNS and the registry's name.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use harness::lan::ZONE;
use harness::{Client, Gateway, clients};

use super::Scenario;
use crate::simulator::Settings;
use crate::simulator::finding::{Finding, Spread, Unit};
use crate::simulator::internet::Internet;
use crate::simulator::measure::{Between, Installation, Run, install, measure};
use crate::simulator::office::{Machine, Office, Role};
use crate::simulator::probe::{explain, probe};
use crate::simulator::progress::Progress;

pub(super) const SCENARIO: Scenario = Scenario {
    number: 5,
    name: "A school: npm, pnpm, yarn and bun at many desks, one gateway, led there by DNS",
    condition: "Every install succeeds, first with nothing in the gateway, then with all of it, then while the router drops \
                whatever leaves for the Internet. The first round takes at most 1.1 of the Internet bytes of one client alone, \
                of the kind that takes most; the second asks upstream for no tarball; and without the Internet npm takes no \
                more than 15 s longer: the gateway gives its audit up as soon as it has found out that nobody is there.",
    needs_namespaces: true,
    play,
};

/// In turn, from desk to desk.
const KINDS: [Client; 5] = [Client::Npm11, Client::Pnpm10, Client::Yarn1, Client::Bun, Client::Yarn4];
/// The gateway's number in the school's LAN.
const SERVER: u8 = 9;
/// Of what one client alone takes.
const MOST: f64 = 1.1;
/// By how many seconds npm may be held up while nobody answers from the Internet: 3 until the gateway suspects it, and 7 until it
/// has not connected; and what else happens on the processors of one machine. Whoever comes later is told at once.
const HELD_UP: f64 = 15.0;

struct Scene<'a> {
    settings: &'a Settings,
    internet: Internet,
    school: Office,
    desks: Vec<(Client, Machine)>,
}

/// What one round has cost, and how long each kind of client took.
struct Round {
    what: String,
    run: Run,
    times: BTreeMap<Client, Vec<f64>>,
    /// Of one that installed with npm.
    lockfile: Option<Vec<u8>>,
}

fn play(settings: &Settings, progress: &Progress) -> Finding {
    let internet = Internet::of(settings, progress, &KINDS);
    let school = internet.office_led_to("school", 7, SERVER);
    let server = school.machine_at(Role::Gateway, "server", SERVER);
    let desk = |nth: usize| (KINDS[nth % KINDS.len()], school.machine(Role::Client, &format!("desk-{nth}")));
    let desks = (0..settings.options.clients).map(desk).collect();
    let scene = Scene { settings, internet, school, desks };
    let straight = scene.internet.straight();
    let led = scene.internet.through(&format!("http://{ZONE}"));

    progress.step("one client of each kind alone, straight to upstream");
    let kinds = scene.desks.len().min(KINDS.len());
    let alone = scene.desks[..kinds].chunks(1).map(|desk| {
        let name = desk[0].0.name();
        scene.round(&format!("{name} alone, straight"), desk, &straight, Between::Nobody)
    });
    let alone: Vec<Round> = alone.collect();
    let builder = scene.internet.gateway_on(&server).dns(server.at(53));
    let gateway = server.run(|| builder.start());
    let everybody = |what| {
        progress.step(&format!("{} desks, {what}", scene.desks.len()));
        scene.round(what, &scene.desks, &led, Between::Gateways(&[&gateway]))
    };
    let cold = everybody("nothing in the gateway");
    let mut warm = everybody("everything in the gateway");
    let ask = |lockfile: &Vec<u8>| {
        let url = format!("http://{ZONE}");
        scene.desks[0].1.run(|| probe(settings, &scene.internet, &url, lockfile))
    };
    warm.run.probed = warm.lockfile.as_ref().map(ask);
    let passed = || gateway.metric("open_registry_http_requests_total", &[("route", "passthrough")]);
    let before = passed();
    let away = scene.school.without_internet(|| everybody("without the Internet"));
    let audits = passed() - before;
    drop::<Gateway>(gateway);
    progress.step(&format!("{} desks, straight to upstream", scene.desks.len()));
    let without_us = scene.round("straight to upstream", &scene.desks, &straight, Between::Nobody);
    let mut finding = judge(settings, &alone, &[cold, warm, away, without_us]);
    finding.add("audits that the gateway was asked for", "without the Internet", Unit::Count, [audits]);
    finding
}

impl Scene<'_> {
    /// Everybody at these desks installs, so many at a time as the options say.
    fn round(
        &self,
        what: &str,
        desks: &[(Client, Machine)],
        registry: &clients::Settings,
        between: Between<'_>,
    ) -> Round {
        let (run, installed) = measure(&self.internet, &[&self.school], between, || {
            in_order(self.settings.options.at_once, desks.len(), |nth| {
                let (client, machine) = &desks[nth];
                install(self.settings, machine, *client, registry)
            })
        });
        let mut times: BTreeMap<Client, Vec<f64>> = BTreeMap::new();
        for ((client, _), one) in desks.iter().zip(&installed) {
            times.entry(*client).or_default().push(one.outcome.duration.as_secs_f64());
        }
        let lockfile = installed.iter().find_map(Installation::npm_lockfile).map(<[u8]>::to_vec);
        Round { what: what.to_owned(), run, times, lockfile }
    }
}

/// Does all of these, so many at a time, and gives what each has given.
fn in_order(at_once: usize, count: usize, one: impl Fn(usize) -> Installation + Sync) -> Vec<Installation> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= count {
                return done;
            }
            done.push((nth, one(nth)));
        }
    };
    let mut all: Vec<(usize, Installation)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once.min(count)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("installs that end")).collect()
    });
    all.sort_by_key(|(nth, _)| *nth);
    all.into_iter().map(|(_, installation)| installation).collect()
}

fn judge(settings: &Settings, alone: &[Round], rounds: &[Round; 4]) -> Finding {
    let mut finding = Finding::default();
    explain(settings, &mut finding);
    finding.note(&format!(
        "{} desks, at most {} of them at the same moment. Whoever installs has no lockfile and no cache. One \
         round, whatever --pairs says: each has 30 installs. Verdaccio is left out: it answers no DNS, and scenario 1 is beside it.",
        settings.options.clients, settings.options.at_once
    ));
    for round in alone {
        finding.add_runs(&round.what, std::slice::from_ref(&round.run));
    }
    for round in rounds {
        finding.add_runs(&round.what, std::slice::from_ref(&round.run));
        for (client, times) in &round.times {
            let of = format!("{}, {}", client.name(), round.what);
            finding.add("time of one install", &of, Unit::Seconds, times.iter().copied());
        }
    }
    let [cold, warm, away, without_us] = rounds;
    let most = alone.iter().map(|round| round.run.traffic.internet).fold(0.0, f64::max);
    let beside = |round: &Round| round.run.traffic.internet / most;
    for round in [cold, warm, without_us] {
        let what = "bytes from the Internet / one client's alone";
        finding.add(what, &round.what, Unit::Ratio, [beside(round)]);
    }
    finding.require(beside(cold) <= MOST, || {
        format!("the first round took {:.3} of one client's bytes alone", beside(cold))
    });
    finding.require(warm.run.tarballs == 0.0, || {
        format!("the second round asked upstream for {} tarballs", warm.run.tarballs)
    });
    let npm = |round: &Round| {
        Spread::of(round.times[&Client::Npm11].iter().copied()).map_or(f64::NAN, |all| all.median)
    };
    let held_up = npm(away) - npm(warm);
    finding.add(
        "how much longer npm takes without the Internet, its audits included",
        "median",
        Unit::Seconds,
        [held_up],
    );
    finding.require(held_up <= HELD_UP, || format!("without the Internet npm took {held_up:.1} s longer"));
    finding
}
