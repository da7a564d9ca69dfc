//! Promise: a tarball is what its digest says, for ever, whole or in parts, by name and by digest, with upstream
//! or without.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use harness::http::{self, Reply, Request};
use harness::{Ca, Fault, Gateway, Matcher, Package, Registry, Times, VersionBuilder};

const SOON: Duration = Duration::from_secs(20);
const TARBALL: &str = "/left/-/left-1.0.0.tgz";
const FOR_EVER: &str = "public, max-age=31536000, immutable";

fn left() -> Package {
    Package::new("left").version("1.0.0", |v| v.size(300_000)).version("1.1.0", |v| v)
}

fn right() -> Package {
    Package::new("@scope/right").version("1.0.0", |v| v)
}

fn registry() -> Registry {
    Registry::builder().packages([left(), right()]).start()
}

fn gateway(registry: &Registry) -> Gateway {
    Gateway::builder().upstream(registry.url()).start()
}

fn asking(gateway: &Gateway, path: &str) -> Request {
    Request::get(&format!("{}{path}", gateway.url())).within(SOON)
}

fn get(gateway: &Gateway, path: &str) -> Reply {
    asking(gateway, path).send()
}

fn with_digest(gateway: &Gateway, path: &str, integrity: &str) -> Reply {
    asking(gateway, path).header("pacote-integrity", integrity).send()
}

/// pnpm's address of what has this digest.
fn digest_path(integrity: &str) -> String {
    let digest = STANDARD.decode(integrity.strip_prefix("sha512-").expect("a SHA-512")).expect("base64");
    format!("/-/tarballs/sha512/{}", URL_SAFE_NO_PAD.encode(digest))
}

#[test]
fn a_tarball_comes_whole_with_its_digest_as_its_tag_and_stays_for_ever() {
    let registry = registry();
    let gateway = gateway(&registry);
    let release = left().at("1.0.0").clone();
    for source in ["fwd=miss", "hit"] {
        let reply = get(&gateway, TARBALL);
        assert_eq!((reply.status, &reply.body, &reply.cut), (200, &release.tarball, &None));
        assert_eq!(reply.header("etag"), Some(&*format!("\"{}\"", release.integrity)));
        assert_eq!(reply.header("cache-control"), Some(FOR_EVER));
        assert_eq!(reply.header("content-type"), Some("application/octet-stream"));
        assert_eq!(reply.header("content-length"), Some(&*release.tarball.len().to_string()));
        assert_eq!(reply.header("accept-ranges"), Some("bytes"));
        assert_eq!(reply.header("content-encoding"), None);
        assert!(reply.header("cache-status").unwrap().contains(source), "{source}");
    }
    for path in ["/left/-/left-1.0.0.tgz/", "/left/-/left-1%2e0.0.tgz"] {
        assert_eq!(get(&gateway, path).body, release.tarball, "{path}");
    }
    for path in [
        "/@scope/right/-/right-1.0.0.tgz",
        "/@scope%2fright/-/right-1.0.0.tgz",
        "/@scope/right/-/@scope/right-1.0.0.tgz",
    ] {
        assert_eq!(get(&gateway, path).body, right().at("1.0.0").tarball, "{path}");
    }
    assert_eq!(registry.tarball_requests(), 2);
}

#[test]
fn a_head_says_what_a_get_would_bring() {
    let registry = registry();
    let gateway = gateway(&registry);
    let url = format!("{}{TARBALL}", gateway.url());
    let cold = http::head(&url);
    let get = http::get(&url);
    let warm = http::head(&url);
    let ranged = Request::new("HEAD", &url).header("range", "bytes=0-9").send();
    for head in [cold, warm, ranged] {
        assert_eq!((head.status, head.body.len()), (200, 0), "a range means nothing to a HEAD");
        for name in ["etag", "cache-control", "content-type", "content-length", "accept-ranges"] {
            assert_eq!(head.header(name), get.header(name), "{name}");
        }
    }
}

