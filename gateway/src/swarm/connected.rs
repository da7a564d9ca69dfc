//! Whom this gateway is connected to, and by which connections.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use libp2p::swarm::ConnectionId;
use resolver::bucket::Bucket;
use resolver::card::Card;
use resolver::peer::PeerId;
use tokio::time::Instant;

use super::address::Carrier;
use super::bulletin::Kind;
use super::vicinity::Vicinity;
use super::{Neighbour, Neighbours};

/// All of them; as many as connections are allowed.
#[derive(Debug, Default)]
pub(super) struct Connected {
    peers: BTreeMap<PeerId, Peer>,
}

#[derive(Debug)]
struct Peer {
    connections: Vec<Connection>,
    /// As it was said.
    card: Option<Card>,
    since: Instant,
    /// When it was last asked for its card, and whether the stream lasts.
    asked: Option<(Instant, bool)>,
    /// Where it says that it listens, and whether that was looked at.
    listens: (Vec<(SocketAddr, Carrier)>, bool),
    /// What it may still say to all: lists of peers, and heads.
    words: Bucket,
    heads: Bucket,
}

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    address: IpAddr,
    /// Until when it has to give a sign of life.
    until: Instant,
}

/// A new connection may take so long to answer its first ping, on a machine that is busy with a hundred others ...
const FIRST_ANSWER: Duration = Duration::from_secs(15);
/// ... and then so long: three pings.
const ANSWER: Duration = Duration::from_secs(6);
/// By then a peer has said who it is, also on a machine that is busy with a hundred other handshakes.
const INTRODUCED: Duration = Duration::from_secs(20);
/// Between two streams for cards with one peer: the second is needed when the connection of the first has ended.
const ASKED_AGAIN: Duration = Duration::from_secs(2);
/// The same with one who has not said anything yet: where two have dialled each other, one of the connections ends at once, and may
/// be the one by which it was asked.
const ASKED_SOON: Duration = Duration::from_millis(200);
/// What one peer may say to all: home's list changes when its operator changes something, and each is heard of each peer once.
const WORDS: f64 = 20.0;
const WORDS_A_SECOND: f64 = 0.2;
/// The same of heads: a gateway signs one a second at most, and may pass on its own and that of a home that both follow.
const HEADS: f64 = 60.0;
const HEADS_A_SECOND: f64 = 2.0;

impl Connected {
    /// A connection has been made.
    pub(super) fn add(&mut self, id: PeerId, connection: ConnectionId, address: IpAddr) {
        let peer = self.peers.entry(id).or_insert_with(|| Peer {
            connections: Vec::new(),
            card: None,
            since: Instant::now(),
            asked: None,
            listens: (Vec::new(), true),
            words: Bucket::full(WORDS_A_SECOND, WORDS, Duration::ZERO),
            heads: Bucket::full(HEADS_A_SECOND, HEADS, Duration::ZERO),
        });
        let until = Instant::now() + FIRST_ANSWER;
        peer.connections.push(Connection { id: connection, address, until });
    }

    /// One has ended. True when it was the last.
    pub(super) fn remove(&mut self, id: &PeerId, connection: ConnectionId) -> bool {
        let Some(peer) = self.peers.get_mut(id) else { return false };
        peer.connections.retain(|one| one.id != connection);
        let gone = peer.connections.is_empty();
        if gone {
            self.peers.remove(id);
        }
        gone
    }

    /// A connection has given a sign of life.
    pub(super) fn answered(&mut self, id: &PeerId, connection: ConnectionId) {
        let all = self.peers.get_mut(id).map(|peer| peer.connections.iter_mut());
        if let Some(one) = all.into_iter().flatten().find(|one| one.id == connection) {
            one.until = Instant::now() + ANSWER;
        }
    }

    /// Connections that have given none for too long.
    pub(super) fn dead(&self) -> Vec<ConnectionId> {
        let now = Instant::now();
        let all = self.peers.values().flat_map(|peer| &peer.connections);
        all.filter(|one| one.until <= now).map(|one| one.id).collect()
    }

    /// The peer has said this. What it says for others is left out; how many such things it said is returned.
    pub(super) fn said(&mut self, id: &PeerId, card: Card) -> usize {
        let Some(peer) = self.peers.get_mut(id) else { return 0 };
        let foreign = card.clone().keep_own_urls(&peer.addresses());
        peer.card = Some(card);
        foreign
    }

