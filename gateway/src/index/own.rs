//! What this gateway itself has to say: documents in `/.federation`, whose bytes stand in the index.
//!
//! They come into a root at the end of a pass over the news. So what a root says of how far the feed was followed is true of that
//! root: whatever was known to the store when that was said has been listed since.

use std::sync::{Mutex, MutexGuard, PoisonError};

use resolver::freshness::State;
use resolver::index::Folder;
use tokio::sync::Notify;

use super::database::Trouble;
use super::listing::{Difference, Directory};
use super::tables::{BLOCKED, PEERS, STATE};
use super::{Index, Inner, files};

/// What is said, for the keeper.
#[derive(Default)]
pub(super) struct Board {
    said: Mutex<Said>,
    changed: Notify,
}

/// All that is said at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    peers: Option<Vec<u8>>,
    state: Option<State>,
    blocked: Option<Vec<u8>>,
}

impl Index {
    /// This gateway's list of peers, as [`resolver::directory`] writes it; `None`: it vouches for nobody, and never has.
    pub fn say_peers(&self, peers: Option<Vec<u8>>) {
        self.inner.own.say(|said| said.peers = peers);
    }

    /// All that upstream's change feed had told by then is in the store; `None`: no feed is followed.
    pub fn say_state(&self, state: Option<State>) {
        self.inner.own.say(|said| said.state = state);
    }
}

impl Board {
    fn say(&self, change: impl FnOnce(&mut Said)) {
        change(&mut self.lock());
        self.changed.notify_one();
    }

    /// Waits until something else is said than when it was last waited for.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// What is said now.
    pub(super) fn said(&self) -> Said {
        Said { blocked: self.basis.fetch.takedowns().document(), ..self.own.lock().clone() }
    }

    /// What is to change so that `/.federation` says this. Blocks for a moment.
    pub(super) fn own_difference(&self, said: Said) -> Result<Difference, Trouble> {
        let Said { peers, state, blocked } = said;
        let mut directory = Directory::of(self.listed(&Folder::Federation)?);
        let documents = [(PEERS, peers), (STATE, state.map(|state| state.to_json())), (BLOCKED, blocked)];
        for (file, bytes) in documents {
            if let Some(bytes) = bytes {
                directory.put_own(file, bytes);
            }
        }
        Ok(directory.difference(Folder::Federation))
    }
}

impl Directory {
    /// A document of this gateway's own stands there.
    pub(super) fn put_own(&mut self, file: &str, bytes: Vec<u8>) {
        let length = bytes.len();
        let Some(fresh) = files::own(bytes) else {
            tracing::error!(file, length, "a document is too long for the index, and left out");
            return;
        };
        self.put(file, fresh);
    }
}
