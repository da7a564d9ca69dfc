//! What is given to peers: whether, how much, and to whom no more.

mod inventories;

use http::header::HeaderName;
use serde::{Deserialize, Serialize};

use crate::units::Size;

pub use inventories::Inventories;

/// What a peer wants of a request beyond what is held here: `fetch` or `home`.
pub const WISH: HeaderName = HeaderName::from_static("open-registry-wish");

/// `[share]`: what peers get of this gateway.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whether anything is served to peers, and announced.
    pub enabled: bool,
    /// What goes to all peers together in a second; 0: as much as they take.
    pub max_upload: Size,
    /// What goes to one peer in a second; 0: as much as it takes.
    pub max_upload_per_peer: Size,
}
