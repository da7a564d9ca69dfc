//! What a peer says of itself when it is asked: a card. It comes over a connection that proves who sends it, and is believed
//! in nothing that could harm others: where HTTP is served counts only for the address that the connection leads to, and
//! which networks a peer is there for is no matter of its own.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::links::Class;
use crate::peer::{PeerId, Scheme};
use crate::proof::Authority;

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
    /// Whom it follows: who follows the same home can ask it for parts of home's index. `None`: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<PeerId>,
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

    /// Leaves those URLs whose host is one of the addresses that its sender's connections lead to, and says how many others it
    /// named: whoever took those would have clients and peers knock where somebody else lives. A private address on a
    /// connection from elsewhere is no such attempt: there is a router between that changes addresses.
    pub fn keep_own_urls(&mut self, connected: &[IpAddr]) -> usize {
        let from_outside = connected.iter().all(|address| Class::of(*address) == Class::Public);
        let mut foreign = 0;
        self.urls.retain(|url| {
            let host = host(url);
            let own = host.is_some_and(|host| connected.iter().any(|one| one.to_canonical() == host));
            let hidden = from_outside && host.is_some_and(|host| Class::of(host) < Class::Public);
            foreign += usize::from(!own && !hidden);
            own
        });
        foreign
    }

    /// Writes it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The address that a URL consists of, apart from its port.
fn host(url: &str) -> Option<IpAddr> {
    let (scheme, authority) = url.split_once("://")?;
    Authority::parse(Scheme::parse(scheme)?, authority).ok()?.address()
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
            home: Some(PeerId::of_key([7; 32])),
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

    #[test]
    fn an_address_counts_only_if_a_connection_leads_there() {
        let said = [
            "http://192.168.7.9:6736",
            "http://192.168.7.9",
            "http://192.168.7.20:6736",
            "http://a.example",
            "http://192.168.7.9:6736/path",
            "ftp://192.168.7.9",
            "",
        ];
        let mut said = Card { urls: said.map(String::from).into(), ..card() };
        assert_eq!(said.keep_own_urls(&["192.168.7.9".parse().unwrap()]), 5);
        assert_eq!(said.urls, ["http://192.168.7.9:6736", "http://192.168.7.9"]);
    }

    #[test]
    fn an_address_behind_a_router_does_not_count_and_is_no_offence() {
        let mut said =
            Card { urls: vec!["http://192.168.7.9:6736".into(), "http://[2001:db8::9]".into()], ..card() };
        assert_eq!(said.keep_own_urls(&["203.0.113.7".parse().unwrap()]), 1);
        assert!(said.urls.is_empty());
    }

    proptest! {
        #[test]
        fn no_url_that_stays_leads_anywhere_else(
            urls in proptest::collection::vec("(https?://)?[0-9.:\\[\\]a-f/@?#]{0,20}", 0..9),
            own in any::<[u8; 4]>(),
        ) {
            let own = IpAddr::from(own);
            let mut said = Card { urls, ..card() };
            said.keep_own_urls(&[own]);
            for url in &said.urls {
                let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).unwrap();
                let host = rest.split_once(':').map_or(rest, |(host, _)| host);
                prop_assert_eq!(host.parse::<IpAddr>().unwrap(), own);
            }
        }

        #[test]
        fn whatever_a_peer_sends_is_a_card_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Card::parse(&bytes);
        }
    }
}
