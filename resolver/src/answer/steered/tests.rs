//! Promises about what a steered answer holds.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;

use super::*;
use crate::answer::{Answer, Kind, answer};
use crate::geo::{Place, Whereabouts};
use crate::health::State;
use crate::links::{Arrival, By, Link, Links};
use crate::peer::{Endpoint, Peer, PeerId};
use crate::rank::Table;
use crate::rank::table::{Standing, This};
use crate::subnet::Subnet;
use crate::zone::Location;

fn links() -> Links {
    Links(vec![
        Link::written(2, &["192.168.7.9/24", "fd00:7::9/64", "2001:db8:7::9/64"]),
        Link::written(3, &["9.9.9.9/24", "2620:fe::9/64"]),
    ])
}

fn at(longitude: f32) -> Whereabouts {
    Whereabouts { place: Some(Place { latitude: 0.0, longitude, accuracy_km: 0 }), ..Whereabouts::default() }
}

fn peer(nth: u8, addresses: &[&str], whereabouts: Whereabouts) -> (Peer, Standing) {
    let endpoints = addresses.iter().map(|one| Endpoint { address: one.parse().unwrap(), https: false });
    let peer = Peer {
        id: PeerId::of_key([nth; 32]),
        endpoints: endpoints.collect(),
        urls: vec![],
        whereabouts,
        networks: vec![],
        capacity: 1.0,
        admitted: true,
    };
    (peer, standing(State::Up))
}

fn standing(state: State) -> Standing {
    Standing {
        state,
        endpoints: if state.is_usable() { u8::MAX } else { 0 },
        urls: 0,
        weight: 1.0,
        load: 0.0,
        changes_in_s: Some(13),
        quarantined_s: None,
    }
}

fn facts(peers: &[(Peer, Standing)]) -> Facts {
    let table = Table::new(&This::default(), peers.iter().map(|(peer, _)| peer.clone()), &links());
    let standings =
        core::iter::once(Standing::own(true, 0.0)).chain(peers.iter().map(|(_, standing)| *standing));
    let peers = Arc::new(Snapshot::new(Arc::new(table), standings.collect(), true));
    Facts { links: links(), peers, ..Facts::default() }
}

fn asked(client: &str, local: &str, interface: u32) -> Arrival {
    Arrival { client: client.parse().unwrap(), local: local.parse().unwrap(), by: By::Number(interface) }
}

fn told(kind: Kind, asker: &Asker, facts: &Facts) -> (Vec<String>, u32, u8) {
    match answer(Location::Apex, kind, asker, facts) {
        Answer::Addresses { addresses, ttl, scope } => {
            (addresses.iter().map(ToString::to_string).collect(), ttl, scope)
        }
        other => {
            assert_eq!(other, Answer::NoData);
            (Vec::new(), 0, 0)
        }
    }
}

fn public(longitude: f32) -> Asker {
    Asker { whereabouts: at(longitude), ..Asker::sender(&asked("8.8.8.8", "9.9.9.9", 3)) }
}

#[test]
fn two_gateways_are_told_and_the_third_stands_by() {
    let peers = [
        peer(1, &["1.1.1.1", "1.1.1.2"], at(0.0)),
        peer(2, &["1.1.2.1"], at(20.0)),
        peer(3, &["1.1.3.1"], at(40.0)),
    ];
    assert_eq!(
        told(Kind::A, &public(1.0), &facts(&peers)),
        (vec!["1.1.1.1".into(), "1.1.2.1".into()], 20, 0)
    );
    assert_eq!(told(Kind::A, &public(41.0), &facts(&peers)).0, ["1.1.3.1", "1.1.2.1"]);
    assert_eq!(told(Kind::A, &public(1.0), &facts(&peers[..1])).0[..2], ["1.1.1.1", "9.9.9.9"]);
}

#[test]
fn an_address_that_is_too_far_to_try_in_time_is_not_told_beside_a_better_one() {
    let peers = [peer(1, &["1.1.1.1"], at(0.0)), peer(2, &["1.1.2.1"], at(170.0))];
    assert_eq!(told(Kind::A, &public(1.0), &facts(&peers)).0, ["1.1.1.1", "9.9.9.9"]);
    let mut far_alone = facts(&peers[1..]);
    far_alone.served = vec!["192.168.7.9:80".parse().unwrap()];
    assert_eq!(told(Kind::A, &public(1.0), &far_alone).0, ["1.1.2.1"], "but for want of a better one");
}

