//! The operator's listener: metrics, health and status.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// `[operator]`: where metrics, health and status are served.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `None`: nowhere.
    #[serde(deserialize_with = "crate::config::unset_when_empty")]
    pub listen: Option<SocketAddr>,
}
