//! When home is asked for its head, by each way: soon after the start, then again and again, and less often while it does not answer.

use alloc::collections::BTreeMap;
use core::time::Duration;

use serde::{Deserialize, Serialize};

/// How a head comes here: what `update_type` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Home is asked for its record.
    Http,
    /// DNS is asked for the texts of home's zone.
    Dns,
    /// Home tells everybody who listens.
    Pubsub,
    /// Any peer is asked for home's record.
    Ipns,
}

/// Between two questions that are answered, which is as long as DNS may keep its answer: a record is an answer of a few hundred bytes,
/// and 10,000 followers ask 500 times in a second. Who is told by gossip as well knows at once.
const INTERVAL: Duration = Duration::from_secs(20);
/// After the first failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause that failures lead to.
const LAST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// No way is asked more often, whatever has happened.
const LEAST_PAUSE: Duration = Duration::from_secs(5);
/// Pauses differ by up to this part of theirs, so that followers do not come all at once.
const SPREAD: f64 = 0.2;

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// There was a record that counts, or one that is known already.
    Answered,
    /// There was none, or none that counts.
    Failed,
}

/// The questions. `now` is any clock that never goes back.
#[derive(Debug, Clone)]
pub struct Polls {
    ways: BTreeMap<Way, Poll>,
}

#[derive(Debug, Clone, Copy)]
struct Poll {
    next: Duration,
    last: Option<Duration>,
    failures: u32,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Http, Self::Dns, Self::Pubsub, Self::Ipns];

    /// As the configuration has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Dns => "dns",
            Self::Pubsub => "pubsub",
            Self::Ipns => "ipns",
        }
    }

    /// Reads a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.name() == name)
    }

    /// Whether it has to be asked; otherwise it tells by itself.
    fn is_asked(self) -> bool {
        self != Self::Pubsub
    }
}

impl Polls {
    /// All of these are due at once.
    #[must_use]
    pub fn new(ways: impl IntoIterator<Item = Way>, now: Duration) -> Self {
        let poll = Poll { next: now, last: None, failures: 0 };
        Self { ways: ways.into_iter().filter(|way| way.is_asked()).map(|way| (way, poll)).collect() }
    }

    /// When the next is due; `None`: nobody is asked.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        self.ways.values().map(|poll| poll.next).min()
    }

    /// Which ways are due.
    pub fn due(&self, now: Duration) -> impl Iterator<Item = Way> + '_ {
        self.ways.iter().filter(move |(_, poll)| poll.next <= now).map(|(way, _)| *way)
    }

    /// A way is being asked: it is not due again until [`Self::answered`] has said so, or the question is as old as any may be.
    pub fn asking(&mut self, way: Way, now: Duration) {
        if let Some(poll) = self.ways.get_mut(&way) {
            poll.last = Some(now);
            poll.next = now.saturating_add(INTERVAL);
        }
    }

    /// What became of a question; `dice` is a random number from 0 to 1.
    pub fn answered(&mut self, way: Way, asked: Asked, now: Duration, dice: f64) {
        let Some(poll) = self.ways.get_mut(&way) else { return };
        let pause = match asked {
            Asked::Answered => {
                poll.failures = 0;
                INTERVAL
            }
            Asked::Failed => {
                poll.failures = poll.failures.saturating_add(1);
                let doubled = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(poll.failures - 1));
                doubled.min(LAST_PAUSE)
            }
        };
        poll.next = now.saturating_add(spread(pause, dice));
    }

    /// There is a reason to ask now: a connection with home, a network that has come back, a package that home should have by now.
    pub fn hurry(&mut self, now: Duration) {
        for poll in self.ways.values_mut() {
            let earliest = poll.last.map_or(now, |last| last.saturating_add(LEAST_PAUSE).max(now));
            poll.next = poll.next.min(earliest);
        }
    }
}

/// A pause that is up to a tenth shorter or longer.
fn spread(pause: Duration, dice: f64) -> Duration {
    let dice = if dice.is_finite() { dice.clamp(0.0, 1.0) } else { 0.5 };
    pause.mul_f64(1.0 + SPREAD * (dice - 0.5))
}
