//! What a node knows of home's word: here a number, padded to the size of a list of some twenty peers.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use gateway::swarm::{Bulletin, Worth};
use resolver::peer::PeerId;
use tokio::sync::watch;

/// Bytes of a text.
const LENGTH: usize = 8 * 1024;

/// One node's.
pub(crate) struct Board {
    author: PeerId,
    text: watch::Sender<Option<Arc<[u8]>>>,
    /// The last round that was heard, and when.
    heard: Mutex<(u64, Instant)>,
}

impl Board {
    /// Nothing was said yet.
    pub(crate) fn new(author: PeerId) -> Self {
        Self { author, text: watch::channel(None).0, heard: Mutex::new((0, Instant::now())) }
    }

    /// Home says something new.
    pub(crate) fn say(&self, round: u64) {
        self.set(round, format!("{round:>LENGTH$}"));
    }

    /// When this round was heard of.
    pub(crate) async fn await_round(&self, round: u64) -> Instant {
        let mut text = self.text.subscribe();
        loop {
            let (last, when) = *self.heard.lock().expect("nobody panics with it");
            if last >= round {
                return when;
            }
            text.changed().await.expect("this board");
        }
    }

    fn set(&self, round: u64, text: String) {
        *self.heard.lock().expect("nobody panics with it") = (round, Instant::now());
        self.text.send_replace(Some(text.into_bytes().into()));
    }
}

impl Bulletin for Board {
    fn author(&self) -> PeerId {
        self.author
    }

    fn last(&self) -> watch::Receiver<Option<Arc<[u8]>>> {
        self.text.subscribe()
    }

    fn offer(&self, said: &[u8]) -> Worth {
        let Some(text) = std::str::from_utf8(said).ok() else { return Worth::Forged };
        let Ok(round) = text.trim().parse() else { return Worth::Forged };
        if round <= self.heard.lock().expect("nobody panics with it").0 {
            return Worth::Old;
        }
        self.set(round, text.to_owned());
        Worth::New
    }
}
