//! What the command line asks for.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::scenarios;

const USAGE: &str = "\
cargo bench --workspace --bench simulator -- [options]      (--profile dev, before --, makes a debug build)

  --scenarios 1,3-5   which ones [all]
  --project FILE      what is installed: a recording of tests/simulator/record, or a package.json, which is recorded first
                      (with npm and the registry that it is configured for) [tests/simulator/projects/web.json]
  --packages N        a synthetic project instead: so many packages besides some thirty small ones
  --pairs N           how often what is compared is run, in turns [3]
  --probes N          requests by which p50 and p99 are measured [100]
  --clients N         desks of the school in scenario 5 [30]
  --at-once N         how many of them install at the same moment [6]
  --seed N            what sizes, turns and times of events follow from [1]
  --minutes N         everything is over by then [150]. What has not begun is not run, what has is ended and has failed
  --bandwidth MBIT    of upstream's link, in each direction [100]
  --latency MS        a round trip to upstream [40]
  --without-verdaccio nothing is compared with Verdaccio
  --report FILE       where the report is written [simulator.html in the target folder]
  --loopback          without namespaces: no bandwidth, no LANs, fewer scenarios
  --list              the scenarios and what each has to keep, and nothing else
  --help              this, and nothing else";

/// A LAN has no more addresses.
const DESKS: u64 = 200;
/// How often the longest of all scenarios could be run; more is a slip of the pen.
const MOST: u64 = 1_000_000;

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Run(Options),
    List,
    Help,
}

/// How to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// The numbers of the scenarios, in order.
    pub(crate) scenarios: Vec<u8>,
    /// The project's recording, or its package.json.
    pub(crate) project: PathBuf,
    /// Packages of a synthetic project, if that is wanted instead.
    pub(crate) packages: Option<usize>,
    /// How often what is compared is run.
    pub(crate) pairs: usize,
    /// By how many requests latency is measured.
    pub(crate) probes: usize,
    /// Desks of the school.
    pub(crate) clients: usize,
    /// How many of them install at the same moment.
    pub(crate) at_once: usize,
    /// What sizes, turns and times of events follow from.
    pub(crate) seed: u64,
    /// By when everything is over.
    pub(crate) time: Duration,
    /// Mbit/s of upstream's link.
    pub(crate) bandwidth: u32,
    /// How far away upstream is.
    pub(crate) round_trip: Duration,
    /// Whether Verdaccio is compared with, if it is installed.
    pub(crate) verdaccio: bool,
    /// Where the report is written.
    pub(crate) report: PathBuf,
    /// Without namespaces, though they could be had.
    pub(crate) loopback: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            scenarios: scenarios::ALL.iter().map(|scenario| scenario.number).collect(),
            project: Path::new(env!("CARGO_MANIFEST_DIR")).join("simulator/projects/web.json"),
            packages: None,
            pairs: 3,
            probes: 100,
            clients: 30,
            at_once: 6,
            seed: 1,
            time: Duration::from_secs(150 * 60),
            bandwidth: 100,
            round_trip: Duration::from_millis(40),
            verdaccio: true,
            report: target().join("simulator.html"),
            loopback: false,
        }
    }
}

impl Options {
    /// Reads the arguments; a complaint is for whoever typed them.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Asked, String> {
        let mut arguments = arguments.into_iter();
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value"));
            match argument.as_str() {
                "--scenarios" => options.scenarios = numbers(&value()?)?,
                "--project" => options.project = value()?.into(),
                "--packages" => options.packages = Some(count(&argument, &value()?, 1)?),
                "--pairs" => options.pairs = count(&argument, &value()?, 1)?,
                "--probes" => options.probes = count(&argument, &value()?, 1)?,
                "--clients" => options.clients = count_up_to(&argument, &value()?, 1, DESKS)?,
                "--at-once" => options.at_once = count(&argument, &value()?, 1)?,
                "--seed" => options.seed = count(&argument, &value()?, 0)?,
                "--minutes" => {
                    options.time = Duration::from_secs(count::<u64>(&argument, &value()?, 1)? * 60);
                }
                "--bandwidth" => options.bandwidth = count(&argument, &value()?, 1)?,
                "--latency" => options.round_trip = Duration::from_millis(count(&argument, &value()?, 0)?),
                "--without-verdaccio" => options.verdaccio = false,
                "--report" => options.report = value()?.into(),
                "--loopback" => options.loopback = true,
                "--list" => return Ok(Asked::List),
                "--help" | "-h" => return Ok(Asked::Help),
                // Cargo's own, to whatever it runs as a benchmark.
                "--bench" => {}
                _ => return Err(format!("{argument} is no option of the simulator")),
            }
        }
        Ok(Asked::Run(options))
    }

    /// What can be asked for.
    pub(crate) fn usage() -> &'static str {
        USAGE
    }
}

/// `1,3-5`
fn numbers(text: &str) -> Result<Vec<u8>, String> {
    let complaint = || format!("--scenarios {text}: write numbers and ranges like 1,3-5");
    let mut found = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: u8 = first.trim().parse().map_err(|_| complaint())?;
        let last: u8 = last.trim().parse().map_err(|_| complaint())?;
        if first > last {
            return Err(complaint());
        }
        found.extend(first..=last);
    }
    match found.iter().find(|number| scenarios::find(**number).is_none()) {
        Some(number) => Err(format!("there is no scenario {number}; --list shows those that there are")),
        None => Ok(found.into_iter().collect()),
    }
}

fn count<T: TryFrom<u64>>(argument: &str, text: &str, least: u64) -> Result<T, String> {
    count_up_to(argument, text, least, MOST)
}

fn count_up_to<T: TryFrom<u64>>(argument: &str, text: &str, least: u64, most: u64) -> Result<T, String> {
    let number: Option<u64> = text.parse().ok().filter(|number| (least..=most).contains(number));
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("{argument} {text}: write a number from {least} to {most}"))
}

/// Where cargo builds.
fn target() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join("target");
    env::var_os("CARGO_TARGET_DIR").map_or(workspace, PathBuf::from)
}
