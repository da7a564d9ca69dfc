//! Promise: https beside http, with a certificate that is renewed while clients are served, and nothing that a
//! client does to a handshake is felt by others.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::clients::{Mode, World};
use harness::http::{self, Failure, Request};
use harness::{Ca, Client, Gateway, Leaf, Package, Registry, in_own_network};
use nix::sys::signal::Signal;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

const SOON: Duration = Duration::from_secs(20);
const NAMES: &[&str] = &["127.0.0.1", "localhost"];
const TARBALL: &str = "/left/-/left-1.0.0.tgz";

fn left() -> Package {
    Package::new("left").version("1.0.0", |v| v.size(100_000))
}

fn registry() -> Registry {
    Registry::builder().package(left()).start()
}

fn gateway(registry: &Registry, leaf: &Leaf, folder: &Path) -> Gateway {
    Gateway::builder().upstream(registry.url()).tls(leaf.write(folder)).start()
}

fn https(gateway: &Gateway, path: &str) -> String {
    format!("https://{}{path}", gateway.https_address())
}

/// One connection over TLS that is kept alive.
struct Line(StreamOwned<ClientConnection, TcpStream>);

impl Line {
    fn open(address: SocketAddr, ca: &Ca) -> Self {
        Self::with(address, ca.client())
    }

    fn with(address: SocketAddr, config: ClientConfig) -> Self {
        let tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(SOON)).unwrap();
        let name = address.ip().to_string().try_into().unwrap();
        let mut line = Self(StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), tcp));
        line.0.conn.complete_io(&mut line.0.sock).unwrap();
        line
    }

    fn certificate(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// The status of the answer to one request.
    fn ping(&mut self) -> u16 {
        self.0.write_all(b"GET /-/ping HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n{}") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        String::from_utf8_lossy(&answer)["HTTP/1.1 ".len()..][..3].parse().unwrap()
    }
}

/// Waits until a figure is this one.
fn becomes(gateway: &Gateway, name: &str, value: f64) -> bool {
    let start = Instant::now();
    while start.elapsed() < SOON {
        if (gateway.metric(name, &[]) - value).abs() < 0.1 {
            return true;
        }
    }
    false
}

fn log_has(gateway: &Gateway, words: &str) -> bool {
    gateway.wait_for_log(|line| line.contains(words), SOON)
}

#[test]
fn packuments_and_tarballs_come_over_https_and_name_it() {
    let (ca, registry, folder) = (Ca::new(), registry(), tempfile::tempdir().unwrap());
    let gateway = gateway(&registry, &ca.leaf(NAMES), folder.path());

    for request in [Request::get(&https(&gateway, "/left")), Request::get(&https(&gateway, "/left")).http2()]
    {
        let reply = request.header("user-agent", "pnpm/10.0.0").trust(&ca).send();
        assert_eq!(reply.status, 200);
        let tarball = reply.json()["versions"]["1.0.0"]["dist"]["tarball"].as_str().unwrap().to_owned();
        assert_eq!(tarball, https(&gateway, TARBALL));
        let tarball = Request::get(&tarball).trust(&ca).send();
        assert!(tarball.body == left().at("1.0.0").tarball, "the tarball is not the package's");
    }
    let two = Request::get(&https(&gateway, "/-/ping")).http2().trust(&ca).send();
    assert_eq!(format!("{:?}", two.version), "HTTP/2.0");
    assert_eq!(http::get(&format!("{}/left", gateway.url())).status, 200, "http is not served beside it");
    let stranger = Request::get(&https(&gateway, "/left")).trust(&Ca::new()).try_send();
    assert!(matches!(stranger, Err(Failure::Connect(_))), "{stranger:?}");
}

