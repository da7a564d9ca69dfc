//! Promise: a peer gets the tarballs that are held here, at the pace that the operator allows, and nothing else; and
//! nothing at all where nothing is shared.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use harness::http::{Reply, Request};
use harness::{Conduct, Gateway, Identity, Package, Registry, Release, Stranger, until};
use resolver::integrity::Integrity;
use resolver::inventory::print;

const SOON: Duration = Duration::from_secs(20);
const TARBALL: &str = "/left/-/left-1.0.0.tgz";
const PRIVATE: &str = "/@acme/plans/-/plans-1.0.0.tgz";

fn left() -> Package {
    Package::new("left").version("1.0.0", |v| v.size(1_000_000)).version("1.1.0", |v| v)
}

fn plans() -> Package {
    Package::new("@acme/plans").version("1.0.0", |v| v)
}

fn registry() -> Registry {
    Registry::builder().packages([left(), plans()]).start()
}

fn gateway(registry: &Registry, config: &str) -> Gateway {
    Gateway::builder().upstream(registry.url()).config_toml(config).start()
}

/// A gateway that has nothing but its id.
struct Peer(Identity);

impl Peer {
    fn new() -> Self {
        Self(Identity::new())
    }

    fn asks(&self, gateway: &Gateway, method: &str, path: &str) -> Request {
        let request = Request::new(method, &format!("{}{path}", gateway.url())).within(SOON);
        request.header("open-registry-peer", self.0.id())
    }

    fn gets(&self, gateway: &Gateway, path: &str) -> Reply {
        self.asks(gateway, "GET", path).send()
    }

    fn wishes(&self, gateway: &Gateway, path: &str, integrity: &str, wish: &str) -> Reply {
        let request = self.asks(gateway, "GET", path).header("pacote-integrity", integrity);
        request.header("open-registry-wish", wish).send()
    }
}

fn client_gets(gateway: &Gateway, path: &str) -> Reply {
    Request::get(&format!("{}{path}", gateway.url())).within(SOON).send()
}

fn by_digest(integrity: &str) -> String {
    let digest = STANDARD.decode(integrity.strip_prefix("sha512-").expect("a SHA-512")).expect("base64");
    format!("/-/tarballs/sha512/{}", URL_SAFE_NO_PAD.encode(digest))
}

#[test]
fn a_peer_gets_what_is_held_by_digest_and_by_name_and_nothing_is_fetched_for_it() {
    let (registry, peer) = (registry(), Peer::new());
    let gateway = gateway(&registry, "");
    let release = left().at("1.0.0").clone();
    let address = by_digest(&release.integrity);
    for path in [&*address, TARBALL, "/left", "/left/latest", "/-/v1/search?text=left", "/-/npm/v1/keys"] {
        assert_eq!(peer.gets(&gateway, path).status, 404, "{path}");
    }
    let of_clients = |path: &str| registry.requests_to(path);
    assert_eq!([TARBALL, "/left", &address].map(of_clients), [0, 0, 0]);

    assert_eq!(client_gets(&gateway, TARBALL).status, 200);
    for path in [&*address, TARBALL] {
        let reply = peer.gets(&gateway, path);
        assert_eq!((reply.status, &reply.body), (200, &release.tarball), "{path}");
    }
    assert_eq!(peer.gets(&gateway, "/left").status, 404, "its packument is nothing to a peer");
    let part = peer.asks(&gateway, "GET", &address).header("range", "bytes=10-19").send();
    assert_eq!((part.status, &part.body[..]), (206, &release.tarball[10..20]));
    let head = peer.asks(&gateway, "HEAD", &address).send();
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some(&*release.tarball.len().to_string()))
    );
    // As many bytes as it got.
    let sent = 2.0 * f64::from(u32::try_from(release.tarball.len()).unwrap()) + 10.0;
    assert!((gateway.metric("open_registry_peers_sent_bytes_total", &[]) - sent).abs() < 4096.0);
}

#[test]
fn what_a_near_peer_wishes_for_is_fetched_once_and_is_these_bytes_or_nothing() {
    let (registry, peer) = (registry(), Peer::new());
    let gateway = gateway(&registry, "");
    let (right, wrong) = (left().at("1.0.0").clone(), left().at("1.1.0").integrity.clone());
    for _ in 0..2 {
        let reply = peer.wishes(&gateway, TARBALL, &right.integrity, "fetch");
        assert_eq!((reply.status, &reply.body), (200, &right.tarball));
    }
    assert_eq!(registry.tarball_requests(), 1);
    // The name stands for other bytes: to give them would be a lie.
    assert_eq!(peer.wishes(&gateway, TARBALL, &wrong, "fetch").status, 404);
    assert_eq!(peer.wishes(&gateway, "/left", &wrong, "fetch").status, 404);
    let without = peer.asks(&gateway, "GET", TARBALL).header("open-registry-wish", "fetch").send();
    assert_eq!(without.status, 400, "{}", without.text());
}

