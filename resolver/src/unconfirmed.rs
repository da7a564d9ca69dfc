//! Which held packages a change feed has cast doubt on, until each has been confirmed: while there is one, nobody may be told that all that
//! is held is upstream's word of now.
//!
//! A bounded number is known by name; beyond that all that is held is gone over once more, in the order of names.

use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::freshness::EXCEPTED;
use crate::package::PackageName;

/// Packages that are known by name: those that change at npm in some minutes. With the longest names they are 1 MB.
const NAMED: usize = 4096;
/// While more than so many are known by name, no more are looked for.
const ENOUGH: usize = NAMED / 2;
/// What was not confirmed is asked for again after so long.
const AGAIN: Duration = Duration::from_secs(10);
/// So often a package is asked for before the others are spoken of without it: half a minute, in which a server has restarted.
const TRIES: u8 = 3;

/// See the module. Times of the day are in milliseconds since 1970; those of work are of any clock that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unconfirmed {
    named: BTreeMap<PackageName, Doubt>,
    /// Of what is held, whatever comes behind this name has not been looked at.
    behind: Option<String>,
}

/// What casts doubt on a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Doubt {
    /// When it was told that it has changed: what upstream says from then on counts.
    told_ms: u64,
    /// When it may be asked for.
    due: Duration,
    /// How often upstream was asked in vain, since it was last confirmed.
    tries: u8,
}

impl Unconfirmed {
    /// All that is held, for nobody knows what has changed.
    #[must_use]
    pub fn all() -> Self {
        Self { named: BTreeMap::new(), behind: Some(String::new()) }
    }

    /// Everything is to be gone over: changes have gone by without a word.
    pub fn go_over(&mut self) {
        *self = Self::all();
    }

    /// A package that is held has changed.
    pub fn tell(&mut self, name: PackageName, told_ms: u64) {
        if self.named.len() < NAMED || self.named.contains_key(&name) {
            let tries = self.named.get(&name).map_or(0, |doubt| doubt.tries);
            self.named.insert(name, Doubt { told_ms, due: Duration::ZERO, tries });
        } else {
            self.go_over();
        }
    }

    /// Behind which name the next ones that are held are to be looked at; `None`: all have been, or there is enough to do.
    #[must_use]
    pub fn wants_behind(&self) -> Option<&str> {
        self.behind.as_deref().filter(|_| self.named.len() <= ENOUGH)
    }

    /// These are doubtful among what comes behind `from`, up to `last`; `None`: there are no more. Nothing, when it was to be gone over
    /// from the beginning meanwhile.
    pub fn found(&mut self, from: &str, doubtful: Vec<PackageName>, last: Option<String>, told_ms: u64) {
        if self.behind.as_deref() != Some(from) {
            return;
        }
        self.behind = last;
        for name in doubtful {
            self.tell(name, told_ms);
        }
    }

    /// Up to `most` that may be asked for, each with the moment since when upstream's word counts.
    #[must_use]
    pub fn due(&self, now: Duration, most: usize) -> Vec<(PackageName, u64)> {
        let due = self.named.iter().filter(|(_, doubt)| doubt.due <= now);
        due.take(most).map(|(name, doubt)| (name.clone(), doubt.told_ms)).collect()
    }

    /// Upstream was asked for what changed at `told_ms`, and has confirmed it, or has not.
    pub fn asked(&mut self, name: &PackageName, told_ms: u64, is_confirmed: bool, now: Duration) {
        let Some(doubt) = self.named.get_mut(name).filter(|doubt| doubt.told_ms == told_ms) else { return };
        if is_confirmed {
            self.named.remove(name);
        } else {
            doubt.due = now.saturating_add(AGAIN);
            doubt.tries = doubt.tries.saturating_add(1);
        }
    }

    /// What is in doubt, if that is but few packages of which upstream says nothing however often it is asked: one that it cannot give
    /// is not to keep everything else in doubt for ever. `None`: something is in doubt that will soon not be.
    #[must_use]
    pub fn stuck(&self) -> Option<Vec<String>> {
        let is_stuck = self.behind.is_none()
            && self.named.len() <= EXCEPTED
            && self.named.values().all(|doubt| doubt.tries >= TRIES);
        is_stuck.then(|| self.named.keys().map(|name| name.as_str().to_owned()).collect())
    }

