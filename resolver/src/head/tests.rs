//! Promises of heads: what is written is what the JavaScript implementation writes, and nothing that was changed is taken.

mod follow;
mod travel;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cid::Cid;
use cid::multihash::Multihash;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use proptest::prelude::*;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::*;

const NOW: Duration = Duration::from_secs(1_800_000_000);

/// What `tests/ipns/make.js` prints.
#[derive(Deserialize)]
struct Fixtures {
    seed: String,
    name: String,
    peer: String,
    value: String,
    sequence: u64,
    validity: String,
    ttl: u64,
    record: String,
    old_record: String,
}

static FIXTURES: LazyLock<Fixtures> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../tests/ipns/fixtures.json")).unwrap());

impl Fixtures {
    fn key(&self) -> SigningKey {
        SigningKey::from_bytes(&crate::integrity::unhex(&self.seed).unwrap())
    }

    fn head(&self) -> Head {
        Head {
            name: self.name(),
            root: self.value.strip_prefix("/ipfs/").unwrap().parse().unwrap(),
            sequence: self.sequence,
            until: timestamp::read(self.validity.as_bytes()).unwrap(),
            ttl: Duration::from_nanos(self.ttl),
        }
    }

    fn name(&self) -> PeerId {
        PeerId::of_key(self.key().verifying_key().to_bytes())
    }
}

/// A key, and heads that it has signed.
pub(crate) fn key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

pub(crate) fn id() -> PeerId {
    PeerId::of_key(key().verifying_key().to_bytes())
}

pub(crate) fn root(seed: u8) -> Root {
    let hash = Multihash::<64>::wrap(0x12, &Sha256::digest([seed; 9])).unwrap();
    Root::new(Cid::new_v1(0x70, hash)).unwrap()
}

pub(crate) fn sign(head: &Head, key: &SigningKey) -> Vec<u8> {
    head.record(&key.sign(&head.message()).to_bytes())
}

pub(crate) fn verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let key = VerifyingKey::from_bytes(key).unwrap();
    key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
}

fn head(seed: u8) -> Head {
    publish::next(id(), root(seed), None, NOW)
}

fn old_record() -> Vec<u8> {
    STANDARD.decode(&FIXTURES.old_record).unwrap()
}

/// Takes out the field at `at` of a record, in the order in which they stand, and puts another in its place.
fn with_field(record: &[u8], number: u64, other: &[u8]) -> Vec<u8> {
    let mut rest = record;
    let mut result = vec![];
    while !rest.is_empty() {
        let (tag, _) = unsigned_varint::decode::u64(rest).unwrap();
        let length = match tag & 7 {
            0 => {
                1 + unsigned_varint::decode::u64(&rest[1..])
                    .map(|(_, after)| rest.len() - 1 - after.len())
                    .unwrap()
            }
            _ => {
                let (length, after) = unsigned_varint::decode::usize(&rest[1..]).unwrap();
                rest.len() - after.len() + length
            }
        };
        let (field, after) = rest.split_at(length);
        result.extend_from_slice(if tag >> 3 == number { other } else { field });
        rest = after;
    }
    result
}

#[test]
fn a_record_is_byte_for_byte_what_the_javascript_implementation_makes() {
    let ours = sign(&FIXTURES.head(), &FIXTURES.key());
    assert_eq!(STANDARD.encode(ours), FIXTURES.record);
    assert_eq!(name(FIXTURES.name()), FIXTURES.name);
    assert_eq!(FIXTURES.name().to_string(), FIXTURES.peer);
}

#[test]
fn records_of_the_javascript_implementation_are_read_the_new_and_the_old_kind() {
    for text in [&FIXTURES.record, &FIXTURES.old_record] {
        let record = STANDARD.decode(text).unwrap();
        let checked = Signed::read(&record, FIXTURES.name()).unwrap().check(verify).unwrap();
        assert_eq!(checked.head(), &FIXTURES.head());
        assert_eq!(checked.record(), record);
    }
}

