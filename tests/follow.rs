//! Promise: a follower has its home's newest root by whichever way is left to it; nobody on any of the ways can take it back, lock it,
//! or keep it from what comes by another way; and what it had last is there after a start, and offline.
//!
//! All on loopback, and nothing is looked for.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use harness::http;
use harness::{
    Conduct, Gateway, GatewayBuilder, Identity, Package, Registry, RegistryBuilder, Stranger, in_own_network,
    until,
};
use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{RData, Record};
use resolver::head::{Head, Root, dns, name};
use resolver::index::address;
use resolver::peer::PeerId;
use serde_json::Value;
use tempfile::TempDir;

const ZONE: &str = "registry.open-registry.dev";
/// Between two questions that are answered 20 s pass, and a tenth more; and asking takes a moment.
const INTERVAL: Duration = Duration::from_secs(24);
/// How often it is measured how long a head takes.
const ROUNDS: usize = 15;
/// A follower that hears gossip has the new head by then, in half of all cases.
const MEDIAN: Duration = Duration::from_secs(1);
/// Packages, each of which makes another root.
const PACKAGES: usize = 40;

fn gateway(federation: &str) -> GatewayBuilder {
    Gateway::builder()
        .peers_at("127.0.0.1:0")
        .config_toml(&format!("[federation]\ndiscover = false\n{federation}\n"))
}

fn registry() -> Registry {
    let package = |number| Package::new(&format!("left-{number}")).version("1.0.0", |version| version);
    (0..PACKAGES).map(package).fold(Registry::builder(), RegistryBuilder::package).start()
}

fn root_of(home: &Gateway) -> Option<String> {
    home.status()["index"]["root"].as_str().map(str::to_owned)
}

fn followed_by(follower: &Gateway) -> Option<String> {
    follower.status()["followed"]["root"].as_str().map(str::to_owned)
}

/// Home gets one more package, and publishes it; which root it has then.
fn publish(home: &Gateway, number: usize) -> String {
    let before = root_of(home);
    assert_eq!(http::get(&format!("{}/left-{number}", home.url())).status, 200);
    until(|| root_of(home), |root| root.is_some() && *root != before).unwrap()
}

fn follows(follower: &Gateway, root: &str) {
    until(|| followed_by(follower), |followed| followed.as_deref() == Some(root));
}

#[test]
fn by_gossip_a_new_head_is_there_at_once() {
    let registry = registry();
    let home = gateway("").upstream(registry.url()).start();
    let follower = gateway("update_type = [\"pubsub\"]").flag("--federate").flag(&home.contact()).start();
    follows(&follower, &publish(&home, 0));
    let mut times: Vec<Duration> = (1..=ROUNDS).map(|number| time(&home, &follower, number)).collect();
    times.sort_unstable();
    let median = times[ROUNDS / 2];
    told(&format!("from home's root to the follower's by gossip, in order: {times:?}"));
    assert!(median < MEDIAN, "{median:?}");
    assert_eq!(follower.status()["followed"]["by"], "pubsub");
}

/// From home's own root to the follower's.
fn time(home: &Gateway, follower: &Gateway, number: usize) -> Duration {
    let root = publish(home, number);
    let began = Instant::now();
    while followed_by(follower).as_deref() != Some(root.as_str()) {
        assert!(began.elapsed() < Duration::from_secs(30), "the follower has not heard of {root}");
        thread::sleep(Duration::from_millis(2));
    }
    began.elapsed()
}

#[expect(clippy::print_stdout, reason = "figures for whoever asks for them with --nocapture")]
fn told(words: &str) {
    println!("{words}");
}

#[test]
fn by_http_dns_and_any_peer_it_is_there_within_their_interval() {
    in_own_network("by_http_dns_and_any_peer_it_is_there_within_their_interval", &[], || {
        let registry = registry();
        let home = gateway("").upstream(registry.url()).dns("127.0.0.1:53".parse().unwrap()).start();
        let first = publish(&home, 0);
        let by = |way: &str| {
            let follower = gateway("").flag("--federate").flag(&home.contact());
            (way.to_owned(), follower.flag("--update-type").flag(way).start())
        };
        let followers = ["http", "dns", "ipns"].map(by);
        for (_, follower) in &followers {
            follows(follower, &first);
        }
        let second = publish(&home, 1);
        let began = Instant::now();
        for (way, follower) in &followers {
            until(
                || (began.elapsed() > INTERVAL, followed_by(follower)),
                |(is_late, followed)| *is_late || followed.as_deref() == Some(&second),
            );
            follows(follower, &second);
            assert_eq!(follower.status()["followed"]["by"], way.as_str());
            told(&format!("by {way} after {:?}", began.elapsed()));
        }
    });
}

