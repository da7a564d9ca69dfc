//! What this gateway shares with peers, and the streams that they open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use resolver::links::Links;
use resolver::peer::PeerId;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::federation::Federation;
use crate::config::Config;
use crate::http::{Service, Streams};
use crate::metrics::Metrics;
use crate::operator::Peers;
use crate::share::{self, Inventories, Sharing, Traffic};
use crate::store::Store;
use crate::swarm::{Incoming, Protocol, Swarm};
use crate::terminal::say;

/// Peers that come or go within this time are told of together.
const GATHERED: Duration = Duration::from_secs(1);

/// All of it.
pub(super) struct Shared {
    /// For whoever answers peers.
    pub(super) sharing: Sharing,
    /// For whoever asks them.
    pub(super) inventories: Inventories,
    traffic: Traffic,
    named: BTreeSet<PeerId>,
    /// For whoever has to know who is connected.
    pub(super) swarm: Swarm,
    incoming: BTreeMap<Protocol, Incoming>,
}

impl Shared {
    /// Nothing is served yet.
    pub(super) fn new(
        config: &Config,
        federation: &mut Federation,
        links: watch::Receiver<Arc<Links>>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let (swarm, incoming) = (federation.swarm.clone(), std::mem::take(&mut federation.incoming));
        let (traffic, metrics) = (Traffic::default(), Arc::clone(metrics));
        let sharing = Sharing::new(&config.share, swarm.clone(), links, traffic.clone(), metrics);
        let (inventories, named) = (Inventories::default(), named(config));
        Self { sharing, inventories, traffic, named, swarm, incoming }
    }

    /// For whoever shows them.
    pub(super) fn peers(&self) -> Peers {
        Peers {
            swarm: self.swarm.clone(),
            inventories: self.inventories.clone(),
            traffic: self.traffic.clone(),
        }
    }

    /// Serves peers and exchanges inventories with them until `stop`, and until answers that are under way have come to
    /// their end.
    pub(super) fn serve(
        mut self,
        service: Service,
        store: &Store,
        stop: &CancellationToken,
    ) -> JoinHandle<()> {
        let (store, stop) = (store.clone(), stop.clone());
        if !self.incoming.is_empty() {
            if self.sharing.is_on() {
                say("Started sharing downloaded public packages with others");
            }
            tokio::spawn(tell_how_many(self.swarm.clone(), stop.clone()));
        }
        let [http, inventory] = [Protocol::Http, Protocol::Inventory].map(|one| self.incoming.remove(&one));
        tokio::spawn(async move {
            let (Some(http), Some(inventory)) = (http, inventory) else { return };
            let streams = Streams::new(service, self.swarm.clone());
            let exchange = share::exchange(
                (&store, self.sharing),
                (self.swarm, inventory),
                self.inventories,
                self.named,
                stop.clone(),
            );
            tokio::join!(streams.serve(http, stop), exchange);
        })
    }
}

/// Says how many peers are connected whenever that has changed.
async fn tell_how_many(swarm: Swarm, stop: CancellationToken) {
    let (mut follow, mut before) = (swarm.follow(), 0);
    while let Some(Ok(())) = stop.run_until_cancelled(follow.changed()).await {
        // Those of a whole network come within moments.
        sleep(GATHERED).await;
        let now = follow.borrow_and_update().len();
        if now != before {
            say(&format!("Currently connected to {now} peer{}", if now == 1 { "" } else { "s" }));
        }
        before = now;
    }
}

/// Whom the configuration names.
fn named(config: &Config) -> BTreeSet<PeerId> {
    let contacts = config.federation.bootstrap.iter().chain(&config.federation.home);
    contacts.map(|contact| contact.id).chain(config.peer.iter().map(|entry| entry.id)).collect()
}
