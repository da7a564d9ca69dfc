//! Documents that are not kept (a private package's), rewritten on their way to the one client that may see them.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::Fetch;
use super::decode::Gatherer;
use crate::upstream::{Answer, UpstreamError};

/// What is read of a document before it needs room in the budget: nearly all are shorter, and upstream's places bound
/// how many there are.
const FREE: u64 = 256 * 1024;
/// What a longer one is taken for at first, and then.
const TYPICAL: u64 = 4 * 1024 * 1024;
const LONG: u64 = 16 * 1024 * 1024;
/// The longest that is rewritten: it has the whole budget for itself.
const LONGEST: u64 = 42 * 1024 * 1024;
/// How long it waits for its room.
const WAIT: Duration = Duration::from_secs(25);

impl Fetch {
    /// Reads a document that is not kept and rewrites it; `None`: it is not what `rewrite` expects.
    ///
    /// # Errors
    /// [`UpstreamError`] when the body breaks off, is too large or is not text, or too many long ones wait.
    pub async fn rewrite(
        &self,
        mut answer: Answer,
        rewrite: impl FnOnce(&str) -> Option<String> + Send + 'static,
    ) -> Result<Option<String>, UpstreamError> {
        let mut gatherer = Gatherer::new(&answer, LONGEST)?;
        let (mut room, mut had) = (None, FREE);
        while let Some(chunk) = answer.chunk().await? {
            gatherer.take(chunk)?;
            let needed = [FREE, TYPICAL, LONG, LONGEST].into_iter().find(|size| gatherer.length() <= *size);
            let needed = needed.unwrap_or(LONGEST);
            if needed > had {
                // Given back first: two that wait for each other's would wait for ever.
                drop(room.take());
                room = Some(self.room(needed).await?);
                had = needed;
            }
        }
        let text = gatherer.finish()?;
        let done = self.inner.workers.run(move || {
            let done = rewrite(&text);
            drop(room);
            done
        });
        Ok(done.await.flatten())
    }

    async fn room(&self, length: u64) -> Result<OwnedSemaphorePermit, UpstreamError> {
        let room = tokio::time::timeout(WAIT, self.inner.budget.room_for(length)).await;
        room.ok().flatten().ok_or(UpstreamError::Queued)
    }
}
