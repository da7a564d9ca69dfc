//! Promises of what is served from a root, with a home that is played.

use std::sync::Mutex;

use futures_util::FutureExt as _;
use resolver::index::Path;
use tempfile::TempDir;
use tokio::time::timeout;

use super::played::{Conduct, HOME, Stage, id};
use super::*;
use crate::store::Config;

const LIMIT: Duration = Duration::from_secs(60);

/// What was held against whom.
#[derive(Default)]
struct Account(Mutex<Vec<(PeerId, Result<(), Fault>)>>);

struct Scene {
    stage: Stage,
    rooted: Rooted,
    account: Arc<Account>,
    roots: watch::Sender<Option<Root>>,
    told: Arc<Mutex<Vec<Option<Vec<u8>>>>>,
    hurried: Arc<Mutex<u32>>,
    folder: TempDir,
}

struct Keeper(Arc<Account>);

impl Judge for Keeper {
    fn begin(&self, peer: PeerId) -> Option<Verdict> {
        let account = Arc::clone(&self.0);
        Some(Box::new(move |ended| account.0.lock().unwrap().push((peer, ended))))
    }
}

fn name(name: &str) -> PackageName {
    PackageName::parse(name).unwrap()
}

fn metadata(package: &str) -> Path {
    Path::metadata(name(package))
}

fn rooted(
    stage: &Stage,
    folder: &TempDir,
    home: u8,
    account: &Arc<Account>,
    hurried: &Arc<Mutex<u32>>,
) -> Rooted {
    let hurried = Arc::clone(hurried);
    Rooted::open(Basis {
        dir: folder.path().into(),
        home: id(home),
        own: id(1),
        private_scopes: vec!["@secret".into()],
        swarm: stage.swarm.clone(),
        store: Store::open(&folder.path().join(format!("of-{home}")), &Config::of(1 << 30)).unwrap(),
        judge: Arc::new(Keeper(Arc::clone(account))),
        hurry: Arc::new(move || *hurried.lock().unwrap() += 1),
        metrics: Arc::new(Metrics::new()),
    })
}

impl Scene {
    /// Home has `left`, `@s/right` and three hundred others.
    fn new() -> Self {
        let (stage, folder) = (Stage::new(), tempfile::tempdir().unwrap());
        for package in ["left", "@s/right"] {
            stage.put(metadata(package), package.as_bytes());
        }
        for number in 0..300 {
            stage.put(metadata(&format!("p{number}")), format!("{number}").as_bytes());
        }
        let (account, hurried) = (Arc::default(), Arc::default());
        let rooted = rooted(&stage, &folder, HOME, &account, &hurried);
        let scene = Self {
            stage,
            rooted,
            account,
            roots: watch::Sender::new(None),
            told: Arc::default(),
            hurried,
            folder,
        };
        scene.run();
        scene
    }

    fn run(&self) {
        let told = Arc::clone(&self.told);
        let events = Events {
            changed: Arc::new(|_| async { true }.boxed()),
            blocked: Arc::new(|_| ()),
            peers: Arc::new(move |bytes| told.lock().unwrap().push(bytes.map(<[u8]>::to_vec))),
        };
        tokio::spawn(self.rooted.clone().run(self.roots.subscribe(), events));
    }

    async fn follow(&self, root: Root) {
        self.roots.send_replace(Some(root));
        let mut settled = self.rooted.settled();
        let counts = settled.wait_for(|settled| settled.as_ref().is_some_and(|settled| settled.root == root));
        timeout(LIMIT, counts).await.unwrap().unwrap();
    }

    fn root(&self) -> Root {
        self.stage.tree.lock().unwrap().root()
    }

