//! Files: up to 1 MiB one raw block, above it a balanced tree of nodes over raw leaves of 1 MiB.
//!
//! Source: IPIP-499, `unixfs-v1-2025`: leaves of 1 MiB, at most 1024 links in a node, all leaves at the same depth. Leaves are
//! ranges of a file that is held anyway, so they are told as ranges and need not be stored.

use alloc::vec::Vec;

use cid::Cid;
use sha2::{Digest, Sha256};

use super::dag_pb::{PbLink, PbNode};
use super::unixfs::{UnixFs, WIDTH};
use super::{Block, Link, address};
use crate::integrity::Integrity;

/// The length of a leaf, and the longest file that is one block: in bytes.
pub const LEAF: u64 = 1024 * 1024;

/// A block of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A range of the file, as a raw block.
    Leaf {
        /// Its address.
        cid: Cid,
        /// Where it begins in the file, in bytes.
        offset: u64,
        /// In bytes.
        length: u64,
    },
    /// A node above leaves or nodes.
    Node(Block),
}

/// A tarball, as an entry: one raw block by npm's digest. `None` for one that has more than 1 MiB: that goes through a
/// [`FileBuilder`].
#[must_use]
pub fn tarball(integrity: &Integrity, length: u64) -> Option<Link> {
    (length <= LEAF).then(|| Link { cid: address::of_tarball(integrity), size: length })
}

/// A document whose SHA-256 is known, as an entry: one raw block. `None` for one that has more than 1 MiB.
#[must_use]
pub fn document(sha256: &[u8; 32], length: u64) -> Option<Link> {
    (length <= LEAF).then(|| Link { cid: address::of_raw(sha256), size: length })
}

/// Bytes that are at hand, as an entry, and the blocks of it: for what is longer than 1 MiB, leaves and nodes; otherwise one
/// leaf.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> (Link, Vec<Part>) {
    let mut builder = FileBuilder::new();
    let mut parts = Vec::new();
    builder.take(bytes, |part| parts.push(part));
    let link = builder.finish(|part| parts.push(part));
    (link, parts)
}

/// Makes a file's tree while its bytes come. It holds the links of what has no node yet: at most 1023 on each of its levels,
/// of which a file of 2^64 bytes has five.
#[derive(Debug, Clone)]
pub struct FileBuilder {
    shape: Shape,
    leaf: Sha256,
    /// Bytes in the leaf that is begun.
    begun: u64,
    /// Bytes in leaves that are complete.
    offset: u64,
    /// For each level, leaves first: what has no node above it yet.
    levels: Vec<Vec<Child>>,
}

/// How a file is cut. The index has one shape, [`Shape::PROFILE`]; smaller ones show what deep trees come to.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// The length of a leaf, in bytes: at least one.
    pub leaf: u64,
    /// Links of a node, at most: at least two.
    pub width: usize,
}

impl Shape {
    /// That of `unixfs-v1-2025`.
    pub const PROFILE: Self = Self { leaf: LEAF, width: WIDTH };
}

#[derive(Debug, Clone, Copy)]
struct Child {
    link: Link,
    /// Bytes of the file below it.
    length: u64,
}

impl FileBuilder {
    /// Nothing taken yet.
    #[must_use]
    pub fn new() -> Self {
        Self::of_shape(Shape::PROFILE)
    }

    /// Nothing taken yet, of a file that is cut in another way.
    #[must_use]
    pub fn of_shape(shape: Shape) -> Self {
        let shape = Shape { leaf: shape.leaf.max(1), width: shape.width.max(2) };
        Self { shape, leaf: Sha256::new(), begun: 0, offset: 0, levels: Vec::new() }
    }

    /// Takes the next bytes; `part` gets each block that they complete.
    pub fn take(&mut self, mut bytes: &[u8], mut part: impl FnMut(Part)) {
        while !bytes.is_empty() {
            // A leaf is ended by the byte that follows it: a file that is one leaf has no node.
            if self.begun == self.shape.leaf {
                self.end_leaf(&mut part);
            }
            let room = usize::try_from(self.shape.leaf - self.begun).unwrap_or(usize::MAX);
            let (some, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.leaf.update(some);
            self.begun += some.len() as u64;
            bytes = rest;
        }
    }

    /// The file, as an entry; `part` gets the blocks that are not complete before.
    #[must_use]
    pub fn finish(mut self, mut part: impl FnMut(Part)) -> Link {
        self.end_leaf(&mut part);
        let mut level = 0;
        loop {
            let above = self.levels.iter().skip(level + 1).any(|children| !children.is_empty());
            match self.levels.get_mut(level).map(core::mem::take).unwrap_or_default().as_slice() {
                [] => {}
                [only] if !above => return only.link,
                children => self.add(level + 1, node_above(children, &mut part), &mut part),
            }
            level += 1;
        }
    }

    fn end_leaf(&mut self, part: &mut impl FnMut(Part)) {
        let digest: [u8; 32] = self.leaf.finalize_reset().into();
        let (cid, length) = (address::of_raw(&digest), self.begun);
        part(Part::Leaf { cid, offset: self.offset, length });
        self.offset = self.offset.saturating_add(length);
        self.begun = 0;
        self.add(0, Child { link: Link { cid, size: length }, length }, part);
    }

    /// Adds what has no node above it; whatever is full gets one.
    fn add(&mut self, mut level: usize, mut child: Child, part: &mut impl FnMut(Part)) {
        loop {
            if self.levels.len() <= level {
                self.levels.resize(level + 1, Vec::new());
            }
            let Some(children) = self.levels.get_mut(level) else { return };
            children.push(child);
            if children.len() < self.shape.width {
                return;
            }
            child = node_above(&core::mem::take(children), part);
            level += 1;
        }
    }
}

impl Default for FileBuilder {
    fn default() -> Self {
        Self::new()
    }
}

fn node_above(children: &[Child], part: &mut impl FnMut(Part)) -> Child {
    let links = children.iter().map(|child| PbLink { name: "", link: child.link }).collect();
    let envelope = UnixFs::File(children.iter().map(|child| child.length).collect()).to_bytes();
    let bytes = PbNode { links, data: &envelope }.to_bytes();
    let below = children.iter().fold(bytes.len() as u64, |sum, child| sum.saturating_add(child.link.size));
    let length = children.iter().fold(0u64, |sum, child| sum.saturating_add(child.length));
    let cid = address::of_node(&bytes);
    part(Part::Node(Block { cid, bytes }));
    Child { link: Link { cid, size: below }, length }
}
