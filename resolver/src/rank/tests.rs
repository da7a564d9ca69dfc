//! Promises about whom a client is told.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use std::collections::BTreeSet;

use ipnet::IpNet;

use super::table::{Standing, THIS, This};
use super::*;
use crate::geo::{Code, Place, Whereabouts};
use crate::health::State;
use crate::links::{Link, Links};
use crate::peer::{Endpoint, Peer, PeerId};

mod properties;

fn place(latitude: f32, longitude: f32) -> Whereabouts {
    Whereabouts { place: Some(Place { latitude, longitude, accuracy_km: 0 }), ..Whereabouts::default() }
}

/// A peer with a public address in a place.
fn peer(nth: u8, whereabouts: Whereabouts) -> Peer {
    peer_at(nth, &alloc::format!("198.18.0.{nth}"), whereabouts)
}

fn peer_at(nth: u8, address: &str, whereabouts: Whereabouts) -> Peer {
    Peer {
        id: PeerId::of_key([nth; 32]),
        endpoints: vec![Endpoint { address: address.parse().unwrap(), https: false }],
        urls: Vec::new(),
        whereabouts,
        networks: Vec::new(),
        capacity: 1.0,
        admitted: true,
    }
}

fn up() -> Standing {
    Standing {
        state: State::Up,
        endpoints: 1,
        urls: 0,
        weight: 1.0,
        load: 0.0,
        changes_in_s: Some(13),
        quarantined_s: None,
    }
}

fn down() -> Standing {
    Standing { state: State::Down, endpoints: 0, weight: 0.0, ..up() }
}

fn suspect() -> Standing {
    Standing { state: State::Suspect, ..up() }
}

fn snapshot(peers: &[(Peer, Standing)]) -> Snapshot {
    snapshot_of(&This::default(), peers, &Links::default())
}

fn snapshot_of(this: &This, peers: &[(Peer, Standing)], links: &Links) -> Snapshot {
    let table = Table::new(this, peers.iter().map(|(peer, _)| peer.clone()), links);
    let standings =
        core::iter::once(Standing::own(true, 0.0)).chain(peers.iter().map(|(_, standing)| *standing));
    Snapshot::new(Arc::new(table), standings.collect(), true)
}

fn client(address: &str, whereabouts: Whereabouts) -> Client {
    Client::new(address.parse::<IpAddr>().unwrap().into(), false, whereabouts)
}

fn numbers(decision: &Decision) -> Vec<u32> {
    decision.ranked.iter().map(|one| one.number).collect()
}

fn told(snapshot: &Snapshot, client: &Client) -> Vec<u32> {
    numbers(&snapshot.decide(client, Purpose::Answer))
}

const ZURICH: (f32, f32) = (47.38, 8.54);
const PARIS: (f32, f32) = (48.86, 2.35);
const TOKYO: (f32, f32) = (35.68, 139.69);

fn around_the_world() -> Vec<(Peer, Standing)> {
    [ZURICH, PARIS, TOKYO].iter().zip(1..).map(|(at, nth)| (peer(nth, place(at.0, at.1)), up())).collect()
}

#[test]
fn the_nearest_comes_first_and_one_on_another_continent_after_this_gateway() {
    let snapshot = snapshot(&around_the_world());
    // Where nobody knows how far this gateway is, it counts as 80 ms away: nearer than another continent.
    assert_eq!(told(&snapshot, &client("192.0.2.1", place(47.0, 8.0))), [1, 2, THIS]);
    assert_eq!(told(&snapshot, &client("192.0.2.1", place(35.0, 139.0)))[..2], [3, THIS]);
    let down: Vec<_> = around_the_world().into_iter().map(|(peer, _)| (peer, down())).collect();
    let decision =
        super::tests::snapshot(&down).decide(&client("192.0.2.1", place(47.0, 8.0)), Purpose::Answer);
    assert_eq!(numbers(&decision), [THIS], "what it holds it can serve");
}

/// Clients of many networks: a hash would not choose the same for all of them.
fn clients(whereabouts: Whereabouts) -> impl Iterator<Item = Client> {
    (0..64).map(move |nth| client(&alloc::format!("8.8.{nth}.1"), whereabouts))
}

#[test]
fn nobody_is_sent_away_to_whom_nothing_relates_him() {
    let (unplaced, zurich) = (Whereabouts::default(), place(ZURICH.0, ZURICH.1));
    let peers = [(peer(1, unplaced), up()), (peer(2, zurich), up())];
    let from = |this: Whereabouts, client: Whereabouts| {
        let this = This { whereabouts: this, ..This::default() };
        let snapshot = snapshot_of(&this, &peers, &Links::default());
        clients(client).map(|client| told(&snapshot, &client)).collect::<BTreeSet<_>>()
    };
    let of = |told: [u32; 3]| BTreeSet::from([told.to_vec()]);
    let tokyo = place(TOKYO.0, TOKYO.1);
    for this in [unplaced, zurich, tokyo] {
        assert!(from(this, unplaced).iter().all(|told| told[0] == THIS), "nobody knows where the client is");
    }
    assert_eq!(from(unplaced, place(47.0, 8.0)), of([2, THIS, 1]), "one that is known to be near");
    assert_eq!(from(unplaced, tokyo), of([THIS, 2, 1]), "one that is known to be far");
    assert_eq!(from(tokyo, zurich), of([2, THIS, 1]), "nobody knows how far the other one is");
}

