//! Home's index, where one is followed, and who is told of what it says.

use std::sync::Arc;

use futures_util::FutureExt as _;
use resolver::package::PackageName;
use resolver::peer::PeerId;
use tokio_util::sync::CancellationToken;

use super::sharing::Shared;
use crate::config::{self, Config};
use crate::fetch::{Fetch, Peers};
use crate::follow::Following;
use crate::metrics::Metrics;
use crate::rooted::{Basis, Events, Rooted};
use crate::steer::Announced;
use crate::store::Store;

/// What is known of home's index; `None`: nobody is followed. Blocks.
///
/// # Errors
/// When there is no data directory.
pub(super) fn open(
    config: &Config,
    own: PeerId,
    following: Option<&Following>,
    (store, shared, peers): (&Store, &Shared, &Peers),
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Option<Rooted>> {
    let Some(following) = following else { return Ok(None) };
    let hurried = following.clone();
    Ok(Some(Rooted::open(Basis {
        dir: config::data_dir(config)?,
        home: following.home(),
        own,
        private_scopes: config.private.scopes.clone(),
        swarm: shared.swarm.clone(),
        store: store.clone(),
        judge: Arc::new(peers.clone()),
        hurry: Arc::new(move || hurried.hurry()),
        metrics: Arc::clone(metrics),
    })))
}

/// From now on documents come under home's root, and each new one is taken in; offline the last one is all there is.
pub(super) fn run(
    config: &Config,
    followed: Option<(&Rooted, &Following)>,
    (fetch, announced): (&Fetch, Option<Arc<Announced>>),
    stop: CancellationToken,
) {
    let Some((rooted, following)) = followed else { return };
    fetch.follow(rooted.clone());
    if config.offline {
        return;
    }
    let told = fetch.clone();
    let changed = move |names: Vec<PackageName>| {
        let fetch = told.clone();
        async move { fetch.changed(&names).await.is_ok() }.boxed()
    };
    let takedowns = fetch.takedowns().clone();
    let blocked = move |json: Option<&[u8]>| {
        if let Err(error) = takedowns.follow(json) {
            tracing::warn!(%error, "what home blocks is not to be read; what it blocked before counts on");
        }
    };
    let peers = move |json: Option<&[u8]>| {
        if let (Some(json), Some(announced)) = (json, &announced) {
            let worth = announced.offer_listed(json);
            tracing::debug!(?worth, "home's list of peers was read under its root");
        }
    };
    let events = Events { changed: Arc::new(changed), blocked: Arc::new(blocked), peers: Arc::new(peers) };
    let (rooted, roots) = (rooted.clone(), following.root());
    tokio::spawn(async move { stop.run_until_cancelled(rooted.run(roots, events)).await });
}
