use alloc::string::ToString;
use alloc::vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection;
use proptest::prelude::*;

use super::*;
use crate::links::{By, Link};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn links() -> Links {
    Links(vec![
        Link::written(1, &["127.0.0.1/8", "::1/128"]),
        Link::written(
            2,
            &["192.168.7.9/24", "192.168.7.10/24", "fe80::9/64", "2001:db8:7::9/64", "fd00:7::9/64"],
        ),
        Link::written(3, &["198.51.100.9/24", "2001:db8:100::9/64"]),
    ])
}

fn facts() -> Facts {
    Facts { links: links(), ..Facts::default() }
}

fn asked(client: &str, local: &str, interface: u32) -> Arrival {
    Arrival { client: ip(client), local: ip(local), by: By::Number(interface) }
}

fn lan() -> Arrival {
    asked("192.168.7.20", "192.168.7.9", 2)
}

fn addresses_of(kind: Kind, arrival: &Arrival, facts: &Facts) -> Vec<String> {
    match answer(Location::Apex, kind, &Asker::sender(arrival), facts) {
        Answer::Addresses { addresses, .. } => addresses.iter().map(ToString::to_string).collect(),
        other => {
            assert_eq!(other, Answer::NoData);
            Vec::new()
        }
    }
}

#[test]
fn the_address_that_was_asked_is_the_answer() {
    assert_eq!(addresses_of(Kind::A, &lan(), &facts()), ["192.168.7.9"]);
    assert_eq!(addresses_of(Kind::A, &asked("192.168.7.20", "192.168.7.10", 2), &facts()), ["192.168.7.10"]);
    assert_eq!(addresses_of(Kind::A, &asked("203.0.113.5", "198.51.100.9", 3), &facts()), ["198.51.100.9"]);
    assert_eq!(addresses_of(Kind::A, &asked("127.0.0.1", "127.0.0.1", 1), &facts()), ["127.0.0.1"]);
}

#[test]
fn the_other_family_is_answered_with_an_address_beside_it_of_the_same_class() {
    assert_eq!(addresses_of(Kind::Aaaa, &lan(), &facts()), ["fd00:7::9"]);
    assert_eq!(addresses_of(Kind::A, &asked("fd00:7::20", "fd00:7::9", 2), &facts()), ["192.168.7.9"]);
    let from_outside = asked("203.0.113.5", "198.51.100.9", 3);
    assert_eq!(addresses_of(Kind::Aaaa, &from_outside, &facts()), ["2001:db8:100::9"]);
    let by_its_public_address = asked("2001:db8:7::20", "2001:db8:7::9", 2);
    assert!(addresses_of(Kind::A, &by_its_public_address, &facts()).is_empty(), "public beside private");
}

#[test]
fn this_machine_asking_itself_is_told_what_its_neighbours_are_told() {
    assert_eq!(addresses_of(Kind::Aaaa, &asked("192.168.7.9", "192.168.7.9", 1), &facts()), ["fd00:7::9"]);
}

#[test]
fn an_address_that_means_nothing_without_its_link_is_never_told() {
    let by_link_local = asked("fe80::20", "fe80::9", 2);
    assert_eq!(addresses_of(Kind::Aaaa, &by_link_local, &facts()), ["2001:db8:7::9"]);
    assert_eq!(addresses_of(Kind::A, &by_link_local, &facts()), ["192.168.7.9"]);
}

#[test]
fn an_address_is_told_only_where_clients_are_served() {
    let served = |listeners: &[&str]| Facts {
        served: listeners.iter().map(|listener| listener.parse().unwrap()).collect(),
        ..facts()
    };
    assert!(addresses_of(Kind::Aaaa, &lan(), &served(&["0.0.0.0:80"])).is_empty());
    assert_eq!(addresses_of(Kind::A, &lan(), &served(&["0.0.0.0:80"])), ["192.168.7.9"]);
    assert_eq!(addresses_of(Kind::Aaaa, &lan(), &served(&["[::]:443"])), ["fd00:7::9"]);
    assert_eq!(addresses_of(Kind::A, &lan(), &served(&["192.168.7.10:80"])), ["192.168.7.10"]);
    let behind_a_proxy = served(&["127.0.0.1:6736"]);
    assert_eq!(addresses_of(Kind::A, &lan(), &behind_a_proxy), ["192.168.7.9"]);
}

