//! The task that keeps the index up to date: takes news of the store in batches, and publishes at most one root a second.
//!
//! A batch is looked at, committed, published and only then no news any more. So a crash between any two of these costs a second
//! look, which finds nothing to change. Nothing waits for the index: when its disk fails it is opened again, later and later, and
//! when it is damaged it is made again; news waits meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use resolver::head::{Root, publish};
use resolver::index::{Folder, address};
use resolver::package::PackageName;
use resolver::variant::Revision;
use sha2::{Digest as _, Sha256};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::commit::{Batch, Reviewed, State};
use super::database::Trouble;
use super::head::now;
use super::listing::{Difference, Unreadable};
use super::own::Said;
use crate::fetch;
use crate::store::{Mark, News, Subject};

/// The layout of the tables and of packages' directories. Raised whenever the same content gives another tree.
const LAYOUT: &[u8] = b"open-registry index 1";
/// Marks in one batch: what a cold install of a large project brings in a second.
const MARKS: usize = 1024;
/// Rows that a batch may change before it is committed, some 20 MB in memory; a package comes with all of its own.
const ROWS: usize = 32 * 1024;
/// Marks that are looked at before the rows are counted.
const SOME: usize = 64;
/// Packages that are looked at at once: as many as there are threads for documents at least. What clients wait for stands behind no
/// more than that.
const AT_ONCE: usize = 2;
/// Names in one batch of a review.
const REVIEWED: usize = 256;
/// Packages that have the same tarball, of those that are looked at when it goes.
const ALIKE: usize = 64;
/// Between two looks at a store that cannot be read or is being gone over for its names, and the first pause after a failure.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Whoever keeps the index.
pub struct Keeper {
    index: Arc<Inner>,
    news: News,
    /// The last mark of this pass over the news; `None`: the next pass begins.
    behind: Option<Mark>,
    /// What all is made by.
    made_by: Vec<u8>,
    /// What this gateway had to say when this pass began.
    said: Said,
    /// Since when it fails: how often.
    failures: u32,
}

/// What a turn has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// There is more to do, after this time.
    More(Duration),
    /// Nothing is to be done before this time has passed, but for what is new.
    Idle(Duration),
}

/// What a batch begins with.
struct Gathered {
    marks: Vec<Mark>,
    batch: Batch,
    /// The pass over the news has come to its end.
    is_end: bool,
}

impl From<Unreadable> for Trouble {
    fn from(_: Unreadable) -> Self {
        Self::Store
    }
}

impl Keeper {
    pub(super) fn new(index: Arc<Inner>) -> Self {
        let (news, made_by) = (index.basis.store.news(), made_by(&index.basis));
        Self { index, news, behind: None, made_by, said: Said::default(), failures: 0 }
    }

