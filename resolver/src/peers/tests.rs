use alloc::collections::BTreeSet;
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::rank::table::THIS;
use crate::rank::{Client, Purpose, Rejection};

const PASSED: Outcome = Outcome::Passed { load: 0.0, accepting: true };

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn id(nth: u8) -> PeerId {
    PeerId::of_key([nth; 32])
}

fn address(nth: u8) -> IpAddr {
    IpAddr::from([198, 18, 0, nth])
}

fn peer(nth: u8) -> Peer {
    Peer {
        id: id(nth),
        endpoints: vec![Endpoint { address: address(nth), https: false }],
        urls: Vec::new(),
        whereabouts: Whereabouts::default(),
        networks: Vec::new(),
        capacity: 1.0,
        admitted: true,
    }
}

fn met(nth: u8, outcome: Outcome) -> Sighting {
    Sighting::Met(id(nth), Target::Address(address(nth)), outcome)
}

fn of(nths: impl IntoIterator<Item = u8>, now: Duration) -> Peers {
    let mut peers = Peers::new(now);
    nths.into_iter().for_each(|nth| assert!(peers.learn(Sighting::Known(peer(nth)), now)));
    peers
}

fn told(peers: &mut Peers, now: Duration) -> Vec<u32> {
    let client = Client::new(IpAddr::from([192, 0, 2, 1]).into(), false, Whereabouts::default());
    let mut told: Vec<u32> =
        peers.snapshot(now).decide(&client, Purpose::Answer).ranked.iter().map(|one| one.number).collect();
    told.sort_unstable();
    told
}

#[test]
fn nobody_is_told_who_has_not_proved_himself() {
    let mut peers = of([1, 2], at(0));
    assert_eq!(told(&mut peers, at(0)), [THIS]);
    assert!(!peers.is_first_round_over(at(0)));
    peers.learn(met(1, PASSED), at(1));
    assert_eq!(told(&mut peers, at(1)), [THIS, 1]);
    peers.learn(met(2, Outcome::Failed), at(1));
    assert!(peers.is_first_round_over(at(1)));
}

#[test]
fn everybody_is_looked_at_at_once_and_then_again_and_again() {
    let mut peers = of([1, 2, 3], at(0));
    assert_eq!(peers.due(at(0)).len(), 3);
    assert!(peers.due(at(100)).is_empty(), "they are under way");
    (1..=3).for_each(|nth| {
        peers.learn(met(nth, PASSED), at(1));
    });
    assert!(peers.due(at(8)).is_empty());
    let next = peers.next_due().unwrap();
    assert!((at(9)..=at(13)).contains(&next), "{next:?}");
    assert_eq!(peers.due(at(13)).len(), 3);
}

#[test]
fn a_peer_that_nobody_is_steered_to_is_looked_at_less_often() {
    let mut peers = of([1], at(0));
    peers.due(at(0));
    peers.learn(met(1, PASSED), at(3600));
    assert!(peers.next_due().unwrap() >= at(3600 + 80));
    peers.learn(met(1, PASSED), at(3600));
    peers.note_told(at(3600));
    assert!(peers.next_due().unwrap() >= at(3600 + 80), "nobody was led there");
    assert_eq!(told(&mut peers, at(3601)), [THIS, 1]);
    peers.note_told(at(3601));
    assert_eq!(peers.due(at(3601)).len(), 1, "it is looked at now, when it is used again");
    peers.learn(met(1, PASSED), at(3601));
    assert!(peers.next_due().unwrap() <= at(3601 + 12));
}

/// How long the only address of a peer is left alone after it has passed.
fn pause_of(peer: Peer, target: &Target, before: Option<Peer>) -> Duration {
    let (mut peers, id) = (Peers::new(at(0)), peer.id);
    before.into_iter().chain([peer]).for_each(|peer| {
        peers.learn(Sighting::Known(peer), at(0));
        for due in peers.due(at(0)) {
            peers.learn(Sighting::Met(id, due.target, PASSED), at(0));
        }
    });
    peers.learn(Sighting::Met(id, target.clone(), PASSED), at(0));
    peers.next_due().unwrap()
}

