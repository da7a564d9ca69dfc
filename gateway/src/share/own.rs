//! What this gateway holds, for all whom it tells: loaded once, and kept up to date as tarballs come and go.

use std::time::Duration;

use resolver::inventory::{Change, Holdings, Prints};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::store::{Store, Tarballs};

/// What comes and goes within this time is told together: ten times a second is as soon as anybody could ask for it.
const GATHERED: Duration = Duration::from_millis(100);
/// How soon a state that cannot be read is looked at again.
const AGAIN: Duration = Duration::from_secs(1);

/// What peers are told; `None` until it is known.
pub(super) type Told = watch::Receiver<Option<Prints>>;

/// Follows the store for ever.
pub(super) fn follow(store: &Store) -> Told {
    let (tell, told) = watch::channel(None);
    let store = store.clone();
    tokio::spawn(async move {
        while !tell.is_closed() {
            match begin(&store).await {
                Some(holdings) => follow_from(holdings, &store.tarballs(), &tell).await,
                None => sleep(AGAIN).await,
            }
        }
    });
    told
}

async fn begin(store: &Store) -> Option<Holdings> {
    let tarballs = store.tarballs();
    let load = move || tarballs.all().map(Holdings::of);
    tokio::task::spawn_blocking(load).await.ok().flatten()
}

/// Until something is lost of the changes, or nobody wants to know.
async fn follow_from(mut holdings: Holdings, tarballs: &Tarballs, tell: &watch::Sender<Option<Prints>>) {
    loop {
        if tell.send(Some(holdings.told().clone())).is_err() {
            return;
        }
        let Some(changes) = tarballs.next().await else { return };
        apply(&mut holdings, changes);
        sleep(GATHERED).await;
    }
}

fn apply(holdings: &mut Holdings, changes: Vec<Change>) {
    for change in changes {
        // Whoever is told compares what is told with what he has told.
        let _ = holdings.apply(change);
    }
}
