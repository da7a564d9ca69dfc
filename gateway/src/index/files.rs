//! Addresses of documents: known by what the store knows of them, or hashed where that is not enough, among all other work on
//! whole documents.

use std::io;

use resolver::index::file::{self, FileBuilder, LEAF, Part};
use resolver::index::{Block, Cid, Link};
use resolver::integrity::Integrity;
use resolver::packument::{self, Outline};
use resolver::variant::{Revision, Variant};
use sha2::{Digest as _, Sha256};

use super::tables::{Digest, FileRow};
use crate::fetch::Fetch;
use crate::store::{Frames, Store};

/// A document that was not listed before: its row, and its blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fresh {
    pub(super) row: FileRow,
    pub(super) parts: Vec<Part>,
}

/// A packument's two documents.
pub(super) struct Forms {
    pub(super) metadata: Fresh,
    pub(super) install: Fresh,
}

impl Fresh {
    fn of(digest: Digest, length: u64, (link, parts): (Link, Vec<Part>)) -> Self {
        let blocks: Vec<Cid> = parts.iter().map(address).collect();
        let blocks = if parts.len() > 1 { blocks } else { Vec::new() };
        Self { row: FileRow { digest, length, link, blocks }, parts }
    }

    /// One that is one block, which need not be read.
    fn whole(digest: Digest, length: u64, link: Link) -> Self {
        Self::of(digest, length, (link, vec![Part::Leaf { cid: link.cid, offset: 0, length }]))
    }
}

pub(super) fn address(part: &Part) -> Cid {
    match part {
        Part::Leaf { cid, .. } => *cid,
        Part::Node(block) => block.cid,
    }
}

/// Bytes that are hashed while they come.
#[derive(Default)]
struct Hashed {
    builder: FileBuilder,
    parts: Vec<Part>,
    length: u64,
}

impl Hashed {
    fn take(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.builder.take(bytes, |part| self.parts.push(part));
    }

    fn end(mut self, digest: Digest) -> Fresh {
        let link = self.builder.finish(|part| self.parts.push(part));
        Fresh::of(digest, self.length, (link, self.parts))
    }
}

/// A document of this gateway's own, whose bytes the index itself holds. `None`: it is longer than a block, or empty.
pub(super) fn own(bytes: Vec<u8>) -> Option<Fresh> {
    let (sha256, length) = (Sha256::digest(&bytes).into(), bytes.len() as u64);
    let link = file::document(&sha256, length).filter(|_| !bytes.is_empty())?;
    let part = Part::Node(Block { cid: link.cid, bytes });
    Some(Fresh::of(Digest::Own(sha256), length, (link, vec![part])))
}

/// Reads a packument once for its install form, and once more for its own blocks where it is longer than one. Blocks.
///
/// # Errors
/// When the document cannot be read.
pub(super) fn forms(
    frames: &Frames,
    outline: &Outline,
    revision: &Revision,
    install: &Variant,
) -> io::Result<Forms> {
    let mut rendered = Hashed::default();
    packument::render(&mut frames.text()?, outline, &install.form, &install.urls, &mut |piece| {
        rendered.take(piece);
        Ok(())
    })?;
    let digest = Digest::Packument(*revision);
    Ok(Forms { metadata: metadata(frames, revision)?, install: rendered.end(digest) })
}

fn metadata(frames: &Frames, revision: &Revision) -> io::Result<Fresh> {
    let (digest, length) = (Digest::Packument(*revision), frames.length());
    if let Some(link) = file::document(revision.as_bytes(), length) {
        return Ok(Fresh::whole(digest, length, link));
    }
    let mut hashed = Hashed::default();
    for number in 0..frames.frames() {
        hashed.take(&frames.frame(number)?);
    }
    Ok(hashed.end(digest))
}

/// A tarball that is held. One of more than 1 MiB is read. `None`: it has gone, or is damaged; there will be news of it.
pub(super) async fn tarball(
    store: &Store,
    fetch: &Fetch,
    integrity: &Integrity,
    length: u64,
) -> Option<Fresh> {
    let digest = Digest::Tarball(*integrity);
    if let Some(link) = file::tarball(integrity, length) {
        return Some(Fresh::whole(digest, length, link));
    }
    let blob = store.blob_unused(integrity).await.filter(|blob| blob.length() > LEAF)?;
    let hash = move || {
        let mut hashed = Hashed::default();
        blob.read_all(|bytes| hashed.take(bytes))?;
        Ok::<_, io::Error>(hashed.end(digest))
    };
    let hashed = fetch.work(hash).await?;
    hashed.inspect_err(|error| tracing::debug!(%error, %integrity, "a tarball cannot be listed")).ok()
}
