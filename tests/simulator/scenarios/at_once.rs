//! Five gateways that share, each with its own way to the Internet, at the same moment.

use super::{Scenario, beside_one, straight};
use crate::simulator::Settings;
use crate::simulator::federation::{Federation, Ties};
use crate::simulator::finding::{Finding, Unit};
use crate::simulator::internet::Internet;
use crate::simulator::measure::Run;
use crate::simulator::probe::explain;
use crate::simulator::progress::Progress;
use crate::simulator::turns::in_turns;

pub(super) const SCENARIO: Scenario = Scenario {
    number: 4,
    name: "Five connected gateways that share, at the same moment",
    condition: "With a home among them, as is recommended, bytes from the Internet are at most 1.1 of what one gateway \
                alone takes, in each round. Without a home each asks upstream for its own metadata, and all together for at most \
                1.1 of the tarballs that one asks for.",
    needs_namespaces: false,
    play,
};

/// How many gateways.
const COUNT: usize = 5;
/// Of one gateway's bytes, and of its tarballs.
const MOST: f64 = 1.1;

fn play(settings: &Settings, progress: &Progress) -> Finding {
    let internet = Internet::new(settings, progress);
    let alone = Federation::new(&internet, 7, Ties::Apart, 1);
    let with_home = Federation::new(&internet, 8, Ties::WithHome, COUNT);
    let equals = Federation::new(&internet, 9, Ties::Equals, COUNT);
    let of = |what: &str, federation: &Federation| {
        progress.step(what);
        federation.play(settings, &internet)
    };
    let contenders: [&dyn Fn(usize) -> Run; 4] = [
        &|_| of("one gateway, one client", &alone),
        &|_| of("five gateways with a home among them, five clients", &with_home),
        &|_| of("five gateways without a home, five clients", &equals),
        &|_| straight(settings, progress, &internet, &equals),
    ];
    let found = in_turns(settings, &contenders);
    let mut finding = Finding::default();
    explain(settings, &mut finding);
    Federation::explain(&mut finding);
    finding.note("Verdaccio is left out: equals do not share there. Scenario 3 has five of them with one above the others.");
    let names =
        ["one gateway alone", "five with a home among them", "five without a home", "five clients, straight"];
    let beside = beside_one(&mut finding, &names, &found);
    finding.require(beside[1].most <= MOST, || {
        format!("five gateways with a home among them took {:.3} of one gateway's bytes", beside[1].most)
    });
    let tarballs = found[2].iter().zip(&found[0]).map(|(equals, one)| equals.tarballs / one.tarballs);
    let what = "tarballs asked of upstream / by one gateway";
    let tarballs = finding.add(what, names[2], Unit::Ratio, tarballs).map_or(f64::NAN, |spread| spread.most);
    finding.require(tarballs <= MOST, || {
        format!("five gateways without a home asked for {tarballs:.3} of one gateway's tarballs")
    });
    finding
}
