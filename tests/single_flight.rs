//! However many ask at once, upstream is asked once.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use harness::http::{Reply, Request};
use harness::{Ca, Fault, Gateway, Matcher, Package, Registry, Release, Times};

const CROWD: usize = 50;
const ROUNDS: usize = 5;
const LIMIT: Duration = Duration::from_secs(60);
/// Long enough for everybody to have asked before the first answer comes.
const LATE: Fault = Fault::Delay(Duration::from_millis(700));

fn package(name: &str) -> Package {
    Package::new(name).version("1.0.0", |v| v.size(30_000))
}

fn path_of(name: &str) -> String {
    format!("/{name}/-/{name}-1.0.0.tgz")
}

/// Asks for all of these at the same moment, each with a connection of its own.
fn all_at_once(gateway: &Gateway, paths: &[String]) -> Vec<Reply> {
    let barrier = Barrier::new(paths.len());
    thread::scope(|scope| {
        let ask = |path: &String| {
            let request = Request::get(&format!("{}{path}", gateway.url())).within(LIMIT);
            barrier.wait();
            request.send()
        };
        let asking: Vec<_> = paths.iter().map(|path| scope.spawn(move || ask(path))).collect();
        asking.into_iter().map(|asked| asked.join().expect("an answer")).collect()
    })
}

fn assert_all_are(replies: &[Reply], release: &Release) {
    for reply in replies {
        assert_eq!((reply.status, &reply.cut), (200, &None), "{}", reply.text());
        assert!(reply.body == release.tarball, "wrong bytes");
    }
}

#[test]
fn fifty_who_want_the_same_tarball_cost_upstream_one_packument_and_one_tarball() {
    let registry = Registry::builder().package(package("left")).start();
    let gateway = Gateway::builder().upstream(registry.url()).start();
    registry.fault(Matcher::Packuments, Times::Always, LATE);
    registry.fault(Matcher::Tarballs, Times::Always, LATE);

    let replies = all_at_once(&gateway, &vec![path_of("left"); CROWD]);

    assert_all_are(&replies, package("left").at("1.0.0"));
    assert_eq!((registry.packument_requests(), registry.tarball_requests()), (1, 1));
}

#[test]
fn fifty_who_want_the_same_packument_cost_upstream_one() {
    let registry = Registry::builder().package(package("left")).start();
    let gateway = Gateway::builder().upstream(registry.url()).start();
    registry.fault(Matcher::Packuments, Times::Always, LATE);

    let replies = all_at_once(&gateway, &vec!["/left".to_owned(); CROWD]);

    assert!(replies.iter().all(|reply| reply.status == 200 && reply.json()["name"] == "left"));
    assert_eq!(registry.packument_requests(), 1);
}

#[test]
fn a_hundred_different_tarballs_cost_upstream_one_request_each() {
    let names: Vec<String> = (0..100).map(|nth| format!("left-{nth}")).collect();
    ask_for_each(&names, 1);
}

/// Upstream answers at once here: those who come when an answer is just there must not start another download.
#[test]
fn a_crowd_costs_upstream_one_request_however_the_moments_fall() {
    for round in 0..ROUNDS {
        let names: Vec<String> = (0..8).map(|nth| format!("left-{round}-{nth}")).collect();
        ask_for_each(&names, 20);
    }
}

/// So many ask for each of these packages at the same moment.
fn ask_for_each(names: &[String], crowd: usize) {
    let registry = Registry::builder().packages(names.iter().map(|name| package(name))).start();
    let gateway = Gateway::builder().upstream(registry.url()).start();
    let paths: Vec<String> = names.iter().flat_map(|name| vec![path_of(name); crowd]).collect();

    let replies = all_at_once(&gateway, &paths);

    for (replies, name) in replies.chunks(crowd).zip(names) {
        assert_all_are(replies, package(name).at("1.0.0"));
        let asked = [format!("/{name}"), path_of(name)].map(|path| registry.requests_to(&path));
        assert_eq!(asked, [1, 1], "{name}");
    }
}

#[test]
fn fifty_who_want_the_same_large_tarball_share_one_stream() {
    let ca = Ca::new();
    let large = Package::new("large").version("1.0.0", |v| v.size(3 << 20));
    let release = large.at("1.0.0").clone();
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let registry = Registry::builder().package(large).start_tls(address, ca.issue(&["127.0.0.1"]));
    let gateway = Gateway::builder()
        .upstream(registry.url())
        .trust(&ca)
        .config_toml("[http]\nverify_first_max = \"1MiB\"\n")
        .start();
    registry.fault(Matcher::Packuments, Times::Always, LATE);
    registry.fault(Matcher::Tarballs, Times::Always, Fault::Drip(256 << 10, Duration::from_millis(50)));

    let replies = all_at_once(&gateway, &vec![path_of("large"); CROWD]);

    assert_all_are(&replies, &release);
    assert!(
        replies.iter().any(|reply| reply.header("cache-control") == Some("no-store")),
        "nobody was streamed to"
    );
    assert_eq!((registry.packument_requests(), registry.tarball_requests()), (1, 1));
}
