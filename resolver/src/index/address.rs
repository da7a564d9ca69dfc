//! Content addresses: which CIDs stand in the tree, and whether bytes are what a CID names.
//!
//! Only CIDv1, and of that: dag-pb by sha2-256, raw by sha2-256 or sha2-512. Whatever else a peer may write (other hashes,
//! identity, which names anything) is refused where it is read.

use cid::Cid;
use cid::multihash::Multihash;
use sha2::{Digest, Sha256, Sha512};

use crate::integrity::Integrity;

/// Multicodec: the bytes themselves.
pub const RAW: u64 = 0x55;
/// Multicodec: a node of a Merkle DAG.
pub const DAG_PB: u64 = 0x70;
/// Multihash code.
pub const SHA2_256: u64 = 0x12;
/// Multihash code.
pub const SHA2_512: u64 = 0x13;
/// The longest block, in bytes. IPFS clients refuse longer ones; the longest that is written here has 1 MiB.
pub const LONGEST_BLOCK: usize = 2 * 1024 * 1024;

/// Bytes that are not to be taken for what they are said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// The CID has a version, codec or hash that does not stand in the tree.
    #[error("{0} is no address that stands in an index")]
    Address(Cid),
    /// The bytes hash to something else.
    #[error("the bytes are not those of {0}")]
    Hash(Cid),
    /// A block, or all of them together, is longer than it may be.
    #[error("{0} has too many bytes")]
    TooLong(Cid),
}

/// The address of a node of the tree: CIDv1, dag-pb, sha2-256.
#[must_use]
pub fn of_node(bytes: &[u8]) -> Cid {
    sha2_256(DAG_PB, &Sha256::digest(bytes).into())
}

/// The address of bytes that are one block: CIDv1, raw, sha2-256.
#[must_use]
pub fn of_raw(sha256: &[u8; 32]) -> Cid {
    sha2_256(RAW, sha256)
}

/// The address of a tarball as one block, by npm's own digest: CIDv1, raw, sha2-512.
#[must_use]
pub fn of_tarball(integrity: &Integrity) -> Cid {
    Cid::new_v1(RAW, wrap(SHA2_512, integrity.as_bytes()))
}

/// The digest of a tarball that is one block, if this is the address of one.
#[must_use]
pub fn tarball_of(cid: &Cid) -> Option<Integrity> {
    let whole = is_address(cid) && cid.hash().code() == SHA2_512;
    whole.then(|| Integrity::from_bytes(cid.hash().digest())).flatten()
}

/// Reads a CID's octets; nothing may follow them.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Cid> {
    match bytes {
        [1, codec @ (0x55 | 0x70), 0x12, 32, digest @ ..] => {
            Some(sha2_256(u64::from(*codec), digest.try_into().ok()?))
        }
        [1, 0x55, 0x13, 64, digest @ ..] => Some(of_tarball(&Integrity::from_bytes(digest)?)),
        _ => None,
    }
}

/// Whether such a CID can stand in the tree.
#[must_use]
pub fn is_address(cid: &Cid) -> bool {
    let hash = cid.hash();
    cid.version() == cid::Version::V1
        && matches!(
            (cid.codec(), hash.code(), hash.size()),
            (RAW | DAG_PB, SHA2_256, 32) | (RAW, SHA2_512, 64)
        )
}

/// Whether these are the bytes that `cid` names.
///
/// # Errors
/// [`Unproven`] says why they are not.
pub fn check(cid: &Cid, bytes: &[u8]) -> Result<(), Unproven> {
    if !is_address(cid) {
        return Err(Unproven::Address(*cid));
    }
    if bytes.len() > LONGEST_BLOCK {
        return Err(Unproven::TooLong(*cid));
    }
    let digest = cid.hash().digest();
    let same = match cid.hash().code() {
        SHA2_512 => Sha512::digest(bytes).as_slice() == digest,
        _ => Sha256::digest(bytes).as_slice() == digest,
    };
    if same { Ok(()) } else { Err(Unproven::Hash(*cid)) }
}

fn sha2_256(codec: u64, digest: &[u8; 32]) -> Cid {
    Cid::new_v1(codec, wrap(SHA2_256, digest))
}

fn wrap(code: u64, digest: &[u8]) -> Multihash<64> {
    Multihash::wrap(code, digest).expect("a digest of at most 64 bytes fits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_file_has_the_address_that_everybody_knows() {
        let empty = of_raw(&Sha256::digest(b"").into());
        assert_eq!(
            std::string::ToString::to_string(&empty),
            "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
        );
    }

    #[test]
    fn a_tarballs_address_is_its_integrity_and_nothing_else() {
        let integrity = Integrity::of(b"a tarball");
        let cid = of_tarball(&integrity);
        assert_eq!(tarball_of(&cid), Some(integrity));
        assert_eq!(tarball_of(&of_node(b"a tarball")), None);
        assert_eq!(check(&cid, b"a tarball"), Ok(()));
        assert_eq!(check(&cid, b"A tarball"), Err(Unproven::Hash(cid)));
    }

    #[test]
    fn what_names_anything_is_refused() {
        let identity = Cid::new_v1(RAW, Multihash::wrap(0, b"anything").unwrap());
        assert_eq!(check(&identity, b"anything"), Err(Unproven::Address(identity)));
        let v0 = Cid::new_v0(*of_node(b"x").hash()).unwrap();
        assert_eq!(check(&v0, b"x"), Err(Unproven::Address(v0)));
        let long = Cid::new_v1(DAG_PB, *of_tarball(&Integrity::of(b"x")).hash());
        assert_eq!(check(&long, b"x"), Err(Unproven::Address(long)));
        let short = Cid::new_v1(RAW, Multihash::wrap(SHA2_256, &[0; 4]).unwrap());
        assert_eq!(check(&short, b"x"), Err(Unproven::Address(short)));
        let bytes = std::vec![0; LONGEST_BLOCK + 1];
        let cid = of_node(&bytes);
        assert_eq!(check(&cid, &bytes), Err(Unproven::TooLong(cid)));
    }

    proptest! {
        #[test]
        fn an_address_reads_back_and_what_is_read_is_one(bytes: std::vec::Vec<u8>, digest: [u8; 32]) {
            for cid in [of_node(&bytes), of_raw(&digest), of_tarball(&Integrity::of(&bytes))] {
                prop_assert_eq!(read(&cid.to_bytes()), Some(cid));
                prop_assert!(is_address(&cid));
                let mut longer = cid.to_bytes();
                longer.push(0);
                prop_assert_eq!(read(&longer), None);
            }
            if let Some(cid) = read(&bytes) {
                prop_assert_eq!(cid.to_bytes(), bytes);
            }
        }
    }
}
