//! Memory for documents that are worked on whole (private ones, which are not kept), bounded as a whole: beyond it a queue forms.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All documents being read and rewritten at one moment, in KiB.
const TOTAL_KIB: u32 = 128 * 1024;
/// A document in work takes itself, its rendering and its compressed form.
const COPIES: u64 = 3;

/// A share of memory. Cheap to clone.
#[derive(Clone)]
pub(super) struct Budget(Arc<Semaphore>);

impl Budget {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(TOTAL_KIB as usize)))
    }

    /// Room for work on a document of this length; given back when dropped.
    pub(super) async fn room_for(&self, length: u64) -> Option<OwnedSemaphorePermit> {
        let kib = (length * COPIES / 1024).clamp(1, u64::from(TOTAL_KIB));
        // The semaphore is never closed.
        Arc::clone(&self.0).acquire_many_owned(u32::try_from(kib).unwrap_or(TOTAL_KIB)).await.ok()
    }
}
