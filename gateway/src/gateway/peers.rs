//! Other gateways, as the configuration names them, and whoever learns how they fare.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use resolver::connectivity::Link;
use resolver::links::Links;
use resolver::peer::PeerId;
use resolver::peers::{Due, Sighting, Target};
use tokio::sync::watch;

use crate::config::Config;
use crate::http::Load;
use crate::steer::{
    Entry, Found, Geo, Holders, Own, Owner, Probe, Prober, Steering, Witness, directory, system_trust,
};
use crate::upstream::Upstream;

/// How often it is looked at whether databases say something else of where peers are: when they may have been read again.
const LOCATED: Duration = Duration::from_secs(60);
/// The longest that somebody who gave wrong bytes may take to prove that it is the peer.
const PROVED: Duration = Duration::from_secs(2);

/// The owner of all that is known of peers.
///
/// # Errors
/// When the system's trust store cannot be read.
pub(super) fn owner(
    config: &Config,
    own: PeerId,
    geo: &Geo,
    links: watch::Receiver<Arc<Links>>,
    this: This,
) -> anyhow::Result<Owner<Prober>> {
    let prober = prober(config)?;
    let may_be_asked = |entry: &&Entry| !config.offline || entry.id == own;
    let entries: Vec<_> = config.peer.iter().filter(may_be_asked).cloned().collect();
    Ok(Owner::new(prober, directory(&entries, Some(own), geo), links, this))
}

/// Whoever asks peers for proofs.
///
/// # Errors
/// When the system's trust store cannot be read.
pub(super) fn prober(config: &Config) -> anyhow::Result<Prober> {
    let trust = system_trust().context("cannot read the system's trust store")?;
    Ok(Prober::new(config.zone.name.clone(), trust))
}

/// Who has which tarball; what is seen of whom goes to the owner.
///
/// # Errors
/// When the system's trust store cannot be read.
pub(super) fn holders(config: &Config, own: PeerId, steering: &Steering) -> anyhow::Result<Holders> {
    Holders::new(own, Looker { prober: Arc::new(prober(config)?), steering: steering.clone() })
}

/// Looks who answers at an address.
struct Looker {
    prober: Arc<Prober>,
    steering: Steering,
}

impl Witness for Looker {
    fn prove(&self, id: PeerId, target: Target) -> BoxFuture<'static, bool> {
        let (prober, timeout) = (Arc::clone(&self.prober), PROVED);
        async move {
            let due = Due { id, target, https: false, timeout };
            matches!(Probe::probe(&*prober, due).await, Found::Passed { .. })
        }
        .boxed()
    }

    fn learn(&self, sighting: Sighting) {
        self.steering.learn(sighting);
    }
}

/// This gateway, as far as it bears upon whom clients are led to.
pub(super) struct This {
    pub(super) upstream: Upstream,
    pub(super) load: Arc<Load>,
}

impl Own for This {
    /// Offline is no disconnection: it is meant.
    fn reaches_upstream(&self) -> bool {
        !matches!(self.upstream.latch().link(), Link::Down(_))
    }

    fn doubt_upstream(&self) {
        let upstream = self.upstream.clone();
        // The latch learns from it.
        tokio::spawn(async move { upstream.try_once().await });
    }

    fn load(&self) -> f32 {
        self.load.now()
    }
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
