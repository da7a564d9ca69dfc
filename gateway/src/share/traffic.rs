//! How many bytes each peer was sent and has sent, for people.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use resolver::peer::PeerId;

/// Peers that are counted: several times as many as are connected at once. Of more, the one that has moved least is
/// forgotten.
const MOST: usize = 1024;

/// The bytes of all peers. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    known: Arc<Mutex<BTreeMap<PeerId, Moved>>>,
}

/// The bytes of one. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Moved {
    sent: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
}

impl Traffic {
    /// Where the bytes of a peer are counted.
    #[must_use]
    pub fn of(&self, id: PeerId) -> Moved {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST && !known.contains_key(&id) {
            let least = known.iter().min_by_key(|(_, moved)| moved.total()).map(|(id, _)| *id);
            least.map(|least| known.remove(&least));
        }
        known.entry(id).or_default().clone()
    }

    /// Sent to a peer, and received from it; nothing, if it is not counted.
    #[must_use]
    pub fn bytes(&self, id: &PeerId) -> (u64, u64) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(id).map_or((0, 0), |moved| {
            (moved.sent.load(Ordering::Relaxed), moved.received.load(Ordering::Relaxed))
        })
    }
}

impl Moved {
    /// Where what is sent to it is counted.
    #[must_use]
    pub fn sent(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.sent)
    }

    /// Bytes of a body have come from it.
    pub fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    fn total(&self) -> u64 {
        self.sent.load(Ordering::Relaxed).saturating_add(self.received.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peers_bytes_are_counted_and_however_many_come_who_has_moved_most_is_remembered() {
        let traffic = Traffic::default();
        let busy = PeerId::of_key([255; 32]);
        traffic.of(busy).received(7);
        traffic.of(busy).sent().fetch_add(5, Ordering::Relaxed);
        for nth in 0..3000u32 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&nth.to_be_bytes());
            let _ = traffic.of(PeerId::of_key(key));
        }
        assert_eq!(traffic.bytes(&busy), (5, 7));
        assert_eq!(traffic.known.lock().unwrap().len(), MOST);
        assert_eq!(traffic.bytes(&PeerId::of_key([9; 32])), (0, 0));
    }
}
