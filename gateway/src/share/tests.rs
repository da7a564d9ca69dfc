//! Two gateways that tell each other what they hold, over swarms that the test plays.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use resolver::integrity::Integrity;
use resolver::inventory::frame::Frame;
use resolver::inventory::{Prints, print};
use resolver::links::Links;
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::announce;
use super::listen::Ear;
use super::*;
use crate::metrics::Metrics;
use crate::store;
use crate::swarm::{Command, Ends, Neighbour, Neighbours, Protocol};

fn peer(nth: u8) -> PeerId {
    PeerId::of_key([nth; 32])
}

/// The swarm of one gateway that listens.
struct Scene {
    ends: Ends,
    inventories: Inventories,
    streams: mpsc::Sender<(PeerId, crate::swarm::Stream)>,
    _links: watch::Sender<Arc<Links>>,
    task: JoinHandle<()>,
}

impl Scene {
    fn new() -> Self {
        let (swarm, ends, mut incoming) = Swarm::channels();
        let (links, see) = watch::channel(Arc::default());
        let config = Config { enabled: true, max_upload: Size(0), max_upload_per_peer: Size(0) };
        let metrics = Arc::new(Metrics::new());
        let sharing = Sharing::new(&config, swarm.clone(), see, Traffic::default(), metrics);
        let inventories = Inventories::default();
        let ear = Ear::new(inventories.clone(), sharing, BTreeSet::new());
        let incoming = incoming.remove(&Protocol::Inventory).unwrap();
        let streams = ends.opened[&Protocol::Inventory].clone();
        let task = tokio::spawn(ear.run(swarm, incoming, CancellationToken::new()));
        Self { ends, inventories, streams, _links: links, task }
    }

    fn connect(&self, peers: &[u8]) {
        self.ends.neighbours.send_replace(neighbours(peers));
    }

    /// A stream that a peer has opened.
    async fn hears(&self, nth: u8) -> DuplexStream {
        let (ours, theirs) = duplex(64 * 1024);
        assert!(self.streams.send((peer(nth), Box::new(theirs))).await.is_ok());
        ours
    }

