//! What the swarm's task learns from libp2p.

use libp2p::core::ConnectedPoint;
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{identify, kad, ping};
use resolver::candidates::Source;
use resolver::card::Card;
use resolver::links::{Class, one_client};
use resolver::peer::PeerId;

use super::address;
use super::behaviour::{BehaviourEvent, VERSION};
use super::cards::NotOurs;
use super::streams::{CARD, DIRECTORY, Opened};
use super::task::Task;
use super::{Protocol, Stream};

/// Connections from one place outside: a university's gateways may share an address, and nobody needs more.
const MOST_FROM_ONE: usize = 16;
/// Addresses that are read of what a peer says of itself.
const MOST_SAID: usize = 8;

impl Task {
    pub(super) fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_established(&peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
                self.on_closed(&peer_id, connection_id, num_established);
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                self.on_failed(&peer, &error);
            }
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => {
                self.look_around();
                self.publish_contacts();
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::debug!(%error, "a listener for peers failed once");
            }
            SwarmEvent::ListenerClosed { reason: Err(error), .. } => {
                tracing::error!(%error, "peers cannot come in any more by one of federation.listen; start the gateway again");
            }
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Streams(opened) => self.on_opened(opened),
            BehaviourEvent::Ping(ping::Event { peer, connection, result: Ok(_) }) => {
                if let Some(id) = address::id_of(&peer) {
                    self.connected.answered(&id, connection);
                }
            }
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_identified(&peer_id, &info);
            }
            BehaviourEvent::Gossip(event) => self.on_gossip(event),
            BehaviourEvent::MdnsV4(event) | BehaviourEvent::MdnsV6(event) => self.on_multicast(event),
            BehaviourEvent::Kademlia(kad::Event::OutboundQueryProgressed {
                result: kad::QueryResult::GetClosestPeers(found),
                ..
            }) => self.on_looked_up(found),
            _ => {}
        }
    }

    fn on_established(&mut self, peer: &libp2p::PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let place = address::ip(endpoint.get_remote_address());
        let (Some(id), Some(ip)) = (address::id_of(peer), place) else {
            // Its key is none that a gateway has.
            self.swarm.close_connection(connection);
            return;
        };
        let crowded = Class::of(ip) == Class::Public
            && !self.vicinity.is_near(ip)
            && self.connected.from(one_client(ip)) >= MOST_FROM_ONE;
        if crowded {
            self.metrics.peer_refused("crowd");
            self.swarm.close_connection(connection);
            return;
        }
        self.connected.add(id, connection, ip);
        let now = self.now();
        self.candidates.connected(&id, now);
        self.ask_for_cards();
        self.publish();
    }

    fn on_closed(&mut self, peer: &libp2p::PeerId, connection: ConnectionId, left: u32) {
        let Some(id) = address::id_of(peer) else { return };
        self.connected.remove(&id, connection);
        if left == 0 {
            let now = self.now();
            self.candidates.lost(&id, now);
            self.swarm.behaviour_mut().kademlia.remove_peer(peer);
        }
        self.publish();
    }

    fn on_failed(&mut self, peer: &libp2p::PeerId, error: &DialError) {
        let Some(id) = address::id_of(peer) else { return };
        let now = self.now();
        self.candidates.failed(&id, now);
        match error {
            DialError::WrongPeerId { obtained, .. } => {
                self.complain(id, &format!("there is {obtained}, which is somebody else"));
            }
            error => self.complain(id, &error.to_string()),
        }
    }

    fn on_opened(&mut self, Opened { peer, protocol, line }: Opened) {
        let Some(id) = address::id_of(&peer) else { return };
        if protocol == CARD {
            return self.tell_card(id, line);
        }
        if protocol == DIRECTORY {
            return self.tell_word(line);
        }
        // Who has not said yet that it is a gateway has nothing to ask of one: whoever asks has heard our card, and waits for ours.
        let taker =
            Protocol::ALL.iter().find(|one| one.name() == protocol).and_then(|one| self.ends.opened.get(one));
        if let Some(taker) = taker {
            // What nobody takes is closed.
            let _ = taker.try_send((id, Box::new(line) as Stream));
        }
    }

    fn on_identified(&mut self, peer: &libp2p::PeerId, info: &identify::Info) {
        let Some(id) = address::id_of(peer) else { return };
        if info.protocol_version != VERSION {
            return self.turn_away(id, &NotOurs::Stranger);
        }
        let said = info.listen_addrs.iter().take(MOST_SAID).filter_map(address::place);
        let places: Vec<_> = said.filter(|(place, _)| self.vicinity.may_be_dialled(*place)).collect();
        for (place, carrier) in places {
            let (at, now) = (address::of_place(place, carrier), self.now());
            let source = if self.vicinity.is_beside(place.ip()) { Source::Near } else { Source::Far };
            self.candidates.seen(id, at.clone(), source, now);
            self.candidates.connected(&id, now);
            self.swarm.behaviour_mut().kademlia.add_address(peer, at);
        }
    }

    pub(super) fn on_card(&mut self, id: PeerId, card: Card) {
        let known = self.connected.is_ours(&id);
        let foreign = self.connected.said(&id, card);
        if foreign > 0 {
            tracing::warn!(peer = %id, foreign, "a peer names addresses as its own that its connection does not come from; they are not used");
            self.metrics.peer_refused("address");
        }
        if !known {
            tracing::info!(peer = %id, "connected to a peer");
            self.complained.remove(&id);
            self.ask_for_word(id);
        }
        self.publish();
    }

    /// Peers that other peers know.
    fn on_looked_up(&mut self, found: kad::GetClosestPeersResult) {
        let peers = match found {
            Ok(found) => found.peers,
            Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
        };
        let now = self.now();
        for peer in peers {
            let Some(id) = address::id_of(&peer.peer_id) else { continue };
            for (place, carrier) in peer.addrs.iter().take(MOST_SAID).filter_map(address::place) {
                if self.vicinity.may_be_dialled(place) {
                    self.candidates.seen(id, address::of_place(place, carrier), Source::Far, now);
                }
            }
        }
    }
}
