//! What peers have said that they hold: a lookup asks nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use resolver::integrity::Integrity;
use resolver::inventory::Prints;
use resolver::peer::PeerId;

/// Fingerprints of all peers together: 16 MB.
const MOST: usize = 4_000_000;

/// What all peers have said. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Inventories {
    known: Arc<RwLock<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    peers: BTreeMap<PeerId, Told>,
    tellings: u64,
    /// Those for whom there was no room.
    left_out: BTreeSet<PeerId>,
}

/// What one has said.
#[derive(Debug, Default)]
struct Told {
    prints: Prints,
    /// Which of its tellings that was: of two the later counts.
    telling: u64,
    /// What has come of all that it tells anew.
    arrived: usize,
    /// The part of all room that it may be found in.
    part: f64,
}

/// One peer, as long as it tells: what it has told is forgotten with it.
#[derive(Debug)]
pub(super) struct Telling {
    id: PeerId,
    number: u64,
    inventories: Inventories,
}

/// There is no room for what a peer holds, or it tells it anew elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotTaken;

impl Inventories {
    /// Who has said to hold it, in no order.
    #[must_use]
    pub fn holders(&self, integrity: &Integrity) -> Vec<PeerId> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.peers.iter().filter(|(_, told)| told.prints.holds(integrity)).map(|(id, _)| *id).collect()
    }

    /// How many tarballs each has said to hold.
    #[must_use]
    pub fn sizes(&self) -> BTreeMap<PeerId, usize> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.peers.iter().map(|(id, told)| (*id, told.prints.len())).collect()
    }

    /// What one holds, as it has said.
    pub fn set(&self, id: PeerId, prints: Prints) {
        self.known().peers.insert(id, Told { prints, ..Told::default() });
    }

    /// Whether there was no room for what it holds.
    #[must_use]
    pub fn leaves_out(&self, id: &PeerId) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).left_out.contains(id)
    }

    /// Those who are there; who has gone is not remembered.
    pub(super) fn retain(&self, is_there: impl Fn(&PeerId) -> bool) {
        self.known().left_out.retain(is_there);
    }

    /// A peer begins to tell. What it has told before counts until it has told all. Of all room no more than `part` may be taken
    /// for it to find a place.
    pub(super) fn begin(&self, id: PeerId, part: f64) -> Telling {
        let mut known = self.known();
        known.tellings += 1;
        known.left_out.remove(&id);
        let number = known.tellings;
        let told = known.peers.entry(id).or_default();
        (told.telling, told.part) = (number, part);
        Telling { id, number, inventories: self.clone() }
    }

    fn known(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Telling {
    /// So many have arrived of all that it tells anew. What is announced takes no room, only what is here.
    pub(super) fn arrived(&self, arrived: usize) -> Result<(), NotTaken> {
        self.change(|told| told.arrived = arrived)
    }

    /// It has told all of this by now.
    pub(super) fn know(&self, prints: Prints) -> Result<(), NotTaken> {
        let mut old = prints;
        let known = self.change(|told| {
            std::mem::swap(&mut told.prints, &mut old);
            told.arrived = 0;
        });
        // What it was is let go of when nobody waits for the lock.
        drop(old);
        known
    }

    /// Where there is no room for it, whoever has the most goes, be it this one.
    fn change(&self, change: impl FnOnce(&mut Told)) -> Result<(), NotTaken> {
        let mut known = self.inventories.known();
        let told =
            known.peers.get_mut(&self.id).filter(|told| told.telling == self.number).ok_or(NotTaken)?;
        change(told);
        let part = told.part;
        while known.is_over(part) {
            let largest = known.largest(part).ok_or(NotTaken)?;
            known.peers.remove(&largest);
            known.left_out.insert(largest);
            if largest == self.id {
                return Err(NotTaken);
            }
        }
        Ok(())
    }
}

impl Known {
    fn is_over(&self, part: f64) -> bool {
        let taken: usize = self.peers.values().map(Told::size).sum();
        #[allow(clippy::cast_precision_loss, reason = "some millions")]
        let is_over = taken as f64 > MOST as f64 * part;
        is_over
    }

    /// Of those who may be found in no more than this part.
    fn largest(&self, part: f64) -> Option<PeerId> {
        let equals = self.peers.iter().filter(|(_, told)| told.part <= part);
        equals.max_by_key(|(_, told)| told.size()).map(|(id, _)| *id)
    }
}

impl Told {
    fn size(&self) -> usize {
        self.prints.len() + self.arrived
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        let mut known = self.inventories.known();
        if known.peers.get(&self.id).is_some_and(|told| told.telling == self.number) {
            let forgotten = known.peers.remove(&self.id);
            drop(known);
            drop(forgotten);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use resolver::inventory::print;

    use super::*;

    fn peer(nth: u8) -> PeerId {
        PeerId::of_key([nth; 32])
    }

    #[test]
    fn who_tells_is_a_holder_until_it_tells_no_more() {
        let (inventories, left) = (Inventories::default(), Integrity::of(b"left"));
        let telling = inventories.begin(peer(1), 1.0);
        telling.know([print(&left)].into_iter().collect()).unwrap();
        let again = inventories.begin(peer(1), 1.0);
        assert_eq!(inventories.holders(&left), [peer(1)], "while it tells it anew");
        assert_eq!(telling.know(Prints::default()), Err(NotTaken), "the later one counts");
        drop(telling);
        assert_eq!(inventories.holders(&left), [peer(1)]);
        again.know(Prints::default()).unwrap();
        assert!(inventories.holders(&left).is_empty());
        drop(again);
        assert!(inventories.sizes().is_empty());
    }

    #[test]
    fn what_is_announced_takes_no_room_and_where_there_is_none_the_largest_goes() {
        let inventories = Inventories::default();
        let honest = inventories.begin(peer(9), 1.0);
        honest.know([1, 2, 3].into_iter().collect()).unwrap();
        let tellings: Vec<_> = (0..4).map(|nth| inventories.begin(peer(nth), 1.0)).collect();
        for telling in &tellings {
            telling.arrived(MOST / 4 - 1).unwrap();
        }
        tellings[3].arrived(MOST / 4).unwrap();
        assert_eq!(tellings[2].arrived(MOST / 4 + 1), Err(NotTaken), "it is the largest");
        assert!(inventories.leaves_out(&peer(2)) && !inventories.leaves_out(&peer(9)));
        assert_eq!(inventories.sizes()[&peer(9)], 3);

        let stranger = inventories.begin(peer(8), 0.5);
        assert_eq!(stranger.arrived(10), Err(NotTaken), "those who are near are not sent away for it");
        drop(tellings);
        inventories.begin(peer(8), 0.5).arrived(10).unwrap();
        assert!(!inventories.leaves_out(&peer(8)));
    }

    /// `cargo test --workspace --lib -- --ignored --nocapture what_a_lookup_costs`
    #[test]
    #[ignore = "prints a figure"]
    #[allow(clippy::print_stderr, reason = "it is there to print")]
    fn what_a_lookup_costs() {
        let inventories = Inventories::default();
        let some = |seed: u32| (0..100_000u32).map(move |nth| (nth ^ seed).wrapping_mul(2_654_435_761));
        for nth in 0..64u8 {
            inventories.set(peer(nth), some(u32::from(nth) << 20).collect());
        }
        let asked: Vec<_> = (0..10_000u32).map(|nth| Integrity::of(&nth.to_be_bytes())).collect();
        let since = Instant::now();
        let found: usize = asked.iter().map(|integrity| inventories.holders(integrity).len()).sum();
        let each = since.elapsed() / 10_000;
        eprintln!(
            "64 peers with 100,000 tarballs each: {each:?} for a lookup; {found} found by mistake in 10,000"
        );
    }
}
