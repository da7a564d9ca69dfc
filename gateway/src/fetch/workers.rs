//! Work on whole documents, bounded as a whole: as many at once as there are processors, and a queue beyond.
//!
//! Each holds one or two frames of 256 KiB, an encoder's window, the outline, and the longest manifest: some MB, whatever
//! the document's length. So fifty clients that ask for 40 MB each wait for each other, and memory does not grow. The
//! threads are their own: what the C library's allocator keeps it keeps per thread, and the runtime has hundreds that may
//! block.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

/// At least two, so that one long document does not stop the short ones; more than eight only add memory.
const FEWEST: usize = 2;
const MOST: usize = 8;

type Job = Box<dyn FnOnce() + Send>;

/// The threads that work on documents; they end with the last of it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Workers(Sender<Job>);

impl Workers {
    pub(super) fn new() -> Self {
        let (queue, jobs) = channel();
        let jobs = Arc::new(Mutex::new(jobs));
        let processors = thread::available_parallelism().map_or(FEWEST, usize::from);
        for _ in 0..processors.clamp(FEWEST, MOST) {
            let jobs = Arc::clone(&jobs);
            let started = thread::Builder::new().name("documents".into()).spawn(move || work(&jobs));
            if let Err(error) = started {
                tracing::error!(%error, "a thread for documents cannot be started");
            }
        }
        Self(queue)
    }

    /// Does work when its turn comes, also when whoever wanted it has gone. `None`: it came to a sudden end.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        let job = move || {
            // Whoever wanted it may have gone.
            let _ = done.send(work());
        };
        self.0.send(Box::new(job)).ok()?;
        result.await.ok()
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else {
            return;
        };
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("work on a document came to a sudden end");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_crashes_costs_nobody_else_anything() {
        let workers = Workers::new();
        for _ in 0..20 {
            assert_eq!(workers.run(|| -> u8 { panic!("as planned") }).await, None);
        }
        assert_eq!(workers.run(|| 7).await, Some(7));
    }
}
