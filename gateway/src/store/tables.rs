//! The tables of the state, and how their rows are written.
//!
//! ```text
//! packuments  name                -> (place, JSON PackumentRecord)
//! tarballs    name NUL file       -> SHA-512 (64 bytes), and 8 bytes of the revision that said so
//! blobs       SHA-512 (64 bytes)  -> (length, place, name NUL file)
//! evidence    path at upstream    -> (place, JSON Evidence)
//! queue       (class, place)      -> item: what eviction looks at, oldest first
//! pins        item                -> in how many sets it is
//! pin_sets    (set, item)
//! news        name, or NUL digest -> the number of the commit that changed what is held of it (see `news`)
//! removed     name                -> JSON: what upstream has removed of it, which is never evicted
//! meta        word                -> totals, marks of progress
//! ```
//!
//! An item is written as a letter and its key: `b` and a digest, `p` and a name, `e` and a path. A place is a
//! number that grows with every item; 0 says that an item is in no queue, for it is pinned.

use redb::TableDefinition;
use resolver::eviction::Class;
use resolver::integrity::Integrity;
use resolver::package::{FileName, PackageName};
use resolver::variant::Revision;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(super) const PACKUMENTS: TableDefinition<'static, &str, (u64, &[u8])> =
    TableDefinition::new("packuments");
pub(super) const TARBALLS: TableDefinition<'static, &str, &[u8; 72]> = TableDefinition::new("tarballs");
pub(super) const BLOBS: TableDefinition<'static, &[u8; 64], (u64, u64, &str)> = TableDefinition::new("blobs");
pub(super) const EVIDENCE: TableDefinition<'static, &str, (u64, &[u8])> = TableDefinition::new("evidence");
pub(super) const QUEUE: TableDefinition<'static, (u8, u64), &[u8]> = TableDefinition::new("queue");
pub(super) const PINS: TableDefinition<'static, &[u8], u32> = TableDefinition::new("pins");
pub(super) const PIN_SETS: TableDefinition<'static, (&str, &[u8]), ()> = TableDefinition::new("pin_sets");
pub(super) const NEWS: TableDefinition<'static, &str, u64> = TableDefinition::new("news");
pub(super) const REMOVED: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("removed");
pub(super) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");

/// The block that a file's size is rounded up to, as file systems do.
const BLOCK: u64 = 4096;

/// What is kept of a row's SHA-256.
const SEAL: usize = 16;

/// What is known of a packument besides its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackumentRecord {
    /// Which bytes.
    #[serde(with = "revision_hex")]
    pub revision: Revision,
    /// Their number.
    pub length: u64,
    /// When upstream last confirmed them: milliseconds since 1970.
    pub checked_ms: u64,
    /// When upstream last sent all of it: milliseconds since 1970. A confirmation leaves it as it is.
    pub fetched_ms: u64,
    /// Bytes on disk of the document and of all variants that were made of it.
    pub stored: u64,
    /// When the package last changed: seconds since 1970, for `Last-Modified`.
    pub modified_s: u64,
    /// Upstream's validators, for the next conditional request.
    pub etag: Option<String>,
    /// See `etag`.
    pub last_modified: Option<String>,
}

/// A small signed document (registry keys, attestations), or that there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// 200 or 404.
    pub status: u16,
    /// Of the body.
    pub content_type: Option<String>,
    /// As upstream sent it.
    pub body: String,
    /// When upstream last said so: milliseconds since 1970.
    pub checked_ms: u64,
}

/// Where the change feed was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The feed's address: a sequence of one means nothing to another.
    pub feed: String,
    /// The sequence up to which changes were taken in.
    pub since: u64,
    /// What was confirmed before this moment may have changed without a word: milliseconds since 1970.
    pub doubted_ms: u64,
}

/// The digest that a tarball's name stands for, and which packument said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TarballRecord {
    /// The digest.
    pub integrity: Integrity,
    said_by: [u8; 8],
}

/// What can be evicted, pinned and found corrupt.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Item {
    Blob(Integrity),
    Packument(PackageName),
    Evidence(String),
}

impl TarballRecord {
    pub(super) fn new(integrity: Integrity, said_by: Option<&Revision>) -> Self {
        Self { integrity, said_by: said_by.map_or([0; 8], beginning) }
    }