#[test]
fn a_peer_gets_nothing_private_and_takes_no_credentials_anywhere() {
    let (registry, peer) = (registry(), Peer::new());
    let gateway = gateway(&registry, "[private]\nscopes = [\"@acme\"]\n");
    assert_eq!(client_gets(&gateway, PRIVATE).status, 200);
    let secret =
        Request::get(&format!("{}{TARBALL}", gateway.url())).header("authorization", "Bearer secret");
    assert_eq!(secret.send().status, 200);
    registry.reset_log();

    let (plans, left) = (plans().at("1.0.0").clone(), left().at("1.0.0").clone());
    for path in [PRIVATE, &by_digest(&plans.integrity), TARBALL, &by_digest(&left.integrity)] {
        assert_eq!(peer.gets(&gateway, path).status, 404, "{path}");
    }
    assert_eq!(peer.wishes(&gateway, PRIVATE, &plans.integrity, "fetch").status, 404);
    for (name, value) in [("authorization", "Bearer secret"), ("cookie", "a=b"), ("npm-otp", "123456")] {
        let refused = peer.asks(&gateway, "GET", TARBALL).header(name, value).send();
        assert_eq!(refused.status, 403, "{name}");
        assert!(refused.text().contains("carries credentials"), "{}", refused.text());
    }
    assert_eq!(registry.requests().iter().filter(|one| !one.is_for("/-/ping")).count(), 0);
}

#[test]
fn who_says_to_be_a_peer_without_proof_is_nobodys_follower() {
    let (registry, peer) = (registry(), Peer::new());
    let gateway = gateway(&registry, "");
    let release = left().at("1.0.0").clone();
    let refused = peer.wishes(&gateway, TARBALL, &release.integrity, "home");
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("proves who asks"), "{}", refused.text());
    let unknown = peer.wishes(&gateway, TARBALL, &release.integrity, "moon");
    assert_eq!(unknown.status, 400, "{}", unknown.text());
    let nobody =
        Request::get(&format!("{}{TARBALL}", gateway.url())).header("open-registry-peer", "me").send();
    assert_eq!(nobody.status, 403, "{}", nobody.text());
    assert_eq!(registry.tarball_requests(), 0);
}

#[test]
fn where_nothing_is_shared_a_peer_gets_words_and_clients_get_everything() {
    let (registry, peer) = (registry(), Peer::new());
    let gateway = gateway(&registry, "[share]\nenabled = false\n");
    let release = left().at("1.0.0").clone();
    assert_eq!(client_gets(&gateway, TARBALL).body, release.tarball);
    for path in [TARBALL, &by_digest(&release.integrity), "/left"] {
        let refused = peer.gets(&gateway, path);
        assert_eq!(refused.status, 403, "{path}");
        assert!(refused.text().contains("shares nothing"), "{}", refused.text());
    }
    assert_eq!(peer.wishes(&gateway, TARBALL, &release.integrity, "fetch").status, 403);
    let who = peer.gets(&gateway, "/-/open-registry/peer");
    assert_eq!((who.status, who.json()["id"].is_string()), (200, true));
}

#[test]
fn what_is_sent_to_peers_keeps_to_the_limits_and_what_is_sent_to_clients_has_none() {
    let (registry, peer) = (registry(), Peer::new());
    let gateway = gateway(&registry, "[share]\nmax_upload = \"400KB\"\nmax_upload_per_peer = \"250KB\"\n");
    let path = by_digest(&left().at("1.0.0").integrity);
    assert_eq!(client_gets(&gateway, TARBALL).status, 200);
    let since = std::time::Instant::now();
    let reply = peer.gets(&gateway, &path);
    let took = since.elapsed();
    assert_eq!(reply.body, left().at("1.0.0").tarball);
    // A tenth of a second's worth goes at once.
    assert!(took > Duration::from_millis(3600), "{took:?}");
    let since = std::time::Instant::now();
    assert_eq!(client_gets(&gateway, &path).status, 200);
    assert!(since.elapsed() < took / 2);
}

#[test]
fn who_sends_what_no_gateway_sends_is_cut_off_and_clients_beside_it_are_not() {
    let (registry, peer) = (registry(), Peer::new());
    let gateway = gateway(&registry, "");
    assert_eq!(client_gets(&gateway, TARBALL).status, 200);
    let held = by_digest(&left().at("1.0.0").integrity);
    let url = format!("{}{held}", gateway.url());
    let asked = (0..8).map(|_| Request::get(&url).header("open-registry-peer", "me").send().status);
    assert_eq!(asked.collect::<Vec<_>>(), [403, 403, 403, 403, 403, 403, 429, 429]);
    let cut = peer.gets(&gateway, &held);
    assert_eq!(cut.status, 429, "{}", cut.text());
    let seconds = cut.header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| (200..=300).contains(&seconds)), "{seconds:?}");
    assert_eq!(client_gets(&gateway, &held).status, 200);
    assert!((gateway.metric("open_registry_peers_cut_off_total", &[]) - 1.0).abs() < 0.1);
}

