//! Whom the swarm's task dials, and where.

use std::net::SocketAddr;

use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, mdns};
use resolver::candidates::Source;
use resolver::peer::PeerId;

use super::address::{self, Carrier};
use super::discovery::{is_candidate, multicast};
use super::task::{Found, Task};

/// Looks between two at who else is in the swarm: a minute.
const LOOKS: u64 = 60;
/// The first of them: by then those whom the operator names are connected.
const FIRST_LOOK: u64 = 5;

impl Task {
    pub(super) fn on_found(&mut self, found: Found) {
        match found {
            Found::Named(id, places) => {
                places.iter().for_each(|(place, _)| self.vicinity.allow(*place));
                let addresses = places.into_iter().map(|(place, carrier)| address::of_place(place, carrier));
                self.dial_at(id, addresses.collect());
            }
            Found::Near(id, places) => {
                self.look_around();
                self.heard_of(id, places);
                self.dial();
            }
            Found::Gone(id) => self.candidates.unseen(&id),
            Found::Word(id, text) => self.on_word(id, &text),
            Found::Somebody(places) => {
                places.iter().for_each(|place| self.vicinity.allow(*place));
                self.somewhere = places;
                self.dial_somebody();
            }
        }
    }

    /// What libp2p's mDNS says.
    pub(super) fn on_multicast(&mut self, event: mdns::Event) {
        match event {
            mdns::Event::Discovered(all) => {
                self.look_around();
                for (peer, address) in all {
                    let place = address::place(&address);
                    if let (Some(id), Some(place)) = (address::id_of(&peer), place) {
                        self.heard_of(id, vec![place]);
                    }
                }
                self.dial();
            }
            mdns::Event::Expired(all) => {
                all.iter()
                    .filter_map(|(peer, _)| address::id_of(peer))
                    .for_each(|id| self.candidates.unseen(&id));
            }
        }
        let listeners: Vec<Multiaddr> = self.swarm.listeners().cloned().collect();
        let own = *self.swarm.local_peer_id();
        let behaviour = self.swarm.behaviour_mut();
        for (one, v6) in [(&mut behaviour.mdns_v4, false), (&mut behaviour.mdns_v6, true)] {
            if multicast::is_flooded(one) {
                tracing::warn!("the network announces more peers than there can be; forgetting them all");
                multicast::renew(one, own, v6, &listeners);
            }
        }
    }

    /// Looks whether the networks around have changed.
    pub(super) fn look_around(&mut self) {
        if !self.vicinity.look() {
            return;
        }
        self.publish();
        let listeners: Vec<Multiaddr> = self.swarm.listeners().cloned().collect();
        let own = *self.swarm.local_peer_id();
        let behaviour = self.swarm.behaviour_mut();
        multicast::renew(&mut behaviour.mdns_v4, own, false, &listeners);
        multicast::renew(&mut behaviour.mdns_v6, own, true, &listeners);
    }

    fn heard_of(&mut self, id: PeerId, places: Vec<(SocketAddr, Carrier)>) {
        let now = self.now();
        for (place, carrier) in places {
            if is_candidate(place, &self.vicinity) {
                self.candidates.seen(id, address::of_place(place, carrier), Source::Near, now);
            }
        }
        if address::peer_of(id).is_some_and(|peer| self.swarm.is_connected(&peer)) {
            self.candidates.connected(&id, now);
        }
    }

    pub(super) fn dial_at(&mut self, id: PeerId, mut addresses: Vec<Multiaddr>) {
        if self.is_private {
            addresses.retain(|one| matches!(address::place(one), Some((_, Carrier::Tcp))));
        }
        let now = self.now();
        let Some(peer) = address::peer_of(id).filter(|_| !addresses.is_empty()) else {
            self.complain(id, "its name or address leads nowhere");
            return self.candidates.failed(&id, now);
        };
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .build();
        if let Err(error) = self.swarm.dial(options) {
            tracing::debug!(peer = %id, %error, "not dialled");
            match self.swarm.is_connected(&peer) {
                true => self.candidates.connected(&id, now),
                false => self.candidates.failed(&id, now),
            }
        }
    }

    /// Once a minute: whom DNS names, and whom peers know.
    pub(super) fn look_further(&mut self) {
        if self.looked % LOOKS != FIRST_LOOK {
            return;
        }
        self.dial_somebody();
        // Those nearest to a name that nobody has are others each time.
        let key = if self.looked < LOOKS { *self.swarm.local_peer_id() } else { libp2p::PeerId::random() };
        if self.swarm.network_info().num_peers() > 0 {
            self.swarm.behaviour_mut().kademlia.get_closest_peers(key);
        }
    }

    fn dial_somebody(&mut self) {
        for place in self.somewhere.clone() {
            if self.connected.is_at(place.ip()) {
                continue;
            }
            let address = address::of_place(place, Carrier::Tcp);
            // Itself among others, which libp2p sees.
            if let Err(error) = self.swarm.dial(DialOpts::unknown_peer_id().address(address).build()) {
                tracing::debug!(%place, %error, "not dialled");
            }
        }
    }
}
