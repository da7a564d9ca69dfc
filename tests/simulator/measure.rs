//! What is measured of one run: installs by clients, and all that they cost.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use harness::clients::{self, Checkout, Mode, Outcome};
use harness::http::{Reply, Request};
use harness::{Client, Gateway};
use tempfile::TempDir;

use super::Settings;
use super::finding::Unit;
use super::internet::Internet;
use super::office::{Machine, Office};
use super::probe::Probed;

/// How long upstream may take to end what it has begun, once all clients are done.
const QUIET: Duration = Duration::from_secs(5);
/// Of the output of an install that has failed: its end, where the error is.
const TOLD: usize = 600;

/// What was measured of one run.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// From the start of the first install to the end of the last.
    pub(crate) seconds: f64,
    pub(crate) traffic: Traffic,
    /// Requests that upstream has recorded.
    pub(crate) packuments: f64,
    pub(crate) tarballs: f64,
    pub(crate) others: f64,
    /// What is wrong with each install that has failed, or left something else than others did.
    pub(crate) failures: Vec<String>,
    /// How long one warm request takes, if that was tried.
    pub(crate) probed: Option<Probed>,
    /// Of each gateway, in bytes.
    pub(crate) resident: Vec<f64>,
}

/// Bytes, from wherever they came.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Traffic {
    pub(crate) internet: f64,
    pub(crate) to_internet: Option<f64>,
    /// Bodies that gateways had from other gateways, as they count them; of others what their links have passed. `None`: there is
    /// nobody to have anything from, or nobody counts.
    pub(crate) lan: Option<f64>,
    /// Bodies that clients got out of gateways' stores, as those count them. `None`: no gateway stands between.
    pub(crate) store: Option<f64>,
}

/// What stands between clients and upstream.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Between<'a> {
    Nobody,
    Gateways(&'a [&'a Gateway]),
    /// Processes of something else.
    Others(&'a [u32]),
}

/// Every installed package and the digest of its files.
pub(crate) type Tree = BTreeMap<String, String>;

/// An install, and what it left; all of it is gone with this value.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) outcome: Outcome,
    client: Client,
    checkout: Checkout,
    _folder: TempDir,
}

impl Installation {
    /// What npm has locked, if it was npm and succeeded.
    pub(crate) fn npm_lockfile(&self) -> Option<&[u8]> {
        let locked = self.outcome.lockfile.as_deref().filter(|_| self.client == Client::Npm11);
        locked.filter(|_| self.outcome.success)
    }

    /// What is wrong with it, if anything is: it has failed, or left something else than others by the same client.
    pub(crate) fn failure(&self, internet: &Internet) -> Option<String> {
        let name = self.client.name();
        if !self.outcome.success {
            return Some(format!("{name} failed: {}", end(&self.outcome.output)));
        }
        let tree = self.checkout.installed();
        let is_whole = !tree.is_empty() && internet.is_usual(self.client, &tree);
        (!is_whole).then(|| format!("{name} has installed something else than before"))
    }
}

/// Bytes of bodies so far: what these gateways had from other gateways, and what clients got out of their stores.
pub(crate) fn told(gateways: &[&Gateway]) -> [f64; 2] {
    let sum = |name: &str, sources: &[&str]| {
        let of = |gateway: &&Gateway| {
            let one = |source: &&str| gateway.metric(name, &[("source", source)]);
            sources.iter().map(one).sum::<f64>()
        };
        gateways.iter().map(of).sum()
    };
    let from_others = sum("open_registry_received_bytes_total", &["home", "lan_peer", "far_peer"]);
    [from_others, sum("open_registry_http_sent_bytes_total", &["store"])]
}

/// Has a client install the project on a machine, in a new checkout by somebody who never installed anything.
pub(crate) fn install(
    settings: &Settings,
    machine: &Machine,
    client: Client,
    registry: &clients::Settings,
) -> Installation {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let checkout = Checkout::new(folder.path(), &settings.project.package_json_text());
    let outcome = machine.run(|| client.install(&checkout, registry, Mode::Cold));
    Installation { outcome, client, checkout, _folder: folder }
}

