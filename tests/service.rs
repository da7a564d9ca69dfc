//! Promise: a service manager can hold the sockets, is told how the gateway is, and restarts it without a client
//! noticing.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use harness::http::{self, Request};
use harness::{Ca, Gateway, Package, Registry};
use nix::sys::signal::Signal;

const SOON: Duration = Duration::from_secs(20);
const NAMES: &[&str] = &["127.0.0.1"];

fn registry() -> Registry {
    Registry::builder().package(Package::new("left").version("1.0.0", |v| v.size(100_000))).start()
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// What a gateway says that does not start.
fn refusal(builder: harness::GatewayBuilder) -> String {
    let (mut command, _surroundings) = builder.command();
    let output = command.output().unwrap();
    assert!(!output.status.success(), "it ran");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Clients that ask again and again until told to stop.
struct Stream {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    asking: Vec<JoinHandle<()>>,
}

impl Stream {
    /// `ask` panics when an answer is not what it should be.
    fn of(clients: usize, ask: impl Fn() -> usize + Clone + Send + 'static) -> Self {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |_| {
            let (stop, answers, ask) = (Arc::clone(&stop), Arc::clone(&answers), ask.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    answers.fetch_add(ask(), Ordering::Relaxed);
                }
            })
        };
        Self { asking: (0..clients).map(client).collect(), stop, answers }
    }

    fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    /// Waits until there are some more answers.
    fn goes_on(&self) {
        let (before, start) = (self.answers(), Instant::now());
        while self.answers() < before + 10 {
            assert!(start.elapsed() < SOON, "the stream stands still");
            assert!(!self.asking.iter().any(JoinHandle::is_finished), "a client has failed");
            thread::yield_now();
        }
    }

    /// How many answers there were; panics when one was not.
    fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.asking {
            client.join().expect("a client has failed");
        }
        self.answers.load(Ordering::Relaxed)
    }
}

/// Requests over one connection until it is told to close; how many were answered.
fn keep_asking(address: SocketAddr) -> usize {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    for count in 1.. {
        stream.write_all(b"GET /-/ping HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n{}") {
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).unwrap(), 1, "closed after {count}: {answer:?}");
            answer.push(byte[0]);
        }
        let answer = String::from_utf8_lossy(&answer).to_lowercase();
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        if answer.contains("connection: close") || count == 1000 {
            return count;
        }
    }
    unreachable!()
}

#[test]
#[expect(clippy::print_stdout, reason = "a figure for whoever asks for it with --nocapture")]
fn twenty_restarts_lose_no_request_while_the_sockets_stay_open() {
    let (registry, ca, folder) = (registry(), Arc::new(Ca::new()), tempfile::tempdir().unwrap());
    let ((http, address), (https, secure)) = (listener(), listener());
    let mut gateway = Gateway::builder()
        .upstream(registry.url())
        .handed("http", http)
        .handed("https", https)
        .tls(ca.leaf(NAMES).write(folder.path()))
        .start();
    assert_eq!((gateway.address(), gateway.https_address()), (address, secure));
    let tarball = format!("http://{address}/left/-/left-1.0.0.tgz");
    let body = http::get(&tarball).body;
    let one_request_each = Stream::of(2, move || {
        let reply = Request::get(&tarball).send();
        assert!(reply.status == 200 && reply.body == body, "{} {:?}", reply.status, reply.cut);
        1
    });
    let kept_alive = Stream::of(1, move || keep_asking(address));
    let over_tls = Stream::of(1, move || {
        assert_eq!(Request::get(&format!("https://{secure}/-/ping")).trust(&ca).send().status, 200);
        1
    });
    let over_http2 = Stream::of(1, move || {
        assert_eq!(Request::get(&format!("http://{address}/left")).http2().send().status, 200);
        1
    });
    let streams = [one_request_each, kept_alive, over_tls, over_http2];

    for _ in 0..20 {
        streams.iter().for_each(Stream::goes_on);
        assert_eq!(gateway.terminate().code(), Some(0));
        gateway.restart();
    }

    streams.iter().for_each(Stream::goes_on);
    let answers: Vec<usize> = streams.into_iter().map(Stream::end).collect();
    println!("answers across 20 restarts, by kind of client: {answers:?}");
}

