use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use resolver::geo::Whereabouts;
use resolver::health::State;
use resolver::peer::{Endpoint, Peer};

use super::*;

/// Peers of which those are well that are said to be.
#[derive(Default)]
struct Village {
    silent: AtomicBool,
    stalled: AtomicBool,
    probes: AtomicUsize,
}

struct Visitor(Arc<Village>);

impl Probe for Visitor {
    async fn probe(&self, _due: Due) -> Found {
        self.0.probes.fetch_add(1, Ordering::Relaxed);
        if self.0.stalled.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        match self.0.silent.load(Ordering::Relaxed) {
            true => Found::Failed("connection refused".to_owned()),
            false => Found::Passed { load: 0.0, accepting: true },
        }
    }
}

fn peer(nth: u8) -> Sighting {
    Sighting::Known(Peer {
        id: PeerId::of_key([nth; 32]),
        endpoints: vec![Endpoint { address: IpAddr::from([198, 18, 0, nth]), https: false }],
        urls: Vec::new(),
        whereabouts: Whereabouts::default(),
        networks: Vec::new(),
        capacity: 1.0,
        admitted: true,
    })
}

fn owner(village: &Arc<Village>) -> (Owner<Visitor>, watch::Sender<Arc<Links>>) {
    let (links, watched) = watch::channel(Arc::default());
    (Owner::new(Visitor(Arc::clone(village)), [peer(1), peer(2)], watched, || true), links)
}

fn states(steering: &Steering) -> Vec<State> {
    steering.snapshot().standings[1..].iter().map(|standing| standing.state).collect()
}

#[tokio::test(start_paused = true)]
async fn everybody_is_looked_at_before_the_first_client_comes() {
    let village = Arc::default();
    let (mut owner, _links) = owner(&village);
    let steering = owner.steering();
    assert_eq!(states(&steering), [State::Unknown; 2]);
    owner.first_round().await;
    assert_eq!(states(&steering), [State::Up; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_start_does_not_wait_for_ever_for_peers_that_do_not_answer() {
    let village = Arc::new(Village { stalled: true.into(), ..Village::default() });
    let (mut owner, _links) = owner(&village);
    let before = Instant::now();
    owner.first_round().await;
    assert!(before.elapsed() <= FIRST_ROUND);
    assert_eq!(states(&owner.steering()), [State::Down; 2], "a stalled probe ends");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_down_within_35_seconds_and_comes_back() {
    let village: Arc<Village> = Arc::default();
    let (mut owner, _links) = owner(&village);
    owner.first_round().await;
    let (steering, stop, end) = (owner.steering(), CancellationToken::new(), CancellationToken::new());
    let running = tokio::spawn(owner.run(Pulses::new(), stop.clone(), end.clone()));
    village.silent.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(35)).await;
    assert_eq!(states(&steering), [State::Down; 2]);
    let complaint = steering.complaint(&PeerId::of_key([1; 32])).unwrap();
    assert_eq!((complaint.target.as_str(), complaint.words.as_str()), ("198.18.0.1", "connection refused"));
    village.silent.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(110)).await;
    assert_eq!(states(&steering), [State::Up; 2]);
    assert!(steering.complaint(&PeerId::of_key([1; 32])).is_none());
    stop.cancel();
    end.cancel();
    running.await.unwrap();
    let probes = village.probes.load(Ordering::Relaxed);
    assert!(probes < 60, "{probes}");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_about_to_stop_tells_others_until_the_end() {
    let village = Arc::default();
    let (mut owner, _links) = owner(&village);
    owner.first_round().await;
    let (steering, stop, end) = (owner.steering(), CancellationToken::new(), CancellationToken::new());
    let mut follow = steering.follow();
    let running = tokio::spawn(owner.run(Pulses::new(), stop.clone(), end.clone()));
    stop.cancel();
    follow.wait_for(|known| known.standings[0].state == State::Draining).await.unwrap();
    end.cancel();
    running.await.unwrap();
}
