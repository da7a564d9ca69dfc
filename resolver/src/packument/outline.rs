//! What a packument says, and where in it each part stands.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{member_around, span};
use super::reader::Reader;
use crate::integrity::{Expected, Integrity, Shasum};
use crate::package::{FileName, PackageName};

/// The parts of one packument that serving needs, with their places in the document it was read from.
#[derive(Debug, PartialEq, Eq)]
pub struct Outline {
    pub(super) name: PackageName,
    pub(super) length: usize,
    pub(super) modified: Option<String>,
    pub(super) dist_tags: BTreeMap<String, String>,
    pub(super) time: Option<Range<usize>>,
    pub(super) undated: usize,
    pub(super) releases: Vec<Release>,
}

/// One version of a package.
#[derive(Debug, PartialEq, Eq)]
pub struct Release {
    /// The version as the packument's key spells it.
    pub version: String,
    /// The last part of its tarball's address; unique within the packument.
    pub file: FileName,
    /// Where upstream says the tarball is; `None` when the manifest has no address.
    pub tarball: Option<String>,
    /// What the tarball must hash to; `None` when the manifest has no digest, and so it cannot be served.
    pub expected: Option<Expected>,
    pub(super) manifest: Range<usize>,
    /// The address's JSON string, and the whole member it stands in.
    pub(super) tarball_at: Option<(Range<usize>, Range<usize>)>,
}

/// Why a document is not the packument that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPackument {
    /// Not a whole JSON document of the right shape.
    #[error("not a packument: {0}")]
    Malformed(String),
    /// The packument of something else.
    #[error("the packument of {found:?} was sent for {asked}")]
    OtherPackage {
        /// The package that was asked for.
        asked: PackageName,
        /// What the document calls itself.
        found: String,
    },
}

#[derive(Deserialize)]
struct Manifest<'a> {
    #[serde(borrow)]
    dist: Option<Dist<'a>>,
}

#[derive(Deserialize)]
struct Dist<'a> {
    #[serde(borrow)]
    tarball: Option<&'a RawValue>,
    #[serde(borrow)]
    integrity: Option<Cow<'a, str>>,
    #[serde(borrow)]
    shasum: Option<Cow<'a, str>>,
}

impl Outline {
    /// Reads the packument of `name` from a document that is all here.
    ///
    /// # Errors
    /// [`InvalidPackument`] when the document is cut, malformed, or another package's.
    pub fn read(name: &PackageName, document: &str) -> Result<Self, InvalidPackument> {
        let mut reader = Reader::new(name);
        reader.feed(document.as_bytes())?;
        reader.finish()
    }

    /// Whose packument it is.
    #[must_use]
    pub fn name(&self) -> &PackageName {
        &self.name
    }

    /// When the package last changed (ISO 8601), as the document says.
    #[must_use]
    pub fn modified(&self) -> Option<&str> {
        self.modified.as_deref()
    }

    /// The document's length in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// How many versions `time` does not date; age gates cannot judge them.
    #[must_use]
    pub fn undated(&self) -> usize {
        self.undated
    }

    /// All versions, in the document's order.
    #[must_use]
    pub fn releases(&self) -> &[Release] {
        &self.releases
    }

    /// The version whose tarball has this file name.
    #[must_use]
    pub fn release_of_file(&self, file: &FileName) -> Option<&Release> {
        self.releases.iter().find(|release| release.file == *file)
    }

    /// A version by its number, or by the dist-tag that names it.
    #[must_use]
    pub fn release(&self, version_or_tag: &str) -> Option<&Release> {
        let version = self.dist_tags.get(version_or_tag).map_or(version_or_tag, String::as_str);
        self.releases.iter().find(|release| release.version == version)
    }

    /// Roughly the bytes that the outline itself takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let release = |r: &Release| 320 + r.version.len() + r.tarball.as_ref().map_or(0, String::len);
        512 + self.releases.iter().map(release).sum::<usize>()
    }
}

impl Release {
    /// Reads a manifest that begins at byte `at` of its document. `None` for a version that cannot be named in a URL,
    /// which therefore nobody can ask for.
    pub(super) fn read(
        name: &PackageName,
        version: &str,
        manifest: &str,
        at: usize,
        is_taken: impl Fn(&FileName) -> bool,
    ) -> Result<Option<Self>, InvalidPackument> {
        let read: Manifest<'_> = serde_json::from_str(manifest).map_err(malformed)?;
        let dist = read.dist;
        let address = dist.as_ref().and_then(|dist| dist.tarball).map(|value| span(manifest, value.get()));
        let tarball: Option<String> = address.clone().and_then(|at| serde_json::from_str(&manifest[at]).ok());
        let named = tarball.as_deref().and_then(file_of).filter(|file| !is_taken(file));
        let Some(file) = named.or_else(|| name.conventional_file(version).ok()) else {
            return Ok(None);
        };
        let moved = |span: Range<usize>| at + span.start..at + span.end;
        Ok(Some(Self {
            version: version.to_string(),
            file,
            expected: dist.and_then(|dist| dist.expected()),
            manifest: at..at + manifest.len(),
            tarball_at: address.map(|value| {
                let member = member_around(manifest, &value);
                (moved(value), moved(member))
            }),
            tarball,
        }))
    }
}

impl Dist<'_> {
    fn expected(&self) -> Option<Expected> {
        let integrity = self.integrity.as_deref().and_then(Integrity::from_sri).map(Expected::Integrity);
        integrity.or_else(|| self.shasum.as_deref().and_then(Shasum::from_hex).map(Expected::Shasum))
    }
}

/// The file name at the end of a tarball's address.
fn file_of(url: &str) -> Option<FileName> {
    let path = url.split(['?', '#']).next()?;
    let file = path.rsplit('/').next()?;
    let decoded = percent_encoding::percent_decode_str(file).decode_utf8().ok()?;
    FileName::parse(&decoded).ok()
}

#[allow(clippy::needless_pass_by_value)]
fn malformed(error: serde_json::Error) -> InvalidPackument {
    InvalidPackument::Malformed(error.to_string())
}