#[test]
fn both_spellings_of_a_name_are_read_and_a_name_of_another_kind_is_refused() {
    for text in [&FIXTURES.name, &FIXTURES.peer] {
        assert_eq!(parse_name(text), Ok(FIXTURES.name()));
    }
    let sha256 = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
    let long = "k".repeat(200);
    let inside = format!("x/ipfs/{}", FIXTURES.name);
    for text in [
        "",
        "k51",
        "k",
        sha256,
        FIXTURES.value.as_str(),
        "bafkqaaa",
        &FIXTURES.name[..61],
        &long,
        &inside,
        "é",
    ] {
        assert_eq!(parse_name(text), Err(NotAName), "{text}");
    }
}

#[test]
fn a_record_is_small_enough_for_one_answer_of_dns() {
    let record = sign(&head(1), &key());
    assert!(record.len() <= 240, "{} bytes", record.len());
}

#[test]
fn a_record_that_another_key_has_signed_is_forged() {
    let record = sign(&head(1), &FIXTURES.key());
    assert_eq!(Signed::read(&record, id()).unwrap().check(verify), Err(Forged));
}

#[test]
fn a_record_of_another_name_is_never_taken_for_this_ones() {
    let record = sign(&head(1), &key());
    let read = Signed::read(&record, FIXTURES.name()).unwrap();
    assert_eq!(read.head().name, FIXTURES.name());
    assert_eq!(read.check(verify), Err(Forged));
}

#[test]
fn a_key_that_comes_along_counts_only_if_it_is_the_names() {
    let record = sign(&head(1), &key());
    let with_key = |key: [u8; 36]| [&record[..], &[0x3a, 36], &key].concat();
    assert!(Signed::read(&with_key(id().public_key()), id()).unwrap().check(verify).is_ok());
    let other = Signed::read(&with_key(FIXTURES.name().public_key()), id()).map(|_| ());
    assert_eq!(other, Err(NotARecord::Key));
}

#[test]
fn what_old_readers_would_read_must_be_what_is_signed() {
    for (field, other) in [
        (1, &b"\x0a\x06/ipfs/"[..]),
        (1, b""),
        (3, b"\x18\x01"),
        (4, b"\x22\x01Z"),
        (5, b"\x28\x07"),
        (6, b"\x30\x07"),
        (6, b""),
    ] {
        let changed = with_field(&old_record(), field, other);
        let read = Signed::read(&changed, FIXTURES.name()).map(|_| ());
        assert_eq!(read, Err(NotARecord::Legacy), "field {field}");
    }
    // The specification's fifth vector: what stands for the old signature is nobody's business.
    let changed = with_field(&old_record(), 2, b"\x12\x03abc");
    assert!(Signed::read(&changed, FIXTURES.name()).unwrap().check(verify).is_ok());
}

#[test]
fn a_record_of_the_old_kind_alone_is_not_signed() {
    let old = with_field(&with_field(&old_record(), 8, b""), 9, b"");
    assert_eq!(Signed::read(&old, FIXTURES.name()).map(|_| ()), Err(NotARecord::Unsigned));
    let short = with_field(&old_record(), 8, b"\x42\x01x");
    assert_eq!(Signed::read(&short, FIXTURES.name()).map(|_| ()), Err(NotARecord::Unsigned));
}

#[test]
fn no_field_stands_twice_and_no_record_is_longer_than_the_specification_says() {
    let record = sign(&head(1), &key());
    let twice = [&record[..], &record].concat();
    assert_eq!(Signed::read(&twice, id()).map(|_| ()), Err(NotARecord::Envelope));
    // Unknown fields: a string, eight bytes, four bytes, a number.
    let more = [&record[..], b"\x7a\x02hi\x79abcdefgh\x7dabcd\x78\x05"].concat();
    assert!(Signed::read(&more, id()).is_ok());
    let filler = vec![0; LONGEST - record.len() - 3];
    let mut longest = [&record[..], b"\x7a"].concat();
    longest.extend_from_slice(unsigned_varint::encode::usize(filler.len(), &mut [0; 10]));
    longest.extend(filler);
    assert_eq!(longest.len(), LONGEST);
    assert!(Signed::read(&longest, id()).is_ok());
    longest.push(0);
    assert_eq!(Signed::read(&longest, id()).map(|_| ()), Err(NotARecord::TooLong(LONGEST + 1)));
}

