//! Promise: metadata is as fresh as the configuration says, nobody waits for its confirmation who need not, and
//! upstream is asked no more often than it has to be.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::thread;
use std::time::{Duration, Instant};

use harness::http::{self, Reply, Request};
use harness::{Clock, Fault, Gateway, Matcher, Package, Recorded, Registry, Times, until};

/// What an answer from the disk takes, many times over.
const AT_ONCE: Duration = Duration::from_secs(1);
/// More than anything takes that comes at all.
const SOON: Duration = Duration::from_secs(30);
/// Never fresh, always usable.
const USABLE: &str = "[upstream]\nfresh = \"0s\"\nstale = \"1h\"\n";
/// Confirmed each time.
const DOUBTING: &str = "[upstream]\nfresh = \"0s\"\nstale = \"0s\"\n";

fn left() -> Package {
    Package::new("left").version("1.0.0", |v| v)
}

fn newer(version: &str) -> Package {
    Package::new("left").version(version, |v| v)
}

fn registry() -> Registry {
    Registry::builder().package(left()).start()
}

fn gateway(registry: &Registry, config: &str) -> Gateway {
    Gateway::builder().upstream(registry.url()).config_toml(config).start()
}

fn timed(clock: &Clock, registry: &Registry, config: &str) -> Gateway {
    Gateway::builder().upstream(registry.url()).config_toml(config).clock(clock).start()
}

fn get(gateway: &Gateway, path: &str) -> Reply {
    http::get(&format!("{}{path}", gateway.url()))
}

fn insist(gateway: &Gateway, path: &str) -> Reply {
    Request::get(&format!("{}{path}", gateway.url())).header("cache-control", "no-cache").send()
}

fn latest(reply: &Reply) -> String {
    reply.json()["dist-tags"]["latest"].as_str().expect("a version").to_owned()
}

fn handled(reply: &Reply) -> String {
    reply.header("cache-status").expect("a Cache-Status").to_owned()
}

fn asked(registry: &Registry, path: &str) -> Vec<Recorded> {
    registry.requests().into_iter().filter(|recorded| recorded.is_for(path)).collect()
}

#[test]
fn what_is_usable_is_served_at_once_and_confirmed_behind() {
    let registry = registry();
    let gateway = gateway(&registry, USABLE);
    assert_eq!(latest(&get(&gateway, "/left")), "1.0.0");
    registry.publish(newer("2.0.0"));
    registry.fault(Matcher::Packuments, 1, Fault::Delay(Duration::from_secs(3)));

    let old = get(&gateway, "/left");
    assert!(old.first_byte < AT_ONCE, "{:?}", old.first_byte);
    assert_eq!(
        (latest(&old), handled(&old)),
        ("1.0.0".into(), "open-registry; hit; detail=\"stale-while-revalidate\"".into())
    );
    let control = old.header("cache-control").unwrap();
    let usable = control
        .strip_prefix("public, max-age=0, stale-while-revalidate=")
        .unwrap_or_else(|| panic!("{control}"));
    assert!((3500..=3600).contains(&usable.parse::<u64>().unwrap()), "{control}");

    let new = until(|| get(&gateway, "/left"), |reply| latest(reply) == "2.0.0");
    assert!(new.first_byte < AT_ONCE);
}

#[test]
fn for_five_minutes_it_is_fresh_then_for_an_hour_usable_and_then_confirmed_first() {
    let (registry, clock) = (registry(), Clock::new());
    let gateway = timed(&clock, &registry, "");
    get(&gateway, "/left");
    registry.publish(newer("2.0.0"));

    clock.jump("+4m");
    let fresh = get(&gateway, "/left");
    assert_eq!((latest(&fresh), handled(&fresh)), ("1.0.0".into(), "open-registry; hit".into()));
    assert_eq!(registry.requests_to("/left"), 1);
    clock.jump("+60m");
    let usable = get(&gateway, "/left");
    assert_eq!(latest(&usable), "1.0.0");
    assert!(handled(&usable).contains("stale-while-revalidate"));
    until(|| get(&gateway, "/left"), |reply| latest(reply) == "2.0.0");
    registry.publish(newer("3.0.0"));
    clock.jump("+130m");
    let confirmed = get(&gateway, "/left");
    assert_eq!((latest(&confirmed), handled(&confirmed)), ("3.0.0".into(), "open-registry; fwd=miss".into()));
    let control = confirmed.header("cache-control").unwrap();
    assert!(
        control.starts_with("public, max-age=") && control.ends_with(", stale-while-revalidate=3600"),
        "{control}"
    );
}

