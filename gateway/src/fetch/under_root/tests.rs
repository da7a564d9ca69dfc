//! Promises of packuments under a root, with a home and followers that are played.

use std::sync::Mutex;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::FutureExt as _;
use resolver::freshness::State;
use resolver::head::Root;
use resolver::plan::{Windows, Wish};
use resolver::rank::Snapshot;
use resolver::variant::Revision;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;

use super::*;
use crate::fetch::{Settings, peers};
use crate::metrics::Metrics;
use crate::rooted::played::{Conduct, HOME, Stage, id};
use crate::rooted::{Basis, Events};
use crate::share::Inventories;
use crate::store::{Config, Store};
use crate::upstream::{self, Following, HOMES, Upstream};

const LIMIT: Duration = Duration::from_secs(60);

/// A gateway that follows a home whose document of each package is of this generation.
struct Scene {
    stage: Stage,
    fetch: Fetch,
    rooted: Rooted,
    roots: watch::Sender<Option<Root>>,
    changed: Arc<Mutex<Vec<PackageName>>>,
    generation: Arc<Mutex<u32>>,
    metrics: Arc<Metrics>,
    _folder: TempDir,
}

fn name(name: &str) -> PackageName {
    PackageName::parse(name).unwrap()
}

fn document(name: &str, generation: u32) -> String {
    let version = json!({ "name": name, "version": "1.0.0", "dist": { "tarball": "x" } });
    json!({ "name": name, "generation": generation, "versions": { "1.0.0": version } }).to_string()
}

impl Scene {
    async fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (stage, folder, metrics) = (Stage::new(), tempfile::tempdir().unwrap(), Arc::new(Metrics::new()));
        let store = Store::open(&folder.path().join("data"), &Config::of(1 << 30)).unwrap();
        let config = json!({ "url": "http://127.0.0.1:1", "fresh": "5m", "stale": "1h", "changes": "", "tarball_hosts": [] });
        let config: upstream::Config = serde_json::from_value(config).unwrap();
        let upstream = Upstream::new(&config, false, Arc::clone(&metrics)).unwrap();
        let contact = format!("/ip4/192.0.2.7/tcp/6738/p2p/{}", id(HOME)).parse().unwrap();
        upstream.follow(Following { contact, own: id(1), swarm: stage.swarm.clone() });
        let peers = Peers::new(peers::Basis {
            own: id(1),
            shares: true,
            private_scopes: vec!["@secret".into()],
            hedge: None,
            swarm: stage.swarm.clone(),
            inventories: Inventories::default(),
            known: watch::channel(Arc::new(Snapshot::alone())).1,
            seen: Box::new(|_| ()),
            metrics: Arc::clone(&metrics),
        });
        let peers = peers.unwrap();
        let rooted = Rooted::open(Basis {
            dir: folder.path().into(),
            home: id(HOME),
            own: id(1),
            private_scopes: vec!["@secret".into()],
            swarm: stage.swarm.clone(),
            store: store.clone(),
            judge: Arc::new(peers.clone()),
            hurry: Arc::new(|| ()),
            metrics: Arc::clone(&metrics),
        });
        let windows = Windows { fresh: Duration::from_secs(300), stale: Duration::from_secs(3600) };
        let settings = Settings { windows, verify_first_max: 1 << 20 };
        let with = (Some(peers), crate::takedown::Takedowns::none());
        let fetch = Fetch::with_peers(store, upstream, with, settings, Arc::clone(&metrics));
        fetch.follow(rooted.clone());
        let roots = watch::Sender::new(None);
        let scene = Self {
            stage,
            fetch,
            rooted,
            roots,
            changed: Arc::default(),
            generation: Arc::default(),
            metrics,
            _folder: folder,
        };
        scene.play();
        scene
    }

    /// Home's word over its own connection, of now.
    fn play(&self) {
        let generation = Arc::clone(&self.generation);
        *self.stage.channel.lock().unwrap() = Some(Arc::new(move |request| {
            let name = request.uri().path().trim_start_matches('/').to_owned();
            let document = document(&name, *generation.lock().unwrap());
            let tag = format!("\"{}\"", Revision::of(document.as_bytes()).hex());
            let answer = http::Response::builder().header(HOMES, "").header("age", "0").header("etag", &tag);
            match request.headers().get("if-none-match") {
                Some(held) if *held == tag => answer.status(304).body(Bytes::new()).unwrap(),
                _ => answer.body(document.into()).unwrap(),
            }
        }));
        let (fetch, changed) = (self.fetch.clone(), Arc::clone(&self.changed));
        let changed = move |names: Vec<PackageName>| {
            changed.lock().unwrap().extend(names.clone());
            let fetch = fetch.clone();
            async move { fetch.changed(&names).await.is_ok() }.boxed()
        };
        let events =
            Events { changed: Arc::new(changed), blocked: Arc::new(|_| ()), peers: Arc::new(|_| ()) };
        tokio::spawn(self.rooted.clone().run(self.roots.subscribe(), events));
    }

    /// Home's index has this of a package.
    fn index(&self, package: &str, generation: u32) {
        self.stage.put(Path::metadata(name(package)), document(package, generation).as_bytes());
    }

    /// Home was current so long ago, and its root of now is followed.
    async fn follow(&self, since_current: Option<Duration>) {
        if let Some(since) = since_current {
            let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().saturating_sub(since);
            let looked = u64::try_from(at.as_millis()).unwrap();
            let state = State { looked, current: Some(looked), behind: 0, except: vec![] };
            self.stage.put(Path::state(), &state.to_json());
        }
        let root = self.stage.tree.lock().unwrap().root();
        self.roots.send_replace(Some(root));
        let mut settled = self.rooted.settled();
        let counts = settled.wait_for(|settled| settled.as_ref().is_some_and(|settled| settled.root == root));
        timeout(LIMIT, counts).await.unwrap().unwrap();
    }

    async fn get(&self, package: &str) -> Result<Document, Failure> {
        self.fetch.packument(&name(package), Wish::Usual).await
    }

    /// Requests over home's own connection, and none of them a probe.
    fn by_channel(&self) -> usize {
        let asked = self.stage.asked_of(HOME);
        asked.iter().filter(|path| !path.contains("/ipfs/") && !path.ends_with("/-/ping")).count()
    }

    fn generation_of(given: &Document) -> Option<u32> {
        let is = |generation: &u32| {
            let document = document(given.name.as_str(), *generation);
            given.record.revision == Revision::of(document.as_bytes())
        };
        (0..10).find(is)
    }
}

