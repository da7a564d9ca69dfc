//! What the index costs with 10,000 and 100,000 names: `cargo bench -p resolver --bench index`.
//!
//! It prints, with the spread of five rounds: a batch of 1,000 changed packages and one of a single one (blocks and bytes
//! that are written, time), a lookup with its proof, the verification of one, a diff; the nodes that are held, and memory. A
//! model of the trie stands beside what is measured, and says what npm's 3.5 million names would come to.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark has a clock and says what it has seen"
)]

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use resolver::index::{
    Blocks, Changes, Cid, Cursor, Link, Path, Update, address, diff, prove, update, verify,
};
use resolver::integrity::Integrity;
use resolver::package::PackageName;

const ROUNDS: u64 = 5;
const CHANGED: u64 = 1_000;
const NPM: u64 = 3_500_000;
/// Every third name is in a scope of ten.
const IN_SCOPE: u64 = 10;

/// Nodes with the number of their places.
#[derive(Default)]
struct Store {
    nodes: HashMap<Cid, (Vec<u8>, u64)>,
    root: Option<Cid>,
}

impl Blocks for Store {
    fn block(&self, cid: &Cid) -> Option<Cow<'_, [u8]>> {
        self.nodes.get(cid).map(|(bytes, _)| Cow::Borrowed(bytes.as_slice()))
    }
}

impl Store {
    fn take(&mut self, update: Update, keep_old: bool) {
        for (block, places) in update.placed {
            self.nodes.entry(block.cid).or_insert((block.bytes, 0)).1 += places;
        }
        for (cid, places) in update.displaced {
            if let Some((_, left)) = self.nodes.get_mut(&cid) {
                *left -= places;
            }
        }
        if !keep_old {
            self.nodes.retain(|_, (_, places)| *places > 0);
        }
        self.root = Some(update.root.cid);
    }

    fn bytes(&self) -> usize {
        self.nodes.values().map(|(bytes, _)| bytes.len()).sum()
    }
}

/// Resident memory of this process now, or at most so far, in MiB.
fn memory_mib(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn name(nth: u64) -> PackageName {
    let name = if nth.is_multiple_of(3) {
        format!("@scope-{}/package-{nth}", nth / 3 / IN_SCOPE)
    } else {
        format!("package-name-{nth}")
    };
    PackageName::parse(&name).expect("a name")
}

/// A package as a gateway has it: the packument in both forms, and a tarball.
fn put(changes: &mut Changes, nth: u64, edition: u64) {
    let (name, digest) = (name(nth), Integrity::of(format!("{nth} {edition}").as_bytes()));
    let half: [u8; 32] = *digest.as_bytes().first_chunk().expect("64 octets");
    let document = |length| Link { cid: address::of_raw(&half), size: length };
    changes.put(Path::metadata(name.clone()), document(30_000 + nth % 40_000));
    changes.put(Path::install(name.clone()), document(5_000));
    let file = name.conventional_file("1.0.0").expect("a file");
    changes.put(Path::tarball(name, &file), Link { cid: address::of_tarball(&digest), size: 20_000 });
}

fn build(names: u64) -> Store {
    let mut store = Store::default();
    for first in (0..names).step_by(5_000) {
        let mut changes = Changes::default();
        (first..names.min(first + 5_000)).for_each(|nth| put(&mut changes, nth, 0));
        let update = update(&store, store.root.as_ref(), &changes).expect("a tree");
        store.take(update, false);
    }
    store
}

/// Packages that are spread over all.
fn spread(names: u64, count: u64, round: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |nth| (nth * names / count + round * 7 + nth * 13) % names)
}

/// Prints the median, the least and the most; gives the median in microseconds.
fn say(what: &str, each: u64, mut rounds: Vec<Duration>) -> f64 {
    rounds.sort_unstable();
    let us = |time: &Duration| time.as_secs_f64() * 1e6 / each as f64;
    let at = |nth: usize| rounds.get(nth).map_or(0.0, us);
    println!("  {what:<44} {:>10.1} us  ({:.1} to {:.1})", at(2), at(0), at(4));
    at(2)
}

/// How many nodes, and bytes of them, a batch writes; how long it takes: for each byte, in microseconds.
fn batches(store: &Store, names: u64, count: u64) -> f64 {
    let (mut times, mut blocks, mut bytes) = (Vec::new(), 0, 0);
    for round in 1..=ROUNDS {
        let mut changes = Changes::default();
        spread(names, count, round).for_each(|nth| put(&mut changes, nth, round));
        let started = Instant::now();
        let update = update(store, store.root.as_ref(), &changes).expect("a tree");
        times.push(started.elapsed());
        blocks += update.placed.len();
        bytes += update.placed.iter().map(|(block, _)| block.bytes.len()).sum::<usize>();
    }
    let mean = |sum: usize| sum as f64 / ROUNDS as f64;
    println!("  {count} changed: {:.0} blocks, {:.0} kB written", mean(blocks), mean(bytes) / 1e3);
    say(&format!("a batch of {count}"), 1, times) / mean(bytes)
}

