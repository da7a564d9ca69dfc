//! Room for what cannot be written: a draft that the disk does not take goes on in memory, within one budget for all.

use std::fmt::Display;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What all drafts together take of memory while the disk takes nothing, in KiB: several of the largest, and hundreds
/// of an ordinary size. Who finds no room passes his bytes on as they come.
const TOTAL_KIB: usize = 64 * 1024;
/// The largest draft in memory: what is verified whole before its first byte goes out, if `http.verify_first_max` is
/// as it is by default. A larger one is given out while it comes, also from a good disk.
const LARGEST: u64 = 16 * 1024 * 1024;
/// What a draft in memory grows by.
const STEP: usize = 256 * 1024;

/// After a refusal the disk is asked for room for something large once in this time: what it does not take would have
/// come in vain, and comes once more for each client.
const PATIENCE: Duration = Duration::from_secs(10);

/// The budget, and when the disk has last refused something; `None` once it has taken something again.
pub(super) struct Room {
    memory: Arc<Semaphore>,
    refused: Mutex<Option<Instant>>,
}

/// Bytes of a draft in memory, and their share of the budget.
pub(super) struct Held {
    bytes: Vec<u8>,
    share: OwnedSemaphorePermit,
}

impl Default for Room {
    fn default() -> Self {
        Self { memory: Arc::new(Semaphore::new(TOTAL_KIB)), refused: Mutex::default() }
    }
}

impl Room {
    /// The disk has refused something. It is said once, however much it refuses, until it takes something again.
    pub(super) fn refused(&self, cause: &dyn Display) {
        if self.last_refusal().replace(Instant::now()).is_none() {
            tracing::warn!(%cause, "the disk takes nothing; what is fetched is passed on and not kept, until there is room: for the disk (store.min_free), or for us (store.max_bytes)");
        }
    }

    /// The disk has taken something.
    pub(super) fn taken(&self) {
        if self.last_refusal().take().is_some() {
            tracing::info!("the disk takes what is fetched again");
        }
    }

    /// Whether there is no use in bringing this many bytes: memory does not take them, nor does the disk when it
    /// `is_full`, or has refused something of late.
    pub(super) fn is_too_small_for(&self, bytes: u64, is_full: bool) -> bool {
        let of_late = |refused: Instant| refused.elapsed() < PATIENCE;
        bytes > LARGEST && (is_full || self.last_refusal().is_some_and(of_late))
    }

    fn last_refusal(&self) -> MutexGuard<'_, Option<Instant>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn share(&self, bytes: usize) -> io::Result<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let share = Arc::clone(&self.memory).try_acquire_many_owned(kib);
        share.map_err(|_| io::ErrorKind::StorageFull.into())
    }
}

impl Held {
    /// Room for a draft that has `length` bytes so far.
    pub(super) fn new(room: &Room, length: u64) -> io::Result<Self> {
        let length = fitting(length)?;
        Ok(Self { bytes: Vec::with_capacity(length), share: room.share(length)? })
    }

    /// Room for a draft that has nothing yet.
    pub(super) fn empty(room: &Room) -> Option<Self> {
        Self::new(room, 0).ok()
    }

    /// Takes the next bytes in, as far as there is room.
    pub(super) fn append(&mut self, room: &Room, bytes: &[u8]) -> io::Result<()> {
        let length = fitting((self.bytes.len() + bytes.len()) as u64)?;
        if let Some(missing) = length.checked_sub(self.bytes.capacity()).filter(|missing| *missing > 0) {
            let more = missing.max(STEP);
            self.share.merge(room.share(more)?);
            self.bytes.reserve_exact(self.bytes.capacity() + more - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// Its share is given back when the last reader is done.
impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn fitting(length: u64) -> io::Result<usize> {
    match usize::try_from(length) {
        Ok(fits) if length <= LARGEST => Ok(fits),
        _ => Err(io::ErrorKind::StorageFull.into()),
    }
}
