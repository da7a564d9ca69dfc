//! A proof as it is written, signed and read: a JWS in its compact form.

use alloc::format;
use alloc::string::String;
use core::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::Authority;
use crate::jws::{self, Jws, NotAJws};
use crate::peer::{PeerId, Scheme};

/// The header's `typ`: nothing else that this key signs can be taken for a proof.
pub const TYPE: &str = "open-registry-proof+jwt";
/// The longest proof in bytes: the claims have some 300, and a name up to 253.
pub const LONGEST: usize = 4096;
/// How many characters a nonce may have. 16 of base64url are 96 bits, which nobody guesses; 64 leave the proof short.
const NONCE: core::ops::RangeInclusive<usize> = 16..=64;
/// The longest version that is read.
const LONGEST_VERSION: usize = 64;

/// What an asker sends to see it again: 16 to 64 characters of base64url.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Nonce(String);

/// A text that is no nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a nonce here is 16 to 64 characters of base64url")]
pub struct NotANonce;

/// What a gateway says of itself, at an asker's question.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// Who it is.
    pub id: PeerId,
    /// The asker's nonce.
    pub nonce: Nonce,
    /// The place that is its own.
    pub authority: Authority,
    /// The address that it has seen the asker with.
    pub client: IpAddr,
    /// Whether it takes clients.
    pub accepting: bool,
    /// How busy it is: 0 to 1.
    pub load: f32,
    /// Of the program.
    pub version: String,
}

/// A proof whose signature nobody has looked at yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Proof<'a> {
    message: &'a str,
    signature: [u8; 64],
    claims: Claims,
}

/// Why a text is no proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAProof {
    /// More than [`LONGEST`].
    #[error("it has more than {LONGEST} bytes")]
    TooLong,
    /// Not three parts in base64url, the last of 64 bytes.
    #[error("it is not a JWS with an ed25519 signature")]
    Shape,
    /// Another algorithm or type, or something critical that is not known here.
    #[error("it is a JWS of another kind")]
    Kind,
    /// A claim is missing, or none that is possible.
    #[error("its claims are not those of a proof")]
    Claims,
}

#[derive(Serialize, Deserialize)]
struct Written {
    id: PeerId,
    nonce: Nonce,
    scheme: String,
    authority: String,
    client: IpAddr,
    accepting: bool,
    load: f32,
    version: String,
}

impl Nonce {
    /// A nonce out of random bytes.
    #[must_use]
    pub fn of_bytes(random: [u8; 16]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(random))
    }

    /// As it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Nonce {
    type Error = NotANonce;

    fn try_from(text: String) -> Result<Self, NotANonce> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let fits = NONCE.contains(&text.len()) && text.bytes().all(plain);
        if fits { Ok(Self(text)) } else { Err(NotANonce) }
    }
}

impl Claims {
    /// What is to be signed: header and claims.
    #[must_use]
    pub fn message(&self) -> String {
        let written = Written {
            id: self.id,
            nonce: self.nonce.clone(),
            scheme: self.authority.scheme().name().into(),
            authority: format!("{}", self.authority),
            client: self.client,
            accepting: self.accepting,
            // Two digits: more would be noise.
            load: libm::roundf(self.load * 100.0) / 100.0,
            version: self.version.clone(),
        };
        jws::message(TYPE, &written)
    }

    /// A proof out of a message and its signature.
    #[must_use]
    pub fn signed(message: &str, signature: [u8; 64]) -> String {
        jws::signed(message, signature)
    }
}

impl From<NotAJws> for NotAProof {
    fn from(error: NotAJws) -> Self {
        match error {
            NotAJws::TooLong => Self::TooLong,
            NotAJws::Shape => Self::Shape,
            NotAJws::Kind => Self::Kind,
            NotAJws::Payload => Self::Claims,
        }
    }
}

impl<'a> Proof<'a> {
    /// Reads one, by the letter.
    ///
    /// # Errors
    /// [`NotAProof`].
    pub fn parse(text: &'a str) -> Result<Self, NotAProof> {
        let jws: Jws<'a, Written> = Jws::parse(text, TYPE, LONGEST)?;
        let (message, signature) = (jws.message(), *jws.signature());
        let claims = Claims::of(jws.payload).ok_or(NotAProof::Claims)?;
        Ok(Self { message, signature, claims })
    }

    /// What was signed.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        self.message.as_bytes()
    }

    /// The ed25519 signature (RFC 8032) that is to be checked.
    #[must_use]
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// What it says.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
}

impl Claims {
    fn of(written: Written) -> Option<Self> {
        let scheme = Scheme::parse(&written.scheme)?;
        let authority = Authority::parse(scheme, &written.authority).ok()?;
        let possible = (0.0..=1.0).contains(&written.load) && written.version.len() <= LONGEST_VERSION;
        let Written { id, nonce, client, accepting, load, version, .. } = written;
        possible.then_some(Self { id, nonce, authority, client, accepting, load, version })
    }
}
