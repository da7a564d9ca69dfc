//! Promise: what upstream removes leaves documents and stays with those who have its digest; what an operator blocks is not served, by any
//! name or digest, to clients, peers and IPFS clients; and both stand in the index.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use harness::http::{Reply, Request};
use harness::{ABBREVIATED, Client, Gateway, GatewayBuilder, Package, Registry, listed, root, until};
use resolver::index::address;
use resolver::integrity::Integrity;
use resolver::removed::Removals;
use serde_json::Value;

const ONE: &str = "/left/-/left-1.0.0.tgz";
const TWO: &str = "/left/-/left-2.0.0.tgz";
const REASON: &str = "by order of a \"court\"";
const WORDS: &str = "left@2.0.0 is not served here: by order of a \"court\"";
/// Everything is asked for again at once.
const DOUBTING: &str = "[upstream]\nfresh = \"0s\"\nstale = \"0s\"\n";

fn registry() -> Registry {
    Registry::builder()
        .package(Package::new("left").version("1.0.0", |v| v.size(3000)).version("2.0.0", |v| v.size(4000)))
        .package(Package::new("right").version("1.0.0", |v| v))
        .start()
}

fn gateway(registry: &Registry, config: &str) -> GatewayBuilder {
    Gateway::builder().upstream(registry.url()).config_toml(config)
}

fn block(package: &str, version: &str) -> String {
    format!("[[block]]\npackage = \"{package}\"\nversion = \"{version}\"\nreason = '{REASON}'\n")
}

fn ask(gateway: &Gateway, path: &str) -> Request {
    Request::get(&format!("{}{path}", gateway.url()))
}

fn get(gateway: &Gateway, path: &str) -> Reply {
    ask(gateway, path).send()
}

fn removals(gateway: &Gateway, name: &str) -> Option<Removals> {
    listed(gateway, &format!("{name}/removed.json")).map(|json| Removals::parse(&json).unwrap())
}

fn integrity(gateway: &Gateway, version: &str) -> Integrity {
    let document = get(gateway, "/left").json();
    Integrity::from_sri(document["versions"][version]["dist"]["integrity"].as_str().unwrap()).unwrap()
}

fn assert_blocked(reply: &Reply, words: &str) {
    assert_eq!(reply.status, 451, "{}", reply.text());
    assert_eq!(reply.json(), serde_json::json!({ "error": words }));
}

#[test]
fn what_upstream_removes_leaves_the_document_and_stays_with_its_digest() {
    let registry = registry();
    let mut gateway = gateway(&registry, DOUBTING).start();
    let digest = integrity(&gateway, "2.0.0");
    assert_eq!((get(&gateway, ONE).status, get(&gateway, TWO).status), (200, 200));
    registry.remove_version("left", "2.0.0");
    assert!(get(&gateway, "/left").json()["versions"].get("2.0.0").is_none());
    let removed = until(|| removals(&gateway, "left"), Option::is_some).unwrap();
    let all: Vec<_> =
        removed.iter().map(|one| (one.version.as_str(), one.integrity.clone().unwrap())).collect();
    assert_eq!(all, [("2.0.0", digest.to_string())]);
    let by_digest = format!("/-/tarballs/sha512/{}", digest.base64url());
    assert_eq!(get(&gateway, &by_digest).status, 200);

    // The package goes as a whole, and its removals stay, whatever becomes of the gateway.
    registry.unpublish("left");
    assert_eq!(get(&gateway, "/left").status, 404);
    until(
        || removals(&gateway, "left"),
        |removed| removed.as_ref().is_some_and(|list| list.iter().count() == 2),
    );
    let is_there = |removed: &Option<Removals>| removed.as_ref().is_some_and(|list| list.iter().count() == 2);
    gateway.terminate();
    std::fs::remove_file(gateway.data().join("index.redb")).unwrap();
    gateway.restart();
    until(|| removals(&gateway, "left"), is_there);
    assert_eq!(get(&gateway, &by_digest).status, 200);

    registry.publish(Package::new("left").version("2.0.0", |v| v.size(4000)));
    assert_eq!(get(&gateway, "/left").status, 200);
    until(|| removals(&gateway, "left"), |removed| !is_there(removed));
}

