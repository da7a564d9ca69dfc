//! The one task that owns all connections.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use libp2p::Multiaddr;
use resolver::candidates::{Candidates, Source};
use resolver::card::Card;
use resolver::peer::PeerId;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::address::{self, Carrier};
use super::behaviour::Behaviour;
use super::bulletin::Post;
use super::cards::{self, Heard, NotOurs};
use super::connected::Connected;
use super::discovery::Discovery;
use super::speech::Speech;
use super::start::{Own, is_told};
use super::streams::{CARD, Line, Opened};
use super::vicinity::Vicinity;
use super::{Command, Config, Contact, Door, Ends, NoStream, Protocol, Stream, contacts};
use crate::metrics::Metrics;
use crate::pulse::Pulses;

/// libp2p's part.
pub(super) type Shell = libp2p::Swarm<Behaviour>;

/// How often it is looked at who is to be dialled, asked or let in again.
const LOOK: Duration = Duration::from_secs(1);
/// Who is no gateway is left alone for so long; who only did not answer may be busy.
const STRANGER: Duration = Duration::from_secs(600);
const SILENT: Duration = Duration::from_secs(60);
/// Peers that are kept out at once; of more, those that would be let in soonest are let in.
const MOST_BLOCKED: usize = 1024;
/// Things that wait for the task to learn them.
const WAITING: usize = 256;
/// Streams that are being opened for others at once.
const OPENING: usize = 256;
/// Addresses that are told as contacts.
const MOST_CONTACTS: usize = 8;
/// The longest that ending all connections in order may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Both ends of what tasks of this one tell it.
type Channel<T> = (mpsc::Sender<T>, mpsc::Receiver<T>);

/// What others have found out for the task.
#[derive(Debug)]
pub(super) enum Found {
    /// Where a peer that the operator names is.
    Named(PeerId, Vec<(SocketAddr, Carrier)>),
    /// Somebody in the networks around says that a peer is there.
    Near(PeerId, Vec<(SocketAddr, Carrier)>),
    /// The same has taken it back.
    Gone(PeerId),
    /// The operator's DNS says that peers are there, and not who.
    Somebody(Vec<SocketAddr>),
    /// What a peer says that home says.
    Word(PeerId, Vec<u8>),
    /// This one of the posts has something new.
    Said(usize),
}

/// All that the task holds.
pub struct Task {
    pub(super) swarm: Shell,
    pub(super) ends: Ends,
    pub(super) own: PeerId,
    pub(super) connected: Connected,
    pub(super) candidates: Candidates<Multiaddr>,
    pub(super) vicinity: Vicinity,
    pub(super) metrics: Arc<Metrics>,
    /// What is said to all, and by whom.
    pub(super) posts: Vec<Post>,
    /// Whom the operator names, and of whom was complained already.
    pub(super) named: BTreeSet<PeerId>,
    pub(super) complained: BTreeSet<PeerId>,
    pub(super) is_private: bool,
    discovery: Option<Discovery>,
    /// Where the operator's DNS says that peers are.
    pub(super) somewhere: Vec<SocketAddr>,
    /// How often it was looked who is to be dialled.
    pub(super) looked: u64,
    doors: Vec<Door>,
    /// Whether it listens for peers on loopback alone, where none but this machine's own come in.
    is_local: bool,
    card: Box<dyn Fn() -> Card + Send + Sync>,
    said: watch::Sender<Card>,
    /// Whether peers are looked for by libp2p's mDNS, where it can be.
    pub(super) is_multicast: bool,
    /// Streams that were opened before it was known who has.
    pub(super) early: Vec<Opened>,
    /// Who is told our card.
    pub(super) telling: BTreeMap<PeerId, AbortOnDropHandle<()>>,
    /// What strangers make this gateway say in its log.
    pub(super) speech: Speech,
    /// Until when they are kept out.
    blocked: BTreeMap<PeerId, Instant>,
    pub(super) started: Instant,
    heard: Channel<(PeerId, Heard)>,
    found: Channel<Found>,
    opening: Arc<Semaphore>,
}

