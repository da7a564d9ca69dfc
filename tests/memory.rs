//! Memory has a bound that holds: with 40 MB documents that everybody wants at once, and with documents made to hurt.

#![allow(clippy::print_stdout, reason = "a figure that is asserted is worth reading too")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use harness::http::{Reply, Request};
use harness::shapes::Shape;
use harness::{ABBREVIATED, Fault, Gateway, Matcher, Recorded, Registry, Times};
use serde_json::Value;

const MIB: u64 = 1 << 20;
/// What ARCHITECTURE.md promises of the whole process.
const BOUND: u64 = 256 * MIB;
const LIMIT: Duration = Duration::from_secs(180);
const CLIENTS: usize = 50;
const FULL: &str = "application/json";
const FORMS: [&str; 2] = [FULL, ABBREVIATED];
const CODINGS: [&str; 4] = ["gzip", "identity", "zstd", "br"];
const NAMES: [&str; 4] = ["largest", "larger", "large", "no-less-large"];
/// Every request asks upstream whether there is something new.
const DOUBTING: &str = "[upstream]\nfresh = \"0s\"\n";

fn hold(registry: &Registry, shape: Shape) {
    registry.hold(shape.name, shape.full(registry.url()), shape.abbreviated(registry.url()));
}

fn ask(gateway: &Gateway, name: &str, accept: &str, coding: &str) -> Request {
    let url = format!("{}/{name}", gateway.url());
    Request::get(&url).header("accept", accept).header("accept-encoding", coding).within(LIMIT)
}

fn assert_bounded(gateway: &Gateway, story: &str) {
    let peak = gateway.peak_memory();
    println!("{story}: {} MiB at most", peak / MIB);
    assert!(peak <= BOUND, "{story}: {} MiB, and not {} at most", peak / MIB, BOUND / MIB);
}

/// Everybody at once, each another package, form and coding. Says what there was of each, once.
fn ask_all_at_once(gateway: &Gateway) -> BTreeMap<(&'static str, &'static str), Vec<Bytes>> {
    let together = Barrier::new(CLIENTS);
    let decoded = |nth: usize| {
        let (name, accept) = (NAMES[nth % 4], FORMS[nth / 4 % 2]);
        let request = ask(gateway, name, accept, CODINGS[nth / 8 % 4]);
        together.wait();
        let reply = request.send();
        assert_eq!((reply.status, &reply.cut), (200, &None), "{name} as {accept}: {}", reply.text());
        ((name, accept), reply.decoded())
    };
    let mut bodies: BTreeMap<_, Vec<Bytes>> = BTreeMap::new();
    thread::scope(|scope| {
        let decoded = &decoded;
        let asking: Vec<_> = (0..CLIENTS).map(|nth| scope.spawn(move || decoded(nth))).collect();
        for client in asking {
            let (of, body) = client.join().expect("an answer");
            let known = bodies.entry(of).or_default();
            if !known.contains(&body) {
                known.push(body);
            }
        }
    });
    assert_eq!(bodies.len(), NAMES.len() * FORMS.len());
    bodies
}

/// Each body is the document of one of these editions.
fn assert_editions(gateway: &Gateway, name: &'static str, accept: &str, bodies: &[Bytes], editions: &[u64]) {
    let shapes = editions.iter().map(|edition| Shape { edition: *edition, ..Shape::largest(name) });
    if accept == FULL {
        let expected: Vec<Bytes> = shapes.map(|shape| shape.full(&gateway.url())).collect();
        assert!(bodies.iter().all(|body| expected.contains(body)), "{name}: not what upstream has");
    } else {
        let expected: Vec<_> = shapes.map(|shape| digests(&shape.abbreviated(&gateway.url()))).collect();
        assert!(bodies.iter().all(|body| expected.contains(&digests(body))), "{name}: not what upstream has");
    }
}

/// Digests by version.
fn digests(document: &[u8]) -> BTreeMap<String, String> {
    let document: Value = serde_json::from_slice(document).expect("JSON");
    let versions = document["versions"].as_object().expect("versions");
    versions.iter().map(|(version, manifest)| (version.clone(), manifest["dist"].to_string())).collect()
}

