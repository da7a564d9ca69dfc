//! Promise: an operator is told what is held of a package, and what a request for it would lead to, and nothing is asked or
//! changed by telling it; and of a client, whom it is led to.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use harness::{Clock, Gateway, Identity, Package, Registry, Said, http, in_own_network, until};
use serde_json::{Value, json};

const TARBALL: &str = "/left/-/left-1.0.0.tgz";
/// Where the command looks by itself.
const OPERATOR: &str = "127.0.0.1:6737";
const CONFIG: &str = "[upstream]\nfresh = \"5m\"\nstale = \"1h\"\n";

struct Scene {
    gateway: Gateway,
    registry: Registry,
    clock: Clock,
}

impl Scene {
    fn new() -> Self {
        Self::with("")
    }

    /// With further lines of configuration.
    fn with(lines: &str) -> Self {
        let left = Package::new("left").version("1.0.0", |v| v.size(20_000)).version("1.1.0", |v| v);
        let scoped = Package::new("@scope/left").version("2.0.0", |v| v);
        let (registry, clock) = (Registry::builder().package(left).package(scoped).start(), Clock::new());
        let config = format!("{CONFIG}{lines}");
        let gateway = Gateway::builder().upstream(registry.url()).config_toml(&config).clock(&clock);
        let gateway = gateway.env("OPEN_REGISTRY_OPERATOR__LISTEN", OPERATOR).start();
        Self { gateway, registry, clock }
    }

    fn get(&self, path: &str) -> u16 {
        http::get(&format!("{}{path}", self.gateway.url())).status
    }

    /// How often upstream was asked for content.
    fn asked(&self) -> usize {
        self.registry.packument_requests() + self.registry.tarball_requests()
    }

    fn explain(&self, what: &str) -> Said {
        self.gateway.ask(&["explain", what])
    }

    fn facts(&self, what: &str) -> Value {
        let said = self.gateway.ask(&["explain", "--json", what]).expect_success();
        serde_json::from_str(&said.stdout).unwrap()
    }

    fn says(&self, what: &str) -> String {
        self.explain(what).expect_success().stdout
    }
}

fn sources(part: &Value) -> Vec<&str> {
    let sources = part["plan"]["sources"].as_array().unwrap();
    sources.iter().map(|step| step["source"].as_str().unwrap()).collect()
}

#[test]
fn what_is_not_held_would_come_from_upstream_and_is_not_fetched_by_asking() {
    in_own_network("what_is_not_held_would_come_from_upstream_and_is_not_fetched_by_asking", &[], || {
        let scene = Scene::new();
        let before = scene.asked();
        let left = scene.facts("left@1.0.0");
        assert_eq!(left["packument"]["held"], Value::Null);
        assert_eq!(
            (sources(&left["packument"]), sources(&left["tarball"])),
            (vec!["upstream"], vec!["upstream"])
        );
        assert_eq!(left["tarball"]["digest"], Value::Null);
        assert_eq!(left["upstream"]["state"], "up");
        let said = scene.says("@scope/left@latest");
        assert!(
            said.contains("Packument: not held") && said.contains("name that is not known yet"),
            "{said}"
        );
        assert_eq!(scene.asked(), before, "upstream was asked");

        assert_eq!(scene.get("/none"), 404);
        let none = scene.facts("none");
        assert!(sources(&none["packument"]).is_empty());
        assert!(scene.says("none").contains("there is no such package"));
    });
}

