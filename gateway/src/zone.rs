//! The name that clients know us by.

use std::net::IpAddr;

use resolver::zone::Zone;
use serde::{Deserialize, Serialize};

/// `[zone]`: the name that clients are configured with, and what it stands for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What DNS is answered for, with everything below it.
    pub name: Zone,
    /// What the name stands for; empty: the address of this machine that was asked.
    pub addresses: Vec<IpAddr>,
}