#[test]
fn sockets_come_by_name_and_take_the_place_of_configured_addresses() {
    let registry = registry();
    let ((first, a), (second, b), (operator, c)) = (listener(), listener(), listener());
    let gateway = Gateway::builder()
        .upstream(registry.url())
        .handed("operator", operator)
        .handed("http", first)
        .handed("http", second)
        .start();
    for address in [a, b] {
        assert_eq!(http::get(&format!("http://{address}/left")).status, 200);
    }
    assert_eq!(gateway.operator_url(), format!("http://{c}"));
    assert_eq!(http::get(&format!("http://{c}/healthz")).status, 200);
    let listening = gateway.log().iter().filter(|line| line.contains(r#""message":"listening""#)).count();
    assert_eq!(listening, 3, "a configured address was bound as well: {:#?}", gateway.log());
}

#[test]
fn a_socket_that_cannot_be_served_is_refused_with_its_cause() {
    let builder = || Gateway::builder().offline();
    let said = refusal(builder().handed("web", listener().0));
    assert!(said.contains(r#"the name "web"; those that are known are http, https, dns, dot and"#), "{said}");
    let said = refusal(builder().handed("http", UdpSocket::bind("127.0.0.1:0").unwrap()));
    assert!(said.contains(r#"handed over as "http" cannot be used"#), "{said}");
    let said = refusal(builder().handed("http:http", listener().0));
    assert!(said.contains("1 sockets were handed over with 2 names"), "{said}");
}

#[test]
fn half_a_pair_of_credentials_costs_what_needs_it_and_nothing_else() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("tls.cert"), ca.leaf(NAMES).cert).unwrap();
    let ((https, a), (dot, b)) = (listener(), listener());
    let gateway = Gateway::builder()
        .offline()
        .dns(SocketAddr::from(([127, 0, 0, 1], 0)))
        .env("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap())
        .handed("https", https)
        .handed("dot", dot)
        .start();
    assert_eq!(http::get(&format!("{}/-/ping", gateway.url())).status, 200);
    for address in [a, b] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "who came for TLS is left waiting");
    }
    for words in [
        "not the credential tls.key; the units of systemd/ take it from /etc/credstore/open-registry.tls.key",
        "https is to be served without a certificate; set cert",
        "dot is to be served without a certificate; set cert",
    ] {
        assert!(gateway.wait_for_log(|line| line.contains(words), SOON), "{words}: {:#?}", gateway.log());
    }
}

/// What a service manager hears.
struct Manager(UnixDatagram);

impl Manager {
    fn new(folder: &Path) -> Self {
        let socket = UnixDatagram::bind(folder.join("notify")).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self(socket)
    }

    fn next(&self) -> Option<String> {
        let mut words = [0; 4096];
        let count = self.0.recv(&mut words).ok()?;
        Some(String::from_utf8_lossy(&words[..count]).into_owned())
    }

    /// The next word that is no watchdog's.
    fn hears(&self) -> String {
        loop {
            let words = self.next().expect("the gateway says nothing");
            if words != "WATCHDOG=1\n" {
                return words;
            }
        }
    }
}

fn managed(registry: &Registry, folder: &Path) -> harness::GatewayBuilder {
    let socket = folder.join("notify");
    Gateway::builder().upstream(registry.url()).env("NOTIFY_SOCKET", socket.to_str().unwrap())
}

#[test]
fn the_service_manager_is_told_ready_reloading_and_stopping() {
    let (registry, ca, folder) = (registry(), Ca::new(), tempfile::tempdir().unwrap());
    let manager = Manager::new(folder.path());
    let (old, new) = (ca.leaf(NAMES), ca.leaf(&["127.0.0.1", "new.example"]));
    let mut gateway = managed(&registry, folder.path()).tls(old.write(folder.path())).start();
    let said = manager.hears();
    assert!(said.starts_with("READY=1\nSTATUS=Serving with a certificate for 127.0.0.1 until "), "{said}");
    assert!(registry.requests().iter().any(|one| one.path == "/-/ping"), "upstream was not tried before");

    new.write(folder.path());
    gateway.signal(Signal::SIGHUP);
    let said = manager.hears();
    assert!(said.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{said}");
    let said = manager.hears();
    assert!(said.starts_with("READY=1\nSTATUS=Serving with a certificate for 127.0.0.1, new.e"), "{said}");

    std::fs::write(folder.path().join("cert.pem"), "").unwrap();
    gateway.signal(Signal::SIGHUP);
    assert!(manager.hears().starts_with("RELOADING=1\n"));
    let said = manager.hears();
    assert!(said.starts_with("READY=1\nSTATUS=Serving with the certificate before; the new one"), "{said}");

    gateway.signal(Signal::SIGTERM);
    let said = manager.hears();
    assert!(said.starts_with("STOPPING=1\nSTATUS="), "{said}");
    assert_eq!(gateway.wait(SOON).code(), Some(0));
}

#[test]
fn the_watchdog_is_fed_while_the_loops_turn_and_not_by_a_process_that_stands_still() {
    let (registry, folder) = (registry(), tempfile::tempdir().unwrap());
    let manager = Manager::new(folder.path());
    let gateway = managed(&registry, folder.path()).env("WATCHDOG_USEC", "1000000").start();
    let fed = |count| {
        let words = std::iter::from_fn(|| manager.next());
        words.filter(|words| words == "WATCHDOG=1\n").take(count).count() == count
    };
    assert!(fed(8), "it is not fed");
    gateway.signal(Signal::SIGSTOP);
    manager.0.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    while let Some(words) = manager.next() {
        assert!(words.starts_with("WATCHDOG=1") || words.starts_with("READY=1"), "{words}");
    }
    gateway.signal(Signal::SIGCONT);
    manager.0.set_read_timeout(Some(SOON)).unwrap();
    assert!(fed(3), "it is not fed any more");
}
