//! Promise: a disk that takes nothing costs nobody an answer. What does not fit passes through, nothing unverified is
//! ever complete at a client, and what is fetched is kept again as soon as there is room.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use harness::http::{Reply, Request};
use harness::{Ca, Fault, Gateway, Matcher, Package, Registry, Release, Times, disk};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

const LIMIT: Duration = Duration::from_secs(120);
const MIB: usize = 1 << 20;
const FULL: &str = "the disk takes nothing";
const ROOM_AGAIN: &str = "the disk takes what is fetched again";
/// All of the small disk may be taken.
const TO_THE_BRIM: &str = "[store]\nmin_free = \"0B\"\n";
/// With this, one MiB is large, too.
const FROM_ONE_MIB: &str = "[store]\nmin_free = \"0B\"\n[http]\nverify_first_max = \"1MiB\"\n";

/// A small disk of our own with a data directory on it.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// `None` where nobody may mount anything, and then says so.
    #[expect(clippy::print_stderr, reason = "what is left out is said where the test's output is read")]
    fn new(mib: usize) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={mib}m");
        match mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some(size.as_str())) {
            Ok(()) => Some(Self { folder }),
            Err(Errno::EPERM | Errno::EACCES) => {
                eprintln!("left out: to mount a small disk takes root");
                None
            }
            Err(error) => panic!("cannot mount a small disk: {error}"),
        }
    }

    /// What is called the data directory.
    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Takes all room there is.
    fn fill(&self) {
        let mut filler = fs::File::options().create(true).append(true).open(self.filler()).unwrap();
        for size in [MIB, 4096] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Leaves so much of it.
    fn fill_but(&self, mib: usize) {
        self.fill();
        let filler = fs::File::options().write(true).open(self.filler()).unwrap();
        filler.set_len(filler.metadata().unwrap().len() - (mib * MIB) as u64).unwrap();
    }

    fn clear(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.folder.path().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(self.folder.path(), MntFlags::MNT_DETACH);
    }
}

fn gateway(registry: &Registry, disk: &Disk) -> Gateway {
    Gateway::builder().upstream(registry.url()).config_toml(TO_THE_BRIM).data(&disk.data()).start()
}

fn package(name: &str, size: usize) -> Package {
    Package::new(name).version("1.0.0", |v| v.size(size))
}

fn release(package: &Package) -> Release {
    Release::clone(package.at("1.0.0"))
}

/// Small, large enough for memory alone, and too large for it.
fn packages() -> Vec<Package> {
    vec![package("small", 20_000), package("middling", 8 * MIB), package("large", 20 * MIB)]
}

/// As from a lockfile: the digest is known.
fn asking(gateway: &Gateway, release: &Release) -> Request {
    Request::get(&url(gateway, release)).header("pacote-integrity", &release.integrity).within(LIMIT)
}

fn url(gateway: &Gateway, release: &Release) -> String {
    let name = &release.name;
    format!("{}/{name}/-/{name}-1.0.0.tgz", gateway.url())
}

fn assert_whole(reply: &Reply, release: &Release) {
    assert_eq!((reply.status, &reply.cut), (200, &None), "{}", release.name);
    assert!(reply.body == release.tarball, "{}: {} bytes", release.name, reply.body.len());
}

fn times(gateway: &Gateway, words: &str) -> usize {
    gateway.log().iter().filter(|line| line.contains(words)).count()
}

fn not_kept(gateway: &Gateway) -> f64 {
    gateway.metric("open_registry_store_not_kept", &[])
}

/// What is asked for while the disk takes nothing, and what is left of it there.
fn assert_all_pass_through(gateway: &Gateway, packages: &[Package]) {
    for release in packages.iter().map(release) {
        for _ in 0..2 {
            assert_whole(&asking(gateway, &release).send(), &release);
        }
        let part = asking(gateway, &release).header("range", "bytes=5-9").send();
        match part.status {
            206 => assert_eq!(part.body, release.tarball.slice(5..10)),
            _ => assert_whole(&part, &release),
        }
        let head = Request::new("HEAD", &url(gateway, &release))
            .header("pacote-integrity", &release.integrity)
            .within(LIMIT)
            .send();
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), Some(&*release.tarball.len().to_string()));
    }
    assert!(disk::blobs(gateway.data()).is_empty(), "{:?}", disk::blobs(gateway.data()));
    assert!(disk::drafts(gateway.data()).is_empty(), "{:?}", disk::drafts(gateway.data()));
    assert_eq!(times(gateway, FULL), 1);
    assert!(not_kept(gateway) >= 2.0 * packages.len() as f64);
}

fn assert_kept_again(gateway: &Gateway, registry: &Registry, packages: &[Package]) {
    let releases: Vec<Release> = packages.iter().map(release).collect();
    // The store looks how much room there is once a second.
    let (first, since) = (&releases[0], Instant::now());
    while !disk::blob(gateway.data(), first).exists() {
        assert!(since.elapsed() < LIMIT, "nothing is kept although there is room");
        assert_whole(&asking(gateway, first).send(), first);
    }
    for release in &releases {
        assert_whole(&asking(gateway, release).send(), release);
        assert!(disk::blob(gateway.data(), release).exists(), "{}", release.name);
    }
    assert_eq!((times(gateway, FULL), times(gateway, ROOM_AGAIN)), (1, 1));
    registry.switch_off();
    for release in &releases {
        assert_whole(&asking(gateway, release).send(), release);
    }
}

