//! What the harness promises to the tests that stand on it.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::read::GzDecoder;
use harness::http::{self, Failure, Reply, Request};
use harness::network::DeadAddress;
use harness::{
    ABBREVIATED, Ca, Fault, Matcher, Package, Registry, canonical_host, canonical_url, in_own_network,
    projects,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

const SOON: Duration = Duration::from_secs(20);
const TARBALL: &str = "/left/-/left-1.0.0.tgz";

fn left() -> Package {
    Package::new("left").version("1.0.0", |v| v.dependency("@scope/right", "^1.0.0").size(100_000))
}

fn registry() -> Registry {
    let right = Package::new("@scope/right").version("1.0.0", |v| v.bin("right", "cli.js").install_script());
    Registry::builder().package(left()).package(right).start()
}

fn abbreviated(url: &str) -> Reply {
    Request::get(url).header("accept", ABBREVIATED).send()
}

fn get(registry: &Registry, path: &str) -> Reply {
    http::get(&format!("{}{path}", registry.url()))
}

#[test]
fn a_served_tarball_matches_its_integrity_and_holds_its_package_json() {
    let registry = registry();
    let dist = get(&registry, "/left").json()["versions"]["1.0.0"]["dist"].clone();

    let tarball = http::get(dist["tarball"].as_str().unwrap()).body;

    assert_eq!(dist["integrity"], format!("sha512-{}", BASE64.encode(Sha512::digest(&tarball))));
    let mut archive = tar::Archive::new(GzDecoder::new(tarball.as_ref()));
    let mut first = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(first.path().unwrap().to_str(), Some("package/package.json"));
    let mut text = String::new();
    first.read_to_string(&mut text).unwrap();
    let manifest: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(manifest["dependencies"], json!({"@scope/right": "^1.0.0"}));
}

#[test]
fn a_signature_verifies_with_the_key_that_the_registry_publishes() {
    let registry = registry();
    let dist = get(&registry, "/left").json()["versions"]["1.0.0"]["dist"].clone();
    let key = get(&registry, "/-/npm/v1/keys").json()["keys"][0].clone();
    let signature = &dist["signatures"][0];
    let message = format!("left@1.0.0:{}", dist["integrity"].as_str().unwrap());
    let bytes = |field: &Value| BASE64.decode(field.as_str().unwrap()).unwrap();

    let (public_key, signed) = (bytes(&key["key"]), bytes(&signature["sig"]));

    assert_eq!(signature["keyid"], key["keyid"]);
    // A key's point is the last 65 bytes of its description.
    let point = &public_key[public_key.len() - 65..];
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    assert!(algorithms.all.iter().any(|a| a.verify_signature(point, message.as_bytes(), &signed).is_ok()));
}

#[test]
fn what_npm_publishes_can_be_installed() {
    let registry = Registry::builder().account("ada", "open-sesame").start();
    let tarball = left().at("1.0.0").tarball.clone();
    let upload = json!({
        "_id": "left", "name": "left", "dist-tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": {"name": "left", "version": "1.0.0", "dist": {"tarball": "http://elsewhere.example/"}}},
        "_attachments": {"left-1.0.0.tgz": {"data": BASE64.encode(&tarball)}},
    });
    let publish = Request::new("PUT", &format!("{}/left", registry.url())).body(upload.to_string());

    assert_eq!(publish.send().status, 401);
    assert_eq!(publish.header("authorization", "Bearer open-sesame").send().status, 201);
    assert_eq!(get(&registry, TARBALL).body, tarball);
}

#[test]
fn the_same_description_gives_the_same_bytes() {
    let (once, again) = (left(), left());
    assert_eq!(once.at("1.0.0").tarball, again.at("1.0.0").tarball);

    let registry = Registry::builder().package(once).public_url("http://same.example").start();
    let twin = Registry::builder().package(again).public_url("http://same.example").start();
    assert_eq!(get(&registry, "/left").body, get(&twin, "/left").body);
}

