use std::sync::Mutex;

use resolver::hedge::{Errand, SoFar};
use resolver::integrity::Integrity;
use resolver::strikes::Fitness;
use tokio::time::sleep;

use super::super::peers::stand_in::{Conduct, OWN, StandIn, id};
use super::*;
use crate::metrics::Metrics;

const MS: fn(u64) -> Duration = Duration::from_millis;
/// What upstream takes for a tarball.
const UPSTREAM: Duration = Duration::from_millis(40);
/// How large one is.
const LENGTH: u64 = 40_000;

/// What a peer does with the n-th request.
#[derive(Debug, Clone, Copy)]
enum Act {
    Gives { after: Duration },
    Silent,
    Trickles { bytes_per_ms: u64 },
    Fails { after: Duration, fault: Fault },
    Declines { after: Duration },
}

async fn act(act: Act, meter: Arc<Meter>) -> Result<&'static str, Miss> {
    let begin = || {
        let head = Some(meter.begun.elapsed());
        meter.learn(|so_far| *so_far = SoFar { head, length: LENGTH, came: 0 });
    };
    match act {
        Act::Gives { after } => {
            sleep(after).await;
            begin();
            Ok("peer")
        }
        Act::Silent => std::future::pending().await,
        Act::Trickles { bytes_per_ms } => {
            begin();
            for _ in 0..LENGTH / bytes_per_ms {
                sleep(MS(1)).await;
                meter.learn(|so_far| so_far.came += bytes_per_ms);
            }
            Ok("peer")
        }
        Act::Fails { after, fault } => {
            sleep(after).await;
            Err(Miss::Fault(fault, "as planned".into()))
        }
        Act::Declines { after } => {
            sleep(after).await;
            Err(Miss::Declined(503))
        }
    }
}

/// One tarball, with whoever is to be asked for it; what gave it, and how long that took.
async fn miss(stand_in: &StandIn, number: u64, acts: impl Fn(&Source) -> Act) -> (&'static str, Duration) {
    let integrity = Integrity::of(&number.to_be_bytes());
    let wanted = stand_in.peers.wanted(integrity, None).unwrap();
    let (begun, alone) = (Instant::now(), CancellationToken::new());
    let sources = stand_in.peers.sources(&wanted, true);
    let upstream = async {
        sleep(UPSTREAM).await;
        stand_in.peers.upstream_gave(LENGTH, UPSTREAM / 2, UPSTREAM);
        Ok::<_, ()>("upstream")
    };
    let ask = |source: Source, meter| act(acts(&source), meter);
    let won = run(&stand_in.peers, sources, &alone, ask, upstream).await.unwrap();
    (won, begun.elapsed())
}

fn tarballs(count: u64) -> Vec<Integrity> {
    (0..count).map(|number| Integrity::of(&number.to_be_bytes())).collect()
}

