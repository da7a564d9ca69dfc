//! The guard against taking one's own disconnection for everybody's death.
//!
//! When at least half of a group, peers on private networks or all others, goes down within two intervals, and upstream does
//! not answer either, it is this gateway that is cut off. The group is then taken for what it was for a minute.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use super::known::Known;
use crate::health;
use crate::peer::PeerId;

/// How long the last good state is held.
const HOLD: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Guard {
    upstream_is_down: bool,
    groups: [Group; 2],
}

#[derive(Debug, Default)]
struct Group {
    /// Who is held, and until when.
    held: BTreeSet<PeerId>,
    until: Duration,
    /// It is not held twice for one disconnection: not before somebody was up again.
    spent: bool,
}

/// Who is held.
pub(super) struct Frozen<'a>(&'a [Group; 2]);

impl Frozen<'_> {
    pub(super) fn holds(&self, known: &Known) -> bool {
        self.0[group(known)].held.contains(&known.peer.id)
    }
}

impl Guard {
    /// Upstream answers, or does not. True when that changes something.
    pub(super) fn hears(&mut self, upstream_answers: bool) -> bool {
        let changes = self.upstream_is_down == upstream_answers;
        self.upstream_is_down = !upstream_answers;
        changes
    }

    pub(super) fn is_holding(&self, now: Duration) -> bool {
        self.groups.iter().any(|group| !group.held.is_empty() && now < group.until)
    }

    /// Whether a group would be held if upstream did not answer.
    pub(super) fn suspects(&self, known: &BTreeMap<PeerId, Known>, now: Duration) -> bool {
        !self.upstream_is_down
            && self.groups.iter().enumerate().any(|(nth, one)| {
                let of_group: Vec<&Known> = known.values().filter(|known| group(known) == nth).collect();
                !one.spent && !Group::fallen(&of_group, now).is_empty()
            })
    }

    pub(super) fn look(&mut self, known: &BTreeMap<PeerId, Known>, now: Duration) -> Frozen<'_> {
        for (nth, held) in self.groups.iter_mut().enumerate() {
            let of_group: Vec<&Known> = known.values().filter(|known| group(known) == nth).collect();
            held.look(&of_group, now, self.upstream_is_down);
        }
        Frozen(&self.groups)
    }
}

impl Group {
    fn look(&mut self, of_group: &[&Known], now: Duration, cut_off: bool) {
        let usable = of_group.iter().filter(|known| known.is_usable(now)).count();
        if now >= self.until || !cut_off {
            self.held.clear();
        }
        self.spent &= usable == 0;
        if !cut_off || self.spent || !self.held.is_empty() {
            return;
        }
        let fallen = Self::fallen(of_group, now);
        if !fallen.is_empty() {
            self.held = fallen;
            self.until = now + HOLD;
            self.spent = true;
        }
    }

    /// Who has fallen silent lately, if that is two at least and half of the group.
    fn fallen(of_group: &[&Known], now: Duration) -> BTreeSet<PeerId> {
        let usable = of_group.iter().filter(|known| known.is_usable(now)).count();
        let lately = |known: &&&Known| {
            let window = known.interval * 2 + SUSPECTED;
            known.failed_at(now).is_some_and(|when| when + window >= now)
        };
        let fallen: BTreeSet<_> = of_group.iter().filter(lately).map(|known| known.peer.id).collect();
        if fallen.len() >= 2 && fallen.len() >= usable { fallen } else { BTreeSet::new() }
    }
}

/// Between the failure that makes a suspect and the one that takes it down.
const SUSPECTED: Duration = Duration::from_secs(3);

fn group(known: &Known) -> usize {
    usize::from(known.interval != health::LAN)
}
