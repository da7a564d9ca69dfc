//! Reads a packument's outline while the document arrives.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::outline::{InvalidPackument, Outline, Release};
use super::split::{Flaw, Level, Member, Splitter};
use crate::package::{FileName, PackageName};

/// The most versions of a package: the largest have some thousands, and each takes half a KiB of an outline.
const MOST_VERSIONS: usize = 100_000;

/// The reading of one document.
pub struct Reader {
    splitter: Splitter,
    parts: Parts,
}

/// What has been read so far.
struct Parts {
    outline: Outline,
    has_name: bool,
    /// The members of the root that serving needs, as far as they have come.
    seen: BTreeSet<String>,
    /// The abbreviated form's own `modified`.
    modified: Option<String>,
    times: BTreeMap<String, Option<String>>,
    files: BTreeSet<FileName>,
    versions: BTreeSet<String>,
}

impl Reader {
    /// For the packument of `name`.
    #[must_use]
    pub fn new(name: &PackageName) -> Self {
        let outline = Outline {
            name: name.clone(),
            length: 0,
            modified: None,
            dist_tags: BTreeMap::new(),
            time: None,
            undated: 0,
            releases: alloc::vec::Vec::new(),
        };
        let parts = Parts {
            outline,
            has_name: false,
            seen: BTreeSet::new(),
            modified: None,
            times: BTreeMap::new(),
            files: BTreeSet::new(),
            versions: BTreeSet::new(),
        };
        Self { splitter: Splitter::new("versions"), parts }
    }

    /// Reads the next chunk of the document.
    ///
    /// # Errors
    /// [`InvalidPackument`] as soon as the document can no longer be the packument.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), InvalidPackument> {
        let parts = &mut self.parts;
        self.splitter.feed(chunk, &mut |member| parts.take(&member))
    }

    /// The outline of a document that has come to its end.
    ///
    /// # Errors
    /// [`InvalidPackument`] when it is cut, or another package's.
    pub fn finish(self) -> Result<Outline, InvalidPackument> {
        let length = self.splitter.finish()?;
        let Parts { mut outline, has_name, modified, times, .. } = self.parts;
        if !has_name {
            return Err(InvalidPackument::OtherPackage { asked: outline.name, found: String::new() });
        }
        outline.length = length;
        outline.undated =
            outline.releases.iter().filter(|release| !times.contains_key(&release.version)).count();
        outline.modified = modified.or_else(|| latest(times));
        outline.releases.shrink_to_fit();
        Ok(outline)
    }
}

impl Parts {
    fn take(&mut self, member: &Member<'_>) -> Result<(), InvalidPackument> {
        match (member.level, member.key) {
            (Level::Inside, version) => self.take_release(version, member),
            (Level::Root, "name" | "dist-tags" | "versions" | "time" | "modified") => {
                if !self.seen.insert(member.key.to_string()) {
                    return Err(Flaw::Twice(member.at).into());
                }
                self.take_part(member)
            }
            (Level::Root, _) => parsed::<IgnoredAny>(member).map(|_| ()),
        }
    }

    fn take_part(&mut self, member: &Member<'_>) -> Result<(), InvalidPackument> {
        match member.key {
            "name" => self.take_name(&parsed::<Option<String>>(member)?.unwrap_or_default()),
            "dist-tags" => {
                self.outline.dist_tags = parsed::<Option<_>>(member)?.unwrap_or_default();
                Ok(())
            }
            "modified" => {
                // Some mirrors have a number here.
                self.modified = parsed::<&RawValue>(member).map(text)?;
                Ok(())
            }
            "time" => self.take_time(member),
            // An object is cut into its members and never comes here.
            _ => parsed::<Option<NoVersions>>(member).map(|_| ()),
        }
    }

    fn take_name(&mut self, found: &str) -> Result<(), InvalidPackument> {
        let asked = &self.outline.name;
        if found != asked.as_str() {
            return Err(InvalidPackument::OtherPackage { asked: asked.clone(), found: found.to_string() });
        }
        self.has_name = true;
        Ok(())
    }

    /// Not every `time` is a map of times: an unpublished package's has an object in it.
    fn take_time(&mut self, member: &Member<'_>) -> Result<(), InvalidPackument> {
        self.outline.time = Some(member.at..member.at + member.value.len());
        let times = parsed::<Option<&RawValue>>(member)?;
        let times = times.and_then(|raw| serde_json::from_str::<BTreeMap<String, &RawValue>>(raw.get()).ok());
        self.times = times.unwrap_or_default().into_iter().map(|(key, value)| (key, text(value))).collect();
        Ok(())
    }

    fn take_release(&mut self, version: &str, member: &Member<'_>) -> Result<(), InvalidPackument> {
        if self.versions.len() == MOST_VERSIONS {
            return Err(InvalidPackument::Malformed(alloc::format!("more than {MOST_VERSIONS} versions")));
        }
        // Clients would take the last of two, and we the first.
        if !self.versions.insert(version.to_string()) {
            return Err(Flaw::Twice(member.at).into());
        }
        if !member.value.starts_with('{') {
            return Err(Flaw::Unexpected(member.at).into());
        }
        let is_taken = |file: &FileName| self.files.contains(file);
        let release = Release::read(&self.outline.name, version, member.value, member.at, is_taken)?;
        if let Some(release) = release {
            self.files.insert(release.file.clone());
            self.outline.releases.push(release);
        }
        Ok(())
    }
}

/// `versions` can be null, and nothing else but an object.
#[derive(serde::Deserialize)]
enum NoVersions {}

fn parsed<'a, T: serde::Deserialize<'a>>(member: &Member<'a>) -> Result<T, InvalidPackument> {
    serde_json::from_str(member.value)
        .map_err(|error| InvalidPackument::Malformed(alloc::format!("{}: {error}", member.key)))
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// The full form's `time.modified`, or, from an upstream without it, the time of the latest version: ISO 8601 in one
/// spelling sorts as text.
fn latest(mut times: BTreeMap<String, Option<String>>) -> Option<String> {
    times.remove("modified").flatten().or_else(|| times.into_values().flatten().max())
}

impl From<Flaw> for InvalidPackument {
    fn from(flaw: Flaw) -> Self {
        Self::Malformed(flaw.to_string())
    }
}
