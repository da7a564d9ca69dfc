//! What a peer says of itself when it is asked: a card. It comes over a connection that proves who sends it, and is believed
//! in nothing that could harm others: where HTTP is served counts only for the address that the connection leads to, and
//! which networks a peer is there for is no matter of its own.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// The longest card, in bytes of JSON.
pub const LONGEST: usize = 4096;
/// Where HTTP is served, at most: a few addresses of both families, with and without TLS.
pub const MOST_URLS: usize = 8;
/// The longest of them.
const LONGEST_URL: usize = 255 + 16;
/// The longest version that is shown.
const LONGEST_VERSION: usize = 64;

/// A card: one JSON object. What is not known is left alone, so that later versions can say more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Of the program, as it is shown to people.
    pub version: String,
    /// Where clients are served, without a path: `http://192.168.7.9:6736`.
    #[serde(default)]
    pub urls: Vec<String>,
    /// Upstream answers it, so it can fetch what it has not.
    #[serde(default)]
    pub online: bool,
    /// It serves what it holds to peers.
    #[serde(default)]
    pub shares: bool,
    /// Of its head: milliseconds since 1970; 0: it has none.
    #[serde(default)]
    pub sequence: u64,
}

/// A card that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCard {
    /// It has too many bytes.
    #[error("the card has {0} bytes; at most {LONGEST} are read")]
    TooLong(usize),
    /// It is not the object that it should be.
    #[error("the card is not to be read: {0}")]
    Unreadable(String),
    /// It says too much.
    #[error("the card's {0} is too long")]
    Excessive(&'static str),
}

impl Card {
    /// Reads a card.
    ///
    /// # Errors
    /// [`InvalidCard`].
    pub fn parse(json: &[u8]) -> Result<Self, InvalidCard> {
        if json.len() > LONGEST {
            return Err(InvalidCard::TooLong(json.len()));
        }
        let card: Self = serde_json::from_slice(json)
            .map_err(|error| InvalidCard::Unreadable(alloc::string::ToString::to_string(&error)))?;
        if card.version.len() > LONGEST_VERSION {
            return Err(InvalidCard::Excessive("version"));
        }
        if card.urls.len() > MOST_URLS || card.urls.iter().any(|url| url.len() > LONGEST_URL) {
            return Err(InvalidCard::Excessive("list of addresses"));
        }
        Ok(card)
    }

    /// Writes it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn card() -> Card {
        Card {
            version: "0.1.0".into(),
            urls: vec!["http://192.168.7.9:6736".into()],
            online: true,
            shares: true,
            sequence: 7,
        }
    }

    #[test]
    fn a_card_is_read_as_it_was_written_and_what_is_new_in_it_is_left_alone() {
        assert_eq!(Card::parse(&card().to_json()), Ok(card()));
        let later = br#"{"version":"9","moon":"full"}"#;
        let read = Card::parse(later).unwrap();
        assert_eq!(
            (read.version.as_str(), read.online, read.shares, read.urls.len()),
            ("9", false, false, 0)
        );
    }

    #[test]
    fn a_card_that_says_too_much_is_refused() {
        let long = Card { version: "9".repeat(65), ..card() };
        assert_eq!(Card::parse(&long.to_json()), Err(InvalidCard::Excessive("version")));
        let many = Card { urls: vec!["http://a".into(); 9], ..card() };
        assert_eq!(Card::parse(&many.to_json()), Err(InvalidCard::Excessive("list of addresses")));
        let longest = Card { urls: vec!["h".repeat(272)], ..card() };
        assert!(Card::parse(&longest.to_json()).is_err());
        assert!(matches!(Card::parse(&vec![b' '; 4097]), Err(InvalidCard::TooLong(4097))));
        assert!(matches!(Card::parse(b"[]"), Err(InvalidCard::Unreadable(_))));
    }

    proptest! {
        #[test]
        fn whatever_a_peer_sends_is_a_card_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Card::parse(&bytes);
        }
    }
}