#[test]
fn what_is_held_is_told_with_its_age_and_changes_with_it() {
    in_own_network("what_is_held_is_told_with_its_age_and_changes_with_it", &[], || {
        let scene = Scene::new();
        assert_eq!(scene.get("/left"), 200);
        let unfetched = scene.facts("left@latest");
        assert_eq!(unfetched["tarball"]["version"], "1.1.0");
        assert_eq!(unfetched["tarball"]["held_bytes"], Value::Null);
        assert_eq!(sources(&unfetched["tarball"]), ["upstream"]);
        assert_eq!(scene.get(TARBALL), 200);

        let before = scene.asked();
        let fresh = scene.facts("left@1.0.0");
        let held = &fresh["packument"]["held"];
        let fresh_for = held["fresh_for_s"].as_u64().unwrap();
        assert!((200..=300).contains(&fresh_for) && held["usable_for_s"] == 3600, "{held}");
        assert_eq!(
            (sources(&fresh["packument"]), sources(&fresh["tarball"])),
            (vec!["store"], vec!["store"])
        );
        let tarball = http::get(&format!("{}{TARBALL}", scene.gateway.url()));
        assert_eq!(fresh["tarball"]["held_bytes"], tarball.body.len());
        assert_eq!(fresh["tarball"]["file"], "left-1.0.0.tgz");
        let document = http::get(&format!("{}/left", scene.gateway.url())).json();
        assert_eq!(fresh["tarball"]["digest"], document["versions"]["1.0.0"]["dist"]["integrity"]);
        assert_eq!(fresh["tarball"]["address"], format!("{}{TARBALL}", scene.registry.url()));
        let said = scene.says("left@1.0.0");
        assert!(said.contains("plan: store, because it is fresh") && said.contains("held, "), "{said}");

        scene.clock.jump("+10m");
        let usable = until(|| scene.facts("left"), |left| left["packument"]["held"]["fresh_for_s"] == 0);
        assert_eq!(usable["packument"]["plan"]["confirmed_behind"], true, "{usable}");
        assert_eq!(sources(&usable["packument"]), ["store"]);
        scene.clock.jump("+2d");
        let stale = until(|| scene.facts("left"), |left| left["packument"]["held"]["usable_for_s"] == 0);
        let plan =
            json!([{ "source": "upstream", "patience_s": 2 }, { "source": "store", "patience_s": null }]);
        assert_eq!(stale["packument"]["plan"]["sources"], plan);
        assert_eq!(scene.asked(), before, "upstream was asked");

        scene.registry.switch_off();
        assert_eq!(scene.get("/left"), 200);
        let down = until(|| scene.facts("left@1.0.0"), |left| left["upstream"]["state"] == "down");
        assert_eq!((sources(&down["packument"]), sources(&down["tarball"])), (vec!["store"], vec!["store"]));
        let said = scene.says("left@1.1.0");
        assert!(said.contains("neither fresh nor usable") && said.contains("it cannot be had"), "{said}");
        assert!(said.contains("upstream cannot be reached"), "{said}");
    });
}

#[test]
fn what_cannot_be_explained_is_said_in_words() {
    in_own_network("what_cannot_be_explained_is_said_in_words", &[], || {
        let mut scene = Scene::new();
        assert_eq!(scene.get("/left"), 200);
        let refused = |what: &str, words: &str| {
            let said = scene.explain(what);
            assert!(!said.success && said.stderr.contains(words), "{what}: {said:?}");
        };
        refused("left@9.9.9", "has no version 9.9.9");
        refused("left@", "no version behind its @");
        refused("../left", "is not the name of a package");
        refused("300.1.1.1", "is no IP address");
        refused("130.59.31.0/24", "and it is no IP address either");
        for (query, status) in
            [("content=left%409.9.9", 404), ("content=..%2fleft", 400), ("package=left", 400)]
        {
            let reply = http::get(&format!("{}/why?{query}", scene.gateway.operator_url()));
            assert_eq!(reply.status, status, "{query}");
        }
        scene.gateway.kill();
        let said = scene.explain("left");
        assert!(!said.success && said.stderr.contains("only the one that runs"), "{said:?}");
    });
}

#[test]
fn a_client_is_explained_by_the_gateway_that_runs() {
    let home = [("home.test", [10, 20, 0, 1].into())];
    in_own_network("a_client_is_explained_by_the_gateway_that_runs", &home, || {
        let scene = Scene::new();
        let said = scene.explain("8.8.8.8").expect_success();
        assert!(said.stdout.starts_with("Client 8.8.8.8 (as asked for), counted as 8.8.8.0/24"), "{said:?}");
        assert!(said.stdout.contains("(this gateway)") && said.stderr.is_empty(), "{said:?}");
        // Nobody has asked, so nobody knows by which of its addresses.
        let words = "this gateway's own address, whichever is asked";
        assert!(said.stdout.contains(&format!("\nA: {words}, for 60 s\n")), "{said:?}");
        let facts = scene.facts("8.8.8.8");
        assert_eq!(facts["client"]["address"], "8.8.8.8");
        assert_eq!(facts["answers"][0]["own"], json!({ "words": words, "place": 0 }));
        assert_eq!(facts["answers"][0]["addresses"], json!([]));
    });
}

#[test]
fn what_a_probe_has_found_wrong_stands_beside_the_peer_and_only_the_operator_reads_it() {
    let test = "what_a_probe_has_found_wrong_stands_beside_the_peer_and_only_the_operator_reads_it";
    in_own_network(test, &[("peer.test", [10, 20, 0, 2].into())], || {
        let entry = Identity::new().entry(&["http://10.20.0.2".to_owned()], "");
        let scene = Scene::with(&entry);
        let said = until(|| scene.says("10.20.0.7"), |said| said.contains("nobody listens there"));
        let line = said.lines().find(|line| line.contains("nobody listens there")).unwrap();
        assert!(line.contains("(10.20.0.2: http: no connection"), "{said}");
        let why = http::get(&format!("{}/-/open-registry/why", scene.gateway.url())).json();
        let down = why["candidates"].as_array().unwrap().iter().find(|one| one["this"] == false).unwrap();
        assert!(down["rejected"].is_string() && down.get("complaint").is_none(), "{why}");
    });
}
