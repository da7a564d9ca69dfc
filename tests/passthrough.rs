//! Promise: what only upstream can answer is asked of upstream, as it was asked here, and answered as upstream
//! does; when upstream cannot be asked, that is an error and never an empty success.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use harness::http::{self, Reply, Request};
use harness::{Fault, Gateway, Matcher, Package, Recorded, Registry, Times};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
const BULK: &str = "/-/npm/v1/security/advisories/bulk";
const QUICK: &str = "/-/npm/v1/security/audits/quick";

fn registry() -> Registry {
    Registry::builder()
        .package(Package::new("left").version("1.0.0", |v| v))
        .package(Package::new("@scope/right").version("1.0.0", |v| v))
        .account("ada", "open-sesame")
        .start()
}

fn gateway(registry: &Registry) -> Gateway {
    Gateway::builder().upstream(registry.url()).start()
}

/// Method, path and body of everything that npm asks of upstream alone.
fn requests() -> Vec<(&'static str, &'static str, Option<Value>)> {
    vec![
        ("POST", BULK, Some(json!({"left": ["1.0.0"]}))),
        ("POST", QUICK, Some(json!({"name": "x", "requires": {}, "dependencies": {}}))),
        ("GET", "/-/v1/search?text=le%66t&size=20&from=0&quality=0.65", None),
        ("GET", "/-/whoami", None),
        ("GET", "/-/package/@scope%2fright/dist-tags", None),
        ("GET", "/-/package/@scope%2Fright/dist-tags?x=%2F", None),
        ("PUT", "/-/package/left/dist-tags/beta", Some(json!("1.0.0"))),
        ("DELETE", "/-/package/left/dist-tags/beta", None),
        ("GET", "/left?write=true", None),
        ("PUT", "/left/-rev/1-x", Some(json!({"name": "left"}))),
        ("DELETE", "/left/-/left-1.0.0.tgz/-rev/1-x", None),
        ("PUT", "/-/user/org.couchdb.user:ada", Some(json!({"name": "ada", "password": "x"}))),
        ("POST", "/-/v1/login", Some(json!({}))),
        ("GET", "/-/npm/v1/tokens", None),
        ("PATCH", "/-/npm/v1/user", Some(json!({}))),
        ("GET", "/-/org/acme/package", None),
    ]
}

fn sent(to: &str, (method, path, body): &(&'static str, &'static str, Option<Value>)) -> Reply {
    let request = Request::new(method, &format!("{to}{path}")).within(SOON);
    match body {
        Some(body) => request.header("content-type", "application/json").body(body.to_string()).send(),
        None => request.send(),
    }
}

/// The last one of a client's; the gateway's own first look may come late.
fn last(registry: &Registry) -> Recorded {
    let of_client = |one: &Recorded| !one.is_for("/-/ping");
    registry.requests().into_iter().rfind(of_client).expect("a request")
}

#[test]
fn every_request_arrives_as_it_was_sent_and_its_answer_comes_back_unchanged() {
    let (registry, twin) = (registry(), registry());
    let gateway = gateway(&registry);
    for request in requests() {
        let theirs = sent(twin.url(), &request);
        let ours = sent(&gateway.url(), &request);

        let (method, path, body) = &request;
        let arrived = last(&registry);
        assert_eq!((&*arrived.method, &*arrived.path), (*method, *path));
        assert_eq!(arrived.body, body.as_ref().map(Value::to_string).unwrap_or_default(), "{path}");
        // Documents name the registry that they come from.
        let same = |text: String| text.replace(twin.url(), registry.url());
        assert_eq!((ours.status, ours.text()), (theirs.status, same(theirs.text())), "{method} {path}");
        for name in ["content-type", "www-authenticate", "content-length", "content-encoding"] {
            assert_eq!(ours.header(name), theirs.header(name), "{name} of {method} {path}");
        }
    }
}

