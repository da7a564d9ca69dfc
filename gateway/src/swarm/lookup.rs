//! Kademlia as a directory alone: peers are asked who else there is, and nobody is connected to. libp2p's own would connect to
//! whomever an answer names, at all the addresses that it names, and so to whomever a stranger pleases.

use std::task::{Context, Poll, ready};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::kad::{self, Behaviour};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, DialError, DialFailure, FromSwarm, NetworkBehaviour, StreamProtocol,
    THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

/// The name under which peers are looked up by their ids, so that nobody else's table is mixed with ours.
const KADEMLIA: &str = "/open-registry/kad/1.0.0";
/// Twenty peers with eight addresses each.
const LONGEST: usize = 16 * 1024;

/// Asks, and answers.
pub(super) struct Lookup {
    inner: Behaviour<MemoryStore>,
}

/// What was heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// Somebody has named a peer that this gateway is not connected to, and where it may be.
    Of(PeerId, Vec<Multiaddr>),
    /// Anything else: who is connected is known already.
    Nothing,
}

impl Lookup {
    /// A table of peers and nothing else: no records are kept for anybody. Who is in it is put there by hand.
    pub(super) fn new(key: &Keypair) -> Self {
        let own = key.public().to_peer_id();
        let nothing =
            MemoryStoreConfig { max_records: 0, max_provided_keys: 0, ..MemoryStoreConfig::default() };
        let mut config = kad::Config::new(StreamProtocol::new(KADEMLIA));
        config.set_kbucket_inserts(kad::BucketInserts::Manual);
        config.set_record_filtering(kad::StoreInserts::FilterBoth);
        config.set_max_packet_size(LONGEST);
        let mut inner = Behaviour::with_config(own, MemoryStore::with_config(own, nothing), config);
        // Nobody else can tell whether this gateway is reached from outside; those who cannot reach it fail once.
        inner.set_mode(Some(kad::Mode::Server));
        Self { inner }
    }

    /// A peer is at these addresses, and at no others.
    pub(super) fn put(&mut self, peer: PeerId, addresses: impl IntoIterator<Item = Multiaddr>) {
        self.inner.remove_peer(&peer);
        for address in addresses {
            self.inner.add_address(&peer, address);
        }
    }

    /// A peer is not there any more.
    pub(super) fn remove(&mut self, peer: &PeerId) {
        self.inner.remove_peer(peer);
    }

    /// Asks those who are connected for whom they know near to this id.
    pub(super) fn look_up(&mut self, near: PeerId) {
        self.inner.get_closest_peers(near);
    }

    /// Where somebody may be to whom libp2p would connect; it is told that this failed, so that it goes on with others.
    fn instead_of_dialling(&mut self, peer: PeerId, connection_id: ConnectionId) -> Heard {
        let known =
            self.inner.handle_pending_outbound_connection(connection_id, Some(peer), &[], Endpoint::Dialer);
        let failed = DialFailure { peer_id: Some(peer), error: &DialError::Aborted, connection_id };
        self.inner.on_swarm_event(FromSwarm::DialFailure(failed));
        Heard::Of(peer, known.unwrap_or_default())
    }
}

impl NetworkBehaviour for Lookup {
    type ConnectionHandler = <Behaviour<MemoryStore> as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = Heard;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.inner.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Heard, THandlerInEvent<Self>>> {
        let wanted = ready!(self.inner.poll(cx));
        Poll::Ready(match wanted {
            ToSwarm::Dial { opts } => ToSwarm::GenerateEvent(match opts.get_peer_id() {
                Some(peer) => self.instead_of_dialling(peer, opts.connection_id()),
                None => Heard::Nothing,
            }),
            other => other.map_out(|_| Heard::Nothing),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::super::address;
    use super::*;

    #[test]
    fn whoever_is_named_is_heard_of_and_nobody_is_dialled() {
        let mut lookup = Lookup::new(&Keypair::generate_ed25519());
        let named: Vec<_> = (0..40).map(|_| Keypair::generate_ed25519().public().to_peer_id()).collect();
        let address: Multiaddr = "/ip4/192.0.2.7/tcp/6738".parse().unwrap();
        for peer in &named {
            lookup.put(*peer, [address.clone()]);
        }
        lookup.look_up(PeerId::random());

        let mut context = Context::from_waker(Waker::noop());
        let mut heard = Vec::new();
        while let Poll::Ready(wanted) = lookup.poll(&mut context) {
            match wanted {
                ToSwarm::GenerateEvent(Heard::Of(peer, addresses)) => heard.push((peer, addresses)),
                ToSwarm::Dial { opts } => panic!("{opts:?}"),
                _ => {}
            }
        }
        assert!(!heard.is_empty());
        for (peer, addresses) in heard {
            let leads_there = |one: &Multiaddr| address::place(one) == address::place(&address);
            assert!(named.contains(&peer) && addresses.iter().all(leads_there), "{addresses:?}");
        }
    }
}
