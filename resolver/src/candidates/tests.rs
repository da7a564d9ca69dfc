//! Whoever shouts gains little, and whom the operator has named is dialled for ever.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn id(number: u32) -> PeerId {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    PeerId::of_key(key)
}

fn nobody() -> Candidates<u32> {
    Candidates::new(id(0))
}

#[test]
fn one_that_was_heard_of_is_dialled_at_once_and_then_after_growing_pauses() {
    let mut candidates = nobody();
    candidates.seen(id(1), 7, Source::Near, SECOND);
    let mut pauses = Vec::new();
    let (mut now, mut last) = (SECOND, SECOND);
    while pauses.len() < 9 {
        if let [(who, addresses)] = candidates.due(now).as_slice() {
            assert_eq!((*who, addresses.as_slice()), (id(1), &[7][..]));
            assert!(candidates.due(now + SECOND).is_empty(), "it is being dialled");
            pauses.push((now - last).as_secs());
            last = now;
            candidates.failed(&id(1), now);
        }
        now += SECOND;
    }
    assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
}

#[test]
fn oneself_is_never_dialled() {
    let mut candidates = nobody();
    assert!(!candidates.seen(id(0), 7, Source::Contact, SECOND));
    assert!(candidates.due(SECOND).is_empty());
}

#[test]
fn a_connection_that_ends_at_once_is_an_attempt_in_vain() {
    let mut candidates = nobody();
    candidates.seen(id(1), 7, Source::Near, SECOND);
    let mut now = SECOND;
    for pause in [1, 2, 4] {
        assert_eq!(candidates.due(now).len(), 1);
        candidates.connected(&id(1), now);
        candidates.lost(&id(1), now);
        assert!(candidates.due(now + SECOND * pause - Duration::from_millis(1)).is_empty());
        now += SECOND * pause;
    }
    assert_eq!(candidates.due(now).len(), 1);
    candidates.connected(&id(1), now);
    candidates.lost(&id(1), now + SETTLED);
    assert_eq!(candidates.due(now + SETTLED + SECOND).len(), 1, "one that has lasted is dialled again soon");
}

#[test]
fn a_stranger_is_left_alone_whatever_is_said_of_it() {
    let mut candidates = nobody();
    candidates.seen(id(1), 7, Source::Near, SECOND);
    candidates.due(SECOND);
    candidates.connected(&id(1), SECOND);
    candidates.rest(&id(1), 600 * SECOND, SECOND);
    candidates.seen(id(1), 7, Source::Near, 2 * SECOND);
    assert!(candidates.due(600 * SECOND).is_empty());
    assert_eq!(candidates.due(601 * SECOND).len(), 1);
}

#[test]
fn a_crowd_of_ids_that_lead_nowhere_does_not_keep_a_real_one_out() {
    let mut candidates = nobody();
    for crowd in 1..=1000 {
        candidates.seen(id(crowd), crowd, Source::Near, SECOND);
    }
    assert_eq!(candidates.len(), MOST_NEAR);
    assert!(!candidates.seen(id(5000), 1, Source::Near, SECOND), "nobody was tried in vain yet");
    for (one, _) in candidates.due(SECOND) {
        candidates.failed(&one, SECOND);
    }
    assert!(candidates.seen(id(5000), 1, Source::Near, SECOND));
    assert_eq!(candidates.len(), MOST_NEAR);
}

#[test]
fn whom_the_operator_named_is_dialled_for_ever_and_at_his_address_first() {
    let mut candidates = nobody();
    candidates.seen(id(1), 1, Source::Contact, Duration::ZERO);
    for other in 2..100 {
        candidates.seen(id(1), other, Source::Near, Duration::ZERO);
    }
    candidates.unseen(&id(1));
    let now = 100 * FORGOTTEN;
    let due = candidates.due(now);
    assert_eq!(due.len(), 1);
    assert_eq!((due[0].1[0], due[0].1.len()), (1, MOST_ADDRESSES));
}

