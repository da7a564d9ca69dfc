//! A gateway that is killed, and a disk that forgets: what was whole stays, what is not is never served.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use harness::http::{Reply, Request};
use harness::{Fault, Gateway, Matcher, Package, Registry, Release, Times, disk};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);
const HUNDRED: usize = 100;
/// Places in the state at which a bit is flipped, one after the other.
const FLIPS: usize = 32;
/// After so many of a hundred downloads the gateway is killed.
const KILLED_AFTER: [usize; 4] = [1, 17, 52, 93];

fn package(nth: usize) -> Package {
    Package::new(&format!("left-{nth}")).version("1.0.0", |v| v.size(20_000 + 3_000 * nth))
}

fn packages() -> Vec<Package> {
    (0..HUNDRED).map(package).collect()
}

fn release(package: &Package) -> &Release {
    package.at("1.0.0")
}

fn ask(gateway: &Gateway, path: &str) -> Request {
    Request::get(&format!("{}{path}", gateway.url())).within(LIMIT)
}

fn get(gateway: &Gateway, package: &Package) -> Reply {
    ask(gateway, &release(package).tarball_path()).send()
}

/// Complete bodies are right; says whether this one was complete.
fn is_whole(reply: &Reply, package: &Package) -> bool {
    let whole = reply.status == 200 && reply.cut.is_none();
    assert!(!whole || reply.body == release(package).tarball, "{:?}: wrong bytes", release(package).name);
    whole
}

fn assert_whole(gateway: &Gateway, package: &Package) {
    let reply = get(gateway, package);
    assert!(is_whole(&reply, package), "{} {:?} {}", reply.status, reply.cut, reply.text());
}

/// Asks until upstream is seen again: each request waits for that within the gateway.
fn eventually_whole(gateway: &Gateway, package: &Package) {
    let end = Instant::now() + LIMIT;
    while !is_whole(&get(gateway, package), package) {
        assert!(Instant::now() < end, "{} is not to be had", release(package).name);
    }
}

/// Downloads everything at once, and kills the gateway when so many have come; says which had.
fn download_until_killed(gateway: &mut Gateway, packages: &[Package], after: usize) -> BTreeSet<usize> {
    let (done, completed) = mpsc::channel();
    for (nth, package) in packages.iter().cloned().enumerate() {
        let (request, done) = (ask(gateway, &release(&package).tarball_path()), done.clone());
        thread::spawn(move || {
            let whole = request.try_send().is_ok_and(|reply| is_whole(&reply, &package));
            // The other end is there until all have been heard.
            let _ = done.send(whole.then_some(nth));
        });
    }
    drop(done);
    let heard = || completed.recv_timeout(LIMIT);
    let mut whole: BTreeSet<usize> = (0..after).filter_map(|_| heard().expect("a download")).collect();
    gateway.kill();
    whole.extend((after..packages.len()).filter_map(|_| heard().expect("the end of a download")));
    whole
}

#[test]
fn a_kill_in_the_middle_of_a_hundred_downloads_loses_nothing_and_corrupts_nothing() {
    for after in KILLED_AFTER {
        let packages = packages();
        let registry = Registry::builder().packages(packages.clone()).start();
        let mut gateway = Gateway::builder().upstream(registry.url()).start();
        // Some of them are always half-way.
        let drip = Fault::Drip(8_000, Duration::from_millis(10));
        (0..HUNDRED).step_by(2).for_each(|nth| {
            registry.fault(
                Matcher::path(release(&package(nth)).tarball_path().as_str()),
                Times::Always,
                drip.clone(),
            );
        });

        let whole = download_until_killed(&mut gateway, &packages, after);
        assert!(whole.len() >= after, "{} of {after}", whole.len());
        registry.switch_off();
        gateway.restart();

        assert_eq!(
            disk::drafts(gateway.data()),
            [""; 0].map(std::path::PathBuf::from),
            "killed after {after}"
        );
        assert_eq!(
            disk::unsound(gateway.data()),
            [""; 0].map(std::path::PathBuf::from),
            "killed after {after}"
        );
        for nth in &whole {
            assert_whole(&gateway, &packages[*nth]);
            assert_eq!(ask(&gateway, &format!("/left-{nth}")).send().status, 200, "its packument");
        }
        registry.clear_faults();
        registry.switch_on();
        for package in &packages {
            eventually_whole(&gateway, package);
        }
        assert_eq!(gateway.metric("open_registry_store_corrupt", &[]), 0.0);
    }
}

