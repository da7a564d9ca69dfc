//! What is missing: what did not come, and, by a second look at the end, what was evicted for what came after it.

use std::sync::atomic::Ordering;

use resolver::integrity::Integrity;

use super::{Came, Missing, WarmUp, attestations_of, lock, spec};
use crate::units::Size;

/// Looks between two pauses for others.
const TOGETHER: usize = 256;

/// A version that is here.
pub(super) struct Arrived {
    pub(super) tarball: Integrity,
    /// What it takes on disk.
    pub(super) bytes: u64,
    pub(super) came: Came,
}

impl WarmUp {
    /// Notes what had arrived and is no longer held as missing.
    pub(super) async fn look_again(&self) {
        let all: Vec<_> = lock(&self.arrived).iter().map(|(at, one)| (*at, one.tarball)).collect();
        let mut gone = Vec::new();
        for some in all.chunks(TOGETHER) {
            let parts = some.iter().map(|(at, tarball)| (*at, self.gone(*at, tarball)));
            gone.extend(parts.filter(|(_, parts)| !parts.is_empty()));
            // Each is a look into the state, and a lockfile may have many.
            tokio::task::yield_now().await;
        }
        if gone.is_empty() {
            return;
        }
        let mut arrived = lock(&self.arrived);
        let why = self.why_gone(arrived.values().map(|one| one.bytes).sum());
        for (at, parts) in gone {
            let Some(one) = arrived.remove(&at) else { continue };
            let need = &self.order.needs[at];
            self.count(one.came).fetch_sub(1, Ordering::Relaxed);
            let parts = parts.into_iter().map(|part| (part, why.clone())).collect();
            self.miss(spec(need), parts, need.optional);
        }
    }

    fn gone(&self, at: usize, tarball: &Integrity) -> Vec<&'static str> {
        let (store, need) = (self.fetch.store(), &self.order.needs[at]);
        let evidence = || !self.order.attestations || store.evidence(&attestations_of(need).path()).is_some();
        let parts = [
            ("metadata", store.packument(&need.name).is_some()),
            ("tarball", store.holds_blob(tarball)),
            ("attestations", evidence()),
        ];
        parts.into_iter().filter(|(_, held)| !held).map(|(part, _)| part).collect()
    }

    /// `bytes` are what all that arrived would take.
    fn why_gone(&self, bytes: u64) -> String {
        let limits = self.fetch.store().limits();
        let most = Size(limits.max_bytes);
        if bytes > limits.most_pinned() {
            return format!("it was evicted again: store.max_bytes ({most}) is too small for this project");
        }
        format!(
            "it was evicted again, or could not be kept: other sets and what the disk has to keep free \
             (store.min_free) leave this project too little of store.max_bytes ({most})"
        )
    }

    /// One line, however many parts of it are missing; reasons that are the same are given once.
    pub(super) fn miss(&self, package: String, parts: Vec<(&str, String)>, optional: bool) {
        let part = parts.iter().map(|(part, _)| *part).collect::<Vec<_>>().join(" and ");
        let mut whys: Vec<String> = parts.into_iter().map(|(_, why)| why).collect();
        whys.dedup();
        lock(&self.missing).push(Missing { package, part, why: whys.join("; "), optional });
    }
}
