//! Kills at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead as _};

use super::*;

/// Set for the process that is killed: where its data is.
const KILLED: &str = "OPEN_REGISTRY_TEST_OF_A_KILLED_INDEX";

/// Keeps packages, and says which it has kept and which heads it has heard of.
#[expect(clippy::print_stdout, reason = "whoever has started it reads that")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it is a part of the test that kills it"]
async fn keeps_packages_until_it_is_killed() {
    let Some(dir) = std::env::var_os(KILLED) else { return };
    let world = World::in_folder(Folder { path: dir.into(), _gone_with_it: None }, 1 << 30, &[]);
    let mut head = world.index.head();
    tokio::spawn(async move {
        while head.changed().await.is_ok() {
            let published = head.borrow().clone();
            if let Some(published) = published {
                println!("head {} {}", published.sequence, published.root);
            }
        }
    });
    for nth in 0.. {
        let package = format!("left-{}-{nth}", std::process::id());
        world.keep(&package, &[("1.0.0", &bytes(nth, 2000))]).await;
        println!("kept {package}");
    }
}

/// Runs that process until it has kept so many packages and told of a head; says what it has said.
fn kill_after(dir: &Path, most: usize) -> Vec<String> {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "index::tests::killed::keeps_packages_until_it_is_killed",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env(KILLED, dir)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = io::BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let (mut said, mut kept, mut heads) = (Vec::new(), 0, 0);
    while kept < most || heads < 2 {
        let line = lines.next().expect("it runs until it is killed");
        kept += usize::from(line.starts_with("kept "));
        heads += usize::from(line.starts_with("head "));
        said.push(line);
    }
    child.kill().unwrap();
    said.extend(lines);
    child.wait().unwrap();
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_between_two_roots_nothing_is_lost_and_no_sequence_has_two_roots() {
    let folder = Folder::new();
    let (mut heads, mut kept) = (BTreeMap::<u64, BTreeSet<String>>::new(), Vec::new());
    for most in [3, 40, 120] {
        for line in kill_after(folder.path(), most) {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["head", sequence, root] => {
                    let sequence = sequence.parse().unwrap();
                    heads.entry(sequence).or_default().insert(root.to_owned());
                }
                ["kept", package] => kept.push(package.to_owned()),
                _ => {}
            }
        }
    }
    let mut world = World::in_folder(folder, 1 << 30, &[]);
    let mut published = world.settled().await.unwrap();
    assert!(kept.len() > 160);
    for package in &kept {
        assert!(world.at(&format!("{package}/{package}-1.0.0.tgz")).is_some(), "{package}");
    }
    // A tarball whose row did not come before the kill is found by the scrub, sooner or later.
    let mut from_nothing = world.root_from_nothing(&[]).await;
    for _ in 0..10 {
        if from_nothing == Some(*published.root.cid()) {
            break;
        }
        world.keep_index();
        published = world.settled().await.unwrap();
        from_nothing = world.root_from_nothing(&[]).await;
    }
    assert!(published.sequence >= *heads.keys().next_back().unwrap());
    heads.entry(published.sequence).or_default().insert(published.root.to_string());
    assert!(heads.values().all(|roots| roots.len() == 1), "{heads:?}");
    assert_eq!(from_nothing, Some(*published.root.cid()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_ends_at_any_moment_loses_nothing_and_no_sequence_has_two_roots() {
    let mut world = World::new();
    let mut heads: BTreeMap<u64, BTreeSet<Cid>> = BTreeMap::new();
    let mut last = 0;
    for round in 0..12 {
        let mut head = world.index.head();
        for nth in 0..5 {
            let tarball = bytes(100 * round + nth, 2000);
            world.keep(&format!("left-{nth}-{}", round % 4), &[("1.0.0", &tarball)]).await;
        }
        // Before anything was looked at, in the middle, or after a root.
        let _ = tokio::time::timeout(Duration::from_millis(90 * round as u64), head.changed()).await;
        if let Some(published) = head.borrow().clone() {
            assert!(published.sequence >= last, "no head goes back");
            last = published.sequence;
            heads.entry(published.sequence).or_default().insert(*published.root.cid());
        }
        world.kill_index().await;
        world.keep_index();
    }
    let published = world.settled().await.unwrap();
    heads.entry(published.sequence).or_default().insert(*published.root.cid());
    assert!(published.sequence > last || heads[&published.sequence].len() == 1);
    assert!(heads.values().all(|roots| roots.len() == 1), "{heads:?}");
    assert_eq!(world.root_from_nothing(&[]).await, Some(*published.root.cid()));
}
