//! What is held of one package, for whoever lists all that is held.

use std::ops::Bound;

use redb::ReadTransaction;
use resolver::integrity::Integrity;
use resolver::package::{FileName, PackageName};

use super::Store;
use super::blob::Blob;
use super::tables::{
    BLOBS, PACKUMENTS, PackumentRecord, REMOVED, TARBALLS, TarballRecord, read_json, read_tarball_key,
    unsealed,
};

/// What the state says of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its packument, if it is held.
    pub packument: Option<PackumentRecord>,
    /// Which digests upstream's packuments have given to its files, of those that were fetched; whether they are held
    /// [`Store::lengths`] tells.
    pub tarballs: Vec<(FileName, TarballRecord)>,
    /// What upstream has removed of it, as [`resolver::removed`] writes it.
    pub removed: Option<Vec<u8>>,
}

impl Store {
    /// What is known of a package; it does not count as used. `None`: the state cannot be read now, which says nothing of
    /// what is held. Blocks for a moment.
    #[must_use]
    pub fn package(&self, name: &PackageName) -> Option<Package> {
        self.inner.state.read(|read| {
            let row = read.open_table(PACKUMENTS)?.get(name.as_str())?;
            let packument = row.and_then(|row| read_json(row.value().1));
            let removed = read.open_table(REMOVED)?.get(name.as_str())?;
            let removed = removed.and_then(|row| unsealed(row.value()).map(<[u8]>::to_vec));
            Ok(Some(Package { packument, tarballs: tarballs(read, name)?, removed }))
        })
    }

    /// Up to `most` packuments by their names, behind this one; they do not count as used. `None`: the state cannot be read now. Blocks for
    /// a moment.
    #[must_use]
    pub fn packuments_behind(&self, name: &str, most: usize) -> Option<Vec<(PackageName, PackumentRecord)>> {
        self.inner.state.read(|read| {
            let packuments = read.open_table(PACKUMENTS)?;
            let mut found = Vec::new();
            for row in packuments.range::<&str>((Bound::Excluded(name), Bound::Unbounded))?.take(most) {
                let (name, row) = row?;
                if let (Ok(name), Some(record)) = (PackageName::parse(name.value()), read_json(row.value().1))
                {
                    found.push((name, record));
                }
            }
            Ok(Some(found))
        })
    }

    /// How many bytes each of these tarballs has, if it is held; `None`: the state cannot be read now. Blocks for a moment.
    #[must_use]
    pub fn lengths(&self, tarballs: &[Integrity]) -> Option<Vec<Option<u64>>> {
        self.inner.state.read(|read| {
            let blobs = read.open_table(BLOBS)?;
            let length =
                |integrity: &Integrity| Ok(blobs.get(integrity.as_bytes())?.map(|row| row.value().0));
            tarballs.iter().map(length).collect::<Result<Vec<_>, redb::Error>>().map(Some)
        })
    }

    /// The tarball with this digest, if it is held and intact; it does not count as used.
    pub async fn blob_unused(&self, integrity: &Integrity) -> Option<Blob> {
        self.look_for_blob(integrity).await
    }
}

fn tarballs(
    read: &ReadTransaction,
    name: &PackageName,
) -> Result<Vec<(FileName, TarballRecord)>, redb::Error> {
    let (from, to) = (format!("{name}\0"), format!("{name}\u{1}"));
    let mut tarballs = Vec::new();
    for row in read.open_table(TARBALLS)?.range::<&str>(from.as_str()..to.as_str())? {
        let (key, row) = row?;
        if let (Some((_, file)), Some(record)) =
            (read_tarball_key(key.value()), TarballRecord::read(row.value()))
        {
            tarballs.push((file, record));
        }
    }
    Ok(tarballs)
}
