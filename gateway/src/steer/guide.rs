//! What clients of HTTP, the operator and the command are told of steering: the same facts as DNS answers rest on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use resolver::answer::Facts;
use resolver::asker::Asker;
use resolver::links::{Arrival, By, Class, Links};
use resolver::rank::Snapshot;
use tokio::sync::watch;

use super::{Explanation, Fare, Geo, Steering, fare};

/// Everything that a decision rests on. Cheap to clone.
#[derive(Clone)]
pub struct Guide {
    inner: Arc<Basis>,
}

/// What a guide is made of.
pub struct Basis {
    /// `[zone] addresses`.
    pub configured: Vec<IpAddr>,
    /// Where clients are served.
    pub served: Vec<SocketAddr>,
    /// `[dns] trusted_forwarders`.
    pub trusted_forwarders: Vec<IpNet>,
    /// The machine's interfaces.
    pub links: watch::Receiver<Arc<Links>>,
    /// Other gateways, and how they fare.
    pub peers: watch::Receiver<Arc<Snapshot>>,
    /// What is wrong with them, where they are probed.
    pub steering: Option<Steering>,
    /// Where addresses are.
    pub geo: Geo,
}

impl Guide {
    /// Whoever has these facts.
    #[must_use]
    pub fn new(basis: Basis) -> Self {
        Self { inner: Arc::new(basis) }
    }

    /// The facts as they are now.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let Basis { configured, served, trusted_forwarders, links, peers, .. } = &*self.inner;
        Facts {
            configured: configured.clone(),
            served: served.clone(),
            links: Links::clone(&links.borrow()),
            forwards: false,
            peers: Arc::clone(&peers.borrow()),
            trusted_forwarders: trusted_forwarders.clone(),
        }
    }

    /// Whether there is anybody to be led to.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.inner.peers.borrow().is_alone()
    }

    /// Why a client of this address would be led where it is: everybody, and what is wrong with whom.
    #[must_use]
    pub fn explain(&self, client: IpAddr) -> Explanation {
        let facts = self.facts();
        let asker = self.asker(&facts, client, None);
        let explanation = Explanation::of(&facts, &asker, "as asked for", usize::MAX);
        explanation.with_complaints(|id| self.inner.steering.as_ref()?.complaint(id))
    }

    /// How everybody else fares, and what is wrong with whom.
    #[must_use]
    pub fn fares(&self) -> Vec<Fare> {
        let wrong = |id: &_| {
            let complaint = self.inner.steering.as_ref()?.complaint(id)?;
            Some(format!("{}: {}", complaint.target, complaint.words))
        };
        fare::of(&self.inner.peers.borrow(), wrong)
    }

    /// Somebody at this address, located. `local` is the address of ours that he came to; where that is not known, it is
    /// the one on his link, or one that he could come to.
    #[must_use]
    pub fn asker(&self, facts: &Facts, client: IpAddr, local: Option<IpAddr>) -> Asker {
        let client = client.to_canonical();
        let told = local.map(|local| local.to_canonical());
        let local = told.or_else(|| beside(facts, client)).or_else(|| for_class(facts, client));
        let local = local.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let mut asker = facts.asker(&Arrival { client, local, by: By::Address(local) }, None);
        asker.whereabouts = self.inner.geo.locate(asker.client.addr());
        asker
    }
}

/// An address of ours that clients of this class come to, of their family if there is one.
fn for_class(facts: &Facts, client: IpAddr) -> Option<IpAddr> {
    let fits = |address: &IpAddr| Class::of(*address) == Class::of(client);
    let links = &facts.links;
    served_first(facts, links.own(client.is_ipv4()).chain(links.own(!client.is_ipv4())).filter(fits))
}

/// Our address in the network of a client.
fn beside(facts: &Facts, client: IpAddr) -> Option<IpAddr> {
    let around = facts.links.networks().filter(|network| network.contains(&client));
    served_first(facts, around.map(|network| network.addr()))
}

/// The first of these where clients are served, or the first of all: a machine with several addresses may serve at one.
fn served_first(facts: &Facts, own: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    let own: Vec<_> = own.collect();
    let is_served = |address: &&IpAddr| {
        facts.served.iter().any(|socket| {
            let ip = socket.ip().to_canonical();
            ip == **address || (ip.is_unspecified() && (ip.is_ipv6() || address.is_ipv4()))
        })
    };
    own.iter().find(is_served).or(own.first()).copied()
}