/// Measures what the installs cost that `body` has done, in these offices and with this between clients and upstream.
pub(crate) fn measure(
    internet: &Internet,
    offices: &[&Office],
    between: Between<'_>,
    body: impl FnOnce() -> Vec<Installation>,
) -> (Run, Vec<Installation>) {
    let upstream = internet.registry();
    upstream.reset_log();
    let before = Reading::of(internet, offices, between);
    let started = Instant::now();
    let installations = body();
    let seconds = started.elapsed().as_secs_f64();
    upstream.wait_until(|requests| requests.iter().all(harness::Recorded::is_over), QUIET);
    let traffic = Reading::of(internet, offices, between).since(&before);
    let (packuments, tarballs) = (upstream.packument_requests(), upstream.tarball_requests());
    let others = upstream.requests().len() - packuments - tarballs;
    let run = Run {
        seconds,
        traffic,
        packuments: packuments as f64,
        tarballs: tarballs as f64,
        others: others as f64,
        failures: installations.iter().filter_map(|one| one.failure(internet)).collect(),
        probed: None,
        resident: between.pids().into_iter().filter_map(resident).collect(),
    };
    internet.progress.measured(&run.in_short(installations.len()));
    (run, installations)
}

impl Run {
    /// "24.9 s, 34.43 MB from the Internet, 673 requests to upstream, 1 of 5 installs failed"
    fn in_short(&self, installs: usize) -> String {
        let requests = self.packuments + self.tarballs + self.others;
        let failed = match self.failures.len() {
            0 => String::new(),
            failed => format!(", {failed} of {installs} installs failed"),
        };
        let (time, bytes) = (Unit::Seconds.show(self.seconds), Unit::Bytes.show(self.traffic.internet));
        format!("{time}, {bytes} from the Internet, {requests} requests to upstream{failed}")
    }
}

/// Asks until `is_so`, with pauses, for what shows itself by answers only; how long it took.
///
/// # Panics
/// When it does not come about within the time.
pub(crate) fn await_that(what: &str, within: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < within, "{what} did not come about within {within:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    started.elapsed()
}

/// A `GET` by a machine, which trusts upstream.
pub(crate) fn get(internet: &Internet, machine: &Machine, url: &str) -> Reply {
    machine.run(|| internet.trusting(Request::get(url)).send())
}

/// Resident memory of a process in bytes, now.
pub(crate) fn resident(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

/// What all counters say at one moment.
struct Reading {
    internet: u64,
    to_internet: Option<u64>,
    lan: Option<f64>,
    store: Option<f64>,
}

impl Between<'_> {
    fn pids(self) -> Vec<u32> {
        match self {
            Self::Nobody => Vec::new(),
            Self::Gateways(gateways) => gateways.iter().map(|gateway| gateway.pid()).collect(),
            Self::Others(pids) => pids.to_vec(),
        }
    }
}

impl Reading {
    fn of(internet: &Internet, offices: &[&Office], between: Between<'_>) -> Self {
        let (lan, store) = match between {
            Between::Nobody => (None, None),
            Between::Gateways(gateways) => {
                let [lan, store] = told(gateways);
                (Some(lan).filter(|_| gateways.len() > 1), Some(store))
            }
            Between::Others(pids) => {
                let passed: Option<Vec<_>> = offices.iter().map(|office| office.between_gateways()).collect();
                (passed.filter(|_| pids.len() > 1).map(|all| all.iter().sum::<u64>() as f64), None)
            }
        };
        Self { internet: internet.received(), to_internet: internet.sent(), lan, store }
    }

    /// What has passed between the two.
    fn since(&self, before: &Self) -> Traffic {
        let more = |now: u64, then: u64| now.saturating_sub(then) as f64;
        let told = |now: Option<f64>, then: Option<f64>| Some(now? - then?);
        Traffic {
            internet: more(self.internet, before.internet),
            to_internet: self.to_internet.zip(before.to_internet).map(|(now, then)| more(now, then)),
            lan: told(self.lan, before.lan),
            store: told(self.store, before.store),
        }
    }
}

pub(crate) fn end(output: &str) -> String {
    let output = output.trim();
    let from = output.char_indices().rev().nth(TOLD).map_or(0, |(at, _)| at);
    output[from..].replace('\n', " | ")
}
