use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use resolver::integrity::Integrity;
use resolver::package::{FileName, PackageName};
use resolver::peers::{Offence, Sighting};
use resolver::plan::Windows;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::stand_in::{Conduct, StandIn, id, wrong};
use crate::fetch::{Failure, Fetch, Provenance, Settings, Tarball, TarballRequest};
use crate::metrics::Metrics;
use crate::store::{Config, Store};
use crate::upstream::{self, Upstream};

const AT_ONCE: Duration = Duration::ZERO;
const GOOD: Conduct = Conduct::Good(AT_ONCE);

/// A gateway's fetching, with an upstream and with peers that the test plays.
struct Scene {
    fetch: Fetch,
    stand_in: StandIn,
    contents: Vec<Vec<u8>>,
    /// Requests that upstream has seen.
    upstream: Arc<AtomicUsize>,
    /// Upstream answers as many requests as there are permits.
    gate: Arc<Semaphore>,
    /// It begins so many answers before it waits for that, with half of the body.
    half: Arc<Semaphore>,
    _dir: TempDir,
}

/// Whether upstream is there.
#[derive(Clone, Copy, PartialEq)]
enum Line {
    Up,
    /// Nobody listens at its address.
    Down,
}

fn contents() -> Vec<Vec<u8>> {
    (0..40u8).map(|number| vec![number; 30_000 + usize::from(number)]).collect()
}

fn name(number: usize) -> (PackageName, FileName) {
    (PackageName::parse("left").unwrap(), FileName::parse(&format!("left-{number}.0.0.tgz")).unwrap())
}

/// Longer than any stall.
const PATIENT: Option<Duration> = Some(Duration::from_secs(10));

impl Scene {
    async fn new(line: Line) -> Self {
        Self::of(line, contents(), 16 << 20).await
    }

    /// One whose peers are waited for, so that it is no matter how busy the machine is who answers.
    async fn patient() -> Self {
        Self::hedging(Line::Up, contents(), 16 << 20, PATIENT).await
    }

    async fn of(line: Line, contents: Vec<Vec<u8>>, verify_first_max: u64) -> Self {
        Self::hedging(line, contents, verify_first_max, None).await
    }

    async fn hedging(
        line: Line,
        contents: Vec<Vec<u8>>,
        verify_first_max: u64,
        hedge: Option<Duration>,
    ) -> Self {
        let dir = TempDir::new().unwrap();
        let metrics = Arc::new(Metrics::new());
        let stand_in = StandIn::hedging(contents.clone(), hedge, Arc::clone(&metrics));
        let (counted, gate) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)));
        let half = Arc::new(Semaphore::new(0));
        let gates = [&gate, &half].map(Arc::clone);
        let address = registry(contents.clone(), Arc::clone(&counted), gates, line).await;
        let config =
            json!({ "url": address, "fresh": "5m", "stale": "5m", "changes": "", "tarball_hosts": [] });
        let config: upstream::Config = serde_json::from_value(config).unwrap();
        let store = Store::open(&dir.path().join("data"), &Config::of(1 << 30)).unwrap();
        let upstream = Upstream::new(&config, false, Arc::clone(&metrics)).unwrap();
        let windows = Windows::fresh(Duration::from_secs(300));
        let settings = Settings { windows, verify_first_max };
        let fetch = Fetch::with_peers(
            store,
            upstream,
            (Some(stand_in.peers.clone()), crate::takedown::Takedowns::none()),
            settings,
            metrics,
        );
        Self { fetch, stand_in, contents, upstream: counted, gate, half, _dir: dir }
    }

    fn digest(&self, number: usize) -> Integrity {
        Integrity::of(&self.contents[number])
    }

    fn digests(&self) -> Vec<Integrity> {
        self.contents.iter().map(|bytes| Integrity::of(bytes)).collect()
    }

    fn request(&self, number: usize) -> TarballRequest {
        let (name, file) = name(number);
        TarballRequest::Named(name, file, Some(self.digest(number)))
    }

    /// A client's request: the right bytes, and where they came from.
    async fn get(&self, number: usize) -> Provenance {
        let tarball = self.fetch.tarball(&self.request(number), false).await;
        self.check(number, tarball).await
    }

    async fn check(&self, number: usize, tarball: Result<Tarball, Failure>) -> Provenance {
        let Ok(Tarball::Held { blob, source, .. }) = tarball else {
            panic!("not held: {:?}", tarball.err());
        };
        let mut reader = blob.reader(0..blob.length());
        let mut bytes = Vec::new();
        while let Some(chunk) = reader.next().await.unwrap() {
            bytes.extend_from_slice(&chunk);
        }
        assert!(bytes == self.contents[number], "a client got other bytes");
        source
    }

    fn upstream(&self) -> usize {
        self.upstream.load(Ordering::SeqCst)
    }

    /// Whether anything is in the store that nobody vouches for.
    async fn holds_wrong_bytes(&self) -> bool {
        for bytes in &self.contents {
            if self.fetch.store().blob(&Integrity::of(&wrong(bytes))).await.is_some() {
                return true;
            }
        }
        false
    }

    fn is_caught(&self, number: u8) -> bool {
        self.stand_in.seen.lock().unwrap().contains(&Sighting::Caught(id(number), Offence::WrongBytes))
    }
}

