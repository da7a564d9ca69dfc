//! Promises of CARs: what is written is what the JavaScript implementation writes, and no changed byte gets through.

use alloc::vec;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cid::multihash::Multihash;
use proptest::prelude::*;

use super::*;

const ENOUGH: Limits = Limits { blocks: 100, bytes: 10_000_000 };
const RAW: u64 = 0x55;

/// What `tests/ipns/make.js` prints: a directory (the root), "one" by SHA-256, "two" by SHA-512.
static FIXTURE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let fixtures: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/ipns/fixtures.json")).unwrap();
    STANDARD.decode(fixtures["car"].as_str().unwrap()).unwrap()
});

fn cid(codec: u64, function: u64, bytes: &[u8]) -> Cid {
    let digest = match function {
        SHA2_256 => Sha256::digest(bytes).to_vec(),
        SHA2_512 => Sha512::digest(bytes).to_vec(),
        _ => bytes.to_vec(),
    };
    Cid::new_v1(codec, Multihash::wrap(function, &digest).unwrap())
}

fn fixture_blocks() -> [(Cid, &'static [u8]); 3] {
    let directory = b"\x0a\x02\x08\x01";
    [
        (cid(0x70, SHA2_256, directory), directory),
        (cid(RAW, SHA2_256, b"one"), b"one"),
        (cid(RAW, SHA2_512, b"two"), b"two"),
    ]
}

fn write(roots: &[Cid], blocks: &[(Cid, &[u8])]) -> Vec<u8> {
    let parts = blocks.iter().flat_map(|(cid, bytes)| [prefix(cid, bytes.len()), bytes.to_vec()]);
    [header(roots)].into_iter().chain(parts).collect::<Vec<_>>().concat()
}

/// Reads a CAR that comes in pieces of this size.
fn read(car: &[u8], piece: usize, limits: Limits) -> Result<Vec<Item>, CarError> {
    let mut reader = Reader::new(limits);
    let mut items = vec![];
    for mut chunk in car.chunks(piece) {
        while let Some(item) = reader.take(&mut chunk)? {
            items.push(item);
        }
        assert!(chunk.is_empty());
    }
    reader.finish().map(|()| items)
}

fn one_block(cid: &Cid, bytes: &[u8]) -> Result<Vec<Item>, CarError> {
    read(&write(&[], &[(*cid, bytes)]), 4096, ENOUGH)
}

#[test]
fn a_car_is_byte_for_byte_what_the_javascript_implementation_makes() {
    let blocks = fixture_blocks();
    assert_eq!(write(&[blocks[0].0], &blocks), *FIXTURE);
}

#[test]
fn a_car_of_the_javascript_implementation_is_read_whatever_the_pieces_are() {
    let blocks = fixture_blocks();
    let mut expected = vec![Item::Roots(vec![blocks[0].0])];
    expected.extend(blocks.map(|(cid, bytes)| Item::Block(cid, bytes.to_vec())));
    for piece in [1, 2, 3, 7, 50, 1000] {
        assert_eq!(read(&FIXTURE, piece, ENOUGH).as_ref(), Ok(&expected), "pieces of {piece}");
    }
}

#[test]
fn a_car_that_ends_in_the_middle_is_told_from_a_whole_one() {
    let ends: Vec<_> = (0..3)
        .scan(header(&[fixture_blocks()[0].0]).len(), |at, index| {
            let (cid, bytes) = fixture_blocks()[index];
            let end = *at;
            *at += prefix(&cid, bytes.len()).len() + bytes.len();
            Some(end)
        })
        .collect();
    for cut in 0..FIXTURE.len() {
        let read = read(&FIXTURE[..cut], 64, ENOUGH);
        assert_eq!(read.is_ok(), ends.contains(&cut), "cut at {cut}");
        assert!(read.is_ok() || read == Err(CarError::Cut));
    }
}

#[test]
fn a_block_that_is_not_what_its_cid_says_does_not_come_out() {
    let one = cid(RAW, SHA2_256, b"one");
    assert_eq!(one_block(&one, b"two"), Err(CarError::Mismatch(one)));
    // The beginning of a digest is not a digest.
    let short = Cid::new_v1(RAW, Multihash::wrap(SHA2_256, &Sha256::digest(b"one")[..20]).unwrap());
    assert_eq!(one_block(&short, b"one"), Err(CarError::Mismatch(short)));
    let empty = Cid::new_v1(RAW, Multihash::wrap(SHA2_256, b"").unwrap());
    assert_eq!(one_block(&empty, b"one"), Err(CarError::Mismatch(empty)));
}

#[test]
fn hash_functions_that_prove_nothing_are_refused() {
    for function in [0x00, 0x11, 0x1b, 0x22] {
        let one = cid(RAW, function, b"one");
        assert_eq!(one_block(&one, b"one"), Err(CarError::Function(function)));
    }
}

#[test]
fn a_car_that_has_failed_stays_so() {
    let mut reader = Reader::new(ENOUGH);
    let car = write(&[], &[(cid(RAW, SHA2_256, b"one"), b"two"), (cid(RAW, SHA2_256, b"one"), b"one")]);
    let mut chunk = car.as_slice();
    assert!(matches!(reader.take(&mut chunk), Ok(Some(Item::Roots(_)))));
    let failed = reader.take(&mut chunk);
    assert!(matches!(failed, Err(CarError::Mismatch(_))));
    assert_eq!(reader.take(&mut chunk), failed);
    assert_eq!(reader.finish().map(|()| None), failed);
}

#[test]
fn numbers_are_spelled_the_shortest_way() {
    let long = [&[0x80 | FIXTURE[0], 0x00], &FIXTURE[1..]].concat();
    assert_eq!(read(&long, 9, ENOUGH), Err(CarError::Length));
    assert_eq!(read(&[0xff; 20], 1, ENOUGH), Err(CarError::Length));
    assert_eq!(read(&[0x00], 1, ENOUGH), Err(CarError::Length));
    let mut in_a_cid = write(&[], &[]);
    in_a_cid.extend_from_slice(b"\x07\x01\xd5\x00\x00\x01x!");
    assert_eq!(read(&in_a_cid, 9, ENOUGH), Err(CarError::Cid));
}

#[test]
fn what_begins_as_something_else_is_no_car() {
    let begin = |document: &[u8]| {
        let length = u8::try_from(document.len()).unwrap();
        read(&[&[length], document].concat(), 9, ENOUGH)
    };
    assert_eq!(begin(b"\xa2\x65roots\x80\x67version\x01"), Ok(vec![Item::Roots(vec![])]));
    for header in [
        &b"\xa2\x65roots\x80\x67version\x02"[..],
        b"\xa1\x67version\x01",
        b"\xa3\x63odd\x01\x65roots\x80\x67version\x01",
        b"\xa2\x67version\x01\x65roots\x80",
        b"\xa2\x65roots\x80\x67version\x01\x00",
        b"\xa2\x65roots\x81\x01\x67version\x01",
        b"hello",
    ] {
        assert_eq!(begin(header), Err(CarError::Header), "{header:?}");
    }
    assert_eq!(read(b"\x81\x08", 9, ENOUGH), Err(CarError::Header), "a header of more than 1024 bytes");
    let old = Cid::new_v0(Multihash::wrap(SHA2_256, &Sha256::digest(b"one")).unwrap()).unwrap();
    let mut with_old = write(&[], &[]);
    with_old.push(34 + 3);
    with_old.extend(old.to_bytes());
    with_old.extend_from_slice(b"one");
    assert_eq!(read(&with_old, 9, ENOUGH), Err(CarError::Cid));
}

#[test]
fn blocks_of_two_megabytes_come_through_and_longer_ones_do_not() {
    for (length, whole) in [(LONGEST_BLOCK, true), (LONGEST_BLOCK + 1, false)] {
        let bytes = vec![7; length];
        let read = one_block(&cid(RAW, SHA2_256, &bytes), &bytes);
        assert_eq!(read.map(|items| items.len()), if whole { Ok(2) } else { Err(CarError::LongBlock) });
    }
    let mut announced = write(&[], &[]);
    announced.extend_from_slice(b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f");
    assert_eq!(read(&announced, 9, ENOUGH), Err(CarError::LongBlock));
}

#[test]
fn no_more_is_read_than_is_wanted() {
    let few = |blocks, bytes| read(&FIXTURE, 64, Limits { blocks, bytes }).map(|items| items.len());
    let lengths = 4;
    let bytes = u64::try_from(FIXTURE.len()).unwrap() - lengths;
    assert_eq!(few(3, bytes), Ok(4));
    assert_eq!(few(2, bytes), Err(CarError::TooMuch));
    assert_eq!(few(3, bytes - 1), Err(CarError::TooMuch));
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        blocks in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..300), any::<bool>()), 0..8),
        piece in 1usize..400,
    ) {
        let blocks: Vec<_> = blocks.iter().map(|(bytes, long)| {
            (cid(RAW, if *long { SHA2_512 } else { SHA2_256 }, bytes), bytes.as_slice())
        }).collect();
        let items = read(&write(&[], &blocks), piece, ENOUGH).unwrap();
        let expected: Vec<_> = blocks.iter().map(|(cid, bytes)| Item::Block(*cid, bytes.to_vec())).collect();
        prop_assert_eq!(&items[1..], &expected);
    }

    #[test]
    fn every_flipped_bit_in_a_block_is_refused(at in any::<prop::sample::Index>(), bit in 0u32..8) {
        let (cid, bytes) = fixture_blocks()[2];
        let mut changed = bytes.to_vec();
        let at = at.index(changed.len());
        changed[at] ^= 1 << bit;
        prop_assert_eq!(one_block(&cid, &changed), Err(CarError::Mismatch(cid)));
    }

    /// Whatever comes, each block that comes out is what its CID says, and its pieces make no difference.
    #[test]
    fn whatever_a_peer_sends_is_verified_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        piece in 1usize..100,
    ) {
        let mut mutated = FIXTURE.clone();
        for (at, byte) in changes {
            let at = at.index(mutated.len());
            mutated[at] = byte;
        }
        for car in [bytes, mutated] {
            let items = read(&car, piece, ENOUGH);
            prop_assert_eq!(&items, &read(&car, 1, ENOUGH));
            for item in items.unwrap_or_default() {
                let Item::Block(cid, bytes) = item else { continue };
                prop_assert_eq!(verify(&cid, &bytes), Ok(()));
            }
        }
    }
}
