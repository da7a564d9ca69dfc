//! DNS for clients: a packet becomes a question, `resolver` answers it, and the answer leaves from the address that
//! was asked.
//!
//! [`doors`] says where is listened; [`udp`] (each socket one of [`datagrams`]) and [`stream`] carry
//! packets in and out, connections within
//! [`places`]; [`message`] is what a packet says, [`edns`] what stands beside
//! the question; [`usual`] is the short way for most of
//! them, with what was [`decided`] lately; [`responder`] answers at once, within [`rate`], or has [`forward`] ask others (each
//! a [`name_server`]), for clients that have their [`shares`] of that.

mod datagrams;
mod decided;
mod doors;
mod edns;
mod forward;
mod message;
mod name_server;
mod places;
mod rate;
mod responder;
mod shares;
mod stream;
#[cfg(test)]
mod tests;
mod udp;
mod usual;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use resolver::answer::Facts;
use resolver::geo::Whereabouts;
use resolver::head::dns::Text;
use resolver::links::Links;
use resolver::rank::Snapshot;
use resolver::zone::Zone;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::doors::{Door, Everywhere};
use self::forward::Forwarder;
use self::message::Request;
pub use self::name_server::{NameServer, NotANameServer};
use self::places::Places;
use self::responder::Responder;
use self::stream::Streams;
use self::udp::{SocketGroup, sockets_each};
use crate::listen::Listeners;
use crate::metrics::Metrics;
use crate::pulse::{Pulse, Pulses};

/// How long the answers that are being looked up at the end are waited for: a little longer than one takes.
const DRAIN: Duration = Duration::from_secs(5);
/// How soon an address is tried again at which nobody could listen.
const AGAIN: Duration = Duration::from_secs(5);

/// `[dns]`: where names are answered, and who is asked for those that are not ours.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Addresses and ports for UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// Addresses and ports for DNS over TLS.
    pub tls_listen: Vec<SocketAddr>,
    /// Resolvers that are asked for other names, for clients of private networks.
    pub forward: Vec<NameServer>,
    /// Networks of resolvers that are believed when they ask for a client of a private network (RFC 7871).
    pub trusted_forwarders: Vec<IpNet>,
    /// Answers a second that a public network gets by datagram; 0: as many as it asks for.
    pub rate_limit: u32,
}

/// Says where on Earth a network is, as far as that is known.
pub type Locate = Arc<dyn Fn(IpNet) -> Whereabouts + Send + Sync>;

/// What the zone's texts say of the head that this gateway publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Of the zone's own name.
    pub texts: Vec<Text>,
    /// Of `_dnslink`.
    pub link: Text,
}

/// What the zone's DNS knows of the rest of this gateway.
pub struct Surroundings {
    /// The name.
    pub zone: Zone,
    /// What this gateway calls itself when asked which one answers (NSID, RFC 5001); empty: nothing.
    pub id: Vec<u8>,
    /// What it stands for, where that is configured.
    pub addresses: Vec<IpAddr>,
    /// Where clients are served.
    pub served: Vec<SocketAddr>,
    /// The machine's interfaces.
    pub links: watch::Receiver<Arc<Links>>,
    /// Other gateways, and how they fare.
    pub peers: watch::Receiver<Arc<Snapshot>>,
    /// What is published; `None`: nothing yet.
    pub head: watch::Receiver<Option<Arc<Announced>>>,
    /// Says where on Earth a network is.
    pub locate: Locate,
    /// Where queries are counted.
    pub metrics: Arc<Metrics>,
    /// Where each loop shows that it turns.
    pub pulses: Pulses,
}

/// Sockets that somebody else has bound.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For datagrams.
    pub udp: Vec<std::net::UdpSocket>,
    /// For connections.
    pub tcp: Listeners,
}

