//! Promise: whatever bytes come in, the answer is an error or a right one, nobody else notices, and nothing of one
//! request becomes part of another.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use harness::http::{self, Request};
use harness::{Gateway, GatewayBuilder, Package, Registry, free_port};

const SOON: Duration = Duration::from_secs(20);
const TARBALL: &str = "/left/-/left-1.0.0.tgz";

/// A gateway and its upstream, for all tests that run at the same time: what one of them does must not trouble the
/// others.
struct Pair {
    registry: Registry,
    gateway: Gateway,
}

fn pair() -> Arc<Pair> {
    static SHARED: Mutex<Weak<Pair>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let registry = Registry::builder().package(left()).start();
        let gateway = Gateway::builder().upstream(registry.url()).start();
        let pair = Arc::new(Pair { registry, gateway });
        *shared = Arc::downgrade(&pair);
        pair
    })
}

fn left() -> Package {
    Package::new("left").version("1.0.0", |v| v)
}

impl Pair {
    /// Everything that comes until the gateway closes; `bytes` have to make it.
    fn hears(&self, bytes: &[u8]) -> String {
        let start = Instant::now();
        let heard = http::raw(self.gateway.address(), bytes, SOON);
        let said = String::from_utf8_lossy(bytes);
        assert!(start.elapsed() < SOON, "the connection stayed open: {said}");
        String::from_utf8_lossy(&heard).into_owned()
    }

    /// A fresh connection gets right answers.
    fn assert_well(&self) {
        let url = self.gateway.url();
        assert_eq!(http::get(&format!("{url}/left")).json()["name"], "left");
        assert_eq!(http::get(&format!("{url}{TARBALL}")).body, left().at("1.0.0").tarball);
        let status = http::get(&format!("{}/status", self.gateway.operator_url())).json();
        assert_eq!(status["upstream"]["state"], "up", "{status}");
    }
}

/// The statuses of all answers on a connection, in order.
fn statuses(heard: &str) -> Vec<u16> {
    let lines = heard.split("HTTP/1.").skip(1);
    lines.filter_map(|line| line.get(2..5)?.parse().ok()).collect()
}

#[test]
fn odd_paths_are_refused_and_asked_of_nobody() {
    let registry = Registry::builder().package(left()).start();
    let gateway = Gateway::builder().upstream(registry.url()).start();
    let ask = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let heard = http::raw(gateway.address(), request.as_bytes(), SOON);
        let heard = String::from_utf8_lossy(&heard).into_owned();
        assert!(!heard.contains("root:"), "{path}: {heard}");
        *statuses(&heard).first().unwrap_or_else(|| panic!("no answer to {path}: {heard}"))
    };
    assert!(becomes_ready(&gateway));
    registry.reset_log();
    for path in [
        "/../../etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/left/-/../../../etc/passwd.tgz",
        "/left/-/..%2f..%2fstate.redb",
        "/left/-/%2e%2e%2fleft-1.0.0.tgz",
        "/left/..",
        "/left/%2e",
        "/left//1.0.0",
        "//left",
        "/left%5c..%5c..",
        "/left%00",
        "/left%0d%0aset-cookie:x=1",
        "/left/-/left%00-1.0.0.tgz",
        "/left/-/left-1.0.0.zip",
        "/left/-/.tgz",
        "/%ff%fe",
        "/%",
        "/%zz",
        "/a%2fb",
        "/@scope",
        "/@/left",
        "/@scope/",
        "/@scope%2f..",
        "/@scope%2fa%2fb",
        "/.hidden",
        "/node_modules",
        "/favicon.ico",
        "/lef%20t",
        "/l%C3%A9ft",
        "/-/npm/v1/attestations/..%2f..@1.0.0",
        "/-/npm/v1/attestations/",
        "/-/%2e%2e/left",
        "/-/tarballs/sha512/..%2f..%2fx",
    ] {
        let status = ask(path);
        assert!((400..=404).contains(&status), "{path}: {status}");
    }
    let long_name = format!("/{}", "a".repeat(215));
    assert_eq!(ask(&long_name), 400);
    let asked: Vec<String> = registry.requests().into_iter().map(|one| one.path).collect();
    assert_eq!(asked, Vec::<String>::new(), "upstream was asked");
}

fn becomes_ready(gateway: &Gateway) -> bool {
    let start = Instant::now();
    while start.elapsed() < SOON {
        if http::get(&format!("{}/readyz", gateway.operator_url())).status == 200 {
            return true;
        }
    }
    false
}