#[test]
fn the_abbreviated_form_has_modified_but_no_time_and_says_what_runs_on_install() {
    let registry = registry();

    let full = get(&registry, "/@scope%2fright");
    let brief = abbreviated(&format!("{}/@scope/right", registry.url()));

    assert_eq!(full.header("content-type"), Some("application/json"));
    assert_eq!(brief.header("content-type"), Some(ABBREVIATED));
    let (full, brief) = (full.json(), brief.json());
    assert_eq!(full["time"]["1.0.0"], "2020-01-01T00:00:00.000Z");
    assert_eq!((&brief["time"], &brief["readme"]), (&Value::Null, &Value::Null));
    assert_eq!(brief["modified"], "2020-01-01T00:00:00.000Z");
    assert_eq!(brief["versions"]["1.0.0"]["hasInstallScript"], true);
    assert_eq!(brief["versions"]["1.0.0"]["dist"], full["versions"]["1.0.0"]["dist"]);
}

#[test]
fn each_form_has_its_own_validators_and_answers_304_to_them() {
    let registry = registry();
    let url = format!("{}/left", registry.url());
    let full = Request::get(&url).header("accept-encoding", "gzip").send();
    let brief = abbreviated(&url);
    assert_ne!(full.header("etag"), brief.header("etag"));

    let known = Request::get(&url).header("if-none-match", full.header("etag").unwrap()).send();
    let other = Request::get(&url).header("if-none-match", brief.header("etag").unwrap()).send();
    let dated = Request::get(&url).header("if-modified-since", full.header("last-modified").unwrap()).send();

    assert_eq!((known.status, known.body.len()), (304, 0));
    assert_eq!(other.status, 200);
    assert_eq!(dated.status, 304);
}

#[test]
fn gzip_is_given_when_asked_for_and_decodes_to_the_same_document() {
    let registry = registry();
    let url = format!("{}/left", registry.url());

    let zipped = Request::get(&url).header("accept-encoding", "gzip, deflate").send();

    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert_eq!(zipped.header("vary"), Some("accept-encoding, accept"));
    assert_eq!(zipped.decoded(), http::get(&url).body);
}

#[test]
fn a_range_gives_that_part_and_a_stale_condition_gives_everything() {
    let registry = registry();
    let url = format!("{}{TARBALL}", registry.url());
    let whole = http::get(&url);
    let etag = whole.header("etag").unwrap();
    let ranged = |range: &str, condition: &str| {
        Request::get(&url).header("range", range).header("if-range", condition).send()
    };

    let middle = ranged("bytes=10-19", etag);
    assert_eq!((middle.status, &middle.body[..]), (206, &whole.body[10..20]));
    assert_eq!(middle.header("content-range"), Some(format!("bytes 10-19/{}", whole.body.len()).as_str()));
    assert_eq!(ranged("bytes=100-", etag).body, whole.body[100..]);
    assert_eq!(ranged("bytes=-7", etag).body, whole.body[whole.body.len() - 7..]);
    assert_eq!(ranged("bytes=99999999-", etag).status, 416);
    assert_eq!(ranged("bytes=10-19", "\"another\"").status, 200);
    let head = http::head(&url);
    assert_eq!(head.header("content-length"), Some(whole.body.len().to_string().as_str()));
    assert_eq!((head.body.len(), head.header("accept-ranges")), (0, Some("bytes")));
}

#[test]
fn what_is_not_there_is_a_json_404_and_versions_and_tags_are_manifests() {
    let registry = registry();

    let missing = get(&registry, "/absent");

    assert_eq!((missing.status, missing.json()), (404, json!({"error": "Not found"})));
    for path in ["/left/1.0.0", "/left/latest"] {
        assert_eq!(get(&registry, path).json()["version"], "1.0.0");
    }
    assert_eq!(get(&registry, "/left/9.9.9").status, 404);
    assert_eq!(http::post(&format!("{}/left", registry.url()), &json!({})).status, 405);
    assert_eq!(get(&registry, "/-/package/@scope%2Fright/dist-tags").json(), json!({"latest": "1.0.0"}));
    assert_eq!(get(&registry, "/-/v1/search?text=righ").json()["total"], 1);
}

