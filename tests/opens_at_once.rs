//! A store of any size is opened at once, and takes no memory for what it holds.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::Gateway;
use tempfile::TempDir;

const BLOBS: usize = 200_000;
/// To find all of them again, on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);
/// What a start may take longer than that of an empty store: reading through 200,000 rows takes longer.
const LONGER: Duration = Duration::from_millis(500);
/// How often more the longer start is tried until it is short enough.
const FURTHER: usize = 5;
/// What a gateway may take more than one with nothing: the state's page cache, and no more.
const MORE_KIB: u64 = 24 * 1024;

/// Files with the names of tarballs. What is in them shows when they are read, and nobody does.
fn fill(data: &Path) {
    let root = data.join("blobs/sha512");
    for folder in 0..256 {
        fs::create_dir_all(root.join(format!("{folder:02x}"))).expect("a folder");
    }
    for nth in 0..BLOBS {
        let path = root.join(format!("{:02x}", nth % 256)).join(format!("{nth:0126x}"));
        fs::write(path, []).expect("a file");
    }
}

fn resident_kib(gateway: &Gateway) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

/// The best of three: others use this machine too.
fn start(gateway: &mut Gateway) -> Duration {
    let starts = (0..3).map(|_| {
        gateway.terminate();
        let since = Instant::now();
        gateway.restart();
        since.elapsed()
    });
    starts.min().expect("three")
}

#[test]
#[expect(clippy::print_stdout, reason = "figures for whoever asks for them with --nocapture")]
fn two_hundred_thousand_tarballs_cost_a_start_neither_time_nor_memory() {
    let (empty, full) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let gateway = |data: &TempDir| {
        Gateway::builder().data(data.path()).offline().config_toml("[store]\nscrub = \"\"\n").start()
    };
    let mut nothing = gateway(&empty);
    let mut everything = gateway(&full);
    everything.terminate();
    fs::remove_file(full.path().join("state.redb")).expect("a state");
    fill(full.path());
    everything.restart();
    let since = Instant::now();
    while everything.metric("open_registry_store_tarballs", &[]) < BLOBS as f64 {
        assert!(since.elapsed() < LIMIT, "their names are not found again");
        std::thread::sleep(Duration::from_millis(100));
    }
    let found = since.elapsed();

    let (short, mut long) = (start(&mut nothing), start(&mut everything));
    // The disk may still be busy with all that was written.
    for _ in 0..FURTHER {
        if long >= short + LONGER {
            long = start(&mut everything);
        }
    }
    let (small, large) = (resident_kib(&nothing), resident_kib(&everything));

    println!(
        "{BLOBS} names found again in {found:?}; a start takes {short:?} with nothing, {long:?} with all of them;"
    );
    println!("resident: {small} KiB with nothing, {large} KiB with all of them");
    assert_eq!(everything.metric("open_registry_store_tarballs", &[]), BLOBS as f64);
    assert!(long < short + LONGER, "{long:?} against {short:?}");
    assert!(large < small + MORE_KIB, "{large} KiB against {small} KiB");
}
