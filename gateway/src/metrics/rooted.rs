//! What is counted of the root that is followed, and of what is served from it.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Roots that count, and what came under them.
#[derive(Default)]
pub struct Rooted {
    settled: Counter,
    current: Gauge,
    blocks: Counter,
    block_bytes: Counter,
    documents: Family<Labels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    source: &'static str,
    verified: &'static str,
}

impl Rooted {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("root_settled", "Roots of home's that were taken in", self.settled.clone());
        let help = "When home last knew of all that upstream's feed had told, as the root that counts says; 0: it does not say";
        registry.register_with_unit("root_current_timestamp", help, Unit::Seconds, self.current.clone());
        let help = "Nodes of home's index that were got behind clients' backs";
        registry.register("root_blocks", help, self.blocks.clone());
        let help = "Their bytes";
        registry.register_with_unit("root_blocks_received", help, Unit::Bytes, self.block_bytes.clone());
        let help = "Packuments that were taken in, by whoever gave them, and by what they were verified: root (the one that home \
                    has signed) or channel (home's or upstream's own connection)";
        registry.register("root_documents", help, self.documents.clone());
    }

    /// A root counts; home was current at this time, in milliseconds since 1970.
    pub(crate) fn settled(&self, current_ms: Option<u64>) {
        self.settled.inc();
        self.current.set(i64::try_from(current_ms.unwrap_or(0) / 1000).unwrap_or(i64::MAX));
    }

    /// A node has come.
    pub(crate) fn block(&self, bytes: usize) {
        self.blocks.inc();
        self.block_bytes.inc_by(bytes as u64);
    }

    /// A packument was taken in.
    pub(crate) fn document(&self, source: &'static str, by_root: bool) {
        let verified = if by_root { "root" } else { "channel" };
        self.documents.get_or_create(&Labels { source, verified }).inc();
    }
}
