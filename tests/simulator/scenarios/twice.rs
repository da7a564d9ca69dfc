//! One gateway, one project, twice.

use harness::{Client, clients};

use super::Scenario;
use crate::simulator::Settings;
use crate::simulator::finding::{Finding, Unit};
use crate::simulator::internet::Internet;
use crate::simulator::measure::{Between, Run, install, measure};
use crate::simulator::office::{Machine, Office, Role};
use crate::simulator::probe::{explain, probe_after};
use crate::simulator::progress::Progress;
use crate::simulator::turns::in_turns;
use crate::simulator::verdaccio::Verdaccio;

pub(super) const SCENARIO: Scenario = Scenario {
    number: 1,
    name: "One gateway, one project, twice",
    condition: "The second install through the gateway is faster than the first (median of the rounds), asks upstream for no tarball, and \
                takes at most 2 % of the first's bytes from the Internet. Clients begin with nothing each time.",
    needs_namespaces: false,
    play,
};

/// What the second install may take of the Internet, as a part of the first's: its audit, and what has to be asked again.
const ASKED: f64 = 0.02;

struct Scene<'a> {
    settings: &'a Settings,
    progress: &'a Progress,
    internet: Internet,
    office: Office,
    server: Machine,
    laptop: Machine,
}

fn play(settings: &Settings, progress: &Progress) -> Finding {
    let internet = Internet::new(settings, progress);
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
    let of_internet = found[0].iter().map(|[first, second]| second.traffic.internet / first.traffic.internet);
    let what = "bytes from the Internet for the second / for the first";
    let asked = finding.add(what, "gateway", Unit::Ratio, of_internet).map_or(f64::NAN, |spread| spread.most);
    finding.require(asked <= ASKED, || format!("the second install took {asked:.3} of the first's bytes"));
    finding.require(found[0].iter().all(|[_, second]| second.tarballs == 0.0), || {
        "the second install asked upstream for tarballs".to_owned()
    });
    finding
}

impl Scene<'_> {
    fn gateway(&self) -> [Run; 2] {
        self.progress.step("a new gateway, two installs");
        let gateway = self.server.run(|| self.internet.gateway_on(&self.server).start());
        let between = Between::Gateways(&[&gateway]);
        self.twice(&gateway.url(), &self.internet.through(&gateway.url()), between)
    }

    fn straight(&self) -> [Run; 2] {
        self.progress.step("straight to upstream, two installs");
        self.twice(&self.internet.url(), &self.internet.straight(), Between::Nobody)
    }

    fn verdaccio(&self) -> [Run; 2] {
        self.progress.step("a new Verdaccio, two installs");
        let verdaccio = Verdaccio::start(&self.internet, &self.server, &self.internet.url());
        self.twice(
            &verdaccio.url(),
            &self.internet.through(&verdaccio.url()),
            Between::Others(&[verdaccio.pid()]),
        )
    }

    /// Two installs, and a probe after the second.
    fn twice(&self, url: &str, registry: &clients::Settings, between: Between<'_>) -> [Run; 2] {
        let once = || {
            measure(&self.internet, &[&self.office], between, || {
                vec![install(self.settings, &self.laptop, Client::Npm11, registry)]
            })
        };
        let (first, _) = once();
        let (mut second, installed) = once();
        second.probed = probe_after(self.settings, &self.internet, &self.laptop, url, &installed);
        [first, second]
    }
}
