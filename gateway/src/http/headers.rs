//! Header values, read and written.

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, PRAGMA};
use resolver::plan::Wish;
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

/// Whether the client wants upstream's word and not ours (RFC 9111, sections 5.2.1 and 5.4).
pub(super) fn wish(headers: &HeaderMap) -> Wish {
    let name = if headers.contains_key(CACHE_CONTROL) { CACHE_CONTROL } else { PRAGMA };
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    let mut directives = lines.flat_map(|line| line.split(',')).map(str::trim);
    let insists = |one: &str| one.eq_ignore_ascii_case("no-cache") || one.eq_ignore_ascii_case("max-age=0");
    if directives.any(insists) { Wish::Confirmed } else { Wish::Usual }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_wants_upstreams_word_says_so_in_cache_control_or_else_in_pragma() {
        let of = |lines: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, line) in lines {
                headers.append(*name, line.parse().unwrap());
            }
            wish(&headers)
        };
        for line in ["no-cache", "max-age=0", "no-transform, No-Cache", "max-stale=5,max-age=0"] {
            assert_eq!(of(&[("cache-control", line)]), Wish::Confirmed, "{line}");
        }
        assert_eq!(of(&[("cache-control", "no-transform"), ("cache-control", "no-cache")]), Wish::Confirmed);
        assert_eq!(of(&[("pragma", "no-cache")]), Wish::Confirmed);
        assert_eq!(of(&[("pragma", "no-cache"), ("cache-control", "max-age=60")]), Wish::Usual);
        for line in ["", "max-age=00x", "max-age=60", "no-store", "only-if-cached"] {
            assert_eq!(of(&[("cache-control", line)]), Wish::Usual, "{line}");
        }
    }
}