#[test]
fn fifty_clients_that_ask_for_40_mb_documents_at_once_are_all_served_within_the_bound() {
    let registry = Registry::builder().start();
    NAMES.iter().for_each(|name| hold(&registry, Shape::largest(name)));
    let gateway = Gateway::builder().upstream(registry.url()).start();

    for story in ["cold", "warm"] {
        for ((name, accept), bodies) in ask_all_at_once(&gateway) {
            assert_eq!(bodies.len(), 1, "{name} as {accept}: clients got different documents");
            assert_editions(&gateway, name, accept, &bodies, &[1]);
        }
        assert_bounded(&gateway, story);
    }
    assert_eq!(registry.packument_requests(), NAMES.len(), "one flight for each, whoever waits for it");
}

#[test]
fn while_40_mb_documents_change_upstream_memory_stays_within_the_bound() {
    let registry = Registry::builder().start();
    let gateway = Gateway::builder().upstream(registry.url()).config_toml(DOUBTING).start();
    for edition in 1..=3 {
        NAMES.iter().for_each(|name| hold(&registry, Shape { edition, ..Shape::largest(name) }));
        // Who would have to wait may be given the edition before.
        for ((name, accept), bodies) in ask_all_at_once(&gateway) {
            assert_editions(&gateway, name, accept, &bodies, &[edition - 1, edition]);
        }
    }
    assert_bounded(&gateway, "three editions of four documents");
}

/// What is expected of a document that is out of the ordinary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is served.
    Taken,
    /// It is not; whoever has an earlier revision is served that.
    Refused,
    /// One or the other, but one of the two.
    Either,
}

/// `(what it is, its bytes, their coding, what becomes of it)`
type Oddity = (&'static str, Bytes, Option<&'static str>, Fate);

const NAME: &str = "odd";

fn odd() -> Shape {
    Shape { name: NAME, versions: 200, dependencies: 10, edition: 1 }
}

