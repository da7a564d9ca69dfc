//! What a packument says, and where in it each part stands.

use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{Members, member_around, span};
use crate::integrity::{Expected, Integrity, Shasum};
use crate::package::{FileName, PackageName};

/// The parts of one packument that serving needs, with their places in the document it was read from.
#[derive(Debug)]
pub struct Outline {
    name: PackageName,
    pub(super) modified: Option<String>,
    pub(super) dist_tags: BTreeMap<String, String>,
    pub(super) time: Option<Range<usize>>,
    releases: Vec<Release>,
}

/// One version of a package.
#[derive(Debug)]
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
struct Document<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(rename = "dist-tags")]
    dist_tags: Option<BTreeMap<String, String>>,
    #[serde(borrow)]
    versions: Option<Members<'a>>,
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    #[serde(borrow)]
    modified: Option<&'a RawValue>,
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
    /// Reads the packument of `name`.
    ///
    /// # Errors
    /// [`InvalidPackument`] when the document is cut, malformed, or another package's.
    pub fn read(name: &PackageName, document: &str) -> Result<Self, InvalidPackument> {
        let raw: Document<'_> = serde_json::from_str(document).map_err(malformed)?;
        match raw.name.as_deref() {
            Some(found) if found == name.as_str() => {}
            found => {
                let found = found.unwrap_or_default().to_string();
                return Err(InvalidPackument::OtherPackage { asked: name.clone(), found });
            }
        }
        let mut outline = Self {
            name: name.clone(),
            modified: modified(raw.modified, raw.time),
            dist_tags: raw.dist_tags.unwrap_or_default(),
            time: raw.time.map(|time| span(document, time.get())),
            releases: Vec::new(),
        };
        outline.read_releases(document, raw.versions)?;
        Ok(outline)
    }

    fn read_releases(
        &mut self,
        document: &str,
        versions: Option<Members<'_>>,
    ) -> Result<(), InvalidPackument> {
        let mut files = BTreeSet::new();
        for (version, manifest) in versions.map(|members| members.0).unwrap_or_default() {
            if let Some(release) = Release::read(&self.name, document, version, manifest, &files)? {
                files.insert(release.file.clone());
                self.releases.push(release);
            }
        }
        Ok(())
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
    /// `None` for a version that cannot be named in a URL, which therefore nobody can ask for.
    fn read(
        name: &PackageName,
        document: &str,
        version: String,
        raw: &RawValue,
        taken: &BTreeSet<FileName>,
    ) -> Result<Option<Self>, InvalidPackument> {
        let manifest: Manifest<'_> = serde_json::from_str(raw.get()).map_err(malformed)?;
        let dist = manifest.dist;
        let tarball_at = dist.as_ref().and_then(|dist| dist.tarball).map(|value| span(document, value.get()));
        let tarball: Option<String> =
            tarball_at.clone().and_then(|at| serde_json::from_str(&document[at]).ok());
        let named = tarball.as_deref().and_then(file_of).filter(|file| !taken.contains(file));
        let Some(file) = named.or_else(|| name.conventional_file(&version).ok()) else {
            return Ok(None);
        };
        Ok(Some(Self {
            version,
            file,
            expected: dist.and_then(|dist| dist.expected()),
            manifest: span(document, raw.get()),
            tarball_at: tarball_at.map(|value| (value.clone(), member_around(document, &value))),
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

/// The abbreviated form's `modified`, the full form's `time.modified`, or (from an upstream that has neither)
/// the time of the latest version: ISO 8601 in one spelling sorts as text.
fn modified(own: Option<&RawValue>, time: Option<&RawValue>) -> Option<String> {
    if let Some(own) = own.and_then(|raw| serde_json::from_str(raw.get()).ok()) {
        return Some(own);
    }
    let times: BTreeMap<String, &RawValue> = serde_json::from_str(time?.get()).ok()?;
    let text = |raw: &&RawValue| serde_json::from_str::<String>(raw.get()).ok();
    times.get("modified").and_then(text).or_else(|| times.values().filter_map(text).max())
}

#[allow(clippy::needless_pass_by_value)]
fn malformed(error: serde_json::Error) -> InvalidPackument {
    InvalidPackument::Malformed(error.to_string())
}