#[test]
fn fifty_clients_of_one_usable_packument_cost_one_request() {
    let registry = registry();
    let gateway = gateway(&registry, USABLE);
    get(&gateway, "/left");
    registry.reset_log();
    registry.fault(Matcher::Packuments, Times::Always, Fault::NeverAnswer);

    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| assert_eq!(get(&gateway, "/left").status, 200));
        }
    });
    assert!(registry.wait_until(|log| !log.is_empty(), SOON), "nobody asked for it");
    assert_eq!(registry.requests_to("/left"), 1);
}

#[test]
fn many_usable_packuments_are_confirmed_few_at_a_time_and_nobody_waits() {
    const MANY: usize = 80;
    let package = |nth| Package::new(&format!("held-{nth}")).version("1.0.0", |v| v);
    let registry = Registry::builder().packages((0..MANY).map(package)).package(left()).start();
    let gateway = gateway(&registry, USABLE);
    let sweep =
        || (0..MANY).for_each(|nth| assert!(get(&gateway, &format!("/held-{nth}")).first_byte < AT_ONCE));
    (0..MANY).for_each(|nth| assert_eq!(get(&gateway, &format!("/held-{nth}")).status, 200));
    registry.reset_log();
    // Slow, but not so slow that it would be taken to be away.
    registry.fault(Matcher::Packuments, 16, Fault::Delay(Duration::from_secs(8)));

    sweep();
    assert!(registry.wait_until(|log| log.len() >= 16, SOON), "{}", registry.requests().len());
    // Whoever waits for something is not behind them.
    assert_eq!(get(&gateway, "/left").status, 200);
    sweep();
    assert_eq!(registry.packument_requests(), 17, "16 behind, and the one that a client waited for");
    let all =
        |log: &[Recorded]| (0..MANY).all(|nth| log.iter().any(|one| one.is_for(&format!("/held-{nth}"))));
    assert!(registry.wait_until(all, SOON), "some were never confirmed");
}

#[test]
fn while_upstream_is_away_nothing_is_confirmed_behind() {
    let registry = registry();
    let gateway = gateway(&registry, USABLE);
    get(&gateway, "/left");
    registry.reset_log();
    registry.fault(Matcher::Everything, Times::Always, Fault::RetryAfter(429, 60));

    until(|| get(&gateway, "/left"), |reply| handled(reply).contains("stale: upstream cannot be reached"));
    for _ in 0..20 {
        assert_eq!(get(&gateway, "/left").status, 200);
    }
    assert_eq!(registry.requests_to("/left"), 1);
}

#[test]
fn a_rest_that_upstream_asks_for_is_granted_behind_and_before() {
    for (config, detail) in
        [(USABLE, "stale-while-revalidate"), (DOUBTING, "stale: upstream wants to be left alone")]
    {
        let registry = registry();
        let gateway = gateway(&registry, config);
        get(&gateway, "/left");
        registry.reset_log();
        registry.fault(Matcher::package("left"), Times::Always, Fault::RetryAfter(503, 30));

        assert_eq!(get(&gateway, "/left").status, 200);
        assert!(registry.wait_until(|log| log.iter().any(|one| one.status == 503), SOON));
        until(|| get(&gateway, "/left"), |reply| handled(reply).contains(detail));
        for _ in 0..20 {
            let reply = insist(&gateway, "/left");
            assert!(
                reply.status == 200 && reply.first_byte < AT_ONCE && handled(&reply).contains(detail),
                "{reply:?}"
            );
        }
        assert_eq!(registry.requests_to("/left"), 1, "{detail}");
        assert!(http::get(&format!("{}/status", gateway.operator_url())).text().contains("\"up\""));
    }
}

#[test]
fn a_client_that_insists_gets_upstreams_word_but_not_more_often_than_every_five_seconds() {
    for (name, value) in
        [("cache-control", "no-cache"), ("cache-control", "max-age=0"), ("pragma", "no-cache")]
    {
        let registry = registry();
        let gateway = gateway(&registry, "");
        get(&gateway, "/left");
        registry.publish(newer("2.0.0"));
        assert_eq!(latest(&get(&gateway, "/left")), "1.0.0", "it is fresh");

        let insist = || Request::get(&format!("{}/left", gateway.url())).header(name, value).send();
        let (start, first) = (Instant::now(), insist());
        assert_eq!((latest(&first), handled(&first)), ("2.0.0".into(), "open-registry; fwd=miss".into()));
        registry.publish(newer("3.0.0"));
        until(insist, |reply| latest(reply) == "3.0.0");
        assert!(start.elapsed() >= Duration::from_secs(4), "{:?}", start.elapsed());
        assert_eq!(registry.requests_to("/left"), 3);
    }
}

#[test]
fn who_insists_is_served_what_is_held_when_upstream_is_away() {
    let registry = registry();
    let gateway = gateway(&registry, "");
    get(&gateway, "/left");
    registry.switch_off();
    for _ in 0..3 {
        let reply = insist(&gateway, "/left");
        assert_eq!((reply.status, latest(&reply)), (200, "1.0.0".into()));
    }
}

