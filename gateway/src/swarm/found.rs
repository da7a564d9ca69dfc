//! Whom the swarm's task dials, and where.

use std::net::SocketAddr;

use libp2p::swarm::DialError;
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
/// What is wrong with a peer whose address leads back here.
pub(super) const OUR_OWN: &str = "its address is this gateway's own";
/// Addresses that are read of what one peer says of another.
const MOST_NAMED: usize = 8;
/// Candidates at one IP address of which others have told: gateways that share one are few, and whoever is pointed at is not
/// knocked at by a crowd.
const MOST_AT_ONE_PLACE: usize = 4;

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
            Found::Said(nth) => self.say(nth),
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
        let behaviour = self.swarm.behaviour();
        if multicast::is_flooded(&behaviour.mdns_v4) || multicast::is_flooded(&behaviour.mdns_v6) {
            if self.speech.may_speak() {
                tracing::warn!("the network announces more peers than there can be; forgetting them all");
            }
            self.renew_multicast();
        }
    }

    /// What it has heard is forgotten, and it speaks on the interfaces that there are now.
    fn renew_multicast(&mut self) {
        if !self.is_multicast {
            return;
        }
        let listeners: Vec<Multiaddr> = self.swarm.listeners().cloned().collect();
        let own = *self.swarm.local_peer_id();
        let made = multicast::FAMILIES.map(|v6| multicast::anew(own, v6, &self.vicinity, &listeners));
        let behaviour = self.swarm.behaviour_mut();
        [behaviour.mdns_v4, behaviour.mdns_v6] = made;
    }

    /// Looks whether the networks around have changed.
    pub(super) fn look_around(&mut self) {
        if !self.vicinity.look() {
            return;
        }
        self.publish();
        self.renew_multicast();
    }

    /// Somebody who is connected has named another. Nobody is led to a place in the networks around by one who is elsewhere, and
    /// few to the same place.
    pub(super) fn on_named(&mut self, peer: &libp2p::PeerId, addresses: &[Multiaddr]) {
        let Some(id) = address::id_of(peer) else { return };
        let (all_near, now) = (self.connected.all_near(&self.vicinity), self.now());
        for (place, carrier) in addresses.iter().filter_map(address::place).take(MOST_NAMED) {
            let is_there = |one: &Multiaddr| address::ip(one) == Some(place.ip());
            let may_be =
                self.vicinity.may_be_dialled(place) && (all_near || !self.vicinity.is_beside(place.ip()));
            if may_be && self.candidates.at(is_there) < MOST_AT_ONE_PLACE {
                self.candidates.seen(id, address::of_place(place, carrier), Source::Far, now);
            }
        }
    }

    /// Where those are who have said who they are: of what they say themselves, what their connections come from.
    pub(super) fn on_moved(&mut self) {
        for (id, places) in self.connected.moved() {
            let Some(peer) = address::peer_of(id) else { continue };
            let now = self.now();
            let places: Vec<_> =
                places.into_iter().filter(|(place, _)| self.vicinity.may_be_dialled(*place)).collect();
            for (place, carrier) in &places {
                let source = if self.vicinity.is_beside(place.ip()) { Source::Near } else { Source::Far };
                self.candidates.seen(id, address::of_place(*place, *carrier), source, now);
            }
            self.candidates.connected(&id, now);
            let addresses = places.into_iter().map(|(place, carrier)| address::of_place(place, carrier));
            self.swarm.behaviour_mut().lookup.put(peer, addresses);
        }
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
            if matches!(error, DialError::NoAddresses) {
                self.complain(id, OUR_OWN);
            }
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
            self.swarm.behaviour_mut().lookup.look_up(key);
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
