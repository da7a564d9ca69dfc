//! Whatever upstream does: no wrong byte completes at a client or stays in the store, and what goes wrong once
//! is not the client's business.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use harness::clients::{Mode, World};
use harness::http::{Reply, Request};
use harness::{Ca, Client, Fault, Gateway, Matcher, Package, Registry, Release, Times, disk};

/// Within this time a client knows: yarn 1 gives up at 30 seconds, and a loaded machine takes its own.
const KNOWN: Duration = Duration::from_secs(29);
/// A pause long enough to be noticed, short enough to wait for.
const MOMENT: Duration = Duration::from_millis(20);
const TARBALL: &str = "/left/-/left-1.0.0.tgz";
/// More than is buffered before it is written to disk.
const SIZE: usize = 400_000;
const MOST: usize = 300_000;

/// What becomes of a request while a fault lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lasting {
    /// It does no harm.
    Harmless,
    /// 503.
    Unavailable,
}

use Lasting::{Harmless, Unavailable};

/// Faults that befall the requests of one download, one after the other; only the last one can last.
struct Case {
    name: String,
    faults: Vec<Fault>,
    lasting: Lasting,
}

fn case(lasting: Lasting, faults: &[Fault]) -> Case {
    Case { name: format!("{faults:?}"), faults: faults.to_vec(), lasting }
}

/// One gateway before one registry.
struct Scene {
    registry: Registry,
    gateway: Gateway,
}

fn left() -> Package {
    Package::new("left").version("1.0.0", |v| v.size(SIZE))
}

fn right() -> Package {
    Package::new("right").version("1.0.0", |v| v)
}

fn release() -> Release {
    Release::clone(left().at("1.0.0"))
}

impl Scene {
    fn new() -> Self {
        Self::with(left())
    }

    /// HTTP/2 over TLS, as the public registry is reached.
    fn over_http2() -> Self {
        let ca = Ca::new();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let registry =
            Registry::builder().package(left()).package(right()).start_tls(address, ca.issue(&["127.0.0.1"]));
        let gateway = Gateway::builder().upstream(registry.url()).trust(&ca).start();
        Self { registry, gateway }
    }

    fn with(package: Package) -> Self {
        let registry = Registry::builder().package(package).package(right()).start();
        let gateway = Gateway::builder().upstream(registry.url()).start();
        Self { registry, gateway }
    }

    fn befall(&self, matcher: &Matcher, case: &Case, last: Times) {
        let (rest, first) = case.faults.split_last().expect("a case has a fault");
        for fault in first {
            self.registry.fault(matcher.clone(), 1, fault.clone());
        }
        self.registry.fault(matcher.clone(), last, rest.clone());
    }

    fn get(&self, path: &str) -> Reply {
        Request::get(&format!("{}{path}", self.gateway.url())).within(KNOWN).send()
    }

    /// Once upstream is well: who joins an attempt that has begun before that may fail with it, but not twice.
    fn again(&self, path: &str) -> Reply {
        let reply = self.get(path);
        if reply.status == 503 { self.get(path) } else { reply }
    }
}

/// Runs the cases side by side; says which of them failed.
fn every(cases: &[Case], keeps: impl Fn(&Case) + Sync) {
    let failed: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = cases.iter().map(|case| (case, scope.spawn(|| keeps(case)))).collect();
        let failed = |(case, run): (&Case, thread::ScopedJoinHandle<'_, ()>)| {
            run.join().is_err().then(|| case.name.clone())
        };
        running.into_iter().filter_map(failed).collect()
    });
    assert!(failed.is_empty(), "the promise was broken by: {failed:#?}");
}

fn assert_is(reply: &Reply, release: &Release, case: &str) {
    assert_eq!((reply.status, &reply.cut), (200, &None), "{case}: {}", reply.text());
    assert!(reply.body == release.tarball, "{case}: {} wrong bytes", reply.body.len());
}

fn assert_is_packument(reply: &Reply, case: &str) {
    assert_eq!((reply.status, &reply.cut), (200, &None), "{case}: {}", reply.text());
    let packument = reply.json();
    assert_eq!(packument["name"], "left", "{case}");
    assert_eq!(packument["versions"]["1.0.0"]["dist"]["integrity"], *release().integrity, "{case}");
}

/// The client is told, in npm's way, and has not got a single byte of something else.
fn assert_is_refusal(reply: &Reply, case: &str) {
    assert_eq!((reply.status, &reply.cut), (503, &None), "{case}: {}", reply.text());
    assert!(reply.json()["error"].as_str().is_some_and(|words| !words.is_empty()), "{case}");
    assert!(reply.header("retry-after").is_some(), "{case}");
}

