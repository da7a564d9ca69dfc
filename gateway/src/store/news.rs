//! News: of which packages something has changed, for the one who keeps an index of what is held.
//!
//! A name is marked in the same transaction that changes its rows, and the mark stays until whoever keeps the index has
//! looked at that name: so a crash at any moment costs nothing but a second look, and nobody has to go over everything to find
//! out what has changed. A mark is a row of a name and a number; a name that changes a hundred times has one. The number is
//! that of the last transaction that changed it, so what changes while it is looked at stays marked.
//!
//! There are never more marks than names. A tarball that goes without a name is marked by its digest.

use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use redb::{ReadTransaction, ReadableTable};
use resolver::integrity::Integrity;
use resolver::package::PackageName;
use tokio::sync::Notify;

use super::StoreError;
use super::change::{Change, Work};
use super::database::REBUILD;
use super::state::State;
use super::tables::{NEWS, PACKUMENTS, REMOVED, TARBALLS};
use super::totals::Counts;

/// Names in one transaction when all are marked: some 20 KB.
const PAGE: usize = 512;

/// What the writer and whoever waits for news share.
#[derive(Default)]
pub(super) struct Board {
    /// There is news.
    fresh: Notify,
    since: AtomicU64,
}

/// Whoever keeps an index of what is held: there is one.
pub struct News {
    state: State,
}

/// What has changed, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    key: String,
    number: u64,
}

/// What a mark is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// What is held of this package.
    Package(PackageName),
    /// A tarball has gone, and the store does not know whose it was.
    Tarball(Integrity),
}

impl Board {
    /// For the writer: these are the counts of the file that is open now.
    pub(super) fn begin(&self, counts: &mut Counts) {
        if counts.news_since == 0 {
            // By the time, so that it is another one than that of any file before.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            counts.news_since = u64::try_from(now.as_micros()).unwrap_or(u64::MAX / 2).max(1);
            counts.news = counts.news_since;
        }
        self.since.store(counts.news_since, Ordering::Release);
    }

    /// For the writer, after a commit.
    pub(super) fn post(&self) {
        self.fresh.notify_one();
    }
}

impl Work<'_> {
    /// A tarball has gone that is called this; it may also be that it has no name.
    pub(super) fn tell_of_blob(&mut self, integrity: &Integrity, key: &str) {
        let name = key.split_once('\0').map(|(name, _)| name.to_owned());
        self.news.insert(name.unwrap_or_else(|| format!("\0{}", integrity.hex())));
    }

    /// Marks what this transaction has changed; says whether that was anything.
    pub(super) fn mark_news(&mut self) -> Result<bool, redb::Error> {
        if self.news.is_empty() {
            return Ok(false);
        }
        self.counts.news += 1;
        let mut news = self.write.open_table(NEWS)?;
        for key in &self.news {
            news.insert(key.as_str(), self.counts.news)?;
        }
        Ok(true)
    }

    /// What was looked at is no news any more, unless it has changed since.
    pub(super) fn forget_news(&self, seen: &[Mark]) -> Result<bool, redb::Error> {
        let mut news = self.write.open_table(NEWS)?;
        let mut forgot = false;
        for mark in seen {
            let is_same = news.get(mark.key.as_str())?.is_some_and(|row| row.value() == mark.number);
            forgot |= is_same && news.remove(mark.key.as_str())?.is_some();
        }
        Ok(forgot)
    }
}

impl Mark {
    /// What it is about; `None` for what nobody has written.
    #[must_use]
    pub fn subject(&self) -> Option<Subject> {
        match self.key.strip_prefix('\0') {
            Some(hex) => Integrity::from_hex(hex).map(Subject::Tarball),
            None => PackageName::parse(&self.key).ok().map(Subject::Package),
        }
    }
}

impl News {
    pub(super) fn new(state: State) -> Self {
        Self { state }
    }

    /// Which file of names this is. While it stays the same, every change since then has been marked; where it is another
    /// one than before, names may have gone without a word.
    #[must_use]
    pub fn since(&self) -> u64 {
        self.state.shared().news.since.load(Ordering::Acquire)
    }

