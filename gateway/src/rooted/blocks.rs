//! Nodes that are not here: got from whoever has them, each once however many want it, and kept.

use std::future::ready;
use std::sync::{Arc, PoisonError};

use futures_util::future::{BoxFuture, Shared};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use resolver::index::{Block, Cid};
use resolver::peer::PeerId;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;

use super::ask::Miss;
use super::{Arrival, Provider, Rooted};

/// Blocks that are asked for at once, one by one: one peer's places are for documents first.
const AT_ONCE: usize = 4;
/// Blocks that are being asked for, each once.
const MOST: usize = 1024;

/// A block on its way; whether it came.
pub(super) type Flight = Shared<BoxFuture<'static, bool>>;

/// Nobody who could be asked has this block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody who is connected has the block {0} of home's index")]
pub(super) struct NotHad(pub(super) Cid);

impl Rooted {
    /// Gets nodes, so that they are among [`Rooted::nodes`].
    ///
    /// # Errors
    /// [`NotHad`], with the first that cannot be had.
    pub(super) async fn get(&self, cids: &[Cid]) -> Result<(), NotHad> {
        let flights = cids.iter().copied().map(|cid| {
            let rooted = self.clone();
            async move { (cid, rooted.fly(cid).await) }
        });
        let ended: Vec<_> = stream::iter(flights).buffered(AT_ONCE).collect().await;
        ended.into_iter().find(|(_, came)| !came).map_or(Ok(()), |(cid, _)| Err(NotHad(cid)))
    }

    fn fly(&self, cid: Cid) -> Flight {
        let flights = || self.inner.flights.lock().unwrap_or_else(PoisonError::into_inner);
        let mut under_way = flights();
        if let Some(flight) = under_way.get(&cid) {
            return flight.clone();
        }
        if under_way.len() >= MOST {
            return ready(false).boxed().shared();
        }
        let rooted = self.clone();
        let task = tokio::spawn(async move {
            let got = rooted.ask_around(cid).await;
            rooted.inner.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&cid);
            got
        });
        let flight = task.map(|ended| ended.unwrap_or(false)).boxed().shared();
        under_way.insert(cid, flight.clone());
        flight
    }

    /// One after the other: it is behind clients' backs.
    async fn ask_around(&self, cid: Cid) -> bool {
        self.inner.allowance.wait().await;
        for provider in self.inner.providers.all() {
            let Some(verdict) = self.inner.basis.judge.begin(provider.id) else { continue };
            let answered = self.inner.asker.block(provider.id, &cid).await;
            self.learn(&provider, answered.as_ref().err());
            match &answered {
                Ok(_) => verdict(Ok(())),
                Err(Miss::Fault(fault, _)) => verdict(Err(*fault)),
                // To have nothing is no fault.
                Err(Miss::NotThere(_)) => drop(verdict),
            }
            if let Ok(bytes) = answered {
                self.inner.allowance.spend(bytes.len());
                self.inner.basis.metrics.rooted().block(bytes.len());
                self.keep(vec![Block { cid, bytes }]).await;
                return true;
            }
        }
        false
    }

    /// What came of asking somebody.
    pub fn learn(&self, provider: &Provider, miss: Option<&Miss>) {
        match miss {
            None => self.inner.providers.gave(&provider.id),
            Some(miss) => {
                tracing::debug!(peer = %provider.id, %miss, "a peer did not give blocks of home's index");
                self.inner.providers.missed(provider.id);
            }
        }
    }

    /// Keeps nodes that were verified.
    pub async fn keep(&self, blocks: Vec<Block>) {
        if blocks.is_empty() {
            return;
        }
        let rooted = self.clone();
        // What is not kept is asked for again.
        let _ = spawn_blocking(move || rooted.inner.database.keep(&blocks)).await;
    }

    /// Who is to be asked, in order.
    #[must_use]
    pub fn providers(&self) -> Vec<Provider> {
        self.inner.providers.all()
    }

    /// Waits for a place among those who ask for documents; to be kept as long as one comes.
    pub async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.inner.documents).acquire_owned().await.ok()
    }

    /// Asks for the document at `path` under the root of now (`["lodash", "metadata.json"]`), with all that is not here of its proof;
    /// returns when the answer has begun.
    ///
    /// # Errors
    /// [`Miss`].
    pub async fn arrival(&self, of: PeerId, root: Cid, path: Vec<String>) -> Result<Arrival, Miss> {
        let (local, question) = self.question(root, &path);
        let car = self.inner.asker.car(of, &question).await?;
        Ok(Arrival::new(car, root, path, local))
    }
}
