//! Promise: an operator sees what the gateway does, in the words of Prometheus, and can stop it without breaking
//! an answer off.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use harness::http::{self, Failure, Request};
use harness::{Fault, Gateway, Matcher, Package, Registry, Times};
use nix::sys::signal::Signal;

const SOON: Duration = Duration::from_secs(20);
const TARBALL: &str = "/left/-/left-1.0.0.tgz";
/// More than the sockets between a gateway and its client can hold.
const LARGE: usize = 24 << 20;

fn left() -> Package {
    Package::new("left").version("1.0.0", |v| v.size(100_000)).version("1.1.0", |v| v)
}

fn registry() -> Registry {
    Registry::builder().package(left()).start()
}

fn gateway(registry: &Registry) -> Gateway {
    Gateway::builder().upstream(registry.url()).start()
}

fn operator(gateway: &Gateway, path: &str) -> http::Reply {
    http::get(&format!("{}{path}", gateway.operator_url()))
}

/// Waits until `/readyz` says this.
fn becomes_ready(gateway: &Gateway, status: u16) -> bool {
    let start = Instant::now();
    while start.elapsed() < SOON {
        if operator(gateway, "/readyz").status == status {
            return true;
        }
    }
    false
}

/// Waits until no client is connected; who asks for the metrics is none.
fn becomes_quiet(gateway: &Gateway) -> bool {
    let start = Instant::now();
    while start.elapsed() < SOON {
        if gateway.metric("open_registry_http_connections", &[]) < 0.5 {
            return true;
        }
    }
    false
}

/// Reads the text format strictly: every sample belongs to a family that was declared before it.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut types = BTreeMap::new();
    let mut samples = BTreeMap::new();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.last(), Some(&"# EOF"), "OpenMetrics ends with EOF");
    for line in &lines[..lines.len() - 1] {
        if let Some(comment) = line.strip_prefix("# ") {
            let words: Vec<&str> = comment.splitn(3, ' ').collect();
            assert!(["HELP", "TYPE", "UNIT"].contains(&words[0]), "{line}");
            if words[0] == "TYPE" {
                assert!(["counter", "gauge", "histogram"].contains(&words[2]), "{line}");
                assert_eq!(types.insert(words[1], words[2]), None, "declared twice: {line}");
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a name and a value");
        let name = series.split('{').next().expect("a name");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{line}");
        let belongs = |family: &str, kind: &str| match kind {
            "counter" => name.strip_suffix("_total") == Some(family),
            "histogram" => {
                ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(family))
            }
            _ => name == family,
        };
        assert!(types.iter().any(|(family, kind)| belongs(family, kind)), "{line} was not declared");
        if let Some((_, labels)) = series.split_once('{') {
            let labels = labels.strip_suffix('}').expect("closed labels");
            for label in labels.split(',') {
                let (key, quoted) = label.split_once('=').expect("a label");
                assert!(
                    !key.is_empty() && quoted.len() > 2 && quoted.starts_with('"') && quoted.ends_with('"')
                );
            }
        }
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line} has no number"));
        assert_eq!(samples.insert(series.to_owned(), value), None, "told twice: {line}");
    }
    samples
}

