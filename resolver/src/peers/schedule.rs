//! When each target is to be looked at: in the order of time, and by whose it is.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use super::Target;
use crate::peer::PeerId;

/// The least of all targets.
const FIRST: Target = Target::Address(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

/// Those that are being looked at are not in it.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    by_time: BTreeSet<(Duration, PeerId, Target)>,
    /// The same, for what is put off or taken out: outcomes come in no order.
    times: BTreeMap<(PeerId, Target), Duration>,
}

impl Schedule {
    /// It is to be looked at then, and not when it was to be.
    pub(super) fn put(&mut self, when: Duration, id: PeerId, target: Target) {
        let key = (id, target);
        let before = self.times.insert(key.clone(), when);
        let (id, target) = key;
        if before == Some(when) {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, id, target.clone()));
        }
        self.by_time.insert((when, id, target));
    }

    /// Nothing of this peer is to be looked at.
    pub(super) fn remove(&mut self, id: &PeerId) {
        for (when, target) in self.of_peer(id) {
            self.by_time.remove(&(when, *id, target.clone()));
            self.times.remove(&(*id, target));
        }
    }

    /// What of this peer is to be looked at is so at the latest then.
    pub(super) fn hasten(&mut self, when: Duration, id: &PeerId) {
        for (before, target) in self.of_peer(id) {
            self.put(before.min(when), *id, target);
        }
    }

    fn of_peer(&self, id: &PeerId) -> Vec<(Duration, Target)> {
        let of_peer = self.times.range((*id, FIRST)..).take_while(|((whose, _), _)| whose == id);
        of_peer.map(|((_, target), when)| (*when, target.clone())).collect()
    }

    /// When the first is to be looked at.
    pub(super) fn next(&self) -> Option<Duration> {
        self.by_time.first().map(|(when, ..)| *when)
    }

    /// The first that is to be looked at by now.
    pub(super) fn pop(&mut self, now: Duration) -> Option<(PeerId, Target)> {
        self.next().filter(|when| *when <= now)?;
        let (_, id, target) = self.by_time.pop_first()?;
        let key = (id, target);
        self.times.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(nth: u8) -> (PeerId, Target) {
        let target = match nth % 4 {
            0 => FIRST,
            1 => Target::Address([192, 0, 2, nth].into()),
            2 => Target::Address([0x2a00, 0, 0, 0, 0, 0, 0, u16::from(nth)].into()),
            _ => Target::Url(alloc::format!("https://{nth}.example")),
        };
        (PeerId::of_key([nth / 4; 32]), target)
    }

    proptest! {
        #[test]
        fn each_target_is_due_once_at_the_time_that_was_last_said(story in proptest::collection::vec((0u8..12, 0u64..50, 0u8..10), 1..80)) {
            let (mut schedule, mut expected) = (Schedule::default(), BTreeMap::new());
            for (nth, when, what) in story {
                let ((id, target), when) = (key(nth), Duration::from_secs(when));
                match what {
                    0 => {
                        schedule.remove(&id);
                        expected.retain(|(whose, _), _| *whose != id);
                    }
                    1 => {
                        let due: Vec<_> = core::iter::from_fn(|| schedule.pop(when)).collect();
                        let mut of_time: Vec<_> =
                            expected.iter().filter(|(_, at)| **at <= when).map(|(key, at)| (*at, key)).collect();
                        of_time.sort();
                        prop_assert_eq!(&due, &of_time.into_iter().map(|(_, key)| key.clone()).collect::<Vec<_>>());
                        expected.retain(|_, at| *at > when);
                    }
                    2 => {
                        schedule.hasten(when, &id);
                        expected.iter_mut().filter(|((whose, _), _)| *whose == id).for_each(|(_, at)| *at = when.min(*at));
                    }
                    _ => {
                        schedule.put(when, id, target.clone());
                        expected.insert((id, target), when);
                    }
                }
                prop_assert_eq!(schedule.next(), expected.values().min().copied());
            }
        }
    }
}
