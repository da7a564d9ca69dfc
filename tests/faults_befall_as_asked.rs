//! What the harness promises about misbehaving: each fault does what its name says, as often as it was asked to.

use std::io::Read as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use harness::http::{self, Failure, Reply, Request};
use harness::{Ca, Fault, Matcher, Package, Registry, Times};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);
/// Long enough for what comes at once, short enough to wait for what never comes.
const BRIEF: Duration = Duration::from_secs(2);
const TARBALL: &str = "/left/-/left-1.0.0.tgz";

fn left() -> Package {
    Package::new("left").version("1.0.0", |v| v.size(100_000))
}

fn registry() -> Registry {
    Registry::builder().package(left()).package(Package::new("@scope/right").version("1.0.0", |v| v)).start()
}

fn get(registry: &Registry, path: &str) -> Reply {
    http::get(&format!("{}{path}", registry.url()))
}

/// What a request meets while this fault befalls it, on HTTP/1.1.
fn meet(path: &str, fault: Fault) -> Result<Reply, Failure> {
    meet_within(SOON, path, fault)
}

fn meet_within(time: Duration, path: &str, fault: Fault) -> Result<Reply, Failure> {
    let registry = registry();
    registry.fault(Matcher::path(path), 1, fault);
    Request::get(&format!("{}{path}", registry.url())).within(time).try_send()
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
    assert_eq!(meet_within(BRIEF, "/left", Fault::NeverAnswer).unwrap_err(), Failure::TimedOut);

    let stalled = meet_within(BRIEF, TARBALL, Fault::StallAfter(70_000)).unwrap();
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
