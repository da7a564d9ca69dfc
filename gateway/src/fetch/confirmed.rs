//! What a feed has cast doubt on, confirmed although nobody asks for it: so that all that is held is upstream's word of one moment.

use std::time::Duration;

use resolver::package::PackageName;
use resolver::plan::{self, Wish};

use super::failure::Failure;
use super::{Fetch, age, now_ms};
use crate::store::PackumentRecord;

/// Packuments that are looked at at once: a few milliseconds.
const PAGE: usize = 512;

/// What is held, looked at in the order of names.
pub struct Doubtful {
    /// What upstream is to be asked for.
    pub names: Vec<PackageName>,
    /// The last that was looked at; `None`: there are no more.
    pub last: Option<String>,
    /// From when on upstream's word counts: milliseconds since 1970.
    pub told_ms: u64,
}

impl Fetch {
    /// What is doubtful of the next that is held behind this name: whatever has changed and was not confirmed since, and what was confirmed
    /// so lately that a server may have said so which had not heard of a change. `None`: there is no telling now. Blocks for a
    /// moment.
    #[must_use]
    pub fn doubtful_behind(&self, name: &str) -> Option<Doubtful> {
        let told_ms = now_ms();
        let held = self.inner.store.packuments_behind(name, PAGE)?;
        let last = held.last().filter(|_| held.len() == PAGE).map(|(name, _)| name.as_str().to_owned());
        let is_doubtful = |(name, held): &(PackageName, PackumentRecord)| {
            let age = self.inner.packuments.age(name, held);
            age == Duration::MAX || !plan::is_settled(age)
        };
        let names = held.into_iter().filter(is_doubtful).map(|(name, _)| name).collect();
        Some(Doubtful { names, last, told_ms })
    }

    /// Whether a package is held, or may be in a moment.
    #[must_use]
    pub fn may_hold(&self, name: &PackageName) -> bool {
        self.inner.packuments.flights.is_under_way(name) || self.inner.store.packument_unused(name).is_some()
    }

    /// Asks upstream for a package that has changed; says whether what is held is its word of `told_ms` (milliseconds since 1970) or later.
    /// What upstream has for nobody is as new as it can be.
    pub async fn confirm_held(&self, name: &PackageName, told_ms: u64) -> bool {
        if self.is_confirmed_since(name, told_ms) {
            return true;
        }
        match self.fly(name, Wish::Confirmed).await {
            Err(Failure::Refused { .. } | Failure::Blocked(_)) => true,
            Ok(_) | Err(_) => self.is_confirmed_since(name, told_ms),
        }
    }

    fn is_confirmed_since(&self, name: &PackageName, told_ms: u64) -> bool {
        // Of a state that cannot be read nothing is known.
        let Some(package) = self.inner.store.package(name) else { return false };
        package.packument.is_none_or(|held| {
            let is_unsettled = self.inner.packuments.lately.is_unsettled(name, held.checked_ms);
            held.checked_ms >= told_ms && age(held.checked_ms) != Duration::MAX && !is_unsettled
        })
    }
}
