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
    /// Upstream does not answer; the latch has noticed; how often it was doubted; how busy this gateway is, in percent.
    cut_off: AtomicBool,
    noticed: AtomicBool,
    doubts: AtomicUsize,
    load: AtomicUsize,
}

/// The gateway in the village.
struct Here(Arc<Village>);

impl Own for Here {
    fn reaches_upstream(&self) -> bool {
        !self.0.noticed.load(Ordering::Relaxed)
    }

    fn doubt_upstream(&self) {
        self.0.doubts.fetch_add(1, Ordering::Relaxed);
        self.0.noticed.store(self.0.cut_off.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    fn load(&self) -> f32 {
        self.0.load.load(Ordering::Relaxed) as f32 / 100.0
    }
}

/// An owner that runs, and what it publishes.
async fn running(village: &Arc<Village>) -> (Steering, watch::Sender<Arc<Links>>) {
    let (mut owner, links) = owner(village);
    owner.first_round().await;
    let (steering, never) = (owner.steering(), CancellationToken::new());
    tokio::spawn(owner.run(Pulses::new(), never.clone(), never));
    (steering, links)
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
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
    (Owner::new(Visitor(Arc::clone(village)), [peer(1), peer(2)], watched, Here(Arc::clone(village))), links)
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

#[tokio::test(start_paused = true)]
async fn a_gateway_is_settled_ten_minutes_after_its_start_whether_or_not_anything_happens() {
    let (_links, watched) = watch::channel(Arc::default());
    for peers in [Vec::new(), vec![peer(1), peer(2)]] {
        let mut owner = Owner::new(Visitor(Arc::default()), peers, watched.clone(), Here(Arc::default()));
        owner.first_round().await;
        let (steering, never) = (owner.steering(), CancellationToken::new());
        tokio::spawn(owner.run(Pulses::new(), never.clone(), never));
        pass(590).await;
        assert!(!steering.snapshot().settled);
        pass(15).await;
        assert!(steering.snapshot().settled);
    }
}

#[tokio::test(start_paused = true)]
async fn a_quarantine_ends_by_itself() {
    let village: Arc<Village> = Arc::default();
    let (steering, _links) = running(&village).await;
    pass(700).await;
    steering.learn(Sighting::Caught(PeerId::of_key([1; 32]), resolver::peers::Offence::WrongBytes));
    let is_free = |steering: &Steering| steering.snapshot().standings[1].quarantined_s.is_none();
    pass(1).await;
    assert!(!is_free(&steering));
    pass(3600).await;
    assert!(is_free(&steering));
}

#[tokio::test(start_paused = true)]
async fn who_has_recovered_gets_all_of_its_clients_in_the_end() {
    let village: Arc<Village> = Arc::default();
    let (steering, _links) = running(&village).await;
    pass(700).await;
    village.silent.store(true, Ordering::Relaxed);
    pass(40).await;
    village.silent.store(false, Ordering::Relaxed);
    pass(110).await;
    let all =
        steering.snapshot().standings[1..].iter().all(|one| one.state == State::Up && one.weight == 1.0);
    assert!(all, "{:?}", steering.snapshot().standings);
}

#[tokio::test(start_paused = true)]
async fn a_disconnection_is_noticed_without_a_client_and_bridged_for_a_minute() {
    let village: Arc<Village> = Arc::default();
    let (steering, _links) = running(&village).await;
    pass(700).await;
    assert_eq!(village.doubts.load(Ordering::Relaxed), 0);
    for at_once in [&village.silent, &village.cut_off] {
        at_once.store(true, Ordering::Relaxed);
    }
    pass(30).await;
    assert!(village.doubts.load(Ordering::Relaxed) > 0);
    assert_eq!(states(&steering), [State::Suspect; 2], "held");
    pass(70).await;
    assert_eq!(states(&steering), [State::Down; 2], "no longer than a minute");
}

#[tokio::test(start_paused = true)]
async fn peers_that_fall_silent_are_down_where_upstream_answers() {
    let village: Arc<Village> = Arc::default();
    let (steering, _links) = running(&village).await;
    village.silent.store(true, Ordering::Relaxed);
    pass(35).await;
    assert!(village.doubts.load(Ordering::Relaxed) > 0);
    assert_eq!(states(&steering), [State::Down; 2]);
}

#[tokio::test(start_paused = true)]
async fn this_gateway_is_as_busy_as_it_says() {
    let village: Arc<Village> = Arc::default();
    let (steering, _links) = running(&village).await;
    assert!(steering.snapshot().standings[0].load < 0.01);
    village.load.store(97, Ordering::Relaxed);
    pass(3).await;
    assert!((steering.snapshot().standings[0].load - 1.0).abs() < 0.01);
}