#[test]
fn metrics_are_open_metrics_and_count_what_happened() {
    let registry = registry();
    let gateway = gateway(&registry);
    assert!(becomes_ready(&gateway, 200));
    let reply = operator(&gateway, "/metrics");
    assert_eq!(
        reply.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let at_first = samples(&reply.text());
    assert_eq!(at_first["open_registry_store_tarballs"].to_string(), "0");
    assert_eq!(at_first["open_registry_upstream_up"].to_string(), "1");
    let before = gateway.metric("open_registry_upstream_requests_total", &[]);
    let url = |path: &str| format!("{}{path}", gateway.url());

    for _ in 0..3 {
        http::get(&url("/left"));
    }
    let etag = http::get(&url("/left")).header("etag").unwrap().to_owned();
    Request::get(&url("/left")).header("if-none-match", &etag).send();
    for _ in 0..2 {
        http::get(&url(TARBALL));
    }
    http::get(&url("/absent"));
    http::get(&url("/left/1.0.0"));
    http::get(&url("/-/ping"));
    http::get(&url("/../x"));
    http::get(&url("/-/v1/search?text=left"));

    let now = samples(&operator(&gateway, "/metrics").text());
    let requests = |route: &str, outcome: &str, source: &str| {
        let labels = format!("route=\"{route}\",outcome=\"{outcome}\",source=\"{source}\"");
        now.get(&format!("open_registry_http_requests_total{{{labels}}}")).copied().unwrap_or_default()
    };
    for (route, outcome, source, count) in [
        ("packument", "ok", "upstream", 1.0),
        ("packument", "ok", "store", 3.0),
        ("packument", "not_modified", "store", 1.0),
        ("packument", "not_found", "none", 1.0),
        ("tarball", "ok", "upstream", 1.0),
        ("tarball", "ok", "store", 1.0),
        ("manifest", "ok", "store", 1.0),
        ("ping", "ok", "none", 1.0),
        ("invalid", "refused", "none", 1.0),
        ("passthrough", "ok", "upstream", 1.0),
    ] {
        let counted = requests(route, outcome, source);
        assert!(
            (counted - count).abs() < 0.1,
            "{route} {outcome} {source}: {counted}, not {count}\n{now:#?}"
        );
    }
    let all = gateway.metric("open_registry_http_requests_total", &[]);
    assert_eq!(all.to_string(), "12");
    assert_eq!((gateway.metric("open_registry_upstream_requests_total", &[]) - before).to_string(), "4");
    let tarball = left().at("1.0.0").tarball.len();
    let from_store = gateway.metric("open_registry_http_sent_bytes_total", &[("source", "store")]);
    assert!(from_store > f64::from(u32::try_from(tarball).unwrap()), "{from_store}");
    let latencies = now["open_registry_upstream_latency_seconds_count"];
    assert!(latencies >= 4.0, "{latencies}");
    assert_eq!(now["open_registry_store_tarballs"].to_string(), "1");
    assert_eq!(now["open_registry_store_tarball_bytes"].to_string(), tarball.to_string());
    assert_eq!(now["open_registry_store_packuments"].to_string(), "1");
    assert!(now["open_registry_store_packument_bytes"] > 100.0);
    let received = now["open_registry_upstream_received_bytes_total"];
    assert!(received > f64::from(u32::try_from(tarball).unwrap()), "{received}");
    assert!(becomes_quiet(&gateway), "operators are counted as clients");
}

#[test]
fn upstreams_failures_are_counted_by_kind() {
    let registry = registry();
    let gateway = gateway(&registry);
    assert!(becomes_ready(&gateway, 200));
    registry.fault(Matcher::Everything, 3, Fault::Status(500));
    assert_eq!(http::get(&format!("{}/left", gateway.url())).status, 503);
    registry.switch_off();
    http::get(&format!("{}/left", gateway.url()));

    let count = |kind| gateway.metric("open_registry_upstream_errors_total", &[("kind", kind)]);
    assert_eq!(count("server_error").to_string(), "3");
    assert!(count("unreachable") >= 1.0);
    assert_eq!(gateway.metric("open_registry_upstream_up", &[]).to_string(), "0");
    let status = operator(&gateway, "/status").json();
    assert_eq!((&status["upstream"]["state"], &status["ready"]), (&"down".into(), &true.into()));
    assert!(status["upstream"]["cause"].is_string());
}

#[test]
fn health_status_and_readiness_are_told() {
    let registry = registry();
    registry.fault(Matcher::path("/-/ping"), 1, Fault::Delay(Duration::from_secs(3)));
    let gateway = gateway(&registry);

    assert_eq!(operator(&gateway, "/readyz").status, 503, "not before it knows how upstream is");
    assert_eq!(operator(&gateway, "/healthz").text(), "ok\n");
    assert!(becomes_ready(&gateway, 200));
    http::get(&format!("{}{TARBALL}", gateway.url()));
    let status = operator(&gateway, "/status");
    assert_eq!(status.header("content-type"), Some("application/json"));
    let status = status.json();
    assert_eq!(status["upstream"]["url"], registry.url());
    assert_eq!((&status["upstream"]["state"], &status["ready"]), (&"up".into(), &true.into()));
    assert_eq!(status["store"]["tarballs"], 1);
    assert_eq!(status["store"]["tarball_bytes"], left().at("1.0.0").tarball.len());
    assert!(status["bytes"]["sent"].as_u64().unwrap() >= status["store"]["tarball_bytes"].as_u64().unwrap());
    assert!(status["uptime_s"].is_u64() && status["version"].is_string());
    for path in ["/", "/metrics/", "/left", "/-/ping"] {
        assert_eq!(operator(&gateway, path).status, 404, "{path}");
    }
    assert_eq!(
        http::post(&format!("{}/metrics", gateway.operator_url()), &serde_json::json!({})).status,
        405
    );
}

#[test]
fn clients_see_nothing_of_it() {
    let registry = registry();
    let gateway = gateway(&registry);
    for path in ["/metrics", "/healthz", "/readyz", "/status"] {
        let reply = http::get(&format!("{}{path}", gateway.url()));
        // To clients these are package names.
        assert_eq!((reply.status, reply.json()["error"].is_string()), (404, true), "{path}");
    }
}

/// Asks for a path and reads nothing yet but the first bytes of the answer.
fn begin(gateway: &Gateway, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address()).expect("a connection");
    stream.set_read_timeout(Some(SOON)).expect("a time limit");
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())
        .expect("a written request");
    stream
}

