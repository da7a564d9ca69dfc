//! Promises of removals: nobody's lockfile breaks because upstream forgets, and what is blocked is blocked by every name.

use alloc::format;
use alloc::vec;

use proptest::prelude::*;

use super::*;

const NOW: Duration = Duration::from_secs(1_800_000_000);

fn removal(version: &str, by: By, when: u64) -> Removal {
    Removal { version: version.into(), by, reason: "because".into(), when, integrity: Some(sri(version)) }
}

fn integrity(version: &str) -> Integrity {
    Integrity::of(version.as_bytes())
}

fn sri(version: &str) -> String {
    format!("{}", integrity(version))
}

fn of(removals: &[Removal]) -> Removals {
    let mut list = Removals::default();
    removals.iter().for_each(|removal| list.put(removal.clone()).unwrap());
    list
}

fn versions(versions: &[&str]) -> Vec<(String, Option<String>)> {
    versions.iter().map(|version| ((*version).into(), Some(sri(version)))).collect()
}

#[test]
fn what_upstream_removes_is_served_by_digest_and_what_an_operator_blocks_is_not() {
    let (gone, blocked) = (removal("1.0.0", By::Upstream, 1), removal("2.0.0", By::Operator, 2));
    let list = of(&[gone.clone(), blocked.clone()]);
    assert_eq!(list.treatment("1.0.0", Some(&integrity("1.0.0"))), Treatment::ByDigestOnly(&gone));
    assert_eq!(list.treatment("2.0.0", None), Treatment::Blocked(&blocked));
    assert_eq!(list.treatment("3.0.0", None), Treatment::Served);
    assert_eq!(
        list.treatment("3.0.0", Some(&integrity("2.0.0"))),
        Treatment::Blocked(&blocked),
        "by digest too"
    );
    assert_eq!(list.blocked_digest(&integrity("2.0.0")), Some(&blocked));
    assert_eq!(list.blocked_digest(&integrity("1.0.0")), None);
}

#[test]
fn a_block_counts_for_more_than_a_removal_and_one_of_the_whole_package_is_one_of_each_version() {
    let whole = Removal { integrity: None, ..removal(WHOLE, By::Operator, 1) };
    let list = of(&[removal("1.0.0", By::Upstream, 1), whole.clone()]);
    for version in ["1.0.0", "9.9.9"] {
        assert_eq!(list.treatment(version, None), Treatment::Blocked(&whole));
    }
    assert_eq!(list.blocked_whole(), Some(&whole));
    let both = of(&[removal("1.0.0", By::Upstream, 1), removal("1.0.0", By::Operator, 9)]);
    assert!(matches!(both.treatment("1.0.0", None), Treatment::Blocked(_)));
}

#[test]
fn what_upstreams_document_loses_is_noted_with_its_digest_and_what_it_gets_back_is_forgotten() {
    let mut list = Removals::default();
    let before = versions(&["1.0.0", "1.1.0", "2.0.0"]);
    assert!(list.compare(&before, Some(&versions(&["1.0.0", "2.0.0"])), NOW));
    let expected = Removal {
        reason: "no longer in upstream's document".into(),
        ..removal("1.1.0", By::Upstream, 1_800_000_000_000)
    };
    assert_eq!(list.iter().collect::<Vec<_>>(), [&expected]);
    assert!(!list.compare(&versions(&["1.0.0"]), Some(&versions(&["1.0.0", "3.0.0"])), NOW));
    assert!(list.compare(&versions(&["1.0.0"]), Some(&versions(&["1.0.0", "1.1.0"])), NOW));
    assert_eq!(list, Removals::default());
    assert!(list.compare(&versions(&["1.0.0"]), None, NOW));
    assert_eq!(list.iter().map(|removal| removal.version.as_str()).collect::<Vec<_>>(), ["*"]);
    assert!(list.compare(&[], Some(&versions(&["1.0.0"])), NOW));
    assert_eq!(list.to_json(), None, "no removals are no file");
}