/// A packument that has one version of each of these numbers and is otherwise as small as can be.
fn with_versions(registry: &Registry, count: usize) -> Bytes {
    let versions: Vec<String> = (0..count).map(|nth| manifest(registry, &format!("1.0.{nth}"))).collect();
    format!(r#"{{"name":"{NAME}","dist-tags":{{"latest":"1.0.0"}},"versions":{{{}}}}}"#, versions.join(","))
        .into()
}

/// So many versions, each with a README of its own.
fn with_versions_of(registry: &Registry, count: usize, readme: &[u8]) -> Bytes {
    let mut document =
        format!(r#"{{"name":"{NAME}","dist-tags":{{"latest":"1.0.0"}},"versions":{{"#).into_bytes();
    for nth in 0..count {
        let manifest = manifest(registry, &format!("1.0.{nth}"));
        let (open, rest) = manifest.split_at(manifest.len() - 1);
        document.extend_from_slice(if nth > 0 { b"," } else { b"" });
        document.extend_from_slice(open.as_bytes());
        document.extend_from_slice(br#","readme":""#);
        document.extend_from_slice(readme);
        document.extend_from_slice(br#"""#);
        document.extend_from_slice(rest.as_bytes());
    }
    document.extend_from_slice(b"}}");
    document.into()
}

fn manifest(registry: &Registry, version: &str) -> String {
    let address = format!("{}/{NAME}/-/{NAME}-{version}.tgz", registry.url());
    let dist = format!(r#"{{"shasum":"{:040}","tarball":"{address}"}}"#, 7);
    format!(r#""{version}":{{"name":"{NAME}","version":"{version}","dist":{dist}}}"#)
}

/// A valid packument with this in the place of its readme.
fn with_readme(registry: &Registry, readme: &[u8]) -> Bytes {
    let document = odd().full(registry.url());
    let text = std::str::from_utf8(&document).expect("text");
    let (before, after) = text.split_once(r#""As large as they come.""#).expect("a readme");
    [before.as_bytes(), readme, after.as_bytes()].concat().into()
}

fn gzipped(pieces: usize, piece: &[u8], around: [&[u8]; 2]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut write = |bytes: &[u8]| encoder.write_all(bytes).expect("a write to memory");
    write(around[0]);
    (0..pieces).for_each(|_| write(piece));
    write(around[1]);
    encoder.finish().expect("a write to memory").into()
}

fn oddities(registry: &Registry) -> Vec<Oddity> {
    let twice = format!(
        r#"{{"name":"{NAME}","dist-tags":{{"latest":"1.0.0"}},"versions":{{{},{}}},"name":"another"}}"#,
        manifest(registry, "1.0.0"),
        manifest(registry, "1.0.0")
    );
    let head = format!(r#"{{"name":"{NAME}","readme":""#);
    let mib = vec![b'a'; 1 << 20];
    vec![
        ("versions without time", with_versions(registry, 3), None, Fate::Taken),
        (
            "a README of 200 MB",
            with_readme(registry, &[b"\"", &mib.repeat(200)[..], b"\""].concat()),
            None,
            Fate::Refused,
        ),
        ("200 MB of versions", with_versions_of(registry, 200, &mib), None, Fate::Taken),
        ("a million versions", with_versions(registry, 1_000_000), None, Fate::Either),
        ("deep arrays", with_readme(registry, &b"[".repeat(20 << 20)), None, Fate::Refused),
        (
            "deep objects, closed",
            with_readme(
                registry,
                &[br#"{"a":"#.repeat(1 << 20), b"1".to_vec(), b"}".repeat(1 << 20)].concat(),
            ),
            None,
            Fate::Either,
        ),
        ("a gzip bomb", gzipped(1024, &mib, [head.as_bytes(), br#""}"#]), Some("gzip"), Fate::Refused),
        (
            "a gzip bomb of nothing",
            gzipped(1024, &vec![b' '; 1 << 20], [b"", b""]),
            Some("gzip"),
            Fate::Refused,
        ),
        ("the same key twice", twice.into(), None, Fate::Either),
        ("no UTF-8", with_readme(registry, b"\"\xff\xfe\xc0\x80\""), None, Fate::Refused),
        ("half a surrogate pair", with_readme(registry, br#""\ud800""#), None, Fate::Either),
        ("no JSON", Bytes::from_static(b"<html>the network wants you to log in</html>"), None, Fate::Refused),
        ("nothing", Bytes::new(), None, Fate::Refused),
        ("another package", Shape { name: "another", ..odd() }.full(registry.url()), None, Fate::Refused),
    ]
}

/// The gateway has an earlier revision, or has never heard of the package.
fn meets(registry: &Registry, (story, body, coding, fate): Oddity, known: bool) {
    registry.clear_faults();
    let config = if known { DOUBTING } else { "" };
    let gateway = Gateway::builder().upstream(registry.url()).config_toml(config).start();
    let old = known.then(|| ask(&gateway, NAME, FULL, "identity").send().body);
    registry.reset_log();
    registry.fault(Matcher::Packuments, Times::Always, Fault::Body(body, coding));

    is_as_it_should(&ask(&gateway, NAME, ABBREVIATED, "gzip").send(), story, fate, known);
    // Who has the one before may be given that at once, and be told of the next one afterwards.
    let seen = |log: &[Recorded]| log.iter().any(|asked| asked.is_packument() && asked.is_over());
    assert!(registry.wait_until(seen, LIMIT), "{story}: upstream is not asked");
    let end = Instant::now() + LIMIT;
    let mut full = ask(&gateway, NAME, FULL, "identity").send();
    while fate == Fate::Taken && old.as_ref() == Some(&full.body) && Instant::now() < end {
        full = ask(&gateway, NAME, FULL, "identity").send();
    }

    is_as_it_should(&full, story, fate, known);
    let taken = full.status == 200 && old.as_ref() != Some(&full.body);
    let expected = match fate {
        Fate::Taken => taken,
        Fate::Refused => !taken,
        Fate::Either => true,
    };
    assert!(expected, "{story}, known before: {known}: {} with {} bytes", full.status, full.body.len());
    assert_bounded(&gateway, &format!("{story}, known before: {known}"));
}

fn is_as_it_should(reply: &Reply, story: &str, fate: Fate, known: bool) {
    let story = format!("{story}, known before: {known}");
    assert_eq!(reply.cut, None, "{story}");
    if reply.status == 200 {
        assert!(known || fate != Fate::Refused, "{story}: {} bytes", reply.body.len());
        return;
    }
    assert!(!known && fate != Fate::Taken, "{story}: {} {}", reply.status, reply.text());
    assert!([502, 503].contains(&reply.status), "{story}: {}", reply.status);
    let words = reply.json()["error"].as_str().unwrap_or_default().to_owned();
    assert!(words.len() > 10, "{story}: no word of what is wrong: {words}");
}

#[test]
fn documents_that_are_made_to_hurt_cost_no_more_than_the_bound_and_not_the_revision_before() {
    let registry = Registry::builder().start();
    hold(&registry, odd());
    let mut failed = Vec::new();
    for oddity in oddities(&registry) {
        for known in [true, false] {
            let (oddity, story) = (oddity.clone(), oddity.0);
            let met = thread::scope(|scope| scope.spawn(|| meets(&registry, oddity, known)).join());
            // What went wrong is printed; the others are worth knowing too.
            failed.extend(met.err().map(|_| format!("{story}, known before: {known}")));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
