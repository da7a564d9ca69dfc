//! Streams of our own protocols, on connections that are there.
//!
//! libp2p's own behaviour for this is not used: it drops streams that come in the same moment, and has one being opened at a
//! time on each connection, so that a peer that is slow in one thing would hold up all others.

mod handler;
mod line;

use std::collections::{HashMap, VecDeque};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ConnectionEstablished,
};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;

use self::handler::{Handler, Wanted};
pub(super) use self::line::Line;
use super::NoStream;

/// What peers ask who this is and where.
pub(super) const CARD: &str = "/open-registry/card/1";
/// What followers ask for home's list of peers.
pub(super) const DIRECTORY: &str = "/open-registry/directory/1";

/// Where it is said what came of opening a stream.
pub(super) type Done = oneshot::Sender<Result<Line, NoStream>>;

/// A peer has opened a stream.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) peer: PeerId,
    pub(super) protocol: &'static str,
    pub(super) line: Line,
}

/// Opens streams, and takes those that peers open.
pub(super) struct Behaviour {
    protocols: Vec<&'static str>,
    /// As many as connections are allowed.
    connections: HashMap<PeerId, Vec<ConnectionId>>,
    events: VecDeque<ToSwarm<Opened, Wanted>>,
}

impl Behaviour {
    /// For these protocols.
    pub(super) fn new(protocols: Vec<&'static str>) -> Self {
        Self { protocols, connections: HashMap::new(), events: VecDeque::new() }
    }

    /// Opens a stream on the connection with a peer that is there longest.
    pub(super) fn open(&mut self, peer: PeerId, protocol: &'static str, done: Done) {
        let Some(connection) = self.connections.get(&peer).and_then(|all| all.first()) else {
            // Whoever wanted it may have gone.
            let _ = done.send(Err(NoStream::NotConnected));
            return;
        };
        let handler = NotifyHandler::One(*connection);
        self.events.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler,
            event: Wanted { protocol, done },
        });
    }

    fn handler(&self) -> Handler {
        Handler::new(self.protocols.clone())
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Opened;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, connection_id, .. }) => {
                self.connections.entry(peer_id).or_default().push(connection_id);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                if let Some(all) = self.connections.get_mut(&peer_id) {
                    all.retain(|one| *one != connection_id);
                    if all.is_empty() {
                        self.connections.remove(&peer_id);
                    }
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        _: ConnectionId,
        (protocol, line): THandlerOutEvent<Self>,
    ) {
        self.events.push_back(ToSwarm::GenerateEvent(Opened { peer, protocol, line }));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
