//! Another gateway: who it is, where it is reached, and what its operator says of it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::geo::Whereabouts;

/// What stands before the 32 bytes of an ed25519 key in a libp2p peer id: an identity multihash of 36 bytes, of a
/// protobuf with the key's type (1) and its 32 bytes.
const PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
/// Bytes of the multihash's own at its beginning: the function and the length.
const MULTIHASH: usize = 2;

/// A libp2p peer id with an ed25519 key: `12D3KooW...`
/// ([libp2p's specification](https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerId([u8; 32]);

/// A text that is not a peer id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the id of a gateway; it looks like \"12D3KooW...\", and `open-registry status` prints a gateway's own"
)]
pub struct NotAPeerId(String);

impl PeerId {
    /// The id of whoever has this ed25519 key (RFC 8032).
    #[must_use]
    pub fn of_key(public: [u8; 32]) -> Self {
        Self(public)
    }

    /// The ed25519 key.
    #[must_use]
    pub fn key(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key as libp2p writes it: the protobuf that the id is the identity multihash of.
    #[must_use]
    pub fn public_key(&self) -> [u8; PREFIX.len() - MULTIHASH + 32] {
        let mut bytes = [0; PREFIX.len() - MULTIHASH + 32];
        let (kind, key) = bytes.split_at_mut(PREFIX.len() - MULTIHASH);
        kind.copy_from_slice(&PREFIX[MULTIHASH..]);
        key.copy_from_slice(&self.0);
        bytes
    }

    /// The id of whoever has this key, as libp2p writes keys; `None` for one that is not of ed25519.
    #[must_use]
    pub fn of_public_key(bytes: &[u8]) -> Option<Self> {
        bytes.strip_prefix(&PREFIX[MULTIHASH..])?.try_into().ok().map(Self)
    }
}

impl FromStr for PeerId {
    type Err = NotAPeerId;

    fn from_str(text: &str) -> Result<Self, NotAPeerId> {
        let refused = || NotAPeerId(text.into());
        let mut bytes = [0; PREFIX.len() + 32];
        let length = bs58::decode(text).onto(&mut bytes[..]).map_err(|_| refused())?;
        let key = bytes.strip_prefix(&PREFIX).filter(|_| length == bytes.len()).ok_or_else(refused)?;
        key.try_into().map(Self).map_err(|_| refused())
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; PREFIX.len() + 32];
        bytes[..PREFIX.len()].copy_from_slice(&PREFIX);
        bytes[PREFIX.len()..].copy_from_slice(&self.0);
        f.write_str(&bs58::encode(bytes).into_string())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for PeerId {
    type Error = NotAPeerId;

    fn try_from(text: String) -> Result<Self, NotAPeerId> {
        text.parse()
    }
}

impl From<PeerId> for String {
    fn from(id: PeerId) -> Self {
        alloc::format!("{id}")
    }
}

/// How clients speak to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Reads `http` or `https`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Http, Self::Https].into_iter().find(|scheme| scheme.name() == text)
    }

    /// The port that is meant when none is said.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// An address of a peer that an A or AAAA record can lead to: an address record carries no port, so clients come to
/// port 80, and to 443 where https is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// Clients that say https are served there too.
    pub https: bool,
}

/// What is known of a peer, whoever said it, apart from how it fares.
#[derive(Debug, Clone, PartialEq)]
pub struct Peer {
    /// Who it is.
    pub id: PeerId,
    /// Where DNS may lead clients; at most [`MOST_ENDPOINTS`].
    pub endpoints: Vec<Endpoint>,
    /// Where a redirect may lead clients, without a slash at the end: `https://registry.example.edu`. A client that came
    /// over https is only sent to https.
    pub urls: Vec<String>,
    /// Where it stands.
    pub whereabouts: Whereabouts,
    /// The networks that its operator serves.
    pub networks: Vec<IpNet>,
    /// How many clients it takes, as a multiple of what others take.
    pub capacity: f32,
    /// Clients may be steered to it. Any other peer is a source of verified tarballs at most.
    pub admitted: bool,
}

/// Endpoints of one peer: a few addresses of both families.
pub const MOST_ENDPOINTS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_peer_id_is_what_libp2p_writes() {
        // The id of the key in the examples of libp2p's specification of peer ids.
        let key: [u8; 32] = [
            0x1e, 0xd1, 0xe8, 0xfa, 0xe2, 0xc4, 0xa1, 0x44, 0xb8, 0xbe, 0x8f, 0xd4, 0xb4, 0x7b, 0xf3, 0xd3,
            0xb3, 0x4b, 0x87, 0x1c, 0x3c, 0xac, 0xf6, 0x01, 0x0f, 0x0e, 0x42, 0xd4, 0x74, 0xfc, 0xe2, 0x7e,
        ];
        let id = PeerId::of_key(key);
        assert!(id.to_string().starts_with("12D3KooW"), "{id}");
        assert_eq!(id.to_string().parse::<PeerId>().unwrap(), id);
    }

    #[test]
    fn what_is_no_peer_id_is_refused() {
        let id = PeerId::of_key([7; 32]).to_string();
        for refused in [
            "",
            "12D3KooW",
            &id[1..],
            &alloc::format!("{id}1"),
            "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        ] {
            assert!(refused.parse::<PeerId>().is_err(), "{refused:?}");
        }
    }
}
