//! Promise: whatever happens to upstream, what is held is served, at once; what is not held is an error that says
//! why; and upstream's return is noticed by itself.

use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use harness::http::{self, Reply, Request};
use harness::network::DeadAddress;
use harness::{Fault, Gateway, Matcher, Package, Registry, Times, VersionBuilder, in_own_network};

/// How many packuments are held.
const MANY: usize = 60;
/// For all of them together, the first client's patience included.
const ALL: Duration = Duration::from_secs(8);
/// What an answer from the disk takes, many times over; less than upstream is waited for.
const AT_ONCE: Duration = Duration::from_millis(1500);
/// How soon a client is told that there is nothing: yarn 1 gives up at 30 s.
const TOLD: Duration = Duration::from_secs(28);
/// How late a return may be noticed after an outage of less than a minute.
const NOTICED: Duration = Duration::from_secs(40);
/// Everything is stale at once.
const DOUBTING: &str = "[upstream]\nfresh = \"0s\"\nstale = \"0s\"\n";

fn package(number: usize) -> Package {
    Package::new(&format!("held-{number}")).version("1.0.0", |v| v)
}

fn tarball(number: usize) -> String {
    format!("/held-{number}/-/held-{number}-1.0.0.tgz")
}

fn registry() -> Registry {
    let cold = Package::new("cold").version("1.0.0", |v| v);
    Registry::builder().packages((0..MANY).map(package)).package(cold).start()
}

fn get(gateway: &Gateway, path: &str) -> Reply {
    http::get(&format!("{}{path}", gateway.url()))
}

/// A gateway that holds everything but `cold`.
fn filled(registry: &Registry, data: &Path) -> Gateway {
    let gateway = Gateway::builder().upstream(registry.url()).data(data).config_toml(DOUBTING).start();
    for number in 0..MANY {
        assert_eq!(get(&gateway, &format!("/held-{number}")).status, 200);
    }
    assert_eq!(get(&gateway, &tarball(0)).status, 200);
    gateway
}

/// Asks for all that is held, one after the other: nobody waits but the first, and every answer names the cause.
fn assert_held_is_served(gateway: &Gateway, causes: &[&str]) {
    let start = Instant::now();
    let mut slow = 0;
    for number in 0..MANY {
        let reply = get(gateway, &format!("/held-{number}"));
        let handled = reply.header("cache-status").unwrap_or_default().to_owned();
        assert_eq!((reply.status, &reply.json()["name"]), (200, &format!("held-{number}").into()));
        assert!(handled.contains("hit") && handled.contains("stale: "), "{handled}");
        assert!(causes.iter().any(|cause| handled.contains(cause)), "{handled} names none of {causes:?}");
        assert!(!handled.contains("not held"), "{handled}");
        slow += usize::from(reply.first_byte > AT_ONCE);
    }
    let took = start.elapsed();
    assert!(took < ALL && slow <= 3, "{MANY} packuments took {took:?}; {slow} of them were slow");
    assert_eq!(get(gateway, &tarball(0)).body, package(0).at("1.0.0").tarball);
}

/// What is not held: an error that says why and when to come again, and not a 404. All at once, as clients ask.
fn assert_missing_is_told(gateway: &Gateway, causes: &[&str]) {
    let paths = ["/cold", "/cold/1.0.0", "/cold/-/cold-1.0.0.tgz", "/-/npm/v1/keys"];
    let replies = thread::scope(|scope| {
        let asking = paths.map(|path| scope.spawn(move || get(gateway, path)));
        asking.map(|reply| reply.join().expect("an answer"))
    });
    for (path, reply) in paths.iter().zip(replies) {
        assert_eq!((reply.status, reply.header("content-type")), (503, Some("application/json")), "{path}");
        assert!(reply.header("retry-after").expect("a Retry-After").parse::<u32>().is_ok(), "{path}");
        let error = reply.json()["error"].as_str().expect("a text").to_owned();
        assert!(causes.iter().any(|cause| error.contains(cause)), "{error} names none of {causes:?}");
        assert!(reply.first_byte < TOLD, "{path} took {:?}", reply.first_byte);
    }
}

/// Without a restart, and without asking for more than clients do.
fn assert_return_is_noticed(gateway: &Gateway) {
    let start = Instant::now();
    while get(gateway, "/cold").status != 200 {
        assert!(start.elapsed() < NOTICED, "upstream's return was not noticed in {NOTICED:?}");
    }
    while get(gateway, "/held-1").header("cache-status").expect("a Cache-Status").contains("stale") {
        assert!(start.elapsed() < NOTICED, "what is held was still stale after {NOTICED:?}");
    }
    assert_eq!(get(gateway, "/cold/-/cold-1.0.0.tgz").status, 200);
}

