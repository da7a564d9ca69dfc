//! Pins: sets of items, each under a name, that are not evicted until their set is given up.
//!
//! A pinned item leaves its queue, so that eviction never has to step over it, however many there are. It comes back
//! at the young end when the last set that has it is given up. An item may be pinned before it is held.

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

/// Why a set cannot be pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// It is nothing that a set can be called.
    #[error("a set of pins needs a name of 1 to {LONGEST_NAME} bytes")]
    Name,
    /// More than anybody needs at once.
    #[error("at most {MOST_ITEMS} items can be pinned at once")]
    TooMany,
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
        if set.is_empty() || set.len() > LONGEST_NAME {
            return Err(PinError::Name);
        }
        if tarballs.len() + packages.len() > MOST_ITEMS {
            return Err(PinError::TooMany);
        }
        let items = tarballs.iter().map(|integrity| Item::Blob(*integrity));
        let items = items.chain(packages.iter().map(|name| Item::Packument(name.clone()))).collect();
        match self.commit(Change::Pin { set: set.to_owned(), items }).await?.refused {
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
        let mut wanted = self.counts.pinned_bytes;
        for item in items {
            wanted += self.held(item)?.filter(|held| held.place > 0).map_or(0, |held| held.bytes);
        }
        let most = self.with.limits.most_pinned();
        if wanted > most {
            return Ok(Applied { refused: Some(TooMuch { wanted, most }), ..Applied::default() });
        }
        let mut changed = false;
        for item in items {
            changed |= self.pin_one(set, item)?;
        }
        Ok(Applied { changed, ..Applied::default() })
    }

    fn pin_one(&mut self, set: &str, item: &Item) -> Result<bool, redb::Error> {
        let row = item.row();
        if self.write.open_table(PIN_SETS)?.insert((set, row.as_slice()), ())?.is_some() {
            return Ok(false);
        }
        let pins = self.pins_of(item)?;
        self.write.open_table(PINS)?.insert(row.as_slice(), pins + 1)?;
        if let Some(held) = self.held(item)?.filter(|held| held.place > 0) {
            dequeue(self.write, self.counts, item.class(), held.place)?;
            self.move_to(item, 0)?;
            self.counts.pinned += 1;
            self.counts.pinned_bytes += held.bytes;
        }
        Ok(true)
    }

    /// Gives up a set; what no other set has can be evicted from now on.
    pub(super) fn unpin(&mut self, set: &str) -> Result<bool, redb::Error> {
        let mut found = false;
        while let Some(row) = self.first_of(set)? {
            found = true;
            self.write.open_table(PIN_SETS)?.remove((set, row.as_slice()))?;
            if let Some(item) = Item::read(&row) {
                self.unpin_one(&item)?;
            }
        }
        Ok(found)
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