fn assert_is_sound(gateway: &Gateway, case: &str) {
    assert!(disk::unsound(gateway.data()).is_empty(), "{case}: {:?}", disk::unsound(gateway.data()));
    let wrong =
        disk::blobs(gateway.data()).into_iter().find(|blob| *blob != disk::blob(gateway.data(), &release()));
    assert_eq!(wrong, None, "{case}: a tarball that nobody asked for");
}

/// What can befall anything that is asked of upstream.
fn common(cut: usize) -> Vec<Case> {
    vec![
        case(Unavailable, &[Fault::Status(500)]),
        case(Unavailable, &[Fault::Status(502)]),
        case(Unavailable, &[Fault::Status(503)]),
        case(Unavailable, &[Fault::Status(504)]),
        case(Unavailable, &[Fault::RetryAfter(429, 2)]),
        case(Unavailable, &[Fault::RetryAfter(503, 1)]),
        case(Unavailable, &[Fault::Reset]),
        case(Unavailable, &[Fault::NeverAnswer]),
        case(Unavailable, &[Fault::Corrupt]),
        case(Unavailable, &[Fault::Short(cut)]),
        case(Unavailable, &[Fault::GarbageGzip]),
        case(Unavailable, &[Fault::StallAfter(0)]),
        case(Unavailable, &[Fault::CutAfter(0)]),
        case(Harmless, &[Fault::Delay(MOMENT)]),
        case(Harmless, &[Fault::CloseDelimited]),
    ]
}

fn of_tarballs() -> Vec<Case> {
    let mut cases = common(MOST);
    cases.extend([
        case(Unavailable, &[Fault::OtherTarball]),
        case(Unavailable, &[Fault::Oversized(2 * SIZE)]),
        // Each attempt goes on where the one before broke off.
        case(Harmless, &[Fault::CutAfter(MOST)]),
        case(Harmless, &[Fault::ChunkedAbort(MOST)]),
        case(Harmless, &[Fault::ChunkedAbort(usize::MAX)]),
        case(Harmless, &[Fault::StallAfter(MOST)]),
        case(Harmless, &[Fault::Drip(100_000, MOMENT)]),
        case(Harmless, &[Fault::CutAfter(MOST), Fault::IgnoreRange]),
        case(Harmless, &[Fault::CutAfter(MOST), Fault::WrongContentRange]),
        case(Harmless, &[Fault::CutAfter(MOST), Fault::ChangedEtag]),
        case(Unavailable, &[Fault::CutAfter(MOST), Fault::Corrupt]),
        // As much as there should be has come, and more was to come: nothing is left to be resumed.
        case(
            Unavailable,
            &[Fault::Both(Box::new(Fault::Corrupt), Box::new(Fault::ChunkedAbort(usize::MAX)))],
        ),
    ]);
    cases
}

fn of_packuments() -> Vec<Case> {
    let mut cases = common(200);
    cases.extend([
        case(Unavailable, &[Fault::CutAfter(200)]),
        case(Unavailable, &[Fault::ChunkedAbort(200)]),
        case(Unavailable, &[Fault::StallAfter(200)]),
        case(Unavailable, &[Fault::TruncatedPackument]),
        case(Unavailable, &[Fault::OtherPackument("right".to_owned())]),
        case(Harmless, &[Fault::Drip(200, MOMENT)]),
    ]);
    cases
}

#[test]
fn a_tarball_that_upstream_spoils_once_reaches_the_client_whole_at_the_first_request() {
    every(&of_tarballs(), |case| {
        let scene = Scene::new();
        scene.befall(&Matcher::Tarballs, case, Times::Next(1));
        assert_is(&scene.get(TARBALL), &release(), &case.name);
        assert_is_sound(&scene.gateway, &case.name);
    });
}

#[test]
fn a_packument_that_upstream_spoils_once_reaches_the_client_whole_at_the_first_request() {
    every(&of_packuments(), |case| {
        let scene = Scene::new();
        scene.befall(&Matcher::Packuments, case, Times::Next(1));
        assert_is_packument(&scene.get("/left"), &case.name);
        assert_is_sound(&scene.gateway, &case.name);
    });
}

