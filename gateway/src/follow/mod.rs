//! The head that is followed: which root home has signed last, by whatever way it came, and kept on disk before anybody uses it.
//!
//! ```text
//! ways ── record ──> Following::offer ── new ──> task: kept on disk, then taken ──> root, and passed on by gossip
//! <dir>/heads/<home's id>.ipns-record          the last that was taken
//! ```
//!
//! [`Following`] is what others have: the root, and a place to offer records to. [`Task`] asks, keeps and tells. Whoever answers, the
//! record has to be signed by the key that `federation.home` names, and no way counts for more than another
//! ([`resolver::head::followed`]).

mod ask;
mod kept;
mod task;
mod word;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use resolver::head::followed::{Followed, Latest, Moment, Outcome, Standing, Verdict};
use resolver::head::polls::Way;
use resolver::head::{Checked, Root};
use resolver::peer::PeerId;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::identity::is_signed_by;
use crate::metrics::Metrics;

pub use ask::Asker;
pub use kept::Kept;
pub use task::Task;
pub use word::OwnHead;

/// Heads that wait to be kept: one a second is signed, and each way may bring the same.
const WAITING: usize = 64;

/// What is followed. Cheap to clone.
#[derive(Clone)]
pub struct Following {
    inner: Arc<Inner>,
}

struct Inner {
    home: PeerId,
    followed: Mutex<Followed>,
    root: watch::Sender<Option<Root>>,
    record: watch::Sender<Option<Arc<[u8]>>>,
    new: mpsc::Sender<(Checked, Way)>,
    hurry: Notify,
    started: Instant,
    metrics: Arc<Metrics>,
}

/// Heads that are to be kept and taken.
pub(crate) type New = mpsc::Receiver<(Checked, Way)>;

impl Following {
    /// Home's head as it was kept, and what [`Task`] needs. Blocks for a moment.
    #[must_use]
    pub fn of(home: PeerId, dir: &Path, metrics: Arc<Metrics>) -> (Self, Kept, New) {
        let kept = Kept::new(dir, home);
        let followed = Followed::new(home, kept.read());
        let (new, news) = mpsc::channel(WAITING);
        let record = followed.latest().map(|latest| Arc::from(latest.head.record()));
        let inner = Inner {
            home,
            root: watch::Sender::new(followed.root()),
            record: watch::Sender::new(record),
            followed: Mutex::new(followed),
            new,
            hurry: Notify::new(),
            started: Instant::now(),
            metrics,
        };
        (Self { inner: Arc::new(inner) }, kept, news)
    }

    /// Who is followed.
    #[must_use]
    pub fn home(&self) -> PeerId {
        self.inner.home
    }

    /// The root that counts, whenever it changes; `None`: home has never said any.
    #[must_use]
    pub fn root(&self) -> watch::Receiver<Option<Root>> {
        self.inner.root.subscribe()
    }

    /// The head that counts, with its record, for whoever asks for it.
    #[must_use]
    pub fn latest(&self) -> Option<Latest> {
        self.followed().latest().cloned()
    }

    /// There is a reason to ask for a newer head now: home should have something by now that it had not.
    pub fn hurry(&self) {
        self.inner.hurry.notify_one();
    }

    /// Somebody says that this is home's record. What is new counts as soon as it is kept.
    pub fn offer(&self, record: &[u8], by: Way) -> Outcome {
        let verify = |_: &[u8; 32], message: &[u8], signature: &[u8; 64]| {
            is_signed_by(self.inner.home, message, signature)
        };
        let verdict = self.followed().offer(record, by, self.now(), verify);
        let outcome = match verdict {
            Verdict::New { head, forked } => {
                if forked {
                    tracing::error!(
                        home = %self.inner.home,
                        "home has signed two heads with one sequence: its key is in use on two machines"
                    );
                }
                // Who has so many waiting gets it by the next question.
                let _ = self.inner.new.try_send((head, by));
                Outcome::New
            }
            Verdict::Not(outcome) => outcome,
        };
        self.inner.metrics.index().heard(by.name(), word(outcome));
        outcome
    }

    /// Which root, from whom, how old; `None`: home has never said any.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        let followed = self.followed();
        followed.latest().is_some().then(|| followed.words(date()))
    }

    /// What is said of it to operators.
    #[must_use]
    pub fn status(&self) -> Value {
        let date = date();
        let followed = self.followed();
        let head = followed.latest().map(|latest| *latest.head.head());
        let up = self.inner.started.elapsed();
        let told = |(way, told): (Way, &resolver::head::followed::Told)| {
            let ago = up.saturating_sub(told.at).as_secs();
            (way.name(), json!({ "ago_s": ago, "outcome": word(told.outcome), "refused": told.refused }))
        };
        json!({
            "home": self.inner.home,
            "root": head.map(|head| head.root.to_string()),
            "sequence": head.map(|head| head.sequence),
            "age_s": head.map(|head| head.age(date).as_secs()),
            "by": followed.latest().map(|latest| latest.by.map_or("disk", Way::name)),
            "standing": standing(&followed.standing(date)),
            "ways": followed.told().map(told).collect::<std::collections::BTreeMap<_, _>>(),
        })
    }

    fn now(&self) -> Moment {
        Moment { date: date(), up: self.inner.started.elapsed() }
    }

    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.inner.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A head has been kept: it counts from now on.
    fn take(&self, head: Checked, by: Way) -> bool {
        let (root, record) = (head.head().root, Arc::from(head.record()));
        let counts = self.followed().take(head, by);
        if counts {
            self.inner.record.send_replace(Some(record));
            self.inner.root.send_if_modified(|known| known.replace(root) != Some(root));
        }
        counts
    }
}

/// One word for metrics.
fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::New => "new",
        Outcome::Known => "known",
        Outcome::Older => "older",
        Outcome::Early => "early",
        Outcome::Expired => "expired",
        Outcome::Forged => "forged",
        Outcome::Damaged(_) => "damaged",
        Outcome::Flooded => "flooded",
    }
}

/// One word for operators.
fn standing(standing: &Standing) -> &'static str {
    match standing {
        Standing::None => "none",
        Standing::Current => "current",
        Standing::Quiet(_) => "quiet",
        Standing::Expired(_) => "expired",
    }
}

/// Since 1970.
fn date() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