#[test]
fn parts_fit_together_and_a_stale_condition_brings_everything() {
    let registry = registry();
    let gateway = gateway(&registry);
    let whole = left().at("1.0.0").tarball.clone();
    let length = whole.len();
    let etag = format!("\"{}\"", left().at("1.0.0").integrity);
    let ranged = |range: &str| asking(&gateway, TARBALL).header("range", range).send();

    // The first of them finds nothing held.
    for (range, part) in [
        ("bytes=1000-".to_owned(), 1000..length),
        ("bytes=0-0".to_owned(), 0..1),
        ("bytes=10-19".to_owned(), 10..20),
        ("bytes=-7".to_owned(), length - 7..length),
        (format!("bytes={}-{}", length - 3, length + 99), length - 3..length),
    ] {
        let reply = ranged(&range);
        let expected = format!("bytes {}-{}/{length}", part.start, part.end - 1);
        assert_eq!((reply.status, reply.header("content-range")), (206, Some(&*expected)), "{range}");
        assert_eq!(reply.header("content-length"), Some(&*part.len().to_string()));
        assert_eq!(reply.header("etag"), Some(&*etag));
        assert_eq!(reply.body, whole[part]);
    }
    for range in [format!("bytes={length}-"), "bytes=-0".to_owned(), "bytes=99999999999999999999-".to_owned()]
    {
        let reply = ranged(&range);
        assert_eq!((reply.status, reply.body.len()), (416, 0), "{range}");
        assert_eq!(reply.header("content-range"), Some(&*format!("bytes */{length}")));
    }
    for range in ["bytes=0-1,5-6", "bytes=9-3", "lines=0-1", "bytes=x", "bytes=", "bytes=-"] {
        assert_eq!((ranged(range).status, ranged(range).body.len()), (200, length), "{range}");
    }
    let conditional = |condition: &str| {
        asking(&gateway, TARBALL).header("range", "bytes=10-19").header("if-range", condition).send().status
    };
    assert_eq!(conditional(&etag), 206);
    assert_eq!(conditional("\"another\""), 200);
    assert_eq!(conditional(&format!("W/{etag}")), 200);
    assert_eq!(conditional("Wed, 01 Jan 2020 00:00:00 GMT"), 200);
}

#[test]
fn who_has_it_is_told_so() {
    let registry = registry();
    let gateway = gateway(&registry);
    let etag = format!("\"{}\"", left().at("1.0.0").integrity);
    get(&gateway, TARBALL);
    let conditional = |tags: &str| asking(&gateway, TARBALL).header("if-none-match", tags).send();

    for tags in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
        let reply = conditional(&tags);
        assert_eq!((reply.status, reply.body.len(), reply.header("etag")), (304, 0, Some(&*etag)), "{tags}");
        assert_eq!(reply.header("cache-control"), Some(FOR_EVER));
    }
    assert_eq!(conditional("\"another\"").body, left().at("1.0.0").tarball);
}

#[test]
fn what_is_held_is_found_by_its_digest_without_upstream() {
    let registry = registry();
    let gateway = gateway(&registry);
    let release = left().at("1.0.0").clone();
    let path = digest_path(&release.integrity);
    assert_eq!(get(&gateway, &path).status, 404, "upstream has no such route and says so");
    get(&gateway, TARBALL);
    registry.switch_off();

    let reply = get(&gateway, &path);
    assert_eq!((reply.status, &reply.body), (200, &release.tarball));
    assert_eq!(reply.header("etag"), Some(&*format!("\"{}\"", release.integrity)));
    assert_eq!(reply.header("cache-control"), Some(FOR_EVER));
    assert_eq!(http::head(&format!("{}{path}", gateway.url())).status, 200);
    assert_eq!(asking(&gateway, &path).header("range", "bytes=0-9").send().body, release.tarball[..10]);
    let absent = get(&gateway, &digest_path(&left().at("1.1.0").integrity));
    assert_eq!((absent.status, absent.header("retry-after").is_some()), (503, true));
    assert!(
        absent.json()["error"].as_str().unwrap().contains("upstream cannot be reached")
            || absent.text().contains("upstream fails")
    );
    for odd in ["/-/tarballs/sha512/short", "/-/tarballs/sha512/", "/-/tarballs/sha512/%2e%2e"] {
        assert!([400, 404, 503].contains(&get(&gateway, odd).status), "{odd}");
    }
}

