//! yarn.lock of yarn 1: a format of its own, of lines.
//!
//! ```text
//! "alias@npm:left@^1.0.0", left@^1.0.0:
//!   version "1.0.0"
//!   resolved "https://…/left-1.0.0.tgz#<SHA-1>"
//!   integrity sha512-…
//!   dependencies:
//!     leaf "^1.0.0"
//! ```

use std::borrow::Cow;

use resolver::integrity::{Expected, Shasum};

use super::LockfileError;
use super::collect::{Collector, Entry, elsewhere, split};

/// One block of lines.
#[derive(Default)]
struct Block<'a> {
    /// The first of the patterns that it answers.
    pattern: Cow<'a, str>,
    version: Cow<'a, str>,
    resolved: Option<Cow<'a, str>>,
    integrity: Option<Cow<'a, str>>,
}

pub(super) fn read(text: &str, collector: &mut Collector<'_>) -> Result<(), LockfileError> {
    let mut block: Option<Block<'_>> = None;
    for (number, line) in text.lines().enumerate() {
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let malformed = |words: &str| LockfileError::Malformed { line: number + 1, words: words.to_owned() };
        match line.len() - content.len() {
            0 => {
                let pattern = first_pattern(content).ok_or_else(|| malformed("no pattern before a colon"))?;
                if let Some(done) = block.replace(Block { pattern, ..Block::default() }) {
                    take(&done, collector)?;
                }
            }
            2 => {
                let block = block.as_mut().ok_or_else(|| malformed("a line of no package"))?;
                set(block, content).ok_or_else(|| malformed("neither a name and a value nor a list"))?;
            }
            // What it depends on has blocks of its own.
            _ => {}
        }
    }
    block.map_or(Ok(()), |done| take(&done, collector))
}

fn take(block: &Block<'_>, collector: &mut Collector<'_>) -> Result<(), LockfileError> {
    let (name, range) = split(&block.pattern).unwrap_or((&block.pattern, ""));
    let name = range.strip_prefix("npm:").map_or(name, |real| split(real).map_or(real, |(name, _)| name));
    let resolved = block.resolved.as_deref().unwrap_or_default();
    let (address, fragment) = resolved.split_once('#').unwrap_or((resolved, ""));
    let sri = block.integrity.as_deref().and_then(Expected::from_sri);
    let expected = sri.or_else(|| Shasum::from_hex(fragment).map(Expected::Shasum));
    // Without an address it is of the registry, unless what was asked for is not.
    let from = match elsewhere(range) {
        Some(_) => range,
        None if elsewhere(resolved).is_some() => resolved,
        None if address.is_empty() && range.contains("://") => range,
        None => address,
    };
    collector.take(&Entry { name, version: &block.version, from: Some(from), expected, optional: false })
}

/// The first of `"a@1", b@2:`.
fn first_pattern(line: &str) -> Option<Cow<'_, str>> {
    let patterns = line.strip_suffix(':')?;
    match patterns.starts_with('"') {
        true => value(patterns),
        false => {
            patterns.split(',').next().map(str::trim).filter(|first| !first.is_empty()).map(Cow::Borrowed)
        }
    }
}

fn set<'a>(block: &mut Block<'a>, line: &'a str) -> Option<()> {
    let Some((key, rest)) = line.split_once(' ') else {
        return line.ends_with(':').then_some(());
    };
    let text = value(rest.trim())?;
    match key {
        "version" => block.version = text,
        "resolved" => block.resolved = Some(text),
        "integrity" => block.integrity = Some(text),
        _ => {}
    }
    Some(())
}

/// A word, or the JSON string at the beginning of the text.
fn value(text: &str) -> Option<Cow<'_, str>> {
    if !text.starts_with('"') {
        return Some(Cow::Borrowed(text));
    }
    let mut strings = serde_json::Deserializer::from_str(text).into_iter::<String>();
    strings.next()?.ok().map(Cow::Owned)
}
