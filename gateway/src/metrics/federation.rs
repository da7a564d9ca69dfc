//! What is counted of peers.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Sent;

/// Peers, and what they get.
#[derive(Default)]
pub struct Federation {
    sent: Counter,
    cuts: Counter,
    connected: Gauge,
    tarballs: Gauge,
}

impl Federation {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Body bytes sent to peers";
        registry.register_with_unit("peers_sent", help, Unit::Bytes, self.sent.clone());
        let help =
            "How often a peer was cut off because it floods, asks for what does not exist, or sends garbage";
        registry.register("peers_cut_off", help, self.cuts.clone());
        registry.register("peers_connected", "Peers that are connected", self.connected.clone());
        let help = "Tarballs that peers say they hold, each counted for each of them";
        registry.register("peers_tarballs", help, self.tarballs.clone());
    }

    /// So many peers are connected, and so many tarballs they say that they hold.
    pub(crate) fn show(&self, connected: usize, tarballs: usize) {
        self.connected.set(i64::try_from(connected).unwrap_or(i64::MAX));
        self.tarballs.set(i64::try_from(tarballs).unwrap_or(i64::MAX));
    }

    /// A peer was cut off.
    pub(crate) fn cut(&self) {
        self.cuts.inc();
    }

    /// What counts the bytes of a body that goes to a peer; `moved` counts those of this peer.
    pub(super) fn sending(&self, moved: Arc<AtomicU64>) -> Sent {
        Sent { of_source: self.sent.clone(), total: moved }
    }

    /// Bytes sent to peers since the start.
    pub(super) fn sent(&self) -> u64 {
        self.sent.get()
    }
}