    /// Whether the names are all there: not while they are looked for among the files.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !self.state.shared().rebuild.load(Ordering::Acquire) && self.state.note(REBUILD).is_none()
    }

    /// Waits until something has been marked since it was last waited for.
    pub async fn wait(&self) {
        self.state.shared().news.fresh.notified().await;
    }

    /// Up to `most` marks, in order, behind this one; from the first on without one. `None`: they cannot be read now. Blocks for
    /// a moment.
    #[must_use]
    pub fn behind(&self, mark: Option<&Mark>, most: usize) -> Option<Vec<Mark>> {
        let from = mark.map_or(Bound::Unbounded, |mark| Bound::Excluded(mark.key.as_str()));
        self.state.read(|read| {
            let mut marks = Vec::new();
            for row in read.open_table(NEWS)?.range::<&str>((from, Bound::Unbounded))?.take(most) {
                let (key, number) = row?;
                marks.push(Mark { key: key.value().to_owned(), number: number.value() });
            }
            Ok(Some(marks))
        })
    }

    /// These have been looked at, and what was seen is kept: they go, unless they were marked again meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] when that cannot be committed: they come again.
    pub async fn seen(&self, marks: Vec<Mark>) -> Result<(), StoreError> {
        self.state.commit(Change::Seen(marks)).await.map(drop)
    }

    /// Marks everything of which anything is known, a page at a time.
    ///
    /// # Errors
    /// [`StoreError`] when that cannot be committed, or the names not be read; some are marked then.
    pub async fn renew_all(&self) -> Result<(), StoreError> {
        let mut pages = Pages::default();
        while let Some(names) = pages.next(&self.state)? {
            self.state.commit(Change::Renew(names)).await?;
        }
        Ok(())
    }
}

/// Marks everything, from a thread that may block.
pub(super) fn renew_all(state: &State) -> Result<(), StoreError> {
    let mut pages = Pages::default();
    while let Some(names) = pages.next(state)? {
        state.commit_blocking(Change::Renew(names))?;
    }
    Ok(())
}

/// The names of packuments, then those of tarballs, then those of which something was removed.
#[derive(Default)]
struct Pages {
    of: Table,
    after: String,
}

#[derive(Clone, Copy, Default)]
enum Table {
    #[default]
    Packuments,
    Tarballs,
    Removed,
}

impl Pages {
    /// The next names, at least one; `None` at the end.
    fn next(&mut self, state: &State) -> Result<Option<Vec<String>>, StoreError> {
        loop {
            let (of, after) = (self.of, self.after.as_str());
            let look = |read: &ReadTransaction| match of {
                Table::Packuments => names_of(&read.open_table(PACKUMENTS)?, after),
                Table::Tarballs => names_of_tarballs(read, after),
                Table::Removed => names_of(&read.open_table(REMOVED)?, after),
            };
            let names = state.read(|read| look(read).map(Some)).ok_or(StoreError::Full)?;
            let next = match (names.last(), of) {
                (Some(last), _) => {
                    self.after.clone_from(last);
                    return Ok(Some(names));
                }
                (None, Table::Packuments) => Table::Tarballs,
                (None, Table::Tarballs) => Table::Removed,
                (None, Table::Removed) => return Ok(None),
            };
            *self = Self { of: next, after: String::new() };
        }
    }
}

fn names_of<V: redb::Value + 'static>(
    table: &impl ReadableTable<&'static str, V>,
    after: &str,
) -> Result<Vec<String>, redb::Error> {
    let rows = table.range::<&str>((Bound::Excluded(after), Bound::Unbounded))?.take(PAGE);
    rows.map(|row| Ok(row?.0.value().to_owned())).collect()
}

/// Each name once, however many files it has.
fn names_of_tarballs(read: &ReadTransaction, after: &str) -> Result<Vec<String>, redb::Error> {
    let tarballs = read.open_table(TARBALLS)?;
    let mut names: Vec<String> = Vec::new();
    while names.len() < PAGE {
        // A name is followed by NUL in a key; what begins with it and a greater octet is another name.
        let from = format!("{}\u{1}", names.last().map_or(after, String::as_str));
        let Some(row) = tarballs.range::<&str>(from.as_str()..)?.next() else { break };
        let key = row?.0.value().to_owned();
        names.push(key.split('\0').next().unwrap_or_default().to_owned());
    }
    Ok(names)
}