impl Task {
    pub(super) fn new(
        swarm: Shell,
        ends: Ends,
        config: &Config,
        own: Own,
        vicinity: Vicinity,
        ports: Vec<u16>,
    ) -> Self {
        let (id, is_local) = (own.identity.id(), ports.is_empty());
        let mut candidates = Candidates::new(id);
        let contacts: Vec<&Contact> = config.home.iter().chain(&config.bootstrap).collect();
        for contact in &contacts {
            candidates.seen(contact.id, contact.address.clone(), Source::Contact, Duration::ZERO);
        }
        let found = mpsc::channel(WAITING);
        let discovery = config.discover.then(|| Discovery {
            own: id,
            ports,
            announces: own.announces,
            vicinity: vicinity.clone(),
            found: found.0.clone(),
        });
        Self {
            swarm,
            ends,
            own: id,
            connected: Connected::default(),
            candidates,
            vicinity,
            metrics: own.metrics,
            posts: own.bulletins.posts(),
            named: contacts.iter().map(|contact| contact.id).collect(),
            complained: BTreeSet::new(),
            is_private: config.psk_file.is_some(),
            is_multicast: config.discover && own.announces,
            early: Vec::new(),
            telling: BTreeMap::new(),
            speech: Speech::default(),
            discovery,
            somewhere: Vec::new(),
            doors: own.doors,
            is_local,
            said: watch::channel((own.card)()).0,
            card: own.card,
            blocked: BTreeMap::new(),
            started: Instant::now(),
            heard: mpsc::channel(WAITING),
            found,
            looked: 0,
            opening: Arc::new(Semaphore::new(OPENING)),
        }
    }

