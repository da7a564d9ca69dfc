//! One download for all who wait for the same tarball, from peers or from upstream; kept when its digest is right.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use resolver::hedge::Errand;
use resolver::integrity::{Expected, Integrity};
use resolver::package::{FileName, PackageName};
use resolver::peer::PeerId;
use resolver::plan::Plan;
use tokio::sync::{Semaphore, watch};

use super::arriving::Arriving;
use super::failure::Failure;
use super::from_upstream::{FromUpstream, Given};
use super::peers::{Meter, Peers, Source, Wanted};
use super::progress::{Progress, Received, Shared, Ticket};
use super::race;
use super::through::Through;
use super::{FIRST_BYTE, Provenance};
use crate::metrics::Metrics;
use crate::store::{Blob, Store};
use crate::upstream::Upstream;

/// The largest tarball that is taken. The largest on the public registry have a few hundred MB.
pub(super) const LARGEST: u64 = 2 * 1024 * 1024 * 1024;

/// Downloads at once. Fewer than upstream's places: tarballs never keep metadata waiting.
const AT_ONCE: usize = 48;
/// How often a download that waits for upstream looks for peers that have turned up: a look into what peers have told.
const LOOK: Duration = Duration::from_millis(100);
/// Downloads that wait or are under way; a client asks for 100 at once.
const WAITING: usize = 4096;

/// What a download is for.
#[derive(Debug, Clone)]
pub(super) struct Order {
    /// In words, for the log and for clients.
    pub(super) what: String,
    /// Its name, if it was asked for by one.
    pub(super) named: Option<(PackageName, FileName)>,
    /// Where it is.
    pub(super) address: String,
    /// What it must hash to.
    pub(super) expected: Expected,
    /// Whose word the digest is.
    pub(super) word: Word,
    /// Peers may be asked for it.
    pub(super) peers: bool,
}

/// Who says which digest is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Word {
    /// Upstream's packument, or the address itself: other bytes are upstream's mistake, and worth another try.
    Upstream,
    /// A client alone: other bytes are just as likely the client's mistake, and cost one try.
    Client,
}

/// A tarball whose bytes may be given to a client.
pub(super) enum Opened {
    /// Verified and kept.
    Kept(Blob, Provenance),
    /// Large, and still coming.
    Arriving(Arriving),
}

/// All downloads under way. Cheap to clone.
#[derive(Clone)]
pub(super) struct Downloads {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    upstream: Upstream,
    verify_first_max: u64,
    metrics: Arc<Metrics>,
    /// `None`: there are none to be asked.
    peers: Option<Peers>,
    places: Semaphore,
    under_way: Mutex<HashMap<Key, Ticket>>,
}

/// Takes a download off the list, however it ends.
struct Listed {
    downloads: Downloads,
    key: Key,
}

/// What one download can be shared by: a client's mistake must not fail those who have upstream's word.
type Key = (Expected, Word);

/// Who is to be asked for what.
type Found<'a> = (&'a Peers, Wanted, Vec<Source>);

/// How a download ended that gave no blob.
pub(super) enum Ended {
    Failed(Failure),
    NoRoom,
}

impl Downloads {
    pub(super) fn new(
        store: Store,
        upstream: Upstream,
        verify_first_max: u64,
        peers: Option<Peers>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (places, under_way) = (Semaphore::new(AT_ONCE), Mutex::default());
        let inner = Inner { store, upstream, verify_first_max, metrics, peers, places, under_way };
        Self { inner: Arc::new(inner) }
    }

    /// Joins the download of these bytes, or starts it, and waits until they may be given to a client: with
    /// `whole`, when all of them are here. As long as bytes come, or others are served first, there is no limit:
    /// yarn 1 repeats a request that took too long, not one that met a 503, and all other clients wait.
    ///
    /// Where no peer can be asked, nothing is begun that upstream cannot be asked for either.
    pub(super) async fn open(&self, order: Order, whole: bool) -> Result<Opened, Failure> {
        if self.sources(&order).is_none() {
            tokio::select! {
                biased;
                reachable = self.reachable(&order) => reachable?,
                _ = self.turn_up(&order, || true) => {}
            }
        }
        let what = order.what.as_str();
        let Ticket { mut progress, shared } = self.join(&order)?;
        let mut seen = 0;
        loop {
            let ready = progress.wait_for(|now| match now {
                Progress::Done(_) | Progress::NoRoom => true,
                Progress::Receiving(received) => !whole && self.may_stream(received),
                Progress::Queued | Progress::Begun => false,
            });
            if let Ok(Err(_)) = tokio::time::timeout(FIRST_BYTE, ready).await {
                return Err(Failure::unavailable(what, "its download came to a sudden end"));
            }
            let so_far = shared.received.load(Ordering::Relaxed);
            let now = progress.borrow_and_update().clone();
            match now {
                Progress::Done(result) => return result.map(|(blob, source)| Opened::Kept(blob, source)),
                Progress::NoRoom => return self.pass_through(order).await,
                Progress::Receiving(received) if !whole && self.may_stream(&received) => {
                    let alone = self.through(order);
                    return Ok(Opened::Arriving(Arriving::new(alone, received, progress)));
                }
                Progress::Queued => {}
                Progress::Begun | Progress::Receiving(_) if so_far > seen => seen = so_far,
                Progress::Begun | Progress::Receiving(_) => {
                    return Err(Failure::unavailable(what, "upstream is slow"));
                }
            }
        }
    }

