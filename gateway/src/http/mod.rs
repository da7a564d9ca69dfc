//! HTTP for clients.

use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::config::Size;

/// `[http]`: where clients are served, and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Addresses and ports on which clients are served.
    pub listen: Vec<SocketAddr>,
    /// What the tarball URLs in npm's lockfiles begin with; `None`: the default upstream.
    #[serde(deserialize_with = "crate::config::unset_when_empty")]
    pub canonical_tarballs: Option<Url>,
    /// Reverse proxies whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// A tarball up to this size is verified whole before its first byte goes to the client.
    pub verify_first_max: Size,
}
