//! Changes to the state, and what each of them does to its rows, its totals and its queues.

use std::collections::BTreeSet;

use redb::{ReadableTable, WriteTransaction};
use resolver::eviction::Limits;
use resolver::integrity::Integrity;
use resolver::inventory;
use resolver::package::{FileName, PackageName};
use resolver::variant::Revision;

use super::content::Contents;
use super::documents::Documents;
use super::marks::Marks;
use super::news::Mark;
use super::pins;
use super::queue::{dequeue, enqueue};
use super::tables::{
    BLOBS, EVIDENCE, Evidence, Item, META, PACKUMENTS, PackumentRecord, TARBALLS, TarballRecord, json,
    on_disk, read_json, sealed, tarball_key,
};
use super::totals::{Counts, take};

/// One change to the state.
pub(super) enum Change {
    /// A packument's bytes are there.
    Packument {
        name: PackageName,
        record: PackumentRecord,
    },
    /// Upstream has confirmed it.
    Confirmed {
        name: PackageName,
        record: PackumentRecord,
    },
    NoPackument {
        name: PackageName,
    },
    /// So many bytes more, or fewer, belong to this revision of a packument.
    Account {
        name: PackageName,
        revision: Revision,
        delta: i64,
    },
    /// All files of this revision take so many bytes.
    Measured {
        name: PackageName,
        revision: Revision,
        stored: u64,
    },
    /// What is held counts as confirmed long ago.
    Doubt {
        name: PackageName,
    },
    Tarball {
        name: PackageName,
        file: FileName,
        record: TarballRecord,
    },
    /// A tarball's bytes are there.
    Blob {
        integrity: Integrity,
        length: u64,
        /// The package that it was fetched for, as far as that is known: who asked may have been wrong.
        fetched_for: Option<PackageName>,
    },
    /// Tarballs that were found on the disk; those that are known are left as they are.
    Adopt(Vec<(Integrity, u64)>),
    /// The files of an item may have gone: if so, its row goes too.
    Missing(Item),
    Evidence {
        path: String,
        evidence: Evidence,
    },
    Pin {
        set: String,
        items: Vec<Item>,
    },
    /// The set has these items from now on, and no others.
    Replace {
        set: String,
        items: Vec<Item>,
    },
    Unpin {
        set: String,
    },
    /// Something that is kept for a part of the program under a word of its own.
    Note {
        word: &'static str,
        value: Vec<u8>,
    },
    NoNote {
        word: &'static str,
    },
    /// What upstream has removed of a package; `None`: nothing.
    Removed {
        name: PackageName,
        json: Option<Vec<u8>>,
    },
    /// All of these are to be looked at, whether or not anything has changed.
    Renew(Vec<String>),
    /// This news has been looked at.
    Seen(Vec<Mark>),
    /// Nothing: a look at the limits.
    Look,
}

/// What a change has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Applied {
    /// Whether anything is to be committed for it.
    pub(super) changed: bool,
    /// The packument that was held before.
    pub(super) before: Option<PackumentRecord>,
    /// Why it was refused.
    pub(super) refused: Option<pins::TooMuch>,
}

/// What the writer works with, besides the transaction.
pub(super) struct Surroundings<'a> {
    pub(super) contents: &'a Contents,
    pub(super) documents: &'a Documents,
    pub(super) marks: &'a Marks,
    pub(super) limits: &'a Limits,
}

/// A transaction, and the counts that belong to it.
pub(super) struct Work<'a> {
    pub(super) write: &'a WriteTransaction,
    pub(super) counts: &'a mut Counts,
    pub(super) with: &'a Surroundings<'a>,
    /// Tarballs that have come and gone.
    pub(super) moved: Vec<inventory::Change>,
    /// What this transaction changes: see [`News`](super::news::News).
    pub(super) news: BTreeSet<String>,
}

