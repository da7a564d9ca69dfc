//! Promise: gateways that are told of each other connect and stay connected, and whoever is no gateway of their swarm is
//! nobody to them.
//!
//! All on loopback, and nothing is looked for.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use harness::{Gateway, GatewayBuilder, Identity, Stranger, free_port, until};

/// A gateway at a free port that looks for nobody, with further lines in its `[federation]`.
fn gateway(lines: &str) -> GatewayBuilder {
    let config = format!("[federation]\ndiscover = false\n{lines}\n");
    Gateway::builder().peers_at(&format!("127.0.0.1:{}", free_port())).config_toml(&config)
}

fn bootstrap(contact: &str) -> String {
    format!("bootstrap = [\"{contact}\"]")
}

fn await_connected(gateway: &Gateway, ids: &[String]) {
    let mut ids = ids.to_vec();
    ids.sort();
    let sorted = || {
        let mut connected = gateway.connected();
        connected.sort();
        connected
    };
    until(sorted, |connected| *connected == ids);
}

#[test]
fn gateways_that_know_one_another_connect_both_ways() {
    let older = gateway("").start();
    let newer = gateway(&bootstrap(&older.contact())).start();
    await_connected(&newer, &[older.id()]);
    await_connected(&older, &[newer.id()]);
    let seen = &older.status()["connected"][0];
    assert_eq!(seen["addresses"][0], "127.0.0.1");
    assert_eq!(seen["urls"][0], newer.url());
}

#[test]
fn one_that_ends_is_gone_within_10_s_and_comes_back() {
    let first = gateway("").start();
    let line = bootstrap(&first.contact());
    let mut second = gateway(&line).start();
    await_connected(&first, &[second.id()]);

    let told = Instant::now();
    second.terminate();
    await_connected(&first, &[]);
    assert!(told.elapsed() < Duration::from_secs(10), "it took {:?}", told.elapsed());

    second.restart();
    await_connected(&first, &[second.id()]);
    let killed = Instant::now();
    second.kill();
    await_connected(&first, &[]);
    assert!(killed.elapsed() < Duration::from_secs(10), "it took {:?}", killed.elapsed());
}

#[test]
fn a_contact_that_is_not_there_yet_is_dialled_until_it_is() {
    let mut first = gateway("").start();
    let (id, contact) = (first.id(), first.contact());
    let port = contact.split('/').nth(4).unwrap().to_owned();
    first.kill();
    let second = gateway(&bootstrap(&contact)).start();
    assert!(second.wait_for_log(|line| line.contains("cannot connect to a peer"), Duration::from_secs(20)));
    let config = "[federation]\ndiscover = false\n";
    let again =
        Gateway::builder().data(first.data()).peers_at(&format!("127.0.0.1:{port}")).config_toml(config);
    let _again = again.start();
    await_connected(&second, &[id]);
}

#[test]
fn a_contact_that_leads_to_the_gateway_itself_is_told_so() {
    let port = free_port();
    let id = gateway("").start().id();
    let line = bootstrap(&format!("/ip4/127.0.0.1/tcp/{port}/p2p/{id}"));
    let misled = gateway(&line).peers_at(&format!("127.0.0.1:{port}")).start();
    let is_said =
        |line: &str| line.contains("cannot connect to a peer") && line.contains("this gateway's own");
    assert!(misled.wait_for_log(is_said, Duration::from_secs(20)), "{}", misled.log().join("\n"));
}

#[test]
fn a_port_that_is_taken_is_an_error_that_says_which_setting() {
    let first = gateway("").start();
    let port = first.contact().split('/').nth(4).unwrap().to_owned();
    let (mut command, _surroundings) = gateway("").peers_at(&format!("127.0.0.1:{port}")).command();
    let output = command.output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("federation.listen") && said.contains(&port), "{said}");
}

#[test]
fn offline_nobody_is_connected_to() {
    let first = gateway("").start();
    let second = gateway(&bootstrap(&first.contact())).offline().start();
    assert_eq!(second.status()["contacts"].as_array().map(Vec::len), Some(0));
    assert!(second.connected().is_empty() && first.connected().is_empty());
}

