//! How peers' requests are treated: what each may have, what it has left of its budget, and how fast it is sent.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use resolver::budget::{Budgets, Offence, Verdict};
use resolver::links::{Links, one_client};
use resolver::peer::PeerId;
use resolver::peering::{Petition, Treatment, Wish};
use tokio::sync::watch;
use tokio::time::Instant;

use super::upload::{Pace, Uploads};
use super::{Config, Traffic};
use crate::metrics::{Metrics, Sent};
use crate::swarm::Swarm;

/// Whom something is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// A peer, whose connection has proved who it is.
    Peer(PeerId),
    /// Whoever comes from there: an IPv4 address or an IPv6 /64.
    At(IpAddr),
}

/// The sender of a peer's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// Who it is, or says it is.
    pub id: PeerId,
    /// The connection has proved it.
    pub proved: bool,
    /// Where it is; `None`: a proxy does not say.
    pub address: Option<IpAddr>,
}

/// What this gateway shares, and with whom. Cheap to clone.
#[derive(Clone)]
pub struct Sharing {
    inner: Arc<Inner>,
}

struct Inner {
    enabled: bool,
    swarm: Swarm,
    links: watch::Receiver<Arc<Links>>,
    started: Instant,
    budgets: Mutex<Budgets<Who>>,
    uploads: Option<Uploads>,
    traffic: Traffic,
    metrics: Arc<Metrics>,
}

impl Sharing {
    /// Nobody has asked for anything yet.
    #[must_use]
    pub fn new(
        config: &Config,
        swarm: Swarm,
        links: watch::Receiver<Arc<Links>>,
        traffic: Traffic,
        metrics: Arc<Metrics>,
    ) -> Self {
        let uploads = Uploads::new(config.max_upload.bytes(), config.max_upload_per_peer.bytes());
        let (enabled, started, budgets) = (config.enabled, Instant::now(), Mutex::default());
        Self { inner: Arc::new(Inner { enabled, swarm, links, started, budgets, uploads, traffic, metrics }) }
    }

    /// Whether anything is shared.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.inner.enabled
    }

    /// How a request is to be treated.
    #[must_use]
    pub fn treatment(&self, sender: &Sender, wish: Wish, credentials: bool, private: bool) -> Treatment {
        let (shares, near) = (self.inner.enabled, self.is_near(sender));
        Petition { wish, shares, proved: sender.proved, near, credentials, private }.treatment()
    }

    /// A request has come.
    pub fn ask(&self, who: Who) -> Verdict {
        let now = self.inner.started.elapsed();
        let verdict = self.budgets(|budgets| budgets.ask(who, now));
        if let Verdict::Cut(pause) = verdict {
            tracing::warn!(
                ?who,
                ?pause,
                "a peer floods this gateway with requests: it is cut off for a while"
            );
            self.cut(who, pause);
        }
        verdict
    }

    /// Somebody has done something that costs him of his budget.
    pub fn note(&self, who: Who, offence: Offence) {
        let now = self.inner.started.elapsed();
        if let Some(pause) = self.budgets(|budgets| budgets.note(who, offence, now)) {
            tracing::warn!(
                ?who,
                ?offence,
                ?pause,
                "a peer has done too much of this: it is cut off for a while"
            );
            self.cut(who, pause);
        }
    }

    /// What counts the bytes of a body that goes to a peer.
    #[must_use]
    pub fn sent(&self, sender: &Sender) -> Sent {
        let of_it = self.connected(sender).map(|id| self.inner.traffic.of(id));
        self.inner.metrics.sending_to_peer(of_it.unwrap_or_default())
    }

    /// What holds a body back that goes to a peer; `None`: nothing does.
    #[must_use]
    pub fn pace(&self, sender: &Sender) -> Option<Pace> {
        // One peer's streams and other connections are one, where it is certain that they are the same peer's.
        let who = self.connected(sender).map_or_else(|| sender.who(), Who::Peer);
        self.inner.uploads.as_ref().map(|uploads| uploads.pace(who))
    }

    /// On a network that this machine is attached to.
    fn is_near(&self, sender: &Sender) -> bool {
        if sender.proved {
            return self.inner.swarm.neighbours().get(&sender.id).is_some_and(|neighbour| neighbour.near);
        }
        let links = self.inner.links.borrow();
        sender.address.is_some_and(|address| links.networks().any(|network| network.contains(&address)))
    }

    /// Who it is, if it has proved that, or says so at an address of a connection that has.
    fn connected(&self, sender: &Sender) -> Option<PeerId> {
        if sender.proved {
            return Some(sender.id);
        }
        let neighbours = self.inner.swarm.neighbours();
        let there = neighbours.get(&sender.id)?.addresses.contains(&sender.address?);
        there.then_some(sender.id)
    }

    fn budgets<T>(&self, act: impl FnOnce(&mut Budgets<Who>) -> T) -> T {
        act(&mut self.inner.budgets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A connection is ended; who comes by another way finds 429.
    fn cut(&self, who: Who, pause: Duration) {
        self.inner.metrics.federation().cut();
        if let Who::Peer(id) = who {
            self.inner.swarm.block(id, pause);
        }
    }
}

impl Sender {
    /// Whom its requests are counted for: what it only says could be somebody else's id.
    #[must_use]
    pub fn who(&self) -> Who {
        let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        match self.proved {
            true => Who::Peer(self.id),
            false => Who::At(self.address.map_or(nowhere, one_client)),
        }
    }
}