fn lookups(store: &Store, names: u64) {
    let root = store.root.expect("a root");
    let paths: Vec<_> = spread(names, 2_000, 3).map(|nth| Path::metadata(name(nth))).collect();
    let (mut proving, mut verifying, mut bytes, mut blocks) = (Vec::new(), Vec::new(), 0, 0);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let proofs: Vec<_> =
            paths.iter().map(|path| prove(store, &root, path.segments()).expect("a tree")).collect();
        proving.push(started.elapsed());
        bytes = proofs.iter().flat_map(|proof| &proof.nodes).map(|block| block.bytes.len()).sum();
        blocks = proofs.iter().map(|proof| proof.nodes.len()).sum();
        let started = Instant::now();
        for (path, proof) in paths.iter().zip(proofs) {
            let sent = proof.nodes.into_iter().map(|block| (block.cid, block.bytes));
            let (found, _) = verify(&root, path.segments(), sent, 1 << 20).expect("a proof");
            assert_eq!(found.target, proof.target);
        }
        verifying.push(started.elapsed());
    }
    let each = |sum: usize| sum as f64 / paths.len() as f64;
    println!("  a proof: {:.1} blocks, {:.1} kB", each(blocks), each(bytes) / 1e3);
    say("a lookup with its proof", 2_000, proving);
    say("its verification, with all hashes", 2_000, verifying);
}

fn differences(store: &mut Store, names: u64) {
    let old = store.root.expect("a root");
    let mut changes = Changes::default();
    spread(names, CHANGED, 1).for_each(|nth| put(&mut changes, nth, 99));
    let update = update(store, Some(&old), &changes).expect("a tree");
    store.take(update, true);
    let new = store.root.expect("a root");
    let times = (0..ROUNDS).map(|_| {
        let started = Instant::now();
        let page = diff(store, Some(&old), &new, Cursor::default(), 2_000).expect("both trees");
        assert_eq!(page.differences.len(), changes.len());
        started.elapsed()
    });
    say("a diff of 1,000 changed packages", 1, times.collect());
}

/// What the trie has to come to, from nothing but counts: nodes and bytes that a batch writes, and bytes of a proof.
struct Model {
    blocks: f64,
    bytes: f64,
    proof: f64,
}

impl Model {
    /// A region of level k has n = names / 256^k names: 256 (1 - e^(-n/256)) places are taken, n e^(-n/256) of them by a
    /// single name. A batch touches 256^k (1 - (1 - 256^-k)^changed) regions, of which those with two names are shards.
    fn of(names: u64, changed: u64) -> Self {
        const LINK: f64 = 36.0 + 2.0 + 12.0;
        const NAME: f64 = 18.0;
        const FOLDER: f64 = 270.0;
        let (names, changed) = (names as f64, changed as f64);
        let scoped = 1.0 / 3.0;
        let top = names * (1.0 - scoped) + names * scoped / IN_SCOPE as f64;
        let scope = 45.0 + IN_SCOPE as f64 * (LINK + NAME);
        let mut model = Self {
            blocks: changed * (1.0 + scoped),
            bytes: changed * (FOLDER + scoped * scope),
            proof: FOLDER + scoped * scope,
        };
        for level in 0..4 {
            let regions = 256f64.powi(level);
            let each = top / regions;
            let shard = if level == 0 { 1.0 } else { 1.0 - (-each).exp() };
            let single = each.max(1.0) * (-each / 256.0).exp();
            let taken = 256.0 * (1.0 - (-each.max(2.0) / 256.0).exp());
            let length = 45.0 + taken * LINK + single.min(taken) * NAME;
            let touched = regions * (1.0 - (1.0 - 1.0 / regions).powf(changed)) * shard;
            model.blocks += touched;
            model.bytes += touched * length;
            model.proof += shard * length;
        }
        model
    }

    fn say(&self) {
        let Self { blocks, bytes, proof } = self;
        println!(
            "  model: {blocks:.0} blocks, {:.0} kB written; a proof of {:.1} kB",
            bytes / 1e3,
            proof / 1e3
        );
    }
}

fn main() {
    let (mut each_name, mut each_byte) = (0.0, 0.0);
    for names in [10_000, 100_000] {
        println!("{names} names");
        let before = memory_mib("VmRSS:");
        let started = Instant::now();
        let mut store = build(names);
        println!("  built in batches of 5,000 in {:.2} s", started.elapsed().as_secs_f64());
        each_name = store.bytes() as f64 / names as f64;
        println!(
            "  {} nodes, {:.1} MB: {each_name:.0} bytes for each name; {:.0} MiB of memory in a hash map",
            store.nodes.len(),
            store.bytes() as f64 / 1e6,
            memory_mib("VmRSS:") - before
        );
        each_byte = batches(&store, names, CHANGED);
        Model::of(names, CHANGED).say();
        batches(&store, names, 1);
        lookups(&store, names);
        differences(&mut store, names);
        println!("  memory at most: {:.0} MiB", memory_mib("VmHWM:"));
    }
    println!(
        "{NPM} names, reckoned: 53 names in each region of the third level, so a batch of 1,000 meets the root, 251 nodes of \
         the second level, 992 of the third, a few below, and 1,000 packages; time and size go with bytes and names"
    );
    let model = Model::of(NPM, CHANGED);
    model.say();
    println!(
        "  about {:.0} ms for such a batch, and {:.1} GB of nodes",
        model.bytes * each_byte / 1e3,
        NPM as f64 * each_name / 1e9
    );
}
