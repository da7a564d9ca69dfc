//! Places for connections: when they are all taken, whoever has most of them gives up the one it needs least.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use resolver::links::one_client;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// As many as gdnsd has for one of its threads: DNS by connection is rare and short.
pub(super) const PLACES: usize = 256;

/// All places.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    occupants: HashMap<u64, Occupant>,
}

#[derive(Debug)]
struct Occupant {
    /// One client; of IPv6 one network, for it has all addresses in it.
    client: IpAddr,
    /// When it last said something.
    active: Instant,
    leave: CancellationToken,
}

/// One place, left when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    places: Places,
    leave: CancellationToken,
}

impl Places {
    /// A place for this client; somebody else is asked to leave when there is none.
    pub(super) fn enter(&self, client: IpAddr) -> Place {
        let leave = CancellationToken::new();
        let mut taken = self.lock();
        if taken.occupants.len() >= PLACES {
            taken.send_one_away();
        }
        let number = taken.next;
        taken.next += 1;
        let occupant = Occupant { client: one_client(client), active: Instant::now(), leave: leave.clone() };
        taken.occupants.insert(number, occupant);
        Place { number, places: self.clone(), leave }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Of the client with most places, the one that has been silent for longest.
    fn send_one_away(&mut self) {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for occupant in self.occupants.values() {
            *counts.entry(occupant.client).or_default() += 1;
        }
        let rank = |occupant: &Occupant| (counts[&occupant.client], std::cmp::Reverse(occupant.active));
        let last =
            self.occupants.iter().max_by_key(|(_, occupant)| rank(occupant)).map(|(number, _)| *number);
        if let Some(occupant) = last.and_then(|number| self.occupants.remove(&number)) {
            occupant.leave.cancel();
        }
    }
}

impl Place {
    /// The client has said something.
    pub(super) fn touch(&self) {
        if let Some(occupant) = self.places.lock().occupants.get_mut(&self.number) {
            occupant.active = Instant::now();
        }
    }

    /// Cancelled when the place is somebody else's.
    pub(super) fn leave(&self) -> &CancellationToken {
        &self.leave
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().occupants.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn client(last: u8) -> IpAddr {
        IpAddr::from([192, 168, 7, last])
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_most_gives_up_the_place_that_was_silent_for_longest() {
        let places = Places::default();
        let quiet = places.enter(client(1));
        let mut greedy = Vec::new();
        for _ in 1..PLACES {
            tokio::time::advance(Duration::from_millis(1)).await;
            greedy.push(places.enter(client(2)));
        }
        greedy[0].touch();

        let newcomer = places.enter(client(3));

        assert!(!quiet.leave().is_cancelled(), "one place is not too many, however silent");
        assert!(!greedy[0].leave().is_cancelled(), "it has just spoken");
        assert!(greedy[1].leave().is_cancelled());
        assert!(!newcomer.leave().is_cancelled());
        assert_eq!(greedy.iter().filter(|place| place.leave().is_cancelled()).count(), 1);
    }

    #[tokio::test]
    async fn a_place_that_is_left_is_free() {
        let places = Places::default();
        let first = places.enter(client(1));
        for _ in 0..2 * PLACES {
            drop(places.enter(client(1)));
        }
        assert!(!first.leave().is_cancelled());
    }
}
