//! What is counted, in Prometheus' words.

mod federation;
mod index;
mod rooted;

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::{EncodeLabelSet, text};
pub(crate) use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

pub use federation::Federation;
pub use index::Index;
pub use rooted::Rooted;

/// Upper bounds in seconds, from a LAN mirror to the longest wait.
const LATENCIES: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 40.0];

/// Where bytes come from that are fetched, the nearest first.
const SOURCES: [&str; 4] = ["lan_peer", "far_peer", "home", "upstream"];

/// Everything that is counted. All label values come from fixed lists, so their number is bounded.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    sent: Family<SourceLabel, Counter>,
    received: Family<SourceLabel, Counter>,
    from_upstream: Counter,
    upstream_requests: Counter,
    upstream_errors: Family<KindLabel, Counter>,
    upstream_latency: Histogram,
    upstream_up: Gauge,
    connections: Gauge,
    dns_queries: Family<QueryLabels, Counter>,
    tls_expiry: Family<NoLabels, Gauge>,
    tls_failures: Counter,
    undated: Family<TimeLabel, Counter>,
    peers_refused: Family<ReasonLabel, Counter>,
    changes_lag: Family<NoLabels, Gauge>,
    changes_last_success: Family<NoLabels, Gauge>,
    changes_invalidated: Counter,
    gauges: StoreGauges,
    federation: Federation,
    index: Index,
    rooted: Rooted,
    sent_total: Arc<AtomicU64>,
    received_total: AtomicU64,
}

