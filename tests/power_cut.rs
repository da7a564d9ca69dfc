//! A power cut at any moment, and bits that flip on disk: what is served afterwards is right, or fetched again.

#![allow(clippy::print_stdout, reason = "a figure that is asserted is worth reading too")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::http::{Reply, Request};
use harness::image::Image;
use harness::{Gateway, Package, Registry, disk, in_own_network};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);
const CUTS: usize = 10;
const CLIENTS: usize = 6;
const FLIPS: usize = 24;
/// Another one is another run; a failure names it.
const SEED: u64 = 20_261_122;
/// How a disk forgets: sizes without bytes, bytes that wait to be written, and what stood in the same place before.
const FORGETFUL: [&str; 3] = ["data=ordered", "data=ordered,nodelalloc", "data=writeback,nodelalloc"];
/// Every request asks upstream whether there is something new.
const DOUBTING: &str = "[upstream]\nfresh = \"0s\"\n";

/// Numbers that follow from a seed: splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).expect("a small number")
    }
}

/// What upstream has, and every packument that it ever had.
struct Upstream {
    registry: Registry,
    tarballs: BTreeMap<String, Bytes>,
    revisions: BTreeMap<String, BTreeSet<String>>,
}

impl Upstream {
    fn new() -> Self {
        let registry = Registry::builder().start();
        Self { registry, tarballs: BTreeMap::new(), revisions: BTreeMap::new() }
    }

    /// One more version of a package; the first one makes it.
    fn publish(&mut self, name: &str, size: usize) {
        let path = format!("/{name}");
        let minor = self.revisions.get(&path).map_or(0, BTreeSet::len);
        let package = Package::new(name).version(&format!("1.{minor}.0"), |version| version.size(size));
        for release in package.releases() {
            self.tarballs.insert(release.tarball_path(), release.tarball.clone());
        }
        self.registry.publish(package);
        let now = Request::get(&format!("{}{path}", self.registry.url())).within(LIMIT).send();
        self.revisions.entry(path).or_default().insert(comparable(&now));
    }

    /// Every path that is to be had.
    fn paths(&self) -> Vec<String> {
        self.tarballs.keys().chain(self.revisions.keys()).cloned().collect()
    }

    /// A complete answer is what upstream has, or had; says whether this one was complete.
    fn is_right(&self, path: &str, reply: &Reply) -> bool {
        if reply.status != 200 || reply.cut.is_some() {
            return false;
        }
        match self.tarballs.get(path) {
            Some(tarball) => assert!(reply.body == *tarball, "{path}: wrong bytes"),
            None => assert!(self.revisions[path].contains(&comparable(reply)), "{path}: {}", reply.text()),
        }
        true
    }
}

/// A packument but for the addresses of its tarballs, which are the gateway's.
fn comparable(reply: &Reply) -> String {
    let mut document: Value = reply.json();
    let versions = document["versions"].as_object_mut().expect("versions");
    for manifest in versions.values_mut() {
        manifest["dist"].as_object_mut().expect("a dist").remove("tarball");
    }
    document.to_string()
}

fn ask(gateway: &Gateway, path: &str) -> Request {
    Request::get(&format!("{}{path}", gateway.url())).within(LIMIT)
}

/// Asks for everything in some order until so many complete answers have come, and then cuts; says which those were.
fn load(
    upstream: &Upstream,
    gateway: &mut Gateway,
    dice: &mut Dice,
    cut: impl FnOnce(&mut Gateway),
) -> BTreeSet<String> {
    let mut paths = upstream.paths();
    (1..paths.len()).rev().for_each(|last| paths.swap(last, dice.below(last + 1)));
    let after = 1 + dice.below(paths.len());
    let (next, url) = (AtomicUsize::new(0), gateway.url());
    let (done, completed) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let (paths, next, url, done) = (&paths, &next, &url, done.clone());
            scope.spawn(move || {
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // After the cut nobody answers, and nobody listens.
                    let Ok(reply) = Request::get(&format!("{url}{path}")).within(LIMIT).try_send() else {
                        return;
                    };
                    let whole = upstream.is_right(path, &reply);
                    if done.send(whole.then(|| path.clone())).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        let served: BTreeSet<String> = completed.into_iter().flatten().take(after).collect();
        cut(gateway);
        served
    })
}

/// Without any upstream: what is right is served, and nothing else. Says what is not there.
fn missing(upstream: &Upstream, data: &Path) -> BTreeSet<String> {
    let gateway = Gateway::builder().upstream(upstream.registry.url()).data(data).offline().start();
    let is_missing = |path: &String| {
        let reply = ask(&gateway, path).send();
        let right = upstream.is_right(path, &reply);
        assert!(right || reply.status == 503, "{path}: {} {:?} {}", reply.status, reply.cut, reply.text());
        !right
    };
    upstream.paths().into_iter().filter(is_missing).collect()
}

