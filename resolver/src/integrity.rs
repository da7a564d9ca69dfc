//! Digests: what a tarball must hash to, and whether it does.
//!
//! Source: npm's `dist.integrity` is a Subresource Integrity string (W3C SRI, section 3.1); `dist.shasum` is
//! a hexadecimal SHA-1 and stands alone for a few very old versions only.

use alloc::string::String;
use core::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sha1::Sha1;
use sha2::{Digest, Sha512};

/// The SHA-512 of a tarball: its address in the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Integrity([u8; 64]);

/// The SHA-1 of a tarball, believed only when upstream's packument has nothing better.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shasum([u8; 20]);

/// What the bytes must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expected {
    /// By SHA-512, as nearly always.
    Integrity(Integrity),
    /// By SHA-1, from a packument that has no `integrity`.
    Shasum(Shasum),
}

/// The bytes were not what they had to be: their own digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes hash to {0}")]
pub struct Mismatch(pub Integrity);

/// A running hash over the chunks of one body.
#[derive(Clone)]
pub struct Verifier {
    expected: Expected,
    sha512: Sha512,
    sha1: Option<Sha1>,
}

impl Integrity {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha512::digest(bytes).into())
    }

    /// The first SHA-512 of an SRI string (`sha512-<base64>`, alternatives separated by spaces, options
    /// behind `?` ignored); `None` when it has none.
    #[must_use]
    pub fn from_sri(sri: &str) -> Option<Self> {
        sri.split_ascii_whitespace()
            .filter_map(|hash| hash.strip_prefix("sha512-"))
            .map(|hash| hash.split('?').next().unwrap_or(hash))
            .find_map(|base64| STANDARD.decode(base64).ok()?.try_into().ok())
            .map(Self)
    }

    /// From unpadded base64url, as in pnpm's digest route.
    #[must_use]
    pub fn from_base64url(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// A SHA-512 itself.
    #[must_use]
    pub fn from_digest(sha512: [u8; 64]) -> Self {
        Self(sha512)
    }

    /// From its 64 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// From 128 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }

    /// The 64 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// Lower-case hexadecimal, 128 characters.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// Unpadded base64url, 86 characters.
    #[must_use]
    pub fn base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl Shasum {
    /// From 40 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }
}

impl Verifier {
    /// Nothing hashed yet.
    #[must_use]
    pub fn new(expected: Expected) -> Self {
        let sha1 = matches!(expected, Expected::Shasum(_)).then(Sha1::new);
        Self { expected, sha512: Sha512::new(), sha1 }
    }

    /// What the bytes must be.
    #[must_use]
    pub fn expected(&self) -> Expected {
        self.expected
    }

    /// Takes the next bytes.
    pub fn update(&mut self, chunk: &[u8]) {
        self.sha512.update(chunk);
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(chunk);
        }
    }

    /// The address of what was hashed, if it is what was expected.
    ///
    /// # Errors
    /// [`Mismatch`] when it is not.
    pub fn finish(self) -> Result<Integrity, Mismatch> {
        let found = Integrity(self.sha512.finalize().into());
        let matches = match self.expected {
            Expected::Integrity(integrity) => integrity == found,
            Expected::Shasum(shasum) => {
                self.sha1.is_some_and(|sha1| <[u8; 20]>::from(sha1.finalize()) == shasum.0)
            }
        };
        if matches { Ok(found) } else { Err(Mismatch(found)) }
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `N` bytes from twice as many hexadecimal digits.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for Integrity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha512-{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Integrity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Shasum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha1 {}", hex(&self.0))
    }
}

impl fmt::Debug for Shasum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integrity(integrity) => integrity.fmt(f),
            Self::Shasum(shasum) => shasum.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use proptest::prelude::*;

    #[test]
    fn an_sri_string_gives_its_sha512_among_others() {
        let integrity = Integrity::of(b"left");
        let sri = format!("sha1-aaaa {integrity}?opt sha384-bbbb");
        assert_eq!(Integrity::from_sri(&sri), Some(integrity));
        assert_eq!(Integrity::from_sri("sha1-aaaa"), None);
        assert_eq!(Integrity::from_sri("sha512-short"), None);
    }

    #[test]
    fn a_shasum_alone_still_yields_the_sha512_address() {
        let shasum = Shasum::from_hex("da39a3ee5e6b4b0d3255bfef95601890afd80709").unwrap();
        assert_eq!(Verifier::new(Expected::Shasum(shasum)).finish(), Ok(Integrity::of(b"")));
        assert_eq!(Shasum::from_hex("da39"), None);
    }

    proptest! {
        #[test]
        fn chunks_hash_like_the_whole(bytes: std::vec::Vec<u8>, cut in 0usize..64) {
            let whole = Integrity::of(&bytes);
            let cut = cut.min(bytes.len());
            let mut verifier = Verifier::new(Expected::Integrity(whole));
            verifier.update(&bytes[..cut]);
            verifier.update(&bytes[cut..]);
            prop_assert_eq!(verifier.finish(), Ok(whole));
        }

        #[test]
        fn every_spelling_of_a_digest_reads_back(bytes: [u8; 32]) {
            let integrity = Integrity::of(&bytes);
            prop_assert_eq!(Integrity::from_sri(&format!("{integrity}")), Some(integrity));
            prop_assert_eq!(Integrity::from_base64url(&integrity.base64url()), Some(integrity));
            prop_assert_eq!(Integrity::from_bytes(integrity.as_bytes()), Some(integrity));
        }

        #[test]
        fn one_changed_byte_is_a_mismatch(mut bytes in proptest::collection::vec(any::<u8>(), 1..64), at: usize) {
            let expected = Expected::Integrity(Integrity::of(&bytes));
            let at = at % bytes.len();
            bytes[at] ^= 1;
            let mut verifier = Verifier::new(expected);
            verifier.update(&bytes);
            prop_assert!(verifier.finish().is_err());
        }
    }
}
