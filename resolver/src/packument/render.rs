//! The forms of a packument that clients ask for, with tarball addresses as their policy wants them.

use alloc::string::String;
use core::ops::Range;

use super::abbreviated::push_manifest;
use super::json::push_string;
use super::outline::{Outline, Release};
use crate::client::TarballUrls;

/// The full form: `document` with other tarball addresses. `outline` must have been read from `document`.
#[must_use]
pub fn full(document: &str, outline: &Outline, urls: &TarballUrls) -> String {
    let mut out = String::with_capacity(document.len() + document.len() / 16);
    let mut copied = 0;
    for release in outline.releases() {
        copied = copy_until_tarball(&mut out, document, copied, outline, release, urls);
    }
    out.push_str(&document[copied..]);
    out
}

/// One version's manifest.
#[must_use]
pub fn manifest(document: &str, outline: &Outline, release: &Release, urls: &TarballUrls) -> String {
    let mut out = String::with_capacity(release.manifest.len() + 128);
    let copied = copy_until_tarball(&mut out, document, release.manifest.start, outline, release, urls);
    out.push_str(&document[copied..release.manifest.end]);
    out
}

/// The abbreviated form (`application/vnd.npm.install-v1+json`), with the complete `time` map, which the
/// public registry leaves out and without which age gates fail or ask again for the full form.
///
/// # Errors
/// When a manifest is not an object; [`Outline::read`] has refused such documents already.
pub fn abbreviated(
    document: &str,
    outline: &Outline,
    urls: &TarballUrls,
) -> Result<String, serde_json::Error> {
    let mut out = String::with_capacity(document.len() / 2);
    out.push_str("{\"name\":");
    push_string(&mut out, outline.name().as_str());
    if let Some(modified) = outline.modified() {
        out.push_str(",\"modified\":");
        push_string(&mut out, modified);
    }
    out.push_str(",\"dist-tags\":");
    out.push_str(&serde_json::to_string(&outline.dist_tags)?);
    if let Some(time) = &outline.time {
        out.push_str(",\"time\":");
        out.push_str(&document[time.clone()]);
    }
    out.push_str(",\"versions\":{");
    for (nth, release) in outline.releases().iter().enumerate() {
        if nth > 0 {
            out.push(',');
        }
        push_string(&mut out, &release.version);
        out.push(':');
        push_manifest(&mut out, &manifest(document, outline, release, urls))?;
    }
    out.push_str("}}");
    Ok(out)
}

/// Copies the document from `copied` up to the release's tarball address, and writes the address that the
/// policy wants; returns how far the document has been used up.
fn copy_until_tarball(
    out: &mut String,
    document: &str,
    copied: usize,
    outline: &Outline,
    release: &Release,
    urls: &TarballUrls,
) -> usize {
    let Some((value, member)) = &release.tarball_at else {
        return copied;
    };
    let mut copy = |to: &Range<usize>| out.push_str(&document[copied..to.start]);
    if let Some(url) = urls.url(outline.name(), &release.file) {
        copy(value);
        push_string(out, &url);
        value.end
    } else {
        copy(member);
        member.end
    }
}
