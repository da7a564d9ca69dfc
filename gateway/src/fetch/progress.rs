//! How far a download is, as those who wait for it see it.

use crate::store::{Blob, DraftReader};

use super::failure::Failure;

/// How far a download is.
#[derive(Clone)]
pub(super) enum Progress {
    /// Nothing to be seen yet.
    Waiting,
    /// Bytes are coming.
    Receiving(Received),
    /// It is over.
    Done(Result<Blob, Failure>),
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
