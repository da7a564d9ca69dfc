//! Promise: a tarball comes from a neighbour where one has it; what none has, one of them downloads for all; and no neighbour
//! makes anything fail or slow.
//!
//! All on loopback, and nothing is looked for. What bad peers do byte by byte is played in the gateway's own tests.

#![allow(clippy::print_stdout, reason = "figures for whoever asks for them with --nocapture")]

use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use harness::http::{Reply, Request};
use harness::{Fault, Gateway, Matcher, Package, Registry, Times, until};
use nix::sys::signal::Signal;

const SOON: Duration = Duration::from_secs(30);
/// Versions of the one package that there is.
const VERSIONS: usize = 40;
/// A machine that runs all of the tests is slower than any peer may be.
const PATIENT: &str = "hedge_ms = 10000";

static LEFT: LazyLock<Package> = LazyLock::new(|| {
    (0..VERSIONS).fold(Package::new("left"), |package, number| {
        package.version(&format!("{number}.0.0"), |version| version.size(20_000))
    })
});

fn registry() -> Registry {
    Registry::builder().packages([LEFT.clone()]).start()
}

fn gateway(registry: &Registry, lines: &str) -> Gateway {
    let config = format!("[federation]\ndiscover = false\n{lines}\n");
    Gateway::builder().upstream(registry.url()).peers_at("127.0.0.1:0").config_toml(&config).start()
}

/// A gateway, and one that is connected to it.
fn two(registry: &Registry, lines: &str) -> (Gateway, Gateway) {
    let first = gateway(registry, lines);
    let second = gateway(registry, &format!("bootstrap = [\"{}\"]\n{lines}", first.contact()));
    for (one, other) in [(&first, &second), (&second, &first)] {
        until(|| one.connected(), |connected| *connected == [other.id()]);
    }
    (first, second)
}

/// As npm asks with a lockfile.
fn get(gateway: &Gateway, number: usize) -> Reply {
    let release = LEFT.at(&format!("{number}.0.0"));
    let path = format!("{}/left/-/left-{number}.0.0.tgz", gateway.url());
    let reply = Request::get(&path).header("pacote-integrity", &release.integrity).within(SOON).send();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.body == release.tarball, "other bytes");
    reply
}

fn received(gateway: &Gateway, source: &str) -> f64 {
    gateway.metric("open_registry_received_bytes_total", &[("source", source)])
}

/// Waits until a gateway knows that its neighbours hold so many.
fn await_inventory(gateway: &Gateway, tarballs: usize) {
    let held = || gateway.status()["connected"][0]["tarballs"].as_u64();
    until(held, |held| *held == Some(tarballs as u64));
}

#[test]
fn what_one_gateway_has_its_neighbour_takes_from_it() {
    let registry = registry();
    let (first, second) = two(&registry, PATIENT);
    (0..VERSIONS / 2).for_each(|number| drop(get(&first, number)));
    // Of those whose turn it was the second has downloaded some for the first.
    let asked = registry.tarball_requests();
    await_inventory(&second, VERSIONS / 2);

    (0..VERSIONS / 2).for_each(|number| drop(get(&second, number)));
    assert_eq!(registry.tarball_requests(), asked, "upstream was asked for a tarball again");
    assert!(received(&second, "lan_peer") > 0.0);
    let peer = &second.status()["connected"][0];
    assert!(peer["received"].as_u64() > Some(0) && peer["not_source"].is_null(), "{peer}");
}

#[test]
fn what_none_has_is_downloaded_once_for_all() {
    let registry = registry();
    registry.fault(Matcher::Tarballs, Times::Always, Fault::Delay(Duration::from_millis(50)));
    let (first, second) = two(&registry, PATIENT);
    for number in 0..VERSIONS {
        thread::scope(|scope| {
            for gateway in [&first, &second] {
                scope.spawn(move || get(gateway, number));
            }
        });
    }
    let asked = registry.tarball_requests();
    println!("{asked} downloads of {VERSIONS} tarballs by two gateways");
    assert!(asked * 10 <= VERSIONS * 11, "{asked}");
    assert!(received(&first, "lan_peer") > 0.0 && received(&second, "lan_peer") > 0.0, "each has its part");
}

#[test]
fn without_upstream_a_neighbour_gives_what_it_has() {
    let registry = registry();
    let (first, second) = two(&registry, PATIENT);
    (0..10).for_each(|number| drop(get(&first, number)));
    await_inventory(&second, 10);
    registry.switch_off();
    (0..10).for_each(|number| drop(get(&second, number)));
}

#[test]
fn a_neighbour_that_stops_answering_holds_nobody_up_for_long() {
    let registry = registry();
    let (first, second) = two(&registry, "");
    (0..VERSIONS).for_each(|number| drop(get(&first, number)));
    await_inventory(&second, VERSIONS);
    first.signal(Signal::SIGSTOP);
    let mut times: Vec<_> = (0..VERSIONS)
        .map(|number| {
            let begun = Instant::now();
            get(&second, number);
            begun.elapsed()
        })
        .collect();
    first.signal(Signal::SIGCONT);
    println!("the first ten: {:?}", &times[..10]);
    times.sort_unstable();
    println!("median {:?}, worst {:?}", times[VERSIONS / 2], times[VERSIONS - 1]);
    assert!(times[VERSIONS - 1] < Duration::from_secs(5), "{times:?}");
}

#[test]
fn where_nothing_is_shared_nobody_is_asked() {
    let registry = registry();
    let first = gateway(&registry, "\n[share]\nenabled = false");
    let second = gateway(&registry, &format!("bootstrap = [\"{}\"]", first.contact()));
    until(|| second.connected(), |connected| *connected == [first.id()]);
    (0..5).for_each(|number| drop(get(&first, number)));
    (0..5).for_each(|number| drop(get(&second, number)));
    assert_eq!(received(&second, "lan_peer"), 0.0);
}
