//! Packuments that home's root names: got from peers near by, from home or from peers far away, with the proof that they are the ones, and
//! so verified whoever gave them. A root makes what is held as fresh as home's own last look at upstream.

use std::sync::Arc;
use std::time::Duration;

use resolver::connectivity::Link;
use resolver::freshness::{self, Known, Word};
use resolver::head::Root;
use resolver::index::file::{FileBuilder, LEAF};
use resolver::index::{Block, Path};
use resolver::package::PackageName;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::ingest::{Coming, TakeError};
use super::packuments::{Document, Packuments, Readable};
use super::peers::{Meter, Miss, Peers};
use super::{Fetch, Provenance, now_ms, race};
use crate::rooted::{self, Ended, Provider, Rooted, Said, Settled};
use crate::store::{Draft, PackumentRecord};

/// How long a client waits for peers where something older could be served.
const PATIENCE: Duration = Duration::from_secs(2);

/// What somebody gave.
enum Prize {
    /// A packument, verified, and the nodes that prove it.
    Whole(Box<Whole>),
    /// The proof that the root has none.
    Absent(Vec<Block>),
}

struct Whole {
    body: (Draft, bool),
    cid: resolver::index::Cid,
    nodes: Vec<Block>,
    source: Provenance,
}

impl Packuments {
    /// What is known of a document that is held, where home says under the root that it follows upstream's feed.
    pub(super) fn known_by_root(
        &self,
        name: &PackageName,
        held: &PackumentRecord,
        confirmed: Duration,
    ) -> Option<Known> {
        let rooted = self.rooted.get()?;
        let current = Some(rooted.current()?.since_current_of(name)?);
        let word = rooted.word(name, held)?;
        Some(Known { confirmed, word, current })
    }
}

impl Fetch {
    /// From now on documents come under this root wherever they can. To be said once.
    pub fn follow(&self, rooted: Rooted) {
        // The first one counts.
        let _ = self.inner.packuments.rooted.set(rooted);
    }

    /// The root of home's that counts here, and how long ago home was current under it, as far as it says.
    #[must_use]
    pub fn settled(&self) -> Option<(Root, Option<Duration>)> {
        let settled = self.inner.packuments.rooted.get()?.current()?;
        Some((settled.root, settled.since_current()))
    }

    fn rooted(&self, name: &PackageName) -> Option<(&Rooted, Settled)> {
        let rooted = self.inner.packuments.rooted.get().filter(|rooted| !rooted.is_private(name))?;
        Some((rooted, rooted.current()?))
    }

    /// Whether the root names another packument than the one that is held, which home has had since.
    fn is_overtaken(&self, name: &PackageName, held: &PackumentRecord) -> bool {
        let confirmed = super::age(held.checked_ms);
        let known = self.inner.packuments.known_by_root(name, held, confirmed);
        known.is_some_and(|known| known.word == Word::Other && freshness::age(&known) == Duration::MAX)
    }

    /// Whether nobody has to be asked about what came under the root: it is fresh, or there is nobody.
    pub(super) fn is_enough(&self, name: &PackageName, readable: &Readable) -> bool {
        let age = self.inner.packuments.age(name, &readable.record);
        let can_ask = matches!(self.inner.upstream.latch().link(), Link::Up | Link::Doubtful);
        !can_ask || !self.inner.packuments.windows.left(age).0.is_zero()
    }

    /// Where neither home nor upstream can be asked: what peers have under the last root. `None`: nothing better than what is held.
    pub(super) async fn when_cut_off(
        &self,
        name: &PackageName,
        held: Option<&PackumentRecord>,
    ) -> Option<Document> {
        let Link::Down(cause) = self.inner.upstream.latch().link() else { return None };
        let (rooted, _) = self.rooted(name)?;
        if rooted.providers().is_empty() || held.is_some_and(|held| !self.is_overtaken(name, held)) {
            return None;
        }
        let flight = self.inner.packuments.flights.join(name, || {
            let (fetch, name) = (self.clone(), name.clone());
            async move {
                let under_root = fetch.under_root(&name).await;
                under_root
                    .ok_or_else(|| Failure::unavailable(name.as_str(), "no peer has it under home's root"))
            }
        });
        let patience = if held.is_some() { PATIENCE } else { super::FIRST_BYTE };
        let readable = timeout(patience, flight).await.ok()?.ok()?;
        Some(self.document(name, readable, Some(format!("upstream cannot be reached: {cause}"))))
    }

    /// The packument that the root names, unless that is held, or something newer. `None`: it is to be asked for otherwise.
    pub(super) async fn under_root(&self, name: &PackageName) -> Option<Readable> {
        let (rooted, settled) = self.rooted(name)?;
        if self.inner.store.packument(name).is_some_and(|held| !self.is_overtaken(name, &held)) {
            return None;
        }
        if rooted.said(name) == Some(Said::Nothing) {
            rooted.hurry();
            return None;
        }
        let _place = rooted.place().await;
        match self.won(rooted, &settled, name).await? {
            Prize::Absent(nodes) => {
                rooted.keep(nodes).await;
                rooted.hurry();
                None
            }
            Prize::Whole(whole) => self.take_whole(rooted, &settled, name, *whole).await,
        }
    }