impl Work<'_> {
    pub(super) fn apply(&mut self, change: &Change) -> Result<Applied, redb::Error> {
        let changed = match change {
            Change::Packument { name, record } => return self.put_packument(name, record),
            Change::NoPackument { name } => {
                let before = self.remove_packument(name)?;
                return Ok(Applied { changed: before.is_some(), before, refused: None });
            }
            Change::Pin { set, items } => return self.pin(set, items),
            Change::Replace { set, items } => return self.replace_pins(set, items),
            Change::Confirmed { name, record } => self.confirm(name, record)?,
            Change::Account { name, revision, delta } => self.update(name, Some(revision), |held| {
                held.stored = held.stored.saturating_add_signed(*delta);
            })?,
            Change::Measured { name, revision, stored } => {
                self.update(name, Some(revision), |held| held.stored = *stored)?
            }
            Change::Doubt { name } => self.update(name, None, |held| held.checked_ms = 0)?,
            Change::Tarball { name, file, record } => self.put_tarball(name, file, record)?,
            Change::Blob { integrity, length, fetched_for } => {
                self.news.extend(fetched_for.iter().map(|name| name.as_str().to_owned()));
                self.put_blob(integrity, *length)?
            }
            Change::Adopt(found) => self.adopt(found)?,
            Change::Missing(item) => self.forget_missing(item)?,
            Change::Evidence { path, evidence } => self.put_evidence(path, evidence)?,
            Change::Unpin { set } => self.unpin(set)?,
            Change::Note { word, value } => {
                self.write.open_table(META)?.insert(*word, value.as_slice())?;
                true
            }
            Change::NoNote { word } => self.write.open_table(META)?.remove(*word)?.is_some(),
            Change::Removed { name, json } => self.put_removed(name, json.as_deref())?,
            Change::Renew(names) => {
                self.news.extend(names.iter().cloned());
                !names.is_empty()
            }
            Change::Seen(seen) => self.forget_news(seen)?,
            Change::Look => false,
        };
        Ok(Applied { changed, ..Applied::default() })
    }

    fn put_packument(
        &mut self,
        name: &PackageName,
        record: &PackumentRecord,
    ) -> Result<Applied, redb::Error> {
        // It may have been evicted between its way into place and now.
        if !self.with.documents.has(&record.revision) {
            return Ok(Applied::default());
        }
        let mut record = record.clone();
        let (before, place) = match self.packument(name)? {
            Some((place, before)) => {
                self.discount_packument(&before, place);
                if before.revision == record.revision {
                    // Its variants have stayed.
                    record.stored = record.stored.max(before.stored);
                }
                (Some(before), place)
            }
            None => (None, self.place(&Item::Packument(name.clone()), record.stored)?),
        };
        self.count_packument(&record, place);
        let row = json(&record)?;
        self.write.open_table(PACKUMENTS)?.insert(name.as_str(), (place, row.as_slice()))?;
        self.news.insert(name.as_str().to_owned());
        Ok(Applied { changed: true, before, refused: None })
    }

    /// A confirmation never brings back what has gone or changed meanwhile, and knows nothing of its variants.
    fn confirm(&mut self, name: &PackageName, record: &PackumentRecord) -> Result<bool, redb::Error> {
        self.update(name, Some(&record.revision), |held| {
            *held = PackumentRecord { stored: held.stored, ..record.clone() };
        })
    }

    /// Changes what is known of a packument, if it is held, of this revision. Says whether that is a change.
    fn update(
        &mut self,
        name: &PackageName,
        revision: Option<&Revision>,
        change: impl FnOnce(&mut PackumentRecord),
    ) -> Result<bool, redb::Error> {
        let held = self.packument(name)?;
        let fits = |held: &PackumentRecord| revision.is_none_or(|revision| held.revision == *revision);
        let Some((place, before)) = held.filter(|(_, held)| fits(held)) else {
            return Ok(false);
        };
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return Ok(false);
        }
        self.discount_packument(&before, place);
        self.count_packument(&after, place);
        let row = json(&after)?;
        self.write.open_table(PACKUMENTS)?.insert(name.as_str(), (place, row.as_slice()))?;
        Ok(true)
    }

    pub(super) fn remove_packument(
        &mut self,
        name: &PackageName,
    ) -> Result<Option<PackumentRecord>, redb::Error> {
        let Some((place, before)) = self.packument(name)? else {
            return Ok(None);
        };
        self.write.open_table(PACKUMENTS)?.remove(name.as_str())?;
        self.leave(&Item::Packument(name.clone()), place)?;
        self.discount_packument(&before, place);
        self.news.insert(name.as_str().to_owned());
        Ok(Some(before))
    }

    pub(super) fn packument(
        &self,
        name: &PackageName,
    ) -> Result<Option<(u64, PackumentRecord)>, redb::Error> {
        let packuments = self.write.open_table(PACKUMENTS)?;
        let row = packuments.get(name.as_str())?;
        Ok(row.and_then(|row| Some((row.value().0, read_json(row.value().1)?))))
    }

    fn put_tarball(
        &mut self,
        name: &PackageName,
        file: &FileName,
        record: &TarballRecord,
    ) -> Result<bool, redb::Error> {
        let key = tarball_key(name, file);
        self.write.open_table(TARBALLS)?.insert(key.as_str(), &record.row())?;
        let mut blobs = self.write.open_table(BLOBS)?;
        let digest = record.integrity.as_bytes();
        let held = blobs.get(digest)?.map(|row| (row.value().0, row.value().1));
        if let Some((length, place)) = held {
            blobs.insert(digest, (length, place, key.as_str()))?;
        }
        self.news.insert(name.as_str().to_owned());
        Ok(true)
    }

    fn put_blob(&mut self, integrity: &Integrity, length: u64) -> Result<bool, redb::Error> {
        // As for packuments.
        if !self.with.contents.has_blob(integrity) {
            return Ok(false);
        }
        let before = self.blob(integrity)?;
        let (place, name) = match &before {
            Some((before, place, name)) => {
                self.discount_blob(*before, *place);
                (*place, name.as_str())
            }
            None => (self.place(&Item::Blob(*integrity), on_disk(length))?, ""),
        };
        self.count_blob(length, place);
        self.write.open_table(BLOBS)?.insert(integrity.as_bytes(), (length, place, name))?;
        if before.is_none() {
            self.moved.push(inventory::Change::Kept(inventory::print(integrity)));
        }
        Ok(before.is_none())
    }

    fn adopt(&mut self, found: &[(Integrity, u64)]) -> Result<bool, redb::Error> {
        let mut changed = false;
        for (integrity, length) in found {
            changed |= self.blob(integrity)?.is_none() && self.put_blob(integrity, *length)?;
        }
        Ok(changed)
    }

    /// Its length and what it is called, if it was held.
    pub(super) fn remove_blob(
        &mut self,
        integrity: &Integrity,
    ) -> Result<Option<(u64, String)>, redb::Error> {
        let Some((length, place, name)) = self.blob(integrity)? else {
            return Ok(None);
        };
        self.write.open_table(BLOBS)?.remove(integrity.as_bytes())?;
        self.leave(&Item::Blob(*integrity), place)?;
        self.discount_blob(length, place);
        self.moved.push(inventory::Change::Gone(inventory::print(integrity)));
        self.tell_of_blob(integrity, &name);
        Ok(Some((length, name)))
    }

    pub(super) fn blob(&self, integrity: &Integrity) -> Result<Option<(u64, u64, String)>, redb::Error> {
        let blobs = self.write.open_table(BLOBS)?;
        let row = blobs.get(integrity.as_bytes())?;
        Ok(row.map(|row| {
            let (length, place, name) = row.value();
            (length, place, name.to_owned())
        }))
    }

    fn forget_missing(&mut self, item: &Item) -> Result<bool, redb::Error> {
        Ok(match item {
            Item::Blob(integrity) if !self.with.contents.has_blob(integrity) => {
                self.remove_blob(integrity)?.is_some()
            }
            Item::Packument(name) => match self.packument(name)? {
                Some((_, record)) if !self.with.documents.has(&record.revision) => {
                    self.remove_packument(name)?.is_some()
                }
                _ => false,
            },
            Item::Blob(_) | Item::Evidence(_) => false,
        })
    }

    fn put_evidence(&mut self, path: &str, evidence: &Evidence) -> Result<bool, redb::Error> {
        let row = sealed(json(evidence)?);
        let before = self.evidence_place(path)?;
        let bytes = (path.len() + row.len()) as u64;
        let place = match before {
            Some((place, before)) => {
                self.discount_evidence(before, place);
                place
            }
            None => self.place(&Item::Evidence(path.to_owned()), bytes)?,
        };
        self.count_evidence(bytes, place);
        self.write.open_table(EVIDENCE)?.insert(path, (place, row.as_slice()))?;
        Ok(before.is_none())
    }

    /// Its bytes, if it was held.
    pub(super) fn remove_evidence(&mut self, path: &str) -> Result<Option<u64>, redb::Error> {
        let Some((place, bytes)) = self.evidence_place(path)? else {
            return Ok(None);
        };
        self.write.open_table(EVIDENCE)?.remove(path)?;
        self.leave(&Item::Evidence(path.to_owned()), place)?;
        self.discount_evidence(bytes, place);
        Ok(Some(bytes))
    }

    pub(super) fn evidence_place(&self, path: &str) -> Result<Option<(u64, u64)>, redb::Error> {
        let evidence = self.write.open_table(EVIDENCE)?;
        let row = evidence.get(path)?;
        Ok(row.map(|row| (row.value().0, (path.len() + row.value().1.len()) as u64)))
    }

    /// A place for a new item: in its queue, unless it is pinned and there is room for another pin.
    fn place(&mut self, item: &Item, bytes: u64) -> Result<u64, redb::Error> {
        let room = self.with.limits.most_pinned().saturating_sub(self.counts.pinned_bytes);
        if bytes <= room && self.pins_of(item)? > 0 {
            return Ok(0);
        }
        enqueue(self.write, self.counts, item)
    }

    /// A stale mark would save whoever comes next in its place.
    fn leave(&mut self, item: &Item, place: u64) -> Result<(), redb::Error> {
        self.with.marks.take(item.mark());
        dequeue(self.write, self.counts, item.class(), place)
    }

    fn count_pinned(&mut self, bytes: u64, place: u64) {
        if place == 0 {
            self.counts.pinned += 1;
            self.counts.pinned_bytes += bytes;
        }
    }

    fn discount_pinned(&mut self, bytes: u64, place: u64) {
        if place == 0 {
            take(&mut self.counts.pinned, 1);
            take(&mut self.counts.pinned_bytes, bytes);
        }
    }

    pub(super) fn count_blob(&mut self, length: u64, place: u64) {
        self.counts.blobs += 1;
        self.counts.blob_bytes += length;
        self.counts.blob_stored += on_disk(length);
        self.count_pinned(on_disk(length), place);
    }

    pub(super) fn discount_blob(&mut self, length: u64, place: u64) {
        take(&mut self.counts.blobs, 1);
        take(&mut self.counts.blob_bytes, length);
        take(&mut self.counts.blob_stored, on_disk(length));
        self.discount_pinned(on_disk(length), place);
    }

    pub(super) fn count_packument(&mut self, record: &PackumentRecord, place: u64) {
        self.counts.packuments += 1;
        self.counts.packument_bytes += record.length;
        self.counts.packument_stored += record.stored;
        self.count_pinned(record.stored, place);
    }

    pub(super) fn discount_packument(&mut self, record: &PackumentRecord, place: u64) {
        take(&mut self.counts.packuments, 1);
        take(&mut self.counts.packument_bytes, record.length);
        take(&mut self.counts.packument_stored, record.stored);
        self.discount_pinned(record.stored, place);
    }

    pub(super) fn count_evidence(&mut self, bytes: u64, place: u64) {
        self.counts.evidence += 1;
        self.counts.evidence_bytes += bytes;
        self.count_pinned(bytes, place);
    }

    pub(super) fn discount_evidence(&mut self, bytes: u64, place: u64) {
        take(&mut self.counts.evidence, 1);
        take(&mut self.counts.evidence_bytes, bytes);
        self.discount_pinned(bytes, place);
    }
}