#[test]
fn a_lockfiles_digest_finds_a_held_tarball_without_a_packument_and_without_upstream() {
    let registry = registry();
    let mut gateway = gateway(&registry);
    let release = left().at("1.0.0").clone();
    // Fetched with a digest for the first time: nothing but the tarball is asked of upstream.
    let first = with_digest(&gateway, TARBALL, &release.integrity);
    assert_eq!((first.status, &first.body), (200, &release.tarball));
    assert_eq!((registry.packument_requests(), registry.tarball_requests()), (0, 1));
    registry.switch_off();
    gateway.restart();

    let reply = with_digest(&gateway, TARBALL, &release.integrity);

    assert_eq!((reply.status, &reply.body), (200, &release.tarball));
    let unconfirmed = reply.header("cache-control").unwrap();
    assert!(unconfirmed.contains("private") && !unconfirmed.contains("public"), "{unconfirmed}");
    // Nobody but that client has said what the name stands for.
    assert_eq!(get(&gateway, TARBALL).status, 503);
    registry.switch_on();
    let confirmed = get(&gateway, TARBALL);
    assert_eq!((confirmed.status, confirmed.header("cache-control")), (200, Some(FOR_EVER)));
    assert_eq!(registry.tarball_requests(), 1, "it was held already");
}

#[test]
fn a_digest_never_brings_other_bytes_for_a_name_whose_digest_is_known() {
    let other = right().at("1.0.0").clone();
    let release = left().at("1.0.0").clone();
    // Known by the tarball that was fetched, or by the packument alone.
    for fetched in [true, false] {
        let registry = registry();
        let gateway = gateway(&registry);
        get(&gateway, "/@scope/right/-/right-1.0.0.tgz");
        get(&gateway, "/left");
        if fetched {
            get(&gateway, TARBALL);
        }

        for _ in 0..2 {
            let reply = with_digest(&gateway, TARBALL, &other.integrity);
            assert_eq!((reply.status, &reply.body), (200, &release.tarball), "fetched before: {fetched}");
            assert_eq!(reply.header("cache-control"), Some(FOR_EVER));
        }
        assert_eq!(get(&gateway, TARBALL).body, release.tarball);
    }
}

#[test]
fn an_unknown_names_other_digest_is_for_nobody_else() {
    let registry = registry();
    let gateway = gateway(&registry);
    let other = right().at("1.0.0").clone();
    get(&gateway, "/@scope/right/-/right-1.0.0.tgz");

    let reply = with_digest(&gateway, TARBALL, &other.integrity);

    // He gets what he named by its digest, or what the name stands for: nothing a shared cache may keep.
    if reply.body == other.tarball {
        assert!(reply.header("cache-control").unwrap().contains("private"));
    } else {
        assert_eq!(reply.body, left().at("1.0.0").tarball);
    }
    let plain = get(&gateway, TARBALL);
    assert_eq!((&plain.body, plain.header("cache-control")), (&left().at("1.0.0").tarball, Some(FOR_EVER)));
}

#[test]
fn a_wrong_digest_does_not_stop_the_right_tarball() {
    let registry = registry();
    let gateway = gateway(&registry);
    let release = left().at("1.0.0").clone();
    let nothing = format!("sha512-{}", STANDARD.encode([7; 64]));
    for wrong in [&*nothing, "sha512-short", "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "", "nonsense"] {
        let reply = with_digest(&gateway, TARBALL, wrong);
        assert_eq!((reply.status, &reply.body), (200, &release.tarball), "{wrong:?}");
        assert_eq!(reply.header("cache-control"), Some(FOR_EVER), "{wrong:?}");
    }
}

#[test]
fn a_name_that_upstream_gave_new_bytes_is_served_with_them() {
    // The public registry never does this; private ones that allow it do.
    let registry = registry();
    let gateway = Gateway::builder()
        .upstream(registry.url())
        .config_toml("[upstream]\nfresh = \"0s\"\nstale = \"0s\"\n")
        .start();
    get(&gateway, "/left");
    get(&gateway, TARBALL);
    registry.publish(Package::new("left").version("1.0.0", |v| v.file("new.js", "new")));
    let dist = get(&gateway, "/left").json()["versions"]["1.0.0"]["dist"].clone();
    let integrity = dist["integrity"].as_str().unwrap();
    assert_ne!(integrity, left().at("1.0.0").integrity);

    let reply = with_digest(&gateway, TARBALL, integrity);

    assert_eq!(reply.header("etag"), Some(&*format!("\"{integrity}\"")));
}

