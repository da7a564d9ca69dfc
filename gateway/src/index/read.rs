//! What the index has for whoever serves it: nodes, blocks by their addresses, and what a version is called in the tree.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use redb::ReadOnlyTable;
use resolver::index::file::LEAF;
use resolver::index::{Blocks, Cid, Folder, Link};
use resolver::integrity::Integrity;
use resolver::package::PackageName;
use resolver::variant::Revision;

use super::tables::{
    BLOCKS, BlockKey, BlockValue, Digest, FILES, FileRow, INSTALL, META, METADATA, NODES, ROOT, Tree,
    read_file_key,
};
use super::{Index, Inner, Published};

/// Documents that have the same block, of which one that is still held is looked for.
const ALIKE: usize = 8;

/// A block of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// Of a directory, or of a file of several blocks; or a whole document that the index itself holds.
    Node(Vec<u8>),
    /// A leaf: up to 1 MiB of something that is held.
    Leaf(Part),
}

/// A range of something that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Of what.
    pub of: Source,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
}

/// What leaves are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A tarball.
    Tarball(Integrity),
    /// A packument, as upstream sent it.
    Packument(Revision),
    /// The abbreviated form of a packument.
    Install(PackageName, Revision),
}

/// A document of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path below the root: `/@babel/core/metadata.json`.
    pub path: String,
    /// Its address.
    pub cid: Cid,
    /// Its length in bytes.
    pub length: u64,
}

/// Where a package, and a version of it, stand in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The head.
    pub published: Arc<Published>,
    /// Upstream's packument.
    pub metadata: Option<Listed>,
    /// Its abbreviated form.
    pub install: Option<Listed>,
    /// The version's tarball and its digest, if it is held.
    pub tarball: Option<(Listed, Integrity)>,
}

/// The tree at one moment: all nodes of its root, and those of roots before it that are not older than five minutes. No leaves.
pub struct Nodes {
    root: Option<Link>,
    nodes: ReadOnlyTable<&'static [u8], (u64, &'static [u8])>,
    blocks: ReadOnlyTable<BlockKey, BlockValue>,
}

impl Nodes {
    /// The root of that moment.
    #[must_use]
    pub fn root(&self) -> Option<Link> {
        self.root
    }

    fn find(&self, cid: &Cid) -> Result<Option<Vec<u8>>, redb::Error> {
        let key = cid.to_bytes();
        if let Some(row) = self.nodes.get(key.as_slice())? {
            return Ok(Some(row.value().1.to_vec()));
        }
        let next = self.blocks.range::<(&[u8], &str)>((key.as_slice(), "")..)?.next().transpose()?;
        let next = next.filter(|(at, row)| at.value().0 == key && !row.value().2.is_empty());
        Ok(next.map(|(_, row)| row.value().2.to_vec()))
    }
}

impl Blocks for Nodes {
    fn block(&self, cid: &Cid) -> Option<Cow<'_, [u8]>> {
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.find(cid)));
        found.ok()?.ok()?.map(Cow::Owned)
    }
}

impl Index {
    /// The tree as it is now; `None` while the index cannot be read. Blocks for a moment, as reading its nodes does.
    #[must_use]
    pub fn nodes(&self) -> Option<Nodes> {
        let nodes = self.inner.database.read(|read| {
            let root = read
                .open_table(META)?
                .get(ROOT)?
                .and_then(|row| Tree::read(row.value()))
                .map(|tree| tree.root);
            Ok(Nodes { root, nodes: read.open_table(NODES)?, blocks: read.open_table(BLOCKS)? })
        });
        nodes.inspect_err(|error| tracing::debug!(%error, "the index cannot be read")).ok()
    }

    /// The block with this address, if it is in the tree and what it is of is held. Blocks for a moment.
    #[must_use]
    pub fn block(&self, cid: &Cid) -> Option<Block> {
        self.inner.block(cid)
    }

    /// The bytes of a block: at most 2 MiB. What is read counts as used.
    pub async fn bytes(&self, cid: &Cid) -> Option<Bytes> {
        match self.block(cid)? {
            Block::Node(bytes) => Some(bytes.into()),
            Block::Leaf(part) => self.part(&part).await,
        }
    }

