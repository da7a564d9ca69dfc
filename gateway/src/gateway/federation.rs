//! The swarm of this gateway, if it has one, and what comes of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use resolver::card::Card;
use resolver::peer::PeerId;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::follow::Heads;
use super::listening::Listening;
use crate::config::{self, Config};
use crate::follow::OwnHead;
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::pulse::Pulses;
use crate::steer::{Admission, Announced, AnnouncedError, Geo, Members, Steering};
use crate::swarm::{self, Bulletin as _, Bulletins, Incoming, Own, Protocol, Swarm, Task};
use crate::upstream::Upstream;

/// How often the card says another sequence: a head changes once a second, and a card is sent to all again when it does.
const SEQUENCE: Duration = Duration::from_secs(60);

/// What there is of it. Offline, or with nowhere to listen, there are no peers.
pub(super) struct Federation {
    /// For everybody who has to do with peers.
    pub(super) swarm: Swarm,
    /// What peers open, for whoever serves them.
    pub(super) incoming: BTreeMap<Protocol, Incoming>,
    /// This gateway's own list of peers, as it stands under its root.
    pub(super) listed: Option<Vec<u8>>,
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
        heads: &Heads,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let announced = Arc::new(announced(config, identity, &config::data_dir(config)?)?);
        let listed = announced.listed().filter(|_| announced.author() == identity.id());
        if config.offline || config.federation.listen.is_empty() {
            return Ok(Self { swarm: Swarm::none(), incoming: BTreeMap::new(), listed, running: None });
        }
        let own = Own {
            identity: Arc::clone(identity),
            doors: listening.doors(),
            card: Box::new(card(config, upstream.clone(), heads.own.clone())),
            announces: config.share.enabled,
            bulletins: Bulletins { directory: announced.clone(), heads: heads.said(config) },
            metrics: Arc::clone(metrics),
        };
        let (swarm, incoming, task) = swarm::start(&config.federation, own)?;
        Ok(Self { swarm, incoming, listed, running: Some(Running { task, announced }) })
    }

    /// Home's list of peers, or this gateway's own; `None`: there are no peers.
    pub(super) fn announced(&self) -> Option<Arc<Announced>> {
        self.running.as_ref().map(|running| Arc::clone(&running.announced))
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
fn card(config: &Config, upstream: Upstream, head: OwnHead) -> impl Fn() -> Card + Send + Sync + use<> {
    let (shares, home) = (config.share.enabled, config.federation.home.as_ref().map(|home| home.id));
    // Since when the card says it. Who wants to know at once listens to gossip.
    let said = Mutex::new((None::<Instant>, 0));
    let sequence = move || {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.1 == 0 || said.0.is_none_or(|since| since.elapsed() > SEQUENCE) {
            *said = (Some(Instant::now()), head.sequence());
        }
        said.1
    };
    move || Card {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        urls: Vec::new(),
        online: upstream.is_asked_directly(),
        shares,
        sequence: sequence(),
        home,
    }
}