    /// Connects. From `stop` on nobody is looked for or told of this gateway any more; at `end` all connections end.
    pub async fn run(mut self, pulses: Pulses, stop: CancellationToken, end: CancellationToken) {
        let pulse = pulses.add("swarm");
        if let Some(discovery) = self.discovery.take() {
            tokio::spawn(discovery.run(stop));
        }
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.watch_bulletins();
        loop {
            pulse.beat();
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(command) = self.ends.commands.recv() => self.obey(command),
                Some((id, heard)) = self.heard.1.recv() => self.on_heard(id, heard),
                Some(found) = self.found.1.recv() => self.on_found(found),
                _ = look.tick() => self.look(),
                () = end.cancelled() => break,
            }
        }
        self.end().await;
    }

    pub(super) fn found_sender(&self) -> mpsc::Sender<Found> {
        self.found.0.clone()
    }

    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// What is done once a second.
    fn look(&mut self) {
        let card = (self.card)();
        self.said.send_if_modified(|said| {
            let changed = *said != card;
            *said = card;
            changed
        });
        self.look_around();
        for connection in self.connected.dead() {
            self.swarm.close_connection(connection);
        }
        for id in self.connected.silent() {
            self.turn_away(id, &NotOurs::Silent);
        }
        self.ask_for_cards();
        self.on_moved();
        self.let_in_again();
        self.dial();
        self.look_further();
        self.looked += 1;
    }

    /// Dials whoever is due.
    pub(super) fn dial(&mut self) {
        for (id, addresses) in self.candidates.due(self.now()) {
            let found = self.found.0.clone();
            if self.named.contains(&id) {
                tokio::spawn(async move {
                    let looked_up = addresses.iter().map(contacts::places);
                    let places = futures_util::future::join_all(looked_up).await.concat();
                    // The swarm has ended when this fails.
                    let _ = found.send(Found::Named(id, places)).await;
                });
            } else {
                self.dial_at(id, addresses);
            }
        }
    }

    /// Says once that a peer that the operator names cannot be connected to.
    pub(super) fn complain(&mut self, id: PeerId, why: &str) {
        if self.named.contains(&id) && self.complained.insert(id) {
            tracing::warn!(peer = %id, "cannot connect to a peer of federation.bootstrap or federation.home, which is tried again until it is there: {why}");
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Open { to, protocol, done } => self.open(to, protocol, done),
            Command::Block { id, pause } => self.block(id, pause),
        }
    }

    fn open(&mut self, to: PeerId, protocol: Protocol, done: oneshot::Sender<Result<Stream, NoStream>>) {
        let (Some(peer), Ok(place)) = (address::peer_of(to), Arc::clone(&self.opening).try_acquire_owned())
        else {
            // Whoever wanted it may have gone; so below.
            let _ = done.send(Err(NoStream::Unavailable));
            return;
        };
        let (opened, opening) = oneshot::channel();
        self.swarm.behaviour_mut().streams.open(peer, protocol.name(), opened);
        tokio::spawn(async move {
            let _place = place;
            let line: Result<Line, _> = opening.await.unwrap_or(Err(NoStream::NotConnected));
            let _ = done.send(line.map(|line| Box::new(line) as Stream));
        });
    }

    /// Keeps a peer out for so long.
    pub(super) fn block(&mut self, id: PeerId, pause: Duration) {
        let Some(peer) = address::peer_of(id) else { return };
        let now = self.now();
        self.candidates.rest(&id, pause, now);
        self.swarm.behaviour_mut().blocked.block_peer(peer);
        self.blocked.insert(id, Instant::now() + pause);
        if self.blocked.len() > MOST_BLOCKED
            && let Some(soonest) = self.blocked.iter().min_by_key(|(_, until)| **until).map(|(id, _)| *id)
        {
            self.let_in(soonest);
        }
    }

    fn let_in_again(&mut self) {
        let now = Instant::now();
        let over: Vec<_> =
            self.blocked.iter().filter(|(_, until)| **until <= now).map(|(id, _)| *id).collect();
        over.into_iter().for_each(|id| self.let_in(id));
    }

    fn let_in(&mut self, id: PeerId) {
        self.blocked.remove(&id);
        if let Some(peer) = address::peer_of(id) {
            self.swarm.behaviour_mut().blocked.unblock_peer(peer);
        }
    }

    /// Asks everybody who has not said yet who he is.
    pub(super) fn ask_for_cards(&mut self) {
        for id in self.connected.unasked() {
            let Some(peer) = address::peer_of(id) else { continue };
            let (opened, opening) = oneshot::channel();
            self.swarm.behaviour_mut().streams.open(peer, CARD, opened);
            tokio::spawn(cards::hear(opening, id, self.heard.0.clone()));
        }
    }

    /// Answers who asks; of two streams of one peer the later counts.
    pub(super) fn tell_card(&mut self, id: PeerId, line: Line) {
        let own = self.connected.address(&id).and_then(super::vicinity::own_address_towards);
        let urls = own.map(|own| cards::urls(&self.doors, own)).unwrap_or_default();
        let telling = tokio::spawn(cards::tell(line, self.said.subscribe(), urls));
        if self.connected.ids().contains(&id) {
            self.telling.insert(id, AbortOnDropHandle::new(telling));
        }
    }

    fn on_heard(&mut self, id: PeerId, heard: Heard) {
        match heard {
            Heard::Card(card) => self.on_card(id, card),
            Heard::End => {
                self.connected.fell_silent(&id);
                self.ask_for_cards();
            }
            Heard::None(why) => self.turn_away(id, &why),
        }
    }

    /// Who is no gateway is left alone, and leaves this one alone.
    pub(super) fn turn_away(&mut self, id: PeerId, why: &NotOurs) {
        if self.connected.ids().contains(&id) {
            tracing::debug!(peer = %id, "a stranger is turned away: {why}");
            self.metrics.peer_refused("stranger");
            self.complain(id, &why.to_string());
            self.block(id, if matches!(why, NotOurs::Silent) { SILENT } else { STRANGER });
        }
    }

    /// Says who is connected, if that has changed.
    pub(super) fn publish(&self) {
        let now = self.connected.neighbours(&self.vicinity);
        self.ends.neighbours.send_if_modified(|known| {
            let changed = **known != now;
            if changed {
                *known = Arc::new(now);
            }
            changed
        });
    }

    /// Says where others reach this gateway. Loopback leads whoever is on another machine to himself.
    pub(super) fn publish_contacts(&self) {
        let all = self.swarm.listeners().filter(|address| is_told(address, self.is_local));
        let mut all: Vec<_> = all.map(|address| Contact { address: address.clone(), id: self.own }).collect();
        all.truncate(MOST_CONTACTS);
        self.ends.contacts.send_replace(all);
    }

    async fn end(&mut self) {
        for id in self.connected.ids() {
            let _ = address::peer_of(id).map(|peer| self.swarm.disconnect_peer_id(peer));
        }
        let all_closed = async {
            while self.swarm.network_info().num_peers() > 0 {
                self.swarm.select_next_some().await;
            }
        };
        // Who does not answer any more sees it by himself.
        let _ = timeout(FAREWELL, all_closed).await;
        self.ends.neighbours.send_replace(Arc::default());
    }
}
