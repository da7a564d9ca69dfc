//! Promise: whatever a neighbour does with what it is asked for, every request gets the right bytes, nothing wrong is kept,
//! and a neighbour that behaves badly is not asked any more and makes nothing slower.
//!
//! The neighbour is a program of its own, that a real gateway takes for another one: it says that it holds what clients
//! are about to want.

use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use harness::clients::{Mode, World, assert_same_packages};
use harness::http::Request;
use harness::{
    Client, Conduct, Fault, Gateway, Matcher, Package, Registry, Release, Stranger, Times, disk, projects,
    until,
};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);
/// Versions of the one package that there is; the neighbour says that it holds those that are no multiple of four.
const VERSIONS: usize = 40;
/// Those that are asked for one after the other, in which a bad neighbour gets its strikes.
const FIRST: usize = 24;
/// Such that 100 kB in a second are slow.
const SIZE: usize = 150_000;

static LEFT: LazyLock<Package> = LazyLock::new(|| package(VERSIONS, SIZE));

fn package(versions: usize, size: usize) -> Package {
    let add =
        |package: Package, number| package.version(&format!("{number}.0.0"), |version| version.size(size));
    (0..versions).fold(Package::new("left"), add)
}

/// One test for each way to be bad, so that each fails for itself.
macro_rules! vices {
    ($($test:ident: $body:ident, $conduct:ident;)*) => {$(
        #[test]
        fn $test() {
            $body(stringify!($test), Conduct::$conduct);
        }
    )*};
}

vices! {
    wrong_bytes_reach_nobody: is_struck_out, WrongBytes;
    one_that_lies_every_other_time_is_found_out: is_struck_out, EverySecondWrong;
    truncated_bodies_reach_nobody: is_struck_out, Truncated;
    endless_bodies_are_not_read: is_struck_out, Endless;
    enormous_bodies_are_not_waited_for: is_struck_out, Enormous;
    one_that_stops_after_the_head_is_not_waited_for: is_struck_out, Silent;
    one_that_is_slow_is_overtaken: is_struck_out, Slow;
    one_that_has_nothing_of_what_it_announces_is_asked_no_more: is_struck_out, Empty;
    one_that_speaks_no_http_is_asked_no_more: is_struck_out, Garbage;
    one_that_is_dead_behind_its_connection_is_not_waited_for: is_struck_out, Dead;
    one_that_comes_and_goes_breaks_nothing: serves_everything, Flapping;
    npm_installs_beside_wrong_bytes: installs, WrongBytes;
    npm_installs_beside_truncated_bodies: installs, Truncated;
    npm_installs_beside_endless_bodies: installs, Endless;
    npm_installs_beside_one_that_comes_and_goes: installs, Flapping;
}

fn gateway(registry: &Registry) -> Gateway {
    let config = "[federation]\ndiscover = false\n";
    Gateway::builder().upstream(registry.url()).peers_at("127.0.0.1:0").config_toml(config).start()
}

/// A gateway's neighbour, once it is believed to hold these.
fn neighbour<'a>(
    conduct: Conduct,
    gateway: &Gateway,
    holds: impl IntoIterator<Item = &'a Release>,
) -> Stranger {
    let stranger = Stranger::neighbour(conduct, holds);
    stranger.dial(&gateway.contact());
    until(|| seen(gateway)["tarballs"].as_u64(), |told| *told > Some(0));
    stranger
}

/// What the gateway says of its one neighbour.
fn seen(gateway: &Gateway) -> Value {
    gateway.status()["connected"][0].clone()
}

/// Asks as npm does with a lockfile, and says how long it took.
fn get(gateway: &Gateway, release: &Release) -> Duration {
    let path = format!("{}/left/-/left-{}.tgz", gateway.url(), release.version);
    let begun = Instant::now();
    let reply = Request::get(&path).header("pacote-integrity", &release.integrity).within(SOON).send();
    assert_eq!((reply.status, &reply.cut), (200, &None), "{}", release.version);
    assert!(reply.body == release.tarball, "{}: other bytes", release.version);
    begun.elapsed()
}

fn claimed(package: &Package) -> impl Iterator<Item = &Release> {
    package.releases().enumerate().filter(|(number, _)| !number.is_multiple_of(4)).map(|(_, release)| release)
}

fn assert_sound(gateway: &Gateway, tarballs: usize) {
    until(|| disk::blobs(gateway.data()).len(), |kept| *kept == tarballs);
    until(|| disk::drafts(gateway.data()).len(), |unfinished| *unfinished == 0);
    assert_eq!(disk::unsound(gateway.data()), Vec::<std::path::PathBuf>::new());
    assert_eq!(gateway.metric("open_registry_store_corrupt", &[]), 0.0);
}

/// Why the gateway does not ask its neighbour, and for how long; `None`: it asks it.
fn struck_out(gateway: &Gateway) -> Option<Duration> {
    let why = seen(gateway)["not_source"].as_str()?.to_owned();
    let left = why.strip_prefix("it was struck out, for another ")?.strip_suffix(" s")?;
    Some(Duration::from_secs(left.parse().expect("a number of seconds")))
}