    async fn take_whole(
        &self,
        rooted: &Rooted,
        settled: &Settled,
        name: &PackageName,
        whole: Whole,
    ) -> Option<Readable> {
        let Whole { body, cid, nodes, source } = whole;
        rooted.keep(nodes).await;
        let current = settled.state.as_ref().and_then(|state| state.current_of(name)).unwrap_or(0);
        let taken = self.take_verified(name, body, current.min(now_ms())).await;
        let taken = match taken {
            Ok(taken) => {
                rooted.remember(&taken.record.revision, taken.record.length, &cid).await;
                self.keep_taken(name, taken).await
            }
            Err(error) => Err(error),
        };
        match taken {
            Ok(readable) => {
                let packuments = &self.inner.packuments;
                packuments.lately.given(name);
                packuments.lately.settled(name);
                packuments.metrics.rooted().document(source.label(), true);
                Some(Readable { source, ..readable })
            }
            Err(TakeError::Upstream(error)) => {
                tracing::warn!(%name, %error, "what home's root names is no packument of this package; it is asked for otherwise");
                None
            }
            Err(TakeError::Store(failure)) => {
                tracing::debug!(%name, %failure, "a packument that came under home's root cannot be kept");
                None
            }
        }
    }

    /// Peers near by, then home, then peers far away; who is late has the next one asked besides.
    async fn won(&self, rooted: &Rooted, settled: &Settled, name: &PackageName) -> Option<Prize> {
        let peers = self.inner.peers.as_ref()?;
        let providers = rooted.providers();
        let others = providers.iter().filter(|one| !one.is_home);
        let sources = others.map(Peers::by_stream).collect();
        let ask = |source: super::peers::Source, meter: Arc<Meter>| {
            let provider = Provider { id: source.id, near: source.near, is_home: false };
            self.attempt_under_root(rooted, settled, name, provider, Some(meter))
        };
        let home = async {
            let home = providers.iter().find(|one| one.is_home).ok_or(())?;
            let verdict = rooted::Judge::begin(peers, home.id).ok_or(())?;
            let ended = self.attempt_under_root(rooted, settled, name, *home, None).await;
            match &ended {
                Ok(_) => verdict(Ok(())),
                Err(Miss::Fault(fault, _)) => verdict(Err(*fault)),
                Err(_) => drop(verdict),
            }
            ended.map_err(drop)
        };
        race::run(peers, sources, &CancellationToken::new(), ask, home).await.ok()
    }

    async fn attempt_under_root(
        &self,
        rooted: &Rooted,
        settled: &Settled,
        name: &PackageName,
        provider: Provider,
        meter: Option<Arc<Meter>>,
    ) -> Result<Prize, Miss> {
        let ended = self.arrived(rooted, settled, name, provider, meter).await;
        let miss = ended.as_ref().err().map(|miss| match miss {
            Miss::Fault(fault, words) => rooted::Miss::Fault(*fault, words.clone()),
            Miss::Declined(status) => rooted::Miss::NotThere(*status),
            Miss::NoRoom => rooted::Miss::NotThere(0),
        });
        rooted.learn(&provider, miss.as_ref());
        ended
    }

    async fn arrived(
        &self,
        rooted: &Rooted,
        settled: &Settled,
        name: &PackageName,
        provider: Provider,
        meter: Option<Arc<Meter>>,
    ) -> Result<Prize, Miss> {
        let source = match provider {
            Provider { is_home: true, .. } => Provenance::Home,
            Provider { near: true, .. } => Provenance::Near,
            _ => Provenance::Far,
        };
        let path: Vec<_> = Path::metadata(name.clone()).segments().map(str::to_owned).collect();
        let arrival = rooted.arrival(provider.id, *settled.root.cid(), path).await;
        let mut arrival = arrival.map_err(missed)?;
        if let Some(meter) = &meter {
            let head = Some(meter.begun.elapsed());
            meter.learn(|so_far| so_far.head = head);
        }
        let mut coming = Coming::new(self.inner.store.draft(), true);
        while let Some(chunk) = arrival.next().await.map_err(missed)? {
            let received = arrival.received();
            source.count(&self.inner.packuments.metrics, usize::try_from(received).unwrap_or(usize::MAX));
            if let Some(meter) = &meter {
                meter.learn(|so_far| so_far.came += received);
            }
            coming.take(&chunk).await.map_err(|_| Miss::NoRoom)?;
        }
        let body = coming.finish().await.map_err(|_| Miss::NoRoom)?;
        Ok(match arrival.end() {
            (Ended::Absent, nodes) => Prize::Absent(nodes),
            (Ended::Whole(cid), nodes) => Prize::Whole(Box::new(Whole { body, cid, nodes, source })),
        })
    }

    /// Works out the address of a packument that is longer than a block, so that a root can be compared with it.
    pub(super) fn learn_address_behind(&self, name: &PackageName, held: &PackumentRecord) {
        let rooted = self.inner.packuments.rooted.get();
        let Some(rooted) = rooted.filter(|_| held.length > LEAF) else { return };
        if rooted.address(&held.revision, held.length).is_none() {
            let (fetch, rooted, held) = (self.clone(), rooted.clone(), held.clone());
            self.inner.packuments.addresses.start(name, move || async move {
                fetch.learn_address(&rooted, &held).await;
            });
        }
    }

    async fn learn_address(&self, rooted: &Rooted, record: &PackumentRecord) {
        let (mut builder, mut at) = (FileBuilder::new(), 0);
        while at < record.length {
            let end = record.length.min(at + LEAF);
            let range = usize::try_from(at).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(usize::MAX);
            let Some(part) = self.original(&record.revision, range).await else { return };
            builder.take(&part, drop);
            at = end;
        }
        rooted.remember(&record.revision, record.length, &builder.finish(drop).cid).await;
    }
}

fn missed(miss: rooted::Miss) -> Miss {
    match miss {
        rooted::Miss::Fault(fault, words) => Miss::Fault(fault, words),
        rooted::Miss::NotThere(status) => Miss::Declined(status),
    }
}

#[cfg(test)]
mod tests;
