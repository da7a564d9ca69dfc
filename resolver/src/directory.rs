//! The peers that a home vouches for: a list that it signs, so that it is the same wherever it comes from, and known offline.
//!
//! It comes in two ways: signed by itself, and without a signature as `/.federation/peers.json` under home's root. Both have the same
//! sequence, so that of two lists the later one is known, whichever way they came.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::jws::{self, Jws, NotAJws};
use crate::peer::PeerId;

/// The `typ` of its header.
pub const TYPE: &str = "open-registry-directory+jwt";
/// The longest, in bytes: some two hundred entries. Everybody keeps it, and it is sent whole.
pub const LONGEST: usize = 64 * 1024;
/// So far may a home's clock be ahead; from further in the future nothing is taken, or nothing could follow it.
const AHEAD: Duration = Duration::from_secs(600);

/// A list. `E` is an entry as configurations have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Directory<E> {
    /// Whose it is.
    pub id: PeerId,
    /// When it was signed, in milliseconds since 1970; later ones take the place of earlier ones.
    pub sequence: u64,
    /// Who is vouched for.
    pub peers: Vec<E>,
}

/// One whose signature nobody has looked at yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Signed<'a, E>(Jws<'a, Directory<E>>);

/// What is to be done with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is to be taken.
    New,
    /// It is known, or older than what is.
    Known,
    /// It is another home's.
    Foreign,
    /// It is from the future.
    Early,
}

/// A document of a root that is no list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotADirectory {
    /// It has too many bytes.
    #[error("the list of peers has {0} bytes; at most {LONGEST} are read")]
    TooLong(usize),
    /// It is not the object that it should be.
    #[error("the list of peers is not to be read: {0}")]
    Unreadable(String),
}

impl<E: Serialize> Directory<E> {
    /// What is to be signed.
    #[must_use]
    pub fn message(&self) -> String {
        jws::message(TYPE, self)
    }

    /// The same without a signature, as it stands under a root.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("what entries of a configuration hold is JSON")
    }
}

impl<E: DeserializeOwned> Directory<E> {
    /// Reads one that stands under a root.
    ///
    /// # Errors
    /// [`NotADirectory`].
    pub fn parse(json: &[u8]) -> Result<Self, NotADirectory> {
        if json.len() > LONGEST {
            return Err(NotADirectory::TooLong(json.len()));
        }
        serde_json::from_slice(json).map_err(|error| NotADirectory::Unreadable(error.to_string()))
    }
}

impl<E> Directory<E> {
    /// What is to be done with it where `home` is followed and this sequence is the last that was taken; `now` since 1970.
    #[must_use]
    pub fn judge(&self, home: PeerId, last: Option<u64>, now: Duration) -> Verdict {
        let latest = u64::try_from(now.saturating_add(AHEAD).as_millis()).unwrap_or(u64::MAX);
        match () {
            () if self.id != home => Verdict::Foreign,
            () if self.sequence > latest => Verdict::Early,
            () if last.is_some_and(|last| self.sequence <= last) => Verdict::Known,
            () => Verdict::New,
        }
    }
}

impl<'a, E: DeserializeOwned> Signed<'a, E> {
    /// Reads one.
    ///
    /// # Errors
    /// [`NotAJws`].
    pub fn parse(text: &'a str) -> Result<Self, NotAJws> {
        Jws::parse(text, TYPE, LONGEST).map(Self)
    }
}

impl<'a, E> Signed<'a, E> {
    /// What it says.
    #[must_use]
    pub fn directory(&self) -> &Directory<E> {
        &self.0.payload
    }

    /// The same, once its signature has been checked.
    #[must_use]
    pub fn into_directory(self) -> Directory<E> {
        self.0.payload
    }

    /// What was signed, and the signature (RFC 8032) that is to be checked with the key of [`Directory::id`].
    #[must_use]
    pub fn evidence(&self) -> (&'a str, &[u8; 64]) {
        (self.0.message(), self.0.signature())
    }

    /// What is to be done with it: see [`Directory::judge`].
    #[must_use]
    pub fn judge(&self, home: PeerId, last: Option<u64>, now: Duration) -> Verdict {
        self.directory().judge(home, last, now)
    }
}

