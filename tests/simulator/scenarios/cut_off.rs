//! Two gateways, the second without Internet.

use harness::{Client, Gateway};

use super::Scenario;
use crate::simulator::Settings;
use crate::simulator::federation::{Federation, Ties};
use crate::simulator::finding::{Finding, Unit};
use crate::simulator::internet::Internet;
use crate::simulator::measure::{Run, install, measure};
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
    let internet = Internet::new(settings);
    let pair = Federation::new(&internet, 7, Ties::OneConnected, 2);
    let scene = Scene { settings, progress, internet, pair };
    let mut finding = Finding::default();
    explain(settings, &mut finding);
    let (gateways, verdaccios) = (|_| scene.gateways(), |_| scene.verdaccios());
    let mut contenders: Vec<&dyn Fn(usize) -> [Run; 2]> = vec![&gateways];
    match settings.without_verdaccio() {
        Some(why) => finding.note(&why),
        None => contenders.push(&verdaccios),
    }
    let found = in_turns(settings, &contenders);
    let mut ratios = Vec::new();
    for (who, rounds) in ["gateway", "Verdaccio"].into_iter().zip(&found) {
        for (nth, which) in ["first", "second, cut off"].into_iter().enumerate() {
            let runs: Vec<Run> = rounds.iter().map(|round| round[nth].clone()).collect();
            finding.add_runs(&format!("{which} {who}"), &runs);
        }
        let of_rounds = rounds.iter().map(|[first, second]| second.seconds / first.seconds);
        ratios.extend(finding.add("time at the second / at the first", who, Unit::Ratio, of_rounds));
    }
    finding.require(ratios[0].median < 1.0, || {
        format!("an install at the second takes {:.3} of the time of one at the first", ratios[0].median)
    });
    let of_internet = found[0].iter().map(|[first, second]| second.traffic.internet / first.traffic.internet);
    let what = "bytes from the Internet for the second / for the first";
    let asked = finding.add(what, "gateway", Unit::Ratio, of_internet).map_or(f64::NAN, |spread| spread.most);
    finding.require(asked <= ASKED, || format!("the second's install took {asked:.3} of the first's bytes"));
    finding
}

impl Scene<'_> {
    fn gateways(&self) -> [Run; 2] {
        self.progress.step("a gateway, and one without Internet that follows it; an install at each");
        let gateways = self.pair.start(&self.internet);
        let pids: Vec<u32> = gateways.iter().map(Gateway::pid).collect();
        [0, 1].map(|nth| self.install(nth, &gateways[nth].url(), &pids))
    }

    fn verdaccios(&self) -> [Run; 2] {
        self.progress
            .step("a Verdaccio, and one without Internet that has it for uplink; an install at each");
        let [first, second] = [&self.pair.servers[0], &self.pair.servers[1]];
        let first = Verdaccio::start(&self.internet, first, &self.internet.url());
        let second = Verdaccio::start(&self.internet, second, &first.url());
        let pids = [first.pid(), second.pid()];
        [self.install(0, &first.url(), &pids), self.install(1, &second.url(), &pids)]
    }

    /// An install by a client of this one, and a probe of what it has.
    fn install(&self, nth: usize, url: &str, servers: &[u32]) -> Run {
        let client = &self.pair.clients[nth];
        let registry = self.internet.through(url);
        let (mut run, installed) = measure(&self.internet, &[&self.pair.office], servers, || {
            vec![install(self.settings, client, Client::Npm11, &registry)]
        });
        run.probed = probe_after(self.settings, &self.internet, client, url, &installed);
        run
    }
}
