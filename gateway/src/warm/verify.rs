//! The lockfile's word against upstream's.

use resolver::integrity::{Expected, Integrity, Verifier};

use crate::store::Blob;

/// The SHA-512 among what is expected.
pub(super) fn integrity(expected: Option<Expected>) -> Option<Integrity> {
    match expected? {
        Expected::Integrity(integrity) => Some(integrity),
        Expected::Shasum(_) => None,
    }
}

/// What the lockfile and upstream's metadata say must not differ: the client would refuse what upstream has, so there
/// is no use in fetching it.
pub(super) fn agree(locked: Option<Expected>, promised: Option<Expected>) -> Result<(), String> {
    match (locked, promised) {
        (Some(Expected::Integrity(locked)), Some(Expected::Integrity(promised))) => {
            agree_with(locked, promised)
        }
        _ => Ok(()),
    }
}

/// Whether what was found is what is locked; otherwise both, in words.
pub(super) fn agree_with(locked: Integrity, found: Integrity) -> Result<(), String> {
    match locked == found {
        true => Ok(()),
        false => Err(format!("the lockfile says {locked}, upstream has {found}")),
    }
}

/// Hashes a blob once more, for an old lockfile that has only a SHA-1.
pub(super) async fn check_shasum(blob: &Blob, expected: Expected) -> Result<(), String> {
    let mut verifier = Verifier::new(expected);
    let mut reader = blob.reader(0..blob.length());
    while let Some(chunk) = reader.next().await.map_err(|error| format!("it cannot be read: {error}"))? {
        verifier.update(&chunk);
    }
    let found = verifier.finish().map_err(|_| format!("it is not what the lockfile says: {expected}"));
    found.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use resolver::integrity::Shasum;

    #[test]
    fn two_digests_of_one_kind_have_to_agree() {
        let digest = |bytes: &[u8]| Some(Expected::Integrity(Integrity::of(bytes)));
        assert_eq!(agree(digest(b"left"), digest(b"left")), Ok(()));
        let words = agree(digest(b"left"), digest(b"right")).unwrap_err();
        assert!(words.starts_with("the lockfile says sha512-"), "{words}");
        let shasum = Shasum::from_hex("da39a3ee5e6b4b0d3255bfef95601890afd80709").map(Expected::Shasum);
        // Only the bytes can tell.
        assert_eq!(agree(shasum, digest(b"left")), Ok(()));
        assert_eq!(agree(None, digest(b"left")), Ok(()));
    }
}
