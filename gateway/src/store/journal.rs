//! Which tarballs have come and gone, for the one who tells others; he begins with all of them.
//!
//! The writer holds the journal while it commits. So whoever has looked at all rows while he held it has seen what was
//! committed before, and finds what was committed after in the journal: nothing twice, and nothing not at all.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::{ReadTransaction, ReadableDatabase, ReadableTable};
use resolver::integrity::Integrity;
use resolver::inventory::{self, Change};
use tokio::sync::{Mutex, MutexGuard, Notify};

use super::state::State;
use super::tables::BLOBS;

/// Changes that wait to be taken, half a MiB of them: of more nothing is kept, and whoever takes them begins anew.
const MOST: usize = 65_536;

/// What has changed since it was last asked.
#[derive(Default)]
pub(super) struct Journal {
    pages: Mutex<Pages>,
    news: Notify,
}

#[derive(Default)]
pub(super) struct Pages {
    /// Somebody takes what is written.
    open: bool,
    changes: Vec<Change>,
    /// Not all of it is here.
    lost: bool,
}

/// Whoever follows what is held.
pub struct Tarballs {
    state: State,
}

impl Journal {
    /// For the writer, until it has committed. Blocks as long as somebody begins.
    pub(super) fn hold(&self) -> MutexGuard<'_, Pages> {
        self.pages.blocking_lock()
    }

    /// What was held may not be held any more. Blocks like [`hold`](Self::hold).
    pub(super) fn lose(&self) {
        let mut pages = self.hold();
        pages.lost = pages.open;
        pages.changes = Vec::new();
        drop(pages);
        self.news.notify_one();
    }

    /// These were committed.
    pub(super) fn write(&self, mut pages: MutexGuard<'_, Pages>, changes: Vec<Change>) {
        if changes.is_empty() || !pages.open || pages.lost {
            return;
        }
        if pages.changes.len() + changes.len() > MOST {
            (pages.lost, pages.changes) = (true, Vec::new());
        } else {
            pages.changes.extend(changes);
        }
        drop(pages);
        self.news.notify_one();
    }
}

impl Tarballs {
    pub(super) fn new(state: State) -> Self {
        Self { state }
    }

    /// The fingerprints of all tarballs that are held, one for each, in order; from here on [`next`](Self::next) says what
    /// changes. `None`: they cannot be read now. Blocks: a second for a million.
    #[must_use]
    pub fn all(&self) -> Option<Vec<u32>> {
        let shared = self.state.shared();
        let database = shared.database.load_full()?;
        let mut pages = shared.journal.hold();
        *pages = Pages { open: true, ..Pages::default() };
        let begun = catch_unwind(AssertUnwindSafe(|| database.begin_read()));
        // Whoever has opened another file meanwhile says with the next change that all is lost.
        let is_this = |now: Arc<_>| Arc::ptr_eq(&now, &database);
        let is_current = shared.database.load_full().is_some_and(is_this);
        drop(pages);
        let read = begun.ok()?.ok().filter(|_| is_current)?;
        // The database panics over some kinds of damage.
        let all = catch_unwind(AssertUnwindSafe(|| prints(&read)));
        drop((read, database));
        all.ok()?.inspect_err(|error| tracing::debug!(%error, "cannot list the tarballs that are held")).ok()
    }

    /// What has changed since it was last asked, as soon as something has; `None`: not all of that is known, and all has to be
    /// looked at again.
    pub async fn next(&self) -> Option<Vec<Change>> {
        let journal = &self.state.shared().journal;
        loop {
            let mut pages = journal.pages.lock().await;
            if pages.lost {
                return None;
            }
            if !pages.changes.is_empty() {
                return Some(std::mem::take(&mut pages.changes));
            }
            drop(pages);
            journal.news.notified().await;
        }
    }
}

fn prints(read: &ReadTransaction) -> Result<Vec<u32>, redb::Error> {
    let mut prints = Vec::new();
    for row in read.open_table(BLOBS)?.iter()? {
        prints.push(inventory::print(&Integrity::from_digest(*row?.0.value())));
    }
    Ok(prints)
}
