//! Which bytes a client gets for one packument, and the entity tag that names exactly these bytes.

use alloc::string::String;
use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use crate::client::TarballUrls;
use crate::integrity::{hex, unhex};

/// Raised whenever rendering or encoding gives other bytes for the same inputs: it is part of every ETag.
const RENDERING: &[u8] = b"open-registry variant 2";

/// The SHA-256 of a document as upstream sent it (decoded): it names one state of one packument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision([u8; 32]);

/// The shape of the document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// All that upstream says.
    Full,
    /// What an install needs.
    Abbreviated,
    /// One version's manifest.
    Manifest(String),
}

/// The content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878, in one frame, its window within what RFC 9659 allows.
    Zstd,
    /// RFC 7932.
    Brotli,
}

/// Everything that the bytes of a response depend on besides the document itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Variant {
    /// The shape.
    pub form: Form,
    /// The coding.
    pub encoding: Encoding,
    /// The tarball addresses.
    pub urls: TarballUrls,
    /// Versions that are left out, in order.
    pub hidden: Vec<String>,
}

impl Revision {
    /// The revision of a document.
    #[must_use]
    pub fn of(document: &[u8]) -> Self {
        Self(Sha256::digest(document).into())
    }

    /// From the digest of a document that was hashed while it arrived.
    #[must_use]
    pub fn from_digest(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    /// From 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Lower-case hexadecimal.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

impl Form {
    /// The form that an `Accept` header prefers (RFC 9110, section 12.5.1): abbreviated only when it is
    /// named, and not less wanted than plain JSON.
    #[must_use]
    pub fn accepted(accept: Option<&str>) -> Self {
        let accept = accept.unwrap_or("*/*");
        let weight = |kind: &str| quality(accept, kind);
        match weight("application/vnd.npm.install-v1+json") {
            Some(wanted) if wanted > 0 && wanted >= weight("application/json").unwrap_or(0) => {
                Self::Abbreviated
            }
            _ => Self::Full,
        }
    }

    /// The media type of this form.
    #[must_use]
    pub fn media_type(&self) -> &'static str {
        match self {
            Self::Full | Self::Manifest(_) => "application/json",
            Self::Abbreviated => "application/vnd.npm.install-v1+json",
        }
    }
}

impl Encoding {
    /// The codings, the best first: what makes packuments smallest for least work.
    const BY_PREFERENCE: [Self; 4] = [Self::Zstd, Self::Brotli, Self::Gzip, Self::Identity];

    /// The coding that an `Accept-Encoding` header prefers (RFC 9110, section 12.5.3); of several that it likes
    /// equally, the best. `*` alone is no reason for anything newer than gzip.
    #[must_use]
    pub fn accepted(accept_encoding: Option<&str>) -> Self {
        let accept = accept_encoding.unwrap_or("");
        let weight = |coding: Self| match coding {
            Self::Identity => quality(accept, "identity").unwrap_or(1),
            Self::Gzip => quality(accept, "gzip").or_else(|| quality(accept, "*")).unwrap_or(0),
            Self::Zstd | Self::Brotli => quality(accept, coding.token()).unwrap_or(0),
        };
        // `max_by_key` gives the last of equals.
        let wanted = Self::BY_PREFERENCE.into_iter().rev().filter(|coding| weight(*coding) > 0);
        let best = wanted.max_by_key(|coding| weight(*coding));
        best.unwrap_or(Self::Identity)
    }

    /// Its name in `Content-Encoding`.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Brotli => "br",
        }
    }
}

