//! `[federation]`: which peers there are.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use resolver::head::polls::Way;
use resolver::peer::PeerId;
use serde::{Deserialize, Serialize};

use super::contacts;

/// `[federation]`: which peers there are.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where peers connect, by TCP and by QUIC; nowhere: there are no peers.
    pub listen: Vec<SocketAddr>,
    /// The gateway whose metadata is followed; `None`: this one is its own home.
    #[serde(deserialize_with = "crate::units::unset_when_empty")]
    pub home: Option<Contact>,
    /// Peers that are connected to from the start, and lead to others.
    pub bootstrap: Vec<Contact>,
    /// Peers in the networks around are looked for and told of this one.
    pub discover: bool,
    /// The interfaces on which they are, besides those that are no container's and no tunnel's.
    pub interfaces: Vec<String>,
    /// Peers that clients may be led to without a `[[peer]]` of their own: ids, or "swarm" for all in a private swarm.
    pub admit: Vec<String>,
    /// The key of a private swarm; `None`: the swarm is everybody's.
    #[serde(deserialize_with = "crate::units::unset_when_empty")]
    pub psk_file: Option<PathBuf>,
    /// How home's head comes here; all of them together.
    pub update_type: Vec<Way>,
    /// How long a peer may keep others waiting before the next source is asked as well, in milliseconds; 0: as long as
    /// nine of ten answers took lately.
    pub hedge_ms: u64,
}

/// Where a peer is connected to, and who it has to be: `/dns4/registry.example.edu/tcp/6738/p2p/12D3KooW...`
/// ([multiaddr](https://multiformats.io/multiaddr/)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Contact {
    /// Without the id.
    pub address: Multiaddr,
    /// Its id.
    pub id: PeerId,
}

/// A text that is no contact, or one of a kind that is not spoken here: by TCP or by QUIC, at an address or a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} does not say where a peer is and who; write it like \
     \"/dns4/registry.example.edu/tcp/6738/p2p/12D3KooW...\" (its own `open-registry status` prints it)"
)]
pub struct NotAContact(String);

impl Contact {
    /// The name of the host, if it is not an address.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        match self.address.iter().next()? {
            Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => Some(name.into_owned()),
            _ => None,
        }
    }
}

impl FromStr for Contact {
    type Err = NotAContact;

    fn from_str(text: &str) -> Result<Self, NotAContact> {
        let refused = || NotAContact(text.into());
        let mut address: Multiaddr = text.parse().map_err(|_| refused())?;
        let Some(Protocol::P2p(id)) = address.pop() else { return Err(refused()) };
        let id = id.to_base58().parse().map_err(|_| refused())?;
        contacts::shape(&address).ok_or_else(refused)?;
        Ok(Self { address, id })
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/p2p/{}", self.address, self.id)
    }
}

impl TryFrom<String> for Contact {
    type Error = NotAContact;

    fn try_from(text: String) -> Result<Self, NotAContact> {
        text.parse()
    }
}

impl From<Contact> for String {
    fn from(contact: Contact) -> Self {
        contact.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_says_where_and_who() {
        let id = PeerId::of_key([7; 32]);
        for place in ["/ip4/192.0.2.7/tcp/6738", "/dns4/a.example/tcp/6738", "/ip6/::1/udp/6738/quic-v1"] {
            let text = format!("{place}/p2p/{id}");
            let contact: Contact = text.parse().unwrap();
            assert_eq!((contact.id, contact.to_string()), (id, text));
        }
    }

    #[test]
    fn what_says_only_half_is_refused() {
        let id = PeerId::of_key([7; 32]);
        let half = format!("/p2p/{id}");
        let [bare, ws] =
            ["/ip4/192.0.2.7", "/dns4/a.example/tcp/6738/ws"].map(|place| format!("{place}/p2p/{id}"));
        for refused in
            ["", "/ip4/192.0.2.7/tcp/6738", "192.0.2.7:6738", &half, "/ip4/192.0.2.7/p2p/Qm", &bare, &ws]
        {
            assert!(refused.parse::<Contact>().is_err(), "{refused}");
        }
    }
}
