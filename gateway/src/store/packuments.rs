//! Packuments in the store: which revision a name stands for, its document, and the variants that were made of it.

use std::io;
use std::sync::Arc;

use resolver::package::PackageName;
use resolver::packument::Outline;
use resolver::variant::Revision;

use super::change::Change;
use super::content::Found;
use super::documents::{self, Coded, Documents};
use super::tables::on_disk;
use super::{Draft, Frames, FramesWriter, PackumentRecord, Store, StoreError};

/// Names one variant of one revision of one package.
#[derive(Debug, Clone)]
pub struct VariantKey {
    /// Whose.
    pub name: PackageName,
    /// Of which document.
    pub revision: Revision,
    /// The variant's entity tag, without its quotes.
    pub tag: String,
}

impl Store {
    /// What is known of a package's packument.
    #[must_use]
    pub fn packument(&self, name: &PackageName) -> Option<PackumentRecord> {
        self.inner.state.packument(name)
    }

    /// The same for whoever only looks: it does not count as used.
    #[must_use]
    pub fn packument_unused(&self, name: &PackageName) -> Option<PackumentRecord> {
        self.inner.state.packument_unused(name)
    }

    /// Visits the names of all packuments that are held. Blocks: a tenth of a second for 100,000.
    pub fn each_packument(&self, visit: impl FnMut(&str)) {
        self.inner.state.each_packument(visit);
    }

    /// What the document of a revision says, for whoever only looks: what turns out to be damaged stays. Blocks.
    ///
    /// # Errors
    /// `NotFound`, or `InvalidData` when it is damaged.
    pub fn outline_unused(&self, revision: &Revision) -> io::Result<Outline> {
        self.documents().outline(revision)
    }

    /// Ends a document with what is known of it, so that it can be kept. Blocks.
    ///
    /// # Errors
    /// [`StoreError`] when the disk refuses.
    pub fn end_document(
        writer: FramesWriter,
        name: &PackageName,
        outline: &Outline,
        record: &PackumentRecord,
    ) -> Result<Draft, StoreError> {
        Ok(Documents::finish(writer, name, outline, record)?)
    }

    /// Keeps a document whose bytes were verified to be of this revision; the one before it goes, with all that was
    /// made of it.
    ///
    /// # Errors
    /// [`StoreError`] when the disk refuses; the one before stays then.
    pub async fn keep_packument(
        &self,
        name: &PackageName,
        draft: Draft,
        record: PackumentRecord,
    ) -> Result<PackumentRecord, StoreError> {
        self.check_room()?;
        let stored = on_disk(self.documents().keep(draft, &record.revision).await?);
        let record = PackumentRecord { stored, ..record };
        let applied = self.commit(Change::Packument { name: name.clone(), record: record.clone() }).await?;
        if !applied.changed {
            // Its files have been evicted, or removed by somebody else, before their row was there.
            return Err(StoreError::Full);
        }
        if let Some(before) = applied.before.filter(|before| before.revision != record.revision) {
            documents::remove(self.documents(), before.revision).await;
        }
        Ok(record)
    }

    /// Files of this revision (its variants) have grown by so many bytes, or shrunk; nothing, if it is no longer held.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be committed.
    pub async fn account_packument(
        &self,
        name: &PackageName,
        revision: &Revision,
        delta: i64,
    ) -> Result<(), StoreError> {
        self.commit(Change::Account { name: name.clone(), revision: *revision, delta }).await.map(drop)
    }

    /// Upstream has confirmed the packument that is held.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be committed.
    pub async fn confirm_packument(
        &self,
        name: &PackageName,
        record: PackumentRecord,
    ) -> Result<(), StoreError> {
        self.commit(Change::Confirmed { name: name.clone(), record }).await.map(drop)
    }

    /// What is held counts as confirmed long ago, for it has changed; says whether anything is held.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be committed.
    pub async fn doubt_packument(&self, name: &PackageName) -> Result<bool, StoreError> {
        if self.inner.state.packument_unused(name).is_none() {
            return Ok(false);
        }
        Ok(self.commit(Change::Doubt { name: name.clone() }).await?.changed)
    }

    /// Upstream no longer has the package. Its tarballs stay, for those who have their digests.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be committed.
    pub async fn remove_packument(&self, name: &PackageName) -> Result<(), StoreError> {
        let applied = self.commit(Change::NoPackument { name: name.clone() }).await?;
        if let Some(before) = applied.before {
            documents::remove(self.documents(), before.revision).await;
        }
        Ok(())
    }

    /// Whether there is a document of this revision; whether it is intact shows when it is read.
    #[must_use]
    pub fn has_document(&self, revision: &Revision) -> bool {
        self.documents().has(revision)
    }

    /// The document of a revision, if it is held; damage that opening shows is counted, and it is removed. Blocks.
    #[must_use]
    pub fn document(&self, revision: &Revision) -> Option<Frames> {
        self.intact(self.documents().open(revision), || self.count_corrupt(&revision.hex()))
    }

    /// A document that was opened has turned out to be damaged: it goes, with all that was made of it, unless it has gone already. Blocks.
    pub fn document_is_damaged(&self, revision: &Revision, document: &Frames) {
        if document.file().is_some_and(|file| self.documents().remove_this(revision, file)) {
            self.count_corrupt(&revision.hex());
        }
    }

    /// A coded variant, if it has been made. Blocks.
    #[must_use]
    pub fn coded(&self, key: &VariantKey) -> Option<Coded> {
        self.intact(self.documents().coded(&key.revision, &key.tag), || self.count_corrupt_variant(key))
    }

    /// An uncoded variant, if it has been made. Blocks.
    #[must_use]
    pub fn plain(&self, key: &VariantKey) -> Option<Frames> {
        self.intact(self.documents().plain(&key.revision, &key.tag), || self.count_corrupt_variant(key))
    }

    /// Keeps a coded variant, sealed with the SHA-256 of its bytes.
    ///
    /// # Errors
    /// [`StoreError`] when the disk refuses, or the revision has gone meanwhile.
    pub async fn keep_coded(
        &self,
        key: &VariantKey,
        draft: Draft,
        sha256: [u8; 32],
    ) -> Result<(), StoreError> {
        self.check_room()?;
        let stored = self.documents().keep_coded(draft, sha256, (&key.revision, &key.tag)).await?;
        self.account_packument(&key.name, &key.revision, i64::try_from(on_disk(stored)).unwrap_or(i64::MAX))
            .await
    }

    /// Keeps an uncoded variant.
    ///
    /// # Errors
    /// [`StoreError`] when the disk refuses, or the revision has gone meanwhile.
    pub async fn keep_plain(&self, key: &VariantKey, draft: Draft) -> Result<(), StoreError> {
        self.check_room()?;
        let stored = self.documents().keep_plain(draft, (&key.revision, &key.tag)).await?;
        self.account_packument(&key.name, &key.revision, i64::try_from(on_disk(stored)).unwrap_or(i64::MAX))
            .await
    }

    fn documents(&self) -> &Arc<Documents> {
        &self.inner.state.shared().documents
    }

    fn count_corrupt_variant(&self, key: &VariantKey) {
        self.totals().found_corrupt_variant(&key.revision, &key.tag);
    }

    fn intact<T>(&self, found: Found<T>, count: impl FnOnce()) -> Option<T> {
        match found {
            Found::Intact(found) => Some(found),
            Found::Missing => None,
            Found::Corrupt => {
                count();
                None
            }
        }
    }
}
