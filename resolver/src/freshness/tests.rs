//! Promises of freshness: under a root nothing is asked twice, and nothing is taken for fresher than home knows it to be.

use alloc::borrow::ToOwned as _;
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::connectivity::Link;
use crate::plan::{Held, Plan, Rest, Source, Windows, Wish};

const NOW: Duration = Duration::from_secs(1_800_000_000);
const FRESH: Duration = Duration::from_secs(300);

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Of a home that was current so many seconds ago.
fn state(seconds: u64) -> State {
    State::default().after_look(0, vec![], NOW - s(seconds))
}

fn of(confirmed: u64, word: Word, current: Option<u64>) -> Duration {
    age(&Known { confirmed: s(confirmed), word, current: current.map(s) })
}

/// Where a document comes from that is as old as that.
fn sources(age: Duration) -> Vec<Source> {
    let held = Held { age, rest: Rest::None };
    Plan::for_document(Some(&held), Wish::Usual, &Windows::fresh(FRESH), &Link::Up).sources
}

#[test]
fn while_home_is_current_a_follower_revalidates_nothing_that_the_root_names() {
    let year = 365 * 24 * 60 * 60;
    let current = state(10).since_current(NOW);
    let age = age(&Known { confirmed: s(year), word: Word::Same, current });
    assert_eq!(age, s(10));
    assert_eq!(sources(age), [Source::Store]);
}

#[test]
fn when_home_falls_behind_or_silent_a_follower_revalidates_as_without_a_root() {
    let year = 365 * 24 * 60 * 60;
    for current in [Some(300), Some(year), None] {
        assert!(matches!(sources(of(year, Word::Same, current))[0], Source::Upstream { .. }), "{current:?}");
    }
    assert_eq!(sources(of(5, Word::Same, None)), [Source::Store], "what is confirmed here is fresh here");
    assert_eq!(sources(of(5, Word::Nothing, Some(1))), [Source::Store]);
    assert_eq!(of(400, Word::Nothing, Some(1)), s(400), "home says nothing of it");
}

#[test]
fn what_the_root_replaces_is_out_of_date_at_once_unless_it_is_newer_than_the_root() {
    assert_eq!(of(20, Word::Other, Some(10)), Duration::MAX);
    assert!(matches!(sources(of(20, Word::Other, Some(10)))[0], Source::Upstream { .. }));
    assert_eq!(of(5, Word::Other, Some(10)), s(5));
    assert_eq!(of(5, Word::Other, None), Duration::MAX);
    assert_eq!(of(10, Word::Other, Some(10)), Duration::MAX);
    assert_eq!(of(9, Word::Other, Some(10)), Duration::MAX, "there is no telling which was later");
}

#[test]
fn a_home_is_current_when_it_has_caught_up_and_not_when_it_has_looked() {
    let behind = state(100).after_look(7, vec![], NOW);
    assert_eq!((behind.since_current(NOW), behind.behind), (Some(s(100)), 7));
    assert_eq!(behind.after_look(0, vec![], NOW).since_current(NOW), Some(s(0)));
    assert_eq!(State::default().after_look(7, vec![], NOW).since_current(NOW), None);
    assert_eq!(State::default().since_current(NOW), None, "nobody follows a feed");
}

#[test]
fn a_time_from_the_future_says_nothing() {
    let ahead = |seconds| State::default().after_look(0, vec![], NOW + s(seconds)).since_current(NOW);
    assert_eq!(ahead(600), Some(s(0)));
    assert_eq!(ahead(601), None);
    let last = State { current: Some(u64::MAX), ..State::default() };
    assert_eq!(last.since_current(NOW), None);
}

#[test]
fn a_quiet_home_says_that_it_is_there_in_time_and_not_all_the_time() {
    let published = state(100);
    assert!(!state(100).is_worth_a_root(&published, FRESH, false));
    assert!(!state(41).is_worth_a_root(&published, FRESH, false));
    assert!(state(40).is_worth_a_root(&published, FRESH, false), "after a minute at the latest");
    assert!(state(80).is_worth_a_root(&published, s(80), false));
    assert!(!state(96).is_worth_a_root(&published, s(0), false));
    assert!(state(95).is_worth_a_root(&published, s(0), false));
    assert!(state(0).is_worth_a_root(&State::default(), FRESH, false));
    assert!(state(95).is_worth_a_root(&published, FRESH, true), "there is a new root for what has changed");
    assert!(!state(96).is_worth_a_root(&published, FRESH, true));
    assert!(state(200).is_worth_a_root(&published, FRESH, false), "its clock went back");
    assert!(!State::default().after_look(3, vec![], NOW).is_worth_a_root(&State::default(), FRESH, false));
}

#[test]
fn a_state_is_read_as_it_was_written_and_what_is_none_is_refused() {
    let text = br#"{"looked":1795341540123,"current":1795341540100,"behind":4,"moon":"full"}"#;
    let read =
        State { looked: 1_795_341_540_123, current: Some(1_795_341_540_100), behind: 4, except: vec![] };
    assert_eq!(State::parse(text), Ok(read));
    assert_eq!(State::parse(b"{}"), Ok(State::default()));
    for text in ["", "[1", "7", r#"{"looked":-1}"#, r#"{"current":"now"}"#] {
        assert!(matches!(State::parse(text.as_bytes()), Err(NotAState::Unreadable(_))), "{text}");
    }
    assert_eq!(State::parse(&vec![b' '; 4097]), Err(NotAState::TooLong(4097)));
    let longest = State { except: vec!["a".repeat(214); EXCEPTED], ..state(0) };
    assert_eq!(State::parse(&longest.to_json()), Ok(longest));
    let more = State { except: vec!["left".to_owned(); EXCEPTED + 1], ..state(0) };
    assert_eq!(State::parse(&more.to_json()), Err(NotAState::TooManyExcepted(EXCEPTED + 1)));
}

#[test]
fn of_a_package_that_home_excepts_nothing_is_said_and_of_all_others_it_is() {
    let name = |text| PackageName::parse(text).unwrap();
    let state = State::default().after_look(0, vec!["left".to_owned()], NOW);
    assert_eq!(state.since_current_of(&name("right"), NOW), Some(s(0)));
    assert_eq!((state.since_current_of(&name("left"), NOW), state.current_of(&name("left"))), (None, None));
    assert_eq!(state.current_of(&name("right")), state.current);
    assert!(
        state.is_worth_a_root(&State::default().after_look(0, vec![], NOW), FRESH, false),
        "it is excepted at once"
    );
}

proptest! {
    /// Whatever the root says: nothing is fresher than the later of what home and this gateway know.
    #[test]
    fn nothing_is_taken_for_fresher_than_anybody_knows_it_to_be(
        confirmed in 0u64..1000, current in proptest::option::of(0u64..1000),
        word in prop_oneof![Just(Word::Same), Just(Word::Other), Just(Word::Nothing)],
    ) {
        let age = of(confirmed, word, current);
        let known = current.map_or(confirmed, |current| current.min(confirmed));
        prop_assert!(age >= s(known));
        prop_assert!(word == Word::Same || age >= s(confirmed));
    }

    #[test]
    fn every_state_is_read_as_it_was_written(
        looked: u64, current: Option<u64>, behind: u64,
        except in proptest::collection::vec("[a-z]{1,9}", 0..EXCEPTED), bytes: std::vec::Vec<u8>,
    ) {
        let state = State { looked, current, behind, except };
        prop_assert_eq!(State::parse(&state.to_json()), Ok(state.clone()));
        let _ = State::parse(&bytes);
        let _ = state.since_current(NOW);
    }
}
