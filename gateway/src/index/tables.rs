//! The tables of `index.redb`, and how their rows are written.
//!
//! ```text
//! nodes    CID                        -> (in how many places it stands, bytes): the directories of the tree
//! leaving  sequence of a head         -> nodes that its root has no place for any more, and in how many
//! files    name NUL file              -> (digest, length, CID, size in the tree, CIDs of its blocks where there are several)
//! blocks   (CID, name NUL file)       -> (where it begins, length, bytes if it is a node)
//! meta     word                       -> see the words below
//! ```
//!
//! `files` has a row for each document of the tree, and `blocks` one for each block of each of them: so whatever is in the tree
//! is found by its address, what it is made of is found by its name, and rows go with the document that they are of. The digest is
//! that of what is held: 64 bytes of a tarball, 32 of a packument's revision. A tarball has a row for its own digest, too, also
//! where it is too long for one block: that leads from a digest to those who have it.
//!
//! Documents of this gateway's own (`/.federation/<file>`, `/<name>/removed.json`) are held nowhere else: their bytes stand in `nodes`,
//! and the name of the directory `/.federation` is one that no package can have.

use redb::TableDefinition;
use resolver::index::{Cid, Folder, Link, Path, address};
use resolver::integrity::Integrity;
use resolver::package::{FileName, PackageName};
use resolver::variant::Revision;

pub(super) const NODES: TableDefinition<'static, &[u8], (u64, &[u8])> = TableDefinition::new("nodes");
pub(super) const LEAVING: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("leaving");
pub(super) const FILES: TableDefinition<'static, &str, FileValue<'static>> = TableDefinition::new("files");
pub(super) const BLOCKS: TableDefinition<'static, BlockKey, BlockValue> = TableDefinition::new("blocks");
pub(super) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");

/// What all is made by: the layout of these tables, how install forms are rendered, and what is private. 32 bytes.
pub(super) const MADE_BY: &str = "made by";
/// Which file of names the news is of: a number of 8 bytes.
pub(super) const SINCE: &str = "news since";
/// Present until everything that is held has been listed once.
pub(super) const BEGINNING: &str = "beginning";
/// Present while what is listed is compared with what is held: the name behind which that goes on.
pub(super) const REVIEWED: &str = "reviewed";
/// For each package of which something is blocked, what the listing rests on: JSON, a text by name.
pub(super) const HEEDED: &str = "heeded";
/// The tree's CID, and behind it 8 bytes each of its size, of the number of its blocks and of that of its packages.
pub(super) const ROOT: &str = "root";
/// The last head's record.
pub(super) const RECORD: &str = "record";
/// The last head's sequence.
pub(super) const SEQUENCE: &str = "sequence";

/// Upstream's packument, in a package's directory.
pub(super) const METADATA: &str = "metadata.json";
/// Its abbreviated form.
pub(super) const INSTALL: &str = "install.json";
/// What was taken down of it.
pub(super) const REMOVED: &str = "removed.json";
/// In `/.federation`: this gateway's list of peers, how far it has followed its feed, and all that its operator blocks.
pub(super) const PEERS: &str = "peers.json";
pub(super) const STATE: &str = "state.json";
pub(super) const BLOCKED: &str = "blocked.json";
/// What stands for a package's name in the keys of these.
const FEDERATION: &str = ".federation";
/// The first byte of the digest of a document of this gateway's own.
const OWN: u8 = b'o';
/// A CID with a SHA-256, in bytes.
const SHORT_CID: usize = 36;

/// A row of `blocks`.
pub(super) type BlockKey = (&'static [u8], &'static str);
pub(super) type BlockValue = (u64, u64, &'static [u8]);

/// A row of `files`.
pub(super) type FileValue<'a> = (&'a [u8], u64, &'a [u8], u64, &'a [u8]);

/// One document of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileRow {
    /// Of the bytes that it is made of.
    pub(super) digest: Digest,
    /// Its own length in bytes.
    pub(super) length: u64,
    pub(super) link: Link,
    /// Its blocks, if they are several.
    pub(super) blocks: Vec<Cid>,
}

/// What a document is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digest {
    Tarball(Integrity),
    Packument(Revision),
    /// A document of this gateway's own, by its SHA-256.
    Own([u8; 32]),
}

impl Digest {
    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Tarball(integrity) => integrity.as_bytes().to_vec(),
            Self::Packument(revision) => revision.as_bytes().to_vec(),
            Self::Own(sha256) => [&[OWN], &sha256[..]].concat(),
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        if let Some(integrity) = Integrity::from_bytes(bytes) {
            return Some(Self::Tarball(integrity));
        }
        if let [OWN, sha256 @ ..] = bytes
            && let Ok(sha256) = sha256.try_into()
        {
            return Some(Self::Own(sha256));
        }
        bytes.try_into().ok().map(|sha256| Self::Packument(Revision::from_digest(sha256)))
    }
}

