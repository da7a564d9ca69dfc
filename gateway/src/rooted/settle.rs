//! Takes new roots in: what differs, of packages that are held, is learned before a root counts.
//!
//! One is taken in after the other, and of those that come meanwhile only the last. A root that somebody has just left off would
//! never be done while home signs one a second; what it cost is spent, and serves the next. The first root, and one whose forerunner
//! nobody remembers any more, count at once: what is held is compared with them when it is asked for.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use resolver::freshness::{self, Known, State, Word};
use resolver::head::Root;
use resolver::index::file::LEAF;
use resolver::index::{
    Blocks, Cid, Cursor, Difference, Folder, Page, Path, TreeError, address, diff_among, place_of, resolve,
};
use resolver::package::PackageName;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::blocks::NotHad;
use super::{Rooted, Settled, since_1970};

/// Differences on one page.
const PAGE: usize = 256;
/// Packages that are told to have changed at once.
const AT_ONCE: usize = 256;
/// The pause after a root could not be taken in, and the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Home's own directory.
const FEDERATION: &str = ".federation";
/// Its documents that are handed on.
const BLOCKED: &str = "blocked.json";
const PEERS: &str = "peers.json";

/// Told of packages that are held and have changed; whether that was written down.
pub type Changed = Arc<dyn Fn(Vec<PackageName>) -> BoxFuture<'static, bool> + Send + Sync>;
/// Told of a document of home's own directory; `None`: there is none.
pub type Told = Arc<dyn Fn(Option<&[u8]>) + Send + Sync>;

/// Who is told of what a root says.
#[derive(Clone)]
pub struct Events {
    /// Of packages.
    pub changed: Changed,
    /// Of `/.federation/blocked.json`.
    pub blocked: Told,
    /// Of `/.federation/peers.json`.
    pub peers: Told,
}

/// What two roots do not say the same of.
struct Differences {
    /// Packages, held or not, of which this is known.
    names: Vec<PackageName>,
    /// The hashes of the first names that were compared, ascending: those of what is held.
    compared: Vec<u64>,
}

/// Why a root does not count yet.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    NotHad(#[from] NotHad),
    #[error("what home has signed is no index: {0}")]
    Malformed(String),
    #[error("the nodes of home's index cannot be kept now")]
    Disk,
}

