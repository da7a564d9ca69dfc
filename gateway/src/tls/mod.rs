//! The gateway's own certificate, from files or systemd credentials, for every listener that speaks TLS.
//!
//! [`source`] knows where certificate and key lie; [`pair`] reads and checks them; [`Tls`] serves the pair that
//! was last found good, and looks for a newer one.

mod current;
mod pair;
mod problem;
mod source;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use current::Tls;
pub use problem::{Cause, TlsError};

/// What HTTP over TLS speaks, the best first (RFC 7301).
pub const HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];
/// What DNS over TLS speaks (RFC 7858; its name is in the registry of RFC 7301).
pub const DNS: &[&[u8]] = &[b"dot"];

/// `[tls]`: the certificate for https and DNS over TLS.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A PEM file with the certificate and those that lead to its authority, or the name of a credential.
    #[serde(deserialize_with = "crate::units::unset_when_empty")]
    pub cert: Option<String>,
    /// A PEM file with its key, or the name of a credential.
    #[serde(deserialize_with = "crate::units::unset_when_empty")]
    pub key: Option<String>,
}