#[test]
fn what_upstream_spoils_once_over_http2_reaches_the_client_whole_at_the_first_request() {
    let tarballs = |case: &Case| {
        let scene = Scene::over_http2();
        scene.befall(&Matcher::Tarballs, case, Times::Next(1));
        assert_is(&scene.get(TARBALL), &release(), &case.name);
        assert_is_sound(&scene.gateway, &case.name);
    };
    let packuments = |case: &Case| {
        let scene = Scene::over_http2();
        scene.befall(&Matcher::Packuments, case, Times::Next(1));
        assert_is_packument(&scene.get("/left"), &case.name);
    };
    thread::scope(|scope| {
        scope.spawn(|| every(&of_tarballs(), tarballs));
        scope.spawn(|| every(&of_packuments(), packuments));
    });
}

#[test]
fn a_tarball_that_upstream_always_spoils_never_reaches_the_client_nor_the_store() {
    every(&of_tarballs(), |case| {
        let scene = Scene::new();
        scene.befall(&Matcher::Tarballs, case, Times::Always);

        let start = Instant::now();
        let reply = scene.get(TARBALL);
        assert!(start.elapsed() < KNOWN, "{}: {:?}", case.name, start.elapsed());
        match case.lasting {
            Harmless => assert_is(&reply, &release(), &case.name),
            Unavailable => assert_is_refusal(&reply, &case.name),
        }
        assert_is_sound(&scene.gateway, &case.name);

        scene.registry.clear_faults();
        assert_is(&scene.again(TARBALL), &release(), &case.name);
        assert_is_sound(&scene.gateway, &case.name);
    });
}

#[test]
fn a_packument_that_upstream_always_spoils_never_reaches_the_client_nor_the_store() {
    every(&of_packuments(), |case| {
        let scene = Scene::new();
        scene.befall(&Matcher::Packuments, case, Times::Always);

        let start = Instant::now();
        let reply = scene.get("/left");
        assert!(start.elapsed() < KNOWN, "{}: {:?}", case.name, start.elapsed());
        match case.lasting {
            Harmless => assert_is_packument(&reply, &case.name),
            Unavailable => assert_is_refusal(&reply, &case.name),
        }
        let kept = disk::packuments(scene.gateway.data()).len();
        assert_eq!(kept, usize::from(case.lasting == Harmless), "{}", case.name);

        scene.registry.clear_faults();
        assert_is_packument(&scene.again("/left"), &case.name);
    });
}

#[test]
fn a_package_that_upstream_does_not_have_is_a_404_and_soon_looked_for_again() {
    let scene = Scene::new();
    let missing = scene.get("/nowhere/-/nowhere-1.0.0.tgz");
    assert_eq!(missing.status, 404);
    assert!(missing.json()["error"].is_string());

    scene.registry.publish(Package::new("nowhere").version("1.0.0", |v| v));
    let start = Instant::now();
    while scene.get("/nowhere/-/nowhere-1.0.0.tgz").status != 200 {
        assert!(start.elapsed() < Duration::from_secs(20), "it is still taken not to be there");
    }
}

#[test]
fn a_redirect_is_followed_to_allowed_hosts_and_to_no_others() {
    let elsewhere = Registry::builder().package(left()).start();
    let target = format!("{}{TARBALL}", elsewhere.url());
    let allowed = config_with(elsewhere.address());
    for (config, status) in [(String::new(), 503), (allowed, 200)] {
        let registry = Registry::builder().package(left()).start();
        let gateway = Gateway::builder().upstream(registry.url()).config_toml(&config).start();
        elsewhere.reset_log();
        registry.fault(Matcher::Tarballs, Times::Always, Fault::Redirect(target.clone()));

        let reply = Request::get(&format!("{}{TARBALL}", gateway.url())).send();

        assert_eq!(reply.status, status, "{}", reply.text());
        assert_eq!(elsewhere.tarball_requests(), usize::from(status == 200));
        if status == 200 {
            assert_is(&reply, &release(), "a redirect");
        }
        assert_is_sound(&gateway, "a redirect");
    }
}

#[test]
fn a_redirect_to_a_strange_host_once_is_asked_again() {
    let elsewhere = Registry::builder().package(left()).start();
    for (matcher, path) in [(Matcher::Tarballs, TARBALL), (Matcher::Packuments, "/left")] {
        let scene = Scene::new();
        scene.registry.fault(matcher, 1, Fault::Redirect(format!("{}{path}", elsewhere.url())));
        assert_eq!(scene.get(path).status, 200);
    }
    assert_eq!(elsewhere.requests().len(), 0);
}

