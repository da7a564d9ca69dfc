//! What peers have said that they hold: a lookup asks nobody.

use std::collections::BTreeMap;
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
}

/// What one has said.
#[derive(Debug, Default)]
struct Told {
    prints: Prints,
    /// Which of its tellings that was: of two the later counts.
    telling: u64,
    /// What is to come of it.
    coming: usize,
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

    /// A peer begins to tell. What it has told before counts until it has told all.
    pub(super) fn begin(&self, id: PeerId) -> Telling {
        let mut known = self.known();
        known.tellings += 1;
        let number = known.tellings;
        known.peers.entry(id).or_default().telling = number;
        Telling { id, number, inventories: self.clone() }
    }

    fn known(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Telling {
    /// Takes room for so many that are to come; of all room no more than `part` may be taken then.
    pub(super) fn expect(&self, coming: usize, part: f64) -> Result<(), NotTaken> {
        self.change(|told| told.coming = coming, part)
    }

    /// It has told all of this by now.
    pub(super) fn know(&self, prints: Prints, part: f64) -> Result<(), NotTaken> {
        let mut old = prints;
        let known = self.change(
            |told| {
                std::mem::swap(&mut told.prints, &mut old);
                told.coming = 0;
            },
            part,
        );
        // What it was is let go of when nobody waits for the lock.
        drop(old);
        known
    }

    fn change(&self, change: impl FnOnce(&mut Told), part: f64) -> Result<(), NotTaken> {
        let mut known = self.inventories.known();
        let told = known.peers.get_mut(&self.id).filter(|told| told.telling == self.number);
        change(told.ok_or(NotTaken)?);
        let taken: usize = known.peers.values().map(|told| told.prints.len().max(told.coming)).sum();
        #[allow(clippy::cast_precision_loss, reason = "some millions")]
        if taken as f64 <= MOST as f64 * part { Ok(()) } else { Err(NotTaken) }
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
        let telling = inventories.begin(peer(1));
        telling.know([print(&left)].into_iter().collect(), 1.0).unwrap();
        let again = inventories.begin(peer(1));
        assert_eq!(inventories.holders(&left), [peer(1)], "while it tells it anew");
        assert_eq!(telling.know(Prints::default(), 1.0), Err(NotTaken), "the later one counts");
        drop(telling);
        assert_eq!(inventories.holders(&left), [peer(1)]);
        again.know(Prints::default(), 1.0).unwrap();
        assert!(inventories.holders(&left).is_empty());
        drop(again);
        assert!(inventories.sizes().is_empty());
    }

    #[test]
    fn all_together_tell_no_more_than_there_is_room_for() {
        let inventories = Inventories::default();
        let tellings: Vec<_> = (0..5).map(|nth| inventories.begin(peer(nth))).collect();
        let taken: Vec<_> = tellings.iter().map(|one| one.expect(1_000_000, 1.0).is_ok()).collect();
        assert_eq!(taken, [true, true, true, true, false]);
        drop(tellings);
        let stranger = inventories.begin(peer(9));
        assert_eq!((stranger.expect(1_000_000, 0.2), stranger.expect(800_000, 0.2)), (Err(NotTaken), Ok(())));
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
