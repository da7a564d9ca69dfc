//! Two gateways, the second without Internet.

use harness::{Client, Gateway};

use super::Scenario;
use crate::simulator::Settings;
use crate::simulator::federation::{Federation, Ties};
use crate::simulator::finding::{Finding, Unit};
use crate::simulator::internet::Internet;
use crate::simulator::measure::{Between, Run, install, measure};
use crate::simulator::probe::{explain, probe_after};
use crate::simulator::progress::Progress;
use crate::simulator::turns::in_turns;
use crate::simulator::verdaccio::Verdaccio;

pub(super) const SCENARIO: Scenario = Scenario {
    number: 2,
    name: "Two gateways, the second without Internet, and what is wanted in the first",
    condition: "A client of the second, whose home is the first, installs; nothing comes from the Internet for it but what \
                home asks (at most 2 % of the first install's bytes); and it is faster than the first client was (median \
                of the rounds).",
    needs_namespaces: false,
    play,
};

/// What the second's install may cost of the Internet, as a part of the first's: home asks for what is not held.
const ASKED: f64 = 0.02;

struct Scene<'a> {
    settings: &'a Settings,
    progress: &'a Progress,
    internet: Internet,
    pair: Federation,
}

fn play(settings: &Settings, progress: &Progress) -> Finding {
    let internet = Internet::new(settings, progress);
    let pair = Federation::new(&internet, 7, Ties::OneConnected, 2);
    let scene = Scene { settings, progress, internet, pair };
    let mut finding = Finding::default();
    explain(settings, &mut finding);
    let (gateways, verdaccios) = (|_| scene.gateways(), |_| scene.verdaccios());
    let straight = |_| scene.straight();
    let mut contenders: Vec<&dyn Fn(usize) -> Vec<Run>> = vec![&gateways, &straight];
    match settings.without_verdaccio() {
        Some(why) => finding.note(&why),
        None => contenders.push(&verdaccios),
    }
    let found = in_turns(settings, &contenders);
    let names: [&[&str]; 3] = [
        &["first gateway", "second gateway, cut off"],
        &["straight"],
        &["first Verdaccio", "second Verdaccio, cut off"],
    ];
    for (names, rounds) in names.iter().zip(&found) {
        for (nth, name) in names.iter().enumerate() {
            let runs: Vec<Run> = rounds.iter().map(|round| round[nth].clone()).collect();
            finding.add_runs(name, &runs);
        }
    }
    let mut beside = |what: &str, of: &str, rounds: &[Vec<Run>], part: fn(&Run) -> f64| {
        finding.add(what, of, Unit::Ratio, rounds.iter().map(|round| part(&round[1]) / part(&round[0])))
    };
    let time = |run: &Run| run.seconds;
    let slower = beside("time at the second / at the first", "gateway", &found[0], time);
    if let Some(verdaccios) = found.get(2) {
        beside("time at the second / at the first", "Verdaccio", verdaccios, time);
    }
    let what = "bytes from the Internet for the second / for the first";
    let asked = beside(what, "gateway", &found[0], |run| run.traffic.internet);
    let (slower, asked) =
        (slower.map_or(f64::NAN, |spread| spread.median), asked.map_or(f64::NAN, |spread| spread.most));
    finding.require(slower < 1.0, || {
        format!("an install at the second takes {slower:.3} of the time of one at the first")
    });
    finding.require(asked <= ASKED, || format!("the second's install took {asked:.3} of the first's bytes"));
    finding
}

impl Scene<'_> {
    fn gateways(&self) -> Vec<Run> {
        self.progress.step("a gateway, and one without Internet that follows it; an install at each");
        let gateways = self.pair.start(&self.internet);
        let all: Vec<&Gateway> = gateways.iter().collect();
        (0..2).map(|nth| self.install(nth, &gateways[nth].url(), Between::Gateways(&all))).collect()
    }

    fn straight(&self) -> Vec<Run> {
        self.progress.step("straight to upstream, one install");
        let (client, registry) = (&self.pair.clients[0], self.internet.straight());
        let (mut run, installed) = measure(&self.internet, &[&self.pair.office], Between::Nobody, || {
            vec![install(self.settings, client, Client::Npm11, &registry)]
        });
        run.probed = probe_after(self.settings, &self.internet, client, &self.internet.url(), &installed);
        vec![run]
    }

    fn verdaccios(&self) -> Vec<Run> {
        self.progress
            .step("a Verdaccio, and one without Internet that has it for uplink; an install at each");
        let [first, second] = [&self.pair.servers[0], &self.pair.servers[1]];
        let first = Verdaccio::start(&self.internet, first, &self.internet.url());
        let second = Verdaccio::start(&self.internet, second, &first.url());
        let pids = [first.pid(), second.pid()];
        let between = Between::Others(&pids);
        vec![self.install(0, &first.url(), between), self.install(1, &second.url(), between)]
    }

    /// An install by a client of this one, and a probe of what it has.
    fn install(&self, nth: usize, url: &str, between: Between<'_>) -> Run {
        let client = &self.pair.clients[nth];
        let registry = self.internet.through(url);
        let (mut run, installed) = measure(&self.internet, &[&self.pair.office], between, || {
            vec![install(self.settings, client, Client::Npm11, &registry)]
        });
        run.probed = probe_after(self.settings, &self.internet, client, url, &installed);
        run
    }
}
