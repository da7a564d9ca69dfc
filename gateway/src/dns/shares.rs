//! Places that clients share: whoever has many of them leaves as many free.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use resolver::links::one_client;

/// A number of places. A client gets one more while it has fewer than are free: alone it may have half of them,
/// and another then half of the rest, so that nobody finds them all taken by one (Choudhury and Hahne's dynamic
/// thresholds).
#[derive(Debug)]
pub(super) struct Shares {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Without those that have none.
    of: HashMap<IpAddr, usize>,
}

/// One place, left when it is dropped.
#[derive(Debug)]
pub(super) struct Share<'a> {
    shares: &'a Shares,
    client: IpAddr,
}

impl Shares {
    pub(super) fn of(most: usize) -> Self {
        Self { most, taken: Mutex::default() }
    }

    /// A place for this client, if its share allows one more.
    pub(super) fn enter(&self, client: IpAddr) -> Option<Share<'_>> {
        let client = one_client(client);
        let mut taken = self.lock();
        let free = self.most - taken.all;
        let own = taken.of.get(&client).copied().unwrap_or_default();
        if own >= free {
            return None;
        }
        taken.all += 1;
        taken.of.insert(client, own + 1);
        Some(Share { shares: self, client })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut taken = self.shares.lock();
        taken.all -= 1;
        if let Some(own) = taken.of.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                taken.of.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> IpAddr {
        IpAddr::from([192, 168, 7, last])
    }

    #[test]
    fn a_client_that_takes_all_it_can_leaves_places_for_others() {
        let shares = Shares::of(64);
        let greedy: Vec<_> = std::iter::from_fn(|| shares.enter(client(1))).collect();
        assert_eq!(greedy.len(), 32);
        let second: Vec<_> = std::iter::from_fn(|| shares.enter(client(2))).collect();
        assert_eq!(second.len(), 16);
        assert!(shares.enter(client(3)).is_some());
        drop(greedy);
        let more: Vec<_> = std::iter::from_fn(|| shares.enter(client(2))).collect();
        assert_eq!(second.len() + more.len(), 32);
    }

    #[test]
    fn a_place_that_is_left_is_free_and_nothing_is_remembered() {
        let shares = Shares::of(4);
        for last in 0..200 {
            assert!(shares.enter(client(last)).is_some());
        }
        assert!(shares.lock().of.is_empty());
        assert_eq!(shares.lock().all, 0);
    }
}
