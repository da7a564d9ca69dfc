//! A hundred swarms in one process, on loopback: how long a home's word takes to reach all who follow it once they are connected,
//! and what a swarm costs in memory.
//!
//! Each is led to a few that were there before it, as bootstrap peers lead; nobody is connected to everybody. `cargo bench
//! --workspace --bench swarm -- --nodes 100 --rounds 10`.

#![allow(clippy::print_stdout, reason = "a table is what it is for")]

mod board;
mod node;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::node::Node;

/// Those before it that each is led to.
const LED_TO: usize = 4;
/// After everybody is connected members choose among their neighbours; they look once a second.
const SETTLING: Duration = Duration::from_secs(10);
/// The longest that a round is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    let nodes = option("--nodes", 100);
    let rounds = option("--rounds", 10);
    let before = resident();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let started = Instant::now();
    let mut all: Vec<Node> = Vec::new();
    for number in 0..nodes {
        let led_to: BTreeSet<usize> = (0..LED_TO.min(number)).map(|nth| earlier(number, nth)).collect();
        let contacts = led_to.into_iter().map(|other| all[other].contact()).collect();
        let author = all.first().map(Node::id);
        all.push(Node::start(&folder.path().join(number.to_string()), author, contacts).await);
    }
    for node in &all {
        node.await_neighbours(LED_TO.min(nodes - 1) / 2).await;
    }
    println!("{nodes} nodes are connected after {:.1?}", started.elapsed());
    tokio::time::sleep(SETTLING).await;
    let neighbours: Vec<usize> = all.iter().map(Node::neighbours).collect();
    let connected: usize = neighbours.iter().sum();
    println!(
        "neighbours of a node: {} at least, {} at most, {:.1} on average",
        neighbours.iter().min().unwrap_or(&0),
        neighbours.iter().max().unwrap_or(&0),
        connected as f64 / nodes as f64
    );
    println!(
        "memory of a node: {} KiB (resident, of {nodes} in one process)",
        (resident() - before) / nodes as u64 / 1024
    );
    let mut times = Vec::new();
    for round in 1..=rounds {
        times.extend(one_round(&all, round as u64).await);
    }
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!(
        "home's word at a node, {rounds} rounds: median {:.0?}, 90 % {:.0?}, max {:.0?}; missing {}",
        at(50),
        at(90),
        at(100),
        (nodes - 1) * rounds - times.len()
    );
}

/// One of those before it: spread, and the same each time.
fn earlier(number: usize, nth: usize) -> usize {
    let mixed = (number * LED_TO + nth).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) % number
}

/// Says something new, and how long it took to reach each that it reached.
async fn one_round(all: &[Node], round: u64) -> Vec<Duration> {
    let said = Instant::now();
    all[0].board.say(round);
    let mut times = Vec::new();
    for node in &all[1..] {
        let board = Arc::clone(&node.board);
        match tokio::time::timeout(PATIENCE.saturating_sub(said.elapsed()), board.await_round(round)).await {
            Ok(heard) => times.push(heard.duration_since(said)),
            Err(_) => println!("round {round}: it did not reach {}", node.id()),
        }
    }
    times
}

/// `--nodes 100`; the last one counts.
fn option(name: &str, otherwise: usize) -> usize {
    let words: Vec<String> = std::env::args().collect();
    let at = words.iter().rposition(|word| word == name);
    at.and_then(|at| words.get(at + 1)?.parse().ok()).unwrap_or(otherwise).max(2)
}

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a running process");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB") * 1024
}
