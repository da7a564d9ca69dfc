//! Single flight: whoever asks for what somebody else is already getting, waits for that.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use super::failure::Failure;

/// The result of a flight, as everybody on it gets it.
pub(super) type Flight<V> = Shared<BoxFuture<'static, Result<V, Failure>>>;

/// Flights under way; a client asks for 100 at once.
const MOST: usize = 4096;

/// What is being got at the moment. A flight goes on when those who wait for it go away: the next one will
/// want it, and what is kept is kept.
pub(super) struct Flights<K, V> {
    under_way: Arc<Mutex<HashMap<K, Flight<V>>>>,
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self { under_way: Arc::default() }
    }
}

/// Takes a flight off the board, however it ends.
struct Landing<K: Eq + Hash, V> {
    board: Arc<Mutex<HashMap<K, Flight<V>>>>,
    key: K,
}

impl<K, V> Flights<K, V>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Joins the flight for `key`, or starts it.
    pub(super) fn join<F>(&self, key: &K, start: impl FnOnce() -> F) -> Flight<V>
    where
        F: Future<Output = Result<V, Failure>> + Send + 'static,
    {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = under_way.get(key) {
            return flight.clone();
        }
        if under_way.len() >= MOST {
            return std::future::ready(Err(Failure::unavailable("it", "too many requests are waiting")))
                .boxed()
                .shared();
        }
        let landing = Landing { board: Arc::clone(&self.under_way), key: key.clone() };
        let work = start();
        let task = tokio::spawn(async move {
            let result = work.await;
            drop(landing);
            result
        });
        let ended = || Failure::unavailable("it", "its request came to a sudden end");
        let flight = task.map(move |joined| joined.unwrap_or_else(|_| Err(ended()))).boxed().shared();
        under_way.insert(key.clone(), flight.clone());
        flight
    }

    /// Whether there is one to join.
    pub(super) fn is_under_way(&self, key: &K) -> bool {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.board.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn fifty_who_ask_at_once_share_one_flight_and_the_next_starts_another() {
        let flights = Flights::<u8, u32>::default();
        let (started, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Semaphore::new(0)));
        let join = || {
            let (started, gate) = (Arc::clone(&started), Arc::clone(&gate));
            flights.join(&1, || async move {
                let nth = started.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                Ok(nth)
            })
        };
        let waiting: Vec<_> = (0..50).map(|_| join()).collect();
        gate.add_permits(2);
        for flight in waiting {
            assert_eq!(flight.await, Ok(0));
        }
        assert_eq!(join().await, Ok(1));
    }

    #[tokio::test]
    async fn a_flight_goes_on_when_those_who_wait_go_away() {
        let flights = Flights::<u8, u32>::default();
        let (done, mut is_done) = tokio::sync::watch::channel(false);
        drop(flights.join(&1, || async move {
            done.send_replace(true);
            Ok(0)
        }));
        is_done.wait_for(|done| *done).await.unwrap();
    }

    #[tokio::test]
    async fn a_flight_that_crashes_is_an_error_and_not_the_end_of_its_key() {
        let flights = Flights::<u8, u32>::default();
        assert!(flights.join(&1, || async { panic!("as planned") }).await.is_err());
        assert_eq!(flights.join(&1, || async { Ok(7) }).await, Ok(7));
    }
}
