//! The plan for one content: which sources to walk, in which order, and what to say when all fail.
//!
//! A document that is held is served unasked while it is fresh; then for a while served all the same, and confirmed
//! behind the client's back (RFC 5861, `stale-while-revalidate`); then confirmed first. What upstream fails to
//! confirm is served however old it is (`stale-if-error`, without a limit).

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::connectivity::Link;

/// How long a request for held metadata waits for upstream to confirm it, before it is served as it is.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often clients can make us ask about one package: what upstream said so lately is its word now.
pub const INSIST_PAUSE: Duration = Duration::from_secs(5);
/// How long upstream's 404 for what is not held is believed: one install asks for the same thing several times, and
/// whoever has just published does not wait long.
const ABSENCE: Duration = Duration::from_secs(10);
/// How long a confirmation (304) is enough. A cache between here and upstream that confirms what upstream has long
/// replaced is found out once a day.
const CONFIRMABLE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a package that upstream failed is not asked for behind a client's back.
const REST: Duration = Duration::from_secs(5);
/// The rest that upstream may ask for with `Retry-After`, at most: whatever it says, it is tried once a minute.
const LONGEST_REST: Duration = Duration::from_secs(60);

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

/// For how long a document that upstream has confirmed is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Unasked.
    pub fresh: Duration,
    /// After that, while upstream is asked behind the client's back.
    pub stale: Duration,
}

/// What a client expects of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// That it is as fresh as the configuration says.
    Usual,
    /// That upstream confirms it now (`Cache-Control: no-cache`).
    Confirmed,
}

/// Whether upstream has failed a package a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// No.
    None,
    /// Yes: nobody asks for it behind a client's back, or because a client insists.
    Failed,
    /// Yes, and it has said how long it wants to be left alone.
    Asked,
}

/// What is known of a document that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Since upstream last confirmed it.
    pub age: Duration,
    /// Whether its package is left alone.
    pub rest: Rest,
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

enum Freshness {
    Fresh,
    Usable,
    Stale,
}

impl Windows {
    /// Without a time in which it is confirmed behind the client's back.
    #[must_use]
    pub const fn fresh(fresh: Duration) -> Self {
        Self { fresh, stale: Duration::ZERO }
    }

    /// How long it is still fresh, and how long after that still usable.
    #[must_use]
    pub fn left(&self, age: Duration) -> (Duration, Duration) {
        let over = age.saturating_sub(self.fresh);
        (self.fresh.saturating_sub(age), self.stale.saturating_sub(over))
    }

    fn of(&self, held: &Held, wish: Wish) -> Freshness {
        match self.left(held.age) {
            // What upstream has just failed to say, it is not asked for again because somebody insists.
            _ if wish == Wish::Confirmed && held.rest == Rest::None => Freshness::Stale,
            (fresh, _) if !fresh.is_zero() => Freshness::Fresh,
            (_, usable) if !usable.is_zero() => Freshness::Usable,
            _ => Freshness::Stale,
        }
    }
}

impl Rest {
    /// How long a package rests after a failure, and of which kind the rest is, given the `Retry-After` that upstream
    /// sent with it.
    #[must_use]
    pub fn after(asked: Option<Duration>) -> (Duration, Self) {
        asked.map_or((REST, Self::Failed), |pause| (pause.min(LONGEST_REST), Self::Asked))
    }
}

/// Whether upstream may be asked because a client insists, given when it was last asked for that reason.
#[must_use]
pub fn may_insist(since_last: Option<Duration>) -> bool {
    since_last.is_none_or(|since| since >= INSIST_PAUSE)
}

/// Whether upstream's word of `since` ago, that it has no such thing, is still believed.
#[must_use]
pub fn is_absent(since: Duration, wish: Wish) -> bool {
    since < if wish == Wish::Confirmed { INSIST_PAUSE } else { ABSENCE }
}

/// Whether a confirmation is enough for a document that upstream last sent so long ago.
#[must_use]
pub fn is_confirmable(since_sent: Duration) -> bool {
    since_sent < CONFIRMABLE
}

