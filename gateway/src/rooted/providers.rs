//! Who can be asked for home's tree: home itself, and whoever follows it too and shares what it holds.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use resolver::peer::PeerId;
use tokio::time::Instant;

use crate::swarm::Swarm;

/// Who has had nothing so often in a row is left alone for a while: it follows home, and holds other things than are asked for here.
const MISSES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(30);
/// Who is asked for one thing, at most.
const MOST: usize = 6;

/// Somebody who may have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provider {
    /// Who.
    pub id: PeerId,
    /// It is on a network that this machine is attached to.
    pub near: bool,
    /// It is home.
    pub is_home: bool,
}

/// All of them.
pub(super) struct Providers {
    own: PeerId,
    home: PeerId,
    swarm: Swarm,
    /// How often each has had nothing, since it has last given something; and when that was.
    misses: Mutex<BTreeMap<PeerId, (u32, Instant)>>,
}

impl Providers {
    pub(super) fn new(own: PeerId, home: PeerId, swarm: Swarm) -> Self {
        Self { own, home, swarm, misses: Mutex::default() }
    }

    /// In the order in which they are asked: those near by, home, those far away. Whoever had nothing lately is passed over as long as
    /// home is there.
    pub(super) fn all(&self) -> Vec<Provider> {
        let neighbours = self.swarm.neighbours();
        let mut misses = self.misses();
        misses.retain(|id, _| neighbours.contains_key(id));
        let has_home = neighbours.contains_key(&self.home);
        let of = |id: &PeerId| {
            misses.get(id).filter(|(_, at)| at.elapsed() < PAUSE).map_or(0, |(count, _)| *count)
        };
        let mut all: Vec<_> = neighbours
            .iter()
            .filter(|(id, one)| {
                let follows =
                    one.card.as_ref().is_some_and(|card| card.shares && card.home == Some(self.home));
                **id == self.home || (follows && **id != self.own)
            })
            .map(|(id, one)| (of(id), Provider { id: *id, near: one.near, is_home: *id == self.home }))
            .filter(|(misses, one)| one.is_home || !has_home || *misses < MISSES)
            .collect();
        all.sort_by_key(|(misses, one)| (!one.near || one.is_home, !one.is_home, *misses, one.id));
        all.truncate(MOST);
        all.into_iter().map(|(_, one)| one).collect()
    }

    /// It had what it was asked for.
    pub(super) fn gave(&self, id: &PeerId) {
        self.misses().remove(id);
    }

    /// It did not.
    pub(super) fn missed(&self, id: PeerId) {
        let mut misses = self.misses();
        let entry = misses.entry(id).or_insert((0, Instant::now()));
        *entry = (entry.0.saturating_add(1), Instant::now());
    }

    fn misses(&self) -> MutexGuard<'_, BTreeMap<PeerId, (u32, Instant)>> {
        self.misses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::{Ends, Neighbour};
    use resolver::card::Card;
    use std::sync::Arc;

    fn id(number: u8) -> PeerId {
        PeerId::of_key([number; 32])
    }

    fn neighbour(near: bool, home: Option<PeerId>) -> Neighbour {
        let card = Card { version: "1".into(), urls: vec![], online: true, shares: true, sequence: 0, home };
        Neighbour { addresses: Vec::new(), near, card: Some(card), since: Instant::now() }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_near_comes_first_who_follows_somebody_else_never_and_who_has_nothing_rests() {
        let (swarm, Ends { neighbours, .. }, _) = Swarm::channels();
        let providers = Providers::new(id(1), id(7), swarm);
        let all = BTreeMap::from([
            (id(7), neighbour(false, None)),
            (id(2), neighbour(false, Some(id(7)))),
            (id(3), neighbour(true, Some(id(7)))),
            (id(4), neighbour(true, Some(id(8)))),
            (id(5), neighbour(true, None)),
        ]);
        neighbours.send_replace(Arc::new(all.clone()));
        let ids = || providers.all().into_iter().map(|one| one.id).collect::<Vec<_>>();
        assert_eq!(ids(), [id(3), id(7), id(2)]);
        for _ in 0..MISSES {
            providers.missed(id(3));
            providers.missed(id(7));
        }
        assert_eq!(ids(), [id(7), id(2)], "home is asked whatever it had");
        neighbours.send_replace(Arc::new(all.into_iter().filter(|(one, _)| *one != id(7)).collect()));
        assert_eq!(ids(), [id(3), id(2)], "without home there is nobody better");
        tokio::time::advance(PAUSE).await;
        providers.missed(id(3));
        providers.gave(&id(3));
        assert_eq!(ids(), [id(3), id(2)]);
    }
}
