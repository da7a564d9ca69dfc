//! Everybody whom the configuration names, as the engine is told of them.

use resolver::geo::{Code, Whereabouts};
use resolver::links::Class;
use resolver::peer::{Peer, PeerId};
use resolver::peers::Sighting;
use resolver::rank::table::This;

use super::{Entry, Geo};

/// This gateway's own entry, and those of all others. Offline nobody is connected to, and so nobody is told of.
#[must_use]
pub fn directory(entries: &[Entry], own: Option<PeerId>, geo: &Geo) -> Vec<Sighting> {
    let this = This { id: own, ..This::default() };
    let mut told = vec![Sighting::This(this)];
    for entry in entries {
        let peer = located(entry, geo);
        told.push(if Some(peer.id) == own { Sighting::This(this_of(peer)) } else { Sighting::Known(peer) });
    }
    told
}

fn this_of(peer: Peer) -> This {
    This {
        id: Some(peer.id),
        whereabouts: peer.whereabouts,
        networks: peer.networks,
        capacity: peer.capacity,
    }
}

/// What its operator does not say of where a peer is, databases may know of its first public address.
pub(super) fn located(entry: &Entry, geo: &Geo) -> Peer {
    let mut peer = entry.peer();
    let public =
        peer.endpoints.iter().map(|endpoint| endpoint.address).find(|one| Class::of(*one) == Class::Public);
    let known = public.map(|address| geo.locate(address)).unwrap_or_default();
    let said = peer.whereabouts;
    let country = said.country.or(known.country);
    peer.whereabouts = Whereabouts {
        place: said.place.or(known.place),
        country,
        continent: country.and_then(Code::continent).or(known.continent),
        asn: said.asn.or(known.asn),
        prefix: 0,
    };
    peer
}