#[test]
fn configured_addresses_win_two_of_the_class_that_the_client_can_use() {
    let configured = |addresses: &[&str]| Facts {
        configured: addresses.iter().map(|address| ip(address)).collect(),
        ..facts()
    };
    let outside = asked("203.0.113.5", "198.51.100.9", 3);
    let both = configured(&["198.51.100.1", "10.1.1.1", "10.1.1.2", "10.1.1.3", "fd00::1"]);
    assert_eq!(addresses_of(Kind::A, &lan(), &both), ["10.1.1.1", "10.1.1.2"]);
    assert_eq!(addresses_of(Kind::Aaaa, &lan(), &both), ["fd00::1"]);
    assert_eq!(addresses_of(Kind::A, &outside, &both), ["198.51.100.1"]);
    assert!(addresses_of(Kind::Aaaa, &outside, &both).is_empty());
    assert_eq!(addresses_of(Kind::A, &lan(), &configured(&["198.51.100.1"])), ["198.51.100.1"]);
    assert_eq!(addresses_of(Kind::A, &outside, &configured(&["10.1.1.1"])), ["10.1.1.1"]);
}

#[test]
fn what_is_near_holds_shorter_than_what_is_far() {
    let ttl = |arrival: &Arrival| match answer(Location::Direct, Kind::A, &Asker::sender(arrival), &facts()) {
        Answer::Addresses { ttl, .. } => ttl,
        other => panic!("{other:?}"),
    };
    assert_eq!(ttl(&lan()), 20);
    assert_eq!(ttl(&asked("203.0.113.5", "198.51.100.9", 3)), 60);
}

#[test]
fn every_name_and_type_has_its_answer() {
    let say = |location, kind| answer(location, kind, &Asker::sender(&lan()), &facts());
    assert_eq!(say(Location::Apex, Kind::Soa), Answer::Authority);
    assert_eq!(say(Location::Apex, Kind::Ns), Answer::NameServer);
    assert_eq!(say(Location::Apex, Kind::Any), Answer::Minimal);
    assert_eq!(say(Location::Apex, Kind::Other), Answer::NoData);
    assert_eq!(say(Location::Apex, Kind::Txt), Answer::Head);
    assert!(
        matches!(say(Location::Direct, Kind::Txt), Answer::Words(words) if words == ["client=192.168.7.20"])
    );
    assert_eq!(say(Location::Link, Kind::Txt), Answer::Link);
    for kind in [Kind::A, Kind::Aaaa, Kind::Soa, Kind::Other] {
        assert_eq!(say(Location::Link, kind), Answer::NoData, "{kind:?}");
    }
    assert_eq!(say(Location::Direct, Kind::Soa), Answer::NoData);
    assert_eq!(say(Location::Nowhere, Kind::A), Answer::NoName);
    assert_eq!(say(Location::Nowhere, Kind::Any), Answer::NoName);
    for location in [Location::Apex, Location::Outside] {
        assert_eq!(say(location, Kind::Meta), Answer::Refused);
    }
}

#[test]
fn other_names_are_looked_up_for_private_clients_alone_and_only_when_that_is_wanted() {
    let forwards = Facts { forwards: true, ..facts() };
    let say =
        |facts: &Facts, arrival: &Arrival| answer(Location::Outside, Kind::A, &Asker::sender(arrival), facts);
    assert_eq!(say(&facts(), &lan()), Answer::Refused);
    assert_eq!(say(&forwards, &lan()), Answer::Forward);
    assert_eq!(say(&forwards, &asked("203.0.113.5", "198.51.100.9", 3)), Answer::Refused);
    assert_eq!(say(&forwards, &asked("192.168.7.20", "192.168.7.9", 3)), Answer::Refused, "forged");
}

fn any_ip() -> impl Strategy<Value = IpAddr> {
    let v4 = any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from(bits)));
    let v6 = any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from(bits)));
    let usual = prop::sample::select(vec![
        "192.168.7.9",
        "192.168.7.20",
        "198.51.100.9",
        "fd00:7::9",
        "2001:db8:7::9",
        "fe80::9",
        "127.0.0.1",
        "::1",
        "10.1.1.1",
        "0.0.0.0",
        "::",
    ]);
    prop_oneof![v4, v6, usual.prop_map(ip)]
}

proptest! {
    #[test]
    fn an_answer_has_one_family_one_class_and_two_addresses_at_most(
        client in any_ip(),
        local in any_ip(),
        by in prop_oneof![(0_u32..5).prop_map(By::Number), any_ip().prop_map(By::Address)],
        configured in collection::vec(any_ip(), 0..6),
        v4 in any::<bool>(),
    ) {
        let facts = Facts { configured, ..facts() };
        let kind = if v4 { Kind::A } else { Kind::Aaaa };
        let arrival = Arrival { client, local, by };
        match answer(Location::Apex, kind, &Asker::sender(&arrival), &facts) {
            Answer::Addresses { addresses, ttl, scope } => {
                prop_assert!((1..=MOST).contains(&addresses.len()));
                prop_assert!((5..=60).contains(&ttl));
                prop_assert_eq!(scope, 0, "the client's subnet says nothing here");
                prop_assert!(addresses.iter().all(|address| address.is_ipv4() == v4));
                prop_assert!(addresses.iter().all(|address| Class::of(*address) == Class::of(addresses[0])));
            }
            other => prop_assert_eq!(other, Answer::NoData),
        }
    }
}