#[test]
fn who_asks_for_what_does_not_exist_is_slowed_and_clients_beside_it_are_not() {
    let (registry, peer) = (registry(), Peer::new());
    let gateway = gateway(&registry, "");
    let asks = |nth: u32| {
        let path = format!("/-/tarballs/sha512/{:A<86}", format!("{nth}x"));
        let reply = peer.gets(&gateway, &path);
        assert_eq!(reply.status, 404);
        reply.first_byte
    };
    // Three in a row: some come back while others are spent.
    let is_slow = |nth: u32| (0..3).all(|more| asks(nth * 3 + more) > Duration::from_millis(120));
    assert!((0..2000).any(is_slow));
    assert!(client_gets(&gateway, "/left").first_byte < Duration::from_secs(2));
}

/// The neighbour says that it holds everything, so that the gateway has reason to ask it for everything.
#[test]
fn what_is_private_is_told_to_no_peer_and_no_peer_is_asked_for_it() {
    let registry = Registry::builder().packages([left(), plans()]).start();
    let config = "[private]\nscopes = [\"@acme\"]\n[federation]\ndiscover = false\n";
    let gateway =
        Gateway::builder().upstream(registry.url()).peers_at("127.0.0.1:0").config_toml(config).start();
    let (left, plans) = (left(), plans());
    let [secret, open, private] = [left.at("1.0.0"), left.at("1.1.0"), plans.at("1.0.0")];
    let neighbour = Stranger::neighbour(Conduct::Honest, [secret, open, private]);
    neighbour.dial(&gateway.contact());
    until(|| gateway.status()["connected"][0]["tarballs"].as_u64(), |told| *told == Some(3));

    let with_integrity = |path: &str, release: &Release| {
        Request::get(&format!("{}{path}", gateway.url())).header("pacote-integrity", &release.integrity)
    };
    // Several times: what comes of a request must not be told by the next one either.
    for _ in 0..3 {
        let by_token = with_integrity(TARBALL, secret).header("authorization", "Bearer secret").send();
        assert_eq!((by_token.status, &by_token.body), (200, &secret.tarball));
        for request in
            [with_integrity(PRIVATE, private), Request::get(&format!("{}{PRIVATE}", gateway.url()))]
        {
            let reply = request.send();
            assert_eq!((reply.status, &reply.body), (200, &private.tarball));
        }
        assert_eq!(client_gets(&gateway, "/@acme%2fplans").status, 200);
    }
    // What comes after it is told and asked for: so would it have been.
    assert_eq!(with_integrity("/left/-/left-1.1.0.tgz", open).send().status, 200);
    let fingerprint = |release: &Release| print(&Integrity::from_sri(&release.integrity).unwrap());
    until(|| neighbour.told(), |told| told.contains(&fingerprint(open)));
    assert_eq!(neighbour.told().into_iter().collect::<Vec<_>>(), [fingerprint(open)]);
    let asked = neighbour.asked();
    let of_open = by_digest(&open.integrity);
    assert!(!asked.is_empty() && asked.iter().all(|head| head.contains(&of_open)), "{asked:#?}");
}

/// A gateway with peers on loopback, that looks for nobody.
fn member(registry: &Registry, share: bool, bootstrap: &[String]) -> Gateway {
    let config =
        format!("[share]\nenabled = {share}\n[federation]\ndiscover = false\nbootstrap = {bootstrap:?}\n");
    Gateway::builder().upstream(registry.url()).peers_at("127.0.0.1:0").config_toml(&config).start()
}

#[test]
fn gateways_that_are_connected_tell_each_other_what_they_hold_and_forget_it() {
    let registry = registry();
    let mut older = member(&registry, true, &[]);
    assert_eq!(client_gets(&older, TARBALL).status, 200);
    let newer = member(&registry, true, &[older.contact()]);
    let seen = |by: &Gateway| by.status()["connected"][0].clone();
    until(|| seen(&newer), |peer| peer["tarballs"] == 1 && peer["not_source"].is_null());
    // Before either of them may fetch for both.
    until(|| seen(&older), |peer| peer["tarballs"] == 0 && peer["not_source"] == "it holds nothing");
    assert_eq!(client_gets(&older, "/left/-/left-1.1.0.tgz").status, 200);
    until(|| seen(&newer), |peer| peer["tarballs"] == 2);
    assert!((newer.metric("open_registry_peers_tarballs", &[]) - 2.0).abs() < 0.1);
    assert!(newer.wait_for_log(|line| line.contains("Currently connected to 1 peer"), SOON));

    older.kill();
    until(|| newer.metric("open_registry_peers_tarballs", &[]), |held| *held < 0.1);
}

#[test]
fn where_nothing_is_shared_nothing_is_told() {
    let registry = registry();
    let silent = member(&registry, false, &[]);
    let open = member(&registry, true, &[silent.contact()]);
    for gateway in [&silent, &open] {
        assert_eq!(client_gets(gateway, TARBALL).status, 200);
    }
    let seen = |by: &Gateway| by.status()["connected"][0].clone();
    until(|| seen(&silent), |peer| peer["tarballs"] == 1);
    let peer = seen(&open);
    assert!(peer["tarballs"].is_null() && peer["not_source"] == "it shares nothing", "{peer}");
    assert!(!silent.log().iter().any(|line| line.contains("Started sharing")));
    assert!(open.log().iter().any(|line| line.contains("Started sharing")));
}
