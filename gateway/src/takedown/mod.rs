//! What is not served here: what this gateway's operator blocks, and what the home that is followed does. Known from the first request
//! after a start, with nobody to be asked.
//!
//! ```text
//! <dir>/blocked.json         what the operator blocks: since when, and digests that packuments have told
//! <dir>/blocked.home.json    what home blocks, with whose word it is
//! ```
//!
//! A request looks into a table that is never changed, only replaced. It is found by name (of a package, a version, a file) and by digest,
//! so that the same bytes under another name are not served either. Digests come from the block itself or from packuments
//! ([`Takedowns::learn`]).

mod block;
mod lists;
mod table;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use resolver::integrity::Integrity;
use resolver::package::{FileName, PackageName};
use resolver::peer::PeerId;
use resolver::removed::{Blocklist, NotRemovals, Removals};
use tokio::sync::watch;

pub use block::Block;
pub use table::{Fact, Notice};

use lists::Lists;
use table::Table;

/// What is not served. Cheap to clone.
#[derive(Clone)]
pub struct Takedowns {
    inner: Arc<Inner>,
}

struct Inner {
    lists: Mutex<Lists>,
    table: ArcSwap<Table>,
    changed: watch::Sender<()>,
}

/// Why the blocks of the configuration cannot be told to followers.
#[derive(Debug, thiserror::Error)]
#[error(
    "the [[block]] entries are longer as one document than the 1 MiB that followers read: write shorter reasons, or fewer entries"
)]
pub struct TooMany;

impl Takedowns {
    /// Everything is served.
    #[must_use]
    pub fn none() -> Self {
        Self::of(Lists::default())
    }

    /// What the configuration blocks, and what `home` was last known to block. Reads two small files.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn open(dir: &Path, blocks: &[Block], home: Option<PeerId>) -> Result<Self, TooMany> {
        Ok(Self::of(Lists::open(dir, blocks, home)?))
    }

    fn of(lists: Lists) -> Self {
        let table = ArcSwap::from_pointee(Table::of(&lists));
        Self { inner: Arc::new(Inner { lists: Mutex::new(lists), table, changed: watch::Sender::new(()) }) }
    }

    /// What home blocks, as it stands under the root that is followed; `None`: nothing. It takes the place of what it said before, and is
    /// kept. Blocks for a moment. Says whether that is news.
    ///
    /// # Errors
    /// [`NotRemovals`], when the document is none; what home said before counts on.
    pub fn follow(&self, blocked_json: Option<&[u8]>) -> Result<bool, NotRemovals> {
        let list = blocked_json.map_or_else(|| Ok(Blocklist::default()), Blocklist::parse)?;
        Ok(self.change(|lists| lists.follow(list)))
    }

    /// What a packument, or the store, says of a package's files: so that what is blocked by name is blocked by digest, too, whatever becomes of
    /// the packument. Blocks for a moment when that is news.
    pub fn learn(&self, name: &PackageName, facts: impl IntoIterator<Item = Fact>) {
        if self.inner.table.load().of_package(name).is_some() {
            self.change(|lists| lists.learn(name, facts));
        }
    }

    /// The packages of which something is blocked.
    #[must_use]
    pub fn names(&self) -> BTreeSet<PackageName> {
        self.inner.table.load().names().cloned().collect()
    }

    /// Whenever something else is blocked than before.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<()> {
        self.inner.changed.subscribe()
    }

    /// Why nothing of a package is served; `None`: it is.
    #[must_use]
    pub fn of_package(&self, name: &PackageName) -> Option<Arc<Notice>> {
        self.inner.table.load().of_package(name)?.whole.clone()
    }

    /// Why a version is not served.
    #[must_use]
    pub fn of_version(&self, name: &PackageName, version: &str) -> Option<Arc<Notice>> {
        let table = self.inner.table.load();
        let of = table.of_package(name)?;
        of.whole.as_ref().or_else(|| of.versions.get(version)).cloned()
    }

    /// Why a file is not served, as far as its name tells.
    #[must_use]
    pub fn of_file(&self, name: &PackageName, file: &FileName) -> Option<Arc<Notice>> {
        let table = self.inner.table.load();
        let of = table.of_package(name)?;
        of.whole.as_ref().or_else(|| of.files.get(file)).cloned()
    }

    /// Why these bytes are not served, whatever they are called.
    #[must_use]
    pub fn of_digest(&self, integrity: &Integrity) -> Option<Arc<Notice>> {
        self.inner.table.load().digests.get(integrity).cloned()
    }

    /// The versions of a package that are blocked, in order.
    #[must_use]
    pub fn hidden(&self, name: &PackageName) -> Vec<String> {
        let table = self.inner.table.load();
        table.of_package(name).map(|of| of.versions.keys().cloned().collect()).unwrap_or_default()
    }

    /// How many blocks there are: of the operator, and of home.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        self.inner.table.load().count
    }

    /// What the operator blocks, for whoever follows this gateway: `/.federation/blocked.json`.
    #[must_use]
    pub fn document(&self) -> Option<Vec<u8>> {
        self.lists().own.to_json()
    }

    /// What stands in a package's `removed.json`: what its operator blocks, and of what upstream has removed as much as fits.
    #[must_use]
    pub fn removals(&self, name: &PackageName, upstream: &Removals) -> Removals {
        let mut removals = self.lists().own.of(name).cloned().unwrap_or_default();
        for one in upstream.iter() {
            // What does not fit is left out: the packument itself says what it has.
            let _ = removals.put(one.clone());
        }
        removals
    }

    /// Something that differs for a package whenever something else of it is blocked, of all of which something is.
    pub(crate) fn marks(&self) -> Arc<BTreeMap<String, String>> {
        Arc::clone(&self.inner.table.load().marks)
    }

    fn change(&self, change: impl FnOnce(&mut Lists) -> bool) -> bool {
        let mut lists = self.lists();
        let is_changed = change(&mut lists);
        if is_changed {
            self.inner.table.store(Arc::new(Table::of(&lists)));
            drop(lists);
            self.inner.changed.send_replace(());
        }
        is_changed
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.inner.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
