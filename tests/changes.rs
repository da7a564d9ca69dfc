//! Promise: with a change feed, what has changed is seen within seconds, however long the fresh window is; and whatever
//! befalls the feed, freshness is no worse than without one.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::thread;
use std::time::{Duration, Instant};

use harness::http::{self, Reply};
use harness::{Fault, Gateway, Matcher, Package, Recorded, Registry, Times, listed, until};
use resolver::freshness::State;
use serde_json::Value;

/// Several rounds of the feed.
const SOON: Duration = Duration::from_secs(40);
/// The feed is the only way to learn of anything.
const LONG: &str = "fresh = \"10days\"";

fn package(name: &str, version: &str) -> Package {
    Package::new(name).version(version, |v| v)
}

fn registry() -> Registry {
    Registry::builder().packages([package("left", "1.0.0"), package("right", "1.0.0")]).start()
}

fn config(feed: &str, more: &str) -> String {
    format!("[upstream]\nchanges = \"{feed}\"\n{more}\n")
}

fn gateway(registry: &Registry) -> Gateway {
    Gateway::builder().upstream(registry.url()).config_toml(&config(&registry.replica_url(), LONG)).start()
}

fn get(gateway: &Gateway, path: &str) -> Reply {
    http::get(&format!("{}{path}", gateway.url()))
}

fn latest(reply: &Reply) -> String {
    reply.json()["dist-tags"]["latest"].as_str().expect("a version").to_owned()
}

fn status(gateway: &Gateway) -> Value {
    http::get(&format!("{}/status", gateway.operator_url())).json()["changes"].clone()
}

fn metric(gateway: &Gateway, name: &str) -> f64 {
    http::metric(&gateway.operator_url(), &format!("open_registry_changes_{name}"), &[])
}

/// Follows the feed, and knows where it is.
fn settled(gateway: &Gateway, registry: &Registry) {
    until(|| status(gateway), |status| status["sequence"] == registry.changes_end() && status["lag"] == 0);
}

/// What was asked of the feed, and answered.
fn feed_requests(registry: &Registry) -> Vec<Recorded> {
    let is_answered = |one: &Recorded| one.path.starts_with("/-/replica") && one.status != 0;
    registry.requests().into_iter().filter(is_answered).collect()
}

#[test]
fn what_is_published_is_seen_within_seconds_and_only_what_is_asked_for_is_fetched() {
    let registry = registry();
    let gateway = gateway(&registry);
    settled(&gateway, &registry);
    let before = get(&gateway, "/left");
    get(&gateway, "/right");
    registry.reset_log();

    registry.publish(package("left", "2.0.0"));
    registry.publish(package("unheard-of", "1.0.0"));
    settled(&gateway, &registry);
    assert_eq!(registry.packument_requests(), 0, "the feed fetches nothing");
    let after = get(&gateway, "/left");
    assert_eq!((latest(&before), latest(&after)), ("1.0.0".into(), "2.0.0".into()));
    assert!(after.header("cache-status").unwrap().contains("fwd=miss"), "it was confirmed first");
    assert!(get(&gateway, "/left").header("cache-status").unwrap().contains("hit"));
    assert!(get(&gateway, "/right").header("cache-status").unwrap().contains("hit"));
    assert_eq!((registry.requests_to("/left"), registry.requests_to("/right")), (1, 0));
    assert_eq!((metric(&gateway, "invalidated_total"), metric(&gateway, "lag")), (1.0, 0.0));
    assert!(metric(&gateway, "last_success_timestamp_seconds") > 1.7e9);
    assert_eq!(status(&gateway)["invalidated"], 1);

    registry.unpublish("right");
    settled(&gateway, &registry);
    assert_eq!(get(&gateway, "/right").status, 404);
}

#[test]
fn the_feed_is_asked_as_its_api_wants_it_and_no_more_often_than_it_need_be() {
    let registry = registry();
    let gateway = gateway(&registry);
    settled(&gateway, &registry);
    let first = registry.changes_end();
    let start = Instant::now();
    registry.publish(package("left", "2.0.0"));
    settled(&gateway, &registry);
    until(|| feed_requests(&registry).len(), |count| *count >= 5);

    let asked = feed_requests(&registry);
    assert!(asked.iter().all(|one| one.status == 200), "{asked:?}");
    assert_eq!(asked[0].path, "/-/replica");
    let pages: Vec<_> =
        asked.iter().filter(|one| one.path != "/-/replica").map(|one| one.path.clone()).collect();
    assert_eq!(pages, [format!("/-/replica/_changes?since={first}&limit=1000")]);
    let rounds = asked.len() - pages.len();
    assert!(rounds as u64 <= 3 + start.elapsed().as_secs() / 5, "{rounds} rounds in {:?}", start.elapsed());
}

