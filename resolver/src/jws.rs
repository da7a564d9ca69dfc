//! Something signed with a gateway's key: a JWS in its compact form (RFC 7515, section 3.1) with an ed25519 signature (RFC 8037,
//! section 3.1).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The signature scheme: ed25519 for our keys.
const ALGORITHM: &str = "EdDSA";

/// One whose signature nobody has looked at yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Jws<'a, P> {
    message: &'a str,
    signature: [u8; 64],
    /// What it says.
    pub payload: P,
}

/// Why a text is none of the kind that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAJws {
    /// It is longer than what is read of its kind.
    #[error("it is too long")]
    TooLong,
    /// Not three parts in base64url, the last of 64 bytes.
    #[error("it is not a JWS with an ed25519 signature")]
    Shape,
    /// Another algorithm or type, or something critical that is not known here.
    #[error("it is a JWS of another kind")]
    Kind,
    /// What it says is not what its kind says.
    #[error("what it says is not what such a thing says")]
    Payload,
}

#[derive(Serialize, Deserialize)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    /// What must be understood (RFC 7515, section 4.1.11), and here never is.
    #[serde(default, skip_serializing)]
    crit: Option<serde::de::IgnoredAny>,
}

/// What is to be signed: header and payload. `kind` is the header's `typ`, so that nothing that the key signs can be taken for
/// something else (RFC 8725, section 3.11).
#[must_use]
pub fn message(kind: &str, payload: &impl Serialize) -> String {
    let header = Header { alg: ALGORITHM, typ: kind, crit: None };
    format!("{}.{}", encoded(&header), encoded(payload))
}

/// The whole, out of a message and its signature.
#[must_use]
pub fn signed(message: &str, signature: [u8; 64]) -> String {
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn encoded(value: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).expect("strings, numbers and truths are JSON"))
}

impl<'a, P: DeserializeOwned> Jws<'a, P> {
    /// Reads one of this kind, by the letter; `longest` is in bytes.
    ///
    /// # Errors
    /// [`NotAJws`].
    pub fn parse(text: &'a str, kind: &str, longest: usize) -> Result<Self, NotAJws> {
        if text.len() > longest {
            return Err(NotAJws::TooLong);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(NotAJws::Shape)?;
        let (header, payload) = message.split_once('.').ok_or(NotAJws::Shape)?;
        let (header, payload) = (decoded(header)?, decoded(payload)?);
        let signature = decoded(signature)?.try_into().map_err(|_| NotAJws::Shape)?;
        let header: Header<'_> = serde_json::from_slice(&header).map_err(|_| NotAJws::Kind)?;
        if header.alg != ALGORITHM || header.typ != kind || header.crit.is_some() {
            return Err(NotAJws::Kind);
        }
        let payload = serde_json::from_slice(&payload).map_err(|_| NotAJws::Payload)?;
        Ok(Self { message, signature, payload })
    }
}

impl<'a, P> Jws<'a, P> {
    /// What was signed.
    #[must_use]
    pub fn message(&self) -> &'a str {
        self.message
    }

    /// The ed25519 signature (RFC 8032) that is to be checked.
    #[must_use]
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, NotAJws> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| NotAJws::Shape)
}
