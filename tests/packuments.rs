//! Promise: every client gets the metadata it asks for, in the form, the coding and with the tarball addresses
//! that suit it, and validators that never confuse two bodies.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use harness::http::{self, Reply, Request};
use harness::{ABBREVIATED, Fault, Gateway, Matcher, Package, Recorded, Registry, canonical_url};
use serde_json::{Value, json};

/// More than any answer takes that comes at all.
const SOON: Duration = Duration::from_secs(30);

const NPM_6: &str = "npm/6.14.18 node/v20.20.2 linux x64";
const NPM_11: &str = "npm/11.21.2 node/v24.21.0 linux x64 workspaces/false";
const DENO: &str = "Deno/2.9.6";
const BUN: &str = "Bun/1.4.5";
const PNPM: &str = "pnpm/12.21.0 npm/? node/? linux x64";
const BERRY: &str = "got (https://github.com/sindresorhus/got)";
const YARN_1: &str = "yarn/1.22.22 npm/? node/v20.20.2 linux x64";
const CLIENTS: [Option<&str>; 8] =
    [Some(NPM_6), Some(NPM_11), Some(DENO), Some(BUN), Some(PNPM), Some(BERRY), Some(YARN_1), None];

fn left() -> Package {
    Package::new("left")
        .version("1.0.0", |v| v.dependency("@scope/right", "^1.0.0").deprecated("use right"))
        .version("1.1.0", |v| v.libc(&["musl"]).os(&["linux"]).published("2021-02-03T04:05:06.789Z"))
        .version("2.0.0-rc.1", |v| v.attested().install_script())
        .tag("next", "2.0.0-rc.1")
}

fn right() -> Package {
    Package::new("@scope/right").version("1.0.0", |v| v.bin("right", "cli.js"))
}

fn registry() -> Registry {
    Registry::builder().packages([left(), right()]).start()
}

fn gateway(registry: &Registry) -> Gateway {
    Gateway::builder().upstream(registry.url()).start()
}

/// One that asks upstream each time.
fn doubting(registry: &Registry) -> Gateway {
    Gateway::builder()
        .upstream(registry.url())
        .config_toml("[upstream]\nfresh = \"0s\"\nstale = \"0s\"\n")
        .start()
}

