//! Names that are nobody else's business.

use serde::{Deserialize, Serialize};

/// `[private]`: what is passed to upstream and never kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Scopes with their `@`.
    pub scopes: Vec<String>,
}
