//! A federation in a box: real gateways, real clients, and an Internet with bandwidth and latency in front of upstream.
//!
//! ```text
//! options     what is asked for
//! scenarios   a number, a name, a condition, and a function that plays it
//! internet    upstream and the way to it ── office: a LAN with machines ── federation: gateways and clients on them
//!             verdaccio: what may stand in a gateway's place
//! measure     one run: time, bytes, requests, memory ── probe: how long one request takes ── turns: what is compared
//! finding     figures, and whether the condition was kept
//! runner      plays one scenario after the other, within the time
//! report      a table on the terminal, and one HTML file
//! ```

mod federation;
pub(crate) mod finding;
mod internet;
mod measure;
mod office;
pub(crate) mod options;
pub(crate) mod probe;
pub(crate) mod progress;
pub(crate) mod project;
mod report;
pub(crate) mod runner;
pub(crate) mod scenarios;
pub(crate) mod turns;
mod verdaccio;

use std::fs;

use harness::projects::Project;

use finding::Verdict;
use options::Options;
use progress::Progress;

/// Where everything runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ground {
    /// In namespaces of its own: root of a network in which there is nothing else.
    Namespaces,
    /// On this machine's loopback, and why.
    Loopback(String),
}

/// What every scenario is given.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) options: Options,
    pub(crate) ground: Ground,
    /// What clients install.
    pub(crate) project: Project,
}

impl Settings {
    /// Why nothing is compared with Verdaccio, if so.
    fn without_verdaccio(&self) -> Option<String> {
        if !self.options.verdaccio {
            return Some("Verdaccio is left out, as was asked for".to_owned());
        }
        verdaccio::Verdaccio::missing()
    }
}

/// Plays the scenarios that are asked for, prints and writes what was found; whether all of them have passed.
pub(crate) fn run(options: &Options, ground: Ground) -> Result<bool, String> {
    let progress = Progress::new();
    if let Ground::Loopback(why) = &ground {
        progress.step(&format!(
            "on loopback, for {why}: no bandwidth, no LANs, and not every scenario can be played"
        ));
    }
    let project = project::of(options)?;
    let settings = Settings { options: options.clone(), ground, project };
    let file = &options.report;
    let folder = file.parent().map_or(Ok(()), fs::create_dir_all);
    let cannot = |error| format!("cannot write {}: {error}", file.display());
    folder.map_err(cannot)?;
    let played = runner::play(&settings.into(), &progress, |so_far| {
        so_far.outcomes.last().into_iter().for_each(report::print);
        fs::write(file, report::page(so_far)).map_err(cannot)
    })?;
    report::sum_up(&played);
    progress.step(&format!("the report is {}", file.display()));
    Ok(played.outcomes.iter().all(|outcome| outcome.verdict == Verdict::Pass))
}