impl Variant {
    /// The strong entity tag of this variant of a revision, quotes included. Two different bodies never share
    /// one, and it is known before the body is.
    #[must_use]
    pub fn etag(&self, revision: &Revision) -> String {
        let mut hash = Sha256::new_with_prefix(RENDERING);
        let mut field = |tag: u8, bytes: &[u8]| {
            hash.update([tag]);
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        field(0, revision.as_bytes());
        match &self.form {
            Form::Full => field(1, b""),
            Form::Abbreviated => field(2, b""),
            Form::Manifest(version) => field(3, version.as_bytes()),
        }
        match self.encoding {
            Encoding::Identity => field(4, b""),
            Encoding::Gzip => field(5, b""),
            Encoding::Zstd => field(8, b""),
            Encoding::Brotli => field(9, b""),
        }
        match &self.urls {
            TarballUrls::At(base) => field(6, base.as_bytes()),
            TarballUrls::Omitted => field(7, b""),
        }
        for version in &self.hidden {
            field(10, version.as_bytes());
        }
        let digest = hash.finalize();
        alloc::format!("\"{}\"", hex(&digest[..16]))
    }
}

/// The weight, in thousandths, that a list of weighted values gives to one value; `None` when it is absent.
fn quality(list: &str, wanted: &str) -> Option<u16> {
    list.split(',').find_map(|item| {
        let mut parts = item.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case(wanted) {
            return None;
        }
        let q =
            parts.find_map(|parameter| parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")));
        Some(q.map_or(1000, thousandths))
    })
}

/// A weight such as `0.8`; what cannot be read counts as not wanted.
fn thousandths(weight: &str) -> u16 {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    if whole == "1" {
        return 1000;
    }
    if whole != "0" || fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    alloc::format!("{fraction:0<3}").parse().unwrap_or(0)
}

/// Whether an `If-None-Match` header names this entity tag (weak comparison, RFC 9110, section 13.1.2).
#[must_use]
pub fn none_match_names(if_none_match: &str, etag: &str) -> bool {
    let opaque = |tag: &str| -> String { tag.trim().trim_start_matches("W/").into() };
    if_none_match.split(',').any(|tag| tag.trim() == "*" || opaque(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn clients_get_the_form_that_they_name() {
        let corgi = "application/vnd.npm.install-v1+json";
        for (accept, form) in [
            (
                Some("application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*"),
                Form::Abbreviated,
            ),
            (Some(corgi), Form::Abbreviated),
            (Some("application/json"), Form::Full),
            (Some("application/json, */*"), Form::Full),
            (Some("*/*"), Form::Full),
            (None, Form::Full),
            (Some("application/vnd.npm.install-v1+json;q=0"), Form::Full),
            (Some("application/json, application/vnd.npm.install-v1+json;q=0.5"), Form::Full),
        ] {
            assert_eq!(Form::accepted(accept), form, "{accept:?}");
        }
    }

    #[test]
    fn the_best_coding_is_sent_of_those_that_a_client_likes_most() {
        for (accept, encoding) in [
            (Some("gzip, deflate"), Encoding::Gzip),
            (Some("gzip, deflate, br"), Encoding::Brotli),
            (Some("gzip, deflate, br, zstd"), Encoding::Zstd),
            (Some("zstd,gzip,deflate"), Encoding::Zstd),
            (Some("zstd;q=0.5,gzip,deflate"), Encoding::Gzip),
            (Some("gzip;q=1, identity;q=.5"), Encoding::Gzip),
            (Some("gzip;q=0.5, identity"), Encoding::Identity),
            (Some("gzip;q=0"), Encoding::Identity),
            (Some("identity"), Encoding::Identity),
            (Some("br"), Encoding::Brotli),
            (Some("br;q=0, gzip"), Encoding::Gzip),
            (Some("*"), Encoding::Gzip),
            (Some("*;q=0"), Encoding::Identity),
            (Some("identity;q=0"), Encoding::Identity),
            (Some("identity;q=0, gzip;q=0, *;q=0"), Encoding::Identity),
            (Some(""), Encoding::Identity),
            (None, Encoding::Identity),
        ] {
            assert_eq!(Encoding::accepted(accept), encoding, "{accept:?}");
        }
    }

    #[test]
    fn if_none_match_compares_weakly_and_takes_lists() {
        assert!(none_match_names("W/\"a\", \"b\"", "\"b\""));
        assert!(none_match_names("W/\"b\"", "\"b\""));
        assert!(none_match_names("*", "\"b\""));
        assert!(!none_match_names("\"a\"", "\"b\""));
    }

    fn variant() -> impl Strategy<Value = Variant> {
        let form =
            prop_oneof![Just(Form::Full), Just(Form::Abbreviated), "[0-9.]{0,5}".prop_map(Form::Manifest)];
        let encoding = proptest::sample::select(&Encoding::BY_PREFERENCE[..]);
        let urls = prop_oneof![Just(TarballUrls::Omitted), "[a-z:/]{0,6}".prop_map(TarballUrls::At)];
        (form, encoding, urls, prop::collection::vec("[0-9.]{1,5}", 0..3))
            .prop_map(|(form, encoding, urls, hidden)| Variant { form, encoding, urls, hidden })
    }

    proptest! {
        #[test]
        fn no_two_different_variants_share_an_etag(one in variant(), other in variant(), a: [u8; 2], b: [u8; 2]) {
            let (first, second) = (Revision::of(&a), Revision::of(&b));
            let same = one == other && a == b;
            prop_assert_eq!(one.etag(&first) == other.etag(&second), same);
        }

        #[test]
        fn no_header_makes_negotiation_panic(header: String) {
            let _ = (Form::accepted(Some(&header)), Encoding::accepted(Some(&header)), none_match_names(&header, "\"a\""));
        }
    }

    #[test]
    fn an_etag_is_a_quoted_token() {
        let variant = Variant {
            form: Form::Full,
            encoding: Encoding::Gzip,
            urls: TarballUrls::Omitted,
            hidden: Vec::new(),
        };
        let etag = variant.etag(&Revision::of(b"x"));
        assert_eq!(etag.len(), 34);
        assert_eq!(etag.chars().filter(|c| *c == '"').collect::<Vec<_>>().len(), 2);
        assert_eq!(etag.to_string(), variant.etag(&Revision::of(b"x")));
    }
}
