//! JSON read as spans: the members of an object in their order, each value where it stands in the document.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of one object, in the document's order; values unread.
pub(super) struct Members<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor).map(Members)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

/// Where `part`, a slice of `document`, stands in it.
pub(super) fn span(document: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - document.as_ptr() as usize;
    start..start + part.len()
}

/// Widens the span of a member's value to the whole member, with its key and one comma, so that cutting it
/// out leaves valid JSON.
pub(super) fn member_around(document: &str, value: &Range<usize>) -> Range<usize> {
    let before = document[..value.start].trim_end();
    let key = before.strip_suffix(':').unwrap_or(before).trim_end();
    let start = opening_quote(key);
    let after = &document[value.end..];
    let behind = after.trim_start();
    if let Some(rest) = behind.strip_prefix(',') {
        let next = rest.trim_start();
        return start..document.len() - next.len();
    }
    match document[..start].trim_end().strip_suffix(',') {
        Some(kept) => kept.len()..value.end,
        None => start..value.end,
    }
}

/// Where the string literal at the end of `text` begins.
fn opening_quote(text: &str) -> usize {
    let inner = text.strip_suffix('"').unwrap_or(text);
    inner
        .match_indices('"')
        .rev()
        .map(|(at, _)| at)
        .find(|at| inner[..*at].bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0)
        .unwrap_or(0)
}

/// Appends `text` as a JSON string.
pub(super) fn push_string(out: &mut String, text: &str) {
    // Serialising a string to a string cannot fail.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}