#[test]
fn after_a_restart_it_goes_on_where_it_was_left() {
    let registry = registry();
    let mut gateway = gateway(&registry);
    settled(&gateway, &registry);
    get(&gateway, "/left");
    get(&gateway, "/right");
    gateway.kill();
    registry.publish(package("left", "2.0.0"));
    registry.reset_log();

    gateway.restart();
    settled(&gateway, &registry);
    assert_eq!(latest(&get(&gateway, "/left")), "2.0.0");
    assert!(
        get(&gateway, "/right").header("cache-status").unwrap().contains("hit"),
        "nothing was said of it"
    );
    assert_eq!(registry.requests_to("/right"), 0);
}

#[test]
fn what_was_named_before_a_crash_is_confirmed_after_it() {
    let registry = registry();
    let mut gateway = gateway(&registry);
    settled(&gateway, &registry);
    get(&gateway, "/left");
    registry.publish(package("left", "2.0.0"));
    settled(&gateway, &registry);
    gateway.restart();
    assert_eq!(latest(&get(&gateway, "/left")), "2.0.0");
}

/// A gap: everything held is confirmed before it is served once more, and the feed is followed from its end.
fn a_gap(make: impl FnOnce(&Registry)) {
    let registry = registry();
    let mut gateway = gateway(&registry);
    settled(&gateway, &registry);
    get(&gateway, "/left");
    get(&gateway, "/right");
    gateway.kill();
    registry.publish(package("left", "2.0.0"));
    make(&registry);
    registry.reset_log();
    gateway.restart();
    settled(&gateway, &registry);

    assert!(feed_requests(&registry).len() < 10, "it went through what nobody needs");
    assert_eq!(latest(&get(&gateway, "/left")), "2.0.0");
    for _ in 0..3 {
        assert_eq!(get(&gateway, "/right").status, 200);
    }
    assert_eq!(
        (registry.requests_to("/left"), registry.requests_to("/right")),
        (1, 1),
        "confirmed once each"
    );
    // And it is followed from there, also after another start.
    gateway.restart();
    registry.publish(package("right", "2.0.0"));
    settled(&gateway, &registry);
    assert_eq!(latest(&get(&gateway, "/right")), "2.0.0");
    assert_eq!(registry.requests_to("/left"), 1);
}

#[test]
fn a_feed_that_begins_anew() {
    a_gap(|registry| registry.restart_changes(7));
}

#[test]
fn a_feed_that_has_gone_too_far() {
    a_gap(|registry| registry.skip_changes(100_000));
}

#[test]
fn a_feed_that_no_longer_knows_the_place() {
    a_gap(|registry| registry.fault(Matcher::path("/-/replica/_changes"), 1, Fault::Status(410)));
}

#[test]
fn a_feed_that_was_not_followed_before() {
    let registry = registry();
    let data = tempfile::tempdir().unwrap();
    let without = format!("[upstream]\n{LONG}\n");
    let gateway = Gateway::builder().upstream(registry.url()).data(data.path()).config_toml(&without).start();
    assert_eq!(latest(&get(&gateway, "/left")), "1.0.0");
    assert_eq!(status(&gateway), Value::Null);
    drop(gateway);
    registry.publish(package("left", "2.0.0"));

    let with = config(&registry.replica_url(), LONG);
    let gateway = Gateway::builder().upstream(registry.url()).data(data.path()).config_toml(&with).start();
    settled(&gateway, &registry);
    assert_eq!(latest(&get(&gateway, "/left")), "2.0.0");
}

#[test]
fn many_changes_are_read_page_by_page_at_once() {
    let registry = registry();
    let mut gateway = gateway(&registry);
    settled(&gateway, &registry);
    get(&gateway, "/right");
    gateway.kill();
    (0..2_500).for_each(|nth| registry.publish(package(&format!("new-{nth}"), "1.0.0")));
    registry.publish(package("right", "2.0.0"));
    registry.reset_log();
    gateway.restart();
    let start = Instant::now();
    settled(&gateway, &registry);
    assert!(start.elapsed() < Duration::from_secs(5), "it waited between pages: {:?}", start.elapsed());
    assert_eq!(feed_requests(&registry).iter().filter(|one| one.path.contains("_changes")).count(), 3);
    assert_eq!(latest(&get(&gateway, "/right")), "2.0.0");
}

