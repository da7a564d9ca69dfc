//! Other gateways, as the configuration names them, and whoever learns how they fare.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use resolver::connectivity::Link;
use resolver::geo::Whereabouts;
use resolver::links::{Class, Links};
use resolver::peer::{Peer, PeerId};
use resolver::peers::Sighting;
use resolver::rank::table::This;
use tokio::sync::watch;

use crate::config::Config;
use crate::steer::{Entry, Geo, Owner, Prober, Steering, system_trust};
use crate::upstream::Upstream;

/// How often it is looked at whether databases say something else of where peers are: when they may have been read again.
const LOCATED: Duration = Duration::from_secs(60);

/// The owner of all that is known of peers.
///
/// # Errors
/// When the system's trust store cannot be read.
pub(super) fn owner(
    config: &Config,
    own: PeerId,
    geo: &Geo,
    links: watch::Receiver<Arc<Links>>,
    upstream: &Upstream,
) -> anyhow::Result<Owner<Prober>> {
    let trust = system_trust().context("cannot read the system's trust store")?;
    let prober = Prober::new(config.zone.name.clone(), trust);
    let upstream = upstream.clone();
    // Offline is no disconnection: it is meant.
    let answers = move || !matches!(upstream.latch().link(), Link::Down(_));
    let may_be_asked = |entry: &&Entry| !config.offline || entry.id == own;
    let entries: Vec<_> = config.peer.iter().filter(may_be_asked).cloned().collect();
    Ok(Owner::new(prober, told(&entries, own, geo), links, answers))
}

/// This gateway's own entry, and those of all others. Offline nobody is connected to, and so nobody is told of.
fn told(entries: &[Entry], own: PeerId, geo: &Geo) -> Vec<Sighting> {
    let this = This { id: Some(own), ..This::default() };
    let mut told = vec![Sighting::This(this)];
    for entry in entries {
        let peer = located(entry, geo);
        told.push(if peer.id == own { Sighting::This(this_of(peer)) } else { Sighting::Known(peer) });
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
fn located(entry: &Entry, geo: &Geo) -> Peer {
    let mut peer = entry.peer();
    let public =
        peer.endpoints.iter().map(|endpoint| endpoint.address).find(|one| Class::of(*one) == Class::Public);
    let known = public.map(|address| geo.locate(address)).unwrap_or_default();
    let said = peer.whereabouts;
    let country = said.country.or(known.country);
    peer.whereabouts = Whereabouts {
        place: said.place.or(known.place),
        country,
        continent: country.and_then(resolver::geo::Code::continent).or(known.continent),
        asn: said.asn.or(known.asn),
        prefix: 0,
    };
    peer
}

/// Learns where peers are whenever databases say something else.
pub(super) async fn locate_forever(entries: Vec<Entry>, own: PeerId, geo: Geo, steering: Steering) {
    let mut before = told(&entries, own, &geo);
    loop {
        tokio::time::sleep(LOCATED).await;
        let now = told(&entries, own, &geo);
        for (was, is) in before.iter().zip(&now) {
            if was != is {
                steering.tell(located_only(is.clone())).await;
            }
        }
        before = now;
    }
}

fn located_only(sighting: Sighting) -> Sighting {
    match sighting {
        Sighting::Known(peer) => Sighting::Located(peer.id, peer.whereabouts),
        other => other,
    }
}