#[test]
fn a_plain_mirror_offers_nothing_beyond_documents_and_tarballs() {
    let registry = Registry::builder().package(left()).plain().start();

    let reply = Request::get(&format!("{}/left", registry.url()))
        .header("accept", ABBREVIATED)
        .header("accept-encoding", "gzip")
        .send();

    assert_eq!(reply.header("content-type"), Some("application/json"));
    for name in ["etag", "last-modified", "content-encoding", "cache-control"] {
        assert_eq!(reply.header(name), None, "{name}");
    }
    let missing = get(&registry, "/absent");
    assert_eq!((missing.status, missing.body.len()), (404, 0));
    let audit = http::post(&format!("{}/-/npm/v1/security/advisories/bulk", registry.url()), &json!({}));
    assert_eq!(audit.status, 405);
}

#[test]
fn credentials_open_a_private_scope_and_arrive_in_the_log() {
    let registry = Registry::builder()
        .package(Package::new("@acme/secret").version("1.0.0", |v| v))
        .private_scope("@acme", "open-sesame")
        .account("ada", "open-sesame")
        .start();
    let authorized = |path: &str| {
        Request::get(&format!("{}{path}", registry.url()))
            .header("authorization", "Bearer open-sesame")
            .send()
    };

    assert_eq!(get(&registry, "/@acme%2fsecret").status, 404);
    assert_eq!(get(&registry, "/-/whoami").status, 401);
    assert_eq!(authorized("/@acme%2fsecret").status, 200);
    assert_eq!(authorized("/-/whoami").json(), json!({"username": "ada"}));

    let log = registry.requests();
    assert_eq!(log.last().unwrap().header("authorization"), Some("Bearer open-sesame"));
    assert_eq!(registry.requests_to("/@acme/secret"), 2);
}

#[test]
fn what_is_published_while_it_runs_is_served_with_new_validators() {
    let registry = registry();
    let before = get(&registry, "/left");

    registry.publish(Package::new("left").version("1.0.1", |v| v));
    let after = get(&registry, "/left");
    registry.remove_version("left", "1.0.1");
    let removed = get(&registry, "/left");

    assert_eq!(after.json()["dist-tags"]["latest"], "1.0.1");
    assert_eq!(removed.json()["dist-tags"]["latest"], "1.0.0");
    assert_ne!(before.header("etag"), after.header("etag"));
    assert_ne!(before.header("last-modified"), after.header("last-modified"));
}

#[test]
fn a_registry_that_is_off_refuses_connections_and_comes_back_on_its_port() {
    let registry = registry();
    let mut idle = TcpStream::connect(registry.address()).unwrap();
    idle.set_read_timeout(Some(SOON)).unwrap();
    get(&registry, "/-/ping");

    registry.switch_off();
    assert_eq!(idle.read(&mut [0; 1]).unwrap_or(0), 0);
    let refused = Request::get(&format!("{}/left", registry.url())).try_send();
    assert!(matches!(refused, Err(Failure::Connect(_))), "{refused:?}");

    registry.switch_on();
    assert_eq!(get(&registry, "/left").status, 200);
}

#[test]
fn the_log_says_how_much_was_sent() {
    let registry = registry();
    registry.fault(Matcher::Tarballs, 1, Fault::StallAfter(5_000));
    let url = format!("{}{TARBALL}", registry.url());

    let waiting = std::thread::spawn(move || Request::get(&url).within(Duration::from_secs(2)).send());

    assert!(registry.wait_until(|log| log.iter().any(|recorded| recorded.sent == 5_000), SOON));
    assert_eq!(waiting.join().unwrap().body.len(), 5_000);
    assert_eq!(registry.tarball_requests(), 1);
}

#[test]
fn nobody_answers_at_a_dead_address() {
    let dead = DeadAddress::new();
    let url = format!("http://{}/", dead.address());

    let outcome = Request::get(&url).within(Duration::from_millis(500)).try_send();

    assert_eq!(outcome.unwrap_err(), Failure::TimedOut);
}

