//! The headers of what is sent: what it is, what it is called, and how long it may be kept.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use cid::Cid;
use sha2::{Digest as _, Sha256};

use super::{CarRequest, Scope};
use crate::head::Head;
use crate::integrity::hex;

/// `Content-Type` of a block.
pub const RAW_TYPE: &str = "application/vnd.ipld.raw";
/// `Content-Type` of a head.
pub const RECORD_TYPE: &str = "application/vnd.ipfs.ipns-record";
/// `Cache-Control` of everything below `/ipfs/`: it never changes.
pub const IMMUTABLE: &str = "public, max-age=29030400, immutable";
/// Bytes of the digest that tells CARs from each other.
const TAG: usize = 8;

/// What a CAR is sent with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarReply {
    /// `ETag`. It is weak: which blocks a directory's shards are is always the same, but a later version of this program may write a CAR
    /// otherwise.
    pub etag: String,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Content-Disposition`: nothing that a browser shows.
    pub disposition: String,
}

/// What a head is sent with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordReply {
    /// `ETag`: a head's sequence is enough.
    pub etag: String,
    /// `Cache-Control`: what is left of its time to live.
    pub cache_control: String,
}

/// `ETag` of a block.
#[must_use]
pub fn raw_etag(cid: &Cid) -> String {
    format!("\"{cid}.raw\"")
}

/// `Content-Disposition` of a block.
#[must_use]
pub fn raw_disposition(cid: &Cid) -> String {
    format!("attachment; filename=\"{cid}.bin\"")
}

impl Scope {
    /// As `dag-scope` says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Entity => "entity",
            Self::All => "all",
        }
    }
}

impl CarRequest {
    /// What the answer is sent with.
    #[must_use]
    pub fn reply(&self) -> CarReply {
        let cid = self.root;
        let content_type = if self.duplicates {
            "application/vnd.ipld.car; version=1; order=dfs; dups=y"
        } else {
            "application/vnd.ipld.car; version=1; order=dfs; dups=n"
        };
        let disposition = format!("attachment; filename=\"{cid}.car\"");
        CarReply { etag: self.etag(), content_type, disposition }
    }

    /// Everything that makes a difference is in it. A zero ends each name, and no name has one.
    fn etag(&self) -> String {
        let mut digest = Sha256::new();
        for name in &self.path {
            digest.update(name.as_bytes());
            digest.update([0]);
        }
        digest.update([0, u8::from(self.duplicates), u8::from(self.bytes.is_some())]);
        if let Some(bytes) = self.bytes {
            digest.update(bytes.from.to_be_bytes());
            digest.update([u8::from(bytes.to.is_some())]);
            digest.update(bytes.to.unwrap_or_default().to_be_bytes());
        }
        let digest = digest.finalize();
        let (tag, _) = digest.split_at(TAG);
        format!("W/\"{}.{}.{}.car\"", self.scope.name(), self.root, hex(tag))
    }
}

impl RecordReply {
    /// Of a head, `now` since 1970.
    #[must_use]
    pub fn of(head: &Head, now: Duration) -> Self {
        // By the clock of whoever signed it, which may be another: never longer than the whole time.
        let left = head.ttl.saturating_sub(head.age(now)).min(LONGEST_TTL);
        let Head { sequence, name, .. } = head;
        Self {
            etag: format!("\"{name}.{sequence}.ipns-record\""),
            cache_control: format!("public, max-age={}", left.as_secs()),
        }
    }
}

/// Whoever signs a head with a longer time to live is not believed (RFC 2181, section 8).
const LONGEST_TTL: Duration = Duration::from_secs(3600);
