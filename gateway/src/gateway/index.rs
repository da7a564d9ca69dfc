//! The index of what this gateway holds, and who keeps it.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config};
use crate::fetch::Fetch;
use crate::identity::Identity;
use crate::index::{Basis, Index};
use crate::store::Store;

/// An index that nobody keeps yet; with this gateway's own list of peers, if there is one.
///
/// # Errors
/// When there is no data directory.
pub(super) fn index(
    config: &Config,
    store: &Store,
    fetch: &Fetch,
    (identity, peers): (&Arc<Identity>, Option<Vec<u8>>),
) -> anyhow::Result<Index> {
    let index = Index::new(Basis {
        dir: config::data_dir(config)?,
        store: store.clone(),
        fetch: fetch.clone(),
        identity: Arc::clone(identity),
        canonical: super::canonical_tarballs(config),
        private_scopes: config.private.scopes.clone(),
    });
    index.say_peers(peers);
    Ok(index)
}

/// Keeps it until `stop`.
pub(super) fn keep(index: &Index, stop: &CancellationToken) -> JoinHandle<()> {
    tokio::spawn(index.keeper().run(stop.clone()))
}
