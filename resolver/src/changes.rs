//! The change feed of a registry, as npm's replication API gives it since 2025: where to go on, and what a page says.
//!
//! ```text
//! GET <feed>                            {"update_seq": 117350000, ...}
//! GET <feed>/_changes?since=n&limit=m   {"results": [{"seq": 117350001, "id": "left", ...}], "last_seq": ...}
//! ```
//!
//! The feed is an optimisation: whatever is missed here is found out when a document is no longer fresh.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use serde::Deserialize;

use crate::package::PackageName;

/// The most sequences that are caught up with: some 100 pages. Beyond, it is cheaper to confirm what is asked for.
const FARTHEST: u64 = 100_000;
/// The pauses after failures in a row: the first, and the longest that doubling comes to.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Where a follower stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing connects what is held to the feed: it has to be followed from its present end, and everything held may
    /// have changed meanwhile.
    Lost(Why),
    /// So many sequences behind.
    Behind(u64),
    /// At its end.
    AtEnd,
}

/// Why a follower is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It was not followed before.
    New,
    /// The feed ends before the place where it was left: it began anew.
    Ahead,
    /// Too much has happened meanwhile.
    TooFar,
    /// The feed no longer knows that place.
    Gone,
}

/// A page of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The packages that have changed, each once; what is no package's name is left out.
    pub names: Vec<PackageName>,
    /// Where the next page begins.
    pub next: u64,
}

/// An answer that is none of the feed's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a change feed: {0}")]
pub struct InvalidFeed(String);

#[derive(Deserialize)]
struct Root {
    update_seq: u64,
}

#[derive(Deserialize)]
struct Changes {
    results: Vec<Change>,
    last_seq: Option<u64>,
}

#[derive(Deserialize)]
struct Change {
    seq: u64,
    id: String,
}

impl Why {
    /// In words, for the log.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::New => "it was not followed before",
            Self::Ahead => "it ends before the place where it was left",
            Self::TooFar => "too much has changed since it was left",
            Self::Gone => "it no longer knows the place where it was left",
        }
    }
}

/// Where a follower stands that has read up to `since`, when the feed's end is at `end`.
#[must_use]
pub fn standing(since: Option<u64>, end: u64) -> Standing {
    match since {
        None => Standing::Lost(Why::New),
        Some(since) if since > end => Standing::Lost(Why::Ahead),
        Some(since) if end - since > FARTHEST => Standing::Lost(Why::TooFar),
        Some(since) if since == end => Standing::AtEnd,
        Some(since) => Standing::Behind(end - since),
    }
}

/// The pause after so many failures in a row, at least as long as the feed asked for within the bound.
#[must_use]
pub fn pause(failures: u32, asked: Option<Duration>) -> Duration {
    let usual = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)));
    usual.max(asked.unwrap_or_default()).min(LAST_PAUSE)
}

/// The feed's end, from its root document.
///
/// # Errors
/// [`InvalidFeed`] when it is something else, or its sequences are no numbers.
pub fn end(root: &str) -> Result<u64, InvalidFeed> {
    serde_json::from_str::<Root>(root).map(|root| root.update_seq).map_err(|error| invalid(&error))
}

impl Page {
    /// Reads the page that begins after `since`, of at most `limit` changes.
    ///
    /// # Errors
    /// [`InvalidFeed`] when it is something else, or goes nowhere or back.
    pub fn read(document: &str, since: u64, limit: usize) -> Result<Self, InvalidFeed> {
        let changes: Changes = serde_json::from_str(document).map_err(|error| invalid(&error))?;
        if changes.results.iter().any(|change| change.seq <= since) {
            return Err(InvalidFeed("it tells again what was asked to be left out".into()));
        }
        let last = changes.results.iter().map(|change| change.seq).max().unwrap_or(since);
        // Of a full page only its rows are sure to have been read.
        let is_full = changes.results.len() >= limit;
        let end = changes.last_seq.filter(|end| !is_full && *end > last).unwrap_or(last);
        let names: BTreeSet<_> =
            changes.results.iter().filter_map(|change| PackageName::parse(&change.id).ok()).collect();
        Ok(Self { names: names.into_iter().collect(), next: end })
    }
}

