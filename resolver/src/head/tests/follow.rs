//! Promises of following: the root never goes back, and whoever owns one way stops nothing that comes by another.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::*;

use super::{id, key, root, sign, verify};
use crate::head::followed::{Followed, Moment, Outcome, Standing, Verdict};
use crate::head::polls::{Asked, Polls, Way};
use crate::head::{Checked, Head, Signed, publish};
use ed25519_dalek::SigningKey;

const NOW: Duration = Duration::from_secs(1_800_000_000);

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So many seconds after the start.
fn at(up: u64) -> Moment {
    Moment { date: NOW + s(up), up: s(up) }
}

/// A head that was signed so many seconds after (or before) `NOW`.
fn head(seed: u8, seconds: i64) -> Head {
    let now = Duration::from_millis((1_800_000_000_000 + seconds * 1000).unsigned_abs());
    publish::next(id(), root(seed), None, now)
}

fn record(head: &Head) -> Vec<u8> {
    sign(head, &key())
}

fn checked(head: &Head) -> Checked {
    Signed::read(&record(head), id()).unwrap().check(verify).unwrap()
}

/// Offers a record, and takes it if it is new, as a gateway does once it is on the disk.
fn offer(followed: &mut Followed, record: &[u8], by: Way, now: Moment) -> Outcome {
    match followed.offer(record, by, now, verify) {
        Verdict::New { head, .. } => {
            assert!(followed.take(head, by));
            Outcome::New
        }
        Verdict::Not(outcome) => outcome,
    }
}

fn follower() -> Followed {
    Followed::new(id(), None)
}

#[test]
fn the_latest_counts_whichever_way_it_comes() {
    let mut followed = follower();
    assert_eq!(followed.standing(NOW), Standing::None);
    assert_eq!(offer(&mut followed, &record(&head(1, 0)), Way::Http, at(1)), Outcome::New);
    assert_eq!(offer(&mut followed, &record(&head(2, 1)), Way::Pubsub, at(2)), Outcome::New);
    assert_eq!(offer(&mut followed, &record(&head(2, 1)), Way::Dns, at(3)), Outcome::Known);
    assert_eq!(offer(&mut followed, &record(&head(1, 0)), Way::Http, at(4)), Outcome::Older);
    assert_eq!(followed.root(), Some(root(2)));
    assert_eq!(followed.latest().unwrap().by, Some(Way::Pubsub));
    let told: Vec<_> = followed.told().map(|(way, told)| (way, told.outcome, told.at)).collect();
    let expected = [
        (Way::Http, Outcome::Older, s(4)),
        (Way::Dns, Outcome::Known, s(3)),
        (Way::Pubsub, Outcome::New, s(2)),
    ];
    assert_eq!(told, expected);
    assert!(
        followed.words(NOW + s(7)).contains("by pubsub")
            || followed.words(NOW + s(7)).contains("pubsub, signed 6 s ago")
    );
}

#[test]
fn an_older_root_is_not_taken_after_a_start_either() {
    let mut followed = Followed::new(id(), Some(checked(&head(2, 0))));
    for way in Way::ALL {
        assert_eq!(offer(&mut followed, &record(&head(1, -1)), way, at(1)), Outcome::Older);
    }
    assert_eq!((followed.root(), followed.latest().unwrap().by), (Some(root(2)), None));
    let other = Followed::new(crate::peer::PeerId::of_key([1; 32]), Some(checked(&head(2, 0))));
    assert_eq!(other.root(), None, "what was kept of another home is none of this one's");
}

#[test]
fn a_huge_sequence_locks_nobody_out() {
    let mut followed = follower();
    let far = record(&head(1, 601));
    assert_eq!(offer(&mut followed, &far, Way::Pubsub, at(0)), Outcome::Early);
    let furthest = record(&Head { sequence: u64::MAX, ..head(1, 0) });
    assert_eq!(offer(&mut followed, &furthest, Way::Pubsub, at(0)), Outcome::Early);
    assert_eq!(offer(&mut followed, &record(&head(2, 0)), Way::Http, at(1)), Outcome::New);
    assert_eq!(offer(&mut followed, &far, Way::Pubsub, at(2)), Outcome::New, "its time has nearly come");
}