#[test]
fn the_continent_alone_says_who_is_nearer() {
    let at = |country: &str, continent: &str| Whereabouts {
        country: Code::parse(country),
        continent: Code::parse(continent),
        ..Whereabouts::default()
    };
    let peers = [(peer(1, at("KR", "AS")), up()), (peer(2, Whereabouts::default()), up())];
    let this = This { whereabouts: at("CH", "EU"), ..This::default() };
    let snapshot = snapshot_of(&this, &peers, &Links::default());
    for client in clients(at("JP", "AS")) {
        assert_eq!(told(&snapshot, &client), [1, THIS, 2]);
    }
    for client in clients(at("DE", "EU")) {
        assert_eq!(told(&snapshot, &client), [THIS, 1, 2]);
    }
}

#[test]
fn a_client_of_the_internet_is_told_private_addresses_for_want_of_public_ones_alone() {
    let addresses = |told: &[&str]| told.iter().map(|one| one.parse::<IpAddr>().unwrap()).collect::<Vec<_>>();
    let campus: Vec<IpNet> = vec!["130.59.0.0/16".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
    let with = |all: &[&str]| {
        let endpoints =
            addresses(all).into_iter().map(|address| Endpoint { address, https: false }).collect();
        Peer { endpoints, networks: campus.clone(), ..peer(1, Whereabouts::default()) }
    };
    let told = |all: &[&str], client: &str| {
        let everywhere = Standing { endpoints: u8::MAX, ..up() };
        let snapshot = snapshot(&[(with(all), everywhere)]);
        let decision = snapshot.decide(&self::client(client, Whereabouts::default()), Purpose::Answer);
        snapshot.addresses(&decision.ranked[0]).map(|endpoint| endpoint.address).collect::<Vec<_>>()
    };
    let both = ["192.168.7.9", "130.59.31.7"];
    assert_eq!(told(&both, "130.59.31.80"), addresses(&both[1..]));
    assert_eq!(told(&both, "10.1.2.3"), addresses(&both));
    assert_eq!(
        told(&both[..1], "130.59.31.80"),
        addresses(&both[..1]),
        "its operator says that it serves them"
    );
}

#[test]
fn scopes_do_not_reach_into_private_space() {
    let snapshot = snapshot(&around_the_world());
    let scope = |network: &str| {
        let network: IpNet = network.parse().unwrap();
        let scope = snapshot.scope(&Client::new(network, false, Whereabouts::default()));
        IpNet::new(network.addr(), scope).unwrap().trunc()
    };
    for (private, public) in [
        ("172.16.5.0/24", "172.217.0.0/24"),
        ("100.64.1.0/24", "100.1.2.0/24"),
        ("169.254.1.0/24", "169.1.2.0/24"),
        ("198.51.100.0/24", "198.1.2.0/24"),
        ("192.168.1.0/24", "192.9.1.0/24"),
        ("2001:db8:1::/56", "2001:620::/48"),
        ("3fff::/56", "3ffe:1::/48"),
    ] {
        let (private, public) = (scope(private), scope(public));
        assert!(!public.contains(&private) && !private.contains(&public), "{private}, {public}");
    }
}

#[test]
fn a_declared_network_wins_over_distance_and_the_longest_over_the_others() {
    let mut peers = around_the_world();
    peers[1].0.networks = vec!["203.0.0.0/16".parse().unwrap()];
    peers[2].0.networks = vec!["203.0.113.0/24".parse().unwrap()];
    let snapshot = snapshot(&peers);
    assert_eq!(told(&snapshot, &client("203.0.113.9", place(47.0, 8.0))), [3, 2, 1]);
    assert_eq!(told(&snapshot, &client("203.0.7.9", place(47.0, 8.0))), [2, 1, THIS]);
    // A resolver that tells of a /16 has told less than the /24.
    let vague = Client::new("203.0.113.0/16".parse().unwrap(), false, place(47.0, 8.0));
    assert_eq!(told(&snapshot, &vague), [2, 1, THIS]);
}

#[test]
fn the_same_autonomous_system_wins_over_distance() {
    let mut peers = around_the_world();
    peers[2].0.whereabouts.asn = Some(559);
    let here = Whereabouts { asn: Some(559), ..place(47.0, 8.0) };
    assert_eq!(told(&snapshot(&peers), &client("192.0.2.1", here)), [3, 1, 2]);
}

#[test]
fn the_same_link_wins_over_everything() {
    let links = Links(vec![Link::written(2, &["192.168.7.9/24"])]);
    let neighbour = (peer_at(1, "192.168.7.10", Whereabouts::default()), up());
    let mut other = (peer_at(2, "192.168.8.10", Whereabouts::default()), up());
    other.0.networks = vec!["192.168.0.0/16".parse().unwrap()];
    let snapshot = snapshot_of(&This::default(), &[neighbour, other], &links);
    let at_home = Client::new("192.168.7.20/32".parse().unwrap(), true, Whereabouts::default());
    let decision = snapshot.decide(&at_home, Purpose::Answer);
    assert_eq!(numbers(&decision).into_iter().collect::<BTreeSet<_>>(), [0, 1, 2].into());
    assert_eq!(numbers(&decision)[2], 2, "this gateway and its neighbour are as near");
    let behind_a_router = Client::new("10.1.2.3/32".parse().unwrap(), true, Whereabouts::default());
    assert!(told(&snapshot, &behind_a_router)[..2].contains(&THIS));
    let stranger = client("192.0.2.1", Whereabouts::default());
    assert_eq!(told(&snapshot, &stranger), [THIS], "private addresses mean nothing to it");
}

#[test]
fn who_is_not_admitted_is_never_told() {
    let mut peers = around_the_world();
    peers[0].0.admitted = false;
    peers[1].1.quarantined_s = Some(7);
    let snapshot = snapshot(&peers);
    let here = client("192.0.2.1", place(47.0, 8.0));
    assert_eq!(told(&snapshot, &here), [THIS, 3]);
    let considered = snapshot.explain(&here, Purpose::Answer);
    let reasons: Vec<_> = considered.iter().filter_map(|one| one.verdict.err()).collect();
    assert_eq!(reasons, [Rejection::NotAdmitted, Rejection::Quarantined(7)]);
}

#[test]
fn a_suspect_serves_those_who_have_no_better_of_its_tier() {
    let mut peers = around_the_world();
    peers[0].1 = suspect();
    let here = client("192.0.2.1", place(47.0, 8.0));
    assert_eq!(told(&snapshot(&peers), &here), [2, THIS, 3]);
    peers[0].0.networks = vec!["192.0.2.0/24".parse().unwrap()];
    let decision = snapshot(&peers).decide(&here, Purpose::Answer);
    assert_eq!(numbers(&decision), [1, 2, THIS], "its own network's clients have no better");
    assert!(decision.degraded);
}

#[test]
fn a_border_and_load_cost_something() {
    let at = |country: &str, continent: &str| Whereabouts {
        country: Code::parse(country),
        continent: Code::parse(continent),
        ..place(47.5, 9.5)
    };
    let peers = [(peer(1, at("AT", "EU")), up()), (peer(2, at("CH", "EU")), up())];
    let here = client("192.0.2.1", at("CH", "EU"));
    let costs: Vec<f64> =
        snapshot(&peers).decide(&here, Purpose::Answer).ranked.iter().map(|one| one.cost.total()).collect();
    assert_eq!(costs[..2], [15.0, 20.0]);
    let busy = Standing { load: 0.9, ..up() };
    let peers = [(peer(1, at("AT", "EU")), up()), (peer(2, at("CH", "EU")), busy)];
    assert_eq!(told(&snapshot(&peers), &here), [1, 2, THIS]);
    let full = Standing { load: 0.96, ..up() };
    let peers = [(peer(1, at("AT", "EU")), up()), (peer(2, at("CH", "EU")), full)];
    assert_eq!(told(&snapshot(&peers), &here), [1, THIS]);
}

#[test]
fn this_gateway_is_ranked_like_the_others_where_its_place_is_known() {
    let this = This { whereabouts: place(ZURICH.0, ZURICH.1), ..This::default() };
    let snapshot = snapshot_of(&this, &around_the_world()[1..], &Links::default());
    assert_eq!(told(&snapshot, &client("192.0.2.1", place(47.0, 8.0))), [THIS, 1, 2]);
}

#[test]
fn who_is_about_to_stop_tells_others() {
    let table =
        Table::new(&This::default(), around_the_world().into_iter().map(|(peer, _)| peer), &Links::default());
    let stopping = vec![Standing::own(false, 0.0), up(), down(), down()];
    let snapshot = Snapshot::new(Arc::new(table), stopping, true);
    assert_eq!(told(&snapshot, &client("192.0.2.1", Whereabouts::default())), [1]);
}

#[test]
fn an_answer_holds_until_somebody_better_may_be_back() {
    let mut peers = around_the_world();
    peers[0].1 = Standing { changes_in_s: Some(5), ..down() };
    let here = client("192.0.2.1", place(47.0, 8.0));
    assert_eq!(snapshot(&peers).decide(&here, Purpose::Answer).changes_in_s, Some(13));
    peers[0].0.networks = vec!["192.0.2.0/24".parse().unwrap()];
    assert_eq!(snapshot(&peers).decide(&here, Purpose::Answer).changes_in_s, Some(5));
    assert_eq!(Snapshot::alone().decide(&here, Purpose::Answer).changes_in_s, None);
}
