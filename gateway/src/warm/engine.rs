//! Fetches what an order names, as any client would have it fetched, and notes what is missing.
//!
//! For each package its metadata first, for it says which file a version is and what it must hash to; then the
//! tarballs, then what clients ask about each version besides. What is held is only looked at, so that a second run
//! goes on where the first one ended.

mod again;
mod evidence;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::iter;
use resolver::connectivity::Link;
use resolver::evidence::EvidenceName;
use resolver::integrity::{Expected, Integrity};
use resolver::package::PackageName;
use resolver::packument::Outline;
use resolver::plan::Wish;
use tokio::sync::Semaphore;

use self::again::Arrived;
use super::lockfile::{LeftOut, Need, Why};
use super::order::Order;
use super::report::{Missing, NotTaken, Report, Snapshot};
use super::sets::{self, Items};
use super::verify::{agree, agree_with, check_shasum, integrity};
use crate::fetch::{Document, Failure, Fetch, Tarball, TarballRequest};
use crate::store::{Blob, PinError, on_disk};

/// Things asked for at once: clients whose requests are served meanwhile keep half of upstream's places.
const AT_ONCE: usize = 32;
/// Versions of one package that are looked at together.
const TOGETHER: usize = 8;
/// Times that metadata is asked for: each waits 25 s for one and the same flight, and what has 40 MB may need them.
const METADATA_TRIES: u32 = 6;
/// An upstream that has been down for this long is no longer waited for: the rest is only looked at.
const OUTAGE: Duration = Duration::from_secs(30);

/// One warm-up, to be run once.
pub(super) struct WarmUp {
    fetch: Fetch,
    order: Order,
    left_out: Vec<NotTaken>,
    places: Semaphore,
    started: Instant,
    counts: Counts,
    /// What is under way, by when it began.
    under_way: Mutex<BTreeMap<u64, String>>,
    missing: Mutex<Vec<Missing>>,
    /// The digests of the tarballs that are here.
    integrities: Mutex<Vec<Integrity>>,
    /// The versions that are here with all that belongs to them, by their place among the needs.
    arrived: Mutex<BTreeMap<usize, Arrived>>,
    /// Why they are not pinned.
    unpinned: Mutex<Option<String>>,
}

#[derive(Default)]
struct Counts {
    done: AtomicU64,
    held: AtomicU64,
    fetched: AtomicU64,
    bytes: AtomicU64,
    begun: AtomicU64,
    /// When upstream could last be asked: milliseconds since the start.
    up_ms: AtomicU64,
}

/// How a part of a package came to be here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Came {
    Held,
    Fetched,
}

/// Takes its name off the list of what is under way.
struct Listed<'a> {
    warm_up: &'a WarmUp,
    number: u64,
}

impl WarmUp {
    /// Packages of these scopes are left out.
    pub(super) fn new(fetch: Fetch, mut order: Order, private_scopes: &[String]) -> Self {
        let is_private =
            |need: &Need| need.name.scope().is_some_and(|scope| private_scopes.iter().any(|p| p == scope));
        let (private, needs) = order.needs.into_iter().partition(is_private);
        order.needs = needs;
        // All versions of a package stand together.
        order.needs.sort();
        Self {
            fetch,
            order,
            left_out: private.iter().map(left_out).collect(),
            places: Semaphore::new(AT_ONCE),
            started: Instant::now(),
            counts: Counts::default(),
            under_way: Mutex::default(),
            missing: Mutex::default(),
            integrities: Mutex::default(),
            arrived: Mutex::default(),
            unpinned: Mutex::default(),
        }
    }

    /// Runs it to its end. Dropped before, it leaves everything that has come; [`WarmUp::report`] tells how much.
    pub(super) async fn run(&self) {
        if !self.order.fetch {
            return self.fetch_all().await;
        }
        // Before they come: the first must not be evicted for the last.
        let locked = self.order.needs.iter().filter_map(|need| integrity(need.expected)).collect();
        self.note(sets::pin(self.fetch.store(), &self.order.name, &self.items(locked)).await);
        self.fetch_all().await;
        let items = self.items(lock(&self.integrities).clone());
        self.look_again().await;
        // What is missing may come with the next try, and what is pinned for it stays so.
        let whole = lock(&self.missing).is_empty();
        let pinned = match whole {
            true => sets::replace(self.fetch.store(), &self.order.name, &items).await,
            false => sets::pin(self.fetch.store(), &self.order.name, &items).await,
        };
        self.note(pinned);
        // What went until it was pinned.
        self.look_again().await;
    }

