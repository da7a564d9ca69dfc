//! Starts the swarm: reads its key, makes its sockets, and says what is wrong with them.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol as Part;
use libp2p::swarm::Config as SwarmConfig;
use libp2p::{Multiaddr, noise};
use nix::errno::Errno;
use resolver::card::Card;

use super::address::{self, Carrier};
use super::behaviour::Behaviour;
use super::discovery::multicast;
use super::task::{Shell, Task};
use super::vicinity::Vicinity;
use super::{
    Bulletins, Config, Door, Incoming, Protocol, PskError, Swarm, bulletin, psk, streams, transport,
};
use crate::identity::{Identity, IdentityError};
use crate::listen::BindError;
use crate::metrics::Metrics;

/// What the swarm has to know of this gateway.
pub struct Own {
    /// Its key.
    pub identity: Arc<Identity>,
    /// Where clients are served.
    pub doors: Vec<Door>,
    /// What it says of itself, without URLs. Asked once a second.
    pub card: Box<dyn Fn() -> Card + Send + Sync>,
    /// Whether it may say in the networks around that it is there.
    pub announces: bool,
    /// What is said to all.
    pub bulletins: Bulletins,
    /// Where is counted who is refused.
    pub metrics: Arc<Metrics>,
}

/// Why there is no swarm.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The private swarm's key.
    #[error(transparent)]
    Psk(#[from] PskError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The same by one of the carriers.
    #[error("cannot listen on {0} for peers (federation.listen): {1}")]
    Listen(SocketAddr, String),
    /// The gateway's key is of no use.
    #[error("this gateway's key cannot be used for connections: {0}")]
    Key(String),
    /// Gossip does not begin.
    #[error("home's word cannot be passed on: {0}")]
    Gossip(String),
}

impl From<IdentityError> for StartError {
    fn from(error: IdentityError) -> Self {
        Self::Key(error.to_string())
    }
}

impl From<noise::Error> for StartError {
    fn from(error: noise::Error) -> Self {
        Self::Key(error.to_string())
    }
}

/// The swarm, streams that peers will open, and the task that is to be run. It listens already.
///
/// # Errors
/// [`StartError`].
pub fn start(config: &Config, own: Own) -> Result<(Swarm, BTreeMap<Protocol, Incoming>, Task), StartError> {
    let psk = config.psk_file.as_deref().map(psk::read).transpose()?;
    let key = Keypair::ed25519_from_bytes(own.identity.secret()?)
        .map_err(|error| StartError::Key(error.to_string()))?;
    let vicinity = Vicinity::new(&config.interfaces);
    let transport = transport::new(&key, psk, vicinity.clone())?;
    let protocols =
        Protocol::ALL.iter().map(|one| one.name()).chain([streams::CARD, streams::DIRECTORY]).collect();
    let id = key.public().to_peer_id();
    // Multicast DNS of libp2p cannot look without being seen.
    let announced = config.discover && own.announces;
    let multicast = multicast::FAMILIES.map(|v6| match announced {
        true => multicast::new(id, v6, &vicinity),
        false => None.into(),
    });
    let gossip = bulletin::gossip(&own.bulletins.posts()).map_err(StartError::Gossip)?;
    let named =
        config.home.iter().chain(&config.bootstrap).filter_map(|contact| address::peer_of(contact.id));
    let behaviour = Behaviour::new(&key, protocols, gossip, named, multicast);
    let mut swarm = Shell::new(transport, behaviour, id, SwarmConfig::with_tokio_executor());
    let mut listening = Vec::new();
    for address in &config.listen {
        listening.extend(listen(&mut swarm, *address, psk.is_some())?);
    }
    if listening.is_empty() {
        let why = "this machine has none of these addresses".to_owned();
        return Err(StartError::Listen(config.listen.first().copied().unwrap_or(([0; 4], 0).into()), why));
    }
    let (handle, ends, incoming) = Swarm::channels();
    // Whoever comes in by loopback alone is not there for the networks around.
    let ports = listening.iter().filter(|one| !one.ip().is_loopback()).map(SocketAddr::port).collect();
    let task = Task::new(swarm, ends, config, own, vicinity, ports);
    Ok((handle, incoming, task))
}

/// By TCP and, unless the swarm is private, by QUIC at the same port. Where there is no IPv6, its addresses may be missing.
fn listen(swarm: &mut Shell, address: SocketAddr, is_private: bool) -> Result<Vec<SocketAddr>, StartError> {
    let address = match free(address) {
        Ok(address) => address,
        Err(error) if is_without_ipv6(address, &error) => {
            tracing::warn!(%address, "this machine has no IPv6; not listening for peers there");
            return Ok(Vec::new());
        }
        Err(error) => return Err(BindError::new("federation.listen", address, error).into()),
    };
    let carriers: &[Carrier] = if is_private { &[Carrier::Tcp] } else { &[Carrier::Tcp, Carrier::Quic] };
    for carrier in carriers {
        let listened = swarm.listen_on(listening_at(address, *carrier));
        listened.map_err(|error| StartError::Listen(address, error.to_string()))?;
    }
    tracing::info!(listener = "federation", %address, "listening");
    Ok(vec![address])
}

fn listening_at(address: SocketAddr, carrier: Carrier) -> Multiaddr {
    address::of_place(address, carrier)
}

/// The same address, with a port that is free for both carriers. libp2p shares its ports with whoever asks for them, so that
/// two gateways would have the same one and each half of the connections.
fn free(address: SocketAddr) -> io::Result<SocketAddr> {
    let only = |kind| {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), kind, None)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        io::Result::Ok(socket)
    };
    let tcp = only(socket2::Type::STREAM)?;
    tcp.set_reuse_address(true)?;
    tcp.bind(&address.into())?;
    tcp.listen(1)?;
    let bound = TcpListener::from(tcp).local_addr()?;
    let udp = only(socket2::Type::DGRAM)?;
    udp.bind(&bound.into())?;
    UdpSocket::from(udp).local_addr()
}

fn is_without_ipv6(address: SocketAddr, error: &io::Error) -> bool {
    let missing = [Errno::EADDRNOTAVAIL, Errno::EAFNOSUPPORT].map(|errno| Some(errno as i32));
    address.is_ipv6() && address.ip().is_unspecified() && missing.contains(&error.raw_os_error())
}

/// Whether others reach who listens there: those on this machine, where it listens for them alone.
pub(super) fn is_told(address: &Multiaddr, is_local: bool) -> bool {
    let by_tcp = address.iter().any(|part| matches!(part, Part::Tcp(_)));
    let leads_there = match address::ip(address) {
        Some(std::net::IpAddr::V6(v6)) if v6.is_unicast_link_local() => false,
        Some(ip) => ip.is_loopback() == is_local,
        None => false,
    };
    by_tcp && leads_there
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_no_contact_but_for_who_listens_there_alone() {
        let told = |text: &str, is_local| is_told(&text.parse().unwrap(), is_local);
        for (address, is_local) in [
            ("/ip4/192.168.7.9/tcp/6738", false),
            ("/ip6/2a0d:5600:8::10/tcp/6738", false),
            ("/ip4/127.0.0.1/tcp/6738", true),
            ("/ip6/::1/tcp/6738", true),
        ] {
            assert_eq!((told(address, false), told(address, true)), (!is_local, is_local), "{address}");
        }
        for address in
            ["/ip6/fe80::1/tcp/6738", "/ip4/192.168.7.9/udp/6738/quic-v1", "/dns4/a.example/tcp/6738"]
        {
            assert!(!told(address, false) && !told(address, true), "{address}");
        }
    }
}
