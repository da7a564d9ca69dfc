//! The registry of record.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::config::Period;

/// `[upstream]`: the registry of record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its address: http or https, no query, no credentials.
    pub url: Url,
    /// How long a packument is served without asking whether it has changed.
    pub fresh: Period,
    /// `host` or `host:port` besides upstream's own from which tarballs may be fetched.
    pub tarball_hosts: Vec<String>,
}