    async fn said(&self, package: &str) -> Said {
        timeout(LIMIT, async {
            loop {
                if let Some(said) = self.rooted.said_or_sought(&name(package)) {
                    return said;
                }
                self.rooted.inner.unproven.remove(&name(package));
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap()
    }

    /// All bytes of a document, from somebody.
    async fn arrived(&self, of: u8, package: &str) -> Result<(Vec<u8>, Ended), Miss> {
        let path = metadata(package).segments().map(str::to_owned).collect();
        let mut arrival = self.rooted.arrival(id(of), *self.root().cid(), path).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = arrival.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        let (ended, nodes) = arrival.end();
        self.rooted.keep(nodes).await;
        Ok((bytes, ended))
    }
}

#[tokio::test]
async fn what_a_root_says_is_told_from_nodes_that_are_got_behind_and_a_start_goes_on_from_it() {
    let scene = Scene::new();
    scene.stage.connect(HOME, Conduct::Good);
    assert_eq!(scene.rooted.said(&name("left")), None, "there is no root yet");
    scene.follow(scene.root()).await;
    assert_eq!(scene.rooted.said(&name("left")), None, "a first root is not listed");
    let link = resolver::index::file::of_bytes(b"left").0;
    assert_eq!(scene.said("left").await, Said::Named(link.cid));
    assert_eq!(scene.said("not-there").await, Said::Nothing);
    let asked = scene.stage.asked_of(HOME).len();
    assert!(asked < 12, "{asked} requests for what leads to two packages");
    for package in ["left", "not-there"] {
        scene.said(package).await;
    }
    assert_eq!(scene.stage.asked_of(HOME).len(), asked, "what is known is not asked for");
    let again = Database::open(scene.folder.path(), id(8), 1 << 30);
    assert!(again.settled().is_none(), "it is open, or another home's");
}

#[tokio::test]
async fn another_start_knows_the_root_and_its_nodes_and_another_homes_root_is_nobodys() {
    let scene = Scene::new();
    scene.stage.connect(HOME, Conduct::Good);
    scene.follow(scene.root()).await;
    let said = scene.said("left").await;
    let Scene { stage, rooted: before, account, roots, hurried, folder, .. } = scene;
    drop(roots);
    let weak = Arc::downgrade(&before.inner);
    drop(before);
    timeout(LIMIT, async {
        while weak.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    stage.disconnect(HOME);
    let after = rooted(&stage, &folder, HOME, &account, &hurried);
    let root = stage.tree.lock().unwrap().root();
    assert_eq!(after.current().map(|settled| settled.root), Some(root));
    // What was got last may be lost in a crash; this was an orderly end.
    assert!(after.said(&name("left")).is_none_or(|now| now == said));
    drop(after);
    assert_eq!(rooted(&stage, &folder, 9, &account, &hurried).current(), None);
}

#[tokio::test]
async fn a_root_that_nobody_has_does_not_count_and_does_once_somebody_has_it() {
    let scene = Scene::new();
    scene.stage.connect(HOME, Conduct::Good);
    let first = scene.root();
    scene.follow(first).await;
    scene.stage.connect(HOME, Conduct::Empty);
    let second = scene.stage.put(metadata("left"), b"left anew");
    scene.roots.send_replace(Some(second));
    timeout(LIMIT, async {
        while scene.stage.asked_of(HOME).len() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(scene.rooted.current().map(|settled| settled.root), Some(first));
    scene.stage.connect(HOME, Conduct::Good);
    scene.follow(second).await;
}

#[tokio::test]
async fn a_root_counts_whose_forerunner_nobody_remembers() {
    let scene = Scene::new();
    scene.stage.connect(HOME, Conduct::Good);
    scene.follow(scene.root()).await;
    let before = scene.said("left").await;
    scene.stage.put(metadata("left"), b"left anew");
    scene.stage.tree.lock().unwrap().forget_what_was_before();
    scene.follow(scene.root()).await;
    assert_ne!(scene.said("left").await, before);
}

#[tokio::test]
async fn homes_state_comes_with_its_root_and_its_own_documents_are_handed_on_when_they_change() {
    let scene = Scene::new();
    scene.stage.connect(HOME, Conduct::Good);
    let state = State { looked: 5, current: Some(4), behind: 1, except: vec![] };
    scene.stage.put(Path::state(), &state.to_json());
    scene.stage.put(Path::peers(), b"one");
    scene.follow(scene.root()).await;
    assert_eq!(scene.rooted.current().unwrap().state, Some(Arc::new(state)));
    scene.follow(scene.stage.put(metadata("left"), b"left anew")).await;
    scene.follow(scene.stage.put(Path::peers(), b"two")).await;
    scene.follow(scene.stage.put(metadata("left"), b"and again")).await;
    let told = || scene.told.lock().unwrap().clone();
    timeout(LIMIT, async {
        while told().len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(told(), [Some(b"one".to_vec()), Some(b"two".to_vec())]);
}

#[tokio::test]
async fn a_document_comes_with_its_proof_however_long_it_is_and_so_does_its_absence() {
    let scene = Scene::new();
    scene.stage.connect(HOME, Conduct::Good);
    let long: Vec<u8> = (0..700_000u32).flat_map(u32::to_le_bytes).collect();
    scene.stage.put(metadata("@s/long"), &long);
    scene.follow(scene.root()).await;
    let (bytes, ended) = scene.arrived(HOME, "@s/long").await.unwrap();
    assert!(bytes == long && matches!(ended, Ended::Whole(_)));
    assert_eq!(scene.arrived(HOME, "left").await.unwrap().0, b"left");
    let asked = scene.stage.asked_of(HOME).len();
    assert!(matches!(scene.rooted.said(&name("@s/long")), Some(Said::Named(_))), "its proof is here now");
    assert_eq!(scene.arrived(HOME, "@s/not-there").await.unwrap(), (Vec::new(), Ended::Absent));
    assert_eq!(scene.arrived(HOME, "left").await.unwrap().0, b"left", "by its address alone");
    assert_eq!(scene.stage.asked_of(HOME).len(), asked + 2);
}

#[tokio::test]
async fn a_changed_byte_is_a_lie_and_nothing_of_it_is_given_out() {
    let scene = Scene::new();
    scene.stage.connect(HOME, Conduct::Good);
    scene.stage.connect(2, Conduct::Wrong);
    scene.follow(scene.root()).await;
    let lie = scene.arrived(2, "left").await.unwrap_err();
    assert!(matches!(lie, Miss::Fault(Fault::WrongBytes, _)), "{lie:?}");
    let said = scene.said("p7").await;
    assert_eq!(said, Said::Named(resolver::index::file::of_bytes(b"7").0.cid));
    let account = scene.account.0.lock().unwrap();
    let faults: Vec<_> = account.iter().filter(|(_, ended)| ended.is_err()).collect();
    assert!(
        !faults.is_empty() && faults.iter().all(|one| **one == (id(2), Err(Fault::WrongBytes))),
        "{faults:?}"
    );
}

#[tokio::test]
async fn nobody_is_asked_for_what_is_private() {
    let scene = Scene::new();
    scene.stage.connect(HOME, Conduct::Good);
    scene.follow(scene.root()).await;
    let asked = scene.stage.asked_of(HOME).len();
    assert_eq!(scene.rooted.said_or_sought(&name("@secret/thing")), None);
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.stage.asked_of(HOME).len(), asked);
    assert_eq!(*scene.hurried.lock().unwrap(), 0);
}