    /// No more cards come on the stream that they came on.
    pub(super) fn fell_silent(&mut self, id: &PeerId) {
        if let Some((_, lasts)) = self.peers.get_mut(id).and_then(|peer| peer.asked.as_mut()) {
            *lasts = false;
        }
    }

    /// Who is to be asked for its card now.
    pub(super) fn unasked(&mut self) -> Vec<PeerId> {
        let now = Instant::now();
        let pause = |peer: &Peer| if peer.card.is_some() { ASKED_AGAIN } else { ASKED_SOON };
        let due = |peer: &Peer| peer.asked.is_none_or(|(when, lasts)| !lasts && now - when >= pause(peer));
        let due = self.peers.iter_mut().filter(|(_, peer)| due(peer));
        due.map(|(id, peer)| {
            peer.asked = Some((now, true));
            *id
        })
        .collect()
    }

    /// It says that it listens there.
    pub(super) fn listens(&mut self, id: &PeerId, places: Vec<(SocketAddr, Carrier)>) {
        if let Some(peer) = self.peers.get_mut(id).filter(|peer| peer.listens.0 != places) {
            peer.listens = (places, false);
        }
    }

    /// Who has said who it is and newly where it listens; of that, what its connections come from. Said once.
    pub(super) fn moved(&mut self) -> Vec<(PeerId, Vec<(SocketAddr, Carrier)>)> {
        let moved = self.peers.iter_mut().filter(|(_, peer)| peer.card.is_some() && !peer.listens.1);
        moved
            .map(|(id, peer)| {
                peer.listens.1 = true;
                let own = peer.addresses();
                let places =
                    peer.listens.0.iter().filter(|(place, _)| own.contains(&place.ip().to_canonical()));
                (*id, places.copied().collect())
            })
            .collect()
    }

    /// It says something that is for all. False when it has said too much.
    pub(super) fn may_say(&mut self, id: &PeerId, kind: Kind) -> bool {
        let Some(peer) = self.peers.get_mut(id) else { return false };
        let now = peer.since.elapsed();
        let bucket = match kind {
            Kind::Directory => &mut peer.words,
            Kind::Head => &mut peer.heads,
        };
        bucket.spend(1.0, now);
        bucket.debt(now) <= 0.0
    }

    /// Whether all who are connected are in the networks around.
    pub(super) fn all_near(&self, vicinity: &Vicinity) -> bool {
        self.peers.values().flat_map(|peer| &peer.connections).all(|one| vicinity.is_near(one.address))
    }

    /// How many are connected.
    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    /// The newest of the largest crowd that comes from one place, where more than one does; nobody of `kept`.
    pub(super) fn of_largest_crowd(&self, kept: &BTreeSet<PeerId>) -> Option<PeerId> {
        let mut crowds: BTreeMap<IpAddr, Vec<(Instant, PeerId)>> = BTreeMap::new();
        for (id, peer) in self.peers.iter().filter(|(id, _)| !kept.contains(id)) {
            let place = peer.connections.first().map(|one| resolver::links::one_client(one.address));
            crowds.entry(place?).or_default().push((peer.since, *id));
        }
        let largest = crowds.into_values().max_by_key(Vec::len).filter(|crowd| crowd.len() > 1)?;
        largest.into_iter().max().map(|(_, id)| id)
    }

    /// Who has not said for too long who he is.
    pub(super) fn silent(&self) -> Vec<PeerId> {
        let is_silent = |peer: &Peer| peer.card.is_none() && peer.since.elapsed() >= INTRODUCED;
        self.peers.iter().filter(|(_, peer)| is_silent(peer)).map(|(id, _)| *id).collect()
    }

    /// Whether it has said who it is.
    pub(super) fn is_ours(&self, id: &PeerId) -> bool {
        self.peers.get(id).is_some_and(|peer| peer.card.is_some())
    }

    /// An address of it.
    pub(super) fn address(&self, id: &PeerId) -> Option<IpAddr> {
        self.peers.get(id).and_then(|peer| peer.addresses().first().copied())
    }

