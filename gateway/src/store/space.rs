//! What is free on the file system of the data directory, looked at once a second at most.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a look is believed.
const BELIEVED: Duration = Duration::from_secs(1);

/// Free space as it was, and as far as we have changed it since.
pub(super) struct Space {
    dir: PathBuf,
    seen: Mutex<Option<Seen>>,
}

struct Seen {
    at: Instant,
    free: Option<u64>,
}

impl Space {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.into(), seen: Mutex::new(None) }
    }

    /// Bytes that are free for us; `None` when the file system does not say.
    pub(super) fn free(&self) -> Option<u64> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.as_ref().filter(|seen| seen.at.elapsed() < BELIEVED) {
            Some(seen) => seen.free,
            None => seen.insert(Seen { at: Instant::now(), free: look(&self.dir) }).free,
        }
    }

    /// So much was freed since the last look.
    pub(super) fn freed(&self, bytes: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(free) = seen.as_mut().and_then(|seen| seen.free.as_mut()) {
            *free = free.saturating_add(bytes);
        }
    }

    /// The disk was found full: what was seen before counts no more.
    pub(super) fn look_again(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn look(dir: &Path) -> Option<u64> {
    let seen = rustix::fs::statvfs(dir).ok()?;
    // Some network file systems report neither blocks nor free ones.
    (seen.f_blocks > 0).then(|| seen.f_bavail.saturating_mul(seen.f_frsize))
}