    async fn eventually(&self, what: &str, holds: impl Fn(&Inventories) -> bool) {
        let seen = async {
            while !holds(&self.inventories) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(timeout(Duration::from_secs(120), seen).await.is_ok(), "{what}");
    }
}

fn neighbours(peers: &[u8]) -> Arc<Neighbours> {
    let neighbour = || Neighbour {
        addresses: vec![IpAddr::from([192, 168, 7, 9])],
        near: true,
        card: None,
        since: Instant::now(),
    };
    Arc::new(peers.iter().map(|nth| (peer(*nth), neighbour())).collect())
}

async fn tell(stream: &mut DuplexStream, frames: impl IntoIterator<Item = Frame>) {
    for frame in frames {
        stream.write_all(&frame.to_bytes()).await.unwrap();
    }
}

fn prints(of: impl IntoIterator<Item = u32>) -> Prints {
    of.into_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_tells_is_known_and_forgotten_with_its_connection() {
    let (scene, left) = (Scene::new(), Integrity::of(b"left"));
    scene.connect(&[1, 2]);
    let mut stream = scene.hears(1).await;
    tell(&mut stream, Frame::whole(&prints([print(&left), 7]))).await;
    scene.eventually("it is told", |known| known.holders(&left) == [peer(1)]).await;
    tell(&mut stream, Frame::changes(&[9], &[print(&left)])).await;
    scene.eventually("it has gone", |known| known.holders(&left).is_empty()).await;
    scene.connect(&[2]);
    scene.eventually("all is forgotten", |known| known.sizes().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_any_more_or_ends_its_stream_is_forgotten() {
    let scene = Scene::new();
    scene.connect(&[1, 2]);
    let (mut one, mut other) = (scene.hears(1).await, scene.hears(2).await);
    for stream in [&mut one, &mut other] {
        tell(stream, Frame::whole(&prints([7]))).await;
    }
    scene.eventually("both are heard", |known| known.sizes().len() == 2).await;
    drop(other);
    scene.eventually("one has ended", |known| known.sizes().len() == 1).await;
    scene.eventually("the other is silent", |known| known.sizes().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn who_sends_garbage_is_not_heard_and_after_some_times_cut_off() {
    let mut scene = Scene::new();
    scene.connect(&[1]);
    for _ in 0..6 {
        let mut stream = scene.hears(1).await;
        tell(&mut stream, Frame::whole(&prints([7]))).await;
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        scene.eventually("it is heard", |known| !known.sizes().is_empty()).await;
        scene.eventually("it is forgotten", |known| known.sizes().is_empty()).await;
    }
    let cut = timeout(Duration::from_secs(5), scene.ends.commands.recv()).await;
    assert!(matches!(cut, Ok(Some(Command::Block { id, .. })) if id == peer(1)));
    scene.task.abort();
}

/// What a gateway holds is told to another, whoever loses the connection meanwhile.
async fn told(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &store::Config::of(256 * 1024)).unwrap();
    let (swarm, mut ends, _) = Swarm::channels();
    let scene = Scene::new();
    scene.connect(&[1]);
    ends.neighbours.send_replace(neighbours(&[2]));
    let telling = announce::run(swarm, own::follow(&store), BTreeSet::new(), CancellationToken::new());
    let telling = tokio::spawn(telling);
    let mut pipe = Pipe::default();
    for step in steps {
        match step {
            Step::Keep(nth) => keep(&store, nth).await,
            Step::Break => drop(pipe.0.take().inspect(JoinHandle::abort)),
            Step::Leave => {
                ends.neighbours.send_replace(neighbours(&[]));
                pipe.serve(&mut ends, &scene).await;
                ends.neighbours.send_replace(neighbours(&[2]));
            }
        }
        pipe.serve(&mut ends, &scene).await;
    }
    let since = std::time::Instant::now();
    while !knows_what_is_held(&scene.inventories, &store) {
        pipe.serve(&mut ends, &scene).await;
        assert!(since.elapsed() < Duration::from_secs(60), "{:?}", scene.inventories.sizes());
    }
    telling.abort();
}

/// By its digests, and by their number.
fn knows_what_is_held(known: &Inventories, store: &Store) -> bool {
    let all: Vec<_> = (0..64).map(|nth| Integrity::of(&bytes(nth))).collect();
    let held = all.iter().filter(|integrity| store.holds_blob(integrity)).count();
    let same = |integrity| (known.holders(integrity) == [peer(1)]) == store.holds_blob(integrity);
    known.sizes().get(&peer(1)) == Some(&held) && all.iter().all(same)
}

#[derive(Debug, Clone)]
enum Step {
    Keep(u8),
    Break,
    Leave,
}

/// The stream between the two, as long as it is whole.
#[derive(Default)]
struct Pipe(Option<JoinHandle<()>>);

impl Pipe {
    /// Gives streams that are asked for, for a moment.
    async fn serve(&mut self, ends: &mut Ends, scene: &Scene) {
        while let Ok(Some(command)) = timeout(Duration::from_millis(5), ends.commands.recv()).await {
            let Command::Open { done, .. } = command else { continue };
            let ((ours, mut near), (mut far, theirs)) = (duplex(4096), duplex(4096));
            assert!(scene.streams.send((peer(1), Box::new(theirs))).await.is_ok());
            let _ = done.send(Ok(Box::new(ours)));
            let copied = async move { drop(tokio::io::copy_bidirectional(&mut near, &mut far).await) };
            if let Some(before) = self.0.replace(tokio::spawn(copied)) {
                before.abort();
            }
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.0.take().inspect(JoinHandle::abort);
    }
}

fn bytes(nth: u8) -> Vec<u8> {
    vec![nth; 10_000]
}

async fn keep(store: &Store, nth: u8) {
    let mut draft = store.draft();
    draft.write(&bytes(nth)).await.unwrap();
    store.keep_blob(draft, &Integrity::of(&bytes(nth)), None).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 20, ..ProptestConfig::default() })]

    /// The store is so small that it evicts.
    #[test]
    fn whatever_comes_and_goes_and_breaks_the_other_ends_with_what_is_held(
        steps in proptest::collection::vec(
            prop_oneof![20 => (0u8..64).prop_map(Step::Keep), 1 => Just(Step::Break), 2 => Just(Step::Leave)],
            1..60,
        ),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap().block_on(told(steps));
    }
}