#[test]
fn a_blocked_version_is_not_served_under_any_name() {
    let registry = registry();
    let folder = tempfile::tempdir().unwrap();
    let before = gateway(&registry, "").data(folder.path()).start();
    let (one, two) = (integrity(&before, "1.0.0"), integrity(&before, "2.0.0"));
    for path in [ONE, TWO] {
        assert_eq!(get(&before, path).status, 200);
    }
    let cid = address::of_tarball(&two);
    until(|| get(&before, &format!("/ipfs/{cid}?format=raw")), |reply| reply.status == 200);
    let old_root = root(&before).unwrap();
    drop(before);

    let gateway = gateway(&registry, &block("left", "2.0.0")).data(folder.path()).start();
    for path in [
        TWO,
        "/left/2.0.0",
        &format!("/-/tarballs/sha512/{}", two.base64url()),
        &format!("/ipfs/{cid}?format=raw"),
    ] {
        assert_blocked(&get(&gateway, path), WORDS);
    }
    let hint = ask(&gateway, "/right/-/right-1.0.0.tgz").header("pacote-integrity", &two.to_string()).send();
    assert_blocked(&hint, WORDS);
    let with_credentials = ask(&gateway, TWO).header("authorization", "Bearer secret").send();
    assert!(matches!(with_credentials.status, 403 | 451), "{}", with_credentials.text());
    for root in [&old_root, &until(|| root(&gateway), Option::is_some).unwrap()] {
        let car = format!("/ipfs/{root}/left/left-2.0.0.tgz?format=car&dag-scope=entity");
        assert_blocked(&get(&gateway, &car), WORDS);
    }

    // Clients resolve to what is left, in every form.
    for accept in ["application/json", ABBREVIATED] {
        let document = ask(&gateway, "/left").header("accept", accept).send().json();
        assert_eq!(document["dist-tags"]["latest"], "1.0.0", "{accept}");
        let versions: Vec<_> = document["versions"].as_object().unwrap().keys().collect();
        assert_eq!(versions, ["1.0.0"]);
    }
    assert_eq!(get(&gateway, ONE).status, 200);
    assert_eq!(integrity(&gateway, "1.0.0"), one);

    // The index says it, and lists the tarball no more.
    let json = until(|| listed(&gateway, ".federation/blocked.json"), Option::is_some).unwrap();
    let list = resolver::removed::Blocklist::parse(&json).unwrap();
    let (name, removals_of) = list.iter().next().unwrap();
    assert_eq!((name.as_str(), removals_of.blocked_digest(&two).unwrap().reason.as_str()), ("left", REASON));
    assert!(removals(&gateway, "left").unwrap().blocked_digest(&two).is_some());
    assert!(listed(&gateway, "left/left-1.0.0.tgz").is_some());
    let resolved = get(&gateway, "/-/open-registry/resolve/left/2.0.0");
    assert_eq!((resolved.status, resolved.json()["missing"].clone()), (451, Value::from("blocked")));
    assert_eq!(gateway.status()["blocked"]["own"], 1);
    let explained = get_operator(&gateway, "/why?content=left@2.0.0");
    assert!(explained.text().contains("is not served here"), "{}", explained.text());

    // Upstream takes the package away: the digest stays blocked, also after a start.
    registry.unpublish("left");
    drop(gateway);
    let again = self::gateway(&registry, &(DOUBTING.to_owned() + &block("left", "2.0.0")))
        .data(folder.path())
        .start();
    assert_eq!(get(&again, "/left").status, 404);
    assert_blocked(&get(&again, &format!("/-/tarballs/sha512/{}", two.base64url())), WORDS);
    drop(again);
    let lifted = self::gateway(&registry, "").data(folder.path()).start();
    assert_eq!(get(&lifted, &format!("/-/tarballs/sha512/{}", two.base64url())).status, 200);
}

