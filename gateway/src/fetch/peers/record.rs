//! What is remembered of each peer, and one request to it.

use std::collections::BTreeMap;
use std::time::Duration;

use resolver::hedge::Hedge;
use resolver::peer::PeerId;
use resolver::peers::{Offence, Sighting};
use resolver::strikes::{Fault, Fitness, Strikes};

use super::Peers;

/// Requests to one peer at once: as many as there are downloads.
const AT_ONCE: u32 = 48;
/// Peers that are remembered: more than are ever connected. Whoever was struck longest ago is forgotten first.
pub(super) const REMEMBERED: usize = 4096;

/// What is remembered of all.
pub(super) struct State {
    pub(super) hedge: Hedge,
    pub(super) records: BTreeMap<PeerId, Record>,
}

/// What is remembered of one peer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Record {
    pub(super) strikes: Strikes,
    /// Requests under way, and those of them that it has not answered in time.
    pub(super) asked: u32,
    overdue: u32,
    pub(super) received: u64,
    /// Somebody gave wrong bytes at an address of its: only its own connection is believed any more.
    pub(super) by_stream: bool,
}

/// One request to a peer; when it is dropped it has ended without a verdict.
pub(in crate::fetch) struct Asking {
    pub(super) peers: Peers,
    pub(super) id: PeerId,
    /// When, since the start.
    pub(super) begun: Duration,
    pub(super) overdue: bool,
    pub(super) over: bool,
}

impl State {
    /// For one more.
    pub(super) fn make_room(&mut self, now: Duration) {
        if self.records.len() < REMEMBERED {
            return;
        }
        let idle = self.records.iter().filter(|(_, record)| record.asked == 0);
        // Whoever is out for long comes last.
        let key = |record: &Record| match record.strikes.fitness(now) {
            Fitness::Out(until) => until.unwrap_or(Duration::MAX),
            _ => record.strikes.last().unwrap_or_default(),
        };
        let oldest = idle.min_by_key(|(_, record)| (!record.strikes.is_clean(), key(record)));
        if let Some(id) = oldest.map(|(id, _)| *id) {
            self.records.remove(&id);
        }
    }
}

impl Record {
    /// One request that it keeps waiting is enough.
    pub(super) fn is_busy(&self) -> bool {
        self.overdue > 0 || self.asked >= AT_ONCE
    }
}

impl Asking {
    /// It keeps us waiting: it is asked for nothing else meanwhile.
    pub(in crate::fetch) fn mark_overdue(&mut self) {
        let mut state = self.peers.state();
        if let Some(record) = state.records.get_mut(&self.id).filter(|_| !self.overdue) {
            record.overdue += 1;
            self.overdue = true;
        }
    }

    /// It gave the right bytes.
    pub(in crate::fetch) fn served(mut self) {
        let now = self.peers.now();
        self.end(|strikes| strikes.served(now));
    }

    /// It did not, and that is held against it.
    pub(in crate::fetch) fn failed(mut self, fault: Fault) {
        let (now, mut is_out) = (self.peers.now(), false);
        let begun = self.begun;
        self.end(|strikes| is_out = strikes.strike(fault, begun, now));
        let peer = self.id;
        match fault {
            Fault::WrongBytes => {
                tracing::error!(%peer, "a peer gave wrong bytes; they were thrown away, and it is not asked any more");
                (self.peers.inner.seen)(Sighting::Caught(peer, Offence::WrongBytes));
            }
            _ if is_out => {
                tracing::info!(%peer, ?fault, "a peer has three strikes: it is not asked for a while");
            }
            _ => tracing::debug!(%peer, ?fault, "a strike for a peer"),
        }
    }

    fn end(&mut self, learn: impl FnOnce(&mut Strikes)) {
        self.over = true;
        let mut state = self.peers.state();
        if let Some(record) = state.records.get_mut(&self.id) {
            record.asked = record.asked.saturating_sub(1);
            record.overdue = record.overdue.saturating_sub(u32::from(self.overdue));
            learn(&mut record.strikes);
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if !self.over {
            let now = self.peers.now();
            self.end(|strikes| strikes.left(now));
        }
    }
}