    /// Whether one of them is at this address.
    pub(super) fn is_at(&self, address: IpAddr) -> bool {
        self.peers.values().flat_map(|peer| &peer.connections).any(|one| one.address == address)
    }

    /// Connections from what counts as one client.
    pub(super) fn from(&self, client: IpAddr) -> usize {
        let all = self.peers.values().flat_map(|peer| &peer.connections);
        all.filter(|one| resolver::links::one_client(one.address) == client).count()
    }

    /// All who are connected, gateways or not.
    pub(super) fn ids(&self) -> Vec<PeerId> {
        self.peers.keys().copied().collect()
    }

    /// For everybody else: those who have said who they are.
    pub(super) fn neighbours(&self, vicinity: &Vicinity) -> Neighbours {
        let of = |(id, peer): (&PeerId, &Peer)| {
            let addresses = peer.addresses();
            let mut card = peer.card.clone()?;
            card.keep_own_urls(&addresses);
            let near = addresses.iter().any(|address| vicinity.is_near(*address));
            Some((*id, Neighbour { addresses, near, card: Some(card), since: peer.since }))
        };
        self.peers.iter().filter_map(of).collect()
    }
}

impl Peer {
    fn addresses(&self) -> Vec<IpAddr> {
        let mut addresses: Vec<_> = self.connections.iter().map(|one| one.address).collect();
        addresses.sort();
        addresses.dedup();
        addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(nth: u8) -> PeerId {
        PeerId::of_key([nth; 32])
    }

    fn add(connected: &mut Connected, nth: u8, address: &str) {
        connected.add(peer(nth), ConnectionId::new_unchecked(usize::from(nth)), address.parse().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_crowd_the_newest_goes_and_who_comes_alone_stays() {
        let (mut connected, nobody) = (Connected::default(), BTreeSet::new());
        add(&mut connected, 1, "192.0.2.1");
        add(&mut connected, 2, "192.0.2.2");
        assert_eq!(connected.of_largest_crowd(&nobody), None);
        for nth in 10..14 {
            tokio::time::advance(Duration::from_secs(1)).await;
            add(&mut connected, nth, &format!("2001:db8::{nth}"));
        }
        add(&mut connected, 3, "192.0.2.2");
        assert_eq!(connected.of_largest_crowd(&nobody), Some(peer(13)));
        let named = (10..14).map(peer).collect();
        assert_eq!(connected.of_largest_crowd(&named), Some(peer(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn where_a_peer_listens_counts_once_it_is_one_of_ours_and_where_it_comes_from() {
        let mut connected = Connected::default();
        add(&mut connected, 1, "192.0.2.1");
        let place = |text: &str| (text.parse().unwrap(), Carrier::Tcp);
        let said = vec![place("192.0.2.1:6738"), place("192.0.2.9:9100")];
        connected.listens(&peer(1), said.clone());
        assert!(connected.moved().is_empty(), "it has said no card");
        let card =
            Card { version: "1".into(), urls: vec![], online: true, shares: true, sequence: 1, home: None };
        connected.said(&peer(1), card);
        assert_eq!(connected.moved(), [(peer(1), vec![said[0]])]);
        connected.listens(&peer(1), said);
        assert!(connected.moved().is_empty(), "it says nothing new");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_not_said_who_it_is_is_asked_again_soon() {
        let mut connected = Connected::default();
        add(&mut connected, 1, "192.0.2.1");
        assert_eq!(connected.unasked(), [peer(1)]);
        connected.fell_silent(&peer(1));
        assert!(connected.unasked().is_empty(), "at once");
        tokio::time::advance(ASKED_SOON).await;
        assert_eq!(connected.unasked(), [peer(1)]);
        tokio::time::advance(ASKED_AGAIN).await;
        assert!(connected.unasked().is_empty(), "it is still being asked");
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_too_much_is_heard_no_more() {
        let mut connected = Connected::default();
        add(&mut connected, 1, "192.0.2.1");
        let mut taken = |kind| (0..1000).filter(|_| connected.may_say(&peer(1), kind)).count();
        let (lists, heads) = (taken(Kind::Directory), taken(Kind::Head));
        assert!((10..=30).contains(&lists), "{lists}");
        assert!((30..=90).contains(&heads), "{heads}");
        assert!(!connected.may_say(&peer(2), Kind::Head), "nobody");
    }
}
