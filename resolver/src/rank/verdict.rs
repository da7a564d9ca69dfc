//! What becomes of one candidate: its rank, or the reason why it is none.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::cmp::Ordering;
use core::fmt;

use super::cost::Cost;
use crate::health::State;

/// What a gateway is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// An address record.
    Answer,
    /// An address record, for a client that has no use for the other family.
    OneFamily {
        /// IPv4.
        v4: bool,
    },
    /// A redirect of a client that came by http or, when true, by https.
    Redirect {
        /// Only https will do.
        https: bool,
    },
}

/// How a candidate is related to the client; those that come first win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// On the same link; or it is this gateway, and the client is of a private network of its.
    SameLink,
    /// It serves a network that the client is in.
    Declared,
    /// In the same autonomous system.
    SameNetwork,
    /// This gateway, where nobody knows how far anybody is: the client has found its way here.
    Home,
    /// At a distance that is known, if only by countries. Where the client's place is known and this gateway's is not, this
    /// gateway counts as that far which nobody knows ([`Cost::round_trip`]).
    Distance,
    /// A peer, and nothing is known that relates it to the client.
    Elsewhere,
}

/// A candidate that could be told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// Its number in the table.
    pub number: u32,
    /// How it is related to the client.
    pub tier: Tier,
    /// The length of the declared network that both share; 0 in other tiers.
    pub prefix: u8,
    /// It has just failed: anybody else of the tier comes before it.
    pub suspect: bool,
    /// What it costs.
    pub cost: Cost,
    /// Its step of cost.
    pub bucket: i16,
    /// Its score in the rendezvous.
    pub score: f64,
    /// Its endpoints that the client is told: bit 0 is the first.
    pub told: u8,
}

/// Why a candidate is not told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rejection {
    /// Clients are not steered to it, whatever it proves.
    NotAdmitted,
    /// No probe of any of its addresses has passed yet.
    Unproven,
    /// It does not answer.
    Down,
    /// It is about to stop.
    Draining,
    /// It was caught, and for how many seconds more it counts as that.
    Quarantined(u32),
    /// It has more to do than it can.
    Overloaded,
    /// It has no address that would be of use to this client: private ones mean nothing elsewhere.
    OutOfReach,
    /// It has no address of this kind.
    NoUrl,
}

impl Ranked {
    /// Whether it comes before `other`. Total: of two that are equal in all that counts the lower number comes first.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        let key = |one: &Self| (one.tier, core::cmp::Reverse(one.prefix), one.suspect, one.bucket);
        key(self)
            .cmp(&key(other))
            .then_with(|| other.score.total_cmp(&self.score))
            .then_with(|| self.number.cmp(&other.number))
    }
}

impl Tier {
    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SameLink => "same link",
            Self::Declared => "declared network",
            Self::SameNetwork => "same autonomous system",
            Self::Home => "this gateway",
            Self::Distance => "distance",
            Self::Elsewhere => "anywhere",
        }
    }
}

impl Rejection {
    pub(super) fn of(state: State) -> Option<Self> {
        match state {
            State::Up | State::Recovering | State::Suspect => None,
            State::Draining => Some(Self::Draining),
            State::Unknown => Some(Self::Unproven),
            State::Down => Some(Self::Down),
        }
    }

    /// In words.
    #[must_use]
    pub fn words(self) -> String {
        let words = match self {
            Self::NotAdmitted => "not admitted: clients are not steered to it",
            Self::Unproven => "no probe of it has passed yet",
            Self::Down => "it is down: its probes fail",
            Self::Draining => "it is about to stop",
            Self::Quarantined(seconds) => {
                return alloc::format!("in quarantine for {seconds} s more: it was caught");
            }
            Self::Overloaded => "overloaded",
            Self::OutOfReach => "none of its addresses is of use to this client",
            Self::NoUrl => "it has no such address to be redirected to",
        };
        words.to_owned()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words())
    }
}
