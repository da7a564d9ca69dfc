//! How a probe of an address ended.

use alloc::string::String;

use super::{NotAProof, Refusal, Verdict};
use crate::health;

/// How a probe of an address ended. Its text is for operators, and goes on from "the probe of 192.0.2.7 over http: ".
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Outcome {
    /// The address is the peer's, and clients are welcome.
    #[error("passed")]
    Passed {
        /// How busy the peer is: 0 to 1.
        load: f32,
    },
    /// The address is the peer's, which is about to stop.
    #[error("the gateway takes no new clients")]
    Draining {
        /// How busy the peer is: 0 to 1.
        load: f32,
    },
    /// Nobody listens there, or the network says that nobody is there, or the connection broke.
    #[error("no connection: {0}")]
    Refused(String),
    /// No answer, or not to its end.
    #[error("no answer in time")]
    TimedOut,
    /// An answer that no gateway gives; a redirect is one, and is not followed.
    #[error("it answered with status {0}")]
    Status(u16),
    /// Clients that say https would not come in.
    #[error("its certificate is not accepted: {0}")]
    Certificate(&'static str),
    /// Something else is there.
    #[error("no proof came: {0}")]
    NoProof(NotAProof),
    /// A proof came that is none.
    #[error("the proof is refused: {0}")]
    NotProven(Refusal),
}

impl Outcome {
    /// Clients may be led there.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        matches!(self, Self::Passed { .. })
    }

    /// Whoever is there is not the peer, or has not its key: the address is lost at once. Silence and confusion show no
    /// such thing.
    #[must_use]
    pub fn is_deceit(&self) -> bool {
        matches!(self, Self::NotProven(refusal) if refusal.is_deceit())
    }

    /// Of two schemes at one address the one that counts, for clients come by both: the worse; of two that passed, the
    /// busier.
    #[must_use]
    pub fn counts_before(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Passed { load }, Self::Passed { load: other }) => load > other,
            _ => self.gravity() > other.gravity(),
        }
    }

    fn gravity(&self) -> u8 {
        match self {
            Self::Passed { .. } => 0,
            Self::Draining { .. } => 1,
            _ if self.is_deceit() => 3,
            _ => 2,
        }
    }
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Proven { load, accepting: true } => Self::Passed { load },
            Verdict::Proven { load, accepting: false } => Self::Draining { load },
            Verdict::Refused(refusal) => Self::NotProven(refusal),
        }
    }
}

/// What it means for the address that was probed.
impl From<&Outcome> for health::Outcome {
    fn from(outcome: &Outcome) -> Self {
        match *outcome {
            Outcome::Passed { load } => Self::Passed { load, accepting: true },
            Outcome::Draining { load } => Self::Passed { load, accepting: false },
            _ if outcome.is_deceit() => Self::Deceived,
            _ => Self::Failed,
        }
    }
}
