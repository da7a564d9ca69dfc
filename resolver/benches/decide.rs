//! What a decision costs among 10,000 peers and 1,000 declared networks: `cargo bench --workspace --bench decide`.
//!
//! It prints, with the spread of five rounds: what it costs to learn of a peer and of an outcome, and to look who of 64 has said to
//! hold a tarball; a decision for clients that differ each time, where peers are spread over the
//! world as people are (200 cities), and where all of them are in one; a look at everybody, which is what the decision saves;
//! arranging all peers, a snapshot of how they fare, and the memory of both.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark has a clock and says what it has seen"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use resolver::geo::{Code, Place, Whereabouts};
use resolver::health::Outcome;
use resolver::integrity::Integrity;
use resolver::inventory::{self, Prints};
use resolver::peer::{Endpoint, Peer, PeerId};
use resolver::peers::{Peers, Sighting, Target};
use resolver::rank::{Client, Purpose, Snapshot};

const PEERS: u32 = 10_000;
const NETWORKS: u32 = 1_000;
const ROUNDS: usize = 5;

/// Resident memory of this process, in kB.
fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Numbers that look drawn, the same in each run.
struct Draw(u64);

impl Draw {
    fn next(&mut self, below: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).unwrap_or(0) % below
    }
}

fn city(nth: u32, cities: u32) -> Whereabouts {
    let mut draw = Draw(u64::from(nth % cities) * 7919 + 1);
    let angle = |draw: &mut Draw, most: u32| draw.next(2 * most) as f32 - most as f32;
    let place = Place { latitude: angle(&mut draw, 60), longitude: angle(&mut draw, 180), accuracy_km: 20 };
    let letter = |draw: &mut Draw| b'A' + u8::try_from(draw.next(26)).unwrap_or(0);
    Whereabouts {
        place: Some(place),
        country: Some(Code([letter(&mut draw), letter(&mut draw)])),
        continent: Some(Code([b'A' + u8::try_from(nth % 6).unwrap_or(0), b'X'])),
        asn: Some(64_512 + nth % 3_000),
        prefix: 20,
    }
}

fn peer(nth: u32, cities: u32) -> Peer {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&nth.to_be_bytes());
    let network = |nth: u32| (IpAddr::V4(Ipv4Addr::from((nth * 40_503) << 12)), 20);
    let declared = (nth < NETWORKS).then(|| network(nth));
    Peer {
        id: PeerId::of_key(key),
        endpoints: vec![Endpoint { address: Ipv4Addr::from(0x0808_0000 + nth).into(), https: false }],
        urls: Vec::new(),
        whereabouts: city(nth, cities),
        networks: declared
            .into_iter()
            .filter_map(|(address, length)| ipnet::IpNet::new(address, length).ok())
            .collect(),
        capacity: 1.0,
        admitted: true,
    }
}

fn known(cities: u32) -> Peers {
    let now = Duration::ZERO;
    let mut peers = Peers::new(now);
    for nth in 0..PEERS {
        let peer = peer(nth, cities);
        let (id, address) = (peer.id, peer.endpoints[0].address);
        peers.learn(Sighting::Known(peer), now);
        // One in fifty is down.
        let passed = Outcome::Passed { load: 0.1, accepting: true };
        peers.learn(
            Sighting::Met(id, Target::Address(address), if nth % 50 == 0 { Outcome::Failed } else { passed }),
            now,
        );
    }
    peers
}

fn clients(located: bool) -> Vec<Client> {
    let mut draw = Draw(42);
    let one = |_| {
        let address = IpAddr::V4(Ipv4Addr::from(draw.next(1 << 31)));
        let whereabouts = if located { city(draw.next(100_000), 5_000) } else { Whereabouts::default() };
        Client::new(address.into(), false, whereabouts)
    };
    (0..2_000).map(one).collect()
}

/// Nanoseconds for each, the rounds in order.
fn each(count: usize, mut round: impl FnMut()) -> Vec<u128> {
    let mut rounds: Vec<u128> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            round();
            started.elapsed().as_nanos() / count as u128
        })
        .collect();
    rounds.sort_unstable();
    rounds
}

