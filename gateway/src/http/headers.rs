//! Header values, read and written.

use http::header::{HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};
use resolver::variant;

/// npm's header for the digest that a lockfile or a packument has promised.
pub(super) const PACOTE_INTEGRITY: HeaderName = HeaderName::from_static("pacote-integrity");

/// A header as text; one that is not is treated as not there.
pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A header value of our own making; one that cannot be sent is left out.
pub(super) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Whether `If-None-Match`, on however many lines, names this entity tag; `None` when it is not there.
pub(super) fn names_tag(headers: &HeaderMap, etag: &str) -> Option<bool> {
    let mut lines = headers.get_all(IF_NONE_MATCH).iter().peekable();
    lines.peek()?;
    Some(lines.any(|tags| tags.to_str().is_ok_and(|tags| variant::none_match_names(tags, etag))))
}
