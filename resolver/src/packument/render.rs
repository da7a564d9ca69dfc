//! The forms of a packument that clients ask for, with tarball addresses as their policy wants them: copied piece by
//! piece out of a document that need not be in memory.

use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::ops::Range;

use super::abbreviated::push_manifest;
use super::json::push_string;
use super::outline::{Outline, Release};
use super::without;
use crate::client::TarballUrls;
use crate::variant::Form;

/// Where the pieces of a rendering go.
pub type Out<'a, E> = &'a mut dyn FnMut(&[u8]) -> Result<(), E>;

/// A document that is read in parts, mostly from its beginning to its end.
pub trait Text {
    /// Why a part cannot be read, or not be put where it goes.
    type Error;

    /// Copies the bytes of `span` to `out`, in as many pieces as it likes.
    ///
    /// # Errors
    /// When the part cannot be read, or `out` fails.
    fn copy(&mut self, span: Range<usize>, out: Out<'_, Self::Error>) -> Result<(), Self::Error>;
}

/// Renders a form of the document that `outline` was read from; `false`, and nothing, when it has no such version.
///
/// # Errors
/// Those of `text` and `out`.
pub fn render<T: Text>(
    text: &mut T,
    outline: &Outline,
    form: &Form,
    urls: &TarballUrls,
    out: Out<'_, T::Error>,
) -> Result<bool, T::Error> {
    render_without(text, outline, form, urls, &[], out)
}

/// The same without these versions, in order; a manifest of one of them is none.
///
/// # Errors
/// Those of `text` and `out`.
pub fn render_without<T: Text>(
    text: &mut T,
    outline: &Outline,
    form: &Form,
    urls: &TarballUrls,
    hidden: &[String],
    out: Out<'_, T::Error>,
) -> Result<bool, T::Error> {
    match form {
        Form::Full if hidden.is_empty() => full(text, outline, urls, out)?,
        Form::Full => return without::full(text, outline, urls, hidden, out),
        Form::Abbreviated => abbreviated(text, outline, urls, hidden, out)?,
        Form::Manifest(version) => {
            let release = outline.release(version).filter(|release| !hidden.contains(&release.version));
            let Some(release) = release else { return Ok(false) };
            manifest(text, outline, release, urls, out)?;
        }
    }
    Ok(true)
}

/// Renders a document that is all in memory.
#[must_use]
pub fn render_text(document: &str, outline: &Outline, form: &Form, urls: &TarballUrls) -> Option<String> {
    let mut rendered = Vec::with_capacity(document.len());
    let mut out = |piece: &[u8]| -> Result<(), Infallible> {
        rendered.extend_from_slice(piece);
        Ok(())
    };
    let Ok(found) = render(&mut &*document, outline, form, urls, &mut out);
    // Spans begin and end at ASCII characters.
    String::from_utf8(rendered).ok().filter(|_| found)
}

impl Text for &str {
    type Error = Infallible;

    fn copy(&mut self, span: Range<usize>, out: Out<'_, Infallible>) -> Result<(), Infallible> {
        self.as_bytes().get(span).map_or(Ok(()), out)
    }
}

/// Upstream's own bytes with other tarball addresses.
fn full<T: Text>(
    text: &mut T,
    outline: &Outline,
    urls: &TarballUrls,
    out: Out<'_, T::Error>,
) -> Result<(), T::Error> {
    let mut copied = 0;
    for release in outline.releases() {
        copied = copy_until_tarball(text, copied, outline, release, urls, out)?;
    }
    text.copy(copied..outline.length(), out)
}

fn manifest<T: Text>(
    text: &mut T,
    outline: &Outline,
    release: &Release,
    urls: &TarballUrls,
    out: Out<'_, T::Error>,
) -> Result<(), T::Error> {
    let copied = copy_until_tarball(text, release.manifest.start, outline, release, urls, out)?;
    text.copy(copied..release.manifest.end, out)
}

/// The abbreviated form (`application/vnd.npm.install-v1+json`), with the complete `time` map, which the public registry
/// leaves out and without which age gates fail or ask again for the full form.
fn abbreviated<T: Text>(
    text: &mut T,
    outline: &Outline,
    urls: &TarballUrls,
    hidden: &[String],
    out: Out<'_, T::Error>,
) -> Result<(), T::Error> {
    out(head(outline, hidden).as_bytes())?;
    if let Some(time) = &outline.time {
        out(b",\"time\":")?;
        text.copy(time.clone(), out)?;
    }
    out(b",\"versions\":{")?;
    let (mut gathered, mut member) = (Vec::new(), String::new());
    let shown = outline.releases().iter().filter(|release| !hidden.contains(&release.version));
    for (nth, release) in shown.enumerate() {
        gathered.clear();
        manifest(text, outline, release, urls, &mut |piece| {
            gathered.extend_from_slice(piece);
            Ok(())
        })?;
        member.clear();
        if nth > 0 {
            member.push(',');
        }
        push_string(&mut member, &release.version);
        member.push(':');
        push_manifest(&mut member, &gathered);
        out(member.as_bytes())?;
    }
    out(b"}}")
}

/// The abbreviated form up to its dist-tags.
fn head(outline: &Outline, hidden: &[String]) -> String {
    let mut head = String::from("{\"name\":");
    push_string(&mut head, outline.name().as_str());
    if let Some(modified) = outline.modified() {
        head.push_str(",\"modified\":");
        push_string(&mut head, modified);
    }
    head.push_str(",\"dist-tags\":");
    without::push_tags(&mut head, &without::tags(outline, hidden));
    head
}

/// Copies the document from `copied` up to the release's tarball address, and writes the address that the policy wants;
/// says how far the document has been used up.
pub(super) fn copy_until_tarball<T: Text>(
    text: &mut T,
    copied: usize,
    outline: &Outline,
    release: &Release,
    urls: &TarballUrls,
    out: Out<'_, T::Error>,
) -> Result<usize, T::Error> {
    let Some((value, member)) = &release.tarball_at else {
        return Ok(copied);
    };
    let Some(url) = urls.url(outline.name(), &release.file) else {
        text.copy(copied..member.start, out)?;
        return Ok(member.end);
    };
    text.copy(copied..value.start, out)?;
    let mut address = String::with_capacity(url.len() + 2);
    push_string(&mut address, &url);
    out(address.as_bytes())?;
    Ok(value.end)
}
