//! What is counted of the index: what is published, and who reads it.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// The index, as it is published.
#[derive(Default)]
pub struct Index {
    roots: Counter,
    packages: Gauge,
    blocks: Gauge,
    bytes: Gauge,
    published_at: Gauge,
    sent: Counter,
    heads: Family<HeadLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HeadLabels {
    way: &'static str,
    outcome: &'static str,
}

impl Index {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("index_roots", "Roots published", self.roots.clone());
        registry.register("index_packages", "Packages of the index", self.packages.clone());
        registry.register("index_blocks", "Blocks of the index", self.blocks.clone());
        let help = "What the root leads to, each document as often as it stands there";
        registry.register_with_unit("index", help, Unit::Bytes, self.bytes.clone());
        let help = "When the head that is published was signed";
        registry.register_with_unit("index_head_timestamp", help, Unit::Seconds, self.published_at.clone());
        registry.register("index_blocks_sent", "Blocks sent, alone and in CARs", self.sent.clone());
        let help = "Records that have come as home's head, by way and what became of them";
        registry.register("head_records", help, self.heads.clone());
    }

    /// A record has come.
    pub(crate) fn heard(&self, way: &'static str, outcome: &'static str) {
        self.heads.get_or_create(&HeadLabels { way, outcome }).inc();
    }

    /// This is published: so many packages, blocks and bytes; `is_new`: under another root than before. Times in seconds since 1970.
    pub(crate) fn show(&self, is_new: bool, [packages, blocks, bytes]: [u64; 3], signed: u64) {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.packages.set(number(packages));
        self.blocks.set(number(blocks));
        self.bytes.set(number(bytes));
        self.published_at.set(number(signed));
        self.roots.inc_by(u64::from(is_new));
    }

    /// A block is sent.
    pub(crate) fn sent_block(&self) {
        self.sent.inc();
    }
}