impl Plan {
    /// The plan for a metadata document.
    #[must_use]
    pub fn for_document(held: Option<&Held>, wish: Wish, windows: &Windows, link: &Link) -> Self {
        let Some(held) = held else {
            return Self::for_missing(link);
        };
        let store = Source::Store;
        match (windows.of(held, wish), obstacle(link)) {
            (Freshness::Fresh, _) => Self::of([store], None),
            (_, Some(obstacle)) => Self::of([store], Some(obstacle)),
            (Freshness::Usable, None) => Self::behind(held, None),
            (Freshness::Stale, None) if held.rest == Rest::Asked => {
                Self::of([store], Some("upstream wants to be left alone for a while".into()))
            }
            (Freshness::Stale, None) if *link == Link::Doubtful => {
                Self::behind(held, Some("upstream is slow".into()))
            }
            (Freshness::Stale, None) => {
                Self::of([Source::Upstream { patience: Some(PATIENCE) }, store], None)
            }
        }
    }

    fn for_missing(link: &Link) -> Self {
        match obstacle(link) {
            Some(obstacle) => Self::of([], Some(obstacle)),
            None => Self::of([Source::Upstream { patience: None }], None),
        }
    }

    fn behind(held: &Held, obstacle: Option<String>) -> Self {
        let revalidate_behind = held.rest == Rest::None;
        Self { revalidate_behind, ..Self::of([Source::Store], obstacle) }
    }