#[test]
fn a_tarball_on_another_host_is_fetched_there_only_when_that_host_is_allowed() {
    let elsewhere = Registry::builder().package(left()).start();
    let allowed = config_with(elsewhere.address());
    for (config, asked) in [(String::new(), 0), (allowed, 1)] {
        let package = Package::new("left").version("1.0.0", |v| v.size(SIZE).tarball_on(elsewhere.url()));
        let registry = Registry::builder().package(package).start();
        let gateway = Gateway::builder().upstream(registry.url()).config_toml(&config).start();
        elsewhere.reset_log();

        let reply = Request::get(&format!("{}{TARBALL}", gateway.url())).send();

        assert_is(&reply, &release(), "another host");
        assert_eq!((elsewhere.requests().len(), registry.tarball_requests()), (asked, 1 - asked));
    }
}

#[test]
fn a_tarball_known_by_its_sha1_alone_is_verified_all_the_same() {
    let scene = Scene::with(Package::new("left").version("1.0.0", |v| v.size(SIZE).shasum_only()));
    scene.registry.fault(Matcher::Tarballs, Times::Always, Fault::Corrupt);
    assert_is_refusal(&scene.get(TARBALL), "always corrupt");
    assert!(disk::blobs(scene.gateway.data()).is_empty());

    scene.registry.clear_faults();
    scene.registry.fault(Matcher::Tarballs, 1, Fault::OtherTarball);
    assert_is(&scene.get(TARBALL), &release(), "another tarball once");
    scene.registry.reset_log();
    assert_is(&scene.get(TARBALL), &release(), "from the store");
    assert_eq!(scene.registry.tarball_requests(), 0);
    assert_is_sound(&scene.gateway, "a SHA-1");
}

#[test]
fn a_tarball_with_an_odd_name_survives_faults_like_any_other() {
    let odd = Package::new("left").version("1.0.0", |v| v.size(SIZE).file_name("LEFT_1.0.0+build.tgz"));
    let (path, release) = (odd.at("1.0.0").tarball_path(), odd.at("1.0.0").clone());
    let scene = Scene::with(odd);
    scene.registry.fault(Matcher::Tarballs, 1, Fault::CutAfter(MOST));
    scene.registry.fault(Matcher::Tarballs, 1, Fault::Corrupt);
    assert_is(&scene.get(&path), &release, "an odd name");
}

#[test]
fn a_lockfiles_digest_that_upstream_does_not_have_gives_nobody_other_bytes() {
    let scene = Scene::new();
    let ask = |digest: &str| {
        Request::get(&format!("{}{TARBALL}", scene.gateway.url()))
            .header("pacote-integrity", digest)
            .within(KNOWN)
            .send()
    };
    // The name's own bytes, which the client can compare with its lockfile; never bytes of another name.
    assert_is(&ask(&right().at("1.0.0").integrity), &release(), "another package's digest");
    assert_is(&ask(&release().integrity), &release(), "its own digest");
    assert_is_sound(&scene.gateway, "a digest");
}

/// What is fatal to them, without a retry, when they meet it themselves: a body that is cut for npm, a 503 for
/// yarn 1, and wrong bytes for both.
fn installs_through_faults(test: &str, client: Client) {
    World::enter(test, client, |world| {
        for fault in [Fault::CutAfter(100), Fault::Corrupt, Fault::Status(503), Fault::ChunkedAbort(100)] {
            world.registry.fault(Matcher::Tarballs, 1, fault);
        }
        world.registry.fault(Matcher::Packuments, 1, Fault::TruncatedPackument);
        let gateway = world.gateway();
        let checkout = world.checkout("through");
        client.install(&checkout, &world.through(&gateway), Mode::Cold).expect_success();
        assert_eq!(world.registry.requests().iter().filter(|asked| asked.status == 503).count(), 1);
    });
}

#[test]
fn npm_11_installs_although_tarballs_are_cut_and_corrupt() {
    installs_through_faults("npm_11_installs_although_tarballs_are_cut_and_corrupt", Client::Npm11);
}

#[test]
fn yarn_1_installs_although_tarballs_are_cut_and_corrupt() {
    installs_through_faults("yarn_1_installs_although_tarballs_are_cut_and_corrupt", Client::Yarn1);
}

/// It does not look at digests: what the gateway gives is what is installed.
#[test]
fn yarn_4_installs_although_tarballs_are_cut_and_corrupt() {
    installs_through_faults("yarn_4_installs_although_tarballs_are_cut_and_corrupt", Client::Yarn4);
}

fn config_with(host: SocketAddr) -> String {
    format!("[upstream]\ntarball_hosts = [\"{host}\"]\n")
}