fn is_struck_out(_: &str, conduct: Conduct) {
    let registry = Registry::builder().packages([LEFT.clone()]).start();
    let gateway = gateway(&registry);
    let liar = neighbour(conduct, &gateway, claimed(&LEFT));

    let releases: Vec<&Release> = LEFT.releases().collect();
    let (first, rest) = releases.split_at(FIRST);
    let mut times: Vec<_> = first.iter().map(|release| get(&gateway, release)).collect();
    times.sort_unstable();
    // The slowest three had strikes to wait for.
    assert!(times[FIRST - 1] < Duration::from_secs(20), "{times:?}");
    let out_for = struck_out(&gateway).unwrap_or_else(|| panic!("it is asked: {}", seen(&gateway)));
    let (since, asked) = (Instant::now(), liar.asked().len());
    assert!(asked > 0, "it was never asked");
    thread::scope(|scope| {
        rest.iter().for_each(|release| _ = scope.spawn(|| get(&gateway, release)));
    });
    // A pause that has ended meanwhile is followed by one trial.
    let trials = usize::from(since.elapsed() >= out_for);
    assert!(liar.asked().len() <= asked + trials, "it was asked again: {:?}", &liar.asked()[asked..]);
    assert_sound(&gateway, VERSIONS);
}

/// Upstream takes its time, so that the neighbour comes and goes several times meanwhile.
fn serves_everything(_: &str, conduct: Conduct) {
    let registry = Registry::builder().packages([LEFT.clone()]).start();
    registry.fault(Matcher::Tarballs, Times::Always, Fault::Delay(Duration::from_millis(250)));
    let gateway = gateway(&registry);
    let neighbour = neighbour(conduct, &gateway, claimed(&LEFT));
    for release in LEFT.releases() {
        get(&gateway, release);
    }
    assert!(!neighbour.asked().is_empty(), "it was never asked");
    assert_sound(&gateway, VERSIONS);
}

/// `npm ci` of a whole project, with a lockfile that was made without any of us.
fn installs(test: &str, conduct: Conduct) {
    let client = Client::Npm11;
    World::enter(test, client, |world| {
        let straight = world.checkout("straight");
        let locked = client.install(&straight, &world.straight(), Mode::Cold).expect_success();
        let config = "[federation]\ndiscover = false\n";
        let gateway = world.gateway_builder().peers_at("127.0.0.1:0").config_toml(config).start();
        let packages = projects::typical().packages;
        let neighbour = neighbour(conduct, &gateway, packages.iter().flat_map(Package::releases));

        let through = world.checkout("through");
        through.lock(client, &locked.lockfile.expect("a lockfile"));
        client.install(&through, &world.through(&gateway), Mode::Frozen).expect_success();
        assert_same_packages(&through.installed(), &straight.installed());
        // One that comes and goes may have been away.
        assert!(!neighbour.asked().is_empty() || conduct == Conduct::Flapping, "it was never asked");
        assert_eq!(disk::unsound(gateway.data()), Vec::<std::path::PathBuf>::new());
        assert_eq!(gateway.metric("open_registry_store_corrupt", &[]), 0.0);
    });
}

/// What a neighbour costs that has had its strikes: misses by way of its gateway and of one without a neighbour, in turns.
///
/// `cargo test --workspace --test liars -- --ignored --nocapture what_a_struck_neighbour_costs`
#[test]
#[ignore = "prints figures, for which nothing else may run"]
#[expect(clippy::print_stdout, reason = "it is there to print")]
fn what_a_struck_neighbour_costs() {
    const STRIKES: usize = 30;
    let package = package(STRIKES + 600, 20_000);
    let registry = Registry::builder().packages([package.clone()]).start();
    for conduct in [
        Conduct::WrongBytes,
        Conduct::EverySecondWrong,
        Conduct::Truncated,
        Conduct::Endless,
        Conduct::Enormous,
        Conduct::Silent,
        Conduct::Slow,
        Conduct::Empty,
        Conduct::Garbage,
        Conduct::Dead,
        Conduct::Flapping,
    ] {
        let both = [gateway(&registry), gateway(&registry)];
        let _liar = neighbour(conduct, &both[0], package.releases());
        let mut times = [Vec::new(), Vec::new()];
        for (nth, release) in package.releases().enumerate() {
            // Each comes first every other time.
            for one in [nth % 2, 1 - nth % 2] {
                let took = get(&both[one], release);
                if nth >= STRIKES {
                    times[one].push(took);
                }
            }
        }
        times.iter_mut().for_each(|times| times.sort_unstable());
        let at = |of: &Vec<Duration>, percent: usize| of[of.len() * percent / 100];
        let [with, without] = &times;
        let why = seen(&both[0])["not_source"].clone();
        println!(
            "{conduct:?}: p50 {:.1?} with it, {:.1?} without; p99 {:.1?} with it, {:.1?} without; worst {:.1?}, {:.1?}; {why}",
            at(with, 50),
            at(without, 50),
            at(with, 99),
            at(without, 99),
            with[with.len() - 1],
            without[without.len() - 1],
        );
    }
}