    /// These tarballs, and the metadata of all packages.
    fn items(&self, tarballs: Vec<Integrity>) -> Items {
        let Order { needs, attestations, .. } = &self.order;
        let mut packages: Vec<_> = needs.iter().map(|need| need.name.clone()).collect();
        packages.dedup();
        let of_version = needs.iter().filter(|_| *attestations).map(attestations_of);
        let evidence = of_version.chain([EvidenceName::Keys]).map(|name| name.path()).collect();
        Items { tarballs, packages, evidence }
    }

    fn note(&self, pinned: Result<(), PinError>) {
        *lock(&self.unpinned) = pinned.err().map(|error| error.to_string());
    }

    async fn fetch_all(&self) {
        self.keys().await;
        let packages = self.packages().into_iter().map(|versions| self.package(versions));
        iter(packages).buffer_unordered(AT_ONCE).for_each(|()| async {}).await;
    }

    /// How far it is.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            name: self.order.name.clone(),
            held: self.counts.held.load(Ordering::Relaxed),
            fetched: self.counts.fetched.load(Ordering::Relaxed),
            done: self.counts.done.load(Ordering::Relaxed),
            all: self.order.needs.len() as u64,
            bytes: self.counts.bytes.load(Ordering::Relaxed),
            fetching: lock(&self.under_way).first_key_value().map(|(_, what)| what.clone()),
        }
    }

    /// What has become of it until now.
    pub(super) fn report(&self, complete: bool) -> Report {
        let mut missing = lock(&self.missing).clone();
        missing.sort();
        let (unpinned, left_out) = (lock(&self.unpinned).clone(), self.left_out.clone());
        Report { complete, missing, left_out, unpinned, ..self.snapshot().into_report() }
    }

    /// Where the versions of each package stand among the needs.
    fn packages(&self) -> Vec<Range<usize>> {
        let same = self.order.needs.chunk_by(|one, next| one.name == next.name);
        let place = |begin: &mut usize, versions: &[Need]| {
            let place = *begin..*begin + versions.len();
            *begin = place.end;
            Some(place)
        };
        same.scan(0, place).collect()
    }

    async fn package(&self, versions: Range<usize>) {
        let needs = &self.order.needs[versions.clone()];
        let metadata = self.metadata(needs).await;
        let versions = versions.map(|at| self.version(at, metadata.clone()));
        iter(versions).buffer_unordered(TOGETHER).for_each(|()| async {}).await;
    }

    /// What is held, when it knows every version that is needed; otherwise what upstream has now.
    async fn metadata(&self, needs: &[Need]) -> Result<(Arc<Outline>, Came), String> {
        let name = &needs[0].name;
        if let Some(document) = self.fetch.held(name)
            && let Ok(outline) = self.fetch.outline(&document).await
            && needs.iter().all(|need| knows(&outline, need))
        {
            return Ok((outline, Came::Held));
        }
        let _listed = self.begin(name.to_string());
        let _place = self.place().await?;
        let document = self.packument(name).await.map_err(|failure| failure.to_string())?;
        let outline = self.fetch.outline(&document).await.map_err(|failure| failure.to_string())?;
        Ok((outline, Came::Fetched))
    }

    async fn packument(&self, name: &PackageName) -> Result<Document, Failure> {
        let mut tries = 1;
        loop {
            match self.fetch.packument(name, Wish::Usual).await {
                Err(Failure::Unavailable { .. }) if tries < METADATA_TRIES && self.is_up() => tries += 1,
                ended => return ended,
            }
        }
    }

    async fn version(&self, at: usize, metadata: Result<(Arc<Outline>, Came), String>) {
        let need = &self.order.needs[at];
        let outline = metadata.as_ref().ok().map(|(outline, _)| &**outline);
        let tarball = self.tarball(need, outline).await;
        let evidence = match self.order.attestations {
            true => self.evidence(&attestations_of(need)).await,
            false => Ok(Came::Held),
        };
        match (metadata, tarball, evidence) {
            (Ok((_, metadata)), Ok((tarball, blob)), Ok(evidence)) => {
                let came = metadata.max(tarball).max(evidence);
                let (tarball, bytes) = (*blob.integrity(), on_disk(blob.length()));
                self.count(came).fetch_add(1, Ordering::Relaxed);
                lock(&self.arrived).insert(at, Arrived { tarball, bytes, came });
            }
            (metadata, tarball, evidence) => {
                let parts = [
                    ("metadata", metadata.err()),
                    ("tarball", tarball.err()),
                    ("attestations", evidence.err()),
                ];
                let missing = parts.into_iter().filter_map(|(part, why)| Some((part, why?)));
                self.miss(spec(need), missing.collect(), need.optional);
            }
        }
        self.counts.done.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self, came: Came) -> &AtomicU64 {
        match came {
            Came::Held => &self.counts.held,
            Came::Fetched => &self.counts.fetched,
        }
    }

    async fn tarball(&self, need: &Need, outline: Option<&Outline>) -> Result<(Came, Blob), String> {
        let release = outline.and_then(|outline| outline.release(&need.version));
        let release = release.filter(|release| release.version == need.version);
        let promised = release.and_then(|release| release.expected);
        agree(need.expected, promised)?;
        let file = release.map(|release| release.file.clone()).or_else(|| need.file.clone());
        let file = file.map_or_else(|| need.name.conventional_file(&need.version), Ok);
        let file = file.map_err(|error| error.to_string())?;
        if let Some(notice) = self.fetch.takedowns().of_version(&need.name, &need.version) {
            return Err(notice.to_string());
        }
        let digest = integrity(need.expected).or(integrity(promised));
        let digest =
            digest.or_else(|| self.fetch.store().tarball(&need.name, &file).map(|record| record.integrity));
        if let Some(notice) = digest.and_then(|digest| self.fetch.takedowns().of_digest(&digest)) {
            return Err(notice.to_string());
        }
        if let Some(digest) = digest
            && let Some(blob) = self.fetch.store().blob(&digest).await
        {
            return self.verified(&blob, need).await.map(|()| (Came::Held, blob));
        }
        let _listed = self.begin(spec(need));
        let _place = self.place().await?;
        let request = TarballRequest::Named(need.name.clone(), file, integrity(need.expected));
        match self.fetch.tarball(&request, true).await.map_err(|failure| failure.to_string())? {
            Tarball::Held { blob, .. } => {
                self.counts.bytes.fetch_add(blob.length(), Ordering::Relaxed);
                self.verified(&blob, need).await.map(|()| (Came::Fetched, blob))
            }
            Tarball::Arriving(_) => Err("it has not come whole".into()),
        }
    }

    /// The store has compared a blob with its own digest, and upstream's word has chosen the blob; here the lockfile
    /// has the last word.
    async fn verified(&self, blob: &Blob, need: &Need) -> Result<(), String> {
        match need.expected {
            Some(Expected::Integrity(locked)) => agree_with(locked, *blob.integrity())?,
            Some(expected @ Expected::Shasum(_)) => check_shasum(blob, expected).await?,
            None => {}
        }
        lock(&self.integrities).push(*blob.integrity());
        Ok(())
    }

    fn is_up(&self) -> bool {
        matches!(self.fetch.upstream().latch().link(), Link::Up | Link::Doubtful)
    }

    /// A place among those who ask upstream, when there is any use in asking.
    async fn place(&self) -> Result<tokio::sync::SemaphorePermit<'_>, String> {
        if !self.order.fetch {
            return Err("not held".into());
        }
        // The semaphore is never closed.
        let place = self.places.acquire().await.map_err(|error| error.to_string())?;
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match self.fetch.upstream().latch().link() {
            Link::Offline => return Err("not held, and this gateway is offline".into()),
            Link::Down(cause) => {
                let down_ms = now_ms.saturating_sub(self.counts.up_ms.load(Ordering::Relaxed));
                if u128::from(down_ms) > OUTAGE.as_millis() {
                    return Err(format!("not held, and upstream cannot be reached: {cause}"));
                }
            }
            Link::Up | Link::Doubtful => self.counts.up_ms.store(now_ms, Ordering::Relaxed),
        }
        Ok(place)
    }

    fn begin(&self, what: String) -> Listed<'_> {
        let number = self.counts.begun.fetch_add(1, Ordering::Relaxed);
        lock(&self.under_way).insert(number, what);
        Listed { warm_up: self, number }
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        lock(&self.warm_up.under_way).remove(&self.number);
    }
}

fn left_out(need: &Need) -> NotTaken {
    NotTaken::from(&LeftOut { what: spec(need), why: Why::Private })
}

fn attestations_of(need: &Need) -> EvidenceName {
    EvidenceName::Attestations(need.name.clone(), need.version.clone())
}

fn spec(need: &Need) -> String {
    format!("{}@{}", need.name, need.version)
}

fn knows(outline: &Outline, need: &Need) -> bool {
    outline.release(&need.version).is_some_and(|release| release.version == need.version)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