fn say(what: &str, rounds: &[u128]) {
    let us = |nanoseconds: u128| nanoseconds as f64 / 1_000.0;
    println!(
        "{what:<66} {:>10.2} us  ({:.2} to {:.2})",
        us(rounds[ROUNDS / 2]),
        us(rounds[0]),
        us(rounds[ROUNDS - 1])
    );
}

fn decisions(what: &str, snapshot: &Snapshot, clients: &[Client]) {
    let rounds = each(clients.len(), || {
        for client in clients {
            black_box(snapshot.decide(black_box(client), Purpose::Answer));
        }
    });
    say(what, &rounds);
}

/// What each sighting costs among all others.
fn learning() {
    let peer = |nth| peer(nth, 200);
    let all: Vec<Peer> = (0..PEERS).map(peer).collect();
    let rounds = each(all.len(), || {
        let mut peers = Peers::new(Duration::ZERO);
        for peer in &all {
            peers.learn(Sighting::Known(peer.clone()), Duration::ZERO);
        }
        black_box(peers);
    });
    say("a peer is met, at the start", &rounds);
    let mut peers = known(200);
    let mut now = Duration::from_secs(5);
    let rounds = each(all.len(), || {
        now += Duration::from_secs(10);
        for peer in &all {
            let (target, passed) =
                (Target::Address(peer.endpoints[0].address), Outcome::Passed { load: 0.1, accepting: true });
            peers.learn(Sighting::Met(peer.id, target, passed), now);
        }
    });
    say("an outcome is learned", &rounds);
}

/// What it costs to look who of 64 neighbours has said to hold a tarball, with 100,000 each.
fn holding() {
    let mut draw = Draw(7);
    let mut digest = || {
        let mut digest = [0; 64];
        digest[..4].copy_from_slice(&(draw.next(1 << 31) << 1 | draw.next(2)).to_be_bytes());
        Integrity::from_digest(digest)
    };
    let asked: Vec<Integrity> = (0..10_000).map(|_| digest()).collect();
    let neighbours: Vec<Prints> =
        (0..64).map(|_| (0..100_000).map(|_| inventory::print(&digest())).collect()).collect();
    let rounds = each(asked.len(), || {
        for integrity in &asked {
            black_box(neighbours.iter().filter(|prints| prints.holds(black_box(integrity))).count());
        }
    });
    say("who of 64 neighbours with 100,000 tarballs each holds one", &rounds);
}

fn main() {
    learning();
    holding();
    let mut spread = known(200);
    let snapshot = spread.snapshot(Duration::from_secs(1));
    decisions("decision, peers in 200 cities", &snapshot, &clients(true));
    decisions("decision, the same, nobody knows where the client is", &snapshot, &clients(false));
    let mut crowded = known(1);
    decisions("decision, all peers in one city", &crowded.snapshot(Duration::from_secs(1)), &clients(true));
    let few = &clients(true)[..20];
    let rounds = each(few.len(), || {
        for client in few {
            black_box(snapshot.explain(black_box(client), Purpose::Answer));
        }
    });
    say("a look at everybody (explain)", &rounds);

    say(
        "a snapshot, nobody has come or gone",
        &each(1, || drop(black_box(spread.snapshot(Duration::from_secs(1))))),
    );
    let links = |nth: u32| {
        let network = format!("192.168.{nth}.1/24").parse().expect("a network");
        resolver::links::Links(vec![resolver::links::Link { index: 1, networks: vec![network] }])
    };
    let mut nth = 0;
    let rounds = each(1, || {
        nth += 1;
        spread.learn(Sighting::Links(links(nth)), Duration::from_secs(1));
        drop(black_box(spread.snapshot(Duration::from_secs(1))));
    });
    say("a snapshot with everybody arranged anew", &rounds);
    let before = resident_kb();
    let kept: Vec<Snapshot> = (100..110)
        .map(|nth| {
            spread.learn(Sighting::Links(links(nth)), Duration::from_secs(1));
            spread.snapshot(Duration::from_secs(1))
        })
        .collect();
    let each = resident_kb().saturating_sub(before) as f64 / 1_024.0 / kept.len() as f64;
    println!("memory of a snapshot and its arrangement: {each:.1} MiB");
}
