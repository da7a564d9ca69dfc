//! Gateways that join and leave while clients install, and one in ten that lies.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use harness::{Conduct, Gateway, Package, Stranger, disk};
use serde_json::Value;

use super::{Scenario, straight};
use crate::simulator::Settings;
use crate::simulator::federation::{Federation, Ties, contact_of};
use crate::simulator::finding::{Finding, Unit};
use crate::simulator::internet::Internet;
use crate::simulator::measure::{Between, Run, await_that, get, install, measure};
use crate::simulator::office::{Machine, Role};
use crate::simulator::probe::{explain, paths};
use crate::simulator::progress::Progress;
use crate::simulator::project::fraction;
use crate::simulator::turns::in_turns;

pub(super) const SCENARIO: Scenario = Scenario {
    number: 7,
    name: "Churn: of ten members six join and leave during installs, and one lies",
    condition: "Every install succeeds and leaves what one straight from upstream leaves; nothing wrong is in any store; \
                and in each round gateways have come and gone, and the liar was asked, while clients installed.",
    needs_namespaces: true,
    play,
};

/// Gateways with clients, which stay: whoever loses his own gateway fails, whatever the others do.
const STAYING: usize = 3;
/// Gateways that come and go. With those that stay and the liar they are ten.
const COMING: usize = 6;
/// What the liar does, one after the other.
const LIES: [Conduct; 4] =
    [Conduct::WrongBytes, Conduct::Truncated, Conduct::EverySecondWrong, Conduct::Endless];
/// The shortest and the longest time between two events.
const PAUSE: (f64, f64) = (0.1, 0.6);
/// Of the events in which one leaves: those in which it does so without a word.
const SUDDEN: f64 = 0.5;
/// How long others may take to know of somebody.
const PATIENCE: Duration = Duration::from_secs(60);

struct Scene<'a> {
    settings: &'a Settings,
    progress: &'a Progress,
    internet: &'a Internet,
    /// Those that stay.
    core: &'a Federation,
    liar: Machine,
    joins: AtomicUsize,
    leaves: AtomicUsize,
    /// Rounds in which nobody came, or nobody went, or the liar was not asked.
    idle: AtomicUsize,
    /// What the liar was asked for.
    lies: AtomicUsize,
    unsound: AtomicUsize,
    /// Files that were looked at.
    looked_at: AtomicUsize,
}

fn play(settings: &Settings, progress: &Progress) -> Finding {
    let internet = Internet::new(settings, progress);
    let core = Federation::new(&internet, 7, Ties::Equals, STAYING).impatient();
    let machines: Vec<Machine> =
        (0..COMING).map(|nth| core.office.machine(Role::Gateway, &format!("guest-{nth}"))).collect();
    let liar = core.office.machine(Role::Gateway, "liar");
    let mut finding = Finding::default();
    explain(settings, &mut finding);

    progress.step("an install straight from upstream, which all others are held to");
    let straight_from = internet.straight();
    let (_, reference) = measure(&internet, &[&core.office], Between::Nobody, || {
        vec![install(settings, &core.clients[0], harness::Client::Npm11, &straight_from)]
    });
    let paths = paths(&reference[0].outcome.clone().expect_success().lockfile.expect("a lockfile"));

    progress.step("six gateways get a part of the project each");
    let guests: Vec<Gateway> = machines.iter().map(|machine| core.start_on(&internet, machine)).collect();
    for (nth, (guest, machine)) in guests.iter().zip(&machines).enumerate() {
        fill(settings, &internet, machine, guest, &paths, nth);
    }
    let scene = Scene {
        settings,
        progress,
        internet: &internet,
        core: &core,
        liar,
        joins: AtomicUsize::new(0),
        leaves: AtomicUsize::new(0),
        idle: AtomicUsize::new(0),
        lies: AtomicUsize::new(0),
        unsound: AtomicUsize::new(0),
        looked_at: AtomicUsize::new(0),
    };
    let guests = RefCell::new(guests);
    let churn = |round| scene.with_churn(&mut guests.borrow_mut(), round);
    let calm = |_| scene.calm(&mut guests.borrow_mut());
    let alone = |_| straight(settings, progress, &internet, &core);
    let found = in_turns(settings, &[&churn, &calm, &alone]);
    for (name, runs) in ["with churn and a liar", "calm", "straight"].into_iter().zip(&found) {
        finding.add_runs(name, runs);
    }
    scene.judge(&mut finding);
    finding
}

/// Lets a gateway have half of what these paths lead to: which half follows from the seed.
fn fill(
    settings: &Settings,
    internet: &Internet,
    machine: &Machine,
    gateway: &Gateway,
    paths: &[String],
    nth: usize,
) {
    for (number, path) in paths.iter().enumerate() {
        if fraction(settings.options.seed + nth as u64, number as u64) < 0.5 {
            assert_eq!(get(internet, machine, &format!("{}{path}", gateway.url())).status, 200, "{path}");
        }
    }
}

