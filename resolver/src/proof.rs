//! A gateway's proof that an HTTP address is its own, and what its asker makes of it.
//!
//! ```text
//! asker  GET /-/open-registry/peer?nonce=<n>&scheme=http&authority=192.0.2.7
//! peer   <header>.<claims>.<signature>, each in base64url without padding (JWS, RFC 7515, section 3.1)
//!        header  {"alg":"EdDSA","typ":"open-registry-proof+jwt"}     (RFC 8037; RFC 8725, section 3.11)
//!        claims  {"id":"12D3KooW...","nonce":"<n>","scheme":"http","authority":"192.0.2.7",
//!                 "client":"198.51.100.4","accepting":true,"load":0.07,"version":"0.1.0"}
//! ```
//!
//! Clients come to an address by way of DNS and believe whoever answers there. Somebody else could pass the question on to
//! an honest peer and show the honest answer. So a peer signs only authorities that are its own ([`Own`]), and a
//! relay gets nothing for its own address. An address of a private network can be that of two machines in two networks: there
//! the peer also wants to have been asked at that very address, and the asker wants to have been seen with its own
//! ([`Question::judge`]), which a relay between the two would not show.
//! What is left to somebody who has a host in either network, in the peer's one with the number that the asker has in
//! its own, is no less than what whoever owns the way between them has.

mod authority;
mod claims;
mod outcome;

pub use authority::{Asked, Authority, Foreign, Host, NotAnAuthority, Own, is_everywhere_the_same};
pub use claims::{Claims, LONGEST, Nonce, NotANonce, NotAProof, Proof, TYPE};
pub use outcome::Outcome;

use core::net::IpAddr;

use crate::peer::PeerId;

/// What is asked of whoever answers at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who should be there.
    pub id: PeerId,
    /// Something that nobody has been asked before.
    pub nonce: Nonce,
    /// Where.
    pub authority: Authority,
}

/// Both ends of the connection that a proof came by, as its asker sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// The asker's own address.
    pub from: IpAddr,
    /// The address that was asked.
    pub to: IpAddr,
}

/// What a proof is worth.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The address is the peer's.
    Proven {
        /// How busy it is: 0 to 1.
        load: f32,
        /// Whether it takes clients; false when it is about to stop.
        accepting: bool,
    },
    /// It need not be.
    Refused(Refusal),
}

/// Why a proof is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another gateway is there.
    #[error("{0} answers there")]
    WrongId(PeerId),
    /// Whoever is there has not the key.
    #[error("its signature is not that of the gateway's key")]
    BadSignature,
    /// It was made for another question: it is an old one, or another asker's.
    #[error("it answers another question")]
    Replayed,
    /// It speaks of another address.
    #[error("it speaks of {0}")]
    OtherAuthority(Authority),
    /// The peer was asked by somebody in between.
    #[error("the gateway was asked from {0}: somebody is in between")]
    Relayed(IpAddr),
}

impl Refusal {
    /// Whoever is there lies, or is somebody else. The others are also what a confused network does.
    #[must_use]
    pub fn is_deceit(&self) -> bool {
        matches!(self, Self::WrongId(_) | Self::BadSignature)
    }
}

impl Question {
    /// What the asker makes of a proof; `signed`: its signature is that of [`Question::id`].
    #[must_use]
    pub fn judge(&self, proof: &Proof<'_>, way: Way, signed: bool) -> Verdict {
        let claims = proof.claims();
        match self.refusal(claims, way, signed) {
            Some(refusal) => Verdict::Refused(refusal),
            None => Verdict::Proven { load: claims.load, accepting: claims.accepting },
        }
    }

    fn refusal(&self, claims: &Claims, way: Way, signed: bool) -> Option<Refusal> {
        if claims.id != self.id {
            return Some(Refusal::WrongId(claims.id));
        }
        if !signed {
            return Some(Refusal::BadSignature);
        }
        if claims.nonce != self.nonce {
            return Some(Refusal::Replayed);
        }
        if claims.authority != self.authority {
            return Some(Refusal::OtherAuthority(claims.authority.clone()));
        }
        // Names lead to such addresses too.
        let may_be_two = !is_everywhere_the_same(way.to);
        let relayed = may_be_two && claims.client.to_canonical() != way.from.to_canonical();
        relayed.then_some(Refusal::Relayed(claims.client))
    }
}

#[cfg(test)]
mod tests;
