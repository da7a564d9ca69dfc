//! bun.lock: JSON with trailing commas and comments, one array per package:
//! `["left@1.0.0", "<address, if not of the default registry>", {…}, "sha512-…"]`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use resolver::integrity::Expected;
use serde::Deserialize;
use serde_json::Value;

use super::collect::{Collector, Entry, elsewhere, split};
use super::error::malformed_json;
use super::scalar::Scalar;
use super::{Format, LockfileError, Why};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    lockfile_version: Scalar,
    #[serde(default)]
    packages: BTreeMap<String, Vec<Value>>,
}

pub(super) fn read(text: &str, collector: &mut Collector<'_>) -> Result<(), LockfileError> {
    let plain = without_trailing_commas(text);
    let document: Document =
        serde_json::from_str(&plain).map_err(|error| malformed_json(Format::Bun.name(), &error))?;
    let version = document.lockfile_version.as_str().unwrap_or_default();
    if !matches!(version, "0" | "1" | "2") {
        return Err(LockfileError::Version { format: Format::Bun.name(), version: version.to_owned() });
    }
    document.packages.iter().try_for_each(|(key, package)| take(key, package, collector))
}

fn take(key: &str, package: &[Value], collector: &mut Collector<'_>) -> Result<(), LockfileError> {
    let text = |at: usize| package.get(at).and_then(Value::as_str);
    let Some((name, version)) = text(0).and_then(split) else {
        return collector.leave(key, Why::Unusable("it has no name and version".into()));
    };
    if package.get(2).is_some_and(|about| about["bundled"] == Value::Bool(true)) {
        return Ok(());
    }
    let version_is_address = version.contains("://") || elsewhere(version).is_some();
    let local = (!version_is_address && (version.ends_with(".tgz") || version.ends_with(".tar.gz")))
        .then_some("file:");
    let from = local.or_else(|| if version_is_address { Some(version) } else { text(1) });
    let expected = text(3).and_then(Expected::from_sri);
    collector.take(&Entry { name, version, from, expected, optional: false })
}

/// The same text with a space for each comma before a closing bracket and for each byte of a comment, so that lines
/// stay what they were.
pub(super) fn without_trailing_commas(text: &str) -> Cow<'_, str> {
    let mut bytes = text.as_bytes().to_vec();
    let (mut at, mut comma) = (0, None);
    while at < bytes.len() {
        let end = match (bytes[at], bytes.get(at + 1)) {
            (b'"', _) => end_of_string(&bytes, at),
            (b'/', Some(b'/')) => blank(&mut bytes, at, |rest| find(rest, b"\n")),
            (b'/', Some(b'*')) => blank(&mut bytes, at, |rest| find(rest, b"*/").map(|end| end + 2)),
            (byte, _) => {
                match byte {
                    b',' => comma = Some(at),
                    b'}' | b']' => {
                        if let Some(comma) = comma.take() {
                            bytes[comma] = b' ';
                        }
                    }
                    _ if byte.is_ascii_whitespace() => {}
                    _ => comma = None,
                }
                at += 1;
                continue;
            }
        };
        if bytes[at] == b'"' {
            comma = None;
        }
        at = end;
    }
    // Only whole comments and single ASCII bytes were replaced, by ASCII.
    String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Behind the closing quote.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// Blanks a comment, but for its line breaks, and gives the place behind it.
fn blank(bytes: &mut [u8], start: usize, length: impl Fn(&[u8]) -> Option<usize>) -> usize {
    let rest = bytes.get(start + 2..).unwrap_or_default();
    let end = length(rest).map_or(bytes.len(), |length| start + 2 + length);
    for byte in &mut bytes[start..end] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
    end
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