    /// Keeps the index until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        while let Some(turn) = stop.run_until_cancelled(Box::pin(self.turn())).await {
            let pause = match turn {
                Ok(turn) => self.has_recovered(turn),
                Err(Trouble::Store) => Turn::More(PATIENCE),
                Err(trouble) => Turn::More(self.has_failed(&trouble)),
            };
            let waited = match pause {
                Turn::More(pause) => stop.run_until_cancelled(sleep(pause)).await,
                Turn::Idle(most) => stop.run_until_cancelled(timeout(most, self.something())).await.map(drop),
            };
            if waited.is_none() {
                break;
            }
        }
        let index = Arc::clone(&self.index);
        // What is committed is on the disk; closing only saves the next start some reading.
        let _ = tokio::task::spawn_blocking(move || index.database.close()).await;
    }

    /// News, or something that this gateway has to say.
    async fn something(&self) {
        let mut blocked = self.index.basis.fetch.takedowns().changed();
        let has_heeded =
            self.index.heeded().is_ok_and(|heeded| heeded == self.index.basis.fetch.takedowns().marks());
        if !has_heeded {
            return;
        }
        tokio::select! {
            () = self.news.wait() => {}
            () = self.index.own.changed() => {}
            _ = blocked.changed() => {}
        }
    }

    fn has_recovered(&mut self, turn: Turn) -> Turn {
        if self.failures > 0 {
            self.failures = 0;
            tracing::info!("the index is kept again");
        }
        turn
    }

    /// How long to wait.
    fn has_failed(&mut self, trouble: &Trouble) -> Duration {
        if self.failures == 0 {
            tracing::error!(%trouble, "the index of what is held has failed; it is opened again, or made again, and all else goes on");
        }
        if let Err(trouble) = self.index.database.fail(trouble) {
            tracing::debug!(%trouble, "a damaged index cannot be removed yet");
        }
        self.behind = None;
        let pause = PATIENCE.saturating_mul(1 << self.failures.min(6));
        self.failures += 1;
        pause.min(LONGEST_PAUSE)
    }

    async fn turn(&mut self) -> Result<Turn, Trouble> {
        self.open().await?;
        if !self.news.is_settled() {
            return Ok(Turn::More(PATIENCE));
        }
        let state = self.begun().await?;
        self.publish()?;
        if self.behind.is_none() {
            // Before the news is read: see `own`.
            self.said = self.index.said();
        }
        let gathered = self.gather(&state).await?;
        let Gathered { marks, batch, is_end } = gathered;
        let goes_on = batch.reviewed.as_ref().is_some_and(|reviewed| *reviewed != Reviewed::All);
        let last = marks.last().cloned();
        let before = self.index.published.borrow().clone();
        if !batch.is_empty() {
            let index = Arc::clone(&self.index);
            blocking(move || index.commit(&batch)).await?;
            self.publish()?;
        }
        // They come again otherwise, and nothing is found to have changed.
        let seen = if marks.is_empty() { Ok(()) } else { self.news.seen(marks).await };
        self.behind = last.filter(|_| !is_end);
        let is_new = *self.index.published.borrow() != before;
        Ok(match (is_end && !goes_on, is_new, seen.is_ok()) {
            (_, _, false) => Turn::More(PATIENCE),
            (_, true, _) => Turn::More(publish::PAUSE),
            (false, false, _) => Turn::More(Duration::ZERO),
            (true, false, _) => Turn::Idle(self.until_due()?),
        })
    }

    async fn open(&self) -> Result<(), Trouble> {
        if self.index.database.is_suspect() {
            return Err(Trouble::Damaged("a reader has met damage".into()));
        }
        let index = Arc::clone(&self.index);
        blocking(move || index.database.open()).await
    }

    /// The state of an index that is made as it is to be, and knows all that has changed; if it does not, all is gone over.
    async fn begun(&mut self) -> Result<State, Trouble> {
        let since = self.news.since();
        let state = self.index.state()?;
        if state.made_by == self.made_by && state.since == Some(since) {
            return Ok(state);
        }
        // In this order: a crash between the two begins once more.
        self.news.renew_all().await.map_err(|_| Trouble::Store)?;
        let (index, made_by) = (Arc::clone(&self.index), self.made_by.clone());
        blocking(move || index.begin(&made_by, since)).await?;
        self.behind = None;
        self.index.state()
    }

    /// Tells everybody what is committed.
    fn publish(&self) -> Result<(), Trouble> {
        let committed = self.index.committed()?.map(Arc::new);
        self.index.published.send_if_modified(|published| {
            let is_new = *published != committed;
            if is_new {
                *published = committed;
            }
            is_new
        });
        Ok(())
    }

    async fn gather(&self, state: &State) -> Result<Gathered, Trouble> {
        let marks = self.news.behind(self.behind.as_ref(), MARKS).ok_or(Unreadable)?;
        let is_last = marks.len() < MARKS;
        let (mut batch, mut looked_at) = (Batch::default(), BTreeSet::new());
        let mut taken = 0;
        for some in marks.chunks(SOME) {
            let names = self.names(some)?;
            self.look(names, &mut looked_at, &mut batch).await?;
            taken += some.len();
            if batch.differences.iter().map(Difference::weight).sum::<usize>() > ROWS {
                break;
            }
        }
        self.heed(&mut looked_at, &mut batch).await?;
        let is_end = is_last && taken == marks.len();
        if let Some(after) = &state.reviewed {
            let names = self.index.names_behind(after, REVIEWED)?;
            batch.reviewed = Some(match names.last() {
                Some(last) if names.len() == REVIEWED => Reviewed::UpTo(last.as_str().to_owned()),
                _ => Reviewed::All,
            });
            self.look(names, &mut looked_at, &mut batch).await?;
        }
        let is_reviewed = state.reviewed.is_none() || batch.reviewed == Some(Reviewed::All);
        if is_end && is_reviewed {
            batch.differences.push(self.index.own_difference(self.said.clone())?);
        }
        batch.differences.retain(|difference| difference.weight() > 0);
        batch.is_begun = state.is_beginning && is_end && is_reviewed;
        batch.is_due = self.is_due(state);
        Ok(Gathered { marks: marks.into_iter().take(taken).collect(), batch, is_end })
    }

    /// Looks at the packages of which something else is blocked than when they were listed.
    async fn heed(&self, looked_at: &mut BTreeSet<PackageName>, batch: &mut Batch) -> Result<(), Trouble> {
        let (now, before) = (self.index.basis.fetch.takedowns().marks(), self.index.heeded()?);
        if now == before {
            return Ok(());
        }
        let other = now.keys().chain(before.keys()).filter(|name| now.get(*name) != before.get(*name));
        let names = other.filter_map(|name| PackageName::parse(name).ok()).collect();
        self.look(names, looked_at, batch).await?;
        batch.heeded = Some(now);
        Ok(())
    }

    /// The packages that marks are about.
    fn names(&self, marks: &[Mark]) -> Result<Vec<PackageName>, Trouble> {
        let mut names = Vec::new();
        for subject in marks.iter().filter_map(Mark::subject) {
            match subject {
                Subject::Package(name) => names.push(name),
                Subject::Tarball(integrity) => {
                    names.extend(self.index.packages_with(&address::of_tarball(&integrity), ALIKE)?);
                }
            }
        }
        Ok(names)
    }

    /// Looks at packages that were not looked at yet, and at those that have the same tarballs as go.
    async fn look(
        &self,
        names: Vec<PackageName>,
        looked_at: &mut BTreeSet<PackageName>,
        batch: &mut Batch,
    ) -> Result<(), Trouble> {
        let names: Vec<_> = names.into_iter().filter(|name| looked_at.insert(name.clone())).collect();
        let differences = self.differences(names).await?;
        let gone = differences.iter().flat_map(Difference::tarballs_gone).map(address::of_tarball);
        let mut alike = Vec::new();
        for cid in gone.collect::<BTreeSet<_>>() {
            let names = self.index.packages_with(&cid, ALIKE)?;
            alike.extend(names.into_iter().filter(|name| looked_at.insert(name.clone())));
        }
        batch.differences.extend(differences);
        batch.differences.extend(self.differences(alike).await?);
        Ok(())
    }

    async fn differences(&self, names: Vec<PackageName>) -> Result<Vec<Difference>, Trouble> {
        let look = |name: PackageName| async move {
            let listed = self.index.listed(&Folder::Package(name.clone()))?;
            self.index.difference(name, listed).await.map_err(Trouble::from)
        };
        stream::iter(names.into_iter().map(look)).buffered(AT_ONCE).try_collect().await
    }

    fn is_due(&self, state: &State) -> bool {
        let root = state.tree.and_then(|tree| Root::new(tree.root.cid).ok()).filter(|_| !state.is_beginning);
        root.is_some_and(|root| {
            let head = state.record.as_ref().map(|record| &record.head);
            publish::due(head, root, now()) <= now()
        })
    }

    /// How long until the head is to be signed again.
    fn until_due(&self) -> Result<Duration, Trouble> {
        let state = self.index.state()?;
        let due = state.record.map_or(publish::REFRESH, |record| {
            publish::due(Some(&record.head), record.head.root, now()).saturating_sub(now())
        });
        Ok(due.max(PATIENCE))
    }
}

/// What a tree of the same content depends on besides.
pub(super) fn made_by(basis: &super::Basis) -> Vec<u8> {
    let mut scopes = basis.private_scopes.clone();
    scopes.sort_unstable();
    // The tag of a variant changes with how it is rendered.
    let install = fetch::install_form(&basis.canonical).etag(&Revision::of(b""));
    let all = [vec![String::from_utf8_lossy(LAYOUT).into_owned(), install], scopes].concat();
    Sha256::digest(all.join("\n")).to_vec()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    let worked = tokio::task::spawn_blocking(work).await;
    worked.unwrap_or_else(|_| Err(Trouble::Io("it came to a sudden end".into())))
}
