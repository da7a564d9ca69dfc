//! The head: which root a gateway's index has, since when and for how long, signed with its key: an IPNS record
//! ([specification](https://specs.ipfs.tech/ipns/ipns-record/)).
//!
//! Whoever has the key publishes ([`publish`]): it makes a [`Head`], signs [`Head::message`] and sends [`Head::record`], also by
//! DNS ([`dns`]); [`summary`] is what it says for programs. Whoever follows reads a [`Signed`], which nobody has looked at yet, and
//! makes a [`Checked`] of it with the key that the name consists of; [`followed`] is which one counts, and [`polls`] when to ask.
//! Where a record has come from never counts: it is the same by HTTP, DNS, gossip and from any peer.
//!
//! ```text
//! record   protobuf   8: signature (64 bytes)   9: data             the fields 1 to 7 are of records of before 2021
//! data     DAG-CBOR   {TTL: ns, Value: "/ipfs/<root>", Sequence: ms since 1970, Validity: "2026-11-22T09:59:00.000000000Z",
//!                      ValidityType: 0}
//! signed              "ipns-signature:" and the data
//! ```
//!
//! What is written has the second kind of signature only: everybody verifies that one, and nobody the first. Such a record has
//! some 230 bytes, instead of 430, and fits into one small answer of DNS.

pub mod dns;
pub mod followed;
pub mod polls;
pub mod publish;
pub mod summary;

mod data;
mod envelope;
mod name;
mod root;
mod timestamp;

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::time::Duration;

use crate::peer::PeerId;

pub use name::{NotAName, name, parse_name};
pub use root::{NotARoot, Root};

/// The longest record that is read, in bytes: the specification's limit.
pub const LONGEST: usize = 10 * 1024;
/// What stands before the data where it is signed, so that a signature over something else is none of a record.
const SIGNED_AS: &[u8] = b"ipns-signature:";

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Whose it is.
    pub name: PeerId,
    /// What it names.
    pub root: Root,
    /// When it was signed, in milliseconds since 1970; later ones take the place of earlier ones.
    pub sequence: u64,
    /// Until when IPFS clients take it, since 1970.
    pub until: Duration,
    /// How long they need not ask again.
    pub ttl: Duration,
}

/// A record whose signature nobody has looked at yet.
#[derive(Debug, Clone)]
pub struct Signed<'a> {
    head: Head,
    record: &'a [u8],
    data: &'a [u8],
    signature: [u8; 64],
}

/// A record that its owner has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    head: Head,
    record: Vec<u8>,
}

/// Why bytes are no record of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotARecord {
    /// It is longer than any is.
    #[error("the record has {0} bytes; at most {LONGEST} are read")]
    TooLong(usize),
    /// Not the protobuf that it should be.
    #[error("the record is damaged")]
    Envelope,
    /// There is no signature of the kind that counts, or nothing that is signed.
    #[error("the record is not signed")]
    Unsigned,
    /// It brings a key that is not the name's.
    #[error("the record brings another key than that of its name")]
    Key,
    /// Not the DAG-CBOR that it should be.
    #[error("what the record says is damaged")]
    Data,
    /// It ends with something else than a date.
    #[error("the record does not say until when it is valid")]
    Validity,
    /// It names no root.
    #[error("the record names no root: {0}")]
    Root(#[from] NotARoot),
    /// Its fields of before 2021 say something else.
    #[error("the record says two different things")]
    Legacy,
}

/// A signature that is not of the name's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record is not signed by the key of its name")]
pub struct Forged;

impl Head {
    /// What is to be signed.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        message(&data::write(self))
    }

    /// The record, with the ed25519 signature (RFC 8032) of [`Self::message`].
    #[must_use]
    pub fn record(&self, signature: &[u8; 64]) -> Vec<u8> {
        envelope::write(&data::write(self), signature)
    }

    /// Which of two heads of one name counts: the one with the higher sequence, as the specification says. Of two with the same,
    /// which only a key in use on two machines can make, the one that is valid for longer, and then the one whose root is the
    /// greater number: so all followers end up with the same, in whatever order they hear of them, and none goes back and forth.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        let rank = |head: &Self| (head.sequence, head.until, *head.root.cid());
        rank(self).cmp(&rank(other))
    }

    /// How long ago it was signed, by its owner's clock; zero for one from the future.
    #[must_use]
    pub fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_millis(self.sequence))
    }
}

impl<'a> Signed<'a> {
    /// Reads a record of this name.
    ///
    /// # Errors
    /// [`NotARecord`].
    pub fn read(record: &'a [u8], name: PeerId) -> Result<Self, NotARecord> {
        if record.len() > LONGEST {
            return Err(NotARecord::TooLong(record.len()));
        }
        let envelope = envelope::read(record)?;
        if envelope.key.is_some_and(|key| key != name.public_key()) {
            return Err(NotARecord::Key);
        }
        let (Some(signature), Some(data)) = (envelope.signature, envelope.data) else {
            return Err(NotARecord::Unsigned);
        };
        let signature = signature.try_into().map_err(|_| NotARecord::Unsigned)?;
        let said = data::read(data)?;
        if !envelope.legacy.agrees_with(&said) {
            return Err(NotARecord::Legacy);
        }
        Ok(Self { head: said.head(name)?, record, data, signature })
    }

    /// What it says, whoever has said it.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The same, once `verify` has found that with this key (32 bytes) this message was signed so (RFC 8032).
    ///
    /// # Errors
    /// [`Forged`], when it has found that it was not.
    pub fn check(self, verify: impl FnOnce(&[u8; 32], &[u8], &[u8; 64]) -> bool) -> Result<Checked, Forged> {
        if !verify(self.head.name.key(), &message(self.data), &self.signature) {
            return Err(Forged);
        }
        Ok(Checked { head: self.head, record: self.record.to_vec() })
    }
}

impl Checked {
    /// What it says.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The record as it came, for whoever asks for it.
    #[must_use]
    pub fn record(&self) -> &[u8] {
        &self.record
    }
}

fn message(data: &[u8]) -> Vec<u8> {
    [SIGNED_AS, data].concat()
}

#[cfg(test)]
mod tests;