#[test]
fn a_kill_in_the_middle_of_packuments_leaves_none_that_is_not_whole() {
    let packages = packages();
    let registry = Registry::builder().packages(packages.clone()).start();
    let mut gateway = Gateway::builder().upstream(registry.url()).start();
    let (done, completed) = mpsc::channel();
    for nth in 0..HUNDRED {
        let (request, done) = (ask(&gateway, &format!("/left-{nth}")), done.clone());
        thread::spawn(move || {
            let whole = request.try_send().is_ok_and(|reply| reply.status == 200 && reply.cut.is_none());
            let _ = done.send(whole.then_some(nth));
        });
    }
    let heard = || completed.recv_timeout(LIMIT).expect("the end of a request");
    let mut whole: Vec<usize> = (0..40).filter_map(|_| heard()).collect();
    gateway.kill();
    whole.extend((40..HUNDRED).filter_map(|_| heard()));
    registry.switch_off();
    gateway.restart();

    assert!(disk::unsound(gateway.data()).is_empty());
    for nth in whole {
        let reply = ask(&gateway, &format!("/left-{nth}")).send();
        assert_eq!((reply.status, &reply.json()["name"]), (200, &format!("left-{nth}").into()));
    }
}

/// A registry, and a gateway that has fetched three packages and been stopped.
fn stopped_with_three() -> (Registry, Gateway, Vec<Package>) {
    stopped_with_three_and("")
}

fn stopped_with_three_and(config: &str) -> (Registry, Gateway, Vec<Package>) {
    let packages: Vec<Package> = (0..3).map(|nth| package(nth * 90)).collect();
    let registry = Registry::builder().packages(packages.clone()).start();
    let mut gateway = Gateway::builder().upstream(registry.url()).config_toml(config).start();
    packages.iter().for_each(|package| assert_whole(&gateway, package));
    gateway.kill();
    registry.reset_log();
    (registry, gateway, packages)
}

#[test]
fn a_tarball_that_spoils_on_disk_is_found_fetched_again_and_never_served() {
    let (registry, mut gateway, packages) = stopped_with_three();
    disk::flip(&disk::blob(gateway.data(), release(&packages[0])));
    disk::truncate(&disk::blob(gateway.data(), release(&packages[1])));
    // Larger than is read in one piece.
    disk::flip(&disk::blob(gateway.data(), release(&packages[2])));
    gateway.restart();

    packages.iter().for_each(|package| assert_whole(&gateway, package));

    assert_eq!(gateway.metric("open_registry_store_corrupt", &[]), 3.0);
    assert_eq!(registry.tarball_requests(), 3);
    assert!(disk::unsound(gateway.data()).is_empty());
    packages.iter().for_each(|package| assert_whole(&gateway, package));
    assert_eq!(registry.tarball_requests(), 3, "they are kept again");
}

#[test]
fn a_tarball_that_spoils_while_upstream_is_away_is_not_served_at_all() {
    let (registry, mut gateway, packages) = stopped_with_three();
    registry.switch_off();
    disk::truncate(&disk::blob(gateway.data(), release(&packages[0])));
    gateway.restart();

    assert_eq!(get(&gateway, &packages[0]).status, 503);
    assert_whole(&gateway, &packages[1]);
    registry.switch_on();
    eventually_whole(&gateway, &packages[0]);
}

#[test]
fn a_tarball_that_shrinks_on_disk_while_the_gateway_runs_is_fetched_again() {
    // What is in memory is served from there, whatever becomes of the disk.
    let (_registry, mut gateway, packages) = stopped_with_three_and("[store]\nmemory = \"0B\"\n");
    gateway.restart();
    for package in &packages {
        assert_whole(&gateway, package);
        disk::truncate(&disk::blob(gateway.data(), release(package)));
        assert_whole(&gateway, package);
    }
    assert_eq!(gateway.metric("open_registry_store_corrupt", &[]), 3.0);
}

#[test]
fn a_packument_that_spoils_on_disk_is_found_fetched_again_and_never_served() {
    let (registry, mut gateway, packages) = stopped_with_three();
    disk::documents(gateway.data()).iter().for_each(|path| disk::flip(path));
    gateway.restart();

    for package in &packages {
        let name = &release(package).name;
        let packument = ask(&gateway, &format!("/{name}")).send().json();
        assert_eq!(packument["versions"]["1.0.0"]["dist"]["integrity"], *release(package).integrity);
    }
    assert_eq!(gateway.metric("open_registry_store_corrupt", &[]), 3.0);
    assert_eq!(registry.packument_requests(), 3);
    assert!(disk::unsound(gateway.data()).is_empty());
}