    /// What finds no room here goes straight to each client, on a request of its own and at its own pace.
    async fn pass_through(&self, order: Order) -> Result<Opened, Failure> {
        let what = order.what.clone();
        let mut through = self.through(order);
        let begun = tokio::time::timeout(FIRST_BYTE, through.begin()).await;
        let length = begun.unwrap_or_else(|_| Err(Failure::unavailable(&what, "upstream is slow")))?;
        Ok(Opened::Arriving(Arriving::through(through, length)))
    }

    fn through(&self, order: Order) -> Through {
        let Inner { store, upstream, metrics, .. } = &*self.inner;
        Through::new(store.clone(), upstream.clone(), Arc::clone(metrics), order)
    }

    /// Large, and from a source that is believed until the digest has the last word.
    fn may_stream(&self, received: &Received) -> bool {
        let large = received.length.unwrap_or(received.flushed) > self.inner.verify_first_max;
        received.authentic && large
    }

    fn join(&self, order: &Order) -> Result<Ticket, Failure> {
        let mut under_way = self.inner.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (order.expected, order.word);
        if let Some(ticket) = under_way.get(&key) {
            if !order.peers {
                // Who is not to be led to a peer does not wait for one either: gateways that wait for each other would.
                ticket.shared.alone.cancel();
            }
            return Ok(ticket.clone());
        }
        if under_way.len() >= WAITING {
            return Err(Failure::unavailable(&order.what, "too many downloads are waiting"));
        }
        let (sender, progress) = watch::channel(Progress::Queued);
        let ticket = Ticket { progress, shared: Shared::default() };
        let (downloads, listed) = (self.clone(), Listed { downloads: self.clone(), key });
        let (order, shared) = (order.clone(), ticket.shared.clone());
        // Before it starts: without the list's ticket and ours it would take itself for abandoned.
        under_way.insert(key, ticket.clone());
        tokio::spawn(async move {
            let result = downloads.run(&order, &sender, &shared).await;
            // Whoever asks again because of a failure has a try of his own.
            drop(listed);
            sender.send_replace(match result {
                Ok(given) => Progress::Done(Ok(given)),
                Err(Ended::Failed(failure)) => Progress::Done(Err(failure)),
                Err(Ended::NoRoom) => Progress::NoRoom,
            });
        });
        Ok(ticket)
    }

    async fn run(
        &self,
        order: &Order,
        progress: &watch::Sender<Progress>,
        shared: &Shared,
    ) -> Result<(Blob, Provenance), Ended> {
        // The semaphore is never closed.
        let _place = self.inner.places.acquire().await;
        if is_abandoned(progress) {
            return Err(Failure::unavailable(&order.what, "nobody waited for it").into());
        }
        progress.send_replace(Progress::Begun);
        // Another download of it may have ended between the look into the store and the start of this one.
        if let Expected::Integrity(integrity) = &order.expected
            && let Some(blob) = self.inner.store.blob(integrity).await
        {
            return Ok((blob, Provenance::Store));
        }
        let Given { draft, integrity, source, .. } = self.race(order, progress, shared).await?;
        let fetched_for = order.named.as_ref().map(|(name, _)| name);
        let kept = self.inner.store.keep_blob(draft, &integrity, fetched_for).await;
        kept.map(|blob| (blob, source)).map_err(|_| Ended::NoRoom)
    }

    /// From peers, as far as there are any, and from upstream. Where none of them holds it, whoever turns up and does is asked instead.
    async fn race(
        &self,
        order: &Order,
        progress: &watch::Sender<Progress>,
        shared: &Shared,
    ) -> Result<Given, Ended> {
        let found = self.sources(order);
        if found.as_ref().is_some_and(|(_, _, sources)| holds(sources)) {
            return self.race_of(found, order, progress, shared).await;
        }
        // Not even a part has come, and nobody waits for this gateway itself.
        let is_waited = || shared.received.load(Ordering::Relaxed) == 0 && !shared.alone.is_cancelled();
        let found = tokio::select! {
            biased;
            ended = self.race_of(found, order, progress, shared) => return ended,
            found = self.turn_up(order, is_waited) => found,
        };
        self.race_of(Some(found), order, progress, shared).await
    }