#[test]
fn a_full_disk_costs_nobody_a_tarball_and_keeps_them_again_when_there_is_room() {
    let Some(disk) = Disk::new(200) else { return };
    let mut packages = packages();
    packages.push(package("huge", 100 * MIB));
    let registry = Registry::builder().packages(packages.clone()).start();
    let gateway = gateway(&registry, &disk);
    disk.fill();

    assert_all_pass_through(&gateway, &packages);

    disk.clear();
    assert_kept_again(&gateway, &registry, &packages);
}

#[test]
fn a_disk_that_can_only_be_read_costs_nobody_a_tarball_either() {
    let Some(disk) = Disk::new(100) else { return };
    let packages = packages();
    let registry = Registry::builder().packages(packages.clone()).start();
    let gateway = gateway(&registry, &disk);
    let drafts = disk.data().join("drafts");
    mount(None::<&Path>, &drafts, Some("tmpfs"), MsFlags::MS_RDONLY, None::<&str>).unwrap();

    assert_all_pass_through(&gateway, &packages);

    umount2(&drafts, MntFlags::empty()).unwrap();
    assert_kept_again(&gateway, &registry, &packages);
}

#[test]
fn a_full_disk_costs_nobody_a_packument_nor_a_tarball_that_only_it_knows() {
    let Some(disk) = Disk::new(64) else { return };
    let package = package("small", 20_000);
    let registry = Registry::builder().package(package.clone()).start();
    let gateway = gateway(&registry, &disk);
    disk.fill();
    let release = release(&package);
    let packument = |coding: &str| {
        let reply =
            Request::get(&format!("{}/small", gateway.url())).header("accept-encoding", coding).send();
        assert_eq!((reply.status, &reply.cut), (200, &None), "{coding}");
        assert_eq!(reply.json()["versions"]["1.0.0"]["dist"]["integrity"], release.integrity, "{coding}");
    };
    for coding in ["identity", "gzip", "zstd", "br"] {
        packument(coding);
    }
    // Without the digest of a lockfile it is the packument that names it.
    assert_whole(&Request::get(&url(&gateway, &release)).within(LIMIT).send(), &release);
    assert!(disk::documents(gateway.data()).is_empty() && disk::drafts(gateway.data()).is_empty());

    disk.clear();
    let since = Instant::now();
    while disk::packuments(gateway.data()).is_empty() {
        assert!(since.elapsed() < LIMIT, "it is not kept although there is room");
        packument("gzip");
    }
    registry.switch_off();
    packument("zstd");
}

#[test]
fn nothing_wrong_is_ever_complete_while_the_disk_is_full() {
    let Some(disk) = Disk::new(64) else { return };
    let packages = packages();
    let registry = Registry::builder().packages(packages.clone()).start();
    let gateway = gateway(&registry, &disk);
    disk.fill();
    registry.fault(Matcher::Tarballs, Times::Always, Fault::Corrupt);
    for release in packages.iter().map(release) {
        let reply = asking(&gateway, &release).send();
        assert!(reply.status == 503 || reply.cut.is_some(), "{}: {}", release.name, reply.status);
        assert!(reply.status == 503 || reply.body.len() < release.tarball.len());
    }
    registry.clear_faults();
    for release in packages.iter().map(release) {
        assert_whole(&asking(&gateway, &release).send(), &release);
    }
}

#[test]
fn what_breaks_off_while_it_passes_through_is_resumed() {
    let Some(disk) = Disk::new(64) else { return };
    let package = package("large", 20 * MIB);
    let registry = Registry::builder().package(package.clone()).start();
    let gateway = gateway(&registry, &disk);
    let large = release(&package);
    disk.fill();
    // After this it is known that there is no room: the faults befall the requests that pass through.
    assert_whole(&asking(&gateway, &large).send(), &large);
    let again = Fault::Both(Box::new(Fault::IgnoreRange), Box::new(Fault::CutAfter(15 * MIB)));
    for fault in [Fault::CutAfter(7 * MIB), Fault::CutAfter(MIB), again] {
        registry.fault(Matcher::Tarballs, 1, Fault::CutAfter(MIB));
        registry.fault(Matcher::Tarballs, 1, fault);
        assert_whole(&asking(&gateway, &large).send(), &large);
        registry.clear_faults();
    }
}

#[test]
fn a_disk_that_fills_within_a_body_that_is_given_out_already_ends_in_its_whole_body() {
    let Some(disk) = Disk::new(64) else { return };
    let ca = Ca::new();
    let mut tls = ca.issue(&["127.0.0.1"]);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let package = package("large", 40 * MIB);
    let release = release(&package);
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let registry = Registry::builder().package(package).start_tls(address, tls);
    let gateway = Gateway::builder()
        .upstream(registry.url())
        .trust(&ca)
        .config_toml(FROM_ONE_MIB)
        .data(&disk.data())
        .start();
    for room in [8, 24] {
        disk.fill_but(room);
        thread::scope(|scope| {
            let ask = || assert_whole(&asking(&gateway, &release).send(), &release);
            (0..4).map(|_| scope.spawn(ask)).for_each(drop);
        });
        assert!(disk::blobs(gateway.data()).is_empty() && disk::drafts(gateway.data()).is_empty());
    }
    assert!(not_kept(&gateway) >= 4.0);
    disk.clear();
}