impl Scene<'_> {
    /// New gateways that stay and a liar; guests come and go while clients install.
    fn with_churn(&self, guests: &mut [Gateway], round: usize) -> Run {
        let conduct = LIES[round % LIES.len()];
        self.progress
            .step(&format!("three installs while six gateways come and go, and one lies ({conduct:?})"));
        let mut gateways = self.all_there(guests);
        let events = || [&self.joins, &self.leaves].map(|counter| counter.load(Ordering::Relaxed));
        let before = events();
        let releases = self.settings.project.packages.iter().flat_map(Package::releases);
        let liar = self.liar.run(|| Stranger::neighbour(conduct, releases));
        for (gateway, machine) in gateways.iter().zip(&self.core.servers) {
            liar.dial(&contact_of(gateway, machine));
        }
        for gateway in &gateways {
            await_that("the liar's word", PATIENCE, || is_believed(gateway, liar.id()));
        }
        let over = AtomicBool::new(false);
        let run = thread::scope(|scope| {
            scope.spawn(|| self.come_and_go(guests, round, &over));
            self.install(&gateways, || over.store(true, Ordering::Relaxed))
        });
        let lies = liar.asked().len();
        self.lies.fetch_add(lies, Ordering::Relaxed);
        let has_come_and_gone = events().iter().zip(before).all(|(now, before)| *now > before);
        if lies == 0 || !has_come_and_gone {
            self.idle.fetch_add(1, Ordering::Relaxed);
        }
        self.inspect(&mut gateways);
        self.inspect(guests);
        run
    }

    /// The same with all guests there all the time, and without the liar.
    fn calm(&self, guests: &mut [Gateway]) -> Run {
        self.progress.step("three installs, and nobody leaves");
        let gateways = self.all_there(guests);
        self.install(&gateways, || ())
    }

    /// New gateways that stay, once they and all guests are connected.
    fn all_there(&self, guests: &mut [Gateway]) -> Vec<Gateway> {
        for guest in guests.iter_mut().filter(|guest| !guest.is_running()) {
            guest.restart();
        }
        let gateways = self.core.start(self.internet);
        let others = (STAYING - 1 + COMING) as f64;
        for gateway in &gateways {
            let connected = || gateway.metric("open_registry_peers_connected", &[]) >= others;
            await_that("a connection to every guest", PATIENCE, connected);
        }
        gateways
    }

    /// Everybody installs; what is to be done as soon as all have.
    fn install(&self, gateways: &[Gateway], then: impl FnOnce()) -> Run {
        let all: Vec<&Gateway> = gateways.iter().collect();
        let urls: Vec<String> = gateways.iter().map(Gateway::url).collect();
        self.core.install(self.settings, self.internet, &urls, Between::Gateways(&all), then)
    }

    /// One guest after the other leaves if it is there, and joins if it is not. Who, when and how follows from the seed.
    fn come_and_go(&self, guests: &mut [Gateway], round: usize, over: &AtomicBool) {
        let mut drawn = (round as u64) << 16;
        let mut draw = || {
            drawn += 1;
            fraction(self.settings.options.seed, drawn)
        };
        while !over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_secs_f64(PAUSE.0 + (PAUSE.1 - PAUSE.0) * draw()));
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "one of six")]
            let guest = &mut guests[(draw() * COMING as f64) as usize];
            let sudden = draw() < SUDDEN;
            if !guest.is_running() {
                guest.restart();
                self.joins.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            if sudden {
                guest.kill();
            } else {
                guest.terminate();
            }
            self.leaves.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ends these, and counts what is wrong in their stores.
    fn inspect(&self, gateways: &mut [Gateway]) {
        for gateway in gateways {
            if gateway.is_running() {
                gateway.terminate();
            }
            let data = gateway.data();
            self.unsound.fetch_add(disk::unsound(data).len(), Ordering::Relaxed);
            self.looked_at.fetch_add(disk::blobs(data).len(), Ordering::Relaxed);
        }
    }

    fn judge(&self, finding: &mut Finding) {
        let all = "of all rounds";
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        let (joins, leaves) = (count(&self.joins), count(&self.leaves));
        let (lies, unsound, looked_at) = (count(&self.lies), count(&self.unsound), count(&self.looked_at));
        for (what, number) in [
            ("gateways that joined during installs", joins),
            ("gateways that left during installs", leaves),
            ("requests that the liar got", lies),
            ("wrong files in stores", unsound),
            ("tarballs in stores", looked_at),
        ] {
            finding.add(what, all, Unit::Count, [number as f64]);
        }
        finding.require(unsound == 0, || format!("{unsound} files in stores are not what they are called"));
        finding.require(looked_at > 0, || "there was nothing in any store".to_owned());
        let idle = count(&self.idle);
        finding.require(idle == 0, || {
            format!("in {idle} rounds nobody came, or nobody went, or the liar was not asked")
        });
    }
}

/// Whether this gateway takes that one for somebody who holds something.
fn is_believed(gateway: &Gateway, id: &str) -> bool {
    let status = gateway.status();
    let connected = status["connected"].as_array().into_iter().flatten();
    let tells = |one: &Value| one["peer"] == id && one["tarballs"].as_u64() > Some(0);
    connected.into_iter().any(tells)
}
