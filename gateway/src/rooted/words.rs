//! What the settled root says of packages: looked up in the nodes that are here, without asking anybody; what is missing for that is got
//! behind the client's back.

use std::sync::Arc;
use std::time::Duration;

use resolver::freshness::Word;
use resolver::index::file::{self, LEAF};
use resolver::index::{Blocks, Cid, Path, TreeError, resolve};
use resolver::package::PackageName;
use resolver::trustless::{CarRequest, Request, Scope};
use resolver::variant::Revision;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::blocks::NotHad;
use super::database::Nodes;
use super::{Rooted, Settled};
use crate::store::PackumentRecord;

/// How long nobody tries again to get a proof that could not be had, or that is on its way.
const UNPROVEN: Duration = Duration::from_secs(10);

/// What the root says of a package's packument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It is the one with this address.
    Named(Cid),
    /// There is none.
    Nothing,
}

impl Rooted {
    /// What the settled root says of a packument; `None`: it cannot be told from what is here.
    #[must_use]
    pub fn said(&self, name: &PackageName) -> Option<Said> {
        if self.is_private(name) {
            return None;
        }
        if let Some(said) = self.inner.words.get(name) {
            return Some(said);
        }
        let settled = self.current()?;
        let said = found(&self.nodes()?, settled.root.cid(), name).ok()?;
        self.inner.words.insert(name.clone(), said);
        // What has been settled meanwhile has taken words away before this one was there.
        if self.current() != Some(settled) {
            self.inner.words.remove(name);
            return None;
        }
        Some(said)
    }

    /// The same for whoever asks often: what is missing is got behind his back.
    #[must_use]
    pub fn said_or_sought(&self, name: &PackageName) -> Option<Said> {
        if self.inner.words.peek(name).is_none()
            && self.inner.unproven.get(name).is_some_and(|until| Instant::now() < until)
        {
            return None;
        }
        let said = self.said(name);
        if said.is_none() && !self.is_private(name) && self.current().is_some() {
            self.seek(name);
        }
        said
    }

    /// What the settled root says of a document that is held; `None`: it cannot be told from what is here.
    #[must_use]
    pub fn word(&self, name: &PackageName, held: &PackumentRecord) -> Option<Word> {
        match self.said_or_sought(name)? {
            Said::Nothing => Some(Word::Nothing),
            Said::Named(cid) => {
                let word =
                    if self.address(&held.revision, held.length)? == cid { Word::Same } else { Word::Other };
                Some(word)
            }
        }
    }

    /// The address of a packument. That of one that is longer than a block follows from its bytes only: `None`, until somebody has said.
    #[must_use]
    pub fn address(&self, revision: &Revision, length: u64) -> Option<Cid> {
        match file::document(revision.as_bytes(), length) {
            Some(link) => Some(link.cid),
            None => self.inner.database.address(revision),
        }
    }

    /// Remembers the address of a packument that is longer than a block.
    pub async fn remember(&self, revision: &Revision, length: u64, cid: &Cid) {
        if length > LEAF {
            let (rooted, revision, cid) = (self.clone(), *revision, *cid);
            // What is not kept is computed again.
            let _ = spawn_blocking(move || rooted.inner.database.keep_address(&revision, &cid)).await;
        }
    }

    fn seek(&self, name: &PackageName) {
        self.inner.unproven.insert(name.clone(), Instant::now() + UNPROVEN);
        let Some(settled) = self.current() else { return };
        let (rooted, name) = (self.clone(), name.clone());
        tokio::spawn(async move {
            let Ok(_place) = Arc::clone(&rooted.inner.proofs).acquire_owned().await else { return };
            match rooted.prove(&settled, &name).await {
                Ok(()) => _ = rooted.inner.unproven.remove(&name),
                Err(error) => {
                    tracing::debug!(%name, %error, "what home's root says of a package cannot be told");
                }
            }
        });
    }

    /// Gets what leads to a packument, and not the packument.
    async fn prove(&self, settled: &Settled, name: &PackageName) -> Result<(), NotHad> {
        loop {
            let found = self.nodes().map(|nodes| found(&nodes, settled.root.cid(), name));
            let Some(Err(TreeError::Missing(missing))) = found else { return Ok(()) };
            if self.current().as_ref() != Some(settled) {
                return Ok(());
            }
            self.get(&missing).await?;
            // What was just kept is there, or the disk keeps nothing.
            if self.nodes().is_none_or(|nodes| missing.iter().any(|cid| nodes.block(cid).is_none())) {
                return missing.first().map_or(Ok(()), |cid| Err(NotHad(*cid)));
            }
        }
    }

    /// What is here, and how to ask for the rest of the way to `path` and what lies there.
    pub(super) fn question(&self, root: Cid, path: &[String]) -> (Option<Nodes>, String) {
        let local = self.nodes();
        let known = |count: usize| {
            let names = path.iter().take(count).map(String::as_str);
            resolve(local.as_ref()?, &root, names).ok()?.target.map(|target| (target, count))
        };
        let (from, count) = (0..=path.len()).rev().find_map(known).unwrap_or((root, 0));
        let path = path.iter().skip(count).cloned().collect();
        let request = CarRequest { root: from, path, scope: Scope::Entity, bytes: None, duplicates: true };
        (local, Request::Car(request).address())
    }
}

fn found(nodes: &Nodes, root: &Cid, name: &PackageName) -> Result<Said, TreeError> {
    let path = Path::metadata(name.clone());
    Ok(resolve(nodes, root, path.segments())?.target.map_or(Said::Nothing, Said::Named))
}