#[test]
fn a_root_is_a_directory_and_never_an_empty_one() {
    for (text, why) in [
        ("bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354", NotARoot::Empty),
        ("bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", NotARoot::Empty),
        ("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", NotARoot::Kind),
        ("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy", NotARoot::Kind),
        ("bafkqaaa", NotARoot::Kind),
        ("", NotARoot::Unreadable),
        ("bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzd", NotARoot::Unreadable),
        ("bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi/", NotARoot::Unreadable),
        ("x/ipfs/bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi", NotARoot::Unreadable),
    ] {
        assert_eq!(text.parse::<Root>(), Err(why), "{text}");
    }
    assert_eq!("b".repeat(161).parse::<Root>(), Err(NotARoot::Unreadable));
    for block in
        [&b"\x0a\x09\x08\x05\x12\x00\x28\x22\x30\x80\x02"[..], b"\x0a\x07\x08\x05\x28\x22\x30\x80\x02"]
    {
        let sharded = Multihash::<64>::wrap(0x12, &Sha256::digest(block)).unwrap();
        assert_eq!(Root::new(Cid::new_v1(0x70, sharded)), Err(NotARoot::Empty));
    }
    assert!(FIXTURES.head().root.to_string().starts_with("bafybeig"));
}

#[test]
fn dates_are_read_by_the_letter() {
    let s = |seconds| Some(Duration::from_secs(seconds));
    for (text, time) in [
        ("1970-01-01T00:00:00Z", s(0)),
        ("2000-02-29T12:00:00.0Z", s(951_825_600)),
        ("2026-11-22T09:59:00.000000001Z", Some(Duration::new(1_795_341_540, 1))),
        ("2026-11-22T09:59:00.5Z", Some(Duration::new(1_795_341_540, 500_000_000))),
        ("9999-12-31T23:59:59Z", s(253_402_300_799)),
        ("2026-02-29T00:00:00Z", None),
        ("2100-02-29T00:00:00Z", None),
        ("2026-13-01T00:00:00Z", None),
        ("2026-00-01T00:00:00Z", None),
        ("2026-01-00T00:00:00Z", None),
        ("2026-01-01T24:00:00Z", None),
        ("2026-01-01T00:60:00Z", None),
        ("1969-12-31T23:59:59Z", None),
        ("2026-01-01T00:00:00", None),
        ("2026-01-01T00:00:00+00:00", None),
        ("2026-01-01 00:00:00Z", None),
        ("2026-1-01T00:00:00Z", None),
        ("+026-01-01T00:00:00Z", None),
        ("2026-01-01T00:00:00.Z", None),
        ("2026-01-01T00:00:00.0000000001Z", None),
        ("2026-01-01-01T00:00:00Z", None),
        ("", None),
    ] {
        assert_eq!(timestamp::read(text.as_bytes()), time, "{text}");
    }
    assert_eq!(timestamp::write(Duration::MAX), "9999-12-31T23:59:59.999999999Z");
}

#[test]
fn a_publisher_goes_on_from_its_last_sequence_but_not_from_one_that_nobody_can_have_taken() {
    let now = 1_800_000_000_000;
    assert_eq!(publish::sequence(None, NOW), now);
    assert_eq!(publish::sequence(Some(now - 5), NOW), now);
    assert_eq!(publish::sequence(Some(now + 5), NOW), now + 6, "the clock went back");
    assert_eq!(publish::sequence(Some(now + 600_000), NOW), now + 600_001);
    assert_eq!(publish::sequence(Some(now + 600_001), NOW), now, "the clock was wrong");
    assert_eq!(publish::sequence(Some(u64::MAX), NOW), now);
    assert_eq!(publish::sequence(Some(7), Duration::MAX), u64::MAX);
}

#[test]
fn a_new_root_is_published_after_a_second_and_an_old_one_again_after_an_hour() {
    let at = |sequence| Head { sequence, ..head(1) };
    let last = at(1_800_000_000_000);
    assert_eq!(publish::due(None, root(1), NOW), NOW);
    assert_eq!(publish::due(Some(&last), root(2), NOW), NOW + Duration::from_secs(1));
    assert_eq!(publish::due(Some(&last), root(1), NOW), NOW + Duration::from_secs(3600));
    let ahead = at(u64::MAX);
    assert_eq!(publish::due(Some(&ahead), root(2), NOW), NOW + Duration::from_secs(1));
}