#[test]
fn private_addresses_stand_with_no_others_and_are_told_to_nobody_elsewhere() {
    let peers = [peer(1, &["192.168.7.10", "1.1.1.1", "fd00:7::10", "2620:fe:1::1"], Whereabouts::default())];
    let facts = facts(&peers);
    let home = Asker::sender(&asked("192.168.7.20", "192.168.7.9", 2));
    let (mut addresses, ttl, _) = told(Kind::A, &home, &facts);
    addresses.sort_unstable();
    assert_eq!((addresses, ttl), (vec!["192.168.7.10".into(), "192.168.7.9".into()], 13));
    let (mut addresses, ..) = told(Kind::Aaaa, &home, &facts);
    addresses.sort_unstable();
    assert_eq!(addresses, ["fd00:7::10", "fd00:7::9"]);
    assert_eq!(told(Kind::A, &public(0.0), &facts).0, ["9.9.9.9", "1.1.1.1"]);
    assert_eq!(told(Kind::Aaaa, &public(0.0), &facts).0, ["2620:fe::9", "2620:fe:1::1"]);
}

#[test]
fn the_other_family_does_not_lead_away_from_the_lan() {
    let peers = [peer(1, &["2620:fe:1::1"], at(0.0)), peer(2, &["192.168.7.10"], Whereabouts::default())];
    let mut facts = facts(&peers);
    facts.configured = vec!["192.168.7.9".parse().unwrap()];
    let home = Asker::sender(&asked("192.168.7.20", "192.168.7.9", 2));
    assert_eq!(
        told(Kind::Aaaa, &home, &facts).0,
        Vec::<String>::new(),
        "no data, rather than somebody far away"
    );
}

#[test]
fn a_client_of_one_family_is_told_somebody_of_its_family() {
    let mut peers: Vec<_> =
        (1..=4).map(|nth| peer(nth, &[&alloc::format!("1.1.{nth}.1")], at(f32::from(nth)))).collect();
    peers.push(peer(5, &["2620:fe:5::1"], at(170.0)));
    let mut facts = facts(&peers);
    facts.configured = vec!["9.9.9.9".parse().unwrap()];
    assert_eq!(told(Kind::Aaaa, &public(0.0), &facts).0, ["2620:fe:5::1"]);
}

#[test]
fn an_answer_to_the_other_family_holds_no_longer_and_leads_no_farther_than_any_other() {
    let mut peers: Vec<_> =
        (1..=4).map(|nth| peer(nth, &[&alloc::format!("1.1.{nth}.1")], at(f32::from(nth)))).collect();
    peers.push(peer(5, &["2620:fe:5::1"], at(20.0)));
    peers.push(peer(6, &["2620:fe:6::1"], at(170.0)));
    peers.iter_mut().for_each(|(_, standing)| standing.changes_in_s = Some(60));
    let told_with = |state: State, changes: u16| {
        let mut peers = peers.clone();
        peers[4].1 = Standing { changes_in_s: Some(changes), ..standing(state) };
        let configured = vec!["9.9.9.9".parse().unwrap()];
        let (addresses, ttl, _) = told(Kind::Aaaa, &public(0.0), &Facts { configured, ..facts(&peers) });
        assert_eq!(addresses, ["2620:fe:5::1"], "and not the one that is too far to try in time");
        ttl
    };
    assert_eq!(told_with(State::Up, 60), 60);
    assert_eq!(told_with(State::Up, 33), 33);
    assert_eq!(told_with(State::Recovering, 0), 20);
}

#[test]
fn a_suspect_of_the_other_family_is_told_for_a_short_time() {
    let mut peers: Vec<_> =
        (1..=4).map(|nth| peer(nth, &[&alloc::format!("1.1.{nth}.1")], at(f32::from(nth)))).collect();
    peers.push(peer(5, &["2620:fe:5::1"], at(20.0)));
    peers.iter_mut().for_each(|(_, standing)| standing.changes_in_s = Some(60));
    peers[4].1.state = State::Suspect;
    let mut facts = facts(&peers);
    facts.configured = vec!["9.9.9.9".parse().unwrap()];
    let (addresses, ttl, _) = told(Kind::Aaaa, &public(0.0), &facts);
    assert_eq!((addresses, ttl), (vec!["2620:fe:5::1".into()], 20));
}

