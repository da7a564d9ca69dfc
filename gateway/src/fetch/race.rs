//! Peers against upstream: one source after the other, the next one as soon as the one before is overdue or has failed. The
//! first that gives verified bytes wins; the others are cancelled, and a peer that kept everybody waiting has a strike.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use resolver::hedge::Look;
use resolver::strikes::Fault;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::peers::{Asking, Meter, Miss, Peers, Source};

/// What a peer gave, by its number among those that were asked.
type Ended<P> = (usize, Result<P, Miss>);

/// What has happened.
enum Event<P, E> {
    Peer(Ended<P>),
    Upstream(Result<P, E>),
    Look,
    Alone,
}

/// A peer that was asked.
struct Runner {
    source: Source,
    meter: Arc<Meter>,
    /// Away when it has ended.
    asking: Option<Asking>,
    overdue: bool,
    look_at: Instant,
}

/// Everybody who is asked for the same bytes.
struct Race<'a, P, E, U> {
    peers: &'a Peers,
    waiting: VecDeque<Source>,
    runners: Vec<Runner>,
    attempts: FuturesUnordered<BoxFuture<'a, Ended<P>>>,
    /// Who said that it cannot, and how long that took.
    declined: Vec<(Asking, Duration)>,
    upstream: Pin<Box<U>>,
    asked_upstream: bool,
    /// How upstream has failed.
    refused: Option<E>,
}

/// Runs a race, and gives what was won. `ask` asks a peer; `upstream` asks upstream, which is the last in line;
/// once `alone` is cancelled it is asked at once.
///
/// # Errors
/// Upstream's, when everybody has failed.
pub(super) async fn run<'a, P, E, F>(
    peers: &'a Peers,
    sources: Vec<Source>,
    alone: &CancellationToken,
    ask: impl Fn(Source, Arc<Meter>) -> F,
    upstream: impl Future<Output = Result<P, E>>,
) -> Result<P, E>
where
    P: Send + 'a,
    F: Future<Output = Result<P, Miss>> + Send + 'a,
{
    let mut race = Race {
        peers,
        waiting: sources.into(),
        runners: Vec::new(),
        attempts: FuturesUnordered::new(),
        declined: Vec::new(),
        upstream: Box::pin(upstream),
        asked_upstream: false,
        refused: None,
    };
    loop {
        if !race.is_anybody_on_time() {
            race.start_next(&ask);
        }
        if race.attempts.is_empty()
            && let Some(refused) = race.refused
        {
            return Err(refused);
        }
        match race.next(alone).await {
            Event::Peer((nth, Ok(prize))) => {
                race.won_by(nth);
                return Ok(prize);
            }
            Event::Peer((nth, Err(miss))) => race.failed(nth, &miss),
            Event::Upstream(Ok(prize)) => {
                race.won_by_upstream();
                return Ok(prize);
            }
            Event::Upstream(Err(error)) => race.refused = Some(error),
            Event::Look => race.look(),
            Event::Alone => race.asked_upstream = true,
        }
    }
}

impl<'a, P, E, U> Race<'a, P, E, U>
where
    P: Send + 'a,
    U: Future<Output = Result<P, E>>,
{
    fn is_anybody_on_time(&self) -> bool {
        (self.asked_upstream && self.refused.is_none()) || self.newest().is_some()
    }

    /// Who is waited for alone; all others who run are overdue.
    fn newest(&self) -> Option<&Runner> {
        self.runners.last().filter(|one| one.asking.is_some() && !one.overdue)
    }

    fn start_next<F>(&mut self, ask: impl Fn(Source, Arc<Meter>) -> F)
    where
        F: Future<Output = Result<P, Miss>> + Send + 'a,
    {
        while let Some(source) = self.waiting.pop_front() {
            // Since the sources were chosen it may have had its third strike.
            let Some(asking) = self.peers.begin(&source) else { continue };
            let (nth, meter) = (self.runners.len(), Arc::new(Meter::start()));
            let asked = ask(source.clone(), Arc::clone(&meter));
            self.attempts.push(Box::pin(async move { (nth, asked.await) }));
            let look_at = meter.begun;
            self.runners.push(Runner { source, meter, asking: Some(asking), overdue: false, look_at });
            return;
        }
        self.asked_upstream = true;
    }

    async fn next(&mut self, alone: &CancellationToken) -> Event<P, E> {
        let look_at = self.newest().map(|newest| newest.look_at);
        tokio::select! {
            biased;
            Some(ended) = self.attempts.next() => Event::Peer(ended),
            ended = &mut self.upstream, if self.asked_upstream && self.refused.is_none() => Event::Upstream(ended),
            () = sleep_until(look_at.unwrap_or_else(Instant::now)), if look_at.is_some() => Event::Look,
            () = alone.cancelled(), if !self.asked_upstream => Event::Alone,
        }
    }

    fn look(&mut self) {
        let Some(newest) = self.runners.last_mut() else { return };
        let (begun, so_far) = (newest.meter.begun, newest.meter.so_far());
        match self.peers.look(&newest.source, begun.elapsed(), &so_far) {
            Look::Again(after) => newest.look_at = begun + after,
            Look::Overdue => {
                newest.overdue = true;
                if let Some(asking) = &mut newest.asking {
                    asking.mark_overdue();
                }
            }
        }
    }

    fn won_by(&mut self, nth: usize) {
        if let Some(asking) = self.runners[nth].asking.take() {
            asking.served();
        }
        self.strike_the_overdue();
    }

    fn won_by_upstream(&mut self) {
        self.strike_the_overdue();
        // To say no is no fault; to think about it for longer than others take to say yes is.
        let delay = self.peers.delay();
        for (asking, _) in self.declined.drain(..).filter(|(_, took)| *took > delay) {
            asking.failed(Fault::Unanswered);
        }
    }

    fn failed(&mut self, nth: usize, miss: &Miss) {
        let runner = &mut self.runners[nth];
        match (miss, runner.asking.take()) {
            (Miss::Fault(fault, _), Some(asking)) => asking.failed(*fault),
            (Miss::Declined(_), Some(asking)) => self.declined.push((asking, runner.meter.begun.elapsed())),
            _ => {}
        }
    }

    /// They are cancelled with the race.
    fn strike_the_overdue(&mut self) {
        for runner in self.runners.iter_mut().filter(|one| one.overdue) {
            let fault = match runner.meter.so_far().head {
                None => Fault::Unanswered,
                Some(_) => Fault::TooSlow,
            };
            if let Some(asking) = runner.asking.take() {
                asking.failed(fault);
            }
        }
    }
}

#[cfg(test)]
mod tests;
