//! Whom this gateway is connected to, and by which connections.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use libp2p::swarm::ConnectionId;
use resolver::card::Card;
use resolver::peer::PeerId;
use tokio::time::Instant;

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

impl Connected {
    /// A connection has been made.
    pub(super) fn add(&mut self, id: PeerId, connection: ConnectionId, address: IpAddr) {
        let peer = self.peers.entry(id).or_insert_with(|| Peer {
            connections: Vec::new(),
            card: None,
            since: Instant::now(),
            asked: None,
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
        let due = |peer: &Peer| peer.asked.is_none_or(|(when, lasts)| !lasts && now - when >= ASKED_AGAIN);
        let due = self.peers.iter_mut().filter(|(_, peer)| due(peer));
        due.map(|(id, peer)| {
            peer.asked = Some((now, true));
            *id
        })
        .collect()
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
