//! libp2p's own mDNS, for both families; and whether port 5353 is to be had.
//!
//! Its behaviour has one family each, keeps all that it is told without a limit, and does not look again at an interface that
//! has failed it. So there are two, and they are made anew when the networks around have changed, or they hold too much.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libp2p::core::transport::ListenerId;
use libp2p::mdns::{self, tokio::Behaviour};
use libp2p::swarm::NetworkBehaviour as _;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::behaviour::{FromSwarm, NewListenAddr};
use libp2p::{Multiaddr, PeerId};
use socket2::{Domain, Socket, Type};

use crate::swarm::vicinity::Vicinity;

/// The port of multicast DNS (RFC 6762).
pub const MULTICAST_PORT: u16 = 5353;
/// How often it is asked who is there; whoever starts later is heard of by his own dialling.
const QUERY: Duration = Duration::from_secs(15);
/// For how long what was announced holds: four questions.
const TTL: Duration = Duration::from_secs(60);
/// Addresses that are kept of what was announced; twice the candidates with eight addresses each.
const MOST_HELD: usize = 1024;

static SAID: AtomicBool = AtomicBool::new(false);

/// A behaviour of one family, if it is wanted and can be had.
pub(in crate::swarm) type Multicast = Toggle<Behaviour>;

/// The families, as they are asked for below.
pub(in crate::swarm) const FAMILIES: [bool; 2] = [false, true];

/// One that knows of no listener yet; none, where it would also speak on an interface that is left out, for it cannot be told
/// which it may use. There, DNS-SD alone looks for peers.
pub(in crate::swarm) fn new(own: PeerId, v6: bool, vicinity: &Vicinity) -> Multicast {
    if vicinity.leaves_out(v6) {
        return None.into();
    }
    let config = mdns::Config { ttl: TTL, query_interval: QUERY, enable_ipv6: v6 };
    let made = is_free().then(|| Behaviour::new(config, own).ok()).flatten();
    made.into()
}

/// The same for a swarm that listens already.
pub(in crate::swarm) fn anew(
    own: PeerId,
    v6: bool,
    vicinity: &Vicinity,
    listeners: &[Multiaddr],
) -> Multicast {
    let mut made = new(own, v6, vicinity);
    for address in listeners {
        let listener_id = ListenerId::next();
        made.on_swarm_event(FromSwarm::NewListenAddr(NewListenAddr { listener_id, addr: address }));
    }
    made
}

/// Whether it holds more than anybody but a flooder announces.
pub(in crate::swarm) fn is_flooded(one: &Multicast) -> bool {
    one.as_ref().is_some_and(|one| one.discovered_nodes().len() > MOST_HELD)
}

/// Takes the port of multicast DNS beside whoever has it, and lets go of it again.
///
/// # Errors
/// When whoever has it shares it with nobody.
pub fn share_port() -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, MULTICAST_PORT)).into())
}

/// Whether the port can be shared with whoever has it. Said once if not.
pub(super) fn is_free() -> bool {
    let Err(error) = share_port() else { return true };
    if !SAID.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            %error,
            "port 5353 is not shared with this gateway, so it does not look for peers by mDNS and is not found by it; have the \
             one who has the port announce it: `open-registry setup avahi` or `open-registry setup resolved-dnssd`"
        );
    }
    false
}