/// Tarballs are found by their digests, and packuments say themselves whose they are.
#[test]
fn a_state_that_was_deleted_is_made_again_out_of_the_files() {
    let (registry, mut gateway, packages) = stopped_with_three();
    fs::remove_file(gateway.data().join("state.redb")).expect("a state");
    gateway.restart();
    assert_counted(&gateway, 3.0);

    packages.iter().for_each(|package| assert_whole(&gateway, package));
    assert_eq!((registry.packument_requests(), registry.tarball_requests()), (0, 0));
}

#[test]
fn a_state_that_is_no_state_any_more_is_moved_aside_and_made_again_out_of_the_files() {
    for spoil in [garbage as fn(&Path), disk::truncate] {
        let (registry, mut gateway, packages) = stopped_with_three();
        spoil(&gateway.data().join("state.redb"));
        gateway.restart();
        assert_counted(&gateway, 3.0);

        packages.iter().for_each(|package| assert_whole(&gateway, package));
        assert_eq!((registry.packument_requests(), registry.tarball_requests()), (0, 0));
        assert!(gateway.data().join("state.redb.damaged").exists(), "it is kept for whoever wants to know");
    }
}

/// Names are found again in the background.
fn assert_counted(gateway: &Gateway, each: f64) {
    let end = Instant::now() + LIMIT;
    for what in ["open_registry_store_tarballs", "open_registry_store_packuments"] {
        while gateway.metric(what, &[]) < each {
            assert!(Instant::now() < end, "{what} does not come to {each}");
        }
    }
}

/// The database may notice or not: the gateway starts, and what the state leads to is hashed all the same.
#[test]
fn flipped_bits_in_the_state_never_stop_a_start_and_end_in_the_right_bytes() {
    let (_registry, mut gateway, packages) = stopped_with_three();
    let path = gateway.data().join("state.redb");
    let sound = fs::read(&path).expect("a state");
    let written: Vec<usize> = (0..sound.len()).filter(|place| sound[*place] != 0).collect();
    for nth in 0..FLIPS {
        let mut bytes = sound.clone();
        bytes[written[nth * written.len() / FLIPS]] ^= 1 << (nth % 8);
        fs::write(&path, &bytes).expect("a state");
        gateway.restart();
        packages.iter().for_each(|package| eventually_whole(&gateway, package));
        gateway.kill();
    }
}

fn garbage(path: &Path) {
    fs::write(path, b"nobody's state ".repeat(1000)).expect("a file in a data directory");
}

#[test]
fn a_second_gateway_on_the_same_data_is_refused_and_the_first_one_goes_on() {
    let registry = Registry::builder().package(package(1)).start();
    let gateway = Gateway::builder().upstream(registry.url()).start();

    let said = refusal(gateway.data());

    assert!(said.contains("is in use by another open-registry"), "{said}");
    assert_whole(&gateway, &package(1));
}

#[test]
fn data_of_a_newer_program_is_refused_and_left_as_it_was() {
    let (_registry, gateway, packages) = stopped_with_three();
    fs::write(gateway.data().join("format"), "open-registry data 3\n").expect("a format");
    let said = refusal(gateway.data());
    assert!(said.contains("newer open-registry") && said.contains("upgrade"), "{said}");
    assert!(disk::blob(gateway.data(), release(&packages[0])).exists());
}

#[test]
fn somebody_elses_directory_is_refused_and_left_as_it_was() {
    let folder = TempDir::new().expect("a temporary folder");
    fs::write(folder.path().join("thesis.txt"), "all of it").expect("a file");
    let said = refusal(folder.path());
    assert!(said.contains("is not empty and not a data directory"), "{said}");
    let left: Vec<_> = fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(left.len(), 1);
}

/// What a gateway says that will not start on this data.
fn refusal(data: &Path) -> String {
    let (mut command, _surroundings) = Gateway::builder().data(data).offline().command();
    let (status, said) = run(&mut command);
    assert_eq!(status, Some(1), "{said}");
    said
}

/// Exit status and words of a program that ends by itself.
fn run(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a program");
    let (mut out, mut err) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut said = String::new();
        let _ = err.read_to_string(&mut said);
        let _ = out.read_to_string(&mut said);
        let _ = tell.send(said);
    });
    let said = told.recv_timeout(LIMIT);
    if said.is_err() {
        // It runs, and should not.
        let _ = child.kill();
    }
    let status = child.wait().expect("a child of this process");
    (status.code(), said.expect("a program that ends"))
}