#[test]
fn a_version_that_the_held_packument_does_not_know_is_looked_for_at_once() {
    let registry = registry();
    let gateway = gateway(&registry, "");
    get(&gateway, "/left");
    registry.publish(newer("2.0.0").tag("next", "2.0.0"));
    assert_eq!(get(&gateway, "/left/2.0.0").json()["version"], "2.0.0");
    assert_eq!(get(&gateway, "/left/next").json()["version"], "2.0.0");
    assert_eq!(registry.requests_to("/left"), 2);

    let other = Package::new("right").version("1.0.0", |v| v);
    registry.publish(other.clone());
    get(&gateway, "/right");
    let published = other.version("1.1.0", |v| v);
    registry.publish(published.clone());
    assert_eq!(get(&gateway, "/right/-/right-1.1.0.tgz").body, published.at("1.1.0").tarball);
}

#[test]
fn a_version_that_there_is_not_costs_one_request_in_five_seconds_and_is_404_only_by_upstreams_word() {
    let registry = registry();
    let gateway = gateway(&registry, "");
    get(&gateway, "/left");
    registry.reset_log();
    let (start, paths) = (Instant::now(), ["/left/9.9.9", "/left/beta", "/left/-/left-9.9.9.tgz"]);
    for _ in 0..10 {
        for path in paths {
            assert_eq!(get(&gateway, path).status, 404, "{path}");
        }
    }
    let allowed = 1 + start.elapsed().as_secs() / 5;
    assert!(registry.requests_to("/left") as u64 <= allowed, "{} > {allowed}", registry.requests_to("/left"));

    registry.switch_off();
    for path in paths {
        let reply = until(|| get(&gateway, path), |reply| reply.status != 404);
        assert_eq!(reply.status, 503, "{path}");
        let error = reply.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains("9.9.9") || error.contains("beta"), "{error}");
    }
    assert_eq!(get(&gateway, "/left/1.0.0").status, 200);
}

#[test]
fn a_packument_that_does_not_date_all_versions_is_served_and_spoken_of() {
    let partial = left().version("1.1.0", |v| v).without_time_of("1.1.0");
    let bare = Package::new("bare").version("1.0.0", |v| v).without_time();
    let whole = Package::new("whole").version("1.0.0", |v| v);
    let registry = Registry::builder().packages([partial, bare, whole]).start();
    let gateway = gateway(&registry, DOUBTING);
    for name in ["left", "bare", "whole", "left", "bare"] {
        let ours = get(&gateway, &format!("/{name}")).json();
        assert_eq!(ours["time"], http::get(&format!("{}/{name}", registry.url())).json()["time"], "{name}");
    }
    let counted = |time| {
        http::metric(&gateway.operator_url(), "open_registry_packuments_undated_total", &[("time", time)])
    };
    assert_eq!((counted("partial"), counted("none")), (1.0, 1.0), "once for each revision");
    let said = |line: &String| line.contains("does not say of all versions");
    assert_eq!(gateway.log().iter().filter(|line| said(line)).count(), 1);
}

#[test]
fn one_404_takes_nothing_away_and_the_second_is_believed() {
    for status in [404, 410] {
        let registry = registry();
        let gateway = gateway(&registry, DOUBTING);
        get(&gateway, "/left");
        let tarball = get(&gateway, "/left/-/left-1.0.0.tgz").body;
        registry.reset_log();

        registry.fault(Matcher::Packuments, 1, Fault::Status(status));
        assert_eq!(get(&gateway, "/left").status, 200, "{status}");
        let questions = asked(&registry, "/left");
        let conditional = |nth: usize| questions[nth].header("if-none-match").is_some();
        assert_eq!((questions.len(), conditional(0), conditional(1)), (2, true, false));
        assert_ne!(questions[0].from, questions[1].from, "the second time was on the same connection");

        registry.fault(Matcher::Packuments, 2, Fault::Status(status));
        assert_eq!(get(&gateway, "/left").status, 404, "{status}");
        let said = |line: &str| line.contains("said twice") && line.contains("left");
        assert!(gateway.wait_for_log(said, SOON), "nothing is removed without a word");
        assert_eq!(get(&gateway, "/left/-/left-1.0.0.tgz").body, tarball);
    }
}

#[test]
fn a_404_and_then_a_failure_take_nothing_away() {
    let registry = registry();
    let gateway = gateway(&registry, DOUBTING);
    get(&gateway, "/left");
    registry.fault(Matcher::Packuments, 1, Fault::Status(404));
    registry.fault(Matcher::Packuments, Times::Always, Fault::Status(500));
    assert_eq!(get(&gateway, "/left").status, 200);
    registry.clear_faults();
    until(|| get(&gateway, "/left"), |reply| !handled(reply).contains("stale"));
}

