//! Changing a sharded directory: many names at once, and every node on the way is written once.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;

use super::directory::{Entry, Region, Shard, Slot, place_of};
use super::ledger::Ledger;
use super::{Link, TreeError};

/// What is to become of a name.
#[derive(Debug)]
pub(super) struct Edit<'a, T> {
    hash: u64,
    name: &'a str,
    /// It may come to stand here, and not only go.
    adds: bool,
    what: T,
}

impl<'a, T> Edit<'a, T> {
    pub(super) fn new(name: &'a str, adds: bool, what: T) -> Self {
        Self { hash: place_of(name), name, adds, what }
    }
}

/// Brings edits into one directory. `apply` says what becomes of an entry; it is asked once for each edit that is not
/// refused.
pub(super) struct Editor<'a, 'b, F> {
    pub(super) ledger: &'a mut Ledger<'b>,
    /// The path of the directory, with a slash at its end.
    pub(super) within: &'a str,
    pub(super) apply: F,
}

impl<F> Editor<'_, '_, F> {
    /// Changes a whole directory.
    pub(super) fn run<T>(&mut self, shard: &mut Shard, mut edits: Vec<Edit<'_, T>>) -> Result<(), TreeError>
    where
        F: FnMut(&mut Ledger<'_>, &T, Option<Link>) -> Result<Option<Link>, TreeError>,
    {
        edits.sort_unstable_by(|a, b| (a.hash, a.name).cmp(&(b.hash, b.name)));
        self.shard(shard, Region::WHOLE, &edits)
    }

    /// Goes down at most eight levels: a region of one hash has no shards.
    fn shard<T>(&mut self, shard: &mut Shard, region: Region, edits: &[Edit<'_, T>]) -> Result<(), TreeError>
    where
        F: FnMut(&mut Ledger<'_>, &T, Option<Link>) -> Result<Option<Link>, TreeError>,
    {
        for group in edits.chunk_by(|a, b| region.place_of(a.hash) == region.place_of(b.hash)) {
            let Some(first) = group.first() else { continue };
            let place = region.place_of(first.hash);
            if let Some(slot) = self.slot(shard.take(place), region.at(place), group)? {
                shard.put(place, slot);
            }
        }
        Ok(())
    }

    fn slot<T>(
        &mut self,
        slot: Option<Slot>,
        region: Region,
        edits: &[Edit<'_, T>],
    ) -> Result<Option<Slot>, TreeError>
    where
        F: FnMut(&mut Ledger<'_>, &T, Option<Link>) -> Result<Option<Link>, TreeError>,
    {
        let resident = match slot {
            Some(Slot::Shard(link)) => {
                let mut below = self.ledger.open(link.cid, region)?;
                self.shard(&mut below, region, edits)?;
                return Ok(settle(self.ledger, &below));
            }
            Some(Slot::Entry(entry)) => Some(entry),
            None => None,
        };
        let alone = matches!(edits, [only] if resident.as_ref().is_none_or(|entry| entry.name == only.name));
        if alone || region.level == 8 {
            return Ok(self.entry(resident, edits)?.map(Slot::Entry));
        }
        let mut below: Shard = resident
            .into_iter()
            .map(|entry| (region.place_of(place_of(&entry.name)), Slot::Entry(entry)))
            .collect();
        self.shard(&mut below, region, edits)?;
        Ok(settle(self.ledger, &below))
    }

    /// Edits that share one place, where only one name can stand: who is there stays, then the first by name comes.
    fn entry<T>(
        &mut self,
        mut resident: Option<Entry>,
        edits: &[Edit<'_, T>],
    ) -> Result<Option<Entry>, TreeError>
    where
        F: FnMut(&mut Ledger<'_>, &T, Option<Link>) -> Result<Option<Link>, TreeError>,
    {
        let own = resident.as_ref().map(|entry| entry.name.clone());
        let is_own = |edit: &&Edit<'_, T>| own.as_deref() == Some(edit.name);
        for edit in edits.iter().filter(is_own).chain(edits.iter().filter(|edit| !is_own(edit))) {
            match &resident {
                Some(entry) if entry.name != edit.name => {
                    if edit.adds {
                        self.ledger.refused.push([self.within, edit.name].concat());
                    }
                }
                _ => {
                    let old = resident.as_ref().map(|entry| entry.link);
                    let new = (self.apply)(self.ledger, &edit.what, old)?;
                    resident = new.map(|link| Entry { name: edit.name.to_owned(), link });
                }
            }
        }
        Ok(resident)
    }
}

/// What stands for a shard in the one above it: nothing, its only entry, or itself.
fn settle(ledger: &mut Ledger<'_>, shard: &Shard) -> Option<Slot> {
    if shard.is_empty() {
        return None;
    }
    match shard.only_entry() {
        Some(entry) => Some(Slot::Entry(entry.clone())),
        None => Some(Slot::Shard(ledger.place(shard.to_block()))),
    }
}

#[cfg(test)]
mod tests;