#[test]
fn a_feed_that_fails_harms_nothing_and_is_asked_less_and_less() {
    let faults = [
        Fault::Status(500),
        Fault::Status(404),
        Fault::RetryAfter(429, 1),
        Fault::Reset,
        Fault::GarbageGzip,
        Fault::Short(10),
        Fault::CutAfter(10),
        Fault::Oversized(5 << 20),
        Fault::Redirect("http://127.0.0.1:1/".into()),
    ];
    thread::scope(|scope| {
        for fault in faults {
            scope.spawn(move || a_failing_feed(&fault));
        }
    });
}

fn a_failing_feed(fault: &Fault) {
    let registry = registry();
    registry.fault(Matcher::path("/-/replica"), Times::Always, fault.clone());
    let gateway = gateway(&registry);
    let failing = until(|| status(&gateway), |status| status["failures"].as_u64() >= Some(3));
    assert!(failing["error"].is_string(), "{failing}");
    assert_eq!(get(&gateway, "/left").status, 200);
    let whole = http::get(&format!("{}/status", gateway.operator_url())).json();
    assert_eq!(whole["upstream"]["state"], "up", "{fault:?}");
    let asked = registry.requests().into_iter().filter(|one| one.is_for("/-/replica"));
    let times: Vec<_> = asked.map(|one| one.at).collect();
    assert!(times[2] - times[1] > Duration::from_millis(1_900), "{fault:?}: {:?}", times[2] - times[1]);
    let said =
        gateway.log().iter().filter(|line| line.contains("the change feed cannot be followed")).count();
    assert_eq!(said, 1, "{fault:?}");

    registry.clear_faults();
    settled(&gateway, &registry);
    registry.publish(package("left", "2.0.0"));
    settled(&gateway, &registry);
    assert_eq!(latest(&get(&gateway, "/left")), "2.0.0", "{fault:?}");
}

#[test]
fn a_page_that_was_not_taken_in_is_read_once_more() {
    let registry = registry();
    let gateway = gateway(&registry);
    settled(&gateway, &registry);
    get(&gateway, "/left");
    registry.fault(Matcher::path("/-/replica/_changes"), 2, Fault::Short(20));
    registry.publish(package("left", "2.0.0"));
    settled(&gateway, &registry);
    assert_eq!(latest(&get(&gateway, "/left")), "2.0.0");
}

/// Upstream is many servers, and the first may not have heard of it yet.
#[test]
fn a_change_that_upstream_does_not_show_yet_is_asked_for_again_until_it_does() {
    let registry = registry();
    let gateway = gateway(&registry);
    settled(&gateway, &registry);
    get(&gateway, "/left");
    registry.reset_log();
    registry.fault(Matcher::package("left"), 2, Fault::Status(304));
    registry.publish(package("left", "2.0.0"));
    settled(&gateway, &registry);

    let start = Instant::now();
    assert_eq!(latest(&get(&gateway, "/left")), "1.0.0");
    until(|| get(&gateway, "/left"), |reply| latest(reply) == "2.0.0");
    let allowed = 2 + start.elapsed().as_secs() / 5;
    assert!(registry.requests_to("/left") as u64 <= allowed, "{} > {allowed}", registry.requests_to("/left"));
    let is_fresh = |reply: &Reply| reply.header("cache-control").unwrap().starts_with("public, max-age=86");
    until(|| get(&gateway, "/left"), is_fresh);
    assert_eq!(registry.requests_to("/left"), 3);
}

#[test]
fn an_answer_that_is_on_its_way_when_the_package_changes_is_not_believed_for_long() {
    let registry = registry();
    let gateway = gateway(&registry);
    settled(&gateway, &registry);
    // It is made before the change, and has come after the feed has told of it.
    registry.fault(Matcher::package("left"), 1, Fault::Drip(100, Duration::from_secs(1)));
    let old = thread::scope(|scope| {
        let asked = scope.spawn(|| get(&gateway, "/left"));
        let begun = |log: &[Recorded]| log.iter().any(|one| one.is_for("/left") && one.status == 200);
        assert!(registry.wait_until(begun, SOON));
        registry.publish(package("left", "2.0.0"));
        settled(&gateway, &registry);
        asked.join().unwrap()
    });
    assert_eq!(latest(&old), "1.0.0", "this is what the test is about");
    assert_eq!(latest(&get(&gateway, "/left")), "2.0.0");
}