#[test]
fn who_forges_costs_little_and_stops_no_other_way() {
    let mut followed = follower();
    let attacker = SigningKey::from_bytes(&[66; 32]);
    let mut looked_at = 0;
    for number in 0..1000u32 {
        let forged = sign(&head(3, i64::from(number % 500)), &attacker);
        let verdict = followed.offer(&forged, Way::Pubsub, at(1), |key, message, signature| {
            looked_at += 1;
            verify(key, message, signature)
        });
        assert!(matches!(verdict, Verdict::Not(Outcome::Forged | Outcome::Flooded)));
    }
    assert_eq!(looked_at, 21);
    assert_eq!(offer(&mut followed, &record(&head(1, 0)), Way::Pubsub, at(1)), Outcome::Flooded);
    for (way, seed) in [(Way::Http, 1), (Way::Dns, 2), (Way::Ipns, 3)] {
        assert_eq!(offer(&mut followed, &record(&head(seed, seed.into())), way, at(1)), Outcome::New);
    }
    assert_eq!(
        offer(&mut followed, &record(&head(4, 4)), Way::Pubsub, at(3)),
        Outcome::New,
        "it ends with the flood"
    );
    let (_, told) = followed.told().find(|(way, _)| *way == Way::Pubsub).unwrap();
    assert_eq!(told.refused, 1001);
}

#[test]
fn what_is_known_or_older_costs_no_signature() {
    let mut followed = Followed::new(id(), Some(checked(&head(2, 0))));
    for old in [head(2, 0), head(1, -5), head(7, 601)] {
        let verdict = followed.offer(&record(&old), Way::Pubsub, at(0), |_, _, _| panic!("it was looked at"));
        assert!(matches!(verdict, Verdict::Not(_)));
    }
}

#[test]
fn who_has_never_had_a_head_takes_one_that_is_not_valid_only_when_nothing_better_comes() {
    let mut followed = follower();
    let day = 24 * 60 * 60;
    let replayed = record(&head(1, -day - 60));
    assert_eq!(offer(&mut followed, &replayed, Way::Dns, at(1)), Outcome::Expired);
    assert_eq!(offer(&mut followed, &record(&head(2, -day - 70)), Way::Http, at(2)), Outcome::Expired);
    assert_eq!((followed.root(), followed.settle(at(29))), (None, None));
    let (spare, by) = followed.settle(at(30)).unwrap();
    assert_eq!((spare.head().root, by), (root(1), Way::Dns), "the better of the two");
    assert!(followed.take(spare, by));
    assert_eq!(followed.standing(NOW + s(30)), Standing::Expired(s(90)));
    assert_eq!(followed.settles_at(), None);
    assert_eq!(offer(&mut followed, &record(&head(3, -5)), Way::Http, at(40)), Outcome::New);
    assert_eq!(followed.standing(NOW + s(40)), Standing::Current);
}

#[test]
fn what_is_newer_than_what_is_held_is_taken_though_it_is_not_valid_and_a_quiet_home_is_noticed() {
    let mut followed = Followed::new(id(), Some(checked(&head(1, -200_000))));
    assert_eq!(offer(&mut followed, &record(&head(2, -100_000)), Way::Ipns, at(1)), Outcome::New);
    assert!(matches!(followed.standing(NOW), Standing::Expired(_)));
    let quiet = Followed::new(id(), Some(checked(&head(1, -7201))));
    assert_eq!(quiet.standing(NOW), Standing::Quiet(s(7201)));
}

#[test]
fn a_key_in_use_on_two_machines_is_noticed_and_all_followers_end_up_with_the_same_root() {
    let (one, other) = (head(1, 0), head(2, 0));
    let greater = if one.compare(&other).is_gt() { root(1) } else { root(2) };
    let mut forked = 0;
    for order in [[one, other], [other, one]] {
        let mut followed = follower();
        for head in order {
            if let Verdict::New { head, forked: seen } =
                followed.offer(&record(&head), Way::Http, at(1), verify)
            {
                forked += u32::from(seen);
                followed.take(head, Way::Http);
            }
        }
        assert_eq!(followed.root(), Some(greater));
    }
    assert_eq!(forked, 1);
}

#[test]
fn damage_is_told_from_forgery() {
    let mut followed = follower();
    let verdict = followed.offer(b"nonsense", Way::Dns, at(1), verify);
    assert!(matches!(verdict, Verdict::Not(Outcome::Damaged(_))));
}

