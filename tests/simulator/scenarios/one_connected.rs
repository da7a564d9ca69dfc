//! Five gateways with five ways to the Internet, and then with one.

use super::{Scenario, beside_one, straight};
use crate::simulator::Settings;
use crate::simulator::federation::{Federation, Ties};
use crate::simulator::finding::Finding;
use crate::simulator::internet::Internet;
use crate::simulator::measure::Run;
use crate::simulator::probe::explain;
use crate::simulator::progress::Progress;
use crate::simulator::turns::in_turns;

pub(super) const SCENARIO: Scenario = Scenario {
    number: 3,
    name: "Five gateways: all connected and sharing off; then one connected, home to the others",
    condition: "With one connected, bytes from the Internet are at most 1.02 of what one gateway alone takes, in each \
                round; everybody installs at the same moment.",
    needs_namespaces: false,
    play,
};

/// How many gateways.
const COUNT: usize = 5;
/// Of one gateway's bytes.
const MOST: f64 = 1.02;

fn play(settings: &Settings, progress: &Progress) -> Finding {
    let internet = Internet::new(settings, progress);
    let alone = Federation::new(&internet, 7, Ties::Apart, 1);
    let apart = Federation::new(&internet, 8, Ties::Apart, COUNT);
    let one_connected = Federation::new(&internet, 9, Ties::OneConnected, COUNT);
    let of = |what: &str, federation: &Federation| {
        progress.step(what);
        federation.play(settings, &internet)
    };
    let verdaccios = |_| {
        progress.step("five Verdaccios, one connected, five clients");
        one_connected.play_verdaccios(settings, &internet)
    };
    let without_verdaccio = settings.without_verdaccio();
    let contenders: [&dyn Fn(usize) -> Run; 5] = [
        &|_| of("one gateway, one client", &alone),
        &|_| of("five gateways, sharing off, five clients", &apart),
        &|_| of("five gateways, one connected, five clients", &one_connected),
        &|_| straight(settings, progress, &internet, &apart),
        &verdaccios,
    ];
    let count = if without_verdaccio.is_some() { contenders.len() - 1 } else { contenders.len() };
    let found = in_turns(settings, &contenders[..count]);
    let mut finding = Finding::default();
    without_verdaccio.iter().for_each(|why| finding.note(why));
    Federation::explain(&mut finding);
    explain(settings, &mut finding);
    let names = [
        "one gateway alone",
        "five, all connected, sharing off",
        "five, one connected",
        "five clients, straight",
        "five Verdaccios, one connected",
    ];
    let beside = beside_one(&mut finding, &names, &found);
    finding.require(beside[2].most <= MOST, || {
        format!("five gateways with one connection took {:.3} of one gateway's bytes", beside[2].most)
    });
    finding
}