#[test]
fn what_was_last_is_there_after_a_start_and_offline_and_the_log_says_it() {
    let (registry, data) = (registry(), tempfile::tempdir().unwrap());
    let home = gateway("").upstream(registry.url()).start();
    let contact = home.contact();
    let start = || gateway("").data(data.path()).flag("--federate").flag(&contact);
    let follower = start().start();
    let root = publish(&home, 0);
    follows(&follower, &root);
    let said = |line: &str| line.contains(&root) && line.contains(&home.id()) && line.contains("signed");
    assert!(follower.wait_for_log(said, Duration::from_secs(10)), "{:?}", follower.log());
    drop((follower, home));
    for offline in ["", "offline = true\n"] {
        let follower = start().config_toml(&format!("{offline}[federation]\ndiscover = false\n")).start();
        assert_eq!(followed_by(&follower), Some(root.clone()));
        assert_eq!(follower.status()["followed"]["by"], "disk");
        let said = |line: &str| line.contains("Last known") && line.contains(&root);
        assert!(follower.wait_for_log(said, Duration::from_secs(10)), "{:?}", follower.log());
    }
}

/// Home, played: whatever it signs, the test sends by whichever way it likes.
struct Played {
    identity: Identity,
}

impl Played {
    fn id(&self) -> PeerId {
        self.identity.id().parse().unwrap()
    }

    /// Signed so long ago, with the sequence of that time.
    fn record(&self, number: u8, ago: Duration) -> Vec<u8> {
        signed(&self.identity, self.id(), number, now() - ago)
    }
}

/// A record for `name`, signed by whoever this is.
fn signed(by: &Identity, name: PeerId, number: u8, date: Duration) -> Vec<u8> {
    let sequence = u64::try_from(date.as_millis()).unwrap();
    let (until, ttl) = (date + Duration::from_secs(3600), Duration::from_secs(60));
    let head = Head { name, root: root(number), sequence, until, ttl };
    head.record(&by.sign(&head.message()))
}

fn root(number: u8) -> Root {
    Root::new(address::of_node(&[number])).unwrap()
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// What is said at one place, and can be changed.
type Saying = Arc<Mutex<Vec<u8>>>;

/// An HTTP server that answers everything with the same.
fn http_server(says: &Saying) -> SocketAddr {
    let (listener, says) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::clone(says));
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let (mut connection, body) = (connection.unwrap(), says.lock().unwrap().clone());
            thread::spawn(move || {
                let _ = connection.read(&mut [0; 4096]);
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = connection.write_all(&[head.as_bytes(), &body].concat());
            });
        }
    });
    address
}

/// A DNS server that has these texts for every name: as a gateway writes them where they are a record, otherwise as they are.
fn dns_server(says: &Saying) {
    let (socket, says) = (UdpSocket::bind("127.0.0.1:53").unwrap(), Arc::clone(says));
    thread::spawn(move || {
        let mut packet = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            let Ok(mut message) = Message::from_vec(&packet[..length]) else { continue };
            message.metadata.message_type = MessageType::Response;
            let name = message.queries[0].name().clone();
            let text = text_of(&says.lock().unwrap());
            let texts = TXT::from_bytes(text.iter().map(Vec::as_slice).collect());
            message.add_answer(Record::from_rdata(name, 20, RData::TXT(texts)));
            let _ = socket.send_to(&message.to_vec().unwrap(), from);
        }
    });
}

/// Whoever lies in DNS writes what he likes as if it were a record.
fn text_of(record: &[u8]) -> dns::Text {
    use base64::Engine as _;
    let text = format!("registry-record={}", base64::engine::general_purpose::STANDARD.encode(record));
    text.as_bytes().chunks(255).map(<[u8]>::to_vec).collect()
}

/// All four ways to a follower, each of which the test speaks on.
struct Ways {
    home: Played,
    http: Saying,
    dns: Saying,
    federation: String,
    data: TempDir,
}

