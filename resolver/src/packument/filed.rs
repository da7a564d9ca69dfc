//! An outline as it is kept beside its document: JSON, with a row for each version.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use serde::{Deserialize, Serialize};

use super::outline::{Outline, Release};
use crate::integrity::{Expected, Integrity, Shasum};
use crate::package::{FileName, PackageName};

#[derive(Serialize, Deserialize)]
struct Filed {
    name: String,
    length: usize,
    modified: Option<String>,
    tags: BTreeMap<String, String>,
    time: Option<(usize, usize)>,
    undated: usize,
    releases: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    #[serde(rename = "v")]
    version: String,
    #[serde(rename = "f")]
    file: String,
    #[serde(rename = "u", skip_serializing_if = "Option::is_none", default)]
    tarball: Option<String>,
    /// SRI, or hexadecimal for a SHA-1.
    #[serde(rename = "d", skip_serializing_if = "Option::is_none", default)]
    digest: Option<String>,
    #[serde(rename = "m")]
    manifest: (usize, usize),
    #[serde(rename = "a", skip_serializing_if = "Option::is_none", default)]
    tarball_at: Option<[usize; 4]>,
}

impl Outline {
    /// As it is kept.
    #[must_use]
    pub fn to_json(&self) -> String {
        let filed = Filed {
            name: self.name.as_str().to_string(),
            length: self.length,
            modified: self.modified.clone(),
            tags: self.dist_tags.clone(),
            time: self.time.clone().map(|time| (time.start, time.end)),
            undated: self.undated,
            releases: self.releases.iter().map(Row::of).collect(),
        };
        // Serialising text and numbers to a string cannot fail.
        serde_json::to_string(&filed).unwrap_or_default()
    }

    /// From what [`Self::to_json`] gave; `None` for anything else.
    #[must_use]
    pub fn from_json(json: &str) -> Option<Self> {
        let filed: Filed = serde_json::from_str(json).ok()?;
        let within = |(start, end): (usize, usize)| span(start, end, filed.length);
        let time = filed.time.map_or(Some(None), |time| within(time).map(Some))?;
        let releases = filed.releases.into_iter().map(|row| row.release(filed.length));
        Some(Self {
            name: PackageName::parse(&filed.name).ok()?,
            length: filed.length,
            modified: filed.modified,
            dist_tags: filed.tags,
            time,
            undated: filed.undated,
            releases: releases.collect::<Option<_>>()?,
        })
    }
}

impl Row {
    fn of(release: &Release) -> Self {
        Self {
            version: release.version.clone(),
            file: release.file.as_str().to_string(),
            tarball: release.tarball.clone(),
            digest: release.expected.as_ref().map(|expected| match expected {
                Expected::Integrity(integrity) => integrity.to_string(),
                Expected::Shasum(shasum) => shasum.to_string(),
            }),
            manifest: (release.manifest.start, release.manifest.end),
            tarball_at: release
                .tarball_at
                .as_ref()
                .map(|(value, member)| [value.start, value.end, member.start, member.end]),
        }
    }

    fn release(self, length: usize) -> Option<Release> {
        let expected = |digest: String| {
            let integrity = Integrity::from_sri(&digest).map(Expected::Integrity);
            integrity.or_else(|| Shasum::from_hex(&digest).map(Expected::Shasum))
        };
        let tarball_at = |[a, b, c, d]: [usize; 4]| Some((span(a, b, length)?, span(c, d, length)?));
        Some(Release {
            version: self.version,
            file: FileName::parse(&self.file).ok()?,
            tarball: self.tarball,
            expected: self.digest.map_or(Some(None), |digest| expected(digest).map(Some))?,
            manifest: span(self.manifest.0, self.manifest.1, length)?,
            tarball_at: self.tarball_at.map_or(Some(None), |at| tarball_at(at).map(Some))?,
        })
    }
}

fn span(start: usize, end: usize, length: usize) -> Option<Range<usize>> {
    (start <= end && end <= length).then_some(start..end)
}