fn everything_is_served(upstream: &Upstream, gateway: &Gateway) {
    for path in upstream.paths() {
        let end = Instant::now() + LIMIT;
        while !upstream.is_right(&path, &ask(gateway, &path).send()) {
            assert!(Instant::now() < end, "{path} is not to be had");
        }
    }
}

#[test]
fn after_a_power_cut_at_any_moment_nothing_wrong_is_served_and_everything_is_to_be_had() {
    let test = "after_a_power_cut_at_any_moment_nothing_wrong_is_served_and_everything_is_to_be_had";
    in_own_network(test, &[], || {
        let folder = TempDir::new().expect("a temporary folder");
        match Image::new(folder.path(), FORGETFUL[0]) {
            Ok(disk) => cut_again_and_again(disk),
            Err(why) => println!("left out, for no disk can be mounted here ({why}): power cuts"),
        }
    });
}

/// Each boot goes on with what the last power cut left.
fn cut_again_and_again(mut disk: Image) {
    let (mut upstream, mut dice) = (Upstream::new(), Dice(SEED));
    let (mut served, mut lost) = (0, 0);
    let data = disk.path().join("data");
    let start = |upstream: &Upstream| {
        Gateway::builder().upstream(upstream.registry.url()).data(&data).config_toml(DOUBTING).start()
    };
    let mut gateway = start(&upstream);
    for cut in 0..CUTS {
        for nth in 0..20 {
            upstream.publish(&format!("part-{}", (cut * 7 + nth) % 40), 1 << (8 + dice.below(13)));
        }
        let options = FORGETFUL[cut % FORGETFUL.len()];
        let mut after = None;
        let before = load(&upstream, &mut gateway, &mut dice, |gateway| {
            gateway.signal(Signal::SIGSTOP);
            after = Some(disk.cut(options, || gateway.kill()).expect("a disk that can be mounted again"));
        });
        disk = after.expect("a cut");
        let missing = missing(&upstream, &data);
        served += before.len();
        lost += before.intersection(&missing).count();
        gateway = start(&upstream);
        everything_is_served(&upstream, &gateway);
    }
    gateway.kill();
    println!("{CUTS} power cuts, seed {SEED}: of {served} answers {lost} had to be fetched again");
    assert!(lost > 0, "no cut took anything: nothing was tested");
}

/// A tarball or a packument as it is kept; a variant is made again out of that.
fn content(data: &Path, dice: &mut Dice) -> PathBuf {
    let mut files = [disk::blobs(data), disk::packuments(data)].concat();
    files.sort();
    files.swap_remove(dice.below(files.len()))
}

#[test]
fn a_bit_that_flips_in_any_content_is_found_before_it_is_served_counted_and_fetched_again() {
    let (mut upstream, mut dice) = (Upstream::new(), Dice(SEED));
    (0..12).for_each(|nth| upstream.publish(&format!("part-{nth}"), 1 << (6 + nth)));
    let mut gateway = Gateway::builder().upstream(upstream.registry.url()).config_toml(DOUBTING).start();
    everything_is_served(&upstream, &gateway);
    for flip in 0..FLIPS {
        gateway.kill();
        let file = content(gateway.data(), &mut dice);
        let mut bytes = fs::read(&file).expect("a file that is kept");
        if file.ends_with("document") {
            // As long as there are variants of it, nobody reads it.
            let variants = fs::read_dir(file.parent().expect("its folder")).expect("its folder").flatten();
            variants.map(|variant| variant.path()).filter(|path| *path != file).for_each(|path| {
                fs::remove_file(path).expect("a variant");
            });
        }
        // In a packument the first part is what clients get; what the document says of itself is for a rebuilt state.
        let place = match file.ends_with("document") {
            true => 8 + dice.below(bytes.len() / 4 - 8),
            false => dice.below(bytes.len()),
        };
        bytes[place] ^= 1 << dice.below(8);
        fs::write(&file, bytes).expect("a file that is kept");
        gateway.restart();

        everything_is_served(&upstream, &gateway);

        let said = format!("flip {flip} of seed {SEED}: byte {place} of {}", file.display());
        assert_eq!(gateway.metric("open_registry_store_corrupt", &[]), 1.0, "{said}");
        gateway.kill();
        assert_eq!(missing(&upstream, gateway.data()), BTreeSet::new(), "{said}: it is kept again");
    }
}
