//! What is kept on disk.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[store]`: where everything is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The data directory; `None`: decided by [`Config::resolve`].
    #[serde(deserialize_with = "crate::config::unset_when_empty")]
    pub dir: Option<PathBuf>,
}