#[test]
fn ways_are_asked_three_times_a_minute_and_less_often_while_they_fail() {
    let mut polls = Polls::new(Way::ALL, s(0));
    assert_eq!(
        polls.due(s(0)).collect::<Vec<_>>(),
        [Way::Http, Way::Dns, Way::Ipns],
        "pubsub tells by itself"
    );
    polls.answered(Way::Http, Asked::Answered, s(0), 0.5);
    polls.answered(Way::Ipns, Asked::Answered, s(0), 1.0);
    let mut waits = vec![];
    let mut now = s(0);
    for _ in 0..10 {
        polls.answered(Way::Dns, Asked::Failed, now, 0.5);
        let next = (0..2000).map(s).find(|wait| polls.due(now + *wait).any(|way| way == Way::Dns)).unwrap();
        waits.push(next.as_secs());
        now += next;
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300, 300]);
    assert_eq!(polls.next_at(), Some(s(20)), "the others go on as before");
    assert_eq!(polls.due(s(20)).collect::<Vec<_>>(), [Way::Http]);
    assert_eq!(polls.due(s(22)).collect::<Vec<_>>(), [Way::Http, Way::Ipns]);
    assert_eq!(Polls::new([Way::Pubsub], s(0)).next_at(), None);
}

#[test]
fn a_reason_to_ask_is_a_reason_but_not_to_ask_without_end() {
    let mut polls = Polls::new([Way::Http], s(0));
    polls.asking(Way::Http, s(0));
    polls.answered(Way::Http, Asked::Answered, s(1), 0.5);
    polls.hurry(s(2));
    assert_eq!(polls.next_at(), Some(s(5)));
    polls.asking(Way::Http, s(5));
    assert_eq!(polls.due(s(5)).count(), 0, "it is being asked");
    polls.hurry(s(20));
    assert_eq!(polls.next_at(), Some(s(20)));
}

#[test]
fn ways_have_the_names_of_the_configuration() {
    assert_eq!(Way::ALL.map(Way::name), ["http", "dns", "pubsub", "ipns"]);
    assert!(Way::ALL.into_iter().all(|way| Way::parse(way.name()) == Some(way)));
    assert_eq!(Way::parse("HTTP"), None);
}

fn ways() -> impl Strategy<Value = Way> {
    prop::sample::select(Way::ALL.to_vec())
}

proptest! {
    /// Whatever comes in whichever order: what is followed is the greatest of what home has signed and what was not too early.
    #[test]
    fn what_is_followed_is_the_latest_that_home_has_signed(
        offers in proptest::collection::vec((0u8..4, -500i64..1200, ways(), any::<bool>()), 1..25),
    ) {
        let mut followed = follower();
        let attacker = SigningKey::from_bytes(&[66; 32]);
        let mut model: Option<Head> = None;
        for (up, (seed, seconds, way, forged)) in offers.into_iter().enumerate() {
            // No flood: two seconds apart.
            let now = at(up as u64 * 2);
            let head = head(seed, seconds);
            let signer = if forged { attacker.clone() } else { key() };
            let record = sign(&head, &signer);
            let before = followed.latest().map(|latest| latest.head.head().sequence);
            offer(&mut followed, &record, way, now);
            let is_early = Duration::from_millis(head.sequence) > now.date + s(600);
            if !forged && !is_early && model.is_none_or(|model| head.compare(&model).is_gt()) {
                model = Some(head);
            }
            let after = followed.latest().map(|latest| latest.head.head().sequence);
            prop_assert!(after >= before, "it never goes back");
        }
        prop_assert_eq!(followed.latest().map(|latest| *latest.head.head()), model);
    }

    #[test]
    fn every_way_is_asked_again_within_a_quarter_of_an_hour(
        steps in proptest::collection::vec((ways(), any::<bool>(), 0u64..100, any::<f64>(), any::<bool>()), 1..40),
    ) {
        let mut polls = Polls::new(Way::ALL, s(0));
        let mut now = s(0);
        for (way, answered, pause, dice, hurry) in steps {
            now += s(pause);
            polls.asking(way, now);
            polls.answered(way, if answered { Asked::Answered } else { Asked::Failed }, now, dice);
            if hurry {
                polls.hurry(now);
            }
            prop_assert!(polls.due(now).all(|due| due != way), "not at once again");
            prop_assert_eq!(polls.due(now + s(1000)).count(), 3);
        }
    }
}