#[test]
fn who_has_gone_silent_is_forgotten() {
    let mut candidates = nobody();
    candidates.seen(id(1), 7, Source::Near, SECOND);
    candidates.seen(id(2), 7, Source::Near, SECOND);
    candidates.unseen(&id(1));
    assert_eq!(candidates.len(), 1);
    assert!(candidates.due(SECOND + FORGOTTEN).is_empty());
    assert!(candidates.is_empty());
}

#[test]
fn who_comes_from_elsewhere_and_is_seen_near_takes_a_place_among_those_who_are_near() {
    let mut candidates = nobody();
    (1000..).take(MOST_FAR).for_each(|nth| assert!(candidates.seen(id(nth), 7, Source::Far, SECOND)));
    (1..).take(MOST_NEAR).for_each(|nth| assert!(candidates.seen(id(nth), 7, Source::Near, SECOND)));
    assert!(candidates.seen(id(1000), 8, Source::Near, SECOND), "it stays, as one from elsewhere");
    assert!(!candidates.seen(id(2000), 7, Source::Far, SECOND), "it has left a place");
    assert_eq!(candidates.len(), MOST_NEAR + MOST_FAR);

    assert!(candidates.seen(id(1), 8, Source::Contact, SECOND), "the operator has as many as he names");
    assert!(candidates.seen(id(1000), 9, Source::Near, SECOND));
    assert!(candidates.seen(id(2000), 7, Source::Far, SECOND), "it has left no place");
}

#[derive(Debug, Clone)]
enum Step {
    Seen(u32, u32, Source),
    Unseen(u32),
    Due,
    Connected(u32),
    Lost(u32),
    Failed(u32),
    Rest(u32),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..400_u32;
    let source = prop_oneof![Just(Source::Contact), Just(Source::Near), Just(Source::Far)];
    prop_oneof![
        8 => (who(), 0..20_u32, source)
            // The operator names few.
            .prop_map(|(who, at, source)| match source { Source::Contact => Step::Seen(who % 8, at, source), _ => Step::Seen(who, at, source) }),
        1 => who().prop_map(Step::Unseen),
        4 => Just(Step::Due),
        2 => who().prop_map(Step::Connected),
        2 => who().prop_map(Step::Lost),
        2 => who().prop_map(Step::Failed),
        1 => who().prop_map(Step::Rest),
        2 => (0..100_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_table_and_the_attempts_are_bounded(steps in proptest::collection::vec(step(), 0..600)) {
        let mut candidates = nobody();
        let mut now = Duration::ZERO;
        let mut dialled: Vec<(PeerId, Duration)> = vec![];
        for step in steps {
            match step {
                Step::Seen(who, at, source) => { candidates.seen(id(who), at, source, now); }
                Step::Unseen(who) => candidates.unseen(&id(who)),
                Step::Due => for (who, addresses) in candidates.due(now) {
                    prop_assert_ne!(who, id(0));
                    prop_assert!(!addresses.is_empty() && addresses.len() <= MOST_ADDRESSES);
                    let again = dialled.iter().any(|(one, since)| *one == who && now - *since < LONGEST_ATTEMPT);
                    prop_assert!(!again, "twice at once");
                    dialled.retain(|(one, _)| *one != who);
                    dialled.push((who, now));
                },
                Step::Connected(who) => { candidates.connected(&id(who), now); dialled.retain(|(one, _)| *one != id(who)); }
                Step::Lost(who) => candidates.lost(&id(who), now),
                Step::Failed(who) => { candidates.failed(&id(who), now); dialled.retain(|(one, _)| *one != id(who)); }
                Step::Rest(who) => { candidates.rest(&id(who), SECOND, now); dialled.retain(|(one, _)| *one != id(who)); }
                Step::Wait(seconds) => now += SECOND * u32::try_from(seconds).unwrap(),
            }
            prop_assert!(candidates.len() <= MOST_NEAR + MOST_FAR + 8);
        }
    }
}