/// What the store holds, set when the metrics are read.
#[derive(Default)]
struct StoreGauges {
    blobs: Gauge,
    blob_bytes: Gauge,
    packuments: Gauge,
    packument_bytes: Gauge,
    bytes: Family<ClassLabel, Gauge>,
    pinned_bytes: Gauge,
    evicted: Gauge,
    evicted_bytes: Gauge,
    corrupt: Gauge,
    not_kept: Gauge,
    scrubbed_bytes: Gauge,
    scrub_progress: Gauge,
    full: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    outcome: &'static str,
    source: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueryLabels {
    transport: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabel {
    source: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabel {
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TimeLabel {
    time: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// So that a sample is there only once it has been set.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NoLabels {}

/// Counts the bytes of one body.
pub struct Sent {
    of_source: Counter,
    total: Arc<AtomicU64>,
}

/// Measures one request to upstream until its headers.
pub struct UpstreamTimer<'a> {
    metrics: &'a Metrics,
    started: Instant,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("open_registry"),
            requests: Family::default(),
            sent: Family::default(),
            received: Family::default(),
            from_upstream: Counter::default(),
            upstream_requests: Counter::default(),
            upstream_errors: Family::default(),
            upstream_latency: Histogram::new(LATENCIES),
            upstream_up: Gauge::default(),
            connections: Gauge::default(),
            dns_queries: Family::default(),
            tls_expiry: Family::default(),
            tls_failures: Counter::default(),
            undated: Family::default(),
            peers_refused: Family::default(),
            changes_lag: Family::default(),
            changes_last_success: Family::default(),
            changes_invalidated: Counter::default(),
            gauges: StoreGauges::default(),
            federation: Federation::default(),
            index: Index::default(),
            rooted: Rooted::default(),
            sent_total: Arc::default(),
            received_total: AtomicU64::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("http_requests", "Client requests answered", self.requests.clone());
        registry.register_with_unit(
            "http_sent",
            "Body bytes sent to clients",
            Unit::Bytes,
            self.sent.clone(),
        );
        registry.register("http_connections", "Client connections open", self.connections.clone());
        registry.register("upstream_requests", "Requests sent to upstream", self.upstream_requests.clone());
        registry.register("upstream_errors", "Requests that upstream failed", self.upstream_errors.clone());
        registry.register_with_unit(
            "upstream_latency",
            "Time until upstream's headers",
            Unit::Seconds,
            self.upstream_latency.clone(),
        );
        registry.register_with_unit(
            "upstream_received",
            "Body bytes received from upstream",
            Unit::Bytes,
            self.from_upstream.clone(),
        );
        let help = "Body bytes received, by where they came from";
        registry.register_with_unit("received", help, Unit::Bytes, self.received.clone());
        registry.register("upstream_up", "Whether upstream can be asked", self.upstream_up.clone());
        registry.register("dns_queries", "DNS queries, by what became of them", self.dns_queries.clone());
        registry.register_with_unit(
            "tls_certificate_expiry_timestamp",
            "When the certificate that is served expires",
            Unit::Seconds,
            self.tls_expiry.clone(),
        );
        registry.register(
            "tls_handshake_failures",
            "Connections that ended before TLS began",
            self.tls_failures.clone(),
        );
        registry.register(
            "packuments_undated",
            "Packuments taken whose time does not date all versions, or that have no time",
            self.undated.clone(),
        );
        registry.register(
            "peers_refused",
            "Connections and claims of peers that were not taken, by why",
            self.peers_refused.clone(),
        );
        registry.register(
            "changes_lag",
            "Sequences that the change feed is ahead of what was taken in",
            self.changes_lag.clone(),
        );
        registry.register_with_unit(
            "changes_last_success_timestamp",
            "When the change feed last answered",
            Unit::Seconds,
            self.changes_last_success.clone(),
        );
        registry.register(
            "changes_invalidated",
            "Held packuments that the change feed has named",
            self.changes_invalidated.clone(),
        );
        let store = &self.gauges;
        registry.register("store_tarballs", "Tarballs held", store.blobs.clone());
        registry.register_with_unit(
            "store_tarball",
            "Bytes of tarballs held",
            Unit::Bytes,
            store.blob_bytes.clone(),
        );
        registry.register("store_packuments", "Packuments held", store.packuments.clone());
        registry.register_with_unit(
            "store_packument",
            "Bytes of packuments held",
            Unit::Bytes,
            store.packument_bytes.clone(),
        );
        registry.register("store_corrupt", "Contents found corrupt since the start", store.corrupt.clone());
        registry.register(
            "store_not_kept",
            "Contents served since the start although the disk did not take them",
            store.not_kept.clone(),
        );
        self.register_store();
        self.federation.register(&mut self.registry);
        self.index.register(&mut self.registry);
        self.rooted.register(&mut self.registry);
    }

    fn register_store(&mut self) {
        let (registry, store) = (&mut self.registry, &self.gauges);
        let mut bytes = |name: &str, help: &str, gauge: &Gauge| {
            registry.register_with_unit(name, help, Unit::Bytes, gauge.clone());
        };
        bytes("store_pinned", "Bytes on disk that are pinned", &store.pinned_bytes);
        bytes("store_evicted", "Bytes on disk that were evicted since the start", &store.evicted_bytes);
        bytes("store_scrubbed", "Bytes that the scrub has verified since the start", &store.scrubbed_bytes);
        let help = "Bytes on disk, by what they hold";
        registry.register_with_unit("store", help, Unit::Bytes, store.bytes.clone());
        let help = "Items that were evicted since the start";
        registry.register("store_evicted_items", help, store.evicted.clone());
        let help = "How much of the scrub's round is done, in percent";
        registry.register("store_scrub_progress", help, store.scrub_progress.clone());
        let help = "Whether nothing new is kept, for there is no room";
        registry.register("store_full", help, store.full.clone());
    }

    /// A client's request has been answered.
    pub fn answered(&self, route: &'static str, outcome: &'static str, source: &'static str) {
        self.requests.get_or_create(&RequestLabels { route, outcome, source }).inc();
    }

    /// Where the bytes of one body are counted as they are handed to a client's connection.
    #[must_use]
    pub fn sending(&self, source: &'static str) -> Sent {
        let of_source = self.sent.get_or_create(&SourceLabel { source }).clone();
        Sent { of_source, total: Arc::clone(&self.sent_total) }
    }

    /// Where the bytes of one body are counted as they are handed to a peer's connection, besides those of this peer.
    pub(crate) fn sending_to_peer(&self, moved: Arc<AtomicU64>) -> Sent {
        self.federation.sending(moved)
    }

    /// What is counted of peers.
    #[must_use]
    pub fn federation(&self) -> &Federation {
        &self.federation
    }

    /// What is counted of the index.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// What is counted of the root that is followed.
    #[must_use]
    pub fn rooted(&self) -> &Rooted {
        &self.rooted
    }

    /// Bytes of a body have come from upstream.
    pub fn received(&self, bytes: u64) {
        self.from_upstream.inc_by(bytes);
        self.received_from("upstream", bytes);
    }

    /// Bytes of a body have come from somewhere: a label of `fetch::Provenance`.
    pub fn received_from(&self, source: &'static str, bytes: u64) {
        self.received.get_or_create(&SourceLabel { source }).inc_by(bytes);
        self.received_total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes received since the start, by where they came from.
    #[must_use]
    pub fn received_by_source(&self) -> [(&'static str, u64); SOURCES.len()] {
        SOURCES.map(|source| (source, self.received.get_or_create(&SourceLabel { source }).get()))
    }

    /// Bytes sent to clients and peers, and received from anybody, since the start.
    #[must_use]
    pub fn transferred(&self) -> (u64, u64) {
        let sent = self.sent_total.load(Ordering::Relaxed) + self.federation.sent();
        (sent, self.received_total.load(Ordering::Relaxed))
    }

    /// A request is on its way to upstream.
    pub(crate) fn upstream_started(&self) -> UpstreamTimer<'_> {
        self.upstream_requests.inc();
        UpstreamTimer { metrics: self, started: Instant::now() }
    }

    pub(crate) fn upstream_failed(&self, kind: &'static str) {
        self.upstream_errors.get_or_create(&KindLabel { kind }).inc();
    }

    /// A DNS query has come in by this transport, and this became of it.
    pub(crate) fn dns_query(&self, transport: &'static str, outcome: &'static str) {
        self.dns_queries.get_or_create(&QueryLabels { transport, outcome }).inc();
    }

    /// What counts the DNS queries with this outcome, for whoever has no time to look for it each time.
    pub(crate) fn dns_counter(&self, transport: &'static str, outcome: &'static str) -> Counter {
        self.dns_queries.get_or_create(&QueryLabels { transport, outcome }).clone()
    }

    /// The certificate that is served now is valid until then. Without a certificate there is no such sample.
    pub fn certificate_expires(&self, until: SystemTime) {
        let seconds = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.tls_expiry.get_or_create(&NoLabels {}).set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    /// A packument was taken some of whose versions have no date, or that has no `time` at all.
    pub(crate) fn undated(&self, has_time: bool) {
        let time = if has_time { "partial" } else { "none" };
        self.undated.get_or_create(&TimeLabel { time }).inc();
    }

    /// A peer, or something that it said, was not taken: "stranger", "crowd", "address", "directory".
    pub(crate) fn peer_refused(&self, reason: &'static str) {
        self.peers_refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// So far is the change feed ahead. Without a feed there is no such sample.
    pub(crate) fn changes_lag(&self, sequences: u64) {
        self.changes_lag.get_or_create(&NoLabels {}).set(i64::try_from(sequences).unwrap_or(i64::MAX));
    }

    /// The change feed has answered: seconds since 1970.
    pub(crate) fn changes_succeeded(&self, at_s: u64) {
        self.changes_last_success.get_or_create(&NoLabels {}).set(i64::try_from(at_s).unwrap_or(i64::MAX));
    }

    /// The change feed has named so many held packuments.
    pub(crate) fn changes_invalidated(&self, packuments: u64) {
        self.changes_invalidated.inc_by(packuments);
    }

    /// Where connections are counted that end before TLS begins.
    #[must_use]
    pub fn handshake_failures(&self) -> Counter {
        self.tls_failures.clone()
    }

    /// Where the open connections of clients are counted.
    #[must_use]
    pub fn connections(&self) -> Gauge {
        self.connections.clone()
    }

    /// The text that Prometheus scrapes.
    #[must_use]
    pub fn render(&self, totals: &crate::store::Totals, upstream_up: bool) -> String {
        let gauge = |gauge: &Gauge, value: &AtomicU64| {
            gauge.set(i64::try_from(value.load(Ordering::Relaxed)).unwrap_or(i64::MAX));
        };
        gauge(&self.gauges.blobs, &totals.blobs);
        gauge(&self.gauges.blob_bytes, &totals.blob_bytes);
        gauge(&self.gauges.packuments, &totals.packuments);
        gauge(&self.gauges.packument_bytes, &totals.packument_bytes);
        gauge(&self.gauges.corrupt, &totals.corrupt);
        gauge(&self.gauges.not_kept, &totals.not_kept);
        gauge(&self.gauges.pinned_bytes, &totals.pinned_bytes);
        gauge(&self.gauges.evicted, &totals.evicted);
        gauge(&self.gauges.evicted_bytes, &totals.evicted_bytes);
        gauge(&self.gauges.scrubbed_bytes, &totals.scrubbed_bytes);
        gauge(&self.gauges.scrub_progress, &totals.scrub_progress);
        gauge(&self.gauges.full, &totals.full);
        let classes = [
            ("tarballs", &totals.blob_stored),
            ("metadata", &totals.packument_stored),
            ("state", &totals.state_bytes),
        ];
        for (class, value) in classes {
            gauge(&self.gauges.bytes.get_or_create(&ClassLabel { class }), value);
        }
        self.upstream_up.set(i64::from(upstream_up));
        let mut out = String::new();
        if text::encode(&mut out, &self.registry).is_err() {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "# the metrics could not be written");
        }
        out
    }
}

impl Sent {
    /// Bytes have been handed to a client's connection.
    pub fn count(&self, bytes: u64) {
        self.of_source.inc_by(bytes);
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl UpstreamTimer<'_> {
    /// Upstream's headers have come.
    pub(crate) fn answered(self) {
        self.metrics.upstream_latency.observe(self.started.elapsed().as_secs_f64());
    }
}
