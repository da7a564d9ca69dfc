//! Large tarballs are streamed while they come, and no wrong body completes: the tail waits for the digest.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use harness::http::{Reply, Request};
use harness::{
    Ca, Fault, Gateway, Matcher, Package, Registry, Release, Times, canonical_host, disk, in_own_network,
};

const LIMIT: Duration = Duration::from_secs(60);
/// Long enough to notice bytes that should not come yet.
const BRIEF: Duration = Duration::from_millis(700);
const MIB: usize = 1 << 20;
/// With this, three MiB are large.
const FROM_ONE_MIB: &str = "[http]\nverify_first_max = \"1MiB\"\n";
const SIZE: usize = 3 * MIB;
const TARBALL: &str = "/large/-/large-1.0.0.tgz";

fn large(size: usize) -> Package {
    Package::new("large").version("1.0.0", |v| v.size(size))
}

/// A gateway before a registry that it reaches over TLS, so that large tarballs are streamed.
struct Scene {
    registry: Registry,
    gateway: Gateway,
    release: Release,
}

impl Scene {
    fn new() -> Self {
        Self::of(SIZE)
    }

    /// HTTP/1.1, on which a cut is a cut to the byte.
    fn of(size: usize) -> Self {
        let ca = Ca::new();
        let mut tls = ca.issue(&["127.0.0.1"]);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let registry = Registry::builder().package(large(size)).start_tls(address, tls);
        let gateway =
            Gateway::builder().upstream(registry.url()).trust(&ca).config_toml(FROM_ONE_MIB).start();
        Self { registry, gateway, release: Release::clone(large(size).at("1.0.0")) }
    }

    /// The next requests for the tarball meet these, one after the other.
    fn befall(&self, faults: impl IntoIterator<Item = Fault>) {
        faults.into_iter().for_each(|fault| self.registry.fault(Matcher::Tarballs, 1, fault));
    }

    fn get(&self) -> Reply {
        Request::get(&format!("{}{TARBALL}", self.gateway.url())).within(LIMIT).send()
    }

    fn open(&self) -> Download {
        Download::open(&self.gateway)
    }

    fn assert_whole(&self, reply: &Reply) {
        assert_eq!((reply.status, &reply.cut), (200, &None), "{}", String::from_utf8_lossy(&reply.body));
        assert!(reply.body == self.release.tarball, "wrong bytes");
    }

    fn assert_sound(&self) {
        assert!(disk::unsound(self.gateway.data()).is_empty());
        let blob = disk::blob(self.gateway.data(), &self.release);
        assert!(disk::blobs(self.gateway.data()).iter().all(|kept| *kept == blob));
    }

    /// Where each request for the tarball began, and how many bytes it brought.
    fn fetched(&self) -> Vec<(usize, usize)> {
        fetched(&self.registry)
    }
}

fn fetched(registry: &Registry) -> Vec<(usize, usize)> {
    let tarballs = registry.requests().into_iter().filter(harness::Recorded::is_tarball);
    let begin = |range: &str| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok();
    tarballs
        .map(|asked| {
            let from = asked.header("range").map_or(0, |range| begin(range).expect("bytes=<first>-"));
            (from, usize::try_from(asked.sent).expect("a size"))
        })
        .collect()
}

/// A download that is read as slowly as the test likes.
struct Download {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Download {
    fn open(gateway: &Gateway) -> Self {
        let mut stream = TcpStream::connect(gateway.address()).expect("a connection");
        stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
        let request =
            format!("GET {TARBALL} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", gateway.address());
        stream.write_all(request.as_bytes()).expect("a request");
        Self { stream, heard: Vec::new() }
    }

    /// Reads on until so much of the body is here, or it ends.
    fn read_until(&mut self, bytes: usize) {
        let mut piece = vec![0; 64 * 1024];
        while self.body().len() < bytes {
            match self.stream.read(&mut piece) {
                Ok(0) => return,
                Ok(count) => self.heard.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                Err(error) => panic!("after {} bytes: {error}", self.body().len()),
            }
        }
    }