/// DNS that is bound and not served yet.
pub struct Dns {
    backend: Arc<Backend>,
    links: watch::Receiver<Arc<Links>>,
    peers: watch::Receiver<Arc<Snapshot>>,
    head: watch::Receiver<Option<Arc<Announced>>>,
    doors: Vec<Door>,
    everywhere: Everywhere,
    datagrams: Vec<SocketGroup>,
    streams: Vec<Streams>,
    /// Closes everything.
    close: CancellationToken,
}

/// What all transports share.
struct Backend {
    responder: Responder,
    forwarder: Option<Forwarder>,
    places: Places,
    tasks: TaskTracker,
    pulses: Pulses,
}

impl Dns {
    /// Binds the addresses of `[dns] listen`, or takes the sockets that were handed over in their place.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub fn bind(config: &Config, surroundings: Surroundings, handed: Sockets) -> anyhow::Result<Self> {
        let Surroundings { zone, id, addresses, served, links, peers, head, locate, metrics, pulses } =
            surroundings;
        let forwarder = Forwarder::new(&config.forward)?;
        let facts = Facts {
            peers: Arc::clone(&peers.borrow()),
            configured: addresses,
            served,
            links: Links::clone(&links.borrow()),
            forwards: forwarder.is_some(),
            trusted_forwarders: config.trusted_forwarders.clone(),
        };
        let responder = Responder::new(zone, id, facts, locate, config.rate_limit, metrics);
        let backend =
            Backend { responder, forwarder, places: Places::default(), tasks: TaskTracker::new(), pulses };
        let close = CancellationToken::new();
        let mut dns = Self {
            backend: Arc::new(backend),
            links,
            peers,
            head,
            doors: Vec::new(),
            everywhere: Everywhere::new(Vec::new(), close.clone()),
            close,
            datagrams: handed.udp.into_iter().map(SocketGroup::adopt).collect::<Result<_, _>>()?,
            streams: handed.tcp.into_iter().map(|listener| Streams::new(listener, None)).collect(),
        };
        if dns.datagrams.is_empty() && dns.streams.is_empty() {
            dns.open(&config.listen)?;
        }
        dns.refuse_circles(&config.forward)?;
        Ok(dns)
    }

    /// A gateway that asks itself never comes to an end.
    fn refuse_circles(&self, forward: &[NameServer]) -> anyhow::Result<()> {
        let links = self.links.borrow();
        for server in forward {
            let is_own = links.own(server.0.is_ipv4()).any(|ip| ip == server.0.ip());
            let listens = |address: SocketAddr| {
                let everywhere = address.ip().is_unspecified() && is_own;
                address.port() == server.0.port() && (everywhere || address.ip() == server.0.ip())
            };
            anyhow::ensure!(
                !self.addresses().into_iter().any(|(_, address)| listens(address)),
                "dns.forward names {}, which is this gateway itself; name the resolver that is to be asked",
                server.0
            );
        }
        Ok(())
    }

    fn open(&mut self, addresses: &[SocketAddr]) -> anyhow::Result<()> {
        let (wildcards, named): (Vec<SocketAddr>, Vec<SocketAddr>) =
            addresses.iter().partition(|address| address.ip().is_unspecified());
        let sockets = sockets_each(named.len());
        let open = |address| Door::open(address, sockets, &self.close);
        self.doors = named.into_iter().map(open).collect::<Result<_, _>>()?;
        self.everywhere = Everywhere::new(wildcards, self.close.clone());
        self.doors.extend(self.everywhere.follow(&self.links.borrow()));
        anyhow::ensure!(
            !self.everywhere.is_wanted() || !self.doors.is_empty(),
            "cannot listen on any address of this machine (dns.listen)"
        );
        Ok(())
    }

    /// Speaks DNS over TLS on these as well.
    pub fn add_tls(&mut self, listeners: Listeners, tls: Arc<ServerConfig>) {
        let acceptor = TlsAcceptor::from(tls);
        self.streams.extend(listeners.into_iter().map(|one| Streams::new(one, Some(acceptor.clone()))));
    }

    /// Where is listened, each with the name of the kind.
    #[must_use]
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let doors = self.doors.iter().filter_map(|door| door.address().ok());
        let doors = doors.flat_map(|address| [("dns", address), ("dns-tcp", address)]);
        let datagrams = self.datagrams.iter().filter_map(|one| Some(("dns", one.address().ok()?)));
        let streams = self.streams.iter().filter_map(|one| Some((one.kind(), one.address().ok()?)));
        doors.chain(datagrams).chain(streams).collect()
    }

    /// Answers until `stop`, then gives everybody who asked before that his answer.
    pub async fn serve(mut self, stop: CancellationToken) {
        let serving = TaskTracker::new();
        let backend = || Arc::clone(&self.backend);
        for datagrams in std::mem::take(&mut self.datagrams) {
            serving.spawn(datagrams.serve(backend(), self.close.clone()));
        }
        for streams in std::mem::take(&mut self.streams) {
            serving.spawn(streams.serve(backend(), self.close.clone()));
        }
        for door in std::mem::take(&mut self.doors) {
            serving.spawn(door.serve(backend()));
        }
        let following = follow_peers(Arc::clone(&self.backend), self.peers.clone());
        serving.spawn(self.close.clone().run_until_cancelled_owned(following));
        let publishing = follow_head(Arc::clone(&self.backend), self.head.clone());
        serving.spawn(self.close.clone().run_until_cancelled_owned(publishing));
        stop.run_until_cancelled(self.follow_links(&serving)).await;
        self.close.cancel();
        serving.close();
        serving.wait().await;
        self.backend.tasks.close();
        if tokio::time::timeout(DRAIN, self.backend.tasks.wait()).await.is_err() {
            tracing::warn!(seconds = DRAIN.as_secs(), "DNS answers were still under way; cut off");
        }
    }

    /// Learns of interfaces that come and go, and listens where it is to listen everywhere.
    async fn follow_links(&mut self, serving: &TaskTracker) {
        loop {
            let changed = tokio::time::timeout(AGAIN, self.links.changed()).await;
            let links = Arc::clone(&self.links.borrow_and_update());
            match changed {
                Ok(Ok(())) => self.backend.responder.learn(&links),
                // Nobody looks at the interfaces any more: it is the program's end.
                Ok(Err(_)) => return std::future::pending().await,
                // As they were; but an address that was taken may be free.
                Err(_) => {}
            }
            for door in self.everywhere.follow(&links) {
                if let Ok(address) = door.address() {
                    tracing::info!(%address, "an address has come; listening there");
                }
                serving.spawn(door.serve(Arc::clone(&self.backend)));
            }
        }
    }
}

/// Learns how other gateways fare.
async fn follow_peers(backend: Arc<Backend>, mut peers: watch::Receiver<Arc<Snapshot>>) {
    while peers.changed().await.is_ok() {
        let known = Arc::clone(&peers.borrow_and_update());
        backend.responder.learn_peers(&known);
    }
}

/// Learns what is published, from what is now on.
async fn follow_head(backend: Arc<Backend>, mut head: watch::Receiver<Option<Arc<Announced>>>) {
    head.mark_changed();
    while head.changed().await.is_ok() {
        let announced = head.borrow_and_update().clone();
        backend.responder.learn_head(announced);
    }
}

impl Backend {
    /// A pulse for the loop of this kind at this address.
    fn pulse(&self, kind: &str, address: &io::Result<SocketAddr>) -> Pulse {
        match address {
            Ok(address) => self.pulses.add(format!("{kind} {address}")),
            Err(_) => self.pulses.add(kind),
        }
    }

    /// The answer to a request that others have to be asked for.
    async fn look_up(self: Arc<Self>, request: Request, client: IpAddr) -> Option<Vec<u8>> {
        let reply = self.forwarder.as_ref()?.look_up(&request, client).await;
        request.answer(reply, self.responder.id())
    }
}