/// A registry with nothing but tarballs: `left-<n>.0.0.tgz` is the n-th.
async fn registry(
    contents: Vec<Vec<u8>>,
    counted: Arc<AtomicUsize>,
    [gate, half]: [Arc<Semaphore>; 2],
    line: Line,
) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = format!("http://{}", socket.local_addr().unwrap());
    if line == Line::Down {
        // Its port stays taken: another test's registry would be found there.
        tokio::spawn(async move {
            let _taken = socket;
            std::future::pending::<()>().await;
        });
        return address;
    }
    let listener = socket.listen(64).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (contents, counted) = (contents.clone(), Arc::clone(&counted));
            let (gate, half) = (Arc::clone(&gate), Arc::clone(&half));
            tokio::spawn(async move {
                let mut head = Vec::new();
                while stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {
                    if !head.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
                    counted.fetch_add(1, Ordering::SeqCst);
                    let number = (0..contents.len()).find(|n| text.contains(&format!("left-{n}.0.0.tgz")));
                    let body = number.map(|number| contents[number].clone()).unwrap_or_default();
                    let status = if number.is_some() { "200 OK" } else { "404 Not Found" };
                    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
                    let answer = [answer.into_bytes(), body].concat();
                    let begun = half.try_acquire().map_or(0, |permit| {
                        permit.forget();
                        answer.len() / 2
                    });
                    if begun > 0 && stream.write_all(&answer[..begun]).await.is_err() {
                        return;
                    }
                    gate.acquire().await.unwrap().forget();
                    if stream.write_all(&answer[begun..]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_a_neighbour_holds_comes_from_it_and_upstream_is_not_asked() {
    let scene = Scene::patient().await;
    scene.stand_in.connect(1, GOOD, &scene.digests());
    for number in 0..10 {
        assert_eq!(scene.get(number).await, Provenance::Near);
        assert_eq!(scene.get(number).await, Provenance::Store);
    }
    assert_eq!(scene.upstream(), 0);
    let asked = scene.stand_in.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 10);
    for (_, head) in asked {
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("get /-/tarballs/sha512/"), "{head}");
        assert!(head.contains("open-registry-peer: 12d3koo"), "{head}");
        assert!(!head.contains("left") && !head.contains("open-registry-wish"), "{head}");
    }
    assert_eq!(scene.stand_in.peers.standing(&id(1)).strikes, 0);
}

#[tokio::test]
async fn a_neighbour_with_an_address_of_its_own_is_asked_there() {
    let scene = Scene::patient().await;
    scene.stand_in.connect_by_http(1, GOOD, &scene.digests()).await;
    for number in 0..5 {
        assert_eq!(scene.get(number).await, Provenance::Near);
    }
    assert_eq!((scene.stand_in.asked(1), scene.upstream()), (5, 0));
    let expected: u64 = scene.contents[..5].iter().map(|bytes| bytes.len() as u64).sum();
    assert_eq!(scene.stand_in.peers.standing(&id(1)).received, expected);
}

#[tokio::test]
async fn whatever_a_bad_peer_does_every_request_succeeds_and_wrong_bytes_reach_nobody() {
    use Conduct::{Closed, Empty, Endless, Silent, Slow, TooLong, Truncated, Wrong};
    for by_http in [false, true] {
        for conduct in [Silent, Slow, Wrong, Truncated, Endless, TooLong, Empty, Closed] {
            let scene = Scene::new(Line::Up).await;
            match by_http {
                false => scene.stand_in.connect(1, conduct, &scene.digests()),
                true => scene.stand_in.connect_by_http(1, conduct, &scene.digests()).await,
            }
            for number in 0..8 {
                scene.get(number).await;
            }
            assert!(scene.upstream() >= 7, "{conduct:?}");
            assert!(!scene.holds_wrong_bytes().await, "{conduct:?}");
            assert_eq!(scene.is_caught(1), conduct == Wrong, "{conduct:?}");
            // Beyond its strikes, and for a stream that was closed once more, it is left alone.
            let asked = scene.stand_in.asked(1);
            assert!((1..=4).contains(&asked), "{conduct:?} was asked {asked} times");
        }
    }
}

#[tokio::test]
async fn a_request_succeeds_as_long_as_one_of_three_peers_is_good_though_upstream_is_down() {
    let scene = Scene::new(Line::Down).await;
    scene.stand_in.connect(1, Conduct::Wrong, &scene.digests());
    scene.stand_in.connect(2, Conduct::Truncated, &scene.digests());
    scene.stand_in.connect(3, GOOD, &scene.digests());
    for number in 0..10 {
        assert_eq!(scene.get(number).await, Provenance::Near);
    }
    assert!(!scene.holds_wrong_bytes().await);
    assert!(scene.is_caught(1));
}

#[tokio::test]
async fn with_upstream_down_what_no_peer_has_is_refused_in_words() {
    let scene = Scene::new(Line::Down).await;
    scene.stand_in.connect(1, Conduct::Empty, &scene.digests());
    let refused = scene.fetch.tarball(&scene.request(0), false).await.err().unwrap();
    assert!(refused.to_string().contains("upstream"), "{refused}");
}

#[tokio::test]
async fn a_private_package_is_asked_of_no_peer_not_even_by_its_digest() {
    let scene = Scene::new(Line::Up).await;
    scene.stand_in.connect(1, GOOD, &scene.digests());
    let name = PackageName::parse("@private/left").unwrap();
    let file = FileName::parse("left-3.0.0.tgz").unwrap();
    let request = TarballRequest::Named(name, file, Some(scene.digest(3)));
    let tarball = scene.fetch.tarball(&request, false).await;
    assert_eq!(scene.check(3, tarball).await, Provenance::Upstream);
    assert_eq!(scene.stand_in.asked(1), 0);
}

#[tokio::test]
async fn what_nobody_has_is_fetched_once_by_whose_turn_it_is() {
    let scene = Scene::new(Line::Up).await;
    scene.stand_in.connect(1, GOOD, &[]);
    let mut theirs = 0;
    for number in 0..40 {
        let asked = scene.stand_in.asked(1);
        let source = scene.get(number).await;
        let of_neighbour = scene.stand_in.asked(1) > asked;
        assert_eq!(source, if of_neighbour { Provenance::Near } else { Provenance::Upstream });
        theirs += usize::from(of_neighbour);
    }
    assert!((8..32).contains(&theirs), "about half of them: {theirs}");
    assert_eq!(scene.upstream(), 40 - theirs);
    let asked = scene.stand_in.asked.lock().unwrap().clone();
    for (_, head) in asked {
        let lower = head.to_ascii_lowercase();
        assert!(head.starts_with("GET /left/-/left-"), "{head}");
        assert!(
            lower.contains("open-registry-wish: fetch") && lower.contains("pacote-integrity: sha512-"),
            "{head}"
        );
    }
}

#[tokio::test]
async fn a_peer_that_turns_up_while_upstream_keeps_everybody_waiting_is_asked() {
    // It takes requests, and answers none; or nobody listens there, which is known already.
    for line in [Line::Up, Line::Down] {
        let scene = Scene::new(line).await;
        scene.gate.forget_permits(Semaphore::MAX_PERMITS);
        if line == Line::Down {
            assert!(scene.fetch.tarball(&scene.request(1), false).await.is_err());
        }
        let began = Instant::now();
        let connect = async {
            sleep(Duration::from_millis(200)).await;
            scene.stand_in.connect(1, GOOD, &scene.digests());
        };
        let (source, ()) = tokio::join!(scene.get(0), connect);
        assert_eq!(source, Provenance::Near);
        assert!(began.elapsed() < Duration::from_millis(2500), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_holder_that_turns_up_is_asked_instead_of_a_neighbour_that_would_fetch_it() {
    let scene = Scene::new(Line::Up).await;
    scene.gate.forget_permits(Semaphore::MAX_PERMITS);
    scene.stand_in.connect(1, Conduct::Silent, &[]);
    let connect = async {
        sleep(Duration::from_millis(200)).await;
        scene.stand_in.connect(2, GOOD, &scene.digests());
    };
    let began = Instant::now();
    let all = futures_util::future::join_all((0..10).map(|number| scene.get(number)));
    let (sources, ()) = tokio::join!(all, connect);
    assert!(sources.iter().all(|source| *source == Provenance::Near));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn upstream_that_has_begun_is_not_asked_again_because_of_a_peer_that_turns_up() {
    let scene = Scene::new(Line::Up).await;
    scene.gate.forget_permits(Semaphore::MAX_PERMITS);
    // Half of the body, and then nothing for some looks.
    scene.half.add_permits(1);
    let connect = async {
        until(|| scene.upstream() == 1).await;
        sleep(Duration::from_millis(100)).await;
        scene.stand_in.connect(1, GOOD, &scene.digests());
        sleep(Duration::from_millis(300)).await;
        scene.gate.add_permits(1);
    };
    let (source, ()) = tokio::join!(scene.get(0), connect);
    assert_eq!((source, scene.upstream()), (Provenance::Upstream, 1));
}

#[tokio::test]
async fn a_newcomer_that_holds_nothing_takes_no_request_away_from_upstream() {
    let scene = Scene::new(Line::Up).await;
    scene.gate.forget_permits(Semaphore::MAX_PERMITS);
    let connect = async {
        until(|| scene.upstream() == 40).await;
        scene.stand_in.connect(1, GOOD, &[]);
        sleep(Duration::from_millis(300)).await;
        scene.gate.add_permits(40);
    };
    let all = futures_util::future::join_all((0..40).map(|number| scene.get(number)));
    let (sources, ()) = tokio::join!(all, connect);
    assert!(sources.iter().all(|source| *source == Provenance::Upstream));
    assert_eq!((scene.upstream(), scene.stand_in.asked(1)), (40, 0));
}

#[tokio::test]
async fn without_upstream_a_neighbour_that_has_it_fetches_everything() {
    let scene = Scene::new(Line::Down).await;
    // So that it is known.
    assert!(scene.fetch.tarball(&scene.request(0), false).await.is_err());
    scene.stand_in.connect(1, GOOD, &[]);
    for number in 0..10 {
        assert_eq!(scene.get(number).await, Provenance::Near);
    }
}

#[tokio::test]
async fn a_request_of_a_peer_goes_to_upstream_and_to_no_peer() {
    let scene = Scene::new(Line::Up).await;
    scene.stand_in.connect(1, GOOD, &scene.digests());
    for number in 0..5 {
        let tarball = scene.fetch.tarball_alone(&scene.request(number), false).await;
        assert_eq!(scene.check(number, tarball).await, Provenance::Upstream);
    }
    assert_eq!(scene.stand_in.asked(1), 0);
}

/// Two gateways that take each other for the one whose turn it is do not wait for each other.
#[tokio::test]
async fn a_peer_that_asks_for_what_we_are_asking_peers_for_ends_that_waiting() {
    let scene = Scene::new(Line::Up).await;
    scene.stand_in.connect(1, Conduct::Good(Duration::from_secs(60)), &[]);
    let theirs = (0..40).find(|number| {
        let wanted = scene.stand_in.peers.wanted(scene.digest(*number), Some(&name(*number))).unwrap();
        !scene.stand_in.peers.sources(&wanted, true).is_empty()
    });
    let number = theirs.unwrap();
    let request = scene.request(number);
    let of_client = scene.fetch.tarball(&request, false);
    let of_peer = async {
        while scene.stand_in.asked(1) == 0 {
            tokio::task::yield_now().await;
        }
        let begun = tokio::time::Instant::now();
        let tarball = scene.fetch.tarball_alone(&request, false).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "it did not wait for the deadline");
        tarball
    };
    let (one, other) = tokio::join!(of_client, of_peer);
    assert_eq!(scene.check(number, one).await, Provenance::Upstream);
    assert_eq!(scene.check(number, other).await, Provenance::Upstream);
    assert_eq!(scene.upstream(), 1);
}

#[tokio::test]
async fn a_large_one_from_a_peer_is_verified_whole_too() {
    let scene = Scene::hedging(Line::Up, vec![vec![7; 3 << 20]], 1 << 20, PATIENT).await;
    scene.stand_in.connect(1, GOOD, &scene.digests());
    assert_eq!(scene.get(0).await, Provenance::Near, "held, and not arriving");
    let scene = Scene::of(Line::Up, vec![vec![7; 3 << 20]], 1 << 20).await;
    scene.stand_in.connect(1, Conduct::Wrong, &scene.digests());
    assert_eq!(scene.get(0).await, Provenance::Upstream);
    assert!(!scene.holds_wrong_bytes().await);
}

#[tokio::test]
async fn twenty_clients_who_want_the_same_at_once_ask_one_peer_once() {
    let scene = Scene::patient().await;
    scene.stand_in.connect(1, GOOD, &scene.digests());
    scene.stand_in.connect(2, GOOD, &scene.digests());
    let gets = (0..20).map(|_| scene.get(0));
    let sources = futures_util::future::join_all(gets).await;
    assert!(sources.iter().all(|source| *source == Provenance::Near));
    assert_eq!((scene.stand_in.asked(1) + scene.stand_in.asked(2), scene.upstream()), (1, 0));
}

#[tokio::test]
async fn upstream_is_overtaken_by_a_peer_that_was_only_late() {
    let scene = Scene::new(Line::Up).await;
    // Upstream takes the request and does not answer.
    let permits = scene.gate.available_permits();
    scene.gate.forget_permits(permits);
    scene.stand_in.connect(1, Conduct::Good(Duration::from_millis(300)), &scene.digests());
    assert_eq!(scene.get(0).await, Provenance::Near);
    assert_eq!(scene.stand_in.peers.standing(&id(1)).strikes, 0);
}

#[tokio::test]
async fn each_byte_is_counted_where_it_came_from() {
    let (metrics, totals) = (Arc::new(Metrics::new()), crate::store::Totals::default());
    metrics.received(5);
    metrics.received_from(Provenance::Near.label(), 7);
    let text = metrics.render(&totals, true);
    for line in [
        r#"open_registry_received_bytes_total{source="upstream"} 5"#,
        r#"open_registry_received_bytes_total{source="lan_peer"} 7"#,
        "open_registry_upstream_received_bytes_total 5",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(metrics.transferred(), (0, 12));
}

#[tokio::test]
async fn who_comes_under_many_names_is_remembered_within_bounds() {
    let stand_in = StandIn::new(Vec::new(), Arc::new(Metrics::new()));
    let peers = &stand_in.peers;
    let of = |number: u32| {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        resolver::peer::PeerId::of_key(key)
    };
    let source = |number| super::Source {
        id: of(number),
        near: true,
        errand: resolver::hedge::Errand::Held,
        route: super::Route::Stream,
    };
    peers.begin(&source(0)).unwrap().failed(resolver::strikes::Fault::WrongBytes);
    for number in 1..6000 {
        peers.begin(&source(number)).unwrap().served();
    }
    assert!(peers.state().records.len() <= super::record::REMEMBERED);
    assert!(peers.begin(&source(0)).is_none(), "who gave wrong bytes is not forgotten");
}