#[test]
fn a_node_of_another_swarm_is_turned_away_whoever_has_dialled() {
    let ours = gateway("").start();
    let other = Stranger::start("/ipfs/0.1.0", None);
    other.dial(&ours.contact());
    let refused = || ours.metric("open_registry_peers_refused_total", &[("reason", "stranger")]);
    until(refused, |count| *count >= 1.0);
    assert!(ours.connected().is_empty());

    let another = Stranger::start("/ipfs/0.1.0", None);
    let dialling = gateway(&bootstrap(another.contact())).start();
    let refused = || dialling.metric("open_registry_peers_refused_total", &[("reason", "stranger")]);
    until(refused, |count| *count >= 1.0);
    assert!(dialling.connected().is_empty());
}

#[test]
fn who_says_that_it_is_ours_and_has_no_card_is_turned_away() {
    let ours = gateway("").start();
    for card in [None, Some("no card".to_owned())] {
        let before = ours.metric("open_registry_peers_refused_total", &[("reason", "stranger")]);
        let other = Stranger::start("/open-registry/1", card);
        other.dial(&ours.contact());
        let refused = || ours.metric("open_registry_peers_refused_total", &[("reason", "stranger")]);
        until(refused, |count| *count > before);
        assert!(ours.connected().is_empty());
    }
}

#[test]
fn a_card_that_points_at_a_victim_leads_nobody_there_and_is_counted() {
    let (victim, own) =
        (TcpListener::bind("127.0.0.2:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let urls = [&victim, &own].map(|one| format!("\"http://{}\"", one.local_addr().unwrap()));
    let card = format!("{{\"version\":\"0.1.0\",\"urls\":[{}]}}", urls.join(","));
    let liar = Stranger::start("/open-registry/1", Some(card));
    let ours = gateway(&format!("admit = [\"{}\"]\n{}", liar.id(), bootstrap(liar.contact()))).start();
    await_connected(&ours, &[liar.id().to_owned()]);
    assert_eq!(ours.status()["connected"][0]["urls"].to_string(), format!("[{}]", urls[1]));
    assert!(ours.metric("open_registry_peers_refused_total", &[("reason", "address")]) >= 1.0);
    // The gateway looks at the address that counts, as it does before it leads anybody there; it has never been at the other.
    own.accept().unwrap();
    victim.set_nonblocking(true).unwrap();
    assert_eq!(victim.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_private_swarm_is_for_those_who_have_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        format!("psk_file = {path:?}")
    };
    let ours = file("ours", &"0f".repeat(32));
    let same = file("same", &format!("/key/swarm/psk/1.0.0/\n/base16/\n{}\n", "0f".repeat(32)));
    let other = file("other", &"f0".repeat(32));

    let first = gateway(&ours).start();
    let line = bootstrap(&first.contact());
    let member = gateway(&format!("{same}\n{line}")).start();
    let without = gateway(&line).start();
    let stranger = gateway(&format!("{other}\n{line}")).start();
    await_connected(&first, &[member.id()]);
    for gateway in [&without, &stranger] {
        let said = |line: &str| line.contains("cannot connect to a peer");
        assert!(gateway.wait_for_log(said, Duration::from_secs(30)), "{}", gateway.log().join("\n"));
        assert!(gateway.connected().is_empty());
    }
    assert_eq!(first.connected(), [member.id()]);
}

#[test]
fn a_key_file_without_a_key_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("psk");
    fs::write(&path, "no key").unwrap();
    let (mut command, _surroundings) = gateway(&format!("psk_file = {path:?}")).command();
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("psk_file"), "{said}");
}

#[test]
fn homes_list_reaches_who_follows_it_and_is_there_after_a_restart() {
    let vouched = Identity::new();
    let entry = vouched.entry(&["http://127.0.0.9".to_owned()], "");
    let home = Gateway::builder()
        .peers_at("127.0.0.1:0")
        .config_toml(&format!("[federation]\ndiscover = false\n{entry}"))
        .start();
    let mut follower = gateway(&format!("home = \"{}\"", home.contact())).start();
    let further = gateway(&format!("home = \"{}\"", home.contact())).start();
    let knows = |gateway: &Gateway| {
        harness::http::get(&format!("{}/why?client=203.0.113.7", gateway.operator_url())).text()
    };
    for one in [&follower, &further] {
        until(|| knows(one), |said| said.contains(vouched.id()));
    }
    drop(home);
    follower.restart();
    until(|| knows(&follower), |said| said.contains(vouched.id()));
}