    async fn race_of(
        &self,
        found: Option<Found<'_>>,
        order: &Order,
        progress: &watch::Sender<Progress>,
        shared: &Shared,
    ) -> Result<Given, Ended> {
        let received = &*shared.received;
        let Some((peers, wanted, sources)) = found else {
            return self.ask_upstream(order, progress, received).await;
        };
        let (wanted, store) = (&wanted, &self.inner.store);
        let ask = |source: Source, meter: Arc<Meter>| async move {
            let draft = peers.fetch(&source, wanted, store, (&meter, received)).await?;
            Ok(Given { draft, integrity: wanted.integrity, source: source.provenance(), took: None })
        };
        let upstream = async {
            self.reachable(order).await?;
            self.ask_upstream(order, progress, received).await
        };
        race::run(peers, sources, &shared.alone, ask, upstream).await
    }

    /// Peers that hold it after all, while it `is_waited` for: they have connected since, or have told since what they hold. Whoever has
    /// just started knows nobody.
    async fn turn_up(&self, order: &Order, is_waited: impl Fn() -> bool) -> Found<'_> {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Some(found) = is_waited().then(|| self.holders(order)).flatten() {
                return found;
            }
        }
    }

    /// The peers that are to be asked, if any of them holds it.
    fn holders(&self, order: &Order) -> Option<Found<'_>> {
        let Expected::Integrity(integrity) = order.expected else { return None };
        if !self.inner.peers.as_ref()?.is_held(&integrity) {
            return None;
        }
        self.sources(order).filter(|(_, _, sources)| holds(sources))
    }

    async fn ask_upstream(
        &self,
        order: &Order,
        progress: &watch::Sender<Progress>,
        received: &AtomicU64,
    ) -> Result<Given, Ended> {
        let Inner { store, upstream, metrics, .. } = &*self.inner;
        let given = FromUpstream { store, upstream, metrics, order, progress, received }.run().await?;
        if let (Some(peers), Some((head, whole))) = (&self.inner.peers, given.took) {
            peers.upstream_gave(given.draft.length(), head, whole);
        }
        Ok(given)
    }

    /// Whether upstream can be asked; waits, within limits, while it may be about to come back.
    async fn reachable(&self, order: &Order) -> Result<(), Failure> {
        let link = self.inner.upstream.link_for_missing().await;
        match Plan::for_tarball(false, &link).obstacle {
            Some(obstacle) => Err(Failure::unavailable(&order.what, obstacle)),
            None => Ok(()),
        }
    }

    /// Who would be asked for a tarball before upstream, and for what.
    pub(super) fn asked_peers(
        &self,
        integrity: Integrity,
        name: &PackageName,
        file: &FileName,
    ) -> Vec<(PeerId, Errand)> {
        let found = self.find_peers(integrity, Some(&(name.clone(), file.clone())));
        let sources = found.map(|(_, _, sources)| sources).unwrap_or_default();
        sources.into_iter().map(|source| (source.id, source.errand)).collect()
    }

    /// The peers that are to be asked, if there are any.
    fn sources(&self, order: &Order) -> Option<Found<'_>> {
        match order.expected {
            Expected::Integrity(integrity) if order.peers => self.find_peers(integrity, order.named.as_ref()),
            _ => None,
        }
    }

    fn find_peers(&self, integrity: Integrity, named: Option<&(PackageName, FileName)>) -> Option<Found<'_>> {
        let peers = self.inner.peers.as_ref()?;
        let wanted = peers.wanted(integrity, named)?;
        let online = Plan::for_tarball(false, &self.inner.upstream.latch().link()).obstacle.is_none();
        let sources = peers.sources(&wanted, online);
        (!sources.is_empty()).then_some((peers, wanted, sources))
    }
}

/// Whether any of them has told that it has it.
fn holds(sources: &[Source]) -> bool {
    sources.iter().any(|source| source.errand == Errand::Held)
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut under_way = self.downloads.inner.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&self.key);
    }
}

/// The list holds a ticket itself: when there is no other, all clients have gone. What is under way is finished all
/// the same, for they will come back; what has not begun, or broke off, is left.
pub(super) fn is_abandoned(progress: &watch::Sender<Progress>) -> bool {
    progress.receiver_count() <= 1
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
