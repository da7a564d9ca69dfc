//! Asks for home's head again and again, keeps what is new on disk, and only then lets it count.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use resolver::head::Checked;
use resolver::head::followed::{Moment, Standing};
use resolver::head::polls::{Asked, Polls, Way};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::ask::{Asker, dice};
use super::kept::Kept;
use super::{Following, New, date};

/// What cannot be kept is tried again so often: a disk that was full.
const AGAIN: Duration = Duration::from_secs(5);
/// How often it is looked whether home has fallen silent.
const LOOK: Duration = Duration::from_secs(60);
/// Roots that follow each other faster are told in the log less often.
const TOLD: Duration = Duration::from_secs(10);

/// Whoever follows. There is one.
pub struct Task {
    following: Following,
    kept: Kept,
    new: New,
    asker: Arc<Asker>,
    polls: Polls,
    asks: JoinSet<(Way, Asked)>,
    /// What could not be kept yet: the latest of each way.
    unkept: BTreeMap<Way, Checked>,
    /// When the log was last told of a root.
    told: Option<Instant>,
    /// What the log was last told of home.
    standing: &'static str,
}

impl Task {
    /// Asks by these ways.
    #[must_use]
    pub fn new(following: &Following, kept: Kept, new: New, asker: Asker, ways: &[Way]) -> Self {
        let polls = Polls::new(ways.iter().copied(), following.now().up);
        Self {
            following: following.clone(),
            kept,
            new,
            asker: Arc::new(asker),
            polls,
            asks: JoinSet::new(),
            unkept: BTreeMap::new(),
            told: None,
            standing: "",
        }
    }

    /// Follows until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut neighbours = self.asker.swarm().follow();
        let home = self.following.home();
        let mut was_there = false;
        let mut look = tokio::time::interval(LOOK);
        loop {
            let due = self.due();
            tokio::select! {
                () = stop.cancelled() => return,
                Some((head, by)) = self.new.recv() => self.keep(head, by).await,
                Some(Ok((way, asked))) = self.asks.join_next() => {
                    self.polls.answered(way, asked, self.following.now().up, dice());
                }
                () = self.following.inner.hurry.notified() => self.polls.hurry(self.following.now().up),
                Ok(()) = neighbours.changed() => {
                    let is_there = neighbours.borrow_and_update().contains_key(&home);
                    if is_there && !was_there {
                        self.polls.hurry(self.following.now().up);
                    }
                    was_there = is_there;
                }
                () = sleep_until(due) => self.ask().await,
                _ = look.tick() => self.look(),
            }
        }
    }

    /// When something is to be done although nothing has happened.
    fn due(&self) -> Instant {
        let settles = self.following.followed().settles_at();
        let at = |up: Duration| self.following.inner.started + up;
        let polls = self.polls.next_at().map(at);
        let again = (!self.unkept.is_empty()).then(|| Instant::now() + AGAIN);
        let due = [polls, settles.map(at), again].into_iter().flatten().min();
        due.unwrap_or_else(|| Instant::now() + LOOK)
    }

    async fn ask(&mut self) {
        let now = self.following.now();
        let due: Vec<Way> = self.polls.due(now.up).collect();
        for way in due {
            self.polls.asking(way, now.up);
            let asker = Arc::clone(&self.asker);
            self.asks.spawn(async move { (way, asker.ask(way).await) });
        }
        for (by, head) in std::mem::take(&mut self.unkept) {
            self.keep(head, by).await;
        }
        let settled = self.following.followed().settle(now);
        if let Some((head, by)) = settled {
            self.keep(head, by).await;
        }
    }

    /// What is not on disk does not count: a start would bring back what was before.
    async fn keep(&mut self, head: Checked, by: Way) {
        let kept = self.kept.clone();
        let writing = tokio::task::spawn_blocking(move || (kept.write(&head), head)).await;
        let Ok((written, head)) = writing else { return };
        if let Err(error) = written {
            tracing::warn!(%error, "home's head cannot be kept, so it does not count yet");
            self.unkept.insert(by, head);
            return;
        }
        let is_new = Some(head.head().root) != self.following.followed().root();
        if self.following.take(head, by) {
            self.tell(is_new);
        }
    }

    fn tell(&mut self, is_new: bool) {
        let Moment { date, .. } = self.following.now();
        let words = self.following.followed().words(date);
        let is_quiet = self.told.is_some_and(|told| told.elapsed() < TOLD);
        if is_new && !is_quiet {
            self.told = Some(Instant::now());
            tracing::info!("following {words}");
        } else {
            tracing::debug!("following {words}");
        }
        self.look();
    }

    /// Says once when home falls silent, and once when it is heard again.
    fn look(&mut self) {
        let standing = self.following.followed().standing(date());
        let word = super::standing(&standing);
        let before = std::mem::replace(&mut self.standing, word);
        if before == word {
            return;
        }
        let since =
            |age: Duration| humantime::format_duration(Duration::from_secs(age.as_secs())).to_string();
        let words = match standing {
            Standing::Quiet(age) => {
                format!("home has signed no head for {}, or it is kept from this gateway", since(age))
            }
            Standing::Expired(age) => format!("home's head is out of date since {}", since(age)),
            Standing::Current if before == "quiet" || before == "expired" => {
                return tracing::info!("home's head is heard again");
            }
            Standing::Current | Standing::None => return,
        };
        tracing::warn!("{words}; its last root is used for want of a newer one");
    }
}
