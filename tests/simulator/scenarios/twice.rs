//! One gateway, one project, twice.

use harness::{Client, clients};

use super::Scenario;
use crate::simulator::Settings;
use crate::simulator::finding::{Finding, Unit};
use crate::simulator::internet::Internet;
use crate::simulator::measure::{Run, install, measure};
use crate::simulator::office::{Machine, Office, Role};
use crate::simulator::probe::{explain, probe_after};
use crate::simulator::progress::Progress;
use crate::simulator::turns::in_turns;
use crate::simulator::verdaccio::Verdaccio;

pub(super) const SCENARIO: Scenario = Scenario {
    number: 1,
    name: "One gateway, one project, twice",
    condition: "The second install through the gateway is faster than the first (median of the rounds). Clients begin with \
                nothing each time.",
    needs_namespaces: false,
    play,
};

struct Scene<'a> {
    settings: &'a Settings,
    progress: &'a Progress,
    internet: Internet,
    office: Office,
    server: Machine,
    laptop: Machine,
}

fn play(settings: &Settings, progress: &Progress) -> Finding {
    let internet = Internet::new(settings);
    let office = internet.office("office", 7);
    let server = office.machine(Role::Gateway, "server");
    let laptop = office.machine(Role::Client, "laptop");
    let scene = Scene { settings, progress, internet, office, server, laptop };
    let mut finding = Finding::default();
    explain(settings, &mut finding);
    let (gateway, straight) = (|_| scene.gateway(), |_| scene.straight());
    let verdaccio = |_| scene.verdaccio();
    let mut contenders: Vec<&dyn Fn(usize) -> [Run; 2]> = vec![&gateway, &straight];
    match settings.without_verdaccio() {
        Some(why) => finding.note(&why),
        None => contenders.push(&verdaccio),
    }
    let found = in_turns(settings, &contenders);
    let mut ratios = Vec::new();
    for (who, rounds) in ["gateway", "straight", "Verdaccio"].into_iter().zip(&found) {
        for (nth, which) in ["first", "second"].into_iter().enumerate() {
            let runs: Vec<Run> = rounds.iter().map(|round| round[nth].clone()).collect();
            finding.add_runs(&format!("{who}, {which} install"), &runs);
        }
        let of_rounds = rounds.iter().map(|[first, second]| second.seconds / first.seconds);
        ratios.extend(finding.add("time of the second / of the first", who, Unit::Ratio, of_rounds));
    }
    finding.require(ratios[0].median < 1.0, || {
        format!("the second install takes {:.3} of the first's time", ratios[0].median)
    });
    finding
}

impl Scene<'_> {
    fn gateway(&self) -> [Run; 2] {
        self.progress.step("a new gateway, two installs");
        let gateway = self.server.run(|| self.internet.gateway_on(&self.server).start());
        self.twice(&gateway.url(), &self.internet.through(&gateway.url()), &[gateway.pid()])
    }

    fn straight(&self) -> [Run; 2] {
        self.progress.step("straight to upstream, two installs");
        self.twice(&self.internet.url(), &self.internet.straight(), &[])
    }

    fn verdaccio(&self) -> [Run; 2] {
        self.progress.step("a new Verdaccio, two installs");
        let verdaccio = Verdaccio::start(&self.internet, &self.server, &self.internet.url());
        self.twice(&verdaccio.url(), &self.internet.through(&verdaccio.url()), &[verdaccio.pid()])
    }

    /// Two installs, and a probe after the second.
    fn twice(&self, url: &str, registry: &clients::Settings, servers: &[u32]) -> [Run; 2] {
        let once = || {
            measure(&self.internet, &[&self.office], servers, || {
                vec![install(self.settings, &self.laptop, Client::Npm11, registry)]
            })
        };
        let (first, _) = once();
        let (mut second, installed) = once();
        second.probed = probe_after(self.settings, &self.internet, &self.laptop, url, &installed);
        [first, second]
    }
}
