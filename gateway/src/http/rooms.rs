//! Who is sent blocks at once: so many in all, and so many of one client, so that whoever reads slowly keeps nobody out.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use resolver::links::one_client;
use resolver::peer::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::shares::{Share, Shares};

/// Blocks and CARs that are being sent. Each has one block in memory, 1 MiB at most, and what a CAR remembers of those that it has
/// sent, as much again.
const AT_ONCE: usize = 32;
/// To one client. Helia asks for some blocks at once.
const OF_ONE: usize = 8;
/// The same for gateways that follow this one, or the same home: an install there asks for 24 packuments at once.
const PEERS_AT_ONCE: usize = 96;
const OF_ONE_PEER: usize = 32;

/// All places.
pub(super) struct Rooms {
    places: Arc<Semaphore>,
    ones: Shares<IpAddr>,
    peers_places: Arc<Semaphore>,
    peers: Shares<PeerId>,
}

/// Who is sent blocks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Client {
    /// Where he is; `None`: a proxy does not say.
    pub(super) address: Option<IpAddr>,
    /// The gateway that it is, as its connection proves.
    pub(super) peer: Option<PeerId>,
}

/// One place, until it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    _place: OwnedSemaphorePermit,
    _one: One,
}

#[derive(Debug)]
enum One {
    Client(#[expect(dead_code, reason = "it is held")] Share<IpAddr>),
    Peer(#[expect(dead_code, reason = "it is held")] Share<PeerId>),
}

impl Rooms {
    /// None is taken.
    pub(super) fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            ones: Shares::new(OF_ONE),
            peers_places: Arc::new(Semaphore::new(PEERS_AT_ONCE)),
            peers: Shares::new(OF_ONE_PEER),
        }
    }

    /// A place for this client; `None`: it has its share, or all are taken.
    pub(super) fn enter(&self, client: Client) -> Option<Room> {
        // Those whom a proxy does not tell apart are one.
        let address = client.address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), one_client);
        let (one, places) = match client.peer {
            Some(peer) => (One::Peer(self.peers.enter(peer)?), &self.peers_places),
            None => (One::Client(self.ones.enter(address)?), &self.places),
        };
        let place = Arc::clone(places).try_acquire_owned().ok()?;
        Some(Room { _place: place, _one: one })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_leaves_places_for_others_and_all_together_have_so_many() {
        let rooms = Rooms::new();
        let client = |nth: u8| Client { address: Some(IpAddr::from([192, 0, 2, nth])), peer: None };
        let mut taken: Vec<_> = (0..100).filter_map(|_| rooms.enter(client(1))).collect();
        assert_eq!(taken.len(), OF_ONE);
        taken.extend((2..100).filter_map(|nth| rooms.enter(client(nth))));
        assert_eq!(taken.len(), AT_ONCE);
        let peer = Client { peer: Some(PeerId::of_key([1; 32])), ..client(1) };
        let peers: Vec<_> = (0..100).filter_map(|_| rooms.enter(peer)).collect();
        assert_eq!(peers.len(), OF_ONE_PEER, "peers have places of their own");
        taken.clear();
        assert!(rooms.enter(client(1)).is_some() && rooms.enter(Client::default()).is_some());
    }
}
