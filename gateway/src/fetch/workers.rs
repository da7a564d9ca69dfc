//! Work on whole documents, bounded as a whole: as many at once as there are processors, and a queue beyond.
//!
//! Each holds one or two frames of 256 KiB, an encoder's window, the outline, and the longest manifest: some MB, whatever
//! the document's length. So fifty clients that ask for 40 MB each wait for each other, and memory does not grow.

use std::sync::Arc;
use std::thread;

use tokio::sync::Semaphore;

/// At least two, so that one long document does not stop the short ones; more than eight only add memory.
const FEWEST: usize = 2;
const MOST: usize = 8;

/// Places for work on documents. Cheap to clone.
#[derive(Clone)]
pub(super) struct Workers(Arc<Semaphore>);

impl Workers {
    pub(super) fn new() -> Self {
        let processors = thread::available_parallelism().map_or(FEWEST, usize::from);
        Self(Arc::new(Semaphore::new(processors.clamp(FEWEST, MOST))))
    }

    /// Does work where it may block, when its turn comes. The place is held until the work is done, also when whoever
    /// wanted it has gone. `None`: it came to a sudden end.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        // The semaphore is never closed.
        let place = Arc::clone(&self.0).acquire_owned().await.ok();
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        done.await.ok()
    }
}
