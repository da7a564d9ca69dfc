//! What the harness promises to the tests that stand on it.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::read::GzDecoder;
use harness::http::{self, Failure, Reply, Request};
use harness::network::DeadAddress;
use harness::{
    ABBREVIATED, Ca, Fault, Matcher, Package, Registry, Times, canonical_host, canonical_url, in_own_network,
    projects,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

const SOON: Duration = Duration::from_secs(5);
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

/// What a request meets while this fault befalls it, on HTTP/1.1.
fn meet(path: &str, fault: Fault) -> Result<Reply, Failure> {
    let registry = registry();
    registry.fault(Matcher::path(path), 1, fault);
    Request::get(&format!("{}{path}", registry.url())).within(Duration::from_secs(2)).try_send()
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
fn a_fault_happens_as_often_as_it_was_asked_for() {
    let registry = registry();
    registry.fault(Matcher::Packuments, 2, Fault::RetryAfter(429, 7));

    let first = get(&registry, "/left");
    let statuses = [0; 2].map(|_| get(&registry, "/left").status);

    assert_eq!((first.status, first.header("retry-after")), (429, Some("7")));
    assert_eq!(statuses, [429, 200]);
    registry.fault(Matcher::package("@scope/right"), Times::Always, Fault::Status(503));
    assert_eq!([0; 3].map(|_| get(&registry, "/@scope%2fright").status), [503; 3]);
    assert_eq!(get(&registry, "/left").status, 200);
    registry.clear_faults();
    assert_eq!(get(&registry, "/@scope%2fright").status, 200);
}

#[test]
fn a_cut_body_is_cut_to_the_byte() {
    let whole = left().at("1.0.0").tarball.clone();
    for fault in [Fault::CutAfter(70_001), Fault::ChunkedAbort(70_001)] {
        let reply = meet(TARBALL, fault.clone()).unwrap();
        assert!(reply.cut.is_some(), "{fault:?}");
        assert_eq!((reply.status, &reply.body[..]), (200, &whole[..70_001]), "{fault:?}");
    }
    assert_eq!(
        meet(TARBALL, Fault::CutAfter(0)).unwrap().header("content-length"),
        Some(&*whole.len().to_string())
    );
}

#[test]
fn a_wrong_body_comes_complete() {
    let whole = left().at("1.0.0").tarball.clone();
    let body = |fault| {
        let reply = meet(TARBALL, fault).unwrap();
        assert_eq!((reply.status, reply.cut), (200, None));
        reply.body
    };

    assert_eq!(body(Fault::Short(50)), whole[..50]);
    let corrupt = body(Fault::Corrupt);
    assert_eq!(corrupt.iter().zip(&whole).filter(|(a, b)| a != b).count(), 1);
    let mut unpacked = Vec::new();
    assert!(GzDecoder::new(&body(Fault::OtherTarball)[..]).read_to_end(&mut unpacked).is_ok());
    let oversized = body(Fault::Oversized(300_000));
    assert_eq!((oversized.len(), &oversized[..whole.len()]), (300_000, &whole[..]));
    assert_eq!(body(Fault::CloseDelimited), whole);
    assert_eq!(meet(TARBALL, Fault::CloseDelimited).unwrap().header("content-length"), None);
}

#[test]
fn packuments_can_be_truncated_swapped_and_garbled() {
    let truncated = meet("/left", Fault::TruncatedPackument).unwrap();
    assert_eq!(truncated.cut, None);
    assert!(serde_json::from_slice::<Value>(&truncated.body).is_err());

    let other = meet("/left", Fault::OtherPackument("@scope/right".to_owned())).unwrap();
    assert_eq!(other.json()["name"], "@scope/right");

    let garbled = meet("/left", Fault::GarbageGzip).unwrap();
    assert_eq!(garbled.header("content-encoding"), Some("gzip"));
    assert!(GzDecoder::new(&garbled.body[..]).read(&mut [0; 1]).is_err());

    let redirect = meet("/left", Fault::Redirect("http://peer.example/left".to_owned())).unwrap();
    assert_eq!((redirect.status, redirect.header("location")), (302, Some("http://peer.example/left")));
}

#[test]
fn silence_comes_before_the_headers_or_in_the_middle_of_the_body() {
    assert!(matches!(meet("/left", Fault::Reset), Err(Failure::Closed(_))));
    assert_eq!(meet("/left", Fault::NeverAnswer).unwrap_err(), Failure::TimedOut);

    let stalled = meet(TARBALL, Fault::StallAfter(70_000)).unwrap();
    assert_eq!((stalled.body.len(), stalled.cut.as_deref()), (70_000, Some("no end in time")));

    let late = meet("/left", Fault::Delay(Duration::from_millis(300))).unwrap();
    assert!(late.first_byte >= Duration::from_millis(300));

    let start = Instant::now();
    let dripped = meet(TARBALL, Fault::Drip(20_000, Duration::from_millis(50))).unwrap();
    assert_eq!(dripped.body, left().at("1.0.0").tarball);
    assert!(start.elapsed() >= Duration::from_millis(250));
}

#[test]
fn resuming_can_be_ignored_misplaced_or_meet_another_entity() {
    let registry = registry();
    let url = format!("{}{TARBALL}", registry.url());
    let etag = http::get(&url).header("etag").unwrap().to_owned();
    let resume = |fault| {
        registry.fault(Matcher::Tarballs, 1, fault);
        Request::get(&url).header("range", "bytes=10-19").header("if-range", &etag).send()
    };

    assert_eq!(resume(Fault::IgnoreRange).status, 200);
    let misplaced = resume(Fault::WrongContentRange);
    assert!(misplaced.header("content-range").unwrap().starts_with("bytes 11-20/"));
    let changed = resume(Fault::ChangedEtag);
    assert_eq!((changed.status, changed.header("etag")), (206, Some("\"changed-meanwhile\"")));
}

#[test]
fn faults_befall_http2_as_well() {
    let ca = Ca::new();
    let registry = Registry::builder()
        .package(left())
        .start_tls(SocketAddr::from(([127, 0, 0, 1], 0)), ca.issue(&["127.0.0.1"]));
    let request = Request::get(&format!("{}{TARBALL}", registry.url())).trust(&ca).http2().within(SOON);

    assert_eq!(request.send().body, left().at("1.0.0").tarball);
    registry.fault(Matcher::Tarballs, 1, Fault::CutAfter(70_000));
    assert!(request.send().cut.is_some());
    registry.fault(Matcher::Tarballs, 1, Fault::Reset);
    assert!(matches!(request.try_send(), Err(Failure::Closed(_))));
    assert!(registry.requests().iter().all(|recorded| recorded.version == ::http::Version::HTTP_2));
}

#[test]
fn the_log_says_how_much_was_sent() {
    let registry = registry();
    registry.fault(Matcher::Tarballs, 1, Fault::StallAfter(5_000));
    let url = format!("{}{TARBALL}", registry.url());

    let waiting = std::thread::spawn(move || Request::get(&url).within(Duration::from_millis(500)).send());

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
