//! How far a download is, as those who wait for it see it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Provenance;
use super::failure::Failure;
use crate::store::{Blob, DraftReader};

/// A place among those who wait for one download.
#[derive(Clone)]
pub(super) struct Ticket {
    /// What has happened.
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) shared: Shared,
}

/// What a download has in common with those who wait for it, besides its progress.
#[derive(Clone, Default)]
pub(super) struct Shared {
    /// Bytes that have come, of all attempts together; more often up to date than the progress.
    pub(super) received: Arc<AtomicU64>,
    /// Cancelled when peers are not to be waited for.
    pub(super) alone: CancellationToken,
}

/// How far a download is.
#[derive(Clone)]
pub(super) enum Progress {
    /// Others come first.
    Queued,
    /// Asked for; nothing to be seen yet.
    Begun,
    /// Bytes are coming.
    Receiving(Received),
    /// There is no room for it; everybody has to fetch it for himself.
    NoRoom,
    /// It is over.
    Done(Result<(Blob, Provenance), Failure>),
}

/// What of a body has come.
#[derive(Clone)]
pub(super) struct Received {
    /// Where it can be read.
    pub(super) reader: DraftReader,
    /// Which draft it is: another number after a restart.
    pub(super) draft: u32,
    /// How much of it can be read.
    pub(super) flushed: u64,
    /// How much it will be.
    pub(super) length: Option<u64>,
    /// Whether it comes from where nobody can tamper with it unseen.
    pub(super) authentic: bool,
}
