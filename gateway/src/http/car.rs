//! A CAR, made while it is sent: one block at a time is in memory, and between two blocks nothing is open.
//!
//! Each step looks at the index anew, in a transaction of its own. So a client that reads slowly keeps no state of the
//! database alive, and no lock. A tree that is no longer published goes after some minutes; a CAR of it that is not complete by
//! then is broken off, as one whose tarball is evicted meanwhile: never cut where it would look whole.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::ops::Range;

use bytes::Bytes;
use futures_util::Stream;
use resolver::car;
use resolver::index::{Blocks, Cid, Found, Met, Reach, TreeError, Walk};
use resolver::trustless::{self, CarRequest, Scope};

use crate::catalogue::Catalogue;

/// Blocks in one CAR: the leaves of a tarball of 16 GiB, or 16,000 packages' directories. Whoever wants a larger tree asks for its
/// parts.
const MOST_BLOCKS: usize = 16 * 1024;
/// Nodes of a file that come before its first leaf, at most: where none has come by then, it is a directory.
const ABOVE_LEAVES: usize = 8;
/// Of a digest, so much tells blocks apart here: a million at once would not meet by chance, and who makes two that do has
/// left one of his own blocks out.
const TOLD_APART: usize = 16;

/// What is still to be sent.
pub(super) struct Car {
    catalogue: Catalogue,
    /// Its root, until the header has been made.
    header: Option<Cid>,
    /// Nodes that lead to what was asked for.
    lead: VecDeque<Cid>,
    /// What was asked for; `None`: nothing is there, which those nodes prove.
    walk: Option<Walk>,
    /// Bytes of a file that are wanted; `None`: all.
    range: Option<Range<u64>>,
    /// What was sent; `None`: a block goes out as often as it stands there.
    sent: Option<HashSet<[u8; TOLD_APART]>>,
    left: usize,
    /// The bytes of a block whose prefix has gone out.
    body: Option<Bytes>,
}

impl Car {
    /// A CAR of what a path has been found to lead to.
    pub(super) fn new(catalogue: Catalogue, request: &CarRequest, found: Found) -> Self {
        let mut reach = match request.scope {
            Scope::Block => Reach::Block,
            Scope::Entity => Reach::Entity,
            Scope::All => Reach::All,
        };
        let mut range = None;
        if let (Some(bytes), Some(target)) = (&request.bytes, &found.target)
            && let Some(length) = length(&catalogue, target)
        {
            range = bytes.within(length);
            // By the first block a client sees how long the file is.
            reach = if range.is_some() { reach } else { Reach::Block };
        }
        Self {
            catalogue,
            header: Some(request.root),
            lead: found.nodes.into(),
            walk: found.target.map(|target| Walk::new(target, reach)),
            range,
            sent: (!request.duplicates).then(HashSet::new),
            left: MOST_BLOCKS,
            body: None,
        }
    }

    /// Its bytes. An error breaks the connection off.
    pub(super) fn chunks(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        futures_util::stream::unfold(Some(self), |car| async {
            let mut car = car?;
            match car.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(car))),
                Ok(None) => None,
                Err(error) => {
                    tracing::debug!(%error, "a CAR is broken off");
                    Some((Err(error), None))
                }
            }
        })
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(root) = self.header.take() {
            return Ok(Some(car::header(&[root]).into()));
        }
        if let Some(body) = self.body.take().filter(|body| !body.is_empty()) {
            return Ok(Some(body));
        }
        loop {
            let Some(cid) = self.next_cid()? else { return Ok(None) };
            if !self.is_new(&cid) {
                continue;
            }
            self.left = self.left.checked_sub(1).ok_or_else(|| io::Error::other("it has too many blocks"))?;
            let bytes = self.bytes(&cid).await.ok_or_else(|| io::Error::other(format!("{cid} has gone")))?;
            self.catalogue.count_block();
            let prefix = car::prefix(&cid, bytes.len());
            self.body = Some(bytes);
            return Ok(Some(prefix.into()));
        }
    }

    /// The next block that the path or what it leads to has. Leaves outside of what is wanted are passed over.
    fn next_cid(&mut self) -> io::Result<Option<Cid>> {
        if let Some(cid) = self.lead.pop_front() {
            return Ok(Some(cid));
        }
        let Some(walk) = &mut self.walk else { return Ok(None) };
        // An identity CID stands for itself, and leads nowhere.
        while let Some(met) = step(&self.catalogue, walk)? {
            match met {
                Met::Node(cid) => return Ok(Some(cid)),
                Met::Leaf { cid, offset, length } => {
                    let end = length.map_or(u64::MAX, |length| offset.saturating_add(length));
                    let wanted =
                        self.range.as_ref().is_none_or(|range| offset < range.end && range.start < end);
                    if wanted {
                        return Ok(Some(cid));
                    }
                }
            }
        }
        Ok(None)
    }

    fn is_new(&mut self, cid: &Cid) -> bool {
        let Some(sent) = &mut self.sent else { return true };
        cid.hash().digest().first_chunk().is_none_or(|start| sent.insert(*start))
    }

    async fn bytes(&self, cid: &Cid) -> Option<Bytes> {
        match trustless::inline(cid) {
            Some(bytes) => Some(Bytes::copy_from_slice(bytes)),
            None => self.catalogue.bytes(cid).await,
        }
    }
}

fn step(catalogue: &Catalogue, walk: &mut Walk) -> io::Result<Option<Met>> {
    let nodes = catalogue.nodes().ok_or_else(|| io::Error::other("the index cannot be read now"))?;
    met(&nodes, walk).map_err(io::Error::other)
}

fn met(nodes: &dyn Blocks, walk: &mut Walk) -> Result<Option<Met>, TreeError> {
    walk.next(nodes)
}

/// How long a file is; `None` for a directory, and for what cannot be read: that shows when it is sent.
fn length(catalogue: &Catalogue, target: &Cid) -> Option<u64> {
    let nodes = catalogue.nodes()?;
    let (mut walk, mut length, mut above) = (Walk::new(*target, Reach::Entity), None, 0);
    // A file of a million leaves, a TiB, would be longer than any that is held.
    for _ in 0..1_000_000 {
        match walk.next(&nodes).ok()? {
            Some(Met::Node(_)) if length.is_none() && above >= ABOVE_LEAVES => return None,
            Some(Met::Node(_)) => above += 1,
            Some(Met::Leaf { offset, length: Some(of_leaf), .. }) => {
                length = Some(offset.saturating_add(of_leaf));
            }
            // It is one block, and all of it is sent.
            Some(Met::Leaf { length: None, .. }) | None => break,
        }
    }
    length
}
