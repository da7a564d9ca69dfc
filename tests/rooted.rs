//! Promise: what home's root names comes to a follower with the proof that it is the one, whoever gives it; is as fresh as home is without
//! being asked for again; and is there without home.
//!
//! All on loopback or in a network of the test's own, and nothing is looked for.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::time::Duration;

use harness::clients::{Mode, World, assert_same_packages};
use harness::http::{self, Reply};
use harness::{
    Client, Clock, Gateway, GatewayBuilder, Package, Recorded, Registry, Stranger, free_port, until,
};
use serde_json::Value;

/// Nobody listens there: whoever has this for upstream has no way to it.
const NOWHERE: &str = "http://127.0.0.1:9";
const QUIET: &str = "[federation]\ndiscover = false\n";

fn package(name: &str, version: &str) -> Package {
    Package::new(name).version(version, |v| v)
}

fn registry() -> Registry {
    let names = ["left", "right", "up", "down"];
    names.into_iter().fold(Registry::builder(), |all, name| all.package(package(name, "1.0.0"))).start()
}

/// One that follows the registry's change feed, and has all that is there.
fn home(registry: &Registry) -> Gateway {
    filled(home_builder(registry).start())
}

fn home_builder(registry: &Registry) -> GatewayBuilder {
    let config = format!("[upstream]\nchanges = \"{}\"\n{QUIET}", registry.replica_url());
    builder(&config).upstream(registry.url())
}

fn filled(home: Gateway) -> Gateway {
    for name in ["left", "right", "up", "down"] {
        for path in [name.to_owned(), format!("{name}/-/{name}-1.0.0.tgz")] {
            assert_eq!(get(&home, &path).status, 200);
        }
    }
    let lists =
        |name: &str| http::get(&format!("{}/-/open-registry/resolve/{name}/1.0.0", home.url())).status;
    until(|| ["left", "right", "up", "down"].map(lists), |all| all.iter().all(|status| *status == 200));
    home
}

fn builder(config: &str) -> GatewayBuilder {
    Gateway::builder().peers_at(&format!("127.0.0.1:{}", free_port())).config_toml(config)
}

/// One that has no way to upstream, connected to home and to these, once home's root of now counts.
fn follower(home: &Gateway, others: &[String]) -> Gateway {
    let others: Vec<_> = others.iter().map(|contact| format!("\"{contact}\"")).collect();
    let config = format!("{QUIET}bootstrap = [{}]\n", others.join(", "));
    let follower = builder(&config).upstream(NOWHERE).flag("--federate").flag(&home.contact()).start();
    await_root(follower)
}

fn await_root(follower: Gateway) -> Gateway {
    until(|| follower.status(), |status| status["home"]["serves"] == true);
    let counts = || follower.metric("open_registry_root_current_timestamp_seconds", &[]);
    until(counts, |current| *current > 0.0);
    follower
}

fn get(gateway: &Gateway, name: &str) -> Reply {
    http::get(&format!("{}/{name}", gateway.url()))
}

/// Packuments that a gateway has taken in, by what they were verified.
fn documents(gateway: &Gateway, verified: &str) -> f64 {
    gateway.metric("open_registry_root_documents_total", &[("verified", verified)])
}

fn latest(reply: &Reply) -> Value {
    reply.json()["dist-tags"]["latest"].clone()
}

#[test]
fn what_changes_upstream_is_asked_for_again_and_nothing_else_is() {
    let registry = registry();
    let home = home(&registry);
    let follower = follower(&home, &[]);
    for name in ["left", "right"] {
        assert_eq!(latest(&get(&follower, name)), "1.0.0");
    }
    assert_eq!((documents(&follower, "root"), documents(&follower, "channel")), (2.0, 0.0));
    registry.publish(package("left", "1.0.0").version("1.1.0", |v| v));
    until(|| latest(&get(&follower, "left")), |latest| latest == "1.1.0");
    assert_eq!(latest(&get(&follower, "right")), "1.0.0");
    assert_eq!(documents(&follower, "root") + documents(&follower, "channel"), 3.0);
}

