//! Whether a 304 speaks of the bytes that are held.

/// A document's validators (RFC 9110, section 8.8), as the headers spell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validators<'a> {
    /// `ETag`, with its quotes.
    pub etag: Option<&'a str>,
    /// `Last-Modified`.
    pub last_modified: Option<&'a str>,
}

impl Validators<'_> {
    /// Whether there is anything to ask with.
    #[must_use]
    pub fn any(&self) -> bool {
        self.etag.is_some() || self.last_modified.is_some()
    }

    /// Whether a 304 with the validators `told` confirms what these were sent for: a cache on the way that names
    /// others has something else in hand (RFC 9111, section 4.3.4). One that names none has compared them itself.
    #[must_use]
    pub fn are_confirmed_by(&self, told: Validators<'_>) -> bool {
        match (self.etag, told.etag, self.last_modified, told.last_modified) {
            (Some(held), Some(told), ..) => opaque(held) == opaque(told),
            (_, _, Some(held), Some(told)) => held == told,
            _ => self.any(),
        }
    }
}

/// Without the mark of weakness: a compressed answer's tag is weak, and means the same document.
fn opaque(etag: &str) -> &str {
    etag.trim().trim_start_matches("W/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(etag: Option<&'a str>, last_modified: Option<&'a str>) -> Validators<'a> {
        Validators { etag, last_modified }
    }

    #[test]
    fn a_confirmation_that_names_something_else_is_none() {
        let held = of(Some("W/\"a\""), Some("Sat, 01 Jan 2022 00:00:00 GMT"));
        assert!(held.are_confirmed_by(of(Some("\"a\""), None)));
        assert!(held.are_confirmed_by(of(None, None)));
        assert!(
            held.are_confirmed_by(of(Some("W/\"a\""), Some("Sun, 02 Jan 2022 00:00:00 GMT"))),
            "the tag wins"
        );
        assert!(!held.are_confirmed_by(of(Some("\"b\""), held.last_modified)));
        assert!(!held.are_confirmed_by(of(None, Some("Sun, 02 Jan 2022 00:00:00 GMT"))));
        let dated = of(None, held.last_modified);
        assert!(dated.are_confirmed_by(of(Some("\"b\""), held.last_modified)));
    }

    #[test]
    fn what_was_asked_without_validators_is_confirmed_by_nothing() {
        let none = of(None, None);
        assert!(!none.any());
        assert!(!none.are_confirmed_by(none) && !none.are_confirmed_by(of(Some("\"a\""), None)));
    }
}
