//! Upstream's word for what the held document does not know, and news of what has changed. Nobody can make us ask more
//! often than every few seconds by asking for what there is not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use resolver::package::PackageName;
use resolver::plan::{INSIST_PAUSE, Plan, Wish};

use super::failure::Failure;
use super::packuments::{Document, Readable};
use super::{FIRST_BYTE, Fetch, Provenance, age, now_ms};
use crate::store::StoreError;

/// Changes that are taken in at once, in one transaction: a fraction of a millisecond.
const AT_ONCE: usize = 64;
/// What upstream said so lately is its word of now; home tells ages in whole seconds.
const NEW: Duration = INSIST_PAUSE.saturating_add(Duration::from_secs(1));

impl Fetch {
    /// The document that has a version, or the version that a dist-tag names; and which version that is.
    ///
    /// # Errors
    /// [`Failure`], when upstream says that there is none, or only upstream could say so.
    pub async fn manifest(
        &self,
        name: &PackageName,
        version_or_tag: &str,
        wish: Wish,
    ) -> Result<(Document, String), Failure> {
        let what = format!("version {version_or_tag} of {name}");
        let mut document = self.packument(name, wish).await?;
        if let Some(version) = self.version_in(&document, version_or_tag).await? {
            if let Some(notice) = self.takedowns().of_version(name, &version) {
                return Err(Failure::Blocked(notice));
            }
            return Ok((document, version));
        }
        // Home's word may be of before.
        if document.source != Provenance::Upstream {
            document = self.confirmed(name, &what).await?;
        }
        let version = self.version_in(&document, version_or_tag).await?.ok_or(Failure::NotFound(what))?;
        match self.takedowns().of_version(name, &version) {
            Some(notice) => Err(Failure::Blocked(notice)),
            None => Ok((document, version)),
        }
    }

    async fn version_in(&self, document: &Document, version_or_tag: &str) -> Result<Option<String>, Failure> {
        let outline = self.outline(document).await?;
        Ok(outline.release(version_or_tag).map(|release| release.version.clone()))
    }

    /// The packument as upstream has it now, or had it a few seconds ago, for the sake of `what`, which the held one
    /// does not know.
    ///
    /// # Errors
    /// [`Failure`], also when one is held and only upstream could say more.
    pub(super) async fn confirmed(&self, name: &PackageName, what: &str) -> Result<Document, Failure> {
        if let Some(obstacle) = Plan::for_tarball(false, &self.inner.upstream.latch().link()).obstacle {
            return Err(Failure::unavailable(what, obstacle));
        }
        if self.may_insist(name) {
            let slow = || Err(Failure::unavailable(what, "upstream is slow"));
            let asked = tokio::time::timeout(FIRST_BYTE, self.insist(name)).await;
            let readable = asked.unwrap_or_else(|_| slow()).map_err(|failure| failure.about(what))?;
            if readable.cut_off {
                return Err(Failure::unavailable(what, "home cannot reach upstream"));
            }
            return Ok(self.document(name, readable, None));
        }
        let held = self.held(name).filter(|document| age(document.record.checked_ms) < NEW);
        held.ok_or_else(|| Failure::unavailable(what, "upstream failed a moment ago"))
    }

    /// Upstream's word of now. Somebody else's question may have brought home's word of before, and is not joined twice.
    pub(super) async fn insist(&self, name: &PackageName) -> Result<Readable, Failure> {
        let readable = self.fly(name, Wish::Confirmed).await?;
        let is_new = age(readable.record.checked_ms) < NEW;
        if is_new || readable.cut_off { Ok(readable) } else { self.fly(name, Wish::Confirmed).await }
    }

    /// Upstream is asked because somebody insists: not when that was done a moment ago, unless the answer is still to
    /// come, for him too.
    pub(super) fn may_insist(&self, name: &PackageName) -> bool {
        self.inner.packuments.flights.is_under_way(name) || self.inner.packuments.lately.may_insist(name)
    }

    /// These packages have changed: what is held of them is confirmed before it is served once more. Gives how many
    /// of them are held.
    ///
    /// # Errors
    /// [`Failure`] when the state cannot be committed.
    pub async fn changed(&self, names: &[PackageName]) -> Result<usize, Failure> {
        let mut held = 0;
        for some in names.chunks(AT_ONCE) {
            for doubted in join_all(some.iter().map(|name| self.doubt(name))).await {
                held += usize::from(doubted?);
            }
            // Most are not held, and to find that out waits for nothing.
            tokio::task::yield_now().await;
        }
        Ok(held)
    }

    async fn doubt(&self, name: &PackageName) -> Result<bool, StoreError> {
        let packuments = &self.inner.packuments;
        // An answer that is on its way may be from before: it is doubted when it has come.
        if packuments.flights.is_under_way(name) || self.inner.store.packument(name).is_some() {
            packuments.lately.changed(name);
        } else {
            packuments.lately.appeared(name);
        }
        self.inner.store.doubt_packument(name).await
    }

    /// Everything that is held may have changed: it is confirmed before it is served once more. Gives the moment, in
    /// milliseconds since 1970.
    pub fn doubt_all(&self) -> u64 {
        let now = now_ms();
        self.doubt_all_before(now);
        now
    }

    /// Everything that was confirmed before this moment (milliseconds since 1970) may have changed: it is confirmed
    /// before it is served once more.
    pub fn doubt_all_before(&self, moment_ms: u64) {
        self.inner.packuments.doubted_ms.store(moment_ms.min(now_ms()), Ordering::Relaxed);
    }
}