    /// How many are known to be.
    #[must_use]
    pub fn count(&self) -> usize {
        self.named.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec;

    fn name(nth: usize) -> PackageName {
        PackageName::parse(&format!("package-{nth:05}")).unwrap()
    }

    fn none() -> Unconfirmed {
        let mut unconfirmed = Unconfirmed::all();
        unconfirmed.found("", vec![], None, 0);
        unconfirmed
    }

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn what_was_told_is_in_doubt_until_upstream_has_said_something_later() {
        let mut unconfirmed = none();
        assert_eq!(unconfirmed.stuck(), Some(vec![]));
        unconfirmed.tell(name(1), 5);
        assert_eq!(unconfirmed.due(NOW, 9), [(name(1), 5)]);
        unconfirmed.tell(name(1), 6);
        unconfirmed.asked(&name(1), 5, true, NOW);
        assert_eq!(unconfirmed.stuck(), None, "it has changed once more meanwhile");
        unconfirmed.asked(&name(1), 6, false, NOW);
        assert!(unconfirmed.due(NOW, 9).is_empty() && unconfirmed.stuck().is_none());
        assert_eq!(unconfirmed.due(NOW + AGAIN, 9), [(name(1), 6)]);
        unconfirmed.asked(&name(1), 6, true, NOW);
        assert_eq!(unconfirmed.stuck(), Some(vec![]));
    }

    #[test]
    fn what_upstream_never_gives_keeps_nothing_else_in_doubt_for_ever() {
        let mut unconfirmed = none();
        unconfirmed.tell(name(1), 5);
        let ask = |unconfirmed: &mut Unconfirmed, told_ms, is_confirmed| {
            unconfirmed.asked(&name(1), told_ms, is_confirmed, NOW);
        };
        for _ in 1..TRIES {
            ask(&mut unconfirmed, 5, false);
            assert_eq!(unconfirmed.stuck(), None);
        }
        ask(&mut unconfirmed, 5, false);
        let one = Some(vec![name(1).as_str().to_owned()]);
        assert_eq!(unconfirmed.stuck(), one);
        unconfirmed.tell(name(2), 6);
        assert_eq!(unconfirmed.stuck(), None, "another one will soon be known");
        unconfirmed.asked(&name(2), 6, true, NOW);
        unconfirmed.tell(name(1), 7);
        assert_eq!(unconfirmed.stuck(), one, "it has only changed once more");
        ask(&mut unconfirmed, 7, true);
        assert_eq!(unconfirmed.stuck(), Some(vec![]));

        for nth in 0..=EXCEPTED {
            unconfirmed.tell(name(nth), 8);
            (0..TRIES).for_each(|_| unconfirmed.asked(&name(nth), 8, false, NOW));
            assert_eq!(unconfirmed.stuck().is_some(), nth < EXCEPTED, "upstream as a whole is not well");
        }
    }

    #[test]
    fn more_than_can_be_named_is_found_by_going_over_everything() {
        let mut unconfirmed = none();
        for nth in 0..=NAMED {
            unconfirmed.tell(name(nth), 5);
        }
        assert_eq!((unconfirmed.count(), unconfirmed.wants_behind()), (0, Some("")));
        let some: Vec<_> = (0..=ENOUGH).map(name).collect();
        unconfirmed.found("", some.clone(), Some(name(ENOUGH).as_str().into()), 6);
        assert_eq!(unconfirmed.wants_behind(), None, "there is enough to do");
        for name in &some {
            unconfirmed.asked(name, 6, true, NOW);
        }
        let last = unconfirmed.wants_behind().unwrap().to_owned();
        unconfirmed.found("", vec![name(7)], None, 6);
        assert_eq!(unconfirmed.wants_behind(), Some(last.as_str()), "somebody looked elsewhere");
        unconfirmed.found(&last, vec![], None, 6);
        assert_eq!(unconfirmed.stuck(), Some(vec![]));
    }
}