#[test]
fn an_absence_is_remembered_for_a_few_seconds_and_an_outage_is_not() {
    let registry = registry();
    let gateway = gateway(&registry, "");
    let start = Instant::now();
    for path in ["/absent", "/absent/1.0.0", "/absent"].repeat(10) {
        assert_eq!(get(&gateway, path).status, 404);
    }
    let allowed = 1 + start.elapsed().as_secs() / 10;
    assert!(registry.requests_to("/absent") as u64 <= allowed);
    registry.publish(Package::new("absent").version("1.0.0", |v| v));
    until(|| get(&gateway, "/absent"), |reply| reply.status == 200);

    registry.switch_off();
    assert_eq!(get(&gateway, "/cold").status, 503);
    registry.publish(Package::new("cold").version("1.0.0", |v| v));
    registry.switch_on();
    let reply = until(|| get(&gateway, "/cold"), |reply| reply.status != 503);
    assert_eq!(reply.status, 200);
}

#[test]
fn what_is_published_through_the_gateway_is_seen_through_it() {
    let token = ("authorization", "Bearer s3cret");
    let registry = Registry::builder().package(left()).account("ada", "s3cret").start();
    let gateway = gateway(&registry, "");
    get(&gateway, "/left");
    assert_eq!(get(&gateway, "/fresh").status, 404);

    for name in ["left", "fresh"] {
        let new = Package::new(name).version("2.0.0", |v| v);
        let url = format!("{}/{name}", gateway.url());
        let sent = Request::new("PUT", &url).header(token.0, token.1).body(upload(&new)).send();
        assert_eq!(sent.status, 201, "{}", sent.text());
        assert_eq!(latest(&get(&gateway, &format!("/{name}"))), "2.0.0");
    }
    registry.reset_log();
    let refused = Request::new("PUT", &format!("{}/left", gateway.url())).body("{}").send();
    assert_eq!(refused.status, 401);
    get(&gateway, "/left");
    assert_eq!(asked(&registry, "/left").iter().filter(|one| one.method == "GET").count(), 0);
}

/// What `npm publish` sends.
fn upload(package: &Package) -> String {
    use base64::Engine as _;
    let release = package.at("2.0.0");
    let data = base64::engine::general_purpose::STANDARD.encode(&release.tarball);
    let (name, file) = (package.name(), format!("{}-2.0.0.tgz", package.name()));
    serde_json::json!({
        "name": name,
        "dist-tags": { "latest": "2.0.0" },
        "versions": { "2.0.0": {
            "name": name, "version": "2.0.0",
            "dist": { "integrity": release.integrity, "tarball": format!("http://registry.example/{name}/-/{file}") },
        } },
        "_attachments": { file: { "content_type": "application/octet-stream", "data": data } },
    })
    .to_string()
}

#[test]
fn a_304_that_speaks_of_something_else_confirms_nothing() {
    let registry = registry();
    let gateway = gateway(&registry, DOUBTING);
    get(&gateway, "/left");
    registry.publish(newer("2.0.0"));
    let other = Fault::Both(Box::new(Fault::Status(304)), Box::new(Fault::ChangedEtag));
    registry.fault(Matcher::Packuments, 1, other);
    assert_eq!(latest(&get(&gateway, "/left")), "2.0.0");
}

#[test]
fn after_a_day_of_confirmations_the_whole_document_is_asked_for() {
    let (registry, clock) = (registry(), Clock::new());
    let gateway = timed(&clock, &registry, DOUBTING);
    get(&gateway, "/left");
    get(&gateway, "/left");
    for offset in ["+23h", "+25h", "+25h", "+47h", "+50h"] {
        clock.jump(offset);
        assert_eq!(get(&gateway, "/left").status, 200, "{offset}");
    }
    let statuses: Vec<_> = asked(&registry, "/left").iter().map(|one| one.status).collect();
    assert_eq!(statuses, [200, 304, 304, 200, 304, 304, 200]);
}

#[test]
fn no_jump_of_the_clock_makes_anything_fresh_for_ever() {
    let (registry, clock) = (registry(), Clock::new());
    clock.jump("+3650d");
    let gateway = timed(&clock, &registry, "");
    get(&gateway, "/left");
    registry.publish(newer("2.0.0"));
    assert_eq!(latest(&get(&gateway, "/left")), "1.0.0", "fresh by the wrong clock");
    clock.jump("+0");
    assert_eq!(latest(&get(&gateway, "/left")), "2.0.0", "what was confirmed in ten years is not fresh");

    registry.publish(newer("3.0.0"));
    clock.jump("-400d");
    assert_eq!(latest(&get(&gateway, "/left")), "3.0.0");
    clock.jump("+3650d");
    registry.publish(newer("4.0.0"));
    assert_eq!(latest(&get(&gateway, "/left")), "4.0.0");
    assert_eq!(registry.requests_to("/left"), 4);
}