    /// The plan for a tarball. Its bytes never change, so they have no age.
    #[must_use]
    pub fn for_tarball(held: bool, link: &Link) -> Self {
        if held { Self::of([Source::Store], None) } else { Self::for_missing(link) }
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
    use proptest::prelude::*;

    const WINDOWS: Windows = Windows { fresh: Duration::from_secs(300), stale: Duration::from_secs(3600) };
    const FRESH: Duration = Duration::from_secs(299);
    const USABLE: Duration = Duration::from_secs(300);
    const OLD: Duration = Duration::from_secs(86_400 * 365);
    const FIRST: [Source; 2] = [Source::Upstream { patience: Some(PATIENCE) }, Source::Store];

    fn links() -> [Link; 4] {
        [Link::Up, Link::Doubtful, down(), Link::Offline]
    }

    fn down() -> Link {
        Link::Down("connection refused".into())
    }

    fn plan(age: Duration, rest: Rest, wish: Wish, link: &Link) -> Plan {
        Plan::for_document(Some(&Held { age, rest }), wish, &WINDOWS, link)
    }

    fn usual(age: Duration, link: &Link) -> Plan {
        plan(age, Rest::None, Wish::Usual, link)
    }

    #[test]
    fn what_is_fresh_is_served_whatever_upstream_does() {
        for link in links() {
            for age in [Duration::ZERO, FRESH] {
                assert_eq!(usual(age, &link), Plan::of([Source::Store], None), "{link:?}");
            }
        }
    }

    #[test]
    fn what_is_usable_is_served_at_once_and_confirmed_behind_while_upstream_can_be_asked() {
        for age in [USABLE, Duration::from_secs(3899)] {
            for link in [Link::Up, Link::Doubtful] {
                let plan = usual(age, &link);
                assert_eq!(
                    (plan.sources, plan.revalidate_behind),
                    ([Source::Store].into(), true),
                    "{link:?}"
                );
                assert_eq!(plan.obstacle, None);
            }
            for link in [down(), Link::Offline] {
                let plan = usual(age, &link);
                assert_eq!(
                    (plan.sources, plan.revalidate_behind),
                    ([Source::Store].into(), false),
                    "{link:?}"
                );
                assert!(plan.obstacle.is_some());
            }
        }
        assert_eq!(usual(Duration::from_secs(3900), &Link::Up).sources, FIRST);
    }

    #[test]
    fn nobody_waits_for_an_upstream_that_is_down_slow_or_forbidden() {
        for wish in [Wish::Usual, Wish::Confirmed] {
            for link in [Link::Doubtful, down(), Link::Offline] {
                assert_eq!(plan(OLD, Rest::None, wish, &link).sources, [Source::Store]);
            }
            assert!(plan(OLD, Rest::None, wish, &Link::Doubtful).revalidate_behind);
        }
    }

    #[test]
    fn who_insists_is_served_what_upstream_confirms() {
        for age in [Duration::ZERO, FRESH, USABLE, OLD] {
            assert_eq!(plan(age, Rest::None, Wish::Confirmed, &Link::Up).sources, FIRST);
        }
        assert_eq!(plan(FRESH, Rest::Failed, Wish::Confirmed, &Link::Up).sources, [Source::Store]);
        assert!(may_insist(None) && may_insist(Some(INSIST_PAUSE)));
        assert!(!may_insist(Some(INSIST_PAUSE - Duration::from_nanos(1))));
    }

    #[test]
    fn a_package_that_upstream_has_just_failed_is_not_asked_for_behind() {
        for rest in [Rest::Failed, Rest::Asked] {
            assert_eq!(plan(USABLE, rest, Wish::Usual, &Link::Up), Plan::of([Source::Store], None));
            assert!(!plan(OLD, rest, Wish::Usual, &Link::Doubtful).revalidate_behind);
        }
        assert_eq!(plan(OLD, Rest::Failed, Wish::Usual, &Link::Up).sources, FIRST);
        let asked = plan(OLD, Rest::Asked, Wish::Usual, &Link::Up);
        assert_eq!((asked.sources, asked.obstacle.is_some()), ([Source::Store].into(), true));
    }

    #[test]
    fn the_rest_that_upstream_asks_for_is_granted_within_bounds() {
        let s = Duration::from_secs;
        assert_eq!(Rest::after(None), (REST, Rest::Failed));
        assert_eq!(Rest::after(Some(s(30))), (s(30), Rest::Asked));
        assert_eq!(Rest::after(Some(s(86_400))), (LONGEST_REST, Rest::Asked));
    }

    #[test]
    fn an_absence_is_believed_for_ten_seconds_and_a_confirmation_for_a_day() {
        let s = Duration::from_secs;
        assert!(is_absent(s(9), Wish::Usual) && !is_absent(s(10), Wish::Usual));
        assert!(is_absent(s(4), Wish::Confirmed) && !is_absent(s(5), Wish::Confirmed));
        assert!(is_confirmable(s(86_399)) && !is_confirmable(s(86_400)) && !is_confirmable(Duration::MAX));
    }

    #[test]
    fn what_is_not_held_names_the_obstacle() {
        let plan = Plan::for_document(None, Wish::Usual, &WINDOWS, &down());
        assert!(plan.sources.is_empty());
        assert_eq!(plan.obstacle.unwrap(), "upstream cannot be reached: connection refused");
        assert!(Plan::for_tarball(false, &Link::Offline).sources.is_empty());
        assert_eq!(Plan::for_tarball(true, &Link::Offline).sources, [Source::Store]);
    }

    proptest! {
        #[test]
        fn what_is_held_is_always_served_in_the_end(
            age in 0u64..100_000_000,
            rest in prop_oneof![Just(Rest::None), Just(Rest::Failed), Just(Rest::Asked)],
            wish in prop_oneof![Just(Wish::Usual), Just(Wish::Confirmed)],
            link in 0usize..4,
        ) {
            let plan = plan(Duration::from_secs(age), rest, wish, &links()[link]);
            prop_assert_eq!(plan.sources.last(), Some(&Source::Store));
        }

        #[test]
        fn the_windows_follow_each_other_without_a_gap(age in 0u64..10_000) {
            let (fresh, usable) = WINDOWS.left(Duration::from_secs(age));
            let left = Duration::from_secs(3900).saturating_sub(Duration::from_secs(age));
            prop_assert_eq!(fresh + usable, left);
        }
    }
}
