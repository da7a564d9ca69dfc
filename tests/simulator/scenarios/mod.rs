//! The scenarios: each has a number, a name, a condition, and a function that plays it.

mod at_once;
mod campuses;
mod churn;
mod cut_off;
mod one_connected;
mod school;
mod swarms;
mod twice;
mod update;

use super::Settings;
use super::federation::{Federation, together_straight};
use super::finding::{Finding, Spread, Unit};
use super::internet::Internet;
use super::measure::{Between, Run, measure};
use super::probe::probe_after;
use super::progress::Progress;

/// One scenario.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) number: u8,
    pub(crate) name: &'static str,
    /// What has to be so that it passes.
    pub(crate) condition: &'static str,
    /// Whether it makes no sense without.
    pub(crate) needs_namespaces: bool,
    pub(crate) play: fn(&Settings, &Progress) -> Finding,
}

/// All of them, in order.
pub(crate) static ALL: &[Scenario] = &[
    twice::SCENARIO,
    cut_off::SCENARIO,
    one_connected::SCENARIO,
    at_once::SCENARIO,
    school::SCENARIO,
    campuses::SCENARIO,
    churn::SCENARIO,
    swarms::SCENARIO,
    update::SCENARIO,
];

/// The one with this number.
pub(crate) fn find(number: u8) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.number == number)
}

/// What there is, for whoever chooses.
pub(crate) fn list() -> String {
    let line =
        |scenario: &Scenario| format!("{}  {}\n   {}\n", scenario.number, scenario.name, scenario.condition);
    ALL.iter().map(line).collect()
}

/// The clients of a federation install straight from upstream at the same moment, while none of its gateways runs.
fn straight(settings: &Settings, progress: &Progress, internet: &Internet, federation: &Federation) -> Run {
    progress.step(&format!("{} clients straight to upstream", federation.clients.len()));
    let (mut run, installed) = measure(internet, &[&federation.office], Between::Nobody, || {
        together_straight(settings, internet, &federation.clients)
    });
    if let Some(client) = federation.clients.last() {
        run.probed = probe_after(settings, internet, client, &internet.url(), &installed);
    }
    run
}

/// Adds all that was measured of runs, and what each took of the Internet beside the first, round by round.
fn beside_one(finding: &mut Finding, names: &[&str], found: &[Vec<Run>]) -> Vec<Spread> {
    for (name, runs) in names.iter().zip(found) {
        finding.add_runs(name, runs);
    }
    let one = &found[0];
    let beside = |(name, runs): (&&str, &Vec<Run>)| {
        let ratios = runs.iter().zip(one).map(|(run, one)| run.traffic.internet / one.traffic.internet);
        finding.add("bytes from the Internet / one gateway's", name, Unit::Ratio, ratios)
    };
    names.iter().zip(found).filter_map(beside).collect()
}
