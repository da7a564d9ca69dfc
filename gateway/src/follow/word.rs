//! Heads by gossip: home's, as it is followed, and this gateway's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use resolver::head::Signed;
use resolver::head::followed::Outcome;
use resolver::head::polls::Way;
use resolver::peer::PeerId;
use tokio::sync::watch;

use super::Following;
use crate::identity::is_signed_by;
use crate::swarm::{Bulletin, Worth};

impl Bulletin for Following {
    fn author(&self) -> PeerId {
        self.inner.home
    }

    fn last(&self) -> watch::Receiver<Option<Arc<[u8]>>> {
        self.inner.record.subscribe()
    }

    fn offer(&self, said: &[u8]) -> Worth {
        match self.offer(said, Way::Pubsub) {
            Outcome::New => Worth::New,
            // An old one may be what somebody has who was away, and one from the future may be right, and this clock wrong.
            Outcome::Known | Outcome::Older | Outcome::Early | Outcome::Expired | Outcome::Flooded => {
                Worth::Old
            }
            Outcome::Forged | Outcome::Damaged(_) => Worth::Forged,
        }
    }
}

/// What this gateway says itself, to all who follow it. Cheap to clone.
#[derive(Clone)]
pub struct OwnHead {
    own: PeerId,
    record: watch::Sender<Option<Arc<[u8]>>>,
    sequence: Arc<AtomicU64>,
}

impl OwnHead {
    /// Nothing has been said yet.
    #[must_use]
    pub fn new(own: PeerId) -> Self {
        Self { own, record: watch::Sender::new(None), sequence: Arc::default() }
    }

    /// This is the head from now on, with this sequence.
    pub fn say(&self, sequence: u64, record: &[u8]) {
        self.sequence.store(sequence, Ordering::Release);
        self.record.send_replace(Some(record.into()));
    }

    /// The sequence of the head; 0 before there is one.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }
}

impl Bulletin for OwnHead {
    fn author(&self) -> PeerId {
        self.own
    }

    fn last(&self) -> watch::Receiver<Option<Arc<[u8]>>> {
        self.record.subscribe()
    }

    /// Nobody knows it better than this gateway; it only comes back, or is made up.
    fn offer(&self, said: &[u8]) -> Worth {
        let verify =
            |_: &[u8; 32], message: &[u8], signature: &[u8; 64]| is_signed_by(self.own, message, signature);
        match Signed::read(said, self.own).ok().and_then(|signed| signed.check(verify).ok()) {
            Some(_) => Worth::Old,
            None => Worth::Forged,
        }
    }
}
