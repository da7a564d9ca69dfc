//! The one task that learns of peers: it has them probed, takes what others have seen, and publishes what is known.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use resolver::health::Outcome;
use resolver::links::Links;
use resolver::peer::PeerId;
use resolver::peers::{Due, Peers, Sighting, Target};
use resolver::rank::Snapshot;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::changes;
use super::complaints::{Complaint, Complaints};
use crate::pulse::Pulses;

/// Sightings that wait for the owner: a moment's worth of probes and of what clients' requests met. What does not fit is
/// lost; it is seen again.
const WAITING: usize = 4096;
/// Probes under way: 10,000 peers at one every 10 s, each of them slow, are as many.
const AT_ONCE: usize = 256;
/// Between two publications: at 10,000 peers one takes milliseconds, and nobody sees more than this.
const PUBLISHED: Duration = Duration::from_millis(100);
/// How often it is looked at who is getting clients back, whose quarantine is over, and whether upstream answers.
const LOOK: Duration = Duration::from_secs(1);
/// Upstream is not asked more often whether it is this gateway that is cut off.
const DOUBTED: Duration = Duration::from_secs(5);
/// The longest that a start waits for the first round of probes.
const FIRST_ROUND: Duration = Duration::from_secs(5);

/// What a probe has found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// The peer has proved who it is.
    Passed {
        /// How busy it says it is: 0 to 1.
        load: f32,
        /// It takes clients, or is about to stop.
        accepting: bool,
    },
    /// It has not, and why.
    Failed(String),
    /// Somebody else is there, and who.
    Deceived(String),
}

/// Whoever makes probes.
pub trait Probe: Send + Sync + 'static {
    /// Looks whether a peer answers where it is said to, as clients would come.
    fn probe(&self, due: Due) -> impl Future<Output = Found> + Send;
}

/// What is known of peers, for everybody who asks. Cheap to clone.
#[derive(Clone)]
pub struct Steering {
    known: watch::Receiver<Arc<Snapshot>>,
    sightings: mpsc::Sender<Sighting>,
    complaints: Complaints,
}

/// The task.
pub struct Owner<P> {
    peers: Peers,
    started: Instant,
    probe: Arc<P>,
    places: Arc<Semaphore>,
    publish: watch::Sender<Arc<Snapshot>>,
    published: Instant,
    steering: Steering,
    sightings: mpsc::Receiver<Sighting>,
    links: watch::Receiver<Arc<Links>>,
    /// What was published was still to change by itself.
    moving: bool,
    /// When upstream was last doubted.
    doubted: Option<Instant>,
    own: Box<dyn Own>,
}

/// What the owner has to know of this gateway itself.
pub trait Own: Send + 'static {
    /// Whether upstream answers, as far as is known.
    fn reaches_upstream(&self) -> bool;
    /// Several peers have fallen silent at once: whether upstream answers is to be looked at now.
    fn doubt_upstream(&self);
    /// How busy this gateway is: 0 to 1.
    fn load(&self) -> f32;
}

impl Steering {
    /// What is known now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.known.borrow())
    }

    /// What is known, whenever that changes.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.known.clone()
    }

    /// Something was seen. Never waits.
    pub fn learn(&self, sighting: Sighting) {
        // What does not fit is seen again.
        let _ = self.sightings.try_send(sighting);
    }

    /// Something was seen that must not be lost. Waits while the owner is busy.
    pub async fn tell(&self, sighting: Sighting) {
        // The owner has gone when this fails.
        let _ = self.sightings.send(sighting).await;
    }

    /// What was wrong with a peer when it was last probed, if anything was: with the first of its addresses that failed.
    #[must_use]
    pub fn complaint(&self, id: &PeerId) -> Option<Complaint> {
        self.complaints.of(id)
    }

    fn is_admitted(&self, id: PeerId) -> bool {
        let snapshot = self.snapshot();
        snapshot.table.candidates().iter().any(|one| one.id == Some(id) && one.admitted)
    }
}

impl<P: Probe> Owner<P> {
    /// Nobody is known but who is told of here.
    pub fn new(
        probe: P,
        told: impl IntoIterator<Item = Sighting>,
        links: watch::Receiver<Arc<Links>>,
        own: impl Own,
    ) -> Self {
        let started = Instant::now();
        let mut peers = Peers::new(Duration::ZERO);
        peers.learn(Sighting::Links(Links::clone(&links.borrow())), Duration::ZERO);
        for sighting in told {
            peers.learn(sighting, Duration::ZERO);
        }
        let (publish, known) = watch::channel(Arc::new(peers.snapshot(Duration::ZERO)));
        let (sender, sightings) = mpsc::channel(WAITING);
        let steering = Steering { known, sightings: sender, complaints: Complaints::default() };
        Self {
            peers,
            started,
            probe: Arc::new(probe),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            publish,
            published: started,
            steering,
            sightings,
            links,
            moving: true,
            doubted: None,
            own: Box::new(own),
        }
    }

    /// For everybody else.
    #[must_use]
    pub fn steering(&self) -> Steering {
        self.steering.clone()
    }

