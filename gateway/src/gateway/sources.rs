//! Peers as sources of tarballs, and what is served from no source.

use std::sync::Arc;
use std::time::Duration;

use resolver::peer::PeerId;

use super::sharing::Shared;
use crate::config::{self, Config};
use crate::fetch::{Basis, Peers};
use crate::metrics::Metrics;
use crate::steer::Steering;
use crate::takedown::Takedowns;

/// What the configuration blocks, and what home was last known to.
///
/// # Errors
/// When it is more than followers read, or there is no data directory.
pub(super) fn takedowns(config: &Config) -> anyhow::Result<Takedowns> {
    let home = config.federation.home.as_ref().map(|home| home.id);
    Ok(Takedowns::open(&config::data_dir(config)?, &config.block, home)?)
}

/// Who is asked for tarballs before upstream. What is seen of them is told to whoever learns of peers.
///
/// # Errors
/// When the system's trust store cannot be read.
pub(super) fn peers(
    config: &Config,
    own: PeerId,
    steering: &Steering,
    shared: &Shared,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Peers> {
    let hedge_ms = config.federation.hedge_ms;
    let learner = steering.clone();
    Peers::new(Basis {
        own,
        shares: config.share.enabled,
        private_scopes: config.private.scopes.clone(),
        hedge: (hedge_ms > 0).then(|| Duration::from_millis(hedge_ms)),
        swarm: shared.peers().swarm,
        inventories: shared.inventories.clone(),
        known: steering.follow(),
        seen: Box::new(move |sighting| learner.learn(sighting)),
        metrics: Arc::clone(metrics),
    })
}
