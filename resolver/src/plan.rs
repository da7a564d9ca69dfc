//! The plan for one content: which sources to walk, in which order, and what to say when all fail.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::connectivity::Link;

/// How long a request for held metadata waits for upstream to confirm it, before it is served as it is.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where content can come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Our own disk.
    Store,
    /// The registry of record; after `patience` the next source is tried and the attempt goes on behind.
    Upstream {
        /// `None`: as long as it takes.
        patience: Option<Duration>,
    },
}

/// Ordered sources for one content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// To be tried in this order.
    pub sources: Vec<Source>,
    /// Ask upstream once more behind the client's back.
    pub revalidate_behind: bool,
    /// Why upstream is not among the sources, in words for the client.
    pub obstacle: Option<String>,
}

impl Plan {
    /// The plan for a metadata document: held since `age` (if at all), and served unasked while under `fresh`.
    #[must_use]
    pub fn for_document(age: Option<Duration>, fresh: Duration, link: &Link) -> Self {
        let store = Source::Store;
        match (age, obstacle(link)) {
            (Some(age), _) if age < fresh => Self::of([store], None),
            (Some(_), Some(obstacle)) => Self::of([store], Some(obstacle)),
            (Some(_), None) if *link == Link::Doubtful => {
                Self { revalidate_behind: true, ..Self::of([store], Some("upstream is slow".into())) }
            }
            (Some(_), None) => Self::of([Source::Upstream { patience: Some(PATIENCE) }, store], None),
            (None, Some(obstacle)) => Self::of([], Some(obstacle)),
            (None, None) => Self::of([Source::Upstream { patience: None }], None),
        }
    }

    /// The plan for a tarball. Its bytes never change, so they have no age.
    #[must_use]
    pub fn for_tarball(held: bool, link: &Link) -> Self {
        match (held, obstacle(link)) {
            (true, _) => Self::of([Source::Store], None),
            (false, Some(obstacle)) => Self::of([], Some(obstacle)),
            (false, None) => Self::of([Source::Upstream { patience: None }], None),
        }
    }

    fn of<const N: usize>(sources: [Source; N], obstacle: Option<String>) -> Self {
        Self { sources: sources.into(), revalidate_behind: false, obstacle }
    }
}

fn obstacle(link: &Link) -> Option<String> {
    match link {
        Link::Up | Link::Doubtful => None,
        Link::Down(cause) => Some(alloc::format!("upstream cannot be reached: {cause}")),
        Link::Offline => Some("this gateway is offline".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Duration = Duration::from_secs(300);
    const OLD: Duration = Duration::from_secs(86_400 * 365);

    fn down() -> Link {
        Link::Down("connection refused".into())
    }

    #[test]
    fn what_is_fresh_is_served_whatever_upstream_does() {
        for link in [Link::Up, Link::Doubtful, down(), Link::Offline] {
            assert_eq!(Plan::for_document(Some(Duration::ZERO), FRESH, &link).sources, [Source::Store]);
        }
    }

    #[test]
    fn what_is_held_is_always_served_in_the_end() {
        for link in [Link::Up, Link::Doubtful, down(), Link::Offline] {
            let plan = Plan::for_document(Some(OLD), FRESH, &link);
            assert_eq!(plan.sources.last(), Some(&Source::Store), "{link:?}");
        }
    }

    #[test]
    fn nobody_waits_for_an_upstream_that_is_down_slow_or_forbidden() {
        for link in [Link::Doubtful, down(), Link::Offline] {
            assert_eq!(Plan::for_document(Some(OLD), FRESH, &link).sources, [Source::Store]);
        }
        assert!(Plan::for_document(Some(OLD), FRESH, &Link::Doubtful).revalidate_behind);
    }

    #[test]
    fn what_is_not_held_names_the_obstacle() {
        let plan = Plan::for_document(None, FRESH, &down());
        assert!(plan.sources.is_empty());
        assert_eq!(plan.obstacle.unwrap(), "upstream cannot be reached: connection refused");
        assert!(Plan::for_tarball(false, &Link::Offline).sources.is_empty());
        assert_eq!(Plan::for_tarball(true, &Link::Offline).sources, [Source::Store]);
    }
}
