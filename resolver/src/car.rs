//! CARv1: blocks one after the other, as they travel ([specification](https://ipld.io/specs/transport/car/carv1/)).
//!
//! ```text
//! length  header: DAG-CBOR {roots: [CID, ...], version: 1}
//! length  CID  block
//! length  CID  block
//! ...
//! ```
//!
//! Lengths are unsigned varints; a block's is that of its CID and its bytes. [`Reader`] gives out what hashes to its CID and
//! nothing else; the writing side is [`header`] and [`prefix`], between which the blocks' bytes go out as they are.

mod reader;

use alloc::vec::Vec;

use cid::Cid;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};
use unsigned_varint::encode;

pub use reader::{Item, Reader};

/// The version that is spoken.
const VERSION: u64 = 1;
/// The longest block, in bytes: IPFS clients refuse longer ones.
pub const LONGEST_BLOCK: usize = 2 * 1024 * 1024;
/// The longest CID that is read: version, codec and hash function of up to four bytes, and 64 bytes of SHA-512.
const LONGEST_CID: usize = 1 + 4 + 4 + 1 + 64;
/// The longest header, in bytes: one root has 60, and nobody has use for more than a few.
const LONGEST_HEADER: usize = 1024;
/// Hash functions ([multicodec](https://github.com/multiformats/multicodec)).
const SHA2_256: u64 = 0x12;
const SHA2_512: u64 = 0x13;

/// What is read of one at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Blocks.
    pub blocks: u64,
    /// Bytes of the header, the CIDs and the blocks together.
    pub bytes: u64,
}

/// Why what comes is not read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CarError {
    /// A length that is none, or is not spelled the shortest way.
    #[error("a length in the CAR is damaged")]
    Length,
    /// A header that is none, or of another version.
    #[error("it does not begin as a CAR of version 1")]
    Header,
    /// A block whose CID is none, or of version 0.
    #[error("a CID in the CAR is damaged or of version 0")]
    Cid,
    /// A block whose hash function is none of those that count: SHA-256 and SHA-512.
    #[error("a block in the CAR has a CID by the hash function {0:#x}")]
    Function(u64),
    /// A block that is longer than any.
    #[error("a block in the CAR has more than {LONGEST_BLOCK} bytes")]
    LongBlock,
    /// A block that is not what its CID says.
    #[error("the bytes of {0} hash to something else")]
    Mismatch(Cid),
    /// More of it than is wanted.
    #[error("the CAR has more in it than was to be expected")]
    TooMuch,
    /// It ended in the middle.
    #[error("the CAR ends in the middle")]
    Cut,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    roots: Vec<Cid>,
    version: u64,
}

/// What a CAR with these roots begins with.
#[must_use]
pub fn header(roots: &[Cid]) -> Vec<u8> {
    let header = Header { roots: roots.to_vec(), version: VERSION };
    let header = serde_ipld_dagcbor::to_vec(&header).expect("CIDs and a number are DAG-CBOR");
    let mut bytes = encode::usize(header.len(), &mut encode::usize_buffer()).to_vec();
    bytes.extend(header);
    bytes
}

/// What stands before the bytes of a block, which are `length`.
#[must_use]
pub fn prefix(cid: &Cid, length: usize) -> Vec<u8> {
    let cid = cid.to_bytes();
    let mut bytes = encode::usize(cid.len().saturating_add(length), &mut encode::usize_buffer()).to_vec();
    bytes.extend(cid);
    bytes
}

/// Whether these bytes are what the CID says.
///
/// # Errors
/// [`CarError::Function`] when that is not for us to say, and [`CarError::Mismatch`] when they are not.
pub fn verify(cid: &Cid, bytes: &[u8]) -> Result<(), CarError> {
    let said = cid.hash().digest();
    let matches = match cid.hash().code() {
        SHA2_256 => Sha256::digest(bytes)[..] == *said,
        SHA2_512 => Sha512::digest(bytes)[..] == *said,
        other => return Err(CarError::Function(other)),
    };
    if matches { Ok(()) } else { Err(CarError::Mismatch(*cid)) }
}

#[cfg(test)]
mod tests;