#[test]
fn credentials_from_another_machine_are_passed_on_over_https_and_refused_over_http() {
    let test = "credentials_from_another_machine_are_passed_on_over_https_and_refused_over_http";
    // Who connects to an address of its own that is no loopback's comes from there.
    in_own_network(test, &[("gateway.example", [10, 0, 0, 9].into())], || {
        let (ca, registry, folder) = (Ca::new(), registry(), tempfile::tempdir().unwrap());
        let gateway = Gateway::builder()
            .upstream(registry.url())
            .listen(SocketAddr::from(([10, 0, 0, 9], 0)))
            .tls(ca.leaf(&["gateway.example"]).write(folder.path()))
            .env("OPEN_REGISTRY_HTTP__TLS_LISTEN", "10.0.0.9:0")
            .start();
        let ask = |url: &str| Request::get(url).header("authorization", "Bearer secret").trust(&ca).send();
        let passed_on = || registry.requests().iter().any(|one| one.header("authorization").is_some());

        assert_eq!(ask(&format!("{}/left", gateway.url())).status, 403);
        assert!(!passed_on());
        let port = gateway.https_address().port();
        assert_eq!(ask(&format!("https://gateway.example:{port}/left")).status, 200);
        assert!(passed_on());
    });
}

#[test]
fn tls_1_2_is_served_as_well_and_sessions_are_resumed() {
    let (ca, registry, folder) = (Ca::new(), registry(), tempfile::tempdir().unwrap());
    let gateway = gateway(&registry, &ca.leaf(NAMES), folder.path());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(certificates(&ca));
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut line = Line::with(gateway.https_address(), config.clone());
            assert_eq!((line.ping(), line.0.conn.protocol_version()), (200, Some(version.version)));
            kinds.push(format!("{:?}", line.0.conn.handshake_kind().unwrap()));
        }
        assert_eq!(kinds, ["Full", "Resumed"], "{version:?}");
    }
}

fn certificates(ca: &Ca) -> Vec<rustls::pki_types::CertificateDer<'static>> {
    use rustls::pki_types::pem::PemObject as _;
    rustls::pki_types::CertificateDer::pem_slice_iter(ca.pem().as_bytes()).map(Result::unwrap).collect()
}

#[test]
fn a_certificate_is_renewed_under_running_traffic() {
    let (ca, registry, folder) = (Ca::new(), registry(), tempfile::tempdir().unwrap());
    let (old, new) = (ca.leaf(NAMES), ca.leaf(NAMES));
    let gateway = gateway(&registry, &old, folder.path());
    let mut kept = Line::open(gateway.https_address(), &ca);
    assert_eq!((kept.ping(), kept.certificate()), (200, old.der.to_vec()));

    new.write(folder.path());
    gateway.signal(Signal::SIGHUP);
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < SOON, "the new certificate is not served");
        assert_eq!(kept.ping(), 200);
        let mut line = Line::open(gateway.https_address(), &ca);
        assert_eq!(line.ping(), 200);
        if line.certificate() == *new.der {
            break;
        }
    }
    assert_eq!(kept.ping(), 200);
}

#[test]
fn a_broken_pair_is_not_taken_and_the_log_says_why() {
    let (ca, registry, folder) = (Ca::new(), registry(), tempfile::tempdir().unwrap());
    let (old, new) = (ca.leaf(NAMES), ca.leaf(NAMES));
    let gateway = gateway(&registry, &old, folder.path());
    let reload = |cert: &str, key: &str, cause: &str| {
        std::fs::write(folder.path().join("cert.pem"), cert).unwrap();
        std::fs::write(folder.path().join("key.pem"), key).unwrap();
        gateway.signal(Signal::SIGHUP);
        assert!(log_has(&gateway, cause), "not said: {cause}\n{}", gateway.log().join("\n"));
        assert_eq!(Line::open(gateway.https_address(), &ca).certificate(), old.der.to_vec());
    };
    reload(&new.cert, &old.key, "its key is not that of the first certificate");
    reload("", &new.key, "holds no certificate");
    let expired = ca.expired_leaf(NAMES);
    reload(&expired.cert, &expired.key, "expired at 2002-01-01");
    std::fs::remove_file(folder.path().join("key.pem")).unwrap();
    gateway.signal(Signal::SIGHUP);
    assert!(log_has(&gateway, "key.pem: cannot be read"));
    assert_eq!(Line::open(gateway.https_address(), &ca).ping(), 200);
}