/// Public networks that are smaller than a site.
fn on_a_public_link() -> Facts {
    let links = Links(vec![Link::written(2, &["8.8.4.9/26", "2a00:7::9/64"])]);
    let neighbour = peer(1, &["8.8.4.10", "2a00:7::10"], Whereabouts::default());
    let mut other = peer(2, &["8.8.4.200", "2a00:7:0:1::10"], Whereabouts::default());
    other.0.networks = vec!["8.8.4.0/24".parse().unwrap(), "2a00:7::/48".parse().unwrap()];
    let peers = [neighbour, other];
    let table = Table::new(&This::default(), peers.iter().map(|(peer, _)| peer.clone()), &links);
    let standings = core::iter::once(Standing::own(true, 0.0)).chain(peers.map(|(_, standing)| standing));
    let peers = Arc::new(Snapshot::new(Arc::new(table), standings.collect(), true));
    Facts { links, peers, ..Facts::default() }
}

#[test]
fn a_neighbour_on_a_public_link_is_led_to_a_gateway_on_it() {
    let facts = on_a_public_link();
    let tell = |kind, client: &str, local: &str| {
        let asker = facts.asker(&asked(client, local, 2), None);
        let (mut addresses, ..) = told(kind, &asker, &facts);
        addresses.sort_unstable();
        (addresses, facts.alike(&asker).map(|network| network.to_string()))
    };
    assert_eq!(
        tell(Kind::A, "8.8.4.20", "8.8.4.9"),
        (vec!["8.8.4.10".into(), "8.8.4.9".into()], Some("8.8.4.0/26".into()))
    );
    assert_eq!(
        tell(Kind::Aaaa, "2a00:7::20", "2a00:7::9"),
        (vec!["2a00:7::10".into(), "2a00:7::9".into()], Some("2a00:7::/64".into()))
    );
    let (beyond, alike) = tell(Kind::A, "8.8.4.100", "8.8.4.9");
    assert!(beyond.contains(&"8.8.4.200".into()), "{beyond:?}");
    assert_eq!(alike, Some("8.8.4.0/24".into()));
    assert!(tell(Kind::Aaaa, "2a00:7:0:1::20", "2a00:7::9").0.contains(&"2a00:7:0:1::10".into()));
}

#[test]
fn what_a_resolver_tells_of_a_client_does_not_put_it_on_a_public_link() {
    let facts = on_a_public_link();
    let subnet = Subnet::read(&[0, 1, 32, 0, 8, 8, 4, 20]).unwrap();
    let asker = facts.asker(&asked("9.9.9.9", "8.8.4.9", 2), Some(&subnet));
    let (addresses, _, scope) = told(Kind::A, &asker, &facts);
    assert_eq!((addresses[0].as_str(), scope), ("8.8.4.200", 24));
    // A tunnel's other end is not on the link, whatever address it has inside.
    let tunnelled = facts.asker(&asked("2002:808:414::1", "8.8.4.9", 2), None);
    assert_eq!(told(Kind::A, &tunnelled, &facts).0[0], "8.8.4.200");
}

#[test]
fn an_answer_holds_as_long_as_it_can_within_bounds() {
    let mut peers = [peer(1, &["1.1.1.1"], at(0.0))];
    assert_eq!(told(Kind::A, &public(1.0), &facts(&[])).1, 60, "nobody but this gateway");
    peers[0].1.changes_in_s = Some(45);
    assert_eq!(told(Kind::A, &public(1.0), &facts(&peers)).1, 45);
    peers[0].1.changes_in_s = Some(1000);
    assert_eq!(told(Kind::A, &public(1.0), &facts(&peers)).1, 60);
    peers[0].1 = standing(State::Suspect);
    assert_eq!(told(Kind::A, &public(1.0), &facts(&peers)).1, 20);
}

#[test]
fn whoever_may_be_down_somebody_is_told() {
    for state in [State::Down, State::Unknown, State::Draining] {
        let (one, _) = peer(1, &["1.1.1.1"], at(0.0));
        assert_eq!(told(Kind::A, &public(1.0), &facts(&[(one, standing(state))])).0, ["9.9.9.9"]);
    }
}

#[test]
fn a_resolver_is_told_for_whom_an_answer_holds_and_the_direct_name_is_for_everybody() {
    let facts = facts(&[peer(1, &["1.1.1.1"], at(0.0))]);
    let subnet = Subnet::read(&[0, 1, 24, 0, 130, 59, 31]).unwrap();
    let mut asker = facts.asker(&asked("8.8.8.8", "9.9.9.9", 3), Some(&subnet));
    asker.whereabouts = Whereabouts { prefix: 15, ..at(1.0) };
    assert_eq!(told(Kind::A, &asker, &facts).2, 15);
    let direct = answer(Location::Direct, Kind::A, &asker, &facts);
    assert_eq!(direct, Answer::Addresses { addresses: vec!["9.9.9.9".parse().unwrap()], ttl: 60, scope: 0 });
}