    /// Whether anything comes within a moment.
    fn is_silent(&mut self) -> bool {
        self.stream.set_read_timeout(Some(BRIEF)).expect("a time limit");
        let read = self.stream.read(&mut [0; 1]);
        self.stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
        matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    fn head(&self) -> String {
        String::from_utf8_lossy(&self.heard[..self.end_of_head().unwrap_or(0)]).to_ascii_lowercase()
    }

    fn body(&self) -> &[u8] {
        self.end_of_head().map_or(&[], |end| &self.heard[end..])
    }

    fn end_of_head(&self) -> Option<usize> {
        let found = self.heard.windows(4).take(64 * 1024).position(|window| window == b"\r\n\r\n");
        found.map(|at| at + 4)
    }

    /// The body to its end, and whether it was as long as announced.
    fn finish(mut self) -> (Vec<u8>, bool) {
        self.read_until(usize::MAX);
        let head = self.head();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).expect("a length");
        (self.body().to_vec(), self.body().len() == length)
    }
}

#[test]
fn a_large_tarball_of_the_npm_registry_is_streamed_before_it_is_whole_and_resumed_where_it_stalls() {
    let test =
        "a_large_tarball_of_the_npm_registry_is_streamed_before_it_is_whole_and_resumed_where_it_stalls";
    let address = [127, 0, 0, 2];
    in_own_network(test, &[(&canonical_host(), address.into())], || {
        let (ca, package) = (Ca::new(), large(20 * MIB));
        let release = package.at("1.0.0").clone();
        let tls = ca.issue(&[&canonical_host()]);
        let registry = Registry::builder().package(package).start_tls((address, 443).into(), tls);
        let gateway = Gateway::builder().trust(&ca).start();
        registry.fault(Matcher::Tarballs, 1, Fault::StallAfter(18 * MIB));

        let mut download = Download::open(&gateway);
        download.read_until(1);
        let [(0, sent)] = fetched(&registry)[..] else { panic!("{:?}", fetched(&registry)) };
        assert!(sent <= 18 * MIB, "{sent} bytes had been sent");
        let (body, complete) = download.finish();

        assert!(complete && body == release.tarball, "{} bytes, complete: {complete}", body.len());
        let [(0, first), (from, second)] = fetched(&registry)[..] else { panic!("{:?}", fetched(&registry)) };
        assert_eq!((from, first + second), (18 * MIB, release.tarball.len()), "bytes came twice");
    });
}

#[test]
fn a_large_tarball_whose_source_dies_is_continued_where_it_broke_off() {
    for fault in [Fault::CutAfter(2 * MIB), Fault::ChunkedAbort(2 * MIB), Fault::ChunkedAbort(usize::MAX)] {
        let scene = Scene::new();
        scene.befall([fault.clone()]);
        scene.assert_whole(&scene.get());
        let fetched = scene.fetched();
        let brought: usize = fetched.iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(brought, scene.release.tarball.len(), "{fault:?}: {fetched:?}");
        scene.assert_sound();
    }
}

#[test]
fn a_large_tarball_is_completed_from_sources_that_die_again_and_again() {
    let scene = Scene::new();
    scene.registry.fault(Matcher::Tarballs, Times::Always, Fault::CutAfter(MIB));
    scene.assert_whole(&scene.get());
    assert_eq!(scene.fetched().iter().map(|(from, _)| *from).collect::<Vec<_>>(), [0, MIB, 2 * MIB, 3 * MIB]);
}

#[test]
fn a_large_tarball_that_cannot_be_resumed_is_begun_again_and_goes_on_for_the_client() {
    for fault in [Fault::IgnoreRange, Fault::WrongContentRange, Fault::ChangedEtag] {
        let scene = Scene::new();
        scene.befall([Fault::CutAfter(2 * MIB), fault]);
        scene.assert_whole(&scene.get());
        scene.assert_sound();
    }
}

#[test]
fn a_wrong_large_tarball_never_completes_and_is_never_kept() {
    let last = large(SIZE).at("1.0.0").tarball.len() - 1;
    for fault in [
        Fault::Corrupt,
        Fault::CorruptAt(0),
        Fault::CorruptAt(last),
        Fault::Short(2 * MIB),
        Fault::Oversized(2 * SIZE),
        Fault::OtherTarball,
    ] {
        let scene = Scene::new();
        scene.registry.fault(Matcher::Tarballs, Times::Always, fault.clone());
        let reply = scene.get();
        assert!(reply.status == 503 || reply.cut.is_some(), "{fault:?}: a complete {}", reply.status);
        scene.assert_sound();

        scene.registry.clear_faults();
        scene.assert_whole(&scene.get());
        scene.assert_sound();
    }
}

/// The client reads the first bytes of a body that then stalls and turns out to be wrong.
fn meet_while_reading(scene: &Scene, first: Fault, then: impl IntoIterator<Item = Fault>) -> (Vec<u8>, bool) {
    let stalling = Fault::Both(Box::new(first), Box::new(Fault::StallAfter(2 * MIB)));
    scene.befall([stalling].into_iter().chain(then));
    let mut download = scene.open();
    download.read_until(1);
    assert!(download.head().starts_with("http/1.1 200"), "{}", download.head());
    download.finish()
}

#[test]
fn a_client_that_has_wrong_bytes_is_cut_and_one_that_has_right_ones_is_completed() {
    let middle = large(SIZE).at("1.0.0").tarball.len() - 2 * MIB - 100;
    thread::scope(|scope| {
        scope.spawn(|| {
            let scene = Scene::new();
            let (body, complete) = meet_while_reading(&scene, Fault::CorruptAt(10), []);
            assert!(!complete && body.len() > 10, "a wrong body completed");
            scene.assert_whole(&scene.get());
        });
        scope.spawn(|| {
            let scene = Scene::new();
            let (body, complete) =
                meet_while_reading(&scene, Fault::Delay(Duration::ZERO), [Fault::CorruptAt(middle)]);
            assert!(complete && body == scene.release.tarball, "{} bytes, complete: {complete}", body.len());
        });
    });
}

/// A body that is right as far as it goes, under a length that agrees with it, is the wrong body all the same.
#[test]
fn a_body_that_was_announced_too_short_does_not_complete_with_the_beginning_of_the_right_one() {
    let scene = Scene::new();
    let short = Fault::Both(Box::new(Fault::Short(2 * MIB)), Box::new(Fault::StallAfter(3 * MIB / 2)));
    scene.befall([short, Fault::Short(MIB / 2)]);
    let mut download = scene.open();
    download.read_until(1);
    let (body, complete) = download.finish();
    assert!(!complete, "{} bytes of {} were said to be all", body.len(), scene.release.tarball.len());
    scene.assert_whole(&scene.get());
}

#[test]
fn a_large_tarball_that_came_over_plain_http_is_verified_whole_before_its_first_byte() {
    let registry = Registry::builder().package(large(SIZE)).start();
    let gateway = Gateway::builder().upstream(registry.url()).config_toml(FROM_ONE_MIB).start();
    registry.fault(Matcher::Tarballs, 1, Fault::StallAfter(2 * MIB));

    let mut download = Download::open(&gateway);
    let stalled = registry.wait_until(|log| log.iter().any(|asked| asked.sent == 2 << 20), LIMIT);
    assert!(stalled && download.is_silent(), "bytes that nobody has verified");

    let gateway = Gateway::builder().upstream(registry.url()).config_toml(FROM_ONE_MIB).start();
    registry.fault(Matcher::Tarballs, Times::Always, Fault::Corrupt);
    assert_eq!(Request::get(&format!("{}{TARBALL}", gateway.url())).within(LIMIT).send().status, 503);
}

#[test]
fn a_small_tarball_is_verified_before_its_first_byte_whatever_its_source() {
    let scene = Scene::of(MIB / 2);
    let half = MIB / 4 + 100_000;
    scene.befall([Fault::StallAfter(half)]);

    let mut download = scene.open();
    let stalled = scene.registry.wait_until(|log| log.iter().any(|asked| asked.sent == half as u64), LIMIT);
    assert!(stalled && download.is_silent(), "bytes that nobody has verified");
}

/// A 503 for a tarball is final for yarn 1, and its own limit of 30 seconds is not: the next request joins in.
#[test]
fn a_small_tarball_that_comes_slowly_is_waited_for_and_verified_first() {
    let scene = Scene::of(110_000);
    scene.befall([Fault::Drip(10_000, Duration::from_secs(3))]);
    let reply = scene.get();
    assert!(reply.first_byte > Duration::from_secs(25), "{:?}", reply.first_byte);
    scene.assert_whole(&reply);
    scene.assert_sound();
}

#[test]
fn a_slow_reader_does_not_keep_others_waiting() {
    let size = 24 * MIB;
    let scene = Scene::of(size);
    let mut slow = scene.open();
    slow.read_until(1);

    let start = Instant::now();
    scene.assert_whole(&scene.get());
    assert!(start.elapsed() < LIMIT);

    assert!(slow.body().len() < size / 2, "it was to be slow");
    let (body, complete) = slow.finish();
    assert!(complete && body == scene.release.tarball);
    assert_eq!(scene.registry.tarball_requests(), 1);
}

#[test]
fn a_client_that_goes_away_does_not_stop_the_download_for_others() {
    let scene = Scene::new();
    scene.befall([Fault::Drip(256 << 10, Duration::from_millis(40))]);
    let mut leaving = scene.open();
    leaving.read_until(1);
    thread::scope(|scope| {
        let staying = scope.spawn(|| scene.get());
        drop(leaving);
        scene.assert_whole(&staying.join().expect("an answer"));
    });
    assert_eq!(scene.registry.tarball_requests(), 1);
    assert_eq!(scene.fetched(), [(0, scene.release.tarball.len())]);
}

/// Nobody waits for it any more; the next one will.
#[test]
fn a_download_that_everybody_has_left_is_kept() {
    let scene = Scene::new();
    scene.befall([Fault::Drip(256 << 10, Duration::from_millis(40))]);
    let mut leaving = scene.open();
    leaving.read_until(1);
    drop(leaving);
    scene.assert_whole(&scene.get());
    assert_eq!(scene.registry.tarball_requests(), 1);
}