/// The sequence of what is signed now, after one with the sequence `last`: later, also when the clock went back.
#[must_use]
pub fn next_sequence(last: Option<u64>, now: Duration) -> u64 {
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    last.map_or(now, |last| now.max(last.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn home() -> PeerId {
        PeerId::of_key([7; 32])
    }

    fn text(sequence: u64) -> String {
        let directory = Directory { id: home(), sequence, peers: vec![String::from("one")] };
        jws::signed(&directory.message(), [9; 64])
    }

    fn verdict(sequence: u64, last: Option<u64>) -> Verdict {
        Signed::<String>::parse(&text(sequence)).unwrap().judge(home(), last, NOW)
    }

    #[test]
    fn a_directory_is_read_as_it_was_written() {
        let text = text(7);
        let signed = Signed::<String>::parse(&text).unwrap();
        assert_eq!(signed.directory().peers, ["one"]);
        assert_eq!(signed.evidence().1, &[9; 64]);
        assert!(text.starts_with(signed.evidence().0));
    }

    #[test]
    fn only_homes_own_and_only_newer_ones_are_taken() {
        assert_eq!(verdict(7, None), Verdict::New);
        assert_eq!(verdict(7, Some(6)), Verdict::New);
        assert_eq!(verdict(7, Some(7)), Verdict::Known);
        assert_eq!(verdict(7, Some(8)), Verdict::Known);
        let other = Signed::<String>::parse(&text(7)).unwrap().judge(PeerId::of_key([8; 32]), None, NOW);
        assert_eq!(other, Verdict::Foreign);
    }

    #[test]
    fn one_from_the_future_does_not_lock_everybody_out() {
        let now = u64::try_from(NOW.as_millis()).unwrap();
        assert_eq!(verdict(now + 600_000, None), Verdict::New);
        assert_eq!(verdict(now + 600_001, None), Verdict::Early);
        assert_eq!(next_sequence(None, NOW), now);
        assert_eq!(next_sequence(Some(now + 5), NOW), now + 6, "the clock went back");
    }

    #[test]
    fn what_stands_under_a_root_is_the_same_list_without_its_signature() {
        let text = text(7);
        let signed = Signed::<String>::parse(&text).unwrap().into_directory();
        let json = signed.to_json();
        assert_eq!(Directory::<String>::parse(&json).unwrap(), signed);
        assert_eq!(signed.judge(home(), Some(7), NOW), Verdict::Known, "whichever way it came");
        let long = Directory { id: home(), sequence: 1, peers: vec!["x".repeat(LONGEST)] }.to_json();
        assert_eq!(Directory::<String>::parse(&long).err(), Some(NotADirectory::TooLong(long.len())));
        assert!(matches!(Directory::<String>::parse(b"[]"), Err(NotADirectory::Unreadable(_))));
    }

    #[test]
    fn too_long_a_list_and_a_thing_of_another_kind_are_none() {
        let directory = Directory { id: home(), sequence: 1, peers: vec!["x".repeat(LONGEST)] };
        let long = jws::signed(&directory.message(), [0; 64]);
        assert_eq!(Signed::<String>::parse(&long).err(), Some(NotAJws::TooLong));
        let other = jws::signed(&jws::message("open-registry-proof+jwt", &directory.peers), [0; 64]);
        assert!(Signed::<String>::parse(&other).is_err());
    }

    proptest! {
        #[test]
        fn whatever_stands_under_a_root_is_a_directory_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            flip in any::<(u8, u8)>(),
            cut in any::<u8>(),
        ) {
            let _ = Directory::<String>::parse(&bytes);
            let mut bytes = Directory { id: home(), sequence: 7, peers: vec![String::from("one")] }.to_json();
            let at = usize::from(flip.0) % bytes.len();
            bytes[at] ^= flip.1;
            bytes.truncate(bytes.len().min(usize::from(cut)));
            if let Ok(read) = Directory::<String>::parse(&bytes) {
                let again = Directory::parse(&read.to_json());
                prop_assert_eq!(again, Ok(read));
            }
        }

        #[test]
        fn whatever_a_peer_sends_is_a_directory_or_refused(text in "[A-Za-z0-9_.-]{0,200}", flip in any::<(u8, u8)>()) {
            let _ = Signed::<String>::parse(&text);
            let mut bytes = self::text(7).into_bytes();
            let at = usize::from(flip.0) % bytes.len();
            bytes[at] ^= flip.1;
            if let Ok(text) = String::from_utf8(bytes) {
                let _ = Signed::<String>::parse(&text);
            }
        }
    }
}
