//! What heads and CARs cost: `cargo bench -p resolver --bench head`.
//!
//! It prints, with the spread of five rounds: reading a record; looking at its signature (with a crate of the tests; the gateway has a
//! quicker one); judging one that is known, which is what a flood of old ones costs; and how much of a CAR is read in a second, of long
//! blocks and of short ones.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark has a clock and says what it has seen"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use cid::Cid;
use cid::multihash::Multihash;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use resolver::car::{self, Item, Limits, Reader};
use resolver::head::followed::{Followed, Moment, Verdict};
use resolver::head::polls::Way;
use resolver::head::{Head, Root, Signed, publish};
use resolver::peer::PeerId;
use sha2::{Digest as _, Sha256};

const NOW: Duration = Duration::from_secs(1_800_000_000);
const ROUNDS: usize = 5;
/// Records are read this often in a round.
const TIMES: u32 = 20_000;
/// Bytes of each CAR.
const CAR: usize = 64 * 1024 * 1024;
/// As they come from a socket.
const CHUNK: usize = 16 * 1024;

fn cid(codec: u64, bytes: &[u8]) -> Cid {
    let hash = Multihash::wrap(0x12, &Sha256::digest(bytes)).expect("a digest has 32 bytes");
    Cid::new_v1(codec, hash)
}

fn verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let key = VerifyingKey::from_bytes(key).expect("a key");
    key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
}

/// The rounds' results, from the least to the greatest.
fn rounds(mut round: impl FnMut() -> f64) -> [f64; ROUNDS] {
    let mut results = [0.0; ROUNDS];
    results.iter_mut().for_each(|result| *result = round());
    results.sort_by(f64::total_cmp);
    results
}

fn print(what: &str, unit: &str, [least, _, median, _, most]: [f64; ROUNDS]) {
    println!("{what:<44} {median:>10.2} {unit:<5} ({least:.2} to {most:.2})");
}

/// Microseconds of one of so many.
fn each(times: u32, mut act: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..times).for_each(|_| act());
    start.elapsed().as_secs_f64() * 1e6 / f64::from(times)
}

fn records() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let name = PeerId::of_key(key.verifying_key().to_bytes());
    let root = Root::new(cid(0x70, b"tree")).expect("a root");
    let head: Head = publish::next(name, root, None, NOW);
    let record = head.record(&key.sign(&head.message()).to_bytes());
    println!("a record has {} bytes", record.len());
    let read = || Signed::read(&record, name).expect("a record");
    print("reading a record", "us", rounds(|| each(TIMES, || _ = black_box(read()))));
    let checked = || read().check(verify).expect("signed");
    print(
        "reading it and looking at its signature",
        "us",
        rounds(|| each(TIMES / 10, || _ = black_box(checked()))),
    );
    let mut followed = Followed::new(name, Some(checked()));
    let now = Moment { date: NOW, up: Duration::ZERO };
    let mut judged = || match followed.offer(&record, Way::Pubsub, now, verify) {
        Verdict::New { .. } => unreachable!("it is known"),
        Verdict::Not(outcome) => _ = black_box(outcome),
    };
    print("judging one that is known", "us", rounds(|| each(TIMES, &mut judged)));
}

fn cars(length: usize) {
    let bytes = vec![7; length];
    let block = cid(0x55, &bytes);
    let mut car = car::header(&[block]);
    while car.len() < CAR {
        car.extend(car::prefix(&block, length));
        car.extend_from_slice(&bytes);
    }
    let limits = Limits { blocks: u64::MAX, bytes: u64::MAX };
    let read = || {
        let start = Instant::now();
        let (mut reader, mut blocks) = (Reader::new(limits), 0u64);
        for mut chunk in car.chunks(CHUNK) {
            while let Some(item) = reader.take(&mut chunk).expect("a CAR") {
                blocks += u64::from(matches!(black_box(item), Item::Block(..)));
            }
        }
        reader.finish().expect("the whole");
        assert!(blocks > 0);
        car.len() as f64 / 1e6 / start.elapsed().as_secs_f64()
    };
    print(&format!("reading a CAR of blocks of {length} bytes"), "MB/s", rounds(read));
    let hash = || {
        let start = Instant::now();
        car.chunks(length).for_each(|block| _ = black_box(Sha256::digest(block)));
        car.len() as f64 / 1e6 / start.elapsed().as_secs_f64()
    };
    print("  of which SHA-256 alone", "MB/s", rounds(hash));
}

fn main() {
    records();
    cars(1024 * 1024);
    cars(4096);
}
