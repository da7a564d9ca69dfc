//! What happened to packages a moment ago: who was asked for, who failed, who is not there, who has changed.
//!
//! All of it spares requests and nothing more: what a full table pushes out costs one request too many.

use std::time::Duration;

use quick_cache::sync::Cache;
use resolver::package::PackageName;
use resolver::plan::{self, Rest, Wish};
use tokio::time::Instant;

/// Names in each table: those of several large installs at once. With the longest names it is 1 MB.
const MOST: usize = 4096;

/// See the module.
pub(super) struct Lately {
    /// When upstream was last asked because somebody insisted.
    insisted: Cache<PackageName, Instant>,
    /// Until when a package rests.
    resting: Cache<PackageName, (Instant, Rest)>,
    /// When upstream said that there is no such package.
    absent: Cache<PackageName, Instant>,
    /// When we were told that a package has changed.
    changed: Cache<PackageName, Instant>,
}

impl Default for Lately {
    fn default() -> Self {
        Self {
            insisted: Cache::new(MOST),
            resting: Cache::new(MOST),
            absent: Cache::new(MOST),
            changed: Cache::new(MOST),
        }
    }
}

impl Lately {
    /// Whether upstream may be asked because a client insists; if so, it is taken to be asked now.
    pub(super) fn may_insist(&self, name: &PackageName) -> bool {
        let now = Instant::now();
        let since_last = self.insisted.get(name).map(|at| now.saturating_duration_since(at));
        let may = plan::may_insist(since_last);
        if may {
            self.insisted.insert(name.clone(), now);
        }
        may
    }

    /// Whether the package is left alone at the moment.
    pub(super) fn rest(&self, name: &PackageName) -> Rest {
        let (until, rest) = self.resting.get(name).unwrap_or((Instant::now(), Rest::None));
        if Instant::now() < until { rest } else { Rest::None }
    }

    /// Upstream has failed the package, and may have said how long it wants to be left alone.
    pub(super) fn failed(&self, name: &PackageName, asked: Option<Duration>) {
        let (period, rest) = Rest::after(asked);
        self.resting.insert(name.clone(), (Instant::now() + period, rest));
    }

    /// Upstream has given the package.
    pub(super) fn given(&self, name: &PackageName) {
        self.resting.remove(name);
        self.absent.remove(name);
    }

    /// Upstream has said that there is no such package.
    pub(super) fn missing(&self, name: &PackageName) {
        self.resting.remove(name);
        self.absent.insert(name.clone(), Instant::now());
    }

    /// Whether upstream has said so, and is still believed.
    pub(super) fn is_absent(&self, name: &PackageName, wish: Wish) -> bool {
        self.absent.get(name).is_some_and(|at| plan::is_absent(at.elapsed(), wish))
    }

    /// Somebody has said that the package has changed, perhaps while upstream is being asked for it.
    pub(super) fn changed(&self, name: &PackageName, is_asked_for: bool) {
        self.absent.remove(name);
        if is_asked_for {
            self.changed.insert(name.clone(), Instant::now());
        }
    }

    /// Whether somebody has said so since then.
    pub(super) fn has_changed_since(&self, name: &PackageName, then: Instant) -> bool {
        self.changed.get(name).is_some_and(|at| at >= then)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left() -> PackageName {
        PackageName::parse("left").unwrap()
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_insist_cost_one_request_in_five_seconds() {
        let lately = Lately::default();
        let mut asked = 0;
        for _ in 0..100 {
            asked += u32::from(lately.may_insist(&left()));
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert_eq!(asked, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_package_rests_as_long_as_upstream_asked_and_no_longer() {
        let lately = Lately::default();
        assert_eq!(lately.rest(&left()), Rest::None);
        lately.failed(&left(), Some(seconds(30)));
        tokio::time::advance(seconds(29)).await;
        assert_eq!(lately.rest(&left()), Rest::Asked);
        tokio::time::advance(seconds(1)).await;
        assert_eq!(lately.rest(&left()), Rest::None);
        lately.failed(&left(), None);
        assert_eq!(lately.rest(&left()), Rest::Failed);
        lately.given(&left());
        assert_eq!(lately.rest(&left()), Rest::None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_absence_ends_by_itself_by_news_and_by_the_package_itself() {
        let lately = Lately::default();
        let is_absent = || lately.is_absent(&left(), Wish::Usual);
        let ends: [&dyn Fn(); 2] = [&|| lately.changed(&left(), false), &|| lately.given(&left())];
        for end in ends {
            lately.missing(&left());
            assert!(is_absent());
            end();
            assert!(!is_absent());
        }
        lately.missing(&left());
        tokio::time::advance(seconds(10)).await;
        assert!(!is_absent());
    }

    #[test]
    fn the_tables_are_bounded() {
        let lately = Lately::default();
        for number in 0..3 * MOST {
            lately.missing(&PackageName::parse(&format!("made-up-{number}")).unwrap());
        }
        assert!(lately.absent.len() <= MOST);
    }
}
