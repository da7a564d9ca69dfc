//! Makes room: takes files and their rows away, in the writer's own transactions.
//!
//! Files go first and rows with the commit that follows. So room is there even when the commit fails for want of it,
//! and a crash in between leaves rows without files: a look that misses, at the very items that the hand is at, which
//! are the first to go when it looks again. The writer alone removes, and a row is written only while its file is
//! there; so whatever comes back at the same instant either stays with its row or goes with it. A reader that has a
//! file open reads it to its end.

use redb::ReadableTable;
use resolver::eviction::{Class, Relief, Usage};
use resolver::integrity::Integrity;
use resolver::package::PackageName;

use super::change::Work;
use super::queue::{dequeue, next_victim};
use super::tables::{Item, TARBALLS, on_disk};

/// Items that go in one transaction ahead of need, so that whoever waits for the writer waits for little.
const AHEAD: u32 = 64;
/// Items that go in one transaction at most, when the limit has been lowered by far.
const MOST: u32 = 1024;
/// Used items that the hand passes in one transaction; each costs a few microseconds.
const LOOKS: u32 = 16 * 1024;

/// What one transaction has freed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Freed {
    pub(super) items: u64,
    pub(super) bytes: u64,
}

impl Work<'_> {
    /// Frees what has to go now, and some of what should go soon.
    pub(super) fn relieve(
        &mut self,
        relief: &mut Relief,
        state_bytes: u64,
        free: Option<u64>,
    ) -> Result<Freed, redb::Error> {
        let (excess, comfort) = relief.wanted(self.with.limits, &self.counts.usage(state_bytes, free));
        let (mut freed, mut looks) = (Freed::default(), LOOKS);
        for nth in 0..MOST {
            if freed.bytes >= comfort || (freed.bytes >= excess && nth >= AHEAD) {
                break;
            }
            let usage = self.counts.usage(state_bytes, free);
            let Some(bytes) = self.evict_one(&usage, &mut looks)? else {
                relief.end();
                break;
            };
            freed.bytes += bytes;
            freed.items += 1;
        }
        Ok(freed)
    }

    /// The bytes of one item that has gone; `None` when there is none that may go.
    fn evict_one(&mut self, usage: &Usage, looks: &mut u32) -> Result<Option<u64>, redb::Error> {
        let Some(class) = self.with.limits.giver(usage, |class| self.counts.has_queued(class)) else {
            return Ok(None);
        };
        let victim = next_victim(self.write, self.counts, class, self.with.marks, looks)?;
        let Some((place, item)) = victim else {
            // The count was wrong; the queue has the last word.
            self.counts.queued[usize::from(super::tables::class_row(class))] = 0;
            return Ok(Some(0));
        };
        let bytes = match &item {
            Some(Item::Blob(integrity)) => self.evict_blob(integrity)?,
            Some(Item::Packument(name)) => self.evict_packument(name)?,
            Some(Item::Evidence(path)) => self.remove_evidence(path)?.unwrap_or(0),
            None => 0,
        };
        // Whatever the item's own row says.
        self.drop_from_queue(class, place)?;
        Ok(Some(bytes))
    }

    fn evict_blob(&mut self, integrity: &Integrity) -> Result<u64, redb::Error> {
        self.with.contents.remove_blob(integrity);
        let Some((length, name)) = self.remove_blob(integrity)? else {
            return Ok(0);
        };
        let mut tarballs = self.write.open_table(TARBALLS)?;
        let digest = integrity.as_bytes().as_slice();
        let is_its = tarballs.get(name.as_str())?.is_some_and(|row| &row.value()[..64] == digest);
        if is_its {
            tarballs.remove(name.as_str())?;
        }
        Ok(on_disk(length))
    }

    fn evict_packument(&mut self, name: &PackageName) -> Result<u64, redb::Error> {
        let Some(record) = self.remove_packument(name)? else {
            return Ok(0);
        };
        self.with.documents.remove(&record.revision);
        Ok(record.stored)
    }

    fn drop_from_queue(&mut self, class: Class, place: u64) -> Result<(), redb::Error> {
        dequeue(self.write, self.counts, class, place)
    }
}