fn get_operator(gateway: &Gateway, path: &str) -> Reply {
    harness::http::get(&format!("{}{path}", gateway.operator_url()))
}

#[test]
fn of_a_blocked_package_nothing_is_served_or_listed_but_that_it_is_blocked() {
    let registry = registry();
    let folder = tempfile::tempdir().unwrap();
    let before = gateway(&registry, "").data(folder.path()).start();
    let two = integrity(&before, "2.0.0");
    assert_eq!(get(&before, TWO).status, 200);
    until(|| listed(&before, "left/left-2.0.0.tgz"), Option::is_some);
    drop(before);
    let gateway = gateway(&registry, &format!("[[block]]\npackage = \"left\"\nreason = '{REASON}'\n"));
    let gateway = gateway.data(folder.path()).start();
    let words = "left is not served here: by order of a \"court\"";
    let digest = format!("/-/tarballs/sha512/{}", two.base64url());
    for path in ["/left", "/left/latest", "/left/1.0.0", ONE, TWO, &digest] {
        assert_blocked(&get(&gateway, path), words);
    }
    until(|| removals(&gateway, "left"), Option::is_some);
    assert!(
        listed(&gateway, "left/metadata.json").is_none() && listed(&gateway, "left/left-2.0.0.tgz").is_none()
    );
    assert_eq!(get(&gateway, "/right").status, 200);
}

#[test]
fn npm_says_in_our_words_why_it_cannot_have_a_locked_version() {
    harness::clients::World::enter(
        "npm_says_in_our_words_why_it_cannot_have_a_locked_version",
        Client::Npm11,
        |world| {
            let free = world.gateway();
            let project = world.checkout("locked");
            let locked = Client::Npm11
                .install(&project, &world.through(&free), harness::clients::Mode::Cold)
                .expect_success();
            let lockfile: Value = serde_json::from_str(&locked.locked()).unwrap();
            let (path, package) = lockfile["packages"]
                .as_object()
                .unwrap()
                .iter()
                .find(|(path, package)| {
                    let is_at_the_top =
                        path.starts_with("node_modules/") && path.matches("node_modules").count() == 1;
                    is_at_the_top && package.get("optional").is_none() && package.get("name").is_none()
                })
                .unwrap();
            let name = path.trim_start_matches("node_modules/");
            let version = package["version"].as_str().unwrap();
            let gateway = world.gateway_builder().config_toml(&block(name, version)).start();
            let other = world.checkout("blocked");
            other.lock(Client::Npm11, &locked.lockfile.unwrap());
            let outcome =
                Client::Npm11.install(&other, &world.through(&gateway), harness::clients::Mode::Frozen);
            assert!(!outcome.success, "{}", outcome.output);
            let words = format!("{name}@{version} is not served here: ");
            assert!(outcome.output.contains("E451") && outcome.output.contains(&words), "{}", outcome.output);
        },
    );
}

#[test]
fn a_follower_heeds_what_home_blocks_within_one_head() {
    let registry = registry();
    let peers = "[federation]\ndiscover = false\n";
    let start = |config: &str, contact: Option<&str>| {
        let builder = gateway(&registry, config).peers_at("127.0.0.1:0");
        contact.into_iter().fold(builder, |builder, contact| builder.flag("--federate").flag(contact)).start()
    };
    let home = start(&format!("{peers}{}", block("left", "2.0.0")), None);
    assert_eq!(get(&home, ONE).status, 200);
    until(|| listed(&home, ".federation/blocked.json"), Option::is_some);
    let mut follower = start(peers, Some(&home.contact()));
    until(|| follower.status(), |status| status["blocked"]["home"] == 1);
    assert_blocked(&get(&follower, TWO), WORDS);
    // Also with nobody to be asked.
    drop(home);
    follower.restart();
    assert_blocked(&get(&follower, TWO), WORDS);
}