#[test]
fn too_much_of_anything_is_refused_by_name() {
    let pair = pair();
    let request = |target: &str, headers: &str| {
        format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n")
    };
    let first = |bytes: String| statuses(&pair.hears(bytes.as_bytes())).first().copied();
    for length in [9_000, 40_000, 70_000, 200_000] {
        let path = first(request(&format!("/{}", "a".repeat(length)), ""));
        assert!([Some(414), Some(431)].contains(&path), "a path of {length}: {path:?}");
        let query = first(request(&format!("/left?{}", "a".repeat(length)), ""));
        assert!([Some(414), Some(431)].contains(&query), "a query of {length}: {query:?}");
    }
    assert_eq!(first(request(&format!("/{}", "a".repeat(9_000)), "")), Some(414));
    let header = |length: usize| format!("x-long: {}\r\n", "a".repeat(length));
    assert_eq!(first(request("/left", &header(100_000))), Some(431));
    assert_eq!(first(request("/left", &header(10_000_000))), Some(431));
    assert_eq!(first(request("/left", &"x-many: 1\r\n".repeat(500))), Some(431));
    assert_eq!(first(request("/left", &"x-few: 1\r\n".repeat(100))), Some(200));
    let upload = "PUT /left HTTP/1.1\r\nhost: x\r\ncontent-length: 2000000000\r\n\r\n";
    assert_eq!(first(upload.to_owned()), Some(413));
    let endless = "PUT /left HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n";
    assert_eq!(first(endless.to_owned()), Some(400));
    pair.assert_well();
}

/// A request that would be answered 200 if it were taken for one.
const SMUGGLED: &str = "GET /-/ping HTTP/1.1\r\nhost: smuggled\r\nconnection: close\r\n\r\n";

#[test]
fn what_two_servers_could_read_in_two_ways_is_one_request_at_most() {
    let pair = pair();
    let post = "POST /-/npm/v1/security/advisories/bulk HTTP/1.1\r\nhost: x\r\n";
    let chunked = "transfer-encoding: chunked\r\n";
    for (name, framing) in [
        ("a length, then chunks", format!("content-length: 5\r\n{chunked}\r\n0\r\n\r\n")),
        ("chunks, then a length", format!("{chunked}content-length: 5\r\n\r\n0\r\n\r\n")),
        ("two lengths", "content-length: 0\r\ncontent-length: 70\r\n\r\n".to_owned()),
        ("a list of lengths", "content-length: 0, 70\r\n\r\n".to_owned()),
        ("a signed length", "content-length: +5\r\n\r\n".to_owned()),
        ("a length with a space in it", "content-length: 1 0\r\n\r\n".to_owned()),
        ("no number", "content-length: x\r\n\r\n".to_owned()),
        ("chunked twice", format!("{chunked}{chunked}\r\n0\r\n\r\n")),
        ("chunked twice in one", "transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n".to_owned()),
        ("chunks not last", "transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n".to_owned()),
        ("a coding besides", "transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n".to_owned()),
        ("an unknown coding", "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n".to_owned()),
        ("a folded coding", "transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n".to_owned()),
        ("a space before the colon", "transfer-encoding : chunked\r\n\r\n0\r\n\r\n".to_owned()),
        ("a bad chunk", format!("{chunked}\r\nzz\r\n")),
        ("a chunk with a sign", format!("{chunked}\r\n-1\r\n")),
        ("an enormous chunk", format!("{chunked}\r\nffffffffffffffffff\r\n")),
        ("a chunk longer than it says", format!("{chunked}\r\n1\r\nxxxx\r\n0\r\n\r\n")),
    ] {
        let heard = pair.hears(format!("{post}{framing}{SMUGGLED}").as_bytes());
        let statuses = statuses(&heard);
        assert!(statuses.len() <= 1, "{name}: {statuses:?}");
        // RFC 9112, section 6.3: chunks win over a length, and the connection ends; it has, or this would not be read.
        let chunks_win = name.contains("a length") && name.contains("chunks") && statuses == [200];
        let refused = statuses.iter().all(|status| (400..=599).contains(status));
        assert!(refused || chunks_win, "{name}: {statuses:?}\n{heard}");
        pair.assert_well();
    }
    let seen = pair.registry.requests();
    assert!(seen.iter().all(|one| one.header("host") != Some("smuggled")));
    assert!(seen.iter().all(|one| !String::from_utf8_lossy(&one.body).contains("smuggled")));
}

