//! Pins: sets of items, each under a name, that are not evicted until their set is given up.
//!
//! A pinned item leaves its queue, so that eviction never has to step over it, however many there are. It comes back
//! at the young end when the last set that has it is given up. An item may be pinned before it is held.

use std::collections::BTreeSet;

use redb::{ReadTransaction, ReadableTable};
use resolver::integrity::Integrity;
use resolver::package::PackageName;
use serde::Serialize;

use super::change::{Applied, Change, Work};
use super::queue::{dequeue, enqueue};
use super::tables::{BLOBS, EVIDENCE, Item, PACKUMENTS, PIN_SETS, PINS, json, on_disk};
use super::totals::take;
use super::{Store, StoreError};

/// The longest name of a set, in bytes: it is a key in the state.
const LONGEST_NAME: usize = 256;
/// Items in one call: the largest lockfiles have some ten thousand packages.
const MOST_ITEMS: usize = 200_000;
/// Items of a set that is replaced as a whole: a lockfile may have 500,000 entries, and each of them a tarball, a
/// packument and attestations. Nearly all are pinned by then, and cost two looks.
const MOST_REPLACED: usize = 2_000_000;

/// Why a set cannot be pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// It is nothing that a set can be called.
    #[error("a set of pins needs a name of 1 to {LONGEST_NAME} bytes")]
    Name,
    /// More than anybody needs at once.
    #[error("at most {0} items can be pinned at once")]
    TooMany(usize),
    /// It would leave the cache no room to be one.
    #[error(
        "pins would take {wanted} bytes, and may take {most} (90 % of store.max_bytes): give up others, or raise it"
    )]
    TooMuch {
        /// With those that are pinned already.
        wanted: u64,
        /// What they may take.
        most: u64,
    },
    /// It could not be committed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Pins that would leave the cache no room to be one, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMuch {
    pub(super) wanted: u64,
    pub(super) most: u64,
}

/// A set of pins, for a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PinSet {
    /// Its name.
    pub name: String,
    /// Items in it, held or not.
    pub items: u64,
}

/// Where a held item is in its queue, and what it takes.
struct Held {
    place: u64,
    bytes: u64,
}

impl Store {
    /// Pins these tarballs and packuments, held or not, under a set's name, besides what is in the set already: all of
    /// them, or none.
    ///
    /// # Errors
    /// [`PinError`] says what is in the way.
    pub async fn pin(
        &self,
        set: &str,
        tarballs: &[Integrity],
        packages: &[PackageName],
    ) -> Result<(), PinError> {
        let items = tarballs.iter().map(|integrity| Item::Blob(*integrity));
        let items = items.chain(packages.iter().map(|name| Item::Packument(name.clone()))).collect();
        self.pin_items(set, items).await
    }

    /// Pins small signed documents by their paths, as [`Store::pin`] does with tarballs and packuments.
    ///
    /// # Errors
    /// [`PinError`] says what is in the way.
    pub async fn pin_evidence(&self, set: &str, paths: &[String]) -> Result<(), PinError> {
        self.pin_items(set, paths.iter().cloned().map(Item::Evidence).collect()).await
    }

    /// Pins these and no others under a set's name, in one transaction: whatever happens, the set is what it was or
    /// what it is to be.
    ///
    /// # Errors
    /// [`PinError`] says what is in the way; the set is what it was then.
    pub async fn replace_pins(
        &self,
        set: &str,
        tarballs: &[Integrity],
        packages: &[PackageName],
        evidence: &[String],
    ) -> Result<(), PinError> {
        let items = tarballs.iter().map(|integrity| Item::Blob(*integrity));
        let items = items.chain(packages.iter().map(|name| Item::Packument(name.clone())));
        let items: Vec<_> = items.chain(evidence.iter().cloned().map(Item::Evidence)).collect();
        check(set, items.len(), MOST_REPLACED)?;
        self.commit_pins(Change::Replace { set: set.to_owned(), items }).await
    }

    async fn pin_items(&self, set: &str, items: Vec<Item>) -> Result<(), PinError> {
        check(set, items.len(), MOST_ITEMS)?;
        self.commit_pins(Change::Pin { set: set.to_owned(), items }).await
    }