#[test]
fn since_when_something_is_removed_does_not_change() {
    let mut list = of(&[removal("1.0.0", By::Upstream, 5)]);
    list.put(removal("1.0.0", By::Upstream, 9)).unwrap();
    assert_eq!(list.iter().next().unwrap().when, 5);
    list.put(removal("1.0.0", By::Upstream, 3)).unwrap();
    assert_eq!(list.iter().next().unwrap().when, 3);
}

#[test]
fn a_list_that_is_none_or_says_too_much_is_refused() {
    let list = |entry: &str| Removals::parse(format!(r#"{{"removed":[{entry}]}}"#).as_bytes());
    assert!(list(r#"{"version":"1","by":"operator","reason":"x","when":7,"more":1}"#).is_ok());
    for entry in [
        r#"{"version":"1","by":"somebody","reason":"x","when":7}"#,
        r#"{"version":"1","by":"operator","reason":"x"}"#,
        r#"{"version":"1","by":"operator","reason":"x","when":-7}"#,
        "7",
    ] {
        assert!(matches!(list(entry), Err(NotRemovals::Unreadable(_))), "{entry}");
    }
    let digest = r#"{"version":"1","by":"operator","reason":"x","when":7,"integrity":"md5-x"}"#;
    assert_eq!(list(digest), Err(NotRemovals::Integrity("md5-x".into())));
    let long = Removal { reason: "x".repeat(501), ..removal("1", By::Operator, 1) };
    assert_eq!(Removals::default().put(long), Err(NotRemovals::Excessive));
    assert_eq!(Removals::default().put(removal("", By::Operator, 1)), Err(NotRemovals::Excessive));
    assert_eq!(Removals::parse(&vec![b' '; LONGEST + 1]), Err(NotRemovals::TooLong(LONGEST + 1)));
}

#[test]
fn a_list_that_has_become_too_long_takes_no_more_and_is_still_read_by_others() {
    // Characters that JSON spells with six.
    let entry =
        |n: usize| Removal { reason: "\u{1}".repeat(500), ..removal(&format!("{n}"), By::Upstream, 1) };
    let mut list = Removals::default();
    let taken = (0..1000).take_while(|n| list.put(entry(*n)).is_ok()).count();
    assert!((70..100).contains(&taken), "{taken}");
    let json = list.to_json().unwrap();
    assert!(json.len() <= LONGEST && json.len() + 4000 > LONGEST, "{}", json.len());
    assert_eq!(Removals::parse(&json), Ok(list.clone()));
    assert!(list.lift("7", By::Upstream).is_some() && list.put(entry(1001)).is_ok(), "there is room again");
}

fn removals() -> impl Strategy<Value = Removal> {
    (0u8..9, any::<bool>(), any::<u64>(), any::<bool>(), ".{0,20}").prop_map(
        |(version, operator, when, known, reason)| {
            let version = if version == 0 { WHOLE.into() } else { format!("{version}.0.0") };
            let by = if operator { By::Operator } else { By::Upstream };
            Removal { integrity: known.then(|| sri(&version)), version, by, reason, when }
        },
    )
}

proptest! {
    #[test]
    fn a_list_is_read_as_it_was_written(removals in proptest::collection::vec(removals(), 1..12)) {
        let list = of(&removals);
        prop_assert_eq!(Removals::parse(&list.to_json().unwrap()), Ok(list));
    }

    #[test]
    fn whatever_was_blocked_by_name_or_digest_is_blocked(removals in proptest::collection::vec(removals(), 1..12)) {
        let list = of(&removals);
        for removal in list.iter().filter(|removal| removal.by == By::Operator) {
            prop_assert!(matches!(list.treatment(&removal.version, None), Treatment::Blocked(_)));
            let digest = removal.integrity.as_ref().and_then(|sri| Integrity::from_sri(sri));
            prop_assert!(digest.is_none_or(|digest| list.blocked_digest(&digest).is_some()));
        }
    }

    #[test]
    fn whatever_a_peer_sends_is_a_list_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), byte: u8,
    ) {
        let _ = Removals::parse(&bytes);
        let mut ours = of(&[removal("1.0.0", By::Operator, 7)]).to_json().unwrap();
        let at = at.index(ours.len());
        ours[at] = byte;
        let _ = Removals::parse(&ours);
    }
}