impl FileRow {
    pub(super) fn read((digest, length, cid, size, blocks): FileValue<'_>) -> Option<Self> {
        let link = Link { cid: address::read(cid)?, size };
        Some(Self { digest: Digest::read(digest)?, length, link, blocks: read_cids(blocks)? })
    }

    /// How many blocks it has.
    pub(super) fn count(&self) -> u64 {
        self.blocks.len().max(1) as u64
    }

    /// All addresses that `blocks` has a row of this document for.
    pub(super) fn addresses(&self) -> Vec<Cid> {
        let mut all = if self.blocks.is_empty() { vec![self.link.cid] } else { self.blocks.clone() };
        if let Digest::Tarball(integrity) = &self.digest {
            all.push(address::of_tarball(integrity));
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// What stands for a directory in the keys of its documents.
fn folder_key(folder: &Folder) -> &str {
    match folder {
        Folder::Federation => FEDERATION,
        Folder::Package(name) => name.as_str(),
    }
}

/// Neither a name nor a file contains NUL.
pub(super) fn file_key(folder: &Folder, file: &str) -> String {
    format!("{}\0{file}", folder_key(folder))
}

/// The package and the file; `None` for what is of no package.
pub(super) fn read_file_key(key: &str) -> Option<(PackageName, &str)> {
    let (name, file) = key.split_once('\0')?;
    Some((PackageName::parse(name).ok()?, file))
}

/// The keys of all documents of a directory: from the first to before the second.
pub(super) fn keys_of(folder: &Folder) -> (String, String) {
    let name = folder_key(folder);
    (format!("{name}\0"), format!("{name}\u{1}"))
}

/// The path of a document in the tree.
pub(super) fn path(folder: &Folder, file: &str) -> Option<Path> {
    let Folder::Package(name) = folder else {
        return match file {
            PEERS => Some(Path::peers()),
            STATE => Some(Path::state()),
            BLOCKED => Some(Path::blocked()),
            _ => None,
        };
    };
    match file {
        METADATA => Some(Path::metadata(name.clone())),
        INSTALL => Some(Path::install(name.clone())),
        REMOVED => Some(Path::removed(name.clone())),
        _ => FileName::parse(file).ok().map(|file| Path::tarball(name.clone(), &file)),
    }
}

pub(super) fn write_cids(cids: &[Cid]) -> Vec<u8> {
    cids.iter().flat_map(Cid::to_bytes).collect()
}

/// CIDs with a SHA-256, one after the other.
fn read_cids(bytes: &[u8]) -> Option<Vec<Cid>> {
    let (cids, rest) = bytes.as_chunks::<SHORT_CID>();
    let cids = cids.iter().map(|cid| address::read(cid)).collect::<Option<Vec<_>>>()?;
    rest.is_empty().then_some(cids)
}

/// Nodes, each with the number of its places.
pub(super) fn write_places(places: &[(Cid, u64)]) -> Vec<u8> {
    places.iter().flat_map(|(cid, count)| [&cid.to_bytes()[..], &count.to_be_bytes()].concat()).collect()
}

pub(super) fn read_places(bytes: &[u8]) -> Vec<(Cid, u64)> {
    let (rows, _) = bytes.as_chunks::<{ SHORT_CID + 8 }>();
    let read = |row: &[u8; SHORT_CID + 8]| {
        let (cid, count) = row.split_at(SHORT_CID);
        Some((address::read(cid)?, u64::from_be_bytes(count.try_into().ok()?)))
    };
    rows.iter().filter_map(read).collect()
}

/// A tree with what it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) root: Link,
    /// One that stands in several places is counted for each.
    pub(super) blocks: u64,
    /// Packages that have a directory.
    pub(super) packages: u64,
}

impl Tree {
    pub(super) fn write(&self) -> Vec<u8> {
        let Self { root, blocks, packages } = self;
        let numbers = [root.size, *blocks, *packages].map(u64::to_be_bytes);
        [&root.cid.to_bytes()[..], numbers.as_flattened()].concat()
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (bytes, packages) = bytes.split_last_chunk::<8>()?;
        let (bytes, blocks) = bytes.split_last_chunk::<8>()?;
        let (cid, size) = bytes.split_last_chunk::<8>()?;
        let root = Link { cid: address::read(cid)?, size: u64::from_be_bytes(*size) };
        let [blocks, packages] = [blocks, packages].map(|number| u64::from_be_bytes(*number));
        Some(Self { root, blocks, packages })
    }
}

pub(super) fn read_number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}
