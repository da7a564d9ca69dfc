//! HTTP for clients: a request becomes a [`route::Route`], the route is answered from `fetch` or passed on to
//! upstream, and the answer is counted.
//!
//! [`server`] accepts connections at its [`Door`]s, [`connection`] serves one, [`clients`] sees that nobody has them all; [`service`] is the way of one request; [`caller`] is what a request shows
//! of its sender; [`packument`], [`tarball`], [`evidence`], [`index`], [`peer`] and [`passthrough`] answer one kind of
//! route each ([`allowance`] and [`load`] are for proofs); peers' own requests come by [`streams`] too, and [`sharing`] answers them, those of
//! followers [`home`]; IPFS clients are answered by [`trustless`] (CARs are made by [`car`], within [`rooms`]) and [`providers`], and [`resolved`] says which address
//! a version has; [`answer`], [`body`] and [`headers`] hold what they have in common.

mod allowance;
mod answer;
mod body;
mod caller;
mod car;
mod clients;
mod complaint;
mod connection;
mod door;
mod evidence;
mod headers;
mod home;
mod index;
mod load;
mod packed;
mod packument;
mod passthrough;
mod peer;
mod providers;
mod redirect;
mod resolved;
mod rooms;
mod route;
mod server;
mod service;
mod shares;
mod sharing;
mod streams;
mod tarball;
mod trustless;
mod why;

use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::units::Size;

pub use body::{Body, full, streamed};
pub use connection::{Handle, Wire};
pub use door::Door;
pub use load::Load;
pub use peer::{Ground, Prover};
pub use server::{CONNECTIONS, Server};
pub use service::{Guidance, Policy, Service};
pub use streams::Streams;

/// `[http]`: where clients are served, and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Addresses and ports on which clients are served.
    pub listen: Vec<SocketAddr>,
    /// Addresses and ports on which clients are served over TLS.
    pub tls_listen: Vec<SocketAddr>,
    /// What the tarball URLs in npm's lockfiles begin with; `None`: the default upstream.
    #[serde(deserialize_with = "crate::units::unset_when_empty")]
    pub canonical_tarballs: Option<Url>,
    /// Reverse proxies whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// A tarball up to this size is verified whole before its first byte goes to the client.
    pub verify_first_max: Size,
}
