//! The one runtime that drives the harness, so that tests can be plain functions.

use std::future::Future;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let threads = Builder::new_multi_thread().worker_threads(2).thread_name("harness").enable_all().build();
    threads.expect("threads for the harness")
});

/// Runs in the background.
pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    RUNTIME.spawn(future)
}

/// Waits for `future`; not to be called from async code.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.block_on(future)
}
