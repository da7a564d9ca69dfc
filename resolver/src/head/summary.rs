//! A gateway's `GET /`, for programs: what its index is at, in one JSON object.
//!
//! ```text
//! {"hash": "bafybei...", "sequence": 1795341540123, "peer": "12D3KooW...", "cumulativesize": 48210034, "blocks": 5021}
//! ```
//!
//! The first and the last two are what open-registry has always said there. Nothing of it is signed: whoever follows asks for the record
//! (`/ipns/<peer>`), and can tell from `sequence` whether that is worth while.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{Head, Root};
use crate::peer::PeerId;

/// The longest that is read, in bytes: a program of a later version may say some more.
pub const LONGEST: usize = 4096;

/// What it says. Before the first head there is no `hash`, and `sequence` is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The root.
    pub root: Option<Root>,
    /// Of the head.
    pub sequence: u64,
    /// Who this is.
    pub peer: PeerId,
    /// Bytes of everything below the root, each as often as it is named.
    pub cumulative_size: u64,
    /// Nodes of the tree.
    pub blocks: u64,
}

/// A document that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotASummary {
    /// It has too many bytes.
    #[error("the index has {0} bytes; at most {LONGEST} are read")]
    TooLong(usize),
    /// It is not the object that it should be.
    #[error("it is no index of a registry: {0}")]
    Unreadable(String),
    /// What it names is no root.
    #[error("its hash is no root: {0}")]
    Root(#[from] super::NotARoot),
}

#[derive(Serialize, Deserialize)]
struct Document {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(default)]
    sequence: u64,
    peer: PeerId,
    #[serde(default)]
    cumulativesize: u64,
    #[serde(default)]
    blocks: u64,
}

impl Summary {
    /// Of a gateway, by its head if it has one.
    #[must_use]
    pub fn of(peer: PeerId, head: Option<&Head>, cumulative_size: u64, blocks: u64) -> Self {
        let sequence = head.map_or(0, |head| head.sequence);
        Self { root: head.map(|head| head.root), sequence, peer, cumulative_size, blocks }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`NotASummary`].
    pub fn parse(json: &[u8]) -> Result<Self, NotASummary> {
        if json.len() > LONGEST {
            return Err(NotASummary::TooLong(json.len()));
        }
        let read: Document =
            serde_json::from_slice(json).map_err(|error| NotASummary::Unreadable(error.to_string()))?;
        let Document { hash, sequence, peer, cumulativesize, blocks } = read;
        let root = hash.map(|hash| hash.parse()).transpose()?;
        Ok(Self { root, sequence, peer, cumulative_size: cumulativesize, blocks })
    }

    /// Writes it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let Self { root, sequence, peer, cumulative_size, blocks } = *self;
        let hash = root.map(|root| root.to_string());
        let document = Document { hash, sequence, peer, cumulativesize: cumulative_size, blocks };
        serde_json::to_vec(&document).expect("strings and numbers are JSON")
    }
}