#[test]
fn headers_go_on_but_for_those_of_the_connection() {
    let registry = registry();
    let gateway = gateway(&registry);
    let kept = [
        ("user-agent", "npm/11.21.2 node/v24.21.0 linux x64"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip,deflate"),
        ("npm-command", "audit"),
        ("npm-session", "0123456789abcdef"),
        ("npm-auth-type", "web"),
        ("referer", "install"),
        ("pacote-version", "21.0.0"),
        ("x-of-our-own", "one, two"),
        ("content-type", "application/json"),
    ];
    let dropped = [
        ("connection", "keep-alive, x-of-the-connection"),
        ("x-of-the-connection", "here"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("proxy-connection", "keep-alive"),
        ("upgrade", "h2c"),
        ("x-forwarded-for", "10.1.1.1"),
        ("x-forwarded-host", "elsewhere.example"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=10.1.1.1"),
    ];
    let request = Request::new("POST", &format!("{}{BULK}", gateway.url())).body("{}");
    let request =
        kept.iter().chain(&dropped).fold(request, |request, (name, value)| request.header(name, value));

    assert_eq!(request.header("via", "1.1 before").send().status, 200);

    let arrived = last(&registry);
    for (name, value) in kept {
        assert_eq!(arrived.header(name), Some(value), "{name}");
    }
    for (name, value) in dropped {
        assert_ne!(arrived.header(name), Some(value), "{name}");
    }
    let via: Vec<_> = arrived.headers.get_all("via").iter().map(|via| via.to_str().unwrap()).collect();
    assert_eq!((via.len(), via[0]), (2, "1.1 before"));
    assert!(via[1].contains("open-registry"), "{via:?}");
    assert_eq!(arrived.header("host"), Some(&*registry.address().to_string()));
    assert_eq!(arrived.header("content-length"), Some("2"));
}

#[test]
fn what_is_published_through_the_gateway_is_there() {
    let registry = registry();
    let gateway = Gateway::builder()
        .upstream(registry.url())
        .config_toml("[upstream]\nfresh = \"0s\"\nstale = \"0s\"\n")
        .start();
    let package = Package::new("new").version("1.0.0", |v| v.size(2 << 20));
    let release = package.at("1.0.0");
    let upload = json!({
        "_id": "new", "name": "new", "dist-tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": {"name": "new", "version": "1.0.0", "dist": {"integrity": release.integrity}}},
        "_attachments": {"new-1.0.0.tgz": {"data": BASE64.encode(&release.tarball)}},
    });
    let publish = Request::new("PUT", &format!("{}/new", gateway.url())).body(upload.to_string());
    assert_eq!(http::get(&format!("{}/new", gateway.url())).status, 404);

    assert_eq!(publish.send().status, 401, "upstream's own refusal");
    let reply = publish.header("authorization", "Bearer open-sesame").send();

    assert_eq!((reply.status, reply.json()), (201, json!({"ok": true, "id": "new"})));
    assert_eq!(http::get(&format!("{}/new", gateway.url())).json()["dist-tags"]["latest"], "1.0.0");
    assert_eq!(http::get(&format!("{}/new/-/new-1.0.0.tgz", gateway.url())).body, release.tarball);
}

#[test]
fn a_login_gives_upstreams_token() {
    let registry = registry();
    let gateway = gateway(&registry);
    let login = Request::new("PUT", &format!("{}/-/user/org.couchdb.user:eve", gateway.url()));

    let reply = login.body(json!({"name": "eve", "password": "secret"}).to_string()).send();

    assert_eq!((reply.status, &reply.json()["token"]), (201, &json!("token-of-eve")));
    let whoami = Request::get(&format!("{}/-/whoami", gateway.url()))
        .header("authorization", "Bearer token-of-eve")
        .send();
    assert_eq!(whoami.json(), json!({"username": "eve"}));
}

#[test]
fn any_status_of_upstreams_is_an_answer() {
    let registry = registry();
    let gateway = gateway(&registry);
    for status in [400, 403, 405, 409, 422, 429, 500, 502] {
        registry.fault(Matcher::path(BULK), 1, Fault::Status(status));
        let reply = http::post(&format!("{}{BULK}", gateway.url()), &json!({}));
        assert_eq!((reply.status, reply.body.len()), (status, 0));
    }
    registry.fault(Matcher::path(BULK), 1, Fault::Redirect("https://elsewhere.example/".to_owned()));
    let reply = http::post(&format!("{}{BULK}", gateway.url()), &json!({}));
    assert_eq!((reply.status, reply.header("location")), (302, Some("https://elsewhere.example/")));
    assert_eq!(http::get(&format!("{}/left", gateway.url())).status, 200);
}

#[test]
fn without_upstream_there_is_an_error_and_never_an_empty_success() {
    let registry = registry();
    let down = gateway(&registry);
    registry.switch_off();
    let offline = Gateway::builder().upstream(registry.url()).offline().start();
    for (gateway, cause) in [(&down, "and upstream "), (&offline, "and this gateway is offline")] {
        for request in requests() {
            let reply = sent(&gateway.url(), &request);
            let what = format!("{} {}: {}", request.0, request.1, reply.text());
            assert_eq!((reply.status, reply.header("retry-after").is_some()), (503, true), "{what}");
            assert!(reply.json()["error"].as_str().unwrap().contains(cause), "{what}");
        }
    }
    registry.switch_on();
    registry.fault(Matcher::path(BULK), Times::Always, Fault::Reset);
    assert!(comes_back(&down));
    let reply = http::post(&format!("{}{BULK}", down.url()), &json!({}));
    assert_eq!(reply.status, 503, "{}", reply.text());
}

fn comes_back(gateway: &Gateway) -> bool {
    let start = Instant::now();
    while start.elapsed() < SOON {
        if http::get(&format!("{}/-/v1/search?text=left", gateway.url())).status == 200 {
            return true;
        }
    }
    false
}

#[test]
fn answers_are_passed_on_while_they_come() {
    let registry = registry();
    let gateway = gateway(&registry);
    let path = "/-/v1/search?text=left";
    registry.fault(Matcher::path("/-/v1/search"), 1, Fault::StallAfter(20));
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();

    // What has come is here although the rest never comes, and the end is not feigned.
    let mut heard = String::new();
    let mut piece = [0; 4096];
    while heard.split_once("\r\n\r\n").is_none_or(|(_, body)| body.len() < 20) {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "it ended before its beginning was passed on: {heard}");
        heard.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    let announced = heard.to_ascii_lowercase();
    assert!(announced.starts_with("http/1.1 200") && announced.contains("content-length: "), "{heard}");
    let mut rest = Vec::new();
    // A reset, or an end before the announced length: both tell the client that this was not all.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty());
}

#[test]
fn a_client_that_breaks_its_own_request_off_does_not_make_upstream_look_down() {
    let registry = registry();
    let gateway = gateway(&registry);
    let bad = format!("POST {BULK} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n");
    let short = format!("POST {BULK} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{");
    for _ in 0..5 {
        let heard = http::raw(gateway.address(), bad.as_bytes(), SOON);
        assert!(!heard.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&heard));
        let mut stream = TcpStream::connect(gateway.address()).unwrap();
        stream.write_all(short.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        // Whatever it is told, the connection ends.
        let _ = stream.read_to_end(&mut Vec::new());
    }

    let status = http::get(&format!("{}/status", gateway.operator_url())).json();

    assert_eq!(status["upstream"]["state"], "up", "{status}");
    assert_eq!(http::post(&format!("{}{BULK}", gateway.url()), &json!({})).status, 200);
}

#[test]
fn slow_uploads_take_no_place_from_those_who_fetch() {
    let registry = registry();
    let gateway = gateway(&registry);
    let head = format!("POST {BULK} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{");
    let waiting: Vec<TcpStream> = (0..80)
        .map(|_| {
            let mut stream = TcpStream::connect(gateway.address()).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    // They are on their way: the gateway's own figures say so.
    let start = Instant::now();
    while gateway.metric("open_registry_http_connections", &[]) < 80.0 {
        assert!(start.elapsed() < SOON);
    }

    let reply = Request::get(&format!("{}/left", gateway.url())).within(Duration::from_secs(15)).send();

    assert_eq!(reply.status, 200);
    drop(waiting);
}