    /// The bytes of a leaf: at most 1 MiB.
    pub async fn part(&self, part: &Part) -> Option<Bytes> {
        let (store, fetch) = (&self.inner.basis.store, &self.inner.basis.fetch);
        let end = part.offset.checked_add(part.length)?;
        let range = usize::try_from(part.offset).ok()?..usize::try_from(end).ok()?;
        match &part.of {
            Source::Packument(revision) => fetch.original(revision, range).await,
            Source::Install(name, revision) => {
                fetch.install_form(name, revision, &self.inner.basis.canonical, range).await
            }
            Source::Tarball(integrity) => {
                let blob = store.blob(integrity).await?;
                let mut bytes = BytesMut::with_capacity(range.len());
                let mut reader = blob.reader(part.offset..end);
                while let Some(chunk) = reader.next().await.ok()? {
                    bytes.extend_from_slice(&chunk);
                }
                (bytes.len() == range.len()).then(|| bytes.freeze())
            }
        }
    }

    /// Where a package stands in the tree, and the version that this number or dist-tag names. `None` when nothing is published, or
    /// nothing of the package is listed.
    pub async fn resolve(&self, name: &PackageName, version: Option<&str>) -> Option<Resolved> {
        let published = self.inner.published.borrow().clone()?;
        let rows = self.inner.listed(&Folder::Package(name.clone())).ok().filter(|rows| !rows.is_empty())?;
        let listed = |file: &str| {
            let FileRow { link, length, .. } = rows.get(file)?;
            Some(Listed { path: format!("/{name}/{file}"), cid: link.cid, length: *length })
        };
        let file = match (rows.get(METADATA).map(|row| row.digest), version) {
            (Some(Digest::Packument(revision)), Some(version)) => {
                let version = version.to_owned();
                let look = move |_: &_, outline: &resolver::packument::Outline| {
                    Ok(outline.release(&version).map(|release| release.file.clone()))
                };
                self.inner.basis.fetch.examine(&revision, look).await.flatten()
            }
            (_, Some(version)) => name.conventional_file(version).ok(),
            (_, None) => None,
        };
        let tarball = file.and_then(|file| match rows.get(file.as_str())?.digest {
            Digest::Tarball(integrity) => Some((listed(file.as_str())?, integrity)),
            Digest::Packument(_) | Digest::Own(_) => None,
        });
        Some(Resolved { published, metadata: listed(METADATA), install: listed(INSTALL), tarball })
    }
}

impl Inner {
    fn block(&self, cid: &Cid) -> Option<Block> {
        let found = self.database.read(|read| {
            let key = cid.to_bytes();
            if let Some(row) = read.open_table(NODES)?.get(key.as_slice())? {
                return Ok(Some(Block::Node(row.value().1.to_vec())));
            }
            let (blocks, files) = (read.open_table(BLOCKS)?, read.open_table(FILES)?);
            for row in blocks.range::<(&[u8], &str)>((key.as_slice(), "")..)?.take(ALIKE) {
                let (at, row) = row?;
                let ((of, document), (offset, length, bytes)) = (at.value(), row.value());
                if of != key {
                    break;
                }
                if !bytes.is_empty() {
                    return Ok(Some(Block::Node(bytes.to_vec())));
                }
                let file = files.get(document)?.and_then(|row| FileRow::read(row.value()));
                let source = file.and_then(|file| self.held(document, &file.digest));
                // The digest of a longer tarball is no address of a block.
                if let Some(of) = source.filter(|_| length <= LEAF) {
                    return Ok(Some(Block::Leaf(Part { of, offset, length })));
                }
            }
            Ok(None)
        });
        found.inspect_err(|error| tracing::debug!(%error, "the index cannot be read")).ok().flatten()
    }

    /// What a document's leaves are of, if it is still held.
    fn held(&self, key: &str, digest: &Digest) -> Option<Source> {
        let store = &self.basis.store;
        match digest {
            // What is not served here is not served by this name either.
            Digest::Tarball(integrity) if self.basis.fetch.takedowns().of_digest(integrity).is_some() => None,
            Digest::Tarball(integrity) => store.holds_blob(integrity).then_some(Source::Tarball(*integrity)),
            Digest::Packument(revision) if store.has_document(revision) => match read_file_key(key)? {
                (name, INSTALL) => Some(Source::Install(name, *revision)),
                _ => Some(Source::Packument(*revision)),
            },
            Digest::Packument(_) | Digest::Own(_) => None,
        }
    }
}
