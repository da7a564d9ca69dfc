//! What upstream has removed of each package. It is never evicted: a package that is gone may have nothing else that says so.

use redb::{ReadTransaction, ReadableTable as _};
use resolver::package::PackageName;
use resolver::removed::Removals;

use super::change::{Change, Work};
use super::tables::{REMOVED, sealed, unsealed};
use super::totals::take;
use super::{Store, StoreError};

/// All of it together, in bytes: some 300,000 versions, a hundred times what npm removes in a year of the packages that a gateway holds.
const MOST: u64 = 64 * 1024 * 1024;

impl Work<'_> {
    pub(super) fn put_removed(
        &mut self,
        name: &PackageName,
        json: Option<&[u8]>,
    ) -> Result<bool, redb::Error> {
        let mut removed = self.write.open_table(REMOVED)?;
        let before = removed.get(name.as_str())?.map(|row| row.value().len() as u64);
        let row = json.map(|json| sealed(json.to_vec()));
        let length = row.as_ref().map_or(0, |row| row.len() as u64);
        let left = self.counts.removed_bytes.saturating_sub(before.unwrap_or(0));
        if left.saturating_add(length) > MOST {
            tracing::warn!(%name, "upstream has removed more than is remembered; this is left out");
            return Ok(false);
        }
        match &row {
            Some(row) => drop(removed.insert(name.as_str(), row.as_slice())?),
            None => drop(removed.remove(name.as_str())?),
        }
        take(&mut self.counts.removed_bytes, before.unwrap_or(0));
        self.counts.removed_bytes += length;
        self.news.insert(name.as_str().to_owned());
        Ok(true)
    }
}

impl Store {
    /// What upstream has removed of a package. `None`: that cannot be read now. Blocks for a moment.
    #[must_use]
    pub fn removed(&self, name: &PackageName) -> Option<Removals> {
        self.inner.state.read(|read: &ReadTransaction| {
            let row = read.open_table(REMOVED)?.get(name.as_str())?;
            let removals = row.and_then(|row| Removals::parse(unsealed(row.value())?).ok());
            Ok(Some(removals.unwrap_or_default()))
        })
    }

    /// Keeps what upstream has removed of a package.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be committed.
    pub async fn keep_removed(&self, name: &PackageName, removals: &Removals) -> Result<(), StoreError> {
        self.commit(Change::Removed { name: name.clone(), json: removals.to_json() }).await.map(drop)
    }
}