impl Rooted {
    /// Takes in what is followed, for ever.
    pub async fn run(self, mut roots: watch::Receiver<Option<Root>>, events: Events) {
        let (mut failures, mut is_told) = (0u32, false);
        loop {
            let wanted = *roots.borrow_and_update();
            let ended = match wanted.filter(|root| self.current().is_none_or(|settled| settled.root != *root))
            {
                Some(root) => self.take_in(root, &events).await,
                None => Ok(()),
            };
            if let (Err(trouble), false) = (&ended, is_told) {
                let root = wanted.map(|root| root.to_string());
                tracing::warn!(root, %trouble, "a root of home's cannot be taken in yet; the one before counts");
            }
            is_told = ended.is_err();
            let ended = ended.is_ok() && self.tell(&events).await;
            failures = if ended { 0 } else { failures.saturating_add(1) };
            let changed = roots.changed();
            let pause = PAUSE.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1).min(6)));
            let changed = match failures {
                0 => changed.await,
                _ => timeout(pause.min(LONGEST_PAUSE), changed).await.unwrap_or(Ok(())),
            };
            if changed.is_err() {
                return;
            }
        }
    }

    async fn take_in(&self, root: Root, events: &Events) -> Result<(), Trouble> {
        let state = self.document(&root, Path::state().file()).await?;
        let json = match state {
            Some(cid) => Some(self.bytes(&cid).await?),
            None => None,
        };
        let state = json.as_deref().and_then(|json| {
            let parsed = State::parse(json);
            parsed.inspect_err(|error| tracing::debug!(%error, "home's state is not to be read")).ok()
        });
        let settled = Settled { root, state: state.map(Arc::new) };
        let before = self.current().map(|before| before.root);
        let differ = match before {
            None => None,
            Some(before) => match self.differences(&before, &settled).await {
                Ok(differ) => Some(differ),
                // What led to the root before is not there any more, and nobody has it: all that is held is compared one by one.
                Err(Trouble::NotHad(_)) => None,
                Err(other) => return Err(other),
            },
        };
        let changed = differ.as_ref().map_or_else(Vec::new, |differ| self.overtaken(&differ.names, &settled));
        for some in changed.chunks(AT_ONCE) {
            if !(events.changed)(some.to_vec()).await {
                return Err(Trouble::Disk);
            }
        }
        let is_compared = differ.is_some();
        self.settle(settled.clone(), json, differ).await;
        let changed = changed.len();
        tracing::info!(%root, is_compared, changed, current = ?settled.since_current(), "home's root counts from now on");
        Ok(())
    }

    async fn settle(&self, settled: Settled, state: Option<Vec<u8>>, differ: Option<Differences>) {
        let (rooted, root) = (self.clone(), settled.root);
        // What is not written down is taken in again after a start.
        let _ = spawn_blocking(move || rooted.inner.database.settle(&root, state.as_deref())).await;
        self.inner.settled.send_replace(Some(settled.clone()));
        match differ {
            Some(Differences { names, compared }) => {
                names.iter().for_each(|name| _ = self.inner.words.remove(name));
                self.inner.words.retain(|name, _| compared.binary_search(&first_hash(name.as_str())).is_ok());
            }
            None => self.inner.words.retain(|_, _| false),
        }
        let current = settled.state.as_ref().and_then(|state| state.current);
        self.inner.basis.metrics.rooted().settled(current);
    }

    /// What the two roots do not say the same of, among what is held and whatever shares its first names.
    async fn differences(&self, before: &Root, settled: &Settled) -> Result<Differences, Trouble> {
        let compared = self.held().await;
        let wanted = |range: std::ops::RangeInclusive<u64>| {
            let from = compared.partition_point(|hash| hash < range.start());
            compared.get(from).is_some_and(|hash| range.contains(hash))
        };
        let (mut names, mut from) = (Vec::new(), Cursor::default());
        loop {
            let page = self
                .until_there(|nodes| {
                    diff_among(nodes, Some(before.cid()), settled.root.cid(), from, PAGE, &wanted)
                })
                .await?;
            let Page { differences, next } = page;
            for Difference { folder, .. } in differences {
                let Folder::Package(name) = folder else { continue };
                if self.inner.basis.store.packument_unused(&name).is_some() {
                    let path = Path::metadata(name.clone());
                    self.until_there(|nodes| resolve(nodes, settled.root.cid(), path.segments())).await?;
                }
                names.push(name);
            }
            match next {
                Some(next) => from = next,
                None => return Ok(Differences { names, compared }),
            }
        }
    }

    /// The hashes of the first names of all packages that are held, ascending.
    async fn held(&self) -> Vec<u64> {
        let store = self.inner.basis.store.clone();
        let hashes = spawn_blocking(move || {
            let mut hashes = Vec::new();
            store.each_packument(|name| hashes.push(first_hash(name)));
            hashes.sort_unstable();
            hashes.dedup();
            hashes
        });
        hashes.await.unwrap_or_default()
    }

    /// Those of which something else is held than the root names, and that were not confirmed here since home was current.
    fn overtaken(&self, differ: &[PackageName], settled: &Settled) -> Vec<PackageName> {
        let Some(nodes) = self.nodes() else { return Vec::new() };
        let is_overtaken = |name: &&PackageName| {
            let Some(held) = self.inner.basis.store.packument_unused(name) else { return false };
            let path = Path::metadata((*name).clone());
            let Ok(found) = resolve(&nodes, settled.root.cid(), path.segments()) else { return true };
            let Some(named) = found.target else { return false };
            if self.address(&held.revision, held.length) == Some(named) {
                return false;
            }
            let (confirmed, current) = (since(held.checked_ms), settled.since_current_of(name));
            freshness::age(&Known { confirmed, word: Word::Other, current }) == Duration::MAX
        };
        differ.iter().filter(is_overtaken).cloned().collect()
    }

    /// What `look` finds, once all that it needs for that is here.
    async fn until_there<T>(&self, look: impl Fn(&dyn Blocks) -> Result<T, TreeError>) -> Result<T, Trouble> {
        let mut before = Vec::new();
        loop {
            let looked = self.nodes().map(|nodes| look(&nodes));
            match looked {
                None => return Err(Trouble::Disk),
                Some(Ok(found)) => return Ok(found),
                Some(Err(TreeError::Malformed(cid, why))) => {
                    return Err(Trouble::Malformed(format!("{cid}: {why}")));
                }
                // The same again: what was got is not kept.
                Some(Err(TreeError::Missing(missing))) if missing == before => return Err(Trouble::Disk),
                Some(Err(TreeError::Missing(missing))) => {
                    self.get(&missing).await?;
                    before = missing;
                }
            }
        }
    }

    /// The address of a document of home's own directory.
    async fn document(&self, root: &Root, file: &str) -> Result<Option<Cid>, Trouble> {
        let found = self.until_there(|nodes| resolve(nodes, root.cid(), [FEDERATION, file])).await?;
        Ok(found.target)
    }

    /// The bytes of one: a block at most.
    async fn bytes(&self, cid: &Cid) -> Result<Vec<u8>, Trouble> {
        if cid.codec() != address::RAW {
            return Err(Trouble::Malformed(format!("{cid} is longer than 1 MiB")));
        }
        let look = |nodes: &dyn Blocks| {
            nodes.block(cid).map(Cow::into_owned).ok_or_else(|| TreeError::Missing(vec![*cid]))
        };
        let bytes = self.until_there(look).await?;
        let is_short = bytes.len() as u64 <= LEAF;
        is_short.then_some(bytes).ok_or_else(|| Trouble::Malformed(format!("{cid} is longer than 1 MiB")))
    }

    /// Hands on what has changed of home's own directory; whether all of it could be had.
    async fn tell(&self, events: &Events) -> bool {
        let Some(settled) = self.current() else { return true };
        let mut has_all = true;
        for (file, told) in [(BLOCKED, &events.blocked), (PEERS, &events.peers)] {
            if let Err(trouble) = self.tell_of(&settled.root, file, told).await {
                tracing::debug!(file, %trouble, "a document of home's own cannot be had now");
                has_all = false;
            }
        }
        has_all
    }

    async fn tell_of(&self, root: &Root, file: &'static str, told: &Told) -> Result<(), Trouble> {
        let cid = self.document(root, file).await?;
        let before = || self.inner.told.lock().unwrap_or_else(PoisonError::into_inner);
        if before().get(file) == Some(&cid) {
            return Ok(());
        }
        let bytes = match &cid {
            Some(cid) => match self.bytes(cid).await {
                // What home has signed and nobody can read is as good as not there: what was told before counts.
                Err(Trouble::Malformed(why)) => {
                    tracing::warn!(file, why, "a document of home's own is not to be read");
                    before().insert(file, Some(*cid));
                    return Ok(());
                }
                other => Some(other?),
            },
            None => None,
        };
        told(bytes.as_deref());
        before().insert(file, cid);
        Ok(())
    }
}

/// How long ago a moment was (milliseconds since 1970); one in the future tells nothing, and counts as long ago.
fn since(moment_ms: u64) -> Duration {
    since_1970().checked_sub(Duration::from_millis(moment_ms)).unwrap_or(Duration::MAX)
}

/// Where a package stands at the top of the tree: by its name, or by its scope.
fn first_hash(name: &str) -> u64 {
    place_of(name.split('/').next().unwrap_or(name))
}