const WAYS: [&str; 4] = ["http", "dns", "pubsub", "ipns"];

impl Ways {
    /// In a network of its own, for it is asked at the machine's own name server.
    fn open() -> Self {
        let home = Played { identity: Identity::new() };
        let (http, dns) = (Saying::default(), Saying::default());
        let address = http_server(&http);
        dns_server(&dns);
        // Nobody is there: home is reached by the others alone.
        let contact = format!("/ip4/127.0.0.1/tcp/9/p2p/{}", home.id());
        let federation = format!(
            "home = \"{contact}\"\nupdate_type = {WAYS:?}\n[zone]\nname = \"{ZONE}\"\n{}",
            home.identity.entry(&[format!("http://{address}")], "")
        );
        Self { home, http, dns, federation, data: tempfile::tempdir().unwrap() }
    }

    /// A follower that is told all this, each on its way and by another; who says it is there as long.
    fn told(&self, sayings: &[(&str, &[u8])]) -> (Gateway, Vec<Stranger>) {
        [&self.http, &self.dns].into_iter().for_each(|saying| saying.lock().unwrap().clear());
        let peer = |(way, record): &(&str, &[u8])| {
            let peer = Stranger::neighbour(Conduct::Honest, []);
            match *way {
                "http" => *self.http.lock().unwrap() = record.to_vec(),
                "dns" => *self.dns.lock().unwrap() = record.to_vec(),
                "ipns" => peer.answer(&format!("/ipns/{}", name(self.home.id())), record.to_vec()),
                _ => {}
            }
            peer
        };
        let peers: Vec<Stranger> = sayings.iter().map(peer).collect();
        let follower = gateway(&self.federation).data(self.data.path()).start();
        let topic = format!("open-registry/head/1/{}", self.home.id());
        for (peer, (way, record)) in peers.iter().zip(sayings) {
            peer.subscribe(&topic);
            peer.dial(&follower.contact());
            if *way == "pubsub" {
                // It knows all three that the follower takes part in.
                until(|| peer.members(), |members| *members > 2);
                peer.say(&topic, record.to_vec());
            }
        }
        (follower, peers)
    }

    /// What can be said on a way, and is not to count.
    fn lies(&self) -> [(&'static str, Vec<u8>); 6] {
        let (attacker, name) = (Identity::new(), self.home.id());
        let mut flipped = self.home.record(97, Duration::ZERO);
        *flipped.last_mut().unwrap() ^= 1;
        [
            ("an old one", self.home.record(0, Duration::from_secs(3000))),
            ("another's", signed(&attacker, name, 99, now())),
            ("another's from the end of time", signed(&attacker, name, 98, Duration::from_millis(1 << 52))),
            ("a flipped one", flipped),
            ("one from tomorrow", signed(&self.home.identity, name, 96, now() + Duration::from_secs(86_400))),
            ("nonsense", b"no record".to_vec()),
        ]
    }
}

/// Each way in its turn is an attacker's, who says each thing that he can say there; home's next head comes by another one.
#[test]
fn nobody_on_any_way_takes_a_root_back_locks_it_or_stops_the_others() {
    in_own_network("nobody_on_any_way_takes_a_root_back_locks_it_or_stops_the_others", &[], || {
        let ways = Ways::open();
        let mut number = 1;
        let first = ways.home.record(number, Duration::from_secs(2000));
        follows(&ways.told(&[("http", &first)]).0, &root(number).to_string());
        for (nth, owned) in WAYS.iter().enumerate() {
            for (what, lie) in ways.lies() {
                let honest = WAYS[(nth + 1) % WAYS.len()];
                number += 1;
                let ago = Duration::from_secs(1000 - 10 * u64::from(number));
                let (follower, _peers) =
                    ways.told(&[(owned, &lie), (honest, &ways.home.record(number, ago))]);
                follows(&follower, &root(number).to_string());
                let heard =
                    |status: &Value| status["followed"]["ways"][owned]["outcome"].as_str().map(str::to_owned);
                let status = until(|| follower.status(), |status| heard(status).is_some());
                let outcome = heard(&status).unwrap();
                assert!(!["new", "known"].contains(&outcome.as_str()), "{what} by {owned} was {outcome}");
                assert_eq!(followed_by(&follower), Some(root(number).to_string()), "after {what} by {owned}");
            }
        }
    });
}