fn is_refused(gateway: &Gateway) -> bool {
    let start = Instant::now();
    while start.elapsed() < SOON {
        let asked = Request::get(&format!("{}/-/ping", gateway.url())).within(SOON).try_send();
        if matches!(asked, Err(Failure::Connect(_))) {
            return true;
        }
    }
    false
}

/// The body behind the headers of an answer that was read to its end.
fn body(answer: &[u8]) -> &[u8] {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an end of the headers");
    &answer[end + 4..]
}

#[test]
fn an_answer_under_way_comes_to_its_end_when_the_gateway_is_stopped() {
    let large = Package::new("large").version("1.0.0", |v| v.size(LARGE));
    let registry = Registry::builder().packages([left(), large.clone()]).start();
    let mut gateway = gateway(&registry);
    let path = "/large/-/large-1.0.0.tgz";
    assert_eq!(Request::new("HEAD", &format!("{}{path}", gateway.url())).send().status, 200);
    // One reads slowly what is held; one waits for what drips in; one is idle between two requests.
    let mut slow = begin(&gateway, path);
    let mut first = [0; 4096];
    slow.read_exact(&mut first).unwrap();
    registry.fault(Matcher::Tarballs, 1, Fault::Drip(20_000, Duration::from_millis(150)));
    let mut waiting = begin(&gateway, TARBALL);
    assert!(registry.wait_until(|log| log.iter().any(|one| one.is_for(TARBALL) && one.sent > 0), SOON));
    let mut idle = TcpStream::connect(gateway.address()).unwrap();
    idle.set_read_timeout(Some(SOON)).unwrap();

    gateway.signal(Signal::SIGTERM);

    assert!(is_refused(&gateway), "it still takes connections");
    assert!(becomes_ready(&gateway, 503), "it still wants clients");
    let mut dripped = Vec::new();
    waiting.read_to_end(&mut dripped).unwrap();
    assert!(body(&dripped) == left().at("1.0.0").tarball, "the drip-fed tarball was broken off");
    assert_eq!(idle.read(&mut [0; 1]).unwrap(), 0);
    let mut whole = first.to_vec();
    slow.read_to_end(&mut whole).unwrap();
    assert!(body(&whole) == large.at("1.0.0").tarball, "the slow reader's tarball was broken off");
    let start = Instant::now();
    assert_eq!(gateway.wait(SOON).code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "it did not end with its last answer");
}

#[test]
fn an_idle_gateway_stops_at_once() {
    let registry = registry();
    let mut gateway = gateway(&registry);
    http::get(&format!("{}/left", gateway.url()));
    let start = Instant::now();
    gateway.signal(Signal::SIGINT);
    assert_eq!(gateway.wait(SOON).code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_second_signal_does_not_wait() {
    let registry = registry();
    let mut gateway = gateway(&registry);
    assert!(becomes_ready(&gateway, 200));
    registry.fault(Matcher::Tarballs, Times::Always, Fault::NeverAnswer);
    let _waiting = begin(&gateway, TARBALL);
    assert!(registry.wait_until(|log| log.iter().any(|one| one.is_for(TARBALL)), SOON));
    gateway.signal(Signal::SIGTERM);
    assert!(becomes_ready(&gateway, 503), "it drains");

    let start = Instant::now();
    gateway.signal(Signal::SIGTERM);

    assert_eq!(gateway.wait(SOON).code(), Some(1));
    assert!(start.elapsed() < Duration::from_secs(5));
}