#[test]
fn offline_there_is_no_feed() {
    let registry = registry();
    let text = config(&registry.replica_url(), LONG);
    let gateway = Gateway::builder().upstream(registry.url()).config_toml(&text).offline().start();
    assert_eq!(status(&gateway), Value::Null);
    assert_eq!(get(&gateway, "/left").status, 503);
    assert!(registry.requests().is_empty());
}

#[test]
fn an_address_that_is_none_is_refused() {
    for (address, word) in [
        ("ftp://npm.example.com", "ftp://npm.example.com"),
        ("here", "here"),
        ("https://npm.example.com/?feed=continuous", "?"),
    ] {
        let (mut command, _surroundings) = Gateway::builder().config_toml(&config(address, "")).command();
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("upstream.changes") && said.contains(word), "{said}");
    }
}

fn state(gateway: &Gateway) -> Option<State> {
    listed(gateway, ".federation/state.json").map(|json| State::parse(&json).unwrap())
}

fn listed_version(gateway: &Gateway, name: &str) -> Option<String> {
    let json = listed(gateway, &format!("{name}/metadata.json"))?;
    let document: Value = serde_json::from_slice(&json).unwrap();
    Some(document["dist-tags"]["latest"].as_str()?.to_owned())
}

#[test]
fn who_is_followed_confirms_what_has_changed_unasked_and_says_under_his_root_when_all_of_it_is_upstreams_word()
 {
    let registry = registry();
    // How soon it is said again is a part of the fresh window.
    let gateway = Gateway::builder()
        .upstream(registry.url())
        .config_toml(&config(&registry.replica_url(), "fresh = \"20s\""))
        .start();
    get(&gateway, "/left");
    get(&gateway, "/right");
    settled(&gateway, &registry);
    // Whoever reads what is published may follow.
    let first =
        until(|| state(&gateway), |state| state.as_ref().is_some_and(|state| state.current.is_some()))
            .unwrap();

    registry.fault(Matcher::package("left"), Times::Always, Fault::TruncatedPackument);
    registry.publish(package("left", "2.0.0"));
    settled(&gateway, &registry);
    until(|| status(&gateway), |status| status["unconfirmed"] == 1);
    let doubted_s = status(&gateway)["last_success_s"].as_u64().unwrap();
    let before = state(&gateway).unwrap();
    assert!(before.except.is_empty());
    let last_success_s = |status: &Value| status["last_success_s"].as_u64().unwrap();
    until(|| status(&gateway), |status| last_success_s(status) >= doubted_s + 6);
    assert_eq!(state(&gateway).unwrap().current, before.current, "what is in doubt may be known soon");
    let without =
        until(|| state(&gateway), |state| state.as_ref().is_some_and(|state| state.except == ["left"]))
            .unwrap();
    assert!(without.current > before.current && before.current >= first.current, "of all others it is said");
    assert_eq!(listed_version(&gateway, "left").unwrap(), "1.0.0");

    registry.clear_faults();
    let is_whole = |state: &Option<State>| state.as_ref().is_some_and(|state| state.except.is_empty());
    let later = until(|| state(&gateway), is_whole).unwrap();
    assert!(later.current > without.current);
    assert_eq!(listed_version(&gateway, "left").unwrap(), "2.0.0", "and nobody has asked for it");
    assert!(listed(&gateway, ".federation/peers.json").is_none(), "it vouches for nobody");
}

#[test]
fn what_has_changed_is_told_of_together_with_the_word_that_it_is_all_of_it() {
    let registry = registry();
    // What is said again without a change is said once a minute.
    let gateway = gateway(&registry);
    get(&gateway, "/left");
    settled(&gateway, &registry);
    let is_said = |state: &Option<State>| state.as_ref().is_some_and(|state| state.current.is_some());
    let before = until(|| state(&gateway), is_said).unwrap();
    registry.publish(package("left", "2.0.0"));
    let published = Instant::now();
    until(|| listed_version(&gateway, "left"), |version| version.as_deref() == Some("2.0.0"));
    until(|| state(&gateway), |state| state.as_ref().is_some_and(|state| state.current > before.current));
    assert!(published.elapsed() < Duration::from_secs(30), "{:?}", published.elapsed());
}