#[test]
fn a_certificate_that_cannot_be_served_keeps_the_gateway_from_starting_and_fails_the_check() {
    let ca = Ca::new();
    let [folder, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (good, foreign) = (ca.leaf(NAMES).write(folder.path()), ca.leaf(NAMES).write(other.path()));
    let mismatch = (good.0.clone(), foreign.1);
    let cause = "key.pem: its key is not that of the first certificate in ";
    for task in [None, Some("check")] {
        let (mut command, _surroundings) = Gateway::builder().offline().tls(mismatch.clone()).command();
        let output = command.args(task).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(cause), "{task:?}: {said}");
    }
    let (mut command, _surroundings) =
        Gateway::builder().offline().config_toml("[http]\ntls_listen = [\"127.0.0.1:0\"]\n").command();
    let said = String::from_utf8_lossy(&command.output().unwrap().stderr).into_owned();
    assert!(said.contains("https is to be served without a certificate"), "{said}");
    for key in ["http", "dns"] {
        let config = format!("[{key}]\ntls_listen = [\"127.0.0.1:0\"]\n");
        let check = Gateway::builder().offline().config_toml(&config).flag("check");
        let (mut command, _surroundings) = check.command();
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("is to be served without a cert"), "{said}");
    }
    let (mut command, _surroundings) = Gateway::builder().offline().tls(good).command();
    let said = String::from_utf8_lossy(&command.arg("check").output().unwrap().stdout).into_owned();
    assert!(said.contains("tls: certificate for 127.0.0.1, localhost until "), "{said}");
}

#[test]
fn a_certificate_that_expired_while_nothing_ran_stops_nobody_but_its_own_clients() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let expired = ca.expired_leaf(NAMES).write(folder.path());
    let gateway = Gateway::builder().offline().tls(expired.clone()).start();
    assert_eq!(http::get(&format!("{}/-/ping", gateway.url())).status, 200);
    let told = |line: &str| line.contains("no client will take") && line.contains("expired at 2002-01-01");
    assert!(gateway.wait_for_log(told, SOON), "{:#?}", gateway.log());
    let (mut check, _surroundings) = Gateway::builder().offline().tls(expired).flag("check").command();
    let output = check.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("expired at 2002-01-01"), "{said}");

    // And a good one takes its place.
    let good = ca.leaf(NAMES);
    good.write(folder.path());
    gateway.signal(Signal::SIGHUP);
    let taken = |line: &str| line.contains("certificate for 127.0.0.1, localhost until 4");
    assert!(gateway.wait_for_log(taken, SOON), "{:#?}", gateway.log());
    assert_eq!(Line::open(gateway.https_address(), &ca).ping(), 200);
}

#[test]
fn the_certificates_end_is_told_to_operators() {
    let (ca, registry, folder) = (Ca::new(), registry(), tempfile::tempdir().unwrap());
    let gateway = gateway(&registry, &ca.leaf(NAMES), folder.path());
    let name = "open_registry_tls_certificate_expiry_timestamp_seconds";
    // rcgen's certificates are valid until the year 4096.
    assert!(gateway.metric(name, &[]) > 60_000_000_000.0);
    let without = Gateway::builder().upstream(registry.url()).start();
    let page = http::get(&format!("{}/metrics", without.operator_url())).text();
    assert!(!page.lines().any(|line| line.starts_with(name)), "{page}");
}

#[test]
fn plain_http_at_the_door_for_https_is_told_so_and_closed() {
    let (ca, registry, folder) = (Ca::new(), registry(), tempfile::tempdir().unwrap());
    let gateway = gateway(&registry, &ca.leaf(NAMES), folder.path());
    let start = Instant::now();
    let heard = http::raw(gateway.https_address(), b"GET /left HTTP/1.1\r\nhost: x\r\n\r\n", SOON);
    let heard = String::from_utf8_lossy(&heard).into_owned();
    assert!(heard.starts_with("HTTP/1.1 400 ") && heard.ends_with("begins with https://\n"), "{heard}");
    let (head, body) = heard.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    // A handshake record, and then nothing that belongs into one.
    assert!(http::raw(gateway.https_address(), b"\x16\x03\x01\x00\x04junk", SOON).len() < 16);
    assert!(start.elapsed() < Duration::from_secs(8), "it took {:?}", start.elapsed());
    assert!(becomes(&gateway, "open_registry_tls_handshake_failures_total", 2.0));
}

