//! How long one warm request takes: what an install has fetched is asked for again, one after the other, each over a
//! connection of its own.

use std::time::Instant;

use harness::http::Request;
use serde_json::Value;
use url::Url;

use super::Settings;
use super::finding::Finding;
use super::internet::Internet;
use super::measure::Installation;
use super::office::Machine;

/// As npm 11 asks.
const ACCEPT: &str = "application/json";

/// Of as many requests, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Probed {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Says what p50 and p99 are of.
pub(crate) fn explain(settings: &Settings, finding: &mut Finding) {
    finding.note(&format!(
        "p50 and p99 of a warm request: {} requests of a probe for what was installed, each over a new connection, when nobody installs; \
         where there are several gateways, of the last one's client",
        settings.options.probes
    ));
}

/// Asks the registry at this address, from this machine, for packuments and tarballs of what one of these has locked; `None`: none
/// of them was npm, or succeeded.
///
/// # Panics
/// When something of it is not there.
pub(crate) fn probe_after(
    settings: &Settings,
    internet: &Internet,
    machine: &Machine,
    url: &str,
    installed: &[Installation],
) -> Option<Probed> {
    let lockfile = installed.iter().find_map(Installation::npm_lockfile)?;
    Some(machine.run(|| probe(settings, internet, url, lockfile)))
}

/// The same of a lockfile of npm's, from where this runs.
pub(crate) fn probe(settings: &Settings, internet: &Internet, url: &str, lockfile: &[u8]) -> Probed {
    let paths = paths(lockfile);
    let count = settings.options.probes;
    let base = url.trim_end_matches('/');
    let ask = |path: &String| {
        let request = Request::get(&format!("{base}{path}")).header("accept", ACCEPT);
        let request = internet.trusting(request.header("accept-encoding", "gzip"));
        let started = Instant::now();
        let reply = request.send();
        assert_eq!((reply.status, &reply.cut), (200, &None), "{path} at {base}");
        started.elapsed().as_secs_f64() * 1000.0
    };
    Probed::of(paths.iter().cycle().take(count).map(ask).collect())
}

impl Probed {
    /// Of so many milliseconds, of which there are some.
    pub(crate) fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        // The nearest rank.
        let at = |percent: usize| times[(times.len() * percent).div_ceil(100) - 1];
        Self { p50: at(50), p99: at(99) }
    }
}

/// The paths of all packuments and tarballs that a lockfile of npm's names.
pub(crate) fn paths(lockfile: &[u8]) -> Vec<String> {
    let lockfile: Value = serde_json::from_slice(lockfile).expect("npm's lockfile is JSON");
    let packages = lockfile["packages"].as_object().expect("npm's lockfile has packages");
    let tarball = |package: &Value| Url::parse(package["resolved"].as_str()?).ok();
    let tarballs = packages.values().filter_map(tarball);
    let both = |tarball: Url| {
        let path = tarball.path().to_owned();
        let packument = path.split_once("/-/").map(|(name, _)| name.to_owned());
        packument.into_iter().chain([path])
    };
    let paths: Vec<String> = tarballs.flat_map(both).collect();
    assert!(!paths.is_empty(), "the lockfile names no tarball");
    paths
}