    /// Looks at everybody once, so that the first client is not told somebody who is down. It takes 5 s at most.
    pub async fn first_round(&mut self) {
        let round = async {
            while !self.peers.is_first_round_over(self.now()) {
                self.turn().await;
            }
        };
        if timeout(FIRST_ROUND, round).await.is_err() {
            tracing::warn!("some peers have not answered yet; nobody is sent to them until they do");
        }
        self.publish();
    }

    /// Learns until `stop`, and then once more that this gateway takes nobody any more.
    pub async fn run(mut self, pulses: Pulses, stop: CancellationToken, end: CancellationToken) {
        let pulse = pulses.add("peers");
        while stop.run_until_cancelled(pulse.during(self.turn())).await.is_some() {}
        self.learn(Sighting::Own { accepting: false, load: 0.0 });
        self.publish();
        while end.run_until_cancelled(pulse.during(self.turn())).await.is_some() {}
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// One look: whoever is to be probed is, and whatever was seen until the next one is learned.
    async fn turn(&mut self) {
        for due in self.peers.due(self.now()) {
            self.send_out(due);
        }
        let next = self.peers.next_due().map_or(LOOK, |due| due.saturating_sub(self.now()).min(LOOK));
        let next = Instant::now() + next;
        let mut dirty = tokio::select! {
            seen = self.sightings.recv() => seen.is_some_and(|seen| self.learn(seen)),
            changed = self.links.changed() => {
                let links = Links::clone(&self.links.borrow_and_update());
                changed.is_ok() && self.learn(Sighting::Links(links))
            }
            // What has come to its end since the last publication is published once more.
            () = sleep_until(next) => self.moving | self.look(),
        };
        dirty |= self.learn(Sighting::Upstream(self.own.reaches_upstream()));
        if dirty {
            self.gather().await;
            self.publish();
        }
    }

    /// What only time tells. True when that may change an answer.
    fn look(&mut self) -> bool {
        let now = self.now();
        self.peers.note_told(now);
        // In tenths: what is published does not follow every breath.
        let load = (self.own.load() * 10.0).round() / 10.0;
        let busier = self.learn(Sighting::Own { accepting: true, load });
        let is_doubtful = self.peers.suspects_disconnection(now)
            && self.doubted.is_none_or(|when| when.elapsed() >= DOUBTED);
        if is_doubtful {
            self.doubted = Some(Instant::now());
            self.own.doubt_upstream();
        }
        busier | self.peers.is_moving(now)
    }

    /// What comes in the next moment is published together with what has come.
    async fn gather(&mut self) {
        let until = self.published + PUBLISHED;
        loop {
            tokio::select! {
                seen = self.sightings.recv() => match seen {
                    Some(seen) => { self.learn(seen); }
                    None => return,
                },
                () = sleep_until(until) => return,
            }
        }
    }

    fn learn(&mut self, sighting: Sighting) -> bool {
        self.steering.complaints.reconsider(&sighting);
        self.peers.learn(sighting, self.now())
    }

    fn publish(&mut self) {
        let now = self.now();
        self.published = Instant::now();
        self.moving = self.peers.is_moving(now);
        let was_holding = self.peers.is_holding(now);
        let snapshot = Arc::new(self.peers.snapshot(now));
        let before = self.publish.send_replace(Arc::clone(&snapshot));
        changes::tell(&before, &snapshot);
        if self.peers.is_holding(now) && !was_holding {
            tracing::error!(
                "half of all peers and upstream fell silent at once: this gateway seems to be cut off; for a minute peers \
                 are taken for what they were"
            );
        }
    }

    fn send_out(&self, due: Due) {
        let (probe, places, steering) =
            (Arc::clone(&self.probe), Arc::clone(&self.places), self.steering.clone());
        tokio::spawn(async move {
            // The semaphore is never closed.
            let _place = places.acquire().await;
            let (id, target, limit) = (due.id, due.target.clone(), due.timeout);
            let found = timeout(limit, probe.probe(due)).await;
            let found = found.unwrap_or_else(|_| Found::Failed(format!("no answer within {limit:?}")));
            steering.found(id, target, found).await;
        });
    }
}

impl Steering {
    /// A probe's outcome is not lost: nobody else would ever end it.
    async fn found(&self, id: PeerId, target: Target, found: Found) {
        let place = match &target {
            Target::Address(address) => address.to_string(),
            Target::Url(url) => url.clone(),
        };
        let complaint = |words| Complaint { target: place, words };
        let (outcome, complaint) = match found {
            Found::Passed { load, accepting } => (Outcome::Passed { load, accepting }, None),
            Found::Failed(words) => (Outcome::Failed, Some(complaint(words))),
            Found::Deceived(words) => (Outcome::Deceived, Some(complaint(words))),
        };
        self.complaints.take(id, target.clone(), complaint, || self.is_admitted(id));
        self.tell(Sighting::Met(id, target, outcome)).await;
    }
}

#[cfg(test)]
mod tests;
