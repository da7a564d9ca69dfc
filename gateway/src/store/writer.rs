//! The one thread that writes the state: commits what is waiting, makes room, and opens the file again when it
//! has failed.
//!
//! It takes all changes that are waiting and commits them as one transaction, so that a burst of a hundred costs one
//! flush of the disk and not a hundred. After an error of the disk the database refuses everything until it is opened
//! again (`PreviousIo`), which is a matter of milliseconds: what the file holds can be read all the while in
//! between.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase};
use resolver::eviction::{Class, Relief};
use tokio::sync::{mpsc, oneshot};

use super::change::{Applied, Change, Surroundings, Work};
use super::database::{self, Trouble, begin, trouble};
use super::eviction::Freed;
use super::state::Shared;
use super::totals::Counts;
use super::{BESIDE, StoreError};

/// Changes in one transaction while room is being made: not more than go.
const WHILE_FULL: usize = 64;
/// The pause after a failure in which nothing is tried.
const BACK_OFF: Duration = Duration::from_secs(1);
/// How long readers may take to let go of a file that has failed.
const LET_GO: Duration = Duration::from_secs(1);

/// What waits for the writer, and where to say what has become of it.
pub(super) enum Waiting {
    Change { change: Change, done: oneshot::Sender<Result<Applied, StoreError>> },
    End { done: oneshot::Sender<()> },
}

/// The writer.
pub(super) struct Writer {
    shared: Arc<Shared>,
    counts: Counts,
    relief: Relief,
    /// Nothing is tried before.
    not_before: Option<Instant>,
}

/// What a transaction has done.
struct Committed {
    applied: Vec<Applied>,
    counts: Counts,
    relief: Relief,
    freed: Freed,
}

type Done = oneshot::Sender<Result<Applied, StoreError>>;