#[test]
fn a_peer_is_looked_at_as_often_as_its_addresses_ask_for() {
    let with = |addresses: &[[u8; 4]], urls: &[&str]| {
        let endpoints = addresses.iter().map(|one| Endpoint { address: (*one).into(), https: false });
        let urls = urls.iter().map(|url| (*url).into()).collect();
        Peer { endpoints: endpoints.collect(), urls, ..peer(1) }
    };
    let (near, far) = ([192, 168, 7, 10], [198, 18, 0, 1]);
    let (lan, elsewhere) = (at(4)..=at(6), at(8)..=at(12));
    let url = "https://npm.example.edu";
    let named = Target::Url(url.into());
    let of = |address: [u8; 4]| Target::Address(address.into());
    for (peer, target, before, expected) in [
        (with(&[near], &[]), of(near), None, &lan),
        (with(&[near], &[url]), named.clone(), None, &lan),
        (with(&[far], &[]), of(far), None, &elsewhere),
        (with(&[], &[url]), named, None, &elsewhere),
        (with(&[near, far], &[]), of(near), Some(with(&[near], &[])), &elsewhere),
        (with(&[near], &[]), of(near), Some(with(&[near, far], &[])), &lan),
    ] {
        let pause = pause_of(peer.clone(), &target, before);
        assert!(expected.contains(&pause), "{peer:?}: {pause:?}");
    }
}

#[test]
fn what_is_met_while_nobody_has_asked_is_not_looked_at_twice() {
    let mut peers = of([1, 2], at(0));
    peers.due(at(0));
    for nth in [1, 2] {
        for second in 0..5 {
            peers.learn(met(nth, PASSED), at(second));
        }
    }
    assert_eq!(peers.due(at(3600)).len(), 2);
    peers.learn(met(1, PASSED), at(3600));
    peers.learn(Sighting::Gone(id(1)), at(3600));
    peers.learn(met(1, PASSED), at(3600));
    assert!(peers.due(at(7200)).is_empty(), "one is under way, the other has gone");
}

#[test]
fn a_suspect_is_looked_at_again_at_once() {
    let mut peers = of([1], at(0));
    peers.due(at(0));
    peers.learn(met(1, PASSED), at(0));
    peers.learn(met(1, Outcome::Unreachable), at(2));
    assert_eq!(peers.next_due(), Some(at(4)));
}

#[test]
fn who_is_caught_gets_nobody_for_an_hour_then_for_six_then_for_a_day_then_for_ever() {
    let mut peers = of([1], at(0));
    let mut now = 0;
    for hours in [1, 6, 24] {
        peers.learn(met(1, PASSED), at(now));
        assert_eq!(told(&mut peers, at(now)), [THIS, 1]);
        peers.learn(Sighting::Caught(id(1), Offence::WrongBytes), at(now));
        peers.learn(Sighting::Caught(id(1), Offence::WrongBytes), at(now + 1));
        now += hours * 3600;
        assert_eq!(told(&mut peers, at(now - 1)), [THIS], "{hours}");
    }
    peers.learn(Sighting::Caught(id(1), Offence::WrongBytes), at(now));
    assert_eq!(told(&mut peers, at(now + 365 * 24 * 3600)), [THIS]);
}

#[test]
fn what_is_said_of_a_peer_may_change_and_its_health_stays() {
    let mut peers = of([1], at(0));
    peers.learn(met(1, PASSED), at(0));
    let mut more = peer(1);
    more.endpoints.push(Endpoint { address: address(77), https: false });
    peers.learn(Sighting::Known(more), at(1));
    assert_eq!(told(&mut peers, at(1)), [THIS, 1]);
    let standing = peers.snapshot(at(1)).standings[1];
    assert_eq!(standing.endpoints, 1, "nobody has looked at the other address");
    peers.learn(Sighting::Gone(id(1)), at(2));
    assert_eq!((told(&mut peers, at(2)), peers.next_due()), (vec![THIS], None));
}

#[test]
fn its_own_entry_describes_this_gateway_and_is_no_peer() {
    let mut peers = Peers::new(at(0));
    peers.learn(Sighting::This(This { id: Some(id(1)), ..This::default() }), at(0));
    assert!(!peers.learn(Sighting::Known(peer(1)), at(0)));
    assert!(peers.snapshot(at(0)).is_alone());
}

/// All fall silent at once, and one after the other.
fn silence(peers: &mut Peers, nths: impl Iterator<Item = u8>, from: u64) {
    for nth in nths {
        for second in 0..3 {
            peers.learn(met(nth, Outcome::Failed), at(from + second));
        }
    }
}

#[test]
fn this_gateways_own_disconnection_is_not_everybodys_death() {
    let mut peers = of(1..=4, at(0));
    (1..=4).for_each(|nth| {
        peers.learn(met(nth, PASSED), at(0));
    });
    peers.learn(Sighting::Upstream(false), at(10));
    silence(&mut peers, 1..=4, 10);
    assert_eq!(told(&mut peers, at(13)).len(), 3, "as if nothing had happened");
    assert!(peers.is_holding(at(13)));
    assert_eq!(told(&mut peers, at(73)), [THIS], "for a minute");
    assert_eq!(told(&mut peers, at(80)), [THIS], "and not once more");
}