    async fn commit_pins(&self, change: Change) -> Result<(), PinError> {
        match self.commit(change).await?.refused {
            Some(TooMuch { wanted, most }) => Err(PinError::TooMuch { wanted, most }),
            None => Ok(()),
        }
    }

    /// Gives up a set; says whether there was one.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be committed.
    pub async fn unpin(&self, set: &str) -> Result<bool, StoreError> {
        Ok(self.commit(Change::Unpin { set: set.to_owned() }).await?.changed)
    }

    /// Every set of pins, by name. Walks over all pins; blocks.
    #[must_use]
    pub fn pins(&self) -> Vec<PinSet> {
        self.inner.state.pins()
    }
}

fn check(set: &str, items: usize, most: usize) -> Result<(), PinError> {
    if set.is_empty() || set.len() > LONGEST_NAME {
        return Err(PinError::Name);
    }
    if items > most { Err(PinError::TooMany(most)) } else { Ok(()) }
}

/// Every set, by name. The walk is over all pins: it is for an operator who asks.
pub(super) fn sets(read: &ReadTransaction) -> Result<Vec<PinSet>, redb::Error> {
    let mut sets: Vec<PinSet> = Vec::new();
    for row in read.open_table(PIN_SETS)?.iter()? {
        let (key, _) = row?;
        let (name, _) = key.value();
        match sets.last_mut().filter(|last| last.name == name) {
            Some(set) => set.items += 1,
            None => sets.push(PinSet { name: name.to_owned(), items: 1 }),
        }
    }
    Ok(sets)
}