/// An outage that the registry itself can play.
fn outage(fault: &Fault, causes: &[&str]) {
    let (registry, data) = (registry(), tempfile::tempdir().expect("a temporary folder"));
    let gateway = filled(&registry, data.path());
    registry.fault(Matcher::Everything, Times::Always, fault.clone());

    assert_held_is_served(&gateway, causes);
    assert_missing_is_told(&gateway, causes);
    registry.clear_faults();
    assert_return_is_noticed(&gateway);
}

#[test]
fn an_upstream_that_refuses_connections() {
    let (registry, data) = (registry(), tempfile::tempdir().unwrap());
    let gateway = filled(&registry, data.path());
    registry.switch_off();

    // A connection that was open when it went away broke.
    let causes = ["connection refused", "the connection broke", "the connection was reset"];
    assert_held_is_served(&gateway, &causes);
    assert_missing_is_told(&gateway, &causes);
    registry.switch_on();
    assert_return_is_noticed(&gateway);
}

#[test]
fn an_upstream_that_fails() {
    outage(&Fault::Status(500), &["it answered 500"]);
}

#[test]
fn an_upstream_that_is_unavailable() {
    outage(&Fault::Status(503), &["it answered 503"]);
}

#[test]
fn an_upstream_that_wants_to_be_left_alone() {
    outage(&Fault::RetryAfter(429, 2), &["it answered 429"]);
}

#[test]
fn an_upstream_that_breaks_connections() {
    outage(&Fault::Reset, &["was reset", "connection broke"]);
}

#[test]
fn an_upstream_that_never_answers() {
    outage(&Fault::NeverAnswer, &["upstream is slow", "has not answered within 10 s"]);
}

#[test]
fn an_upstream_whose_bodies_stall() {
    bodies_that_never_end(&Fault::StallAfter(20), &["upstream is slow", "its answer stalled"]);
}

#[test]
fn an_upstream_whose_bodies_break_off() {
    bodies_that_never_end(&Fault::CutAfter(20), &["the connection broke within a body"]);
}

fn bodies_that_never_end(fault: &Fault, causes: &[&str]) {
    let (registry, data) = (registry(), tempfile::tempdir().expect("a temporary folder"));
    let gateway = filled(&registry, data.path());
    // So that there are bodies: a confirmation has none.
    for number in 0..MANY {
        registry.publish(Package::new(&format!("held-{number}")).version("1.0.1", |v| v));
    }
    registry.fault(Matcher::Everything, Times::Always, fault.clone());

    assert_held_is_served(&gateway, causes);
    assert_missing_is_told(&gateway, causes);
    registry.clear_faults();
    assert_return_is_noticed(&gateway);
    assert_eq!(get(&gateway, "/held-1").json()["dist-tags"]["latest"], "1.0.1");
}

#[test]
fn an_upstream_that_takes_no_connection() {
    let test = "an_upstream_that_takes_no_connection";
    in_own_network(test, &[], || {
        let (registry, data) = (registry(), tempfile::tempdir().unwrap());
        drop(filled(&registry, data.path()));
        let dead = DeadAddress::new();
        let upstream = format!("http://{}", dead.address());
        let gateway = Gateway::builder().upstream(&upstream).data(data.path()).config_toml(DOUBTING).start();

        let causes = ["upstream is slow", "no connection in time"];
        assert_held_is_served(&gateway, &causes);
        assert_missing_is_told(&gateway, &causes);
    });
}

#[test]
fn an_upstream_whose_name_does_not_resolve() {
    let test = "an_upstream_whose_name_does_not_resolve";
    in_own_network(test, &[], || {
        let (registry, data) = (registry(), tempfile::tempdir().unwrap());
        drop(filled(&registry, data.path()));
        let upstream = "https://registry.example";
        let gateway = Gateway::builder().upstream(upstream).data(data.path()).config_toml(DOUBTING).start();

        let causes = ["its name cannot be resolved"];
        assert_held_is_served(&gateway, &causes);
        assert_missing_is_told(&gateway, &causes);
    });
}

#[test]
fn upstreams_word_that_there_is_no_such_thing_counts_and_nothing_else_does() {
    let (registry, data) = (registry(), tempfile::tempdir().unwrap());
    let gateway = filled(&registry, data.path());
    for status in [401, 403, 400, 418] {
        registry.fault(Matcher::package("held-0"), 1, Fault::Status(status));
        let reply = get(&gateway, "/held-0");
        assert_eq!(reply.status, 200, "{status} took away what was held");
    }

    registry.unpublish("held-0");
    let gone = get(&gateway, "/held-0");
    assert_eq!((gone.status, gone.json()["error"].as_str()), (404, Some("held-0 not found")));
    assert_eq!(get(&gateway, &tarball(0)).body, package(0).at("1.0.0").tarball, "its tarball stays");
    let integrity = package(0).at("1.0.0").integrity.clone();
    let digest = URL_SAFE_NO_PAD.encode(STANDARD.decode(&integrity["sha512-".len()..]).unwrap());
    assert_eq!(get(&gateway, &format!("/-/tarballs/sha512/{digest}")).status, 200);
    registry.switch_off();
    let start = Instant::now();
    while get(&gateway, "/held-0").status == 404 {
        assert!(
            start.elapsed() < NOTICED,
            "an old 404 is still believed, and nobody knows whether it came back"
        );
    }
    assert_eq!(get(&gateway, "/held-0").status, 503);
    assert_eq!(get(&gateway, &tarball(0)).status, 200);
}