#[test]
fn wrong_bytes_are_never_served_and_never_kept() {
    let registry = registry();
    let gateway = gateway(&registry);
    registry.fault(Matcher::Tarballs, 1, Fault::Corrupt);
    registry.fault(Matcher::Tarballs, 1, Fault::OtherTarball);
    assert_eq!(get(&gateway, TARBALL).body, left().at("1.0.0").tarball, "the third time it was right");

    registry.fault(Matcher::Tarballs, Times::Always, Fault::OtherTarball);
    let reply = get(&gateway, "/left/-/left-1.1.0.tgz");
    assert_eq!((reply.status, reply.header("retry-after").is_some()), (503, true));
    assert!(reply.json()["error"].as_str().unwrap().contains("other bytes"), "{}", reply.text());
    registry.clear_faults();
    assert_eq!(get(&gateway, "/left/-/left-1.1.0.tgz").body, left().at("1.1.0").tarball);
}

#[test]
fn what_has_a_sha1_only_is_checked_by_it_and_named_by_its_sha512() {
    let old = Package::new("old").version("0.1.0", VersionBuilder::shasum_only);
    let registry = Registry::builder().package(old.clone()).start();
    let gateway = gateway(&registry);
    let release = old.at("0.1.0").clone();
    registry.fault(Matcher::Tarballs, 1, Fault::Corrupt);

    let reply = get(&gateway, "/old/-/old-0.1.0.tgz");

    assert_eq!((reply.status, &reply.body), (200, &release.tarball));
    assert_eq!(reply.header("etag"), Some(&*format!("\"{}\"", release.integrity)));
    assert_eq!(get(&gateway, &digest_path(&release.integrity)).body, release.tarball);
}

#[test]
fn tarballs_are_fetched_from_upstream_and_allowed_hosts_only() {
    let elsewhere = Registry::builder().packages([left(), right()]).start();
    let moved = |v: VersionBuilder| v.tarball_on(elsewhere.url());
    let package = Package::new("moved").version("1.0.0", moved);
    elsewhere.publish(package.clone());
    let registry = Registry::builder().package(package.clone()).start();
    let path = "/moved/-/moved-1.0.0.tgz";

    let careful = gateway(&registry);
    assert_eq!(get(&careful, path).body, package.at("1.0.0").tarball, "from the usual place at upstream");
    assert_eq!((registry.tarball_requests(), elsewhere.requests().len()), (1, 0));
    let config = format!("[upstream]\ntarball_hosts = [\"{}\"]\n", elsewhere.address());
    let allowing = Gateway::builder().upstream(registry.url()).config_toml(&config).start();
    assert_eq!(get(&allowing, path).body, package.at("1.0.0").tarball);
    assert_eq!((registry.tarball_requests(), elsewhere.tarball_requests()), (1, 1));
}

#[test]
fn a_large_tarball_streams_from_a_safe_upstream_and_is_verified_whole_from_another() {
    let ca = Ca::new();
    let large = Package::new("large").version("1.0.0", |v| v.size(3 << 20));
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let safe = Registry::builder().package(large.clone()).start_tls(loopback, ca.issue(&["127.0.0.1"]));
    let plain = Registry::builder().package(large.clone()).start();
    let path = "/large/-/large-1.0.0.tgz";
    let config = "[http]\nverify_first_max = \"1MiB\"\n";
    for (registry, streams) in [(&safe, true), (&plain, false)] {
        let gateway = Gateway::builder().upstream(registry.url()).trust(&ca).config_toml(config).start();
        registry.fault(Matcher::Tarballs, 1, Fault::Drip(256 * 1024, Duration::from_millis(50)));

        let reply = get(&gateway, path);

        assert_eq!((reply.status, &reply.cut, reply.body == large.at("1.0.0").tarball), (200, &None, true));
        let kept = reply.header("cache-control").unwrap() == FOR_EVER;
        assert_eq!(kept, !streams, "what is not verified yet is not for caches");
        let etag = format!("\"{}\"", large.at("1.0.0").integrity);
        assert_eq!(reply.header("etag"), Some(&*etag));
        registry.switch_off();
        let again = get(&gateway, path);
        assert_eq!((again.status, again.header("cache-control")), (200, Some(FOR_EVER)));
        assert!(again.body == large.at("1.0.0").tarball);
    }
}