fn request(url: &str, headers: &[(&'static str, &str)]) -> Request {
    headers.iter().fold(Request::get(url), |request, (name, value)| request.header(name, value))
}

fn get(url: &str, headers: &[(&'static str, &str)]) -> Reply {
    request(url, headers).send()
}

/// `dist.tarball` of a version, wherever it stands in the document.
fn tarball(document: &Value, version: &str) -> Value {
    document["versions"][version]["dist"]["tarball"].clone()
}

fn without_tarballs(mut document: Value) -> Value {
    for manifest in document["versions"].as_object_mut().expect("versions").values_mut() {
        manifest["dist"].as_object_mut().expect("a dist").remove("tarball");
    }
    document
}

#[test]
fn every_spelling_of_a_scoped_name_is_the_same_package() {
    let registry = registry();
    let gateway = gateway(&registry);
    let answers: Vec<Reply> =
        ["/@scope/right", "/@scope%2fright", "/@scope%2Fright", "/%40scope%2fright", "/@scope/right/"]
            .iter()
            .map(|path| http::get(&format!("{}{path}", gateway.url())))
            .collect();

    for answer in &answers {
        assert_eq!((answer.status, answer.header("etag")), (200, answers[0].header("etag")));
        assert_eq!(answer.body, answers[0].body);
        assert_eq!(answer.json()["name"], "@scope/right");
    }
    assert_eq!(registry.packument_requests(), 1);
    for path in ["/@scope/right/1.0.0", "/@scope%2fright/1.0.0", "/@scope%2Fright/latest"] {
        assert_eq!(http::get(&format!("{}{path}", gateway.url())).json()["version"], "1.0.0", "{path}");
    }
}

#[test]
fn the_full_form_is_upstreams_but_for_the_tarball_addresses() {
    let registry = registry();
    let gateway = gateway(&registry);
    for name in ["left", "@scope%2fright"] {
        let theirs = http::get(&format!("{}/{name}", registry.url())).json();
        for accept in [None, Some("application/json"), Some("*/*"), Some("application/json, */*")] {
            let headers: Vec<_> = accept.map(|accept| ("accept", accept)).into_iter().collect();
            let ours = get(&format!("{}/{name}", gateway.url()), &headers);
            assert_eq!(ours.header("content-type"), Some("application/json"), "{accept:?}");
            assert_eq!(without_tarballs(ours.json()), without_tarballs(theirs.clone()), "{accept:?}");
        }
    }
}

#[test]
fn the_abbreviated_form_has_what_an_install_needs_and_time_and_libc_as_well() {
    let registry = registry();
    let gateway = gateway(&registry);
    let theirs = http::get(&format!("{}/left", registry.url())).json();
    for accept in [ABBREVIATED, "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*"] {
        let reply = get(&format!("{}/left", gateway.url()), &[("accept", accept)]);
        let brief = reply.json();

        assert_eq!(reply.header("content-type"), Some(ABBREVIATED));
        assert_eq!((&brief["time"], &brief["dist-tags"]), (&theirs["time"], &theirs["dist-tags"]));
        assert_eq!(brief["modified"], theirs["time"]["modified"]);
        assert_eq!((&brief["readme"], &brief["maintainers"]), (&Value::Null, &Value::Null));
        let (ours, upstreams) = (without_tarballs(brief), without_tarballs(theirs.clone()));
        for version in ["1.0.0", "1.1.0", "2.0.0-rc.1"] {
            let (ours, theirs) = (&ours["versions"][version], &upstreams["versions"][version]);
            // Signatures and attestations among them.
            assert_eq!(ours["dist"], theirs["dist"], "{version}");
            for key in ["name", "version", "dependencies", "os", "libc", "deprecated", "_hasShrinkwrap"] {
                assert_eq!(ours[key], theirs[key], "{key} of {version}");
            }
            assert_eq!((&ours["scripts"], &ours["keywords"]), (&Value::Null, &Value::Null));
        }
        assert_eq!(ours["versions"]["2.0.0-rc.1"]["hasInstallScript"], true);
        assert_eq!(ours["versions"]["1.0.0"]["hasInstallScript"], Value::Null);
    }
    assert!(theirs["versions"]["2.0.0-rc.1"]["dist"]["attestations"].is_object());
    assert!(theirs["versions"]["1.0.0"]["dist"]["signatures"].is_array());
}

#[test]
fn each_client_is_sent_to_where_its_lockfile_stays_portable() {
    let registry = registry();
    let gateway = gateway(&registry);
    let path = "/left/-/left-1.0.0.tgz";
    let own = format!("{}{path}", gateway.url());
    let named = format!("http://registry.example:8080{path}");
    let canonical = format!("{}{path}", canonical_url());
    for client in CLIENTS {
        for accept in ["application/json", ABBREVIATED] {
            let at = |host: Option<&str>| {
                let mut headers = vec![("accept", accept)];
                headers.extend(client.map(|client| ("user-agent", client)));
                headers.extend(host.map(|host| ("host", host)));
                let document = get(&format!("{}/left", gateway.url()), &headers).json();
                let manifest = get(&format!("{}/left/1.0.0", gateway.url()), &headers).json();
                assert_eq!(manifest["dist"]["tarball"], tarball(&document, "1.0.0"), "{client:?}");
                tarball(&document, "1.0.0")
            };
            let expected = match client {
                Some(NPM_11 | DENO) => [json!(canonical), json!(canonical)],
                Some(BUN) => [Value::Null, Value::Null],
                _ => [json!(own), json!(named)],
            };
            assert_eq!([at(None), at(Some("registry.example:8080"))], expected, "{client:?} {accept}");
        }
    }
    assert_eq!(http::get(&own).body, left().at("1.0.0").tarball);
}

#[test]
fn scheme_and_host_come_from_a_trusted_proxy_and_from_nobody_else() {
    let registry = registry();
    let config = "[http]\ntrusted_proxies = [\"127.0.0.1/32\"]\n";
    let behind = Gateway::builder().upstream(registry.url()).config_toml(config).start();
    let alone = gateway(&registry);
    let headers = [("x-forwarded-proto", "https"), ("x-forwarded-host", "npm.example.com")];
    let seen = |gateway: &Gateway, headers: &[(&'static str, &str)]| {
        tarball(&get(&format!("{}/left", gateway.url()), headers).json(), "1.0.0")
    };
    let path = "/left/-/left-1.0.0.tgz";

    assert_eq!(seen(&behind, &headers), format!("https://npm.example.com{path}"));
    assert_eq!(seen(&behind, &headers[..1]), format!("https://{}{path}", behind.address()));
    assert_eq!(seen(&behind, &headers[1..]), format!("http://npm.example.com{path}"));
    assert_eq!(seen(&alone, &headers), format!("{}{path}", alone.url()));
    for host in ["npm.example.com/x", "a b", "user@npm.example.com", "\"><script>"] {
        let refused = get(&format!("{}/left", behind.url()), &[("x-forwarded-host", host)]);
        assert_eq!(refused.status, 400, "{host}");
    }
}

#[test]
fn http2_brings_the_same_bytes() {
    let registry = registry();
    let gateway = gateway(&registry);
    for path in ["/left", "/@scope%2fright", "/left/1.0.0", "/left/-/left-1.0.0.tgz", "/absent"] {
        let request = Request::get(&format!("{}{path}", gateway.url())).header("accept-encoding", "gzip");
        let (one, two) = (request.send(), request.http2().send());
        assert_eq!((one.status, &one.body), (two.status, &two.body), "{path}");
        for name in ["etag", "content-length", "content-encoding", "content-type", "vary"] {
            assert_eq!(one.header(name), two.header(name), "{name} of {path}");
        }
    }
}

/// Every combination of what a body depends on.
fn variants() -> Vec<Vec<(&'static str, &'static str)>> {
    let mut variants = Vec::new();
    for accept in [None, Some("application/json"), Some(ABBREVIATED)] {
        for coding in [None, Some("zstd,gzip,deflate"), Some("br, identity")] {
            for client in CLIENTS {
                for host in [None, Some("one.example"), Some("[::1]:6736")] {
                    let entry = |name, value: Option<&'static str>| value.map(|value| (name, value));
                    let all = [
                        entry("accept", accept),
                        entry("accept-encoding", coding),
                        entry("user-agent", client),
                        entry("host", host),
                    ];
                    variants.push(all.into_iter().flatten().collect());
                }
            }
        }
    }
    variants
}

/// Asks for each path in every variant, and compares all that comes.
fn sweep(gateway: &Gateway, paths: &[&str]) {
    let mut bodies: BTreeMap<String, bytes::Bytes> = BTreeMap::new();
    let variants = variants();
    for path in paths {
        let url = format!("{}{path}", gateway.url());
        let mut previous: Option<String> = None;
        for headers in &variants {
            let (reply, again) = (get(&url, headers), get(&url, headers));
            let etag = reply.header("etag").expect("an ETag").to_owned();
            let what = format!("{path} {headers:?}");

            assert!(etag.starts_with('"'), "a weak ETag for {what}");
            assert_eq!((again.header("etag"), &again.body), (Some(&*etag), &reply.body), "{what}");
            let known = bodies.entry(etag.clone()).or_insert_with(|| reply.body.clone());
            assert_eq!(*known, reply.body, "one ETag for two bodies: {what}");
            assert_same_length_and_variance(&reply, &what);
            let conditional = |tag: &str| request(&url, headers).header("if-none-match", tag).send();
            let unchanged = conditional(&etag);
            assert_eq!((unchanged.status, unchanged.body.len()), (304, 0), "{what}");
            assert_eq!(unchanged.header("etag"), Some(&*etag), "{what}");
            assert_eq!(unchanged.header("vary"), reply.header("vary"), "{what}");
            if let Some(other) = previous.filter(|other| *other != etag) {
                assert_eq!(conditional(&other).status, 200, "{what}");
            }
            previous = Some(etag);
        }
    }
}

fn assert_same_length_and_variance(reply: &Reply, what: &str) {
    assert_eq!(reply.header("content-length"), Some(&*reply.body.len().to_string()), "{what}");
    let vary = reply.header("vary").unwrap_or_default().to_ascii_lowercase();
    for name in ["accept", "accept-encoding", "user-agent"] {
        assert!(vary.split(',').any(|varies| varies.trim() == name), "Vary has no {name}: {what}");
    }
}

#[test]
fn no_two_bodies_share_an_etag_and_no_body_has_two() {
    let registry = registry();
    let gateway = gateway(&registry);
    sweep(&gateway, &["/left", "/@scope%2fright", "/left/1.0.0"]);
    assert_eq!(registry.packument_requests(), 2, "what is fresh is served without asking");
}

#[test]
fn every_coding_decodes_to_the_bytes_of_identity() {
    let registry = registry();
    let gateway = gateway(&registry);
    for client in [Some(NPM_11), Some(BUN), None] {
        for accept in ["application/json", ABBREVIATED] {
            for path in ["/left", "/left/1.1.0"] {
                let url = format!("{}{path}", gateway.url());
                let mut headers = vec![("accept", accept)];
                headers.extend(client.map(|client| ("user-agent", client)));
                let plain = get(&url, &headers);
                let refused = request(&url, &headers).header("accept-encoding", "gzip;q=0").send();

                assert_eq!(plain.header("content-encoding"), None);
                for (accepted, coding) in
                    [("gzip, deflate", "gzip"), ("gzip, deflate, br", "br"), ("zstd,gzip,deflate", "zstd")]
                {
                    let coded = request(&url, &headers).header("accept-encoding", accepted).send();
                    assert_eq!(coded.header("content-encoding"), Some(coding));
                    assert_eq!(coded.decoded(), plain.body);
                }
                assert_eq!((refused.header("content-encoding"), &refused.body), (None, &plain.body));
            }
        }
    }
}

#[test]
fn dates_answer_where_there_is_no_tag_and_tags_win_over_dates() {
    let registry = registry();
    let gateway = gateway(&registry);
    let url = format!("{}/left", gateway.url());
    let first = http::get(&url);
    let modified = first.header("last-modified").unwrap();

    assert_eq!(modified, "Wed, 03 Feb 2021 04:05:06 GMT");
    assert_eq!(get(&url, &[("if-modified-since", modified)]).status, 304);
    assert_eq!(get(&url, &[("if-modified-since", "Sat, 01 Jan 2022 00:00:00 GMT")]).status, 304);
    assert_eq!(get(&url, &[("if-modified-since", "Wed, 03 Feb 2021 04:05:05 GMT")]).status, 200);
    assert_eq!(get(&url, &[("if-modified-since", "yesterday")]).status, 200);
    assert_eq!(get(&url, &[("if-modified-since", modified), ("if-none-match", "\"another\"")]).status, 200);
    let lists = format!("\"another\", W/{}", first.header("etag").unwrap());
    assert_eq!(get(&url, &[("if-none-match", &lists)]).status, 304);
    assert_eq!(
        get(&url, &[("if-none-match", "\"another\""), ("if-none-match", first.header("etag").unwrap())])
            .status,
        304
    );
}

#[test]
fn a_head_is_its_get_without_the_body() {
    let registry = registry();
    let gateway = gateway(&registry);
    for path in ["/left", "/left/1.0.0", "/left/-/left-1.0.0.tgz", "/absent", "/left/9.9.9"] {
        let url = format!("{}{path}", gateway.url());
        // Cold: the body may not be made for it, but what it says of the body must be true.
        let cold = http::head(&url);
        let get = http::get(&url);
        let warm = http::head(&url);
        for head in [&cold, &warm] {
            assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
            for name in ["etag", "last-modified", "content-type", "vary", "accept-ranges"] {
                assert_eq!(head.header(name), get.header(name), "{name} of {path}");
            }
            assert!([None, get.header("content-length")].contains(&head.header("content-length")), "{path}");
        }
        assert_eq!(warm.header("content-length"), get.header("content-length"), "{path}");
        assert_eq!(warm.header("cache-control").is_some(), get.header("cache-control").is_some(), "{path}");
    }
}

#[test]
fn single_manifests_are_found_by_version_and_by_tag() {
    let registry = registry();
    let gateway = gateway(&registry);
    let url = |path: &str| format!("{}{path}", gateway.url());
    let document = http::get(&url("/left")).json();

    for (asked, version) in [("1.0.0", "1.0.0"), ("latest", "1.1.0"), ("next", "2.0.0-rc.1")] {
        let manifest = http::get(&url(&format!("/left/{asked}")));
        assert_eq!(manifest.header("content-type"), Some("application/json"));
        assert_eq!(manifest.json(), document["versions"][version], "{asked}");
    }
    for absent in ["/left/9.9.9", "/left/beta", "/left/%5E1", "/absent/1.0.0"] {
        let reply = http::get(&url(absent));
        assert_eq!((reply.status, reply.header("cache-control")), (404, Some("no-store")), "{absent}");
        assert!(reply.json()["error"].as_str().unwrap().contains("not found"), "{absent}");
    }
}

#[test]
fn what_upstream_removes_is_gone_and_what_it_publishes_is_seen() {
    let registry = registry();
    let gateway = doubting(&registry);
    let url = |path: &str| format!("{}{path}", gateway.url());
    let before = http::get(&url("/left"));
    registry.reset_log();

    let unchanged = http::get(&url("/left"));
    let asked: Vec<_> = registry.requests().into_iter().filter(Recorded::is_packument).collect();
    assert_eq!((unchanged.header("etag"), &unchanged.body), (before.header("etag"), &before.body));
    assert_eq!((asked.len(), asked[0].status, asked[0].sent), (1, 304, 0));
    assert!(asked[0].header("if-none-match").is_some(), "the question was not conditional");

    registry.publish(Package::new("left").version("3.0.0", |v| v.published("2022-01-01T00:00:00.000Z")));
    let after = http::get(&url("/left"));
    assert_eq!(after.json()["dist-tags"]["latest"], "3.0.0");
    assert_ne!(after.header("etag"), before.header("etag"));
    assert_eq!(get(&url("/left"), &[("if-none-match", before.header("etag").unwrap())]).status, 200);
    assert_eq!(http::get(&url("/left/3.0.0")).status, 200);

    registry.remove_version("left", "3.0.0");
    assert_eq!(http::get(&url("/left/3.0.0")).status, 404);
    registry.unpublish("left");
    assert_eq!(http::get(&url("/left")).status, 404);
    assert_eq!(http::get(&url("/left/1.0.0")).status, 404);
    registry.publish(left());
    // An absence is believed for a few seconds.
    let (start, mut back) = (Instant::now(), http::get(&url("/left")));
    while back.status == 404 {
        assert!(start.elapsed() < SOON, "it did not come back in {SOON:?}");
        back = http::get(&url("/left"));
    }
    assert_eq!(back.body, before.body, "it came back as it was");
}

#[test]
fn a_packument_is_fresh_for_as_long_as_it_says() {
    let registry = registry();
    let config = "[upstream]\nfresh = \"2s\"\nstale = \"0s\"\n";
    let gateway = Gateway::builder().upstream(registry.url()).config_toml(config).start();
    let url = format!("{}/left", gateway.url());
    let first = http::get(&url);
    assert!(["public, max-age=1", "public, max-age=2"].contains(&first.header("cache-control").unwrap()));
    registry.publish(Package::new("left").version("3.0.0", |v| v));

    let start = Instant::now();
    while http::get(&url).json()["dist-tags"]["latest"] != "3.0.0" {
        assert!(start.elapsed() < SOON, "a new version was not seen in {SOON:?}");
    }

    let times: Vec<Instant> =
        registry.requests().iter().filter(|r| r.is_for("/left")).map(|r| r.at).collect();
    assert_eq!(times.len(), 2, "asked more often than it had to be");
    assert!(times[1] - times[0] >= Duration::from_millis(1_900));
}

#[test]
fn fifty_clients_at_once_cost_one_request() {
    let registry = registry();
    registry.fault(Matcher::Packuments, 1, Fault::Delay(Duration::from_millis(300)));
    let gateway = gateway(&registry);
    let url = format!("{}/left", gateway.url());

    let etags: Vec<Option<String>> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..50).map(|_| scope.spawn(|| http::get(&url))).collect();
        asking.into_iter().map(|one| one.join().unwrap().header("etag").map(str::to_owned)).collect()
    });

    assert!(etags.iter().all(|etag| etag.is_some() && *etag == etags[0]));
    assert_eq!(registry.requests_to("/left"), 1);
}

#[test]
fn a_bare_mirror_as_upstream_is_enough() {
    for dated in [true, false] {
        let left = if dated { left() } else { left().without_time() };
        let registry = Registry::builder().packages([left, right()]).plain().start();
        let gateway = doubting(&registry);
        let url = |path: &str| format!("{}{path}", gateway.url());
        let theirs = http::get(&format!("{}/left", registry.url())).json();

        let full = http::get(&url("/left"));
        assert_eq!(without_tarballs(full.json()), without_tarballs(theirs.clone()));
        let brief = get(&url("/left"), &[("accept", ABBREVIATED), ("accept-encoding", "gzip")]);
        assert_eq!(brief.header("content-type"), Some(ABBREVIATED));
        assert_eq!((&brief.json()["time"], &brief.json()["readme"]), (&theirs["time"], &Value::Null));
        assert_eq!(brief.json()["versions"]["1.1.0"]["libc"], json!(["musl"]));
        assert_eq!(brief.json()["versions"]["2.0.0-rc.1"]["hasInstallScript"], true);
        let again = get(&url("/left"), &[("if-none-match", full.header("etag").unwrap())]);
        assert_eq!(again.status, 304, "the same bytes from upstream are the same to the client");
        assert_eq!(again.header("last-modified"), full.header("last-modified"));
        assert_eq!(http::get(&url("/absent")).status, 404);
        assert_eq!(http::get(&url("/left/next")).json()["version"], "2.0.0-rc.1");
    }
    let registry = Registry::builder().packages([left(), right()]).plain().start();
    sweep(&gateway(&registry), &["/@scope%2fright"]);
}