#[test]
fn lines_that_are_none_are_refused() {
    let pair = pair();
    for (name, bytes) in [
        ("a space before the colon", &b"GET /left HTTP/1.1\r\nhost : x\r\n\r\n"[..]),
        ("a NUL in a header", b"GET /left HTTP/1.1\r\nhost: x\r\nx-odd: a\0b\r\n\r\n"),
        ("a NUL in the target", b"GET /le\0ft HTTP/1.1\r\nhost: x\r\n\r\n"),
        ("a bare CR in a header", b"GET /left HTTP/1.1\r\nhost: x\r\nx-odd: a\rb\r\n\r\n"),
        ("an empty header name", b"GET /left HTTP/1.1\r\nhost: x\r\n: y\r\n\r\n"),
        ("a folded header", b"GET /left HTTP/1.1\r\nhost: x\r\nx-odd: a\r\n b\r\n\r\n"),
        ("no version", b"GET /left\r\n\r\n"),
        ("HTTP/0.9", b"GET /left\n"),
        ("an unknown version", b"GET /left HTTP/3.7\r\nhost: x\r\n\r\n"),
        ("a space too many", b"GET  /left HTTP/1.1\r\nhost: x\r\n\r\n"),
        ("no target", b"GET HTTP/1.1\r\nhost: x\r\n\r\n"),
        ("no slash", b"GET left HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
        ("a star", b"OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
        (
            "a tunnel",
            b"CONNECT mail.example:25 HTTP/1.1\r\nhost: mail.example:25\r\nconnection: close\r\n\r\n",
        ),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
        ("a preface and rubbish", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nrubbish rubbish rubbish rubbish"),
        ("half a preface", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"),
        ("zeros", &[0; 512]),
    ] {
        let heard = pair.hears(bytes);
        let taken = statuses(&heard).into_iter().any(|status| status < 400);
        assert!(!taken && !heard.contains("\"versions\""), "{name}: {heard}");
        pair.assert_well();
    }
}

#[test]
fn lines_that_end_early_are_one_request_or_none() {
    let pair = pair();
    for lines in [
        "GET /left HTTP/1.1\nhost: x\nconnection: close\n\n",
        "GET /left HTTP/1.1\r\nhost: x\nconnection: close\r\n\n",
        "\r\n\r\nGET /left HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ] {
        let statuses = statuses(&pair.hears(format!("{lines}{SMUGGLED}").as_bytes()));
        assert!(statuses == [200] || statuses == [400], "{lines:?}: {statuses:?}");
    }
}

#[test]
fn a_request_names_one_host_that_is_one() {
    let pair = pair();
    let asked = |lines: &str| {
        let heard = pair.hears(format!("GET /left {lines}\r\nconnection: close\r\n\r\n").as_bytes());
        (statuses(&heard).first().copied(), heard)
    };
    for lines in [
        "HTTP/1.1",
        "HTTP/1.1\r\nhost: a.example\r\nhost: b.example",
        "HTTP/1.1\r\nhost:",
        "HTTP/1.1\r\nhost: a b",
        "HTTP/1.1\r\nhost: a/b",
        "HTTP/1.1\r\nhost: user@a.example",
        "HTTP/1.1\r\nhost: <script>",
        "HTTP/1.1\r\nhost: a\"b",
        "HTTP/1.1\r\nhost: a.example:port",
        "HTTP/1.1\r\nhost: a.example:99999",
        "HTTP/1.1\r\nhost: http://a.example",
        "HTTP/1.1\r\nhost: [::1",
    ] {
        let (status, heard) = asked(lines);
        assert_eq!(status, Some(400), "{lines}: {heard}");
    }
    let long = format!("HTTP/1.1\r\nhost: {}", "a.".repeat(300));
    assert_eq!(asked(&long).0, Some(400));
    // HTTP/1.0 knows no Host, and a target with a host in it needs none.
    let (status, document) = asked("HTTP/1.0");
    assert_eq!(status, Some(200));
    assert!(document.contains(&format!("{}{TARBALL}", pair.gateway.url())), "{document}");
    let whole = b"GET http://whole.example:81/left HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let document = pair.hears(whole);
    assert!(document.contains(&format!("http://whole.example:81{TARBALL}")), "{document}");
    let latin = pair.hears(b"GET /left HTTP/1.1\r\nhost: \xe9.example\r\nconnection: close\r\n\r\n");
    assert_eq!(statuses(&latin), [400]);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let pair = pair();
    let ask = |path: &str, end: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n{end}\r\n");
    let wanted = [
        ask("/left", ""),
        ask("/absent", ""),
        ask("/%2e%2e", ""),
        ask(TARBALL, "range: bytes=0-3\r\n"),
        ask("/-/ping", "connection: close\r\n"),
        ask("/left", ""),
    ];

    let heard = pair.hears(wanted.concat().as_bytes());

    assert_eq!(statuses(&heard), [200, 404, 400, 206, 200], "and none after the close");
}

#[test]
fn who_sends_slowly_holds_up_nobody() {
    let pair = pair();
    let slow: Vec<TcpStream> = (0..200)
        .map(|number| {
            let mut stream = TcpStream::connect(pair.gateway.address()).unwrap();
            // Some say nothing, some a little.
            stream.write_all(&b"GET /left HTTP/1.1\r\nx-slow: "[..number % 29]).unwrap();
            stream
        })
        .collect();
    let start = Instant::now();
    for _ in 0..20 {
        pair.assert_well();
    }
    assert!(start.elapsed() < SOON);
    for (number, mut stream) in slow.into_iter().enumerate().filter(|(number, _)| number % 29 == 28) {
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(b"1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "the {number}th was forgotten: {answer}");
    }
}

#[test]
fn a_request_that_came_from_this_gateway_is_not_sent_round() {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let itself = Gateway::builder().listen(address).upstream(&format!("http://{address}")).start();
    let reply = Request::get(&format!("{}/-/v1/search?text=x", itself.url())).within(SOON).send();
    assert_eq!(reply.status, 508, "{}", reply.text());
    let packument = Request::get(&format!("{}/left", itself.url())).within(SOON).send();
    assert!([502, 503, 508].contains(&packument.status), "{}", packument.text());
}

fn refused(builder: GatewayBuilder) -> (Output, String) {
    let (mut command, _surroundings) = builder.command();
    let output = bounded(&mut command);
    let said = [&output.stdout[..], &output.stderr].concat();
    (output, String::from_utf8_lossy(&said).into_owned())
}

/// Its output; one that starts after all is killed.
fn bounded(command: &mut Command) -> Output {
    use std::process::Stdio;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a program");
    let start = Instant::now();
    while child.try_wait().expect("a child of this process").is_none() {
        if start.elapsed() > SOON {
            child.kill().expect("a child of this process");
        }
        std::thread::yield_now();
    }
    child.wait_with_output().expect("a child of this process")
}

#[test]
fn what_cannot_work_is_refused_at_the_start_in_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "not a folder").unwrap();
    let foreign = folder.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.txt"), "precious").unwrap();
    let newer = folder.path().join("newer");
    fs::create_dir(&newer).unwrap();
    fs::write(newer.join("format"), "open-registry data 99\n").unwrap();
    let used = Gateway::builder().start();
    let text = |path: &std::path::Path| path.display().to_string();
    let gateway = Gateway::builder;
    for (builder, words) in [
        (gateway().config_toml("[htttp]\nlisten = []\n"), vec!["htttp".to_owned(), "http".to_owned()]),
        (gateway().config_toml("[upstream]\nfesh = \"5m\"\n"), vec!["fesh".to_owned(), "fresh".to_owned()]),
        (gateway().config_toml("[upstream]\nfresh = \"soon\"\n"), vec!["upstream.fresh".to_owned()]),
        (gateway().env("OPEN_REGISTRY_UPSTREAM__FESH", "5m"), vec!["FESH".to_owned()]),
        (gateway().upstream("ftp://registry.example"), vec!["upstream.url".to_owned()]),
        (
            gateway().listen(port),
            vec!["cannot listen on".to_owned(), port.to_string(), "--listen".to_owned()],
        ),
        (gateway().data(&file), vec![text(&file)]),
        (gateway().data(&foreign), vec![text(&foreign), "--data".to_owned()]),
        (gateway().data(&newer), vec![text(&newer), "newer".to_owned()]),
        (gateway().config_toml("[store]\nmax_bytes = \"1KiB\"\n"), vec!["store.max_bytes".to_owned()]),
        (gateway().config_toml("[store]\nmetadata_share = 200\n"), vec!["store.metadata_share".to_owned()]),
        (gateway().config_toml("[store]\nscrub = \"1s\"\n"), vec!["store.scrub".to_owned()]),
        (gateway().config_toml("[upstream]\nchanges = \"ftp://x\"\n"), vec!["upstream.changes".to_owned()]),
        (gateway().data(used.data()), vec![text(used.data()), "in use".to_owned()]),
    ] {
        let (output, said) = refused(builder);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        for word in &words {
            assert!(errors.contains(word), "{word} is not in: {errors}");
        }
        assert!(errors.lines().all(|line| line.starts_with("error: ")), "{errors}");
        assert!(!said.contains("panicked"), "{said}");
    }
    assert_eq!(fs::read_to_string(foreign.join("thesis.txt")).unwrap(), "precious");
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
}
