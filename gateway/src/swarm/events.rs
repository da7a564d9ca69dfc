//! What the swarm's task learns from libp2p.

use libp2p::core::ConnectedPoint;
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{identify, ping};
use resolver::card::Card;
use resolver::links::one_client;
use resolver::peer::PeerId;

use super::address;
use super::behaviour::{BehaviourEvent, INCOMING, VERSION};
use super::cards::NotOurs;
use super::found::OUR_OWN;
use super::lookup::Heard;
use super::streams::{CARD, DIRECTORY, Opened};
use super::task::Task;
use super::{Protocol, Stream};

/// Connections from one place: a university's gateways may share an address, and nobody needs more.
const MOST_FROM_ONE: usize = 16;
/// From so many peers on there is little room for others.
const NEARLY_ALL: usize = INCOMING as usize * 9 / 10;
/// Streams of those who have not said yet who they are: the first few of each of those who are just coming.
const MOST_EARLY: usize = 64;
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
            BehaviourEvent::Lookup(Heard::Of(peer, addresses)) => self.on_named(&peer, &addresses),
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
        // What comes by loopback is this machine's own.
        let crowded = !ip.is_loopback() && self.connected.from(one_client(ip)) >= MOST_FROM_ONE;
        if crowded && !self.named.contains(&id) {
            self.metrics.peer_refused("crowd");
            self.swarm.close_connection(connection);
            return;
        }
        self.connected.add(id, connection, ip);
        self.make_room();
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
            self.swarm.behaviour_mut().lookup.remove(peer);
            self.early.retain(|opened| opened.peer != *peer);
            self.telling.remove(&id);
        }
        self.publish();
    }

    /// When nearly all places are taken, the newest of those who come in a crowd goes: who comes from elsewhere finds a place.
    fn make_room(&mut self) {
        if self.connected.len() < NEARLY_ALL {
            return;
        }
        if self.speech.may_speak() {
            tracing::warn!(
                connected = self.connected.len(),
                "nearly all places for peers are taken; whoever comes in a crowd is sent away"
            );
        }
        if let Some(one) = self.connected.of_largest_crowd(&self.named).and_then(address::peer_of) {
            self.metrics.peer_refused("full");
            // It is not connected any more if this fails.
            let _ = self.swarm.disconnect_peer_id(one);
        }
    }

    fn on_failed(&mut self, peer: &libp2p::PeerId, error: &DialError) {
        let Some(id) = address::id_of(peer) else { return };
        let now = self.now();
        self.candidates.failed(&id, now);
        match error {
            DialError::WrongPeerId { obtained, .. } if obtained == self.swarm.local_peer_id() => {
                self.complain(id, OUR_OWN);
            }
            DialError::WrongPeerId { obtained, .. } => {
                self.complain(id, &format!("there is {obtained}, which is somebody else"));
            }
            error => self.complain(id, &error.to_string()),
        }
    }

    /// Who has not said yet that it is a gateway has nothing to ask of one. A gateway that has heard our card may be quicker than
    /// we are in hearing its own: it is heard when that is here.
    fn on_opened(&mut self, opened: Opened) {
        match address::id_of(&opened.peer) {
            Some(id) if opened.protocol == CARD => self.tell_card(id, opened.line),
            Some(id) if self.connected.is_ours(&id) => self.take(id, opened),
            Some(_) if self.early.len() < MOST_EARLY => self.early.push(opened),
            _ => {}
        }
    }

    fn take(&mut self, id: PeerId, Opened { protocol, line, .. }: Opened) {
        if protocol == DIRECTORY {
            return self.tell_word(line);
        }
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
        // Looked at once a second: who says something else all the time is not heard more often.
        let said = info.listen_addrs.iter().take(MOST_SAID).filter_map(address::place);
        self.connected.listens(&id, said.collect());
    }

    pub(super) fn on_card(&mut self, id: PeerId, card: Card) {
        let known = self.connected.is_ours(&id);
        let foreign = self.connected.said(&id, card);
        if foreign > 0 {
            tracing::debug!(peer = %id, foreign, "a peer names addresses as its own that its connection does not come from; they are not used");
            self.metrics.peer_refused("address");
        }
        if !known {
            if self.speech.may_speak() {
                tracing::info!(peer = %id, "connected to a peer");
            }
            self.complained.remove(&id);
            self.on_moved();
            self.ask_for_word(id);
            self.take_early(id);
        }
        self.publish();
    }

    fn take_early(&mut self, id: PeerId) {
        let is_of = |opened: &mut Opened| address::id_of(&opened.peer) == Some(id);
        let of_it: Vec<_> = self.early.extract_if(.., is_of).collect();
        of_it.into_iter().for_each(|opened| self.take(id, opened));
    }
}