#[test]
fn whoever_falls_while_upstream_answers_is_down() {
    let mut peers = of(1..=4, at(0));
    (1..=4).for_each(|nth| {
        peers.learn(met(nth, PASSED), at(0));
    });
    silence(&mut peers, 1..=4, 10);
    assert_eq!(told(&mut peers, at(13)), [THIS]);
}

#[test]
fn one_that_falls_while_upstream_is_away_is_down() {
    let mut peers = of(1..=4, at(0));
    (1..=4).for_each(|nth| {
        peers.learn(met(nth, PASSED), at(0));
    });
    peers.learn(Sighting::Upstream(false), at(10));
    silence(&mut peers, 1..=1, 10);
    assert!(!peers.is_holding(at(13)));
    assert!(!told(&mut peers, at(13)).contains(&1));
}

#[test]
fn who_never_proved_himself_is_not_held_for_well() {
    let mut peers = of(1..=4, at(0));
    peers.learn(Sighting::Upstream(false), at(10));
    silence(&mut peers, 1..=4, 10);
    assert_eq!(told(&mut peers, at(13)), [THIS]);
}

#[test]
fn the_reason_stands_with_whoever_is_not_told() {
    let mut peers = of([1, 2], at(0));
    peers.learn(met(1, PASSED), at(0));
    peers.learn(met(1, Outcome::Passed { load: 0.0, accepting: false }), at(1));
    let snapshot = peers.snapshot(at(1));
    let client = Client::new(IpAddr::from([192, 0, 2, 1]).into(), false, Whereabouts::default());
    let reasons: Vec<_> =
        snapshot.explain(&client, Purpose::Answer).iter().filter_map(|one| one.verdict.err()).collect();
    assert_eq!(reasons, [Rejection::Draining, Rejection::Unproven]);
}

fn sighting() -> impl Strategy<Value = Sighting> {
    let outcome = prop_oneof![
        4 => (0.0f32..0.9).prop_map(|load| Outcome::Passed { load, accepting: true }),
        1 => Just(Outcome::Passed { load: 0.0, accepting: false }),
        3 => Just(Outcome::Failed),
        1 => Just(Outcome::Deceived),
        1 => Just(Outcome::Unreachable),
        1 => Just(Outcome::Erred),
    ];
    prop_oneof![
        20 => (1u8..6, outcome).prop_map(|(nth, outcome)| met(nth, outcome)),
        1 => (1u8..6).prop_map(|nth| Sighting::Caught(id(nth), Offence::WrongBytes)),
        1 => (1u8..6).prop_map(|nth| Sighting::Gone(id(nth))),
        2 => (1u8..6).prop_map(|nth| Sighting::Known(peer(nth))),
        1 => (1u8..6).prop_map(|nth| Sighting::Known(Peer { admitted: false, ..peer(nth) })),
        1 => any::<bool>().prop_map(Sighting::Upstream),
        1 => (any::<bool>(), 0.0f32..1.0).prop_map(|(accepting, load)| Sighting::Own { accepting, load }),
    ]
}

proptest! {
    /// Whatever happens in whatever order: told are only those who are admitted, have proved themselves since they were
    /// last learned of, and are not in quarantine; and there is always somebody.
    #[test]
    fn only_the_proven_and_admitted_are_ever_told(story in proptest::collection::vec((sighting(), 0u64..40), 1..80)) {
        let mut peers = of(1..6, at(0));
        let mut proven: BTreeSet<PeerId> = BTreeSet::new();
        let mut caught: BTreeMap<PeerId, Duration> = BTreeMap::new();
        let mut now = at(0);
        for (sighting, later) in story {
            now += at(later);
            match &sighting {
                Sighting::Met(id, _, Outcome::Passed { .. }) if peers.known.contains_key(id) => { proven.insert(*id); }
                Sighting::Met(id, _, Outcome::Deceived) => { proven.remove(id); }
                Sighting::Gone(id) => { proven.remove(id); }
                Sighting::Caught(id, _) if peers.known.contains_key(id) => { caught.entry(*id).or_insert(now); }
                _ => {}
            }
            peers.learn(sighting, now);
            let snapshot = peers.snapshot(now);
            let client = Client::new(IpAddr::from([192, 0, 2, 1]).into(), false, Whereabouts::default());
            let decision = snapshot.decide(&client, Purpose::Answer);
            prop_assert!(!decision.ranked.is_empty());
            for ranked in decision.ranked.iter().filter(|one| one.number != THIS) {
                let candidate = snapshot.table.candidate(ranked.number);
                let id = candidate.id.unwrap();
                prop_assert!(candidate.admitted && proven.contains(&id));
                prop_assert!(caught.get(&id).is_none_or(|when| now >= *when + at(3600)));
                prop_assert_eq!(snapshot.addresses(ranked).count(), 1);
            }
        }
    }
}
