//! How much is held: counted in the transactions that change it, and shown to everybody else.

use std::sync::atomic::{AtomicU64, Ordering};

use redb::{ReadTransaction, WriteTransaction};
use resolver::eviction::{Class, Usage};
use resolver::variant::Revision;
use serde::{Deserialize, Serialize};

use super::tables::{META, json, read_json};

/// Its row in `meta`.
const ROW: &str = "totals";

/// How much is held, for whoever wants to know.
#[derive(Debug, Default)]
pub struct Totals {
    /// Tarballs.
    pub blobs: AtomicU64,
    /// Their bytes.
    pub blob_bytes: AtomicU64,
    /// The same on disk, in whole blocks.
    pub blob_stored: AtomicU64,
    /// Packuments.
    pub packuments: AtomicU64,
    /// Their bytes, as upstream sent them.
    pub packument_bytes: AtomicU64,
    /// What they and their variants take on disk.
    pub packument_stored: AtomicU64,
    /// Small signed documents, and upstream's words that there are none.
    pub evidence: AtomicU64,
    /// What the state itself takes on disk, and the databases beside it.
    pub state_bytes: AtomicU64,
    /// Items that are held and pinned.
    pub pinned: AtomicU64,
    /// Their bytes on disk.
    pub pinned_bytes: AtomicU64,
    /// Items that were evicted since the start.
    pub evicted: AtomicU64,
    /// Their bytes on disk.
    pub evicted_bytes: AtomicU64,
    /// Contents and variants that were found damaged when they were read, since the start.
    pub corrupt: AtomicU64,
    /// Bytes that the scrub has read since the start.
    pub scrubbed_bytes: AtomicU64,
    /// How far the scrub's round has come: percent.
    pub scrub_progress: AtomicU64,
    /// Contents that were served since the start without being kept, for the disk took nothing.
    pub not_kept: AtomicU64,
    /// 1 while nothing new is kept, for there is no room; otherwise 0.
    pub full: AtomicU64,
}

impl Totals {
    /// Content was no longer what its digest says, and has been removed.
    pub(super) fn found_corrupt(&self, digest: &str) {
        self.corrupt.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(digest, "content on disk no longer matches its digest; removed, to be fetched again");
    }

    /// A variant of a packument was damaged, and has been removed; its document is intact, as far as is known.
    pub(super) fn found_corrupt_variant(&self, revision: &Revision, tag: &str) {
        self.corrupt.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            revision = revision.hex(),
            tag,
            "a variant of a packument is damaged on disk; removed, to be made again"
        );
    }
}

/// The same, as the writer counts it; the queues' ends are counted with it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Counts {
    pub(super) blobs: u64,
    pub(super) blob_bytes: u64,
    pub(super) blob_stored: u64,
    pub(super) packuments: u64,
    pub(super) packument_bytes: u64,
    pub(super) packument_stored: u64,
    pub(super) evidence: u64,
    /// They lie in the state's own file.
    pub(super) evidence_bytes: u64,
    pub(super) pinned: u64,
    pub(super) pinned_bytes: u64,
    /// Of what upstream has removed, which lies in the state's own file, too.
    pub(super) removed_bytes: u64,
    /// The newest place that was given away.
    pub(super) place: u64,
    /// Where eviction goes on, by class.
    pub(super) hands: [u64; 2],
    /// Items in the queues, by class.
    pub(super) queued: [u64; 2],
    /// The last number that news was marked with, and the one before the first: 0 where nothing was marked yet.
    pub(super) news: u64,
    pub(super) news_since: u64,
}

impl Counts {
    pub(super) fn load(read: &ReadTransaction) -> Result<Self, redb::Error> {
        let row = read.open_table(META)?.get(ROW)?;
        Ok(row.and_then(|row| read_json(row.value())).unwrap_or_default())
    }

    pub(super) fn save(&self, write: &WriteTransaction) -> Result<(), redb::Error> {
        write.open_table(META)?.insert(ROW, json(self)?.as_slice())?;
        Ok(())
    }

    /// What counts against the limits, with this much taken by the state's file.
    pub(super) fn usage(&self, state_bytes: u64, free: Option<u64>) -> Usage {
        Usage {
            tarballs: self.blob_stored,
            metadata: self.packument_stored.saturating_add(self.evidence_bytes),
            overhead: state_bytes.saturating_sub(self.evidence_bytes),
            free,
        }
    }

    pub(super) fn show(&self, totals: &Totals) {
        let shown = [
            (&totals.blobs, self.blobs),
            (&totals.blob_bytes, self.blob_bytes),
            (&totals.blob_stored, self.blob_stored),
            (&totals.packuments, self.packuments),
            (&totals.packument_bytes, self.packument_bytes),
            (&totals.packument_stored, self.packument_stored),
            (&totals.evidence, self.evidence),
            (&totals.pinned, self.pinned),
            (&totals.pinned_bytes, self.pinned_bytes),
        ];
        for (shown, counted) in shown {
            shown.store(counted, Ordering::Relaxed);
        }
    }

    pub(super) fn has_queued(&self, class: Class) -> bool {
        self.queued[usize::from(super::tables::class_row(class))] > 0
    }
}

/// Takes away, and says loudly in a test when there was less: counts that drift end in an eviction too many.
pub(super) fn take(count: &mut u64, less: u64) {
    debug_assert!(*count >= less, "{count} is less than {less}");
    *count = count.saturating_sub(less);
}
