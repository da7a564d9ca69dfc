//! What is told of the index and its head: to clients, in DNS, to operators.

use std::sync::Arc;
use std::time::Duration;

use resolver::head::{Signed, dns};
use resolver::peer::PeerId;
use tokio::sync::watch;

use super::sharing::Shared;
use crate::catalogue::{Basis, Catalogue};
use crate::config::Config;
use crate::dns::Announced;
use crate::fetch::Fetch;
use crate::follow::{Following, OwnHead};
use crate::identity::is_signed_by;
use crate::index::{Index, Published};
use crate::metrics::Metrics;
use crate::rooted::Rooted;

/// What is published, for whoever is asked for it.
pub(super) fn catalogue(
    config: &Config,
    id: PeerId,
    index: &Index,
    (fetch, shared): (&Fetch, &Shared),
    (following, rooted): (Option<Following>, Option<Rooted>),
    metrics: &Arc<Metrics>,
) -> Catalogue {
    Catalogue::new(Basis {
        id,
        index: index.clone(),
        following,
        rooted,
        fetch: fetch.clone(),
        swarm: shared.swarm.clone(),
        inventories: shared.inventories.clone(),
        private_scopes: config.private.scopes.clone(),
        metrics: Arc::clone(metrics),
    })
}

/// Tells DNS and peers of each head, and counts it, as long as there is an index.
pub(super) fn tell(
    index: &Index,
    id: PeerId,
    (names, own): (watch::Sender<Option<Arc<Announced>>>, OwnHead),
    metrics: &Arc<Metrics>,
) {
    tokio::spawn(tell_forever(index.head(), id, (names, own), Arc::clone(metrics)));
}

async fn tell_forever(
    mut heads: watch::Receiver<Option<Arc<Published>>>,
    id: PeerId,
    (names, own): (watch::Sender<Option<Arc<Announced>>>, OwnHead),
    metrics: Arc<Metrics>,
) {
    let mut before = None;
    heads.mark_changed();
    while heads.changed().await.is_ok() {
        let published = heads.borrow_and_update().clone();
        if let Some(Published { root, sequence, packages, blocks, cumulative_size, record, .. }) =
            published.as_deref()
        {
            own.say(*sequence, record);
            let is_new = before.replace(*root) != Some(*root);
            let signed = Duration::from_millis(*sequence).as_secs();
            metrics.index().show(is_new, [*packages, *blocks, *cumulative_size], signed);
            tracing::debug!(%root, sequence, is_new, "a head is published");
        }
        names.send_replace(published.and_then(|published| announced(&published, id)).map(Arc::new));
    }
}

/// What DNS says of it; `None`: it is not this gateway's, and nobody would believe it.
fn announced(published: &Published, id: PeerId) -> Option<Announced> {
    let verify = |_: &[u8; 32], message: &[u8], signature: &[u8; 64]| is_signed_by(id, message, signature);
    let head = Signed::read(&published.record, id).ok()?.check(verify).ok()?;
    Some(Announced { texts: dns::texts(&head).into(), link: dns::link(&published.root) })
}
