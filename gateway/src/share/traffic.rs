//! How many bytes each peer was sent, for people.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use resolver::peer::PeerId;

/// Peers that are counted: several times as many as are connected at once. Of more, the one that got least is
/// forgotten.
const MOST: usize = 1024;

/// What all peers were sent. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    known: Arc<Mutex<BTreeMap<PeerId, Arc<AtomicU64>>>>,
}

impl Traffic {
    /// Where the bytes are counted that a peer is sent.
    #[must_use]
    pub fn of(&self, id: PeerId) -> Arc<AtomicU64> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST && !known.contains_key(&id) {
            let least = known.iter().min_by_key(|(_, sent)| sent.load(Ordering::Relaxed)).map(|(id, _)| *id);
            least.map(|least| known.remove(&least));
        }
        Arc::clone(known.entry(id).or_default())
    }

    /// What a peer was sent, in bytes; nothing, if it is not counted.
    #[must_use]
    pub fn sent(&self, id: &PeerId) -> u64 {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(id).map_or(0, |sent| sent.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peers_bytes_are_counted_and_however_many_come_who_got_most_is_remembered() {
        let traffic = Traffic::default();
        let busy = PeerId::of_key([255; 32]);
        traffic.of(busy).fetch_add(5, Ordering::Relaxed);
        for nth in 0..3000u32 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&nth.to_be_bytes());
            let _ = traffic.of(PeerId::of_key(key));
        }
        assert_eq!(traffic.sent(&busy), 5);
        assert_eq!(traffic.known.lock().unwrap().len(), MOST);
        assert_eq!(traffic.sent(&PeerId::of_key([9; 32])), 0);
    }
}
