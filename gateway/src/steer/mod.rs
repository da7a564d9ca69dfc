//! Who a client is led to: what the operator says of it, and what is known of where clients are.
//!
//! [`entry`] is a `[[peer]]` of the configuration, [`directory`] all of them; [`announced`] is home's list of those it vouches for, and [`members`] are the others; [`geo`] says where addresses are; [`probe`]
//! asks whether an address is a peer's; [`owner`] learns how peers fare and publishes it. [`guide`] has all the facts,
//! [`why`] tells them (with [`own`], where nobody has asked), and [`holders`] knows who has which tarball.

mod announced;
mod changes;
mod complaints;
mod connector;
mod directory;
mod entry;
mod fare;
mod found;
pub mod geo;
mod guide;
mod holders;
mod members;
mod own;
mod owner;
pub mod probe;
mod why;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use announced::{Announced, AnnouncedError, Sound};
pub use complaints::Complaint;
pub use connector::connector;
pub use directory::directory;
pub(crate) use entry::address;
pub use entry::{Entry, Place};
pub use fare::Fare;
pub use geo::Geo;
pub use guide::{Basis, Guide};
pub use holders::{HOP, Holders, PEER, Witness};
pub use members::{Admission, Members};
pub use owner::{Found, Own, Owner, Probe, Steering};
pub use probe::{Prober, system_trust};
pub use why::Explanation;

/// `[steer]`: how clients are led to the gateway that is nearest to them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Databases that say where addresses are.
    pub geoip: Vec<PathBuf>,
    /// Clients that check digests may be sent to a peer for a tarball.
    pub redirect: bool,
}
