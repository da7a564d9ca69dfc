//! Promises of what travels by DNS and by `GET /`: it is read as it was written, and what is added to it hides nothing.

use alloc::string::ToString as _;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::*;

use super::{id, key, root, sign, verify};
use crate::head::dns::{self, LONGEST_STRING, NotTold, Text, Told};
use crate::head::summary::{NotASummary, Summary};
use crate::head::{Checked, LONGEST, Signed, publish};

const NOW: Duration = Duration::from_secs(1_800_000_000);

fn checked(seed: u8) -> Checked {
    let record = sign(&publish::next(id(), root(seed), None, NOW), &key());
    Signed::read(&record, id()).unwrap().check(verify).unwrap()
}

fn read(texts: &[Text]) -> Result<Told, NotTold> {
    dns::read(texts.iter().map(|text| text.iter().map(Vec::as_slice)))
}

fn one(text: &str) -> Text {
    vec![text.as_bytes().to_vec()]
}

#[test]
fn texts_are_read_as_they_were_written_in_strings_that_dns_can_carry() {
    let checked = checked(1);
    let texts = dns::texts(&checked);
    assert!(texts.iter().flatten().all(|string| string.len() <= LONGEST_STRING));
    assert_eq!(texts.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
    let told = read(&texts).unwrap();
    assert_eq!(told, Told { root: Some(root(1)), records: vec![checked.record().to_vec()] });
    let octets: usize = texts.iter().flatten().map(|string| string.len() + 1).sum();
    assert!(octets < 450, "{octets} octets fit into any answer");
}

#[test]
fn a_link_leads_to_the_root() {
    let link = dns::link(&root(1));
    assert_eq!(link, one(&alloc::format!("dnslink=/ipfs/{}", root(1))));
    assert_eq!(dns::read_link(link.iter().map(Vec::as_slice)), Some(root(1)));
    for other in ["dnslink=/ipns/example.com", "dnslink=/ipfs/bafkqaaa", "dnslink=", "x"] {
        assert_eq!(dns::read_link([other.as_bytes()]), None, "{other}");
    }
    assert_eq!(dns::link_name("registry.example"), "_dnslink.registry.example");
}

#[test]
fn what_others_put_beside_ours_is_passed_over_and_what_is_damaged_hides_nothing() {
    let ours = dns::texts(&checked(1));
    let mut texts = vec![one("v=spf1 -all"), one("registry-record=!"), one("registry-hash=bafkqaaa"), vec![]];
    texts.extend(ours);
    assert_eq!(read(&texts).unwrap().records, [checked(1).record()]);
    assert_eq!(read(&[one("v=spf1 -all")]), Err(NotTold::Nothing));
    assert_eq!(read(&[]), Err(NotTold::Nothing));
    assert_eq!(read(&[one("registry-record=")]), Err(NotTold::Damaged("registry-record=")));
    assert_eq!(read(&[one("registry-record=aGk")]), Err(NotTold::Damaged("registry-record=")), "no padding");
    assert_eq!(read(&[one("registry-hash=x")]), Err(NotTold::Damaged("registry-hash=")));
}

#[test]
fn records_of_several_answers_are_all_told_up_to_a_few() {
    let texts: Vec<_> = (1..=9).map(|seed| dns::texts(&checked(seed))[1].clone()).collect();
    assert_eq!(read(&texts).unwrap().records.len(), 4);
    let same: Vec<_> = (0..9).map(|_| dns::texts(&checked(1))[1].clone()).collect();
    assert_eq!(read(&same).unwrap().records.len(), 1);
}

#[test]
fn a_text_that_is_longer_than_any_is_passed_over() {
    let long: Text = [one("registry-record="), vec![vec![b'A'; 255]; 100]].concat();
    assert_eq!(read(&[long]), Err(NotTold::Nothing));
    let longest: Text = [one("registry-record="), vec![vec![b'A'; 248]; 55]].concat();
    assert_eq!(read(&[longest]).unwrap().records[0].len(), 248 * 55 / 4 * 3);
    const { assert!(248 * 55 / 4 * 3 <= LONGEST) };
}

#[test]
fn the_index_of_a_gateway_is_read_as_it_was_written() {
    let head = *checked(1).head();
    let summary = Summary::of(id(), Some(&head), 48_210_034, 5021);
    assert_eq!(Summary::parse(&summary.to_json()), Ok(summary));
    let json: serde_json::Value = serde_json::from_slice(&summary.to_json()).unwrap();
    let expected = serde_json::json!({
        "hash": root(1).to_string(), "sequence": head.sequence, "peer": id().to_string(),
        "cumulativesize": 48_210_034, "blocks": 5021,
    });
    assert_eq!(json, expected);
    let none = Summary::of(id(), None, 0, 0);
    assert_eq!(Summary::parse(&none.to_json()), Ok(none));
}

#[test]
fn what_is_no_index_is_told_apart() {
    let of = |json: &str| Summary::parse(json.as_bytes());
    let peer = id();
    assert!(of(&alloc::format!(r#"{{"peer":"{peer}","moon":"full"}}"#)).is_ok(), "later versions say more");
    assert!(matches!(
        of(&alloc::format!(r#"{{"peer":"{peer}","hash":"bafkqaaa"}}"#)),
        Err(NotASummary::Root(_))
    ));
    for json in ["", "[]", "{}", "<html>", r#"{"peer":"x"}"#] {
        assert!(matches!(of(json), Err(NotASummary::Unreadable(_))), "{json}");
    }
    assert_eq!(of(&" ".repeat(4097)), Err(NotASummary::TooLong(4097)));
}

proptest! {
    #[test]
    fn whatever_dns_answers_tells_something_or_nothing(
        texts in proptest::collection::vec(
            proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..4), 0..6),
        at in any::<prop::sample::Index>(), byte: u8, cut in 1usize..255,
    ) {
        let _ = read(&texts);
        let mut ours = dns::texts(&checked(1))[1].concat();
        let at = at.index(ours.len());
        ours[at] = byte;
        // Wherever the strings end, it is the same text.
        let cut: Text = ours.chunks(cut).map(<[u8]>::to_vec).collect();
        let whole = read(&[vec![ours]]);
        prop_assert_eq!(read(&[cut]), whole.clone());
        for record in whole.map(|told| told.records).unwrap_or_default() {
            prop_assert!(!record.is_empty() && record.len() <= LONGEST);
        }
    }

    #[test]
    fn whatever_a_gateway_answers_is_an_index_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), byte: u8,
    ) {
        let _ = Summary::parse(&bytes);
        let mut ours = Summary::of(id(), Some(checked(1).head()), 7, 9).to_json();
        let at = at.index(ours.len());
        ours[at] = byte;
        let _ = Summary::parse(&ours);
    }
}