#[test]
fn offline_makes_no_connection_and_serves_what_is_held() {
    let test = "offline_makes_no_connection_and_serves_what_is_held";
    in_own_network(test, &[], || {
        let (registry, data) = (registry(), tempfile::tempdir().unwrap());
        drop(filled(&registry, data.path()));
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let gateway = Gateway::builder()
            .upstream(&format!("http://{}", upstream.local_addr().unwrap()))
            .data(data.path())
            .config_toml(DOUBTING)
            .offline()
            .start();

        assert_held_is_served(&gateway, &["this gateway is offline"]);
        for path in ["/cold", "/cold/-/cold-1.0.0.tgz", "/-/whoami", "/-/npm/v1/keys", &tarball(1)] {
            let reply = get(&gateway, path);
            assert_eq!(reply.status, 503, "{path}");
            assert!(reply.json()["error"].as_str().unwrap().contains("this gateway is offline"), "{path}");
            assert!(reply.first_byte < AT_ONCE, "{path} waited for what cannot come");
        }
        assert_eq!(get(&gateway, "/-/ping").status, 200);
        let token = Request::get(&format!("{}/held-1", gateway.url())).header("authorization", "Bearer x");
        assert_eq!(token.send().status, 503);

        upstream.set_nonblocking(true).unwrap();
        let connected = upstream.accept().map(|(_, peer)| peer);
        assert!(connected.is_err(), "it connected: {connected:?}");
    });
}

#[test]
fn a_restart_forgets_nothing() {
    let left = Package::new("left").version("1.0.0", VersionBuilder::attested).version("1.1.0", |v| v);
    let registry = Registry::builder().package(left.clone()).start();
    let mut gateway = Gateway::builder().upstream(registry.url()).config_toml(DOUBTING).start();
    let paths = [
        ("/left", 200),
        ("/left/1.1.0", 200),
        ("/left/-/left-1.0.0.tgz", 200),
        ("/-/npm/v1/keys", 200),
        ("/-/npm/v1/attestations/left@1.0.0", 200),
        ("/-/npm/v1/attestations/left@1.1.0", 404),
    ];
    let host = gateway.address();
    let before: Vec<Reply> = paths.iter().map(|(path, _)| get(&gateway, path)).collect();
    registry.switch_off();

    // In good order, and as a power cut would end it.
    for orderly in [true, false] {
        if orderly {
            assert!(gateway.terminate().success());
        }
        gateway.restart();
        assert_eq!(gateway.address(), host);
        for ((path, status), before) in paths.iter().zip(&before) {
            let reply = get(&gateway, path);
            assert_eq!((reply.status, before.status), (*status, *status), "{path}");
            assert_eq!(reply.body, before.body, "{path}");
            assert_eq!(reply.header("etag"), before.header("etag"), "{path}");
            assert_eq!(reply.header("content-type"), before.header("content-type"), "{path}");
            assert_eq!(reply.header("last-modified"), before.header("last-modified"), "{path}");
        }
    }
    // Absences of evidence are remembered for a while, also where upstream could be asked.
    registry.switch_on();
    registry.reset_log();
    assert_eq!(get(&gateway, "/-/npm/v1/attestations/left@1.1.0").status, 404);
    assert_eq!(registry.requests_to("/-/npm/v1/attestations/left@1.1.0"), 0);
}

/// Otherwise anybody could fill the state with questions about versions that do not exist.
#[test]
fn answers_about_versions_that_nobody_published_are_not_kept() {
    let left = Package::new("left").version("1.0.0", |v| v);
    let registry = Registry::builder().package(left).start();
    let gateway = Gateway::builder().upstream(registry.url()).start();
    get(&gateway, "/left");
    for (version, asked) in [("1.0.0", 1), ("6.6.6", 2)] {
        let path = format!("/-/npm/v1/attestations/left@{version}");
        for _ in 0..2 {
            assert_eq!(get(&gateway, &path).status, 404, "{path}");
        }
        assert_eq!(registry.requests_to(&path), asked, "{path}");
    }
}
