//! What is given to peers: whether, how much, and to whom no more.
//!
//! [`Sharing`] says how each of their requests is to be treated, and paces what they are sent ([`upload`]); [`Traffic`]
//! counts it. [`Inventories`] is what they have said that they hold ([`listen`]); [`announce`] tells them what is held here ([`own`]).

mod announce;
mod inventories;
mod listen;
mod own;
mod sharing;
mod traffic;
mod upload;

use std::collections::BTreeSet;

use http::header::HeaderName;
use resolver::peer::PeerId;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::store::Store;
use crate::swarm::{Incoming, Swarm};
use crate::units::Size;

pub use inventories::Inventories;
pub use sharing::{Sender, Sharing, Who};
pub use traffic::Traffic;
pub use upload::Pace;

/// What a peer's request wants besides what is held: `fetch` or `home`.
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

/// Tells peers what is held here, if anything is shared, and takes what they say, until `stop`. `named` are those whom the
/// operator has named: they are told wherever they are.
pub async fn exchange(
    (store, sharing): (&Store, Sharing),
    (swarm, incoming): (Swarm, Incoming),
    inventories: Inventories,
    named: BTreeSet<PeerId>,
    stop: CancellationToken,
) {
    let told = sharing.is_on().then(|| own::follow(store));
    let ear = listen::Ear::new(inventories, sharing, named.clone());
    let telling = async {
        if let Some(told) = told {
            announce::run(swarm.clone(), told, named, stop.clone()).await;
        }
    };
    tokio::join!(telling, ear.run(swarm.clone(), incoming, stop.clone()));
}

#[cfg(test)]
mod tests;
