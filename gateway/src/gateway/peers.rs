//! Other gateways, as the configuration names them, and whoever learns how they fare.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use resolver::connectivity::Link;
use resolver::links::Links;
use resolver::peer::PeerId;
use resolver::peers::Sighting;
use tokio::sync::watch;

use crate::config::Config;
use crate::steer::{Entry, Geo, Owner, Prober, Steering, directory, system_trust};
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
    Ok(Owner::new(prober, directory(&entries, Some(own), geo), links, answers))
}

/// Learns where peers are whenever databases say something else.
pub(super) async fn locate_forever(entries: Vec<Entry>, own: PeerId, geo: Geo, steering: Steering) {
    let mut before = directory(&entries, Some(own), &geo);
    loop {
        tokio::time::sleep(LOCATED).await;
        let now = directory(&entries, Some(own), &geo);
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
