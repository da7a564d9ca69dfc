//! Promise: a follower's list of peers is what its home said last, whoever else speaks on home's topic and whatever he says,
//! and however much.
//!
//! All on loopback, and nothing is looked for.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use harness::{Conduct, Gateway, Identity, Stranger, free_port, until};
use resolver::directory::Directory;
use resolver::jws;
use serde_json::json;

const SOON: Duration = Duration::from_secs(40);
const MIB: u64 = 1 << 20;
/// What one says that is kept out at the first word, and what one says to whom nothing can be proved.
const FORGED: u64 = 100;
const USELESS: u64 = 1000;
/// Nearly as long as a list may be.
const LONG: usize = 40 * 1024;

fn home(identity: &Identity, data: &Path, port: u16, vouched: &[&Identity]) -> Gateway {
    let numbered = vouched.iter().enumerate();
    let entry = |(nth, one): (usize, &&Identity)| one.entry(&[format!("http://127.0.1.{}", nth + 1)], "");
    let entries: String = numbered.map(entry).collect();
    Gateway::builder()
        .identity(identity)
        .data(data)
        .peers_at(&format!("127.0.0.1:{port}"))
        .config_toml(&format!("[federation]\ndiscover = false\n{entries}"))
        .start()
}

fn follower(home: &Gateway) -> Gateway {
    let config = format!("[federation]\ndiscover = false\nhome = \"{}\"\n", home.contact());
    Gateway::builder().peers_at("127.0.0.1:0").config_toml(&config).start()
}

fn knows(gateway: &Gateway, one: &Identity) -> bool {
    let why = harness::http::get(&format!("{}/why?client=203.0.113.7", gateway.operator_url()));
    why.text().contains(one.id())
}

fn await_knowledge(gateway: &Gateway, one: &Identity) {
    until(|| knows(gateway, one), |known| *known);
}

/// A list that names `victim`: of this home, signed by that one.
fn list(home: &Identity, signer: &Identity, sequence: u64, victim: &Identity) -> String {
    let peer = json!({
        "id": victim.id(), "urls": ["http://127.0.0.66"], "admit": true, "moon": "x".repeat(LONG),
    });
    let directory = Directory { id: home.id().parse().unwrap(), sequence, peers: vec![peer] };
    let message = directory.message();
    jws::signed(&message, signer.sign(message.as_bytes()))
}

/// Milliseconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

/// A node that is taken for a gateway, and takes part in what home's followers tell each other.
fn speaker(follower: &Gateway, topic: &str) -> Stranger {
    let speaker = Stranger::neighbour(Conduct::Honest, []);
    speaker.subscribe(topic);
    speaker.dial(&follower.contact());
    until(|| speaker.members(), |members| *members > 0);
    until(|| follower.connected(), |connected| connected.iter().any(|id| id == speaker.id()));
    speaker
}

/// Waits until a follower has had enough of somebody, after all that he has said before.
fn await_refusal(follower: &Gateway, speaker: &Stranger) {
    let refused = |line: &str| line.contains("home has not signed") && line.contains(speaker.id());
    assert!(follower.wait_for_log(refused, SOON), "{}", follower.log().join("\n"));
    until(|| follower.connected(), |connected| !connected.iter().any(|id| id == speaker.id()));
}

#[test]
#[expect(clippy::print_stdout, reason = "figures for whoever asks for them with --nocapture")]
fn a_flood_of_false_lists_changes_nothing_and_the_next_true_one_arrives() {
    let (identity, data) = (Identity::new(), tempfile::tempdir().unwrap());
    let [first, second, third, victim, nobody] = [(); 5].map(|()| Identity::new());
    let port = free_port();
    let topic = format!("open-registry/directory/1/{}", identity.id());

    let older = home(&identity, data.path(), port, &[&first]);
    let follower = follower(&older);
    await_knowledge(&follower, &first);
    let old = fs::read(data.path().join("directory.jws")).unwrap();
    drop(older);
    let newer = home(&identity, data.path(), port, &[&first, &second]);
    await_knowledge(&follower, &second);
    let (memory, lines) = (follower.peak_memory(), follower.log().len());

    let noisy = speaker(&follower, &topic);
    (0..FORGED).for_each(|number| noisy.say(&topic, [&number.to_be_bytes()[..], &[0xff; 65_000]].concat()));
    await_refusal(&follower, &noisy);

    let forger = speaker(&follower, &topic);
    (0..FORGED).for_each(|number| forger.say(&topic, list(&identity, &nobody, now() + number, &victim)));
    await_refusal(&follower, &forger);

    // Who passes on what home has signed, at whatever time, or what others say, may be honest.
    let useless = speaker(&follower, &topic);
    useless.say(&topic, old);
    for number in 0..USELESS {
        useless.say(
            &topic,
            match number % 3 {
                0 => list(&identity, &identity, 1 + number, &victim),
                1 => list(&identity, &identity, now() + 3_600_000 + number, &victim),
                _ => list(&nobody, &nobody, now() + number, &victim),
            },
        );
    }
    useless.say(&topic, "that was all");
    await_refusal(&follower, &useless);

    assert!(knows(&follower, &first) && knows(&follower, &second) && !knows(&follower, &victim));
    let grown = follower.peak_memory() - memory;
    let said = follower.log().split_off(lines);
    println!("the follower's memory has grown by {} MiB, and its log by {} lines", grown / MIB, said.len());
    assert!(grown < 48 * MIB, "{} MiB more", grown / MIB);
    assert!(said.len() < 60, "{} lines:\n{}", said.len(), said.join("\n"));

    drop(newer);
    let _newest = home(&identity, data.path(), port, &[&first, &second, &third]);
    await_knowledge(&follower, &third);
    assert!(!knows(&follower, &victim));
}