const NOW: Option<Duration> = Some(Duration::ZERO);

#[tokio::test]
async fn what_the_root_names_comes_with_its_proof_and_is_as_fresh_as_home_is() {
    let scene = Scene::new().await;
    scene.stage.connect(HOME, Conduct::Good);
    scene.index("left", 0);
    scene.follow(Some(Duration::from_secs(100))).await;
    let given = scene.get("left").await.unwrap();
    assert_eq!((given.source, Scene::generation_of(&given)), (Provenance::Home, Some(0)));
    assert!(given.fresh_for <= Duration::from_secs(200) && given.fresh_for > Duration::from_secs(150));
    assert_eq!(scene.get("left").await.unwrap().source, Provenance::Store);
    assert_eq!(scene.by_channel(), 0);
    let counted = scene.metrics.render(&crate::store::Totals::default(), true);
    assert!(
        counted.contains(r#"open_registry_root_documents_total{source="home",verified="root"} 1"#),
        "{counted}"
    );
}

#[tokio::test]
async fn while_home_is_current_nothing_that_is_held_is_asked_for_again() {
    let scene = Scene::new().await;
    scene.stage.connect(HOME, Conduct::Good);
    scene.index("left", 0);
    scene.follow(NOW).await;
    scene.get("left").await.unwrap();
    // Confirmed long ago, as far as this gateway knows itself.
    scene.fetch.store().doubt_packument(&name("left")).await.unwrap();
    let asked = scene.stage.asked_of(HOME).len();
    for _ in 0..20 {
        let given = scene.get("left").await.unwrap();
        assert!(!given.fresh_for.is_zero() && given.source == Provenance::Store);
    }
    assert_eq!(scene.stage.asked_of(HOME).len(), asked);
}

#[tokio::test]
async fn of_a_new_root_exactly_what_is_held_and_differs_is_asked_for_again() {
    let scene = Scene::new().await;
    scene.stage.connect(HOME, Conduct::Good);
    for package in ["left", "right", "@s/up", "never-held"] {
        scene.index(package, 0);
    }
    scene.follow(NOW).await;
    for package in ["left", "right", "@s/up"] {
        scene.get(package).await.unwrap();
    }
    *scene.generation.lock().unwrap() = 1;
    scene.index("@s/up", 1);
    scene.index("never-held", 1);
    scene.follow(NOW).await;
    assert_eq!(*scene.changed.lock().unwrap(), [name("@s/up")]);
    let asked = scene.stage.asked_of(HOME).len();
    for package in ["left", "right"] {
        assert_eq!(Scene::generation_of(&scene.get(package).await.unwrap()), Some(0));
    }
    assert_eq!(scene.stage.asked_of(HOME).len(), asked);
    assert_eq!(Scene::generation_of(&scene.get("@s/up").await.unwrap()), Some(1));
    assert_eq!((scene.stage.asked_of(HOME).len(), scene.by_channel()), (asked + 1, 0));
    assert_eq!(scene.get("@s/up").await.unwrap().source, Provenance::Store);
}

#[tokio::test]
async fn what_is_not_in_the_root_and_what_a_client_insists_on_goes_to_home_itself() {
    let scene = Scene::new().await;
    scene.stage.connect(HOME, Conduct::Good);
    scene.index("left", 0);
    // Longer ago than clocks are apart.
    scene.follow(Some(Duration::from_secs(5))).await;
    scene.get("new").await.unwrap();
    assert_eq!(scene.by_channel(), 1);
    scene.get("left").await.unwrap();
    assert_eq!(scene.by_channel(), 1);
    *scene.generation.lock().unwrap() = 1;
    let given = scene.fetch.packument(&name("left"), Wish::Confirmed).await.unwrap();
    assert_eq!((Scene::generation_of(&given), scene.by_channel()), (Some(1), 2));
    // Newer than the root: it stays.
    assert_eq!(Scene::generation_of(&scene.get("left").await.unwrap()), Some(1));
}

#[tokio::test]
async fn a_home_without_a_feed_is_asked_how_old_it_is_what_its_root_names() {
    let scene = Scene::new().await;
    scene.stage.connect(HOME, Conduct::Good);
    scene.index("left", 0);
    scene.follow(None).await;
    let given = scene.get("left").await.unwrap();
    assert!(given.fresh_for > Duration::from_secs(200), "home has said so");
    assert_eq!(scene.by_channel(), 1, "without the document");
    assert_eq!(scene.stage.asked_of(HOME).iter().filter(|path| path.contains("metadata.json")).count(), 1);
}

#[tokio::test]
async fn a_peer_that_changes_a_byte_is_asked_no_more_and_the_document_is_right() {
    let scene = Scene::new().await;
    scene.stage.connect(HOME, Conduct::Good);
    for number in 0..5 {
        scene.index(&format!("p{number}"), 0);
    }
    scene.follow(NOW).await;
    scene.stage.connect(2, Conduct::Wrong);
    for number in 0..5 {
        let given = scene.get(&format!("p{number}")).await.unwrap();
        assert_eq!((given.source, Scene::generation_of(&given)), (Provenance::Home, Some(0)));
    }
    assert_eq!(scene.stage.asked_of(2).len(), 1);
    let fitness = scene.fetch.peers().unwrap().standing(&id(2)).fitness;
    assert!(matches!(fitness, resolver::strikes::Fitness::Out(_)), "{fitness:?}");
}

#[tokio::test]
async fn without_home_a_peer_that_follows_it_has_what_its_last_root_names_and_then_the_disk_has() {
    let scene = Scene::new().await;
    scene.stage.connect(HOME, Conduct::Good);
    for package in ["left", "right"] {
        scene.index(package, 0);
    }
    scene.follow(NOW).await;
    scene.stage.connect(2, Conduct::Good);
    scene.stage.disconnect(HOME);
    // So that it is known that upstream itself cannot be reached.
    for _ in 0..3 {
        let _ = scene.get("nobody-has-it").await;
    }
    let given = scene.get("left").await.unwrap();
    assert_eq!((given.source, Scene::generation_of(&given)), (Provenance::Near, Some(0)));
    scene.stage.disconnect(2);
    assert_eq!(scene.get("left").await.unwrap().source, Provenance::Store);
    assert!(scene.get("right").await.is_err());
}

#[tokio::test]
async fn a_peer_that_says_nothing_holds_nobody_up() {
    let scene = Scene::new().await;
    scene.stage.connect(HOME, Conduct::Good);
    scene.index("left", 0);
    scene.follow(NOW).await;
    scene.stage.connect(2, Conduct::Silent);
    let begun = tokio::time::Instant::now();
    assert_eq!(scene.get("left").await.unwrap().source, Provenance::Home);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_packument_of_several_blocks_is_known_again_under_the_root() {
    let scene = Scene::new().await;
    scene.stage.connect(HOME, Conduct::Good);
    let long = document("left", 0).replacen('{', &format!("{{\"readme\":\"{}\",", "r".repeat(3 << 20)), 1);
    scene.stage.put(Path::metadata(name("left")), long.as_bytes());
    scene.follow(NOW).await;
    let given = scene.get("left").await.unwrap();
    assert_eq!(given.record.length, long.len() as u64);
    let held = (*given.record).clone();
    assert_eq!(scene.rooted.word(&name("left"), &held), Some(Word::Same));
    // As when it has come by another way.
    let other = resolver::index::file::of_bytes(b"another").0.cid;
    scene.rooted.remember(&held.revision, held.length, &other).await;
    assert_eq!(scene.rooted.word(&name("left"), &held), Some(Word::Other));
    scene.fetch.learn_address(&scene.rooted, &held).await;
    assert_eq!(scene.rooted.word(&name("left"), &held), Some(Word::Same));
}

#[tokio::test]
async fn what_is_private_is_asked_of_nobody_under_the_root() {
    let scene = Scene::new().await;
    scene.stage.connect(HOME, Conduct::Good);
    scene.stage.connect(2, Conduct::Good);
    scene.index("left", 0);
    scene.follow(NOW).await;
    let before = scene.stage.asked.lock().unwrap().len();
    assert!(scene.fetch.under_root(&name("@secret/thing")).await.is_none());
    assert_eq!(scene.stage.asked.lock().unwrap().len(), before);
}
