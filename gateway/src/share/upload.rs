//! Holds bodies back that go to peers, so that all together and each keep to what is configured.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use resolver::shaper::Shaper;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

use super::Who;

/// All bodies that go to peers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Uploads {
    inner: Arc<Inner>,
}

struct Inner {
    started: Instant,
    /// Bytes in one turn.
    step: u64,
    state: Mutex<State>,
    /// Somebody waits who has not waited before.
    changed: Notify,
}

struct State {
    shaper: Shaper<Who>,
    /// As many as there are bodies under way.
    waiting: HashMap<u64, oneshot::Sender<()>>,
    last: u64,
}

/// One body: before each step it waits for its turn, with nothing read yet.
pub struct Pace {
    inner: Arc<Inner>,
    who: Who,
    turn: Turn,
}

enum Turn {
    None,
    Waiting(u64, oneshot::Receiver<()>),
    Mine,
}

impl Uploads {
    /// `None` without a limit (0): then nothing is held back, and nothing is to be done for it.
    pub(super) fn new(of_all: u64, of_one: u64) -> Option<Self> {
        if of_all == 0 && of_one == 0 {
            return None;
        }
        let shaper = Shaper::new(of_all, of_one, std::time::Duration::ZERO);
        let inner = Arc::new(Inner {
            started: Instant::now(),
            step: shaper.step(),
            state: Mutex::new(State { shaper, waiting: HashMap::new(), last: 0 }),
            changed: Notify::new(),
        });
        tokio::spawn(Arc::clone(&inner).run());
        Some(Self { inner })
    }

    pub(super) fn pace(&self, who: Who) -> Pace {
        Pace { inner: Arc::clone(&self.inner), who, turn: Turn::None }
    }
}

impl Inner {
    async fn run(self: Arc<Self>) {
        loop {
            match self.give_turns() {
                Some(again) => tokio::select! {
                    () = sleep_until(again) => {}
                    () = self.changed.notified() => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    /// Says when somebody may go next who waits.
    fn give_turns(&self) -> Option<Instant> {
        let mut state = self.state();
        let turns = state.shaper.turns(self.started.elapsed());
        for turn in turns.go {
            // Whoever has gone away meanwhile gives it back.
            state.waiting.remove(&turn).map(|waits| waits.send(()));
        }
        turns.again.map(|again| self.started + again)
    }

    fn wait(&self, who: Who) -> Turn {
        let (mine, turn) = oneshot::channel();
        let mut state = self.state();
        state.last += 1;
        let number = state.last;
        state.waiting.insert(number, mine);
        state.shaper.wait(who, number, self.started.elapsed());
        self.changed.notify_one();
        Turn::Waiting(number, turn)
    }

    fn correct(&self, who: Who, sent: u64) {
        let more = i64::try_from(sent).unwrap_or(i64::MAX).saturating_sub_unsigned(self.step);
        self.state().shaper.correct(who, more, self.started.elapsed());
    }

    fn leave(&self, who: Who, number: u64) {
        let mut state = self.state();
        let waits = state.waiting.remove(&number).is_some();
        if waits {
            state.shaper.leave(who, number);
        }
        drop(state);
        if !waits {
            self.correct(who, 0);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pace {
    /// What may be sent in one turn, in bytes.
    #[must_use]
    pub fn step(&self) -> usize {
        usize::try_from(self.inner.step).unwrap_or(usize::MAX)
    }

    /// Waits until it is this body's turn; it stays so until something was sent.
    pub fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.turn {
                Turn::None => self.turn = self.inner.wait(self.who),
                Turn::Waiting(_, turn) => {
                    // An error would mean that nobody gives turns any more.
                    let _ = ready!(Pin::new(turn).poll(context));
                    self.turn = Turn::Mine;
                }
                Turn::Mine => return Poll::Ready(()),
            }
        }
    }

    /// So many bytes were sent in this turn.
    pub fn sent(&mut self, bytes: usize) {
        self.turn = Turn::None;
        self.inner.correct(self.who, bytes as u64);
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        match self.turn {
            Turn::None => {}
            Turn::Waiting(number, _) => self.inner.leave(self.who, number),
            Turn::Mine => self.inner.correct(self.who, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use resolver::peer::PeerId;
    use tokio::task::JoinHandle;

    use super::*;

    const KIB: u64 = 1024;

    fn peer(nth: u8) -> Who {
        Who::Peer(PeerId::of_key([nth; 32]))
    }

    /// Sends so many bytes; says how long that took.
    fn send(uploads: &Uploads, who: Who, bytes: u64) -> JoinHandle<Duration> {
        let mut pace = uploads.pace(who);
        tokio::spawn(async move {
            let (since, mut left) = (Instant::now(), usize::try_from(bytes).unwrap());
            while left > 0 {
                poll_fn(|context| pace.poll_turn(context)).await;
                let sent = pace.step().min(left);
                pace.sent(sent);
                left -= sent;
            }
            since.elapsed()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_takes_as_long_as_the_limit_wants() {
        let uploads = Uploads::new(100 * KIB, 0).unwrap();
        let took = send(&uploads, peer(1), 1000 * KIB).await.unwrap();
        assert!((9.5..10.2).contains(&took.as_secs_f64()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_peers_limit_is_no_other_peers() {
        let uploads = Uploads::new(0, 100 * KIB).unwrap();
        let both = [send(&uploads, peer(1), 1000 * KIB), send(&uploads, peer(2), 1000 * KIB)];
        for took in both {
            let took = took.await.unwrap();
            assert!((9.5..10.2).contains(&took.as_secs_f64()), "{took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_many_bodies_at_once_leaves_others_their_half() {
        let uploads = Uploads::new(100 * KIB, 0).unwrap();
        let greedy: Vec<_> = (0..50).map(|_| send(&uploads, peer(1), 1000 * KIB)).collect();
        let took = send(&uploads, peer(2), 500 * KIB).await.unwrap();
        assert!((9.0..11.0).contains(&took.as_secs_f64()), "{took:?}");
        greedy.iter().for_each(JoinHandle::abort);
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_leaves_nothing_behind_and_gives_back_what_he_has_not_sent() {
        let uploads = Uploads::new(100 * KIB, 0).unwrap();
        let gone: Vec<_> = (0..50).map(|_| send(&uploads, peer(1), 1000 * KIB)).collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        gone.iter().for_each(JoinHandle::abort);
        for gone in gone {
            assert!(gone.await.unwrap_err().is_cancelled());
        }
        assert!(uploads.inner.state().waiting.is_empty());
        let took = send(&uploads, peer(2), 100 * KIB).await.unwrap();
        assert!(took < Duration::from_millis(1100), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_limits_nothing_is_held_back() {
        assert!(Uploads::new(0, 0).is_none());
    }
}