impl Waiting {
    /// A change whose fate nobody waits for.
    pub(super) fn change(change: Change) -> Self {
        Self::Change { change, done: oneshot::channel().0 }
    }
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, counts: Counts) -> Self {
        let writer = Self { shared, counts, relief: Relief::default(), not_before: None };
        writer.show();
        writer
    }

    /// Until everybody has gone, or somebody says that it is the end.
    pub(super) fn run(mut self, mut waiting: mpsc::Receiver<Waiting>) {
        let mut ended = None;
        while ended.is_none() {
            let (mut changes, mut done) = (Vec::new(), Vec::new());
            let more = self.gather(&mut waiting, &mut changes, &mut done, &mut ended);
            if !changes.is_empty() || self.relief.is_under_way() {
                self.commit(&changes, done);
            }
            if !more {
                break;
            }
        }
        self.note_end();
        if let Some(ended) = ended {
            // Whoever waited may have gone away.
            let _ = ended.send(());
        }
    }

    /// Everything that waits now; when nothing does, and there is nothing to be done, waits for it. False when there
    /// will never be more.
    fn gather(
        &self,
        waiting: &mut mpsc::Receiver<Waiting>,
        changes: &mut Vec<Change>,
        done: &mut Vec<Done>,
        ended: &mut Option<oneshot::Sender<()>>,
    ) -> bool {
        let busy = self.relief.is_under_way() && self.not_before.is_none();
        let mut next = if busy { waiting.try_recv().ok() } else { waiting.blocking_recv() };
        let alive = busy || next.is_some();
        let most = if busy { WHILE_FULL } else { usize::MAX };
        while let Some(one) = next {
            match one {
                Waiting::Change { change, done: tell } => {
                    changes.push(change);
                    done.push(tell);
                }
                Waiting::End { done } => {
                    *ended = Some(done);
                    return false;
                }
            }
            next = if changes.len() < most { waiting.try_recv().ok() } else { None };
        }
        alive && !(busy && changes.is_empty() && waiting.is_closed())
    }

    fn commit(&mut self, changes: &[Change], done: Vec<Done>) {
        let made = self.try_twice(changes);
        self.show();
        match made {
            Ok(applied) => {
                for (done, applied) in done.into_iter().zip(applied) {
                    // Whoever waited may have gone away; the change is committed all the same.
                    let _ = done.send(Ok(applied));
                }
            }
            Err(Refused) => {
                for done in done {
                    let _ = done.send(Err(StoreError::Full));
                }
            }
        }
    }

    /// Once more after the file has been opened again: files have gone meanwhile, and there may be room.
    fn try_twice(&mut self, changes: &[Change]) -> Result<Vec<Applied>, Refused> {
        if self.shared.suspect.swap(false, Ordering::AcqRel) {
            self.reopen(None);
        }
        for _ in 0..2 {
            let database = self.database()?;
            let made = self.transact(&database, changes);
            drop(database);
            match made {
                Ok(committed) => return Ok(self.take_over(committed)),
                Err(failure) => self.reopen(Some(&failure)),
            }
        }
        self.not_before = Some(Instant::now() + BACK_OFF);
        Err(Refused)
    }

    /// The database, unless it has failed a moment ago.
    fn database(&mut self) -> Result<Arc<Database>, Refused> {
        if self.not_before.is_some_and(|at| Instant::now() < at) {
            return Err(Refused);
        }
        if self.shared.database.load().is_none() {
            self.open_again();
        }
        self.shared.database.load_full().ok_or(Refused)
    }

    fn transact(&self, database: &Database, changes: &[Change]) -> Result<Committed, Trouble> {
        // The database panics over some kinds of damage.
        let made = catch_unwind(AssertUnwindSafe(|| self.transaction(database, changes)));
        made.unwrap_or_else(|_| Err(redb::Error::Corrupted("it panicked".into())))
            .map_err(|error| trouble(&error))
    }

    fn transaction(&self, database: &Database, changes: &[Change]) -> Result<Committed, redb::Error> {
        let (mut counts, mut relief) = (self.counts.clone(), self.relief);
        let (taken, free) = (self.state_bytes(), self.shared.space.free());
        let idle = relief.wanted(&self.shared.limits, &counts.usage(taken, free)) == (0, 0);
        if idle && changes.iter().all(|change| matches!(change, Change::Look)) {
            let applied = vec![Applied::default(); changes.len()];
            return Ok(Committed { applied, counts, relief, freed: Freed::default() });
        }
        let with = Surroundings {
            contents: &self.shared.contents,
            documents: &self.shared.documents,
            marks: &self.shared.marks,
            limits: &self.shared.limits,
        };
        let write = begin(database)?;
        let (moved, news) = (Vec::new(), BTreeSet::new());
        let mut work = Work { write: &write, counts: &mut counts, with: &with, moved, news };
        // What has gone makes room for the transaction itself.
        let first = work.relieve(&mut relief, taken, free)?;
        let applied = changes.iter().map(|change| work.apply(change)).collect::<Result<Vec<_>, _>>()?;
        let free = free.map(|free| free.saturating_add(first.bytes));
        let then = work.relieve(&mut relief, taken, free)?;
        let freed = Freed { items: first.items + then.items, bytes: first.bytes + then.bytes };
        let has_news = work.mark_news()?;
        let moved = work.moved;
        if freed.items == 0 && !applied.iter().any(|applied| applied.changed) {
            // A flush of the disk for nothing.
            write.abort()?;
            return Ok(Committed { applied, counts: self.counts.clone(), relief, freed });
        }
        counts.save(&write)?;
        let journal = self.shared.journal.hold();
        write.commit()?;
        self.shared.journal.write(journal, moved);
        self.shared.rows.outdate();
        if has_news {
            self.shared.news.post();
        }
        Ok(Committed { applied, counts, relief, freed })
    }

    fn take_over(&mut self, committed: Committed) -> Vec<Applied> {
        self.not_before = None;
        self.counts = committed.counts;
        self.relief = committed.relief;
        self.shared.space.freed(committed.freed.bytes);
        self.shared.totals.evicted.fetch_add(committed.freed.items, Ordering::Relaxed);
        self.shared.totals.evicted_bytes.fetch_add(committed.freed.bytes, Ordering::Relaxed);
        committed.applied
    }

    /// Shows to everybody else how much is held, and whether there is room.
    fn show(&self) {
        let (totals, taken) = (&self.shared.totals, self.state_bytes());
        self.counts.show(totals);
        totals.state_bytes.store(taken, Ordering::Relaxed);
        let usage = self.counts.usage(taken, self.shared.space.free());
        let nothing_to_give =
            ![Class::Tarballs, Class::Metadata].iter().any(|class| self.counts.has_queued(*class));
        let full = self.not_before.is_some() || (nothing_to_give && self.shared.limits.excess(&usage) > 0);
        let was = totals.full.swap(u64::from(full), Ordering::Relaxed) == 1;
        if full && !was {
            tracing::warn!(
                "there is no room for anything new; what is not held is passed through and not kept"
            );
        } else if was && !full {
            tracing::info!("there is room again");
        }
    }

    /// What the databases of this directory take: the state, and those that others keep beside it.
    fn state_bytes(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let taken = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.blocks() * 512);
        let path = &self.shared.path;
        BESIDE.iter().map(|name| taken(&path.with_file_name(name))).sum::<u64>() + taken(path)
    }

    /// Lets go of the file, and opens it again; one that is damaged is moved aside first.
    fn reopen(&mut self, failure: Option<&Trouble>) {
        tracing::error!(?failure, "the state has failed; it is opened again");
        self.shared.space.look_again();
        self.close();
        if matches!(failure, Some(Trouble::Damaged(_))) {
            let aside = database::aside(&self.shared.path);
            // When that fails, opening will say so.
            let _ = std::fs::rename(&self.shared.path, aside);
        }
        self.open_again();
    }

    fn close(&self) {
        let Some(mut database) = self.shared.database.swap(None) else {
            return;
        };
        let since = Instant::now();
        loop {
            match Arc::try_unwrap(database) {
                // It may panic over damage even now.
                Ok(last) => return drop(catch_unwind(AssertUnwindSafe(|| drop(last)))),
                Err(shared) if since.elapsed() > LET_GO => return drop(shared),
                Err(shared) => database = shared,
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn open_again(&mut self) {
        let opened = database::open(&self.shared.path).and_then(|opened| {
            let read = opened.database.begin_read().map_err(|error| trouble(&error.into()))?;
            let counts = Counts::load(&read).map_err(|error| trouble(&error))?;
            drop(read);
            Ok((opened, counts))
        });
        match opened {
            Ok((opened, mut counts)) => {
                self.shared.news.begin(&mut counts);
                self.counts = counts;
                self.shared.rebuild.fetch_or(opened.rebuild, Ordering::AcqRel);
                self.shared.database.store(Some(Arc::new(opened.database)));
                self.shared.journal.lose();
                self.shared.rows.outdate();
            }
            Err(failure) => {
                tracing::error!(?failure, "the state cannot be opened again yet");
                self.not_before = Some(Instant::now() + BACK_OFF);
            }
        }
    }

    fn note_end(&self) {
        let Some(database) = self.shared.database.load_full() else {
            return;
        };
        if let Err(error) = database::note_end(&database) {
            tracing::warn!(%error, "the state could not be closed well");
        }
    }
}

/// Nothing can be committed now.
struct Refused;