impl Work<'_> {
    /// All of them, or none when they would take too much.
    pub(super) fn pin(&mut self, set: &str, items: &[Item]) -> Result<Applied, redb::Error> {
        let wanted = self.counts.pinned_bytes + self.unpinned_bytes(items)?;
        if let Some(refused) = self.refusal(wanted) {
            return Ok(refused);
        }
        self.pin_all(set, items)
    }

    /// These instead of what the set has, or nothing when they would take too much.
    pub(super) fn replace_pins(&mut self, set: &str, items: &[Item]) -> Result<Applied, redb::Error> {
        let stay: BTreeSet<Vec<u8>> = items.iter().map(Item::row).collect();
        let (mut go, mut given_up) = (Vec::new(), 0);
        for row in self.write.open_table(PIN_SETS)?.range((set, [].as_slice())..)? {
            let (key, _) = row?;
            let (name, row) = key.value();
            if name != set {
                break;
            }
            if !stay.contains(row) {
                go.push(row.to_vec());
            }
        }
        for item in go.iter().filter_map(|row| Item::read(row)) {
            let held = self.held(&item)?.filter(|held| held.place == 0);
            if self.pins_of(&item)? == 1 {
                given_up += held.map_or(0, |held| held.bytes);
            }
        }
        let wanted = self.counts.pinned_bytes + self.unpinned_bytes(items)?;
        if let Some(refused) = self.refusal(wanted.saturating_sub(given_up)) {
            return Ok(refused);
        }
        for row in &go {
            self.leave_set(set, row)?;
        }
        let pinned = self.pin_all(set, items)?;
        Ok(Applied { changed: pinned.changed || !go.is_empty(), ..pinned })
    }

    /// What pinning these would add.
    fn unpinned_bytes(&self, items: &[Item]) -> Result<u64, redb::Error> {
        let mut bytes = 0;
        for item in items {
            bytes += self.held(item)?.filter(|held| held.place > 0).map_or(0, |held| held.bytes);
        }
        Ok(bytes)
    }

    fn refusal(&self, wanted: u64) -> Option<Applied> {
        let most = self.with.limits.most_pinned();
        let refused = Some(TooMuch { wanted, most });
        (wanted > most).then(|| Applied { refused, ..Applied::default() })
    }

    fn pin_all(&mut self, set: &str, items: &[Item]) -> Result<Applied, redb::Error> {
        let mut changed = false;
        for item in items {
            changed |= self.pin_one(set, item)?;
        }
        Ok(Applied { changed, ..Applied::default() })
    }

    fn pin_one(&mut self, set: &str, item: &Item) -> Result<bool, redb::Error> {
        let row = item.row();
        let is_new = self.write.open_table(PIN_SETS)?.insert((set, row.as_slice()), ())?.is_none();
        if is_new {
            let pins = self.pins_of(item)?;
            self.write.open_table(PINS)?.insert(row.as_slice(), pins + 1)?;
        }
        // One that was in the set before it came was queued all the same, if there was no room for another pin.
        let Some(held) = self.held(item)?.filter(|held| held.place > 0) else {
            return Ok(is_new);
        };
        dequeue(self.write, self.counts, item.class(), held.place)?;
        self.move_to(item, 0)?;
        self.counts.pinned += 1;
        self.counts.pinned_bytes += held.bytes;
        Ok(true)
    }

    /// Gives up a set; what no other set has can be evicted from now on.
    pub(super) fn unpin(&mut self, set: &str) -> Result<bool, redb::Error> {
        let mut found = false;
        while let Some(row) = self.first_of(set)? {
            found = true;
            self.leave_set(set, &row)?;
        }
        Ok(found)
    }

    fn leave_set(&mut self, set: &str, row: &[u8]) -> Result<(), redb::Error> {
        self.write.open_table(PIN_SETS)?.remove((set, row))?;
        Item::read(row).map_or(Ok(()), |item| self.unpin_one(&item))
    }

    fn first_of(&self, set: &str) -> Result<Option<Vec<u8>>, redb::Error> {
        let sets = self.write.open_table(PIN_SETS)?;
        let first = sets.range((set, [].as_slice())..)?.next().transpose()?;
        Ok(first.and_then(|(key, _)| {
            let (name, row) = key.value();
            (name == set).then(|| row.to_vec())
        }))
    }

    fn unpin_one(&mut self, item: &Item) -> Result<(), redb::Error> {
        let left = self.pins_of(item)?.saturating_sub(1);
        let row = item.row();
        if left > 0 {
            self.write.open_table(PINS)?.insert(row.as_slice(), left)?;
            return Ok(());
        }
        self.write.open_table(PINS)?.remove(row.as_slice())?;
        if let Some(held) = self.held(item)?.filter(|held| held.place == 0) {
            let place = enqueue(self.write, self.counts, item)?;
            self.move_to(item, place)?;
            take(&mut self.counts.pinned, 1);
            take(&mut self.counts.pinned_bytes, held.bytes);
        }
        Ok(())
    }

    /// In how many sets an item is.
    pub(super) fn pins_of(&self, item: &Item) -> Result<u32, redb::Error> {
        let pins = self.write.open_table(PINS)?;
        let row = pins.get(item.row().as_slice())?;
        Ok(row.map_or(0, |row| row.value()))
    }

    fn held(&self, item: &Item) -> Result<Option<Held>, redb::Error> {
        Ok(match item {
            Item::Blob(integrity) => {
                self.blob(integrity)?.map(|(length, place, _)| Held { place, bytes: on_disk(length) })
            }
            Item::Packument(name) => {
                self.packument(name)?.map(|(place, record)| Held { place, bytes: record.stored })
            }
            Item::Evidence(path) => self.evidence_place(path)?.map(|(place, bytes)| Held { place, bytes }),
        })
    }

    fn move_to(&mut self, item: &Item, place: u64) -> Result<(), redb::Error> {
        match item {
            Item::Blob(integrity) => {
                if let Some((length, _, name)) = self.blob(integrity)? {
                    let row = (length, place, name.as_str());
                    self.write.open_table(BLOBS)?.insert(integrity.as_bytes(), row)?;
                }
            }
            Item::Packument(name) => {
                if let Some((_, record)) = self.packument(name)? {
                    let row = json(&record)?;
                    self.write.open_table(PACKUMENTS)?.insert(name.as_str(), (place, row.as_slice()))?;
                }
            }
            Item::Evidence(path) => {
                let mut evidence = self.write.open_table(EVIDENCE)?;
                let row = evidence.get(path.as_str())?.map(|row| row.value().1.to_vec());
                if let Some(row) = row {
                    evidence.insert(path.as_str(), (place, row.as_slice()))?;
                }
            }
        }
        Ok(())
    }
}
