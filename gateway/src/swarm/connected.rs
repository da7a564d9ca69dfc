//! Whom this gateway is connected to, and by which connections.

use std::collections::BTreeMap;
use std::net::IpAddr;

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
    connections: Vec<(ConnectionId, IpAddr)>,
    /// As it was said.
    card: Option<Card>,
    since: Instant,
    /// When it was last asked for its card, and whether the stream lasts.
    asked: Option<(Instant, bool)>,
}

/// Between two streams for cards with one peer: the second is needed when the connection of the first has ended.
const ASKED_AGAIN: std::time::Duration = std::time::Duration::from_secs(2);

impl Connected {
    /// A connection has been made.
    pub(super) fn add(&mut self, id: PeerId, connection: ConnectionId, address: IpAddr) {
        let peer = self.peers.entry(id).or_insert_with(|| Peer {
            connections: Vec::new(),
            card: None,
            since: Instant::now(),
            asked: None,
        });
        peer.connections.push((connection, address));
    }

    /// One has ended. True when it was the last.
    pub(super) fn remove(&mut self, id: &PeerId, connection: ConnectionId) -> bool {
        let Some(peer) = self.peers.get_mut(id) else { return false };
        peer.connections.retain(|(one, _)| *one != connection);
        let gone = peer.connections.is_empty();
        if gone {
            self.peers.remove(id);
        }
        gone
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
        self.peers.values().flat_map(|peer| &peer.connections).any(|(_, one)| *one == address)
    }

    /// Connections from what counts as one client.
    pub(super) fn from(&self, client: IpAddr) -> usize {
        let all = self.peers.values().flat_map(|peer| &peer.connections);
        all.filter(|(_, address)| resolver::links::one_client(*address) == client).count()
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
        let mut addresses: Vec<_> = self.connections.iter().map(|(_, address)| *address).collect();
        addresses.sort();
        addresses.dedup();
        addresses
    }
}
