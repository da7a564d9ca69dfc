//! The swarm of this gateway, if it has one, and what comes of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use resolver::card::Card;
use resolver::peer::PeerId;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::listening::Listening;
use crate::config::{self, Config};
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::pulse::Pulses;
use crate::steer::{Admission, Announced, AnnouncedError, Geo, Members, Steering};
use crate::swarm::{self, Incoming, Own, Protocol, Swarm, Task};
use crate::upstream::Upstream;

/// What there is of it. Offline, or with nowhere to listen, there are no peers.
pub(super) struct Federation {
    /// For everybody who has to do with peers.
    pub(super) swarm: Swarm,
    /// What peers open, for whoever serves them.
    pub(super) incoming: BTreeMap<Protocol, Incoming>,
    running: Option<Running>,
}

/// What is to be run.
struct Running {
    task: Task,
    announced: Arc<Announced>,
}

impl Federation {
    /// Listens for peers.
    ///
    /// # Errors
    /// When there is no swarm of this kind, or more to say of peers than followers take.
    pub(super) fn start(
        config: &Config,
        identity: &Arc<Identity>,
        listening: &Listening,
        upstream: &Upstream,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        if config.offline || config.federation.listen.is_empty() {
            return Ok(Self { swarm: Swarm::none(), incoming: BTreeMap::new(), running: None });
        }
        let announced = Arc::new(announced(config, identity, &config::data_dir(config)?)?);
        let own = Own {
            identity: Arc::clone(identity),
            doors: listening.doors(),
            card: Box::new(card(config.share.enabled, upstream.clone())),
            announces: config.share.enabled,
            bulletin: announced.clone(),
            metrics: Arc::clone(metrics),
        };
        let (swarm, incoming, task) = swarm::start(&config.federation, own)?;
        Ok(Self { swarm, incoming, running: Some(Running { task, announced }) })
    }

    /// Runs it. From `stop` on nobody is looked for any more; at `end` all connections end.
    pub(super) fn run(
        self,
        members: Members,
        steering: Steering,
        pulses: Pulses,
        (stop, end): (CancellationToken, CancellationToken),
    ) -> Option<JoinHandle<()>> {
        let Running { task, announced } = self.running?;
        tokio::spawn(members.follow(self.swarm.follow(), announced.entries(), steering));
        Some(tokio::spawn(task.run(pulses, stop, end)))
    }
}

/// Peers besides those of the configuration.
pub(super) fn members(config: &Config, own: PeerId, geo: &Geo) -> Members {
    let admit = &config.federation.admit;
    let admission = Admission {
        ids: admit.iter().filter_map(|one| one.parse().ok()).collect(),
        swarm: config.federation.psk_file.is_some() && admit.iter().any(|one| one == "swarm"),
    };
    let configured = config.peer.iter().map(|entry| entry.id).chain([own]).collect();
    Members::new(admission, configured, geo.clone())
}

/// Home's list of peers, or this gateway's own.
fn announced(config: &Config, identity: &Identity, dir: &Path) -> Result<Announced, AnnouncedError> {
    let home = config.federation.home.as_ref().map(|home| home.id);
    match home.filter(|home| *home != identity.id()) {
        Some(home) => Ok(Announced::followed(home, dir, config::is_sound)),
        None => Announced::made(identity, &config.peer, dir, config::is_sound),
    }
}

/// What this gateway says of itself now.
fn card(shares: bool, upstream: Upstream) -> impl Fn() -> Card + Send + Sync {
    move || Card {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        urls: Vec::new(),
        online: upstream.is_asked_directly(),
        shares,
        sequence: 0,
    }
}