#[test]
fn every_dependency_of_a_project_is_in_its_registry() {
    for project in [projects::small(), projects::typical().with_install_script()] {
        let names: Vec<&str> = project.packages.iter().map(Package::name).collect();
        let registry = Registry::builder().packages(project.packages.clone()).start();
        for name in &names {
            let document = get(&registry, &format!("/{name}")).json();
            for manifest in document["versions"].as_object().unwrap().values() {
                let wanted =
                    ["dependencies", "optionalDependencies"].map(|section| manifest[section].as_object());
                let absent = wanted
                    .into_iter()
                    .flatten()
                    .flatten()
                    .find(|(wanted, _)| !names.contains(&wanted.as_str()));
                assert_eq!(absent, None, "a dependency of {name}");
            }
        }
    }
}

#[test]
fn a_registry_can_be_the_npm_registry_in_a_network_of_its_own() {
    let address = IpAddr::from(Ipv4Addr::new(127, 0, 0, 2));
    let (host, test) = (canonical_host(), "a_registry_can_be_the_npm_registry_in_a_network_of_its_own");
    in_own_network(test, &[(&host, address), ("peer.example", Ipv4Addr::new(10, 9, 8, 7).into())], || {
        let ca = Ca::new();
        let registry = Registry::builder()
            .package(left())
            .public_url(&canonical_url())
            .start_tls(SocketAddr::new(address, 443), ca.issue(&[&host]));

        let packument = Request::get(&format!("{}/left", canonical_url())).trust(&ca).send();
        let tarball = packument.json()["versions"]["1.0.0"]["dist"]["tarball"].as_str().unwrap().to_owned();
        assert!(tarball.starts_with(&canonical_url()));
        assert_eq!(Request::get(&tarball).trust(&ca).send().body, left().at("1.0.0").tarball);
        assert_eq!(registry.tarball_requests(), 1);

        let peer = Registry::builder().package(left()).start_at("10.9.8.7:8080".parse().unwrap());
        assert_eq!(http::get("http://peer.example:8080/left").status, 200);
        drop(peer);
        let unknown = Request::get("http://elsewhere.example/").within(SOON).try_send();
        assert!(matches!(unknown, Err(Failure::Connect(_))), "{unknown:?}");
    });
}

#[test]
fn the_replication_api_takes_numbers_and_none_of_couchdbs_other_ways() {
    let registry = registry();
    let replica = |rest: &str| http::get(&format!("{}{rest}", registry.replica_url()));
    let end = replica("").json()["update_seq"].as_u64().unwrap();
    assert_eq!((end, replica("/").json()["update_seq"].as_u64()), (registry.changes_end(), Some(end)));
    registry.publish(Package::new("left").version("2.0.0", |v| v));
    registry.unpublish("@scope/right");

    let page = replica(&format!("/_changes?since={end}&limit=1")).json();
    assert_eq!((&page["results"][0]["id"], &page["last_seq"]), (&json!("left"), &json!(end + 1)));
    assert_eq!(page["results"].as_array().unwrap().len(), 1);
    let rest = replica(&format!("/_changes?since={}", end + 1)).json();
    assert_eq!(
        (&rest["results"][0]["id"], &rest["results"][0]["deleted"]),
        (&json!("@scope/right"), &json!(true))
    );
    assert_eq!(replica(&format!("/_changes?since={}", end + 2)).json()["results"], json!([]));
    let all = replica("/_changes").json()["results"].clone();
    assert_eq!(all.as_array().unwrap().len(), 2, "of each package the last change only: {all}");
    for refused in [
        "feed=continuous",
        "timeout=1000",
        "include_docs=true",
        "since=now",
        "descending=true",
        "heartbeat=1",
        "limit=0",
        "limit=10001",
        "style=all_docs",
        "since=-1",
    ] {
        assert_eq!(replica(&format!("/_changes?{refused}")).status, 400, "{refused}");
    }
}