/// The times of a thousand misses, one every 20 ms, with one peer that says that it has everything.
async fn thousand(acts: impl Fn(u64) -> Act) -> (StandIn, Vec<(&'static str, Duration)>) {
    let stand_in = StandIn::new(Vec::new(), Arc::new(Metrics::new()));
    stand_in.connect(1, Conduct::Silent, &tarballs(1000));
    let asked = Mutex::new(0);
    let mut times = Vec::new();
    for number in 0..1000 {
        let next = |_: &Source| {
            let mut asked = asked.lock().unwrap();
            *asked += 1;
            acts(*asked)
        };
        times.push(miss(&stand_in, number, next).await);
        sleep(MS(20)).await;
    }
    (stand_in, times)
}

fn p99(times: &[(&str, Duration)]) -> Duration {
    let mut sorted: Vec<_> = times.iter().map(|(_, time)| *time).collect();
    sorted.sort_unstable();
    sorted[sorted.len() * 99 / 100]
}

/// What one does with its n-th request.
type Acts = fn(u64) -> Act;

/// Each bad peer: what it does, and how many misses it may spoil until it has its strikes.
fn bad_peers() -> [(&'static str, Acts); 8] {
    [
        ("silent", |_| Act::Silent),
        ("slow", |_| Act::Trickles { bytes_per_ms: 100 }),
        ("liar", |_| Act::Fails { after: MS(5), fault: Fault::WrongBytes }),
        ("truncating", |_| Act::Fails { after: MS(3), fault: Fault::Unanswered }),
        ("boaster", |_| Act::Fails { after: MS(1), fault: Fault::FalseInventory }),
        ("flapping", |nth| if nth.is_multiple_of(2) { Act::Gives { after: MS(2) } } else { Act::Silent }),
        ("flapping in turns", |nth| if nth % 20 < 10 { Act::Gives { after: MS(2) } } else { Act::Silent }),
        ("sluggish", |_| Act::Gives { after: MS(39) }),
    ]
}

#[tokio::test(start_paused = true)]
#[expect(clippy::print_stdout, reason = "a table for whoever asks for it with --nocapture")]
async fn after_its_strikes_no_peer_makes_the_p99_of_a_miss_worse_by_more_than_10_ms() {
    for (name, acts) in bad_peers() {
        let (_, times) = thousand(acts).await;
        // Three strikes, and what was under way.
        let after = &times[10..];
        let spoilt = after.iter().filter(|(_, time)| *time > UPSTREAM + MS(10)).count();
        println!("{name}: p99 {:?}, without peers {UPSTREAM:?}, {spoilt} of 990 spoilt", p99(after));
        assert!(p99(after) <= UPSTREAM + MS(10), "{name}: {:?}", p99(after));
        let worst = times.iter().map(|(_, time)| *time).max().unwrap();
        assert!(worst <= UPSTREAM + MS(50), "{name}: {worst:?} at worst");
    }
}

#[tokio::test(start_paused = true)]
async fn a_good_peer_serves_every_miss_and_upstream_none() {
    let (stand_in, times) = thousand(|_| Act::Gives { after: MS(3) }).await;
    assert!(times.iter().all(|(source, time)| *source == "peer" && *time == MS(3)));
    assert_eq!(stand_in.peers.standing(&id(1)).strikes, 0);
}

#[tokio::test(start_paused = true)]
async fn who_lies_is_not_asked_again() {
    let (stand_in, times) = thousand(|_| Act::Fails { after: MS(5), fault: Fault::WrongBytes }).await;
    assert_eq!(times.iter().filter(|(_, time)| *time > UPSTREAM).count(), 1);
    assert!(matches!(stand_in.peers.standing(&id(1)).fitness, Fitness::Out(Some(_))));
    assert_eq!(stand_in.seen.lock().unwrap().len(), 1, "and is told of");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_well_again_is_back_after_a_trial() {
    let (_, times) = thousand(|nth| if nth <= 3 { Act::Silent } else { Act::Gives { after: MS(3) } }).await;
    let back = times.iter().rposition(|(source, _)| *source == "upstream").unwrap();
    assert!(back > 100, "it was out for a while: {back}");
    assert!(times[back + 1..].iter().all(|(source, _)| *source == "peer"));
    assert!(times.len() - back > 100, "and came back: {back}");
}

#[tokio::test(start_paused = true)]
async fn while_a_peer_keeps_one_waiting_nobody_else_asks_it() {
    let stand_in = StandIn::new(Vec::new(), Arc::new(Metrics::new()));
    stand_in.connect(1, Conduct::Silent, &tarballs(2));
    let first = miss(&stand_in, 0, |_| Act::Silent);
    let second = async {
        sleep(MS(31)).await;
        let time = miss(&stand_in, 1, |_| panic!("it is overdue")).await;
        assert_eq!(time, ("upstream", UPSTREAM));
    };
    let ((source, time), ()) = tokio::join!(first, second);
    assert_eq!((source, time), ("upstream", MS(30) + UPSTREAM));
}

#[tokio::test(start_paused = true)]
async fn fifty_at_once_are_one_strike_for_a_peer_that_stops_for_a_moment() {
    let stand_in = StandIn::new(Vec::new(), Arc::new(Metrics::new()));
    stand_in.connect(1, Conduct::Silent, &tarballs(50));
    let misses = (0..50).map(|number| miss(&stand_in, number, |_| Act::Silent));
    let times = futures_util::future::join_all(misses).await;
    assert!(times.iter().all(|(_, time)| *time <= MS(30) + UPSTREAM));
    assert_eq!(stand_in.peers.standing(&id(1)).strikes, 1);
}

#[tokio::test(start_paused = true)]
async fn the_next_peer_is_asked_when_the_first_is_overdue_and_upstream_after_the_third() {
    let stand_in = StandIn::new(Vec::new(), Arc::new(Metrics::new()));
    (1..=4).for_each(|number| stand_in.connect(number, Conduct::Silent, &tarballs(1)));
    let asked = Mutex::new(Vec::new());
    let silent = |source: &Source| {
        asked.lock().unwrap().push(source.id);
        Act::Silent
    };
    let (source, time) = miss(&stand_in, 0, silent).await;
    assert_eq!((source, time), ("upstream", MS(90) + UPSTREAM));
    let asked = asked.into_inner().unwrap();
    assert_eq!(asked.len(), 3);
    assert!(
        asked.iter().all(|id| stand_in.peers.standing(id).strikes == 1),
        "each has kept somebody waiting"
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_peer_wins_where_there_is_nobody_else_and_that_is_no_fault() {
    let stand_in = StandIn::new(Vec::new(), Arc::new(Metrics::new()));
    stand_in.connect(1, Conduct::Silent, &tarballs(1));
    let wanted = stand_in.peers.wanted(tarballs(1)[0], None).unwrap();
    let sources = stand_in.peers.sources(&wanted, false);
    let ask = |_, meter| act(Act::Trickles { bytes_per_ms: 10 }, meter);
    let upstream = async { Err::<&str, _>("down") };
    let won = run(&stand_in.peers, sources, &CancellationToken::new(), ask, upstream).await;
    assert_eq!(won, Ok("peer"));
    assert_eq!(stand_in.peers.standing(&id(1)).strikes, 0);
}

#[tokio::test(start_paused = true)]
async fn when_everybody_fails_it_is_upstreams_failure_that_is_told() {
    let stand_in = StandIn::new(Vec::new(), Arc::new(Metrics::new()));
    stand_in.connect(1, Conduct::Silent, &tarballs(1));
    let wanted = stand_in.peers.wanted(tarballs(1)[0], None).unwrap();
    let sources = stand_in.peers.sources(&wanted, false);
    let ask = |_, meter| act(Act::Fails { after: MS(1), fault: Fault::Unanswered }, meter);
    let upstream = async { Err::<&str, _>("down") };
    assert_eq!(run(&stand_in.peers, sources, &CancellationToken::new(), ask, upstream).await, Err("down"));
}

/// Named tarballs that nobody holds; true: the neighbour fetches it for all.
fn shared_by(stand_in: &StandIn, count: u64) -> Vec<(u64, Vec<Source>)> {
    let name = resolver::package::PackageName::parse("left").unwrap();
    let file = resolver::package::FileName::parse("left-1.0.0.tgz").unwrap();
    let sources = (0..count).map(|number| {
        let wanted =
            stand_in.peers.wanted(Integrity::of(&number.to_be_bytes()), Some(&(name.clone(), file.clone())));
        (number, stand_in.peers.sources(&wanted.unwrap(), true))
    });
    sources.collect()
}

#[tokio::test(start_paused = true)]
async fn what_nobody_has_is_fetched_by_one_neighbour_for_all_and_a_lazy_one_has_a_strike() {
    let stand_in = StandIn::new(Vec::new(), Arc::new(Metrics::new()));
    stand_in.connect(1, Conduct::Silent, &[]);
    let shares = shared_by(&stand_in, 100);
    let theirs: Vec<_> = shares.iter().filter(|(_, sources)| !sources.is_empty()).collect();
    assert!((30..70).contains(&theirs.len()), "about half of them: {}", theirs.len());
    assert!(theirs.iter().all(|(_, sources)| sources.len() == 1 && sources[0].errand == Errand::Fetch));
    assert_ne!(id(1), id(OWN));

    let alone = CancellationToken::new();
    let upstream = async {
        sleep(UPSTREAM).await;
        Ok::<_, ()>("upstream")
    };
    let begun = Instant::now();
    let ask = |_, meter| act(Act::Silent, meter);
    let won = run(&stand_in.peers, theirs[0].1.clone(), &alone, ask, upstream).await;
    assert_eq!((won, begun.elapsed()), (Ok("upstream"), MS(1000) + UPSTREAM), "everybody helps himself");
    assert_eq!(stand_in.peers.standing(&id(1)).strikes, 1);
}

#[tokio::test(start_paused = true)]
async fn a_neighbour_that_cannot_fetch_it_has_a_strike_only_if_it_took_long_to_say_so() {
    for (after, strikes) in [(MS(2), 0), (MS(500), 1)] {
        let stand_in = StandIn::new(Vec::new(), Arc::new(Metrics::new()));
        stand_in.connect(1, Conduct::Silent, &[]);
        let shares = shared_by(&stand_in, 100);
        let (_, sources) = shares.into_iter().find(|(_, sources)| !sources.is_empty()).unwrap();
        let upstream = async { Ok::<_, ()>("upstream") };
        let ask = |_, meter| act(Act::Declines { after }, meter);
        assert_eq!(
            run(&stand_in.peers, sources, &CancellationToken::new(), ask, upstream).await,
            Ok("upstream")
        );
        assert_eq!(stand_in.peers.standing(&id(1)).strikes, strikes, "{after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_want_to_wait_for_peers_has_upstream_asked_at_once() {
    let stand_in = StandIn::new(Vec::new(), Arc::new(Metrics::new()));
    stand_in.connect(1, Conduct::Silent, &tarballs(1));
    let wanted = stand_in.peers.wanted(tarballs(1)[0], None).unwrap();
    let sources = stand_in.peers.sources(&wanted, true);
    let alone = CancellationToken::new();
    alone.cancel();
    let begun = Instant::now();
    let upstream = async {
        sleep(MS(5)).await;
        Ok::<_, ()>("upstream")
    };
    let won = run(&stand_in.peers, sources, &alone, |_, meter| act(Act::Silent, meter), upstream).await;
    assert_eq!((won, begun.elapsed()), (Ok("upstream"), MS(5)));
    assert_eq!(stand_in.peers.standing(&id(1)).strikes, 0, "nobody waited for it");
}