#[test]
fn while_home_is_current_nobody_is_asked_for_what_is_held_however_long_ago_it_came() {
    let registry = registry();
    let clock = Clock::new();
    let home = filled(home_builder(&registry).clock(&clock).start());
    let config = format!("{QUIET}update_type = [\"http\", \"pubsub\"]\n");
    let follower = builder(&config).upstream(NOWHERE).flag("--federate").flag(&home.contact());
    let follower = await_root(follower.clock(&clock).start());
    let names = ["left", "right", "up", "down"];
    let take = || names.iter().for_each(|name| assert_eq!(get(&follower, name).status, 200));
    take();
    clock.jump("+2h");
    let current = || follower.metric("open_registry_root_current_timestamp_seconds", &[]);
    let then = current();
    until(current, |current| *current > then + 7000.0);
    let asked = || {
        let packuments = |request: &Recorded| names.contains(&request.path.trim_start_matches('/'));
        registry.requests().iter().filter(|request| packuments(request)).count()
    };
    let sent = || home.metric("open_registry_http_requests_total", &[("route", "peer_home")]);
    let (before, sent_before) = (asked(), sent());
    for _ in 0..20 {
        take();
    }
    assert_eq!(asked(), before, "upstream");
    assert!(sent() - sent_before < 2.0, "home, of which only its head is asked for");
    assert_eq!(documents(&follower, "root") + documents(&follower, "channel"), 4.0);

    // Without upstream home is current no more, and four hours are too long.
    registry.switch_off();
    clock.jump("+4h");
    let is_stale = |reply: &Reply| reply.header("cache-status").is_some_and(|said| said.contains("stale"));
    assert_eq!(until(|| get(&follower, "left"), is_stale).status, 200);
}

#[test]
fn without_home_another_follower_gives_what_their_root_names() {
    let registry = registry();
    let mut home = home(&registry);
    let first = follower(&home, &[]);
    let second = follower(&home, &[first.contact()]);
    until(|| second.connected(), |connected| connected.contains(&first.id()));
    assert_eq!(get(&first, "left").status, 200);
    registry.switch_off();
    home.kill();
    until(|| second.status(), |status| status["home"]["serves"] == false);
    let given = get(&second, "left");
    assert_eq!(given.status, 200, "{}", given.text());
    assert_eq!(latest(&given), "1.0.0");
    assert_eq!(documents(&second, "root"), 1.0);
    assert_eq!(get(&second, "right").status, 503, "nobody has it");
    drop(first);
    assert_eq!(get(&second, "left").status, 200, "it is held");
}

#[test]
fn a_peer_that_changes_a_byte_is_struck_and_what_is_served_is_right() {
    let registry = registry();
    let home = home(&registry);
    let follower = follower(&home, &[]);
    let liar = Stranger::changes_blocks_of(&home);
    liar.dial(&follower.contact());
    let is_known = |status: &Value| {
        let connected = status["connected"].as_array().into_iter().flatten();
        connected.into_iter().any(|one| one["peer"] == liar.id() && one["shares"] == true)
    };
    until(|| follower.status(), is_known);
    let lies = || liar.asked().into_iter().filter(|head| head.contains("/ipfs/")).count();
    for name in ["left", "right", "up", "down"] {
        // Apart from where each says that the tarballs are.
        let said = |gateway: &Gateway| get(gateway, name).text().replace(&gateway.url(), "gateway");
        assert_eq!(said(&follower), said(&home), "{name}");
    }
    assert_eq!(lies(), 1, "it is asked no more");
}

#[test]
fn a_project_never_seen_installs_from_home_alone_verified_under_its_root_and_again_without_it() {
    let test = "a_project_never_seen_installs_from_home_alone_verified_under_its_root_and_again_without_it";
    World::enter(test, Client::Npm10, |world| {
        let client = Client::Npm10;
        let mut home = world.gateway_builder().peers_at("127.0.0.1:6738").config_toml(QUIET).start();
        let first = world.checkout("first");
        client.install(&first, &world.through(&home), Mode::Cold).expect_success();
        let all = |status: &Value| {
            let (listed, held) = (&status["index"]["packages"], &status["store"]["packuments"]);
            listed == held && held.as_u64().is_some_and(|held| held > 0)
        };
        let root = until(|| home.status(), all)["index"]["root"].as_str().unwrap().to_owned();
        let builder = builder(QUIET).upstream(NOWHERE).flag("--federate").flag(&home.contact());
        let follower = builder.start();
        until(|| follower.status(), |status| status["home"]["serves"] == true);
        let counts = |line: &str| line.contains("counts from now on") && line.contains(&root);
        assert!(follower.wait_for_log(counts, Duration::from_secs(40)), "{root} {:#?}", follower.log());

        let second = world.checkout("second");
        client.install(&second, &world.through(&follower), Mode::Cold).expect_success();
        assert_same_packages(&second.installed(), &first.installed());
        assert!(documents(&follower, "root") >= 1.0);
        assert_eq!(documents(&follower, "channel"), 0.0, "everything was verified under home's root");

        let asked = || home.metric("open_registry_http_requests_total", &[("route", "peer_home")]);
        let (before, took) = (asked(), documents(&follower, "root"));
        let third = world.checkout("third");
        client.install(&third, &world.through(&follower), Mode::Cold).expect_success();
        assert_eq!(documents(&follower, "root"), took);
        assert!(asked() - before < 2.0, "nothing that is held is asked for again");

        world.registry.switch_off();
        home.kill();
        let fourth = world.checkout("fourth");
        client.install(&fourth, &world.through(&follower), Mode::Cold).expect_success();
        assert_same_packages(&fourth.installed(), &first.installed());
    });
}
