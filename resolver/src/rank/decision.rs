//! What comes out: up to three gateways in order, and how long and for whom that holds.

use alloc::vec::Vec;

use super::table::Candidate;
use super::verdict::{Ranked, Rejection};

/// Gateways in a decision: two are told, the third stands by. Longer lists would break the networks that answers hold for
/// into small pieces.
pub const MOST_RANKED: usize = 3;

/// Whom a client should talk to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// The best first; never empty while this gateway could be told at all.
    pub ranked: Vec<Ranked>,
    /// How many bits of the client's address it depends on (RFC 7871, SCOPE PREFIX-LENGTH). It does not depend on
    /// anybody's health.
    pub scope: u8,
    /// Seconds until it can change; `None`: only with the configuration.
    pub changes_in_s: Option<u16>,
    /// Something is not as it should be: it may change at any moment.
    pub degraded: bool,
}

/// A candidate, and what became of it.
#[derive(Debug, Clone, Copy)]
pub struct Considered<'a> {
    /// Its number in the table.
    pub number: u32,
    /// Who it is.
    pub candidate: &'a Candidate,
    /// Its rank, or why it has none.
    pub verdict: Result<Ranked, Rejection>,
}

/// The best few, in order.
#[derive(Debug, Default)]
pub(super) struct Best {
    ranked: Vec<Ranked>,
}

impl Best {
    pub(super) fn offer(&mut self, ranked: Ranked) {
        let at = self.ranked.partition_point(|one| one.order(&ranked).is_lt());
        if at < MOST_RANKED {
            self.ranked.truncate(MOST_RANKED - 1);
            self.ranked.insert(at, ranked);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.ranked.len() == MOST_RANKED
    }

    /// The one that has to be beaten.
    pub(super) fn last(&self) -> Option<&Ranked> {
        self.ranked.last().filter(|_| self.is_full())
    }

    pub(super) fn into_vec(self) -> Vec<Ranked> {
        self.ranked
    }
}