    /// Whether it was the packument of this revision that said so: then it is upstream's word as long as that
    /// revision is held.
    #[must_use]
    pub fn is_word_of(&self, revision: &Revision) -> bool {
        self.said_by == beginning(revision)
    }

    pub(super) fn row(&self) -> [u8; 72] {
        let mut row = [0; 72];
        row[..64].copy_from_slice(self.integrity.as_bytes());
        row[64..].copy_from_slice(&self.said_by);
        row
    }

    pub(super) fn read(row: &[u8; 72]) -> Option<Self> {
        let mut said_by = [0; 8];
        said_by.copy_from_slice(&row[64..]);
        Some(Self { integrity: Integrity::from_bytes(&row[..64])?, said_by })
    }
}

impl Item {
    pub(super) fn class(&self) -> Class {
        match self {
            Self::Blob(_) => Class::Tarballs,
            Self::Packument(_) | Self::Evidence(_) => Class::Metadata,
        }
    }

    pub(super) fn row(&self) -> Vec<u8> {
        let (letter, key) = match self {
            Self::Blob(integrity) => (b'b', integrity.as_bytes().as_slice()),
            Self::Packument(name) => (b'p', name.as_str().as_bytes()),
            Self::Evidence(path) => (b'e', path.as_bytes()),
        };
        [&[letter], key].concat()
    }

    pub(super) fn read(row: &[u8]) -> Option<Self> {
        let (letter, key) = row.split_first()?;
        match letter {
            b'b' => Integrity::from_bytes(key).map(Self::Blob),
            b'p' => PackageName::parse(std::str::from_utf8(key).ok()?).ok().map(Self::Packument),
            b'e' => Some(Self::Evidence(std::str::from_utf8(key).ok()?.to_owned())),
            _ => None,
        }
    }

    /// What its mark of being used is set by.
    pub(super) fn mark(&self) -> &[u8] {
        match self {
            Self::Blob(integrity) => blob_mark(integrity),
            Self::Packument(name) => name.as_str().as_bytes(),
            Self::Evidence(path) => path.as_bytes(),
        }
    }
}

/// A digest's first bytes are as good as all of them, and quicker to hash.
pub(super) fn blob_mark(integrity: &Integrity) -> &[u8] {
    &integrity.as_bytes()[..16]
}

/// A class as the queue's key.
pub(super) fn class_row(class: Class) -> u8 {
    match class {
        Class::Tarballs => 0,
        Class::Metadata => 1,
    }
}

/// Bytes that a file of this length takes on disk.
#[must_use]
pub fn on_disk(length: u64) -> u64 {
    length.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// Neither a name nor a file contains NUL.
pub(super) fn tarball_key(name: &PackageName, file: &FileName) -> String {
    format!("{name}\0{file}")
}

pub(super) fn read_tarball_key(key: &str) -> Option<(PackageName, FileName)> {
    let (name, file) = key.split_once('\0')?;
    Some((PackageName::parse(name).ok()?, FileName::parse(file).ok()?))
}

pub(super) fn read_json<T: for<'de> Deserialize<'de>>(row: &[u8]) -> Option<T> {
    serde_json::from_slice(row).ok()
}

pub(super) fn json(value: &impl Serialize) -> Result<Vec<u8>, redb::Error> {
    serde_json::to_vec(value).map_err(|error| redb::Error::Io(error.into()))
}

/// A row with the beginning of its SHA-256 behind it, where nothing else would show that the disk has changed it.
pub(super) fn sealed(mut row: Vec<u8>) -> Vec<u8> {
    let seal = Sha256::digest(&row);
    row.extend_from_slice(&seal[..SEAL]);
    row
}

/// The row, if it is what was sealed.
pub(super) fn unsealed(row: &[u8]) -> Option<&[u8]> {
    let (row, seal) = row.split_at_checked(row.len().checked_sub(SEAL)?)?;
    (Sha256::digest(row)[..SEAL] == *seal).then_some(row)
}

fn beginning(revision: &Revision) -> [u8; 8] {
    let mut beginning = [0; 8];
    beginning.copy_from_slice(&revision.as_bytes()[..8]);
    beginning
}

mod revision_hex {
    //! A revision as hexadecimal text.

    use resolver::variant::Revision;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(revision: &Revision, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&revision.hex())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Revision, D::Error> {
        let text = String::deserialize(deserializer)?;
        Revision::from_hex(&text).ok_or_else(|| de::Error::custom("not 64 hexadecimal digits"))
    }
}