fn invalid(error: &serde_json::Error) -> InvalidFeed {
    InvalidFeed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page(document: &str) -> Result<Page, InvalidFeed> {
        Page::read(document, 10, 3)
    }

    fn names(page: &Page) -> Vec<&str> {
        page.names.iter().map(PackageName::as_str).collect()
    }

    #[test]
    fn a_follower_knows_where_it_stands() {
        assert_eq!(standing(None, 5), Standing::Lost(Why::New));
        assert_eq!(standing(Some(6), 5), Standing::Lost(Why::Ahead));
        assert_eq!(standing(Some(5), 5), Standing::AtEnd);
        assert_eq!(standing(Some(0), FARTHEST), Standing::Behind(FARTHEST));
        assert_eq!(standing(Some(0), FARTHEST + 1), Standing::Lost(Why::TooFar));
    }

    #[test]
    fn a_page_gives_each_package_once_and_where_to_go_on() {
        let rows = r#"{"results":[
            {"seq":12,"id":"left","changes":[{"rev":"3-c"}]},
            {"seq":11,"id":"@scope/right","changes":[{"rev":"1-a"}],"deleted":true},
            {"seq":14,"id":"left","changes":[]}],"last_seq":20}"#;
        let full = page(rows).unwrap();
        assert_eq!((names(&full), full.next), (["@scope/right", "left"].to_vec(), 14));
        assert_eq!(Page::read(rows, 10, 1000).unwrap().next, 20, "a page that is not full ends at the end");
        let odd = page(r#"{"results":[{"seq":11,"id":"_design/app"},{"seq":12,"id":""}]}"#).unwrap();
        assert_eq!((odd.names.len(), odd.next), (0, 12), "what has no such name is passed by");
        assert_eq!(page(r#"{"results":[],"last_seq":10}"#).unwrap().next, 10);
        assert_eq!(page(r#"{"results":[],"last_seq":3}"#).unwrap().next, 10, "it never goes back");
    }

    #[test]
    fn what_is_no_feed_is_told_apart() {
        let documents = [
            "",
            "[]",
            "{}",
            r#"{"results":[{"id":"left"}]}"#,
            r#"{"results":[{"seq":"11-g1AA","id":"left"}]}"#,
            r#"{"results":[{"seq":10,"id":"left"}]}"#,
            r#"{"results":[{"seq":-1,"id":"left"}]}"#,
            "<html>",
        ];
        for document in documents {
            assert!(page(document).is_err(), "{document}");
        }
        assert_eq!(end(r#"{"db_name":"registry","doc_count":3,"update_seq":117350000}"#), Ok(117_350_000));
        for root in ["{}", r#"{"update_seq":"7-g1AA"}"#, r#"{"update_seq":-7}"#, "null"] {
            assert!(end(root).is_err(), "{root}");
        }
    }

    #[test]
    fn pauses_double_up_to_five_minutes_and_are_as_long_as_the_feed_asks() {
        let s = Duration::from_secs;
        let pauses: Vec<_> = (1..=11).map(|failures| pause(failures, None).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(pause(1, Some(s(60))), s(60));
        assert_eq!(pause(1, Some(s(86_400))), LAST_PAUSE);
        assert_eq!(pause(u32::MAX, None), LAST_PAUSE);
    }

    proptest! {
        #[test]
        fn whoever_follows_never_goes_back_and_stands_somewhere(
            since in proptest::option::of(0u64..u64::MAX), end in 0u64..u64::MAX,
        ) {
            match standing(since, end) {
                Standing::Behind(lag) => prop_assert!(lag > 0 && since.unwrap() + lag == end),
                Standing::AtEnd => prop_assert_eq!(since, Some(end)),
                Standing::Lost(_) => prop_assert!(since != Some(end)),
            }
        }

        #[test]
        fn no_page_goes_back(seqs in proptest::collection::vec(0u64..50, 0..8), last in 0u64..60, since in 0u64..50) {
            let rows: Vec<_> = seqs.iter().map(|seq| alloc::format!(r#"{{"seq":{seq},"id":"left"}}"#)).collect();
            let document = alloc::format!(r#"{{"results":[{}],"last_seq":{last}}}"#, rows.join(","));
            if let Ok(page) = Page::read(&document, since, 4) {
                prop_assert!(page.next >= since);
                prop_assert!(seqs.is_empty() || page.next > since);
            }
        }
    }
}