fn heads() -> impl Strategy<Value = Head> {
    (any::<u8>(), any::<u64>(), 0..253_402_300_800u64, 0..1_000_000_000u32, any::<u64>()).prop_map(
        |(seed, sequence, seconds, nanos, ttl)| Head {
            name: id(),
            root: root(seed),
            sequence,
            until: Duration::new(seconds, nanos),
            ttl: Duration::from_nanos(ttl),
        },
    )
}

proptest! {
    #[test]
    fn every_head_is_read_as_it_was_written(head in heads()) {
        let record = sign(&head, &key());
        let checked = Signed::read(&record, id()).unwrap().check(verify).unwrap();
        prop_assert_eq!(checked.head(), &head);
    }

    #[test]
    fn every_flipped_bit_in_a_record_is_refused_or_changes_nothing(bit in 0usize..234 * 8) {
        let mut record = sign(&head(1), &key());
        let bit = bit % (record.len() * 8);
        record[bit / 8] ^= 1 << (bit % 8);
        if let Ok(checked) = Signed::read(&record, id()).map_err(drop).and_then(|read| read.check(verify).map_err(drop)) {
            prop_assert_eq!(checked.head(), &head(1));
        }
    }

    /// Nothing of it panics, whatever a peer sends; half of the input is nearly a record.
    #[test]
    fn whatever_a_peer_sends_is_a_record_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let _ = Signed::read(&bytes, id());
        let _ = timestamp::read(&bytes);
        let _ = data::read(&bytes);
        for mut record in [sign(&head(1), &key()), old_record()] {
            for (at, byte) in &changes {
                let at = at.index(record.len());
                record[at] = *byte;
            }
            let _ = Signed::read(&record, id()).map(|read| read.check(verify));
            let _ = Signed::read(&record[..cut.index(record.len())], id());
        }
    }

    /// An attacker who could sign would still not get past the decoder.
    #[test]
    fn whatever_is_signed_is_a_head_or_refused(
        at in any::<prop::sample::Index>(), byte in any::<u8>(), deep in 0usize..9000,
    ) {
        let mut document = data::write(&head(1));
        let at = at.index(document.len());
        document[at] = byte;
        let _ = Signed::read(&envelope::write(&document, &[0; 64]), id());
        let nested = [&b"\xa1\x61a"[..], &vec![0x81; deep], b"\x00"].concat();
        let read = Signed::read(&envelope::write(&nested, &[0; 64]), id()).map(|_| ());
        prop_assert_eq!(read, Err(NotARecord::Data));
    }

    #[test]
    fn every_date_is_read_as_it_was_written(seconds in 0..253_402_300_800u64, nanos in 0..1_000_000_000u32) {
        let time = Duration::new(seconds, nanos);
        prop_assert_eq!(timestamp::read(timestamp::write(time).as_bytes()), Some(time));
    }

    #[test]
    fn every_name_is_read_as_it_was_written(key: [u8; 32], other in "[a-zA-Z0-9]{0,100}") {
        let id = PeerId::of_key(key);
        prop_assert_eq!(parse_name(&name(id)), Ok(id));
        prop_assert_eq!(parse_name(&format!("{id}")), Ok(id));
        prop_assert_eq!(PeerId::of_public_key(&id.public_key()), Some(id));
        let _ = parse_name(&other);
        let _ = other.parse::<Root>();
    }

    #[test]
    fn of_any_heads_one_counts_the_most(heads in proptest::collection::vec(heads(), 2..6)) {
        let greatest = |heads: &[Head]| *heads.iter().max_by(|one, other| one.compare(other)).unwrap();
        let backwards: Vec<_> = heads.iter().rev().copied().collect();
        let most = greatest(&heads);
        prop_assert_eq!(most.compare(&greatest(&backwards)), Ordering::Equal);
        prop_assert!(heads.iter().all(|head| head.sequence <= most.sequence));
    }
}
