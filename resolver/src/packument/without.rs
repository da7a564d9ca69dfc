//! A packument without some of its versions: what is not served is not to be resolved to.
//!
//! The full form is taken apart into its members and put together again, for no span of it can be cut out without looking at the commas
//! around it. `time` stays whole, as npm leaves it when a version is unpublished. A dist-tag that names such a version goes, but
//! `latest`, without which clients resolve to nothing, leads to the highest version that is left.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::convert::Infallible;
use core::ops::Range;

use super::json::push_string;
use super::outline::{Outline, Release};
use super::render::{Out, Text, copy_until_tarball};
use super::split::{Flaw, Level, Member, Splitter};
use crate::client::TarballUrls;

/// The versions that are left out.
pub(super) type Hidden<'a> = &'a [String];

/// Why nothing more is written.
enum Stop<E> {
    /// The document is not what the outline was read from.
    Flaw,
    Out(E),
}

impl<E> From<Flaw> for Stop<E> {
    fn from(_: Flaw) -> Self {
        Self::Flaw
    }
}

/// The full form; `false` when the document is not the outline's.
pub(super) fn full<T: Text>(
    text: &mut T,
    outline: &Outline,
    urls: &TarballUrls,
    hidden: Hidden<'_>,
    out: Out<'_, T::Error>,
) -> Result<bool, T::Error> {
    let mut writing = Writing {
        outline,
        urls,
        hidden,
        members: 0,
        versions: 0,
        has_versions: false,
        releases: outline.releases().iter(),
    };
    let mut splitter = Splitter::new("versions");
    let mut is_whole = true;
    text.copy(0..outline.length(), &mut |piece| {
        let mut take = |member: Member<'_>| {
            writing.member(&member).map_or(Ok(()), |text| out(text.as_bytes()).map_err(Stop::Out))
        };
        match if is_whole { splitter.feed(piece, &mut take) } else { Ok(()) } {
            Err(Stop::Out(error)) => return Err(error),
            Err(Stop::Flaw) => is_whole = false,
            Ok(()) => {}
        }
        Ok(())
    })?;
    out(writing.end().as_bytes())?;
    Ok(is_whole && splitter.finish().is_ok())
}

/// The dist-tags that are left.
pub(super) fn tags(outline: &Outline, hidden: Hidden<'_>) -> BTreeMap<String, String> {
    let is_hidden = |version: &String| hidden.contains(version);
    let mut tags = outline.dist_tags.clone();
    let was_latest = tags.get("latest").is_some_and(is_hidden);
    tags.retain(|_, version| !is_hidden(version));
    if was_latest && let Some(version) = highest(outline.releases(), hidden) {
        tags.insert("latest".to_string(), version.to_string());
    }
    tags
}

/// The highest version that is left: one that is no prerelease, if there is any.
fn highest<'a>(releases: &'a [Release], hidden: Hidden<'_>) -> Option<&'a str> {
    let left = releases.iter().map(|release| &release.version).filter(|version| !hidden.contains(version));
    left.max_by_key(|version| rank(version)).map(String::as_str)
}

/// By semver's precedence, as far as numbers go: prereleases of one version are as high as each other.
fn rank(version: &str) -> (bool, [u64; 3]) {
    let plain = version.split('+').next().unwrap_or(version);
    let (numbers, prerelease) = plain.split_once('-').map_or((plain, false), |(numbers, _)| (numbers, true));
    let mut parts = numbers.split('.').map(|part| part.parse().unwrap_or(0));
    (!prerelease, core::array::from_fn(|_| parts.next().unwrap_or(0)))
}

/// The members as they come.
struct Writing<'a> {
    outline: &'a Outline,
    urls: &'a TarballUrls,
    hidden: Hidden<'a>,
    /// Of the root, so far; those of `versions`, too, are one.
    members: usize,
    /// That have been written, and 1 for the brace before them.
    versions: usize,
    has_versions: bool,
    releases: core::slice::Iter<'a, Release>,
}

impl<'a> Writing<'a> {
    /// What is to be written for a member; `None`: nothing.
    fn member(&mut self, member: &Member<'_>) -> Option<String> {
        let mut text = String::with_capacity(member.value.len() + member.key.len() + 64);
        match member.level {
            Level::Root => {
                self.close_versions(&mut text);
                self.key(&mut text, member.key);
                match member.key {
                    "dist-tags" => push_tags(&mut text, &tags(self.outline, self.hidden)),
                    _ => text.push_str(member.value),
                }
            }
            Level::Inside => {
                let release = self.release_at(member.at);
                self.open_versions(&mut text);
                if !self.hidden.iter().any(|hidden| hidden == member.key) {
                    if self.versions > 1 {
                        text.push(',');
                    }
                    self.versions += 1;
                    push_string(&mut text, member.key);
                    text.push(':');
                    self.push_manifest(&mut text, member, release);
                }
            }
        }
        Some(text).filter(|text| !text.is_empty())
    }

    /// The release whose manifest begins there: they come in the document's order.
    fn release_at(&mut self, at: usize) -> Option<&'a Release> {
        while self.releases.as_slice().first().is_some_and(|release| release.manifest.start < at) {
            self.releases.next();
        }
        self.releases.as_slice().first().filter(|release| release.manifest.start == at)
    }

    fn key(&mut self, text: &mut String, key: &str) {
        self.has_versions |= key == "versions";
        text.push(if self.members == 0 { '{' } else { ',' });
        self.members += 1;
        push_string(text, key);
        text.push(':');
    }

    fn open_versions(&mut self, text: &mut String) {
        if self.versions == 0 {
            self.key(text, "versions");
            text.push('{');
            self.versions = 1;
        }
    }

    fn close_versions(&mut self, text: &mut String) {
        if self.versions > 0 {
            text.push('}');
            self.versions = 0;
        }
    }

    fn push_manifest(&self, text: &mut String, member: &Member<'_>, release: Option<&Release>) {
        let Some(release) = release else { return text.push_str(member.value) };
        let mut part = Part { at: member.at, text: member.value };
        let mut pieces = Vec::new();
        let mut gather = |piece: &[u8]| -> Result<(), Infallible> {
            pieces.extend_from_slice(piece);
            Ok(())
        };
        let start = release.manifest.start;
        let Ok(copied) = copy_until_tarball(&mut part, start, self.outline, release, self.urls, &mut gather);
        let Ok(()) = part.copy(copied..release.manifest.end, &mut gather);
        text.push_str(&String::from_utf8_lossy(&pieces));
    }

    fn end(&mut self) -> String {
        let mut text = String::new();
        if !self.has_versions {
            self.open_versions(&mut text);
        }
        self.close_versions(&mut text);
        text.push('}');
        text
    }
}

/// A value, read by where it stands in its document.
struct Part<'a> {
    at: usize,
    text: &'a str,
}

impl Text for Part<'_> {
    type Error = Infallible;

    fn copy(&mut self, span: Range<usize>, out: Out<'_, Infallible>) -> Result<(), Infallible> {
        let within = span.start.saturating_sub(self.at)..span.end.saturating_sub(self.at);
        self.text.as_bytes().get(within).map_or(Ok(()), out)
    }
}

/// Appends dist-tags as JSON.
pub(super) fn push_tags(text: &mut String, tags: &BTreeMap<String, String>) {
    text.push('{');
    for (nth, (tag, version)) in tags.iter().enumerate() {
        if nth > 0 {
            text.push(',');
        }
        push_string(text, tag);
        text.push(':');
        push_string(text, version);
    }
    text.push('}');
}

#[cfg(test)]
mod tests;