#[test]
fn a_handshake_that_never_ends_frees_its_place() {
    let (ca, registry, folder) = (Ca::new(), registry(), tempfile::tempdir().unwrap());
    let gateway = gateway(&registry, &ca.leaf(NAMES), folder.path());
    let begun: Vec<TcpStream> = [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"]
        .into_iter()
        .map(|says| {
            let mut stream = TcpStream::connect(gateway.https_address()).unwrap();
            stream.write_all(says).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            stream
        })
        .collect();
    assert_eq!(Line::open(gateway.https_address(), &ca).ping(), 200, "others are served meanwhile");
    for mut stream in begun {
        let heard = stream.read(&mut [0; 64]);
        let timed_out = heard.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        assert!(!timed_out, "a handshake that stands still keeps its place");
    }
    assert!(becomes(&gateway, "open_registry_http_connections", 0.0), "places were not freed");
    assert!(becomes(&gateway, "open_registry_tls_handshake_failures_total", 3.0));
}

#[test]
fn an_answer_under_way_over_https_comes_to_its_end_when_the_gateway_is_stopped() {
    let large = Package::new("large").version("1.0.0", |v| v.size(24 << 20));
    let registry = Registry::builder().package(large.clone()).start();
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let mut gateway = gateway(&registry, &ca.leaf(NAMES), folder.path());
    let path = "/large/-/large-1.0.0.tgz";
    assert_eq!(http::get(&format!("{}{path}", gateway.url())).status, 200);
    let mut slow = Line::open(gateway.https_address(), &ca);
    write!(slow.0, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut first = [0; 4096];
    slow.0.read_exact(&mut first).unwrap();

    gateway.signal(Signal::SIGTERM);

    let start = Instant::now();
    while TcpStream::connect(gateway.https_address()).is_ok() {
        assert!(start.elapsed() < SOON, "it still takes connections");
    }
    let mut whole = first.to_vec();
    slow.0.read_to_end(&mut whole).unwrap();
    let body = whole.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(whole[body..] == large.at("1.0.0").tarball, "it was broken off");
    assert_eq!(gateway.wait(SOON).code(), Some(0));
}

#[test]
fn connections_that_have_said_nothing_do_not_hold_up_a_stop() {
    let (ca, registry, folder) = (Ca::new(), registry(), tempfile::tempdir().unwrap());
    let mut gateway = gateway(&registry, &ca.leaf(NAMES), folder.path());
    let mute = TcpStream::connect(gateway.https_address()).unwrap();
    let mut idle = Line::open(gateway.https_address(), &ca);
    assert_eq!(idle.ping(), 200);
    assert!(becomes(&gateway, "open_registry_http_connections", 2.0));

    gateway.signal(Signal::SIGTERM);

    let start = Instant::now();
    assert_eq!(gateway.wait(SOON).code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    drop(mute);
}

/// One test per client, so that each fails for itself.
macro_rules! promises {
    ($($test:ident: $client:ident,)*) => {$(
        #[test]
        fn $test() {
            installs_over_https(stringify!($test), Client::$client);
        }
    )*};
}

promises! {
    npm_installs_over_https_with_a_private_authority: Npm11,
    yarn_1_installs_over_https_with_a_private_authority: Yarn1,
    yarn_4_installs_over_https_with_a_private_authority: Yarn4,
    pnpm_installs_over_https_with_a_private_authority: Pnpm12,
    bun_installs_over_https_with_a_private_authority: Bun,
    deno_installs_over_https_with_a_private_authority: Deno,
}

fn installs_over_https(test: &str, client: Client) {
    World::enter(test, client, |world| {
        let straight = world.checkout("straight");
        client.install(&straight, &world.straight(), Mode::Cold).expect_success();
        world.registry.reset_log();

        let gateway = world.https_gateway();
        let through = world.checkout("through");
        client.install(&through, &world.through_https(&gateway), Mode::Cold).expect_success();

        assert!(!straight.installed().is_empty());
        assert_eq!(through.installed(), straight.installed());
        world.assert_only_the_gateway_asked();
        assert_eq!(gateway.metric("open_registry_tls_handshake_failures_total", &[]).to_string(), "0");
    });
}
