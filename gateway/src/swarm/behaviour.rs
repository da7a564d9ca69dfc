//! What this gateway speaks on a connection, and how many connections it has.

use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{PeerId, identify, ping};
use libp2p_allow_block_list::BlockedPeers;
use libp2p_connection_limits::ConnectionLimits;

use super::bulletin::Gossip;
use super::discovery::multicast::Multicast;
use super::lookup::Lookup;
use super::streams;

/// What tells this swarm from others in identify: whoever says something else is none of ours.
pub(super) const VERSION: &str = "/open-registry/1";
/// A peer is asked for a sign of life so often ...
const PING: Duration = Duration::from_secs(2);
/// ... and asked again after so long. libp2p forgives the first failure and then waits long for a new stream; so it is not its
/// failures that end a connection, but that no answer has come for a while (`connected`).
const PONG: Duration = Duration::from_secs(3);
/// Connections of one peer: one of each carrier, and one that was made while the other end had not seen yet that the one
/// before it is dead.
const PER_PEER: u32 = 3;
/// Connections in all, and those that others have made: 128 peers and what comes while they change. Each costs some 50 KiB.
const ALL: u32 = 256;
pub(super) const INCOMING: u32 = 160;
const OUTGOING: u32 = 160;
/// Handshakes under way, which cost time: of those who come in, and of those who are dialled.
const BEGINNING: u32 = 64;

/// All of it.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    // First, so that nobody else spends anything on a connection that is one too many.
    limits: libp2p_connection_limits::Behaviour,
    pub(super) blocked: libp2p_allow_block_list::Behaviour<BlockedPeers>,
    pub(super) streams: streams::Behaviour,
    ping: ping::Behaviour,
    identify: identify::Behaviour,
    pub(super) lookup: Lookup,
    pub(super) gossip: Gossip,
    pub(super) mdns_v4: Multicast,
    pub(super) mdns_v6: Multicast,
}

impl Behaviour {
    /// For a gateway with this key, that speaks these protocols on streams; there is always a place for `named` peers.
    pub(super) fn new(
        key: &Keypair,
        protocols: Vec<&'static str>,
        gossip: Gossip,
        named: impl Iterator<Item = PeerId>,
        [mdns_v4, mdns_v6]: [Multicast; 2],
    ) -> Self {
        let mut limits = libp2p_connection_limits::Behaviour::new(limits());
        named.for_each(|peer| limits.bypass_peer_id(&peer));
        let agent = format!("open-registry/{}", env!("CARGO_PKG_VERSION"));
        let identify = identify::Config::new(VERSION.to_owned(), key.public())
            .with_agent_version(agent)
            .with_push_listen_addr_updates(true)
            .with_cache_size(0);
        Self {
            limits,
            blocked: libp2p_allow_block_list::Behaviour::default(),
            streams: streams::Behaviour::new(protocols),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(PING).with_timeout(PONG)),
            identify: identify::Behaviour::new(identify),
            lookup: Lookup::new(key),
            gossip,
            mdns_v4,
            mdns_v6,
        }
    }
}

fn limits() -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(BEGINNING))
        .with_max_pending_outgoing(Some(BEGINNING))
        .with_max_established_incoming(Some(INCOMING))
        .with_max_established_outgoing(Some(OUTGOING))
        .with_max_established(Some(ALL))
        .with_max_established_per_peer(Some(PER_PEER))
}
