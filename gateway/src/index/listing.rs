//! What stands in a package's directory: a function of what the store holds of it.
//!
//! A tarball is listed when it is held under the digest that upstream's packument gives to its file. Where the packument is not
//! held, what an earlier one has said counts: the digest was upstream's word when the tarball was fetched. What a client alone
//! has said of a file is never listed.

use std::collections::BTreeMap;

use resolver::index::Folder;
use resolver::integrity::{Expected, Integrity};
use resolver::package::{FileName, PackageName};
use resolver::packument::Outline;
use resolver::removed::Removals;
use resolver::variant::Revision;

use super::files::{self, Forms, Fresh};
use super::tables::{Digest, FileRow, INSTALL, METADATA, REMOVED};
use super::{Basis, Inner};
use crate::fetch;
use crate::store::{Frames, Package};

/// The documents of a package, by their names.
pub(super) type Rows = BTreeMap<String, FileRow>;

/// What has changed in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) folder: Folder,
    /// What comes, or takes the place of what was there.
    pub(super) fresh: Vec<(String, Fresh)>,
    /// What goes, or gives its place to something else.
    pub(super) gone: Rows,
    /// Nothing was there before.
    pub(super) was_empty: bool,
    /// Nothing is left.
    pub(super) is_empty: bool,
}

/// Why nothing can be said of a package now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

impl Difference {
    /// How many rows it changes.
    pub(super) fn weight(&self) -> usize {
        self.fresh.len() + self.gone.len()
    }

    /// The tarballs that go: others may have listed them too.
    pub(super) fn tarballs_gone(&self) -> impl Iterator<Item = &Integrity> {
        self.gone.values().filter_map(|row| match &row.digest {
            Digest::Tarball(integrity) => Some(integrity),
            Digest::Packument(_) | Digest::Own(_) => None,
        })
    }
}

/// What upstream's packument promises of each file.
type Promised = Vec<(FileName, Option<Expected>)>;

impl Basis {
    fn is_private(&self, name: &PackageName) -> bool {
        name.scope().is_some_and(|scope| self.private_scopes.iter().any(|private| private == scope))
    }
}

impl Inner {
    /// What is to change so that a package's directory, of which these documents are listed, lists what is held.
    ///
    /// # Errors
    /// [`Unreadable`] while the state cannot be read, which says nothing of what is held.
    pub(super) async fn difference(&self, name: PackageName, listed: Rows) -> Result<Difference, Unreadable> {
        let (mut directory, mut removed) = (Directory::of(listed), None);
        let is_private = self.basis.is_private(&name);
        if !is_private {
            let package = self.basis.store.package(&name).ok_or(Unreadable)?;
            removed.clone_from(&package.removed);
            let takedowns = self.basis.fetch.takedowns();
            let is_served = takedowns.of_package(&name).is_none();
            let promised = match &package.packument {
                Some(record) if is_served => self.documents(&record.revision, &mut directory).await,
                _ => None,
            };
            let is_served = |(file, integrity): &(FileName, Integrity)| {
                takedowns.of_file(&name, file).is_none() && takedowns.of_digest(integrity).is_none()
            };
            let served = candidates(&package, promised).into_iter().filter(is_served);
            let (files, digests): (Vec<_>, Vec<_>) = served.unzip();
            let lengths = self.basis.store.lengths(&digests).ok_or(Unreadable)?;
            for ((file, integrity), length) in files.into_iter().zip(digests).zip(lengths) {
                if let Some(length) = length {
                    self.tarball(file, &integrity, length, &mut directory).await;
                }
            }
        }
        if !is_private && let Some(json) = self.removed(&name, removed.as_deref()) {
            directory.put_own(REMOVED, json);
        }
        Ok(directory.difference(Folder::Package(name)))
    }

    /// What was taken down of a package, by upstream as the store knows it, and by the operator.
    fn removed(&self, name: &PackageName, upstream: Option<&[u8]>) -> Option<Vec<u8>> {
        let upstream = upstream.and_then(|json| Removals::parse(json).ok()).unwrap_or_default();
        self.basis.fetch.takedowns().removals(name, &upstream).to_json()
    }

    /// A packument's two documents, and what it promises; `None` when it cannot be read.
    async fn documents(&self, revision: &Revision, directory: &mut Directory) -> Option<Promised> {
        let of = Digest::Packument(*revision);
        let is_listed = directory.lists(METADATA, &of) && directory.lists(INSTALL, &of);
        let (revision, install) = (*revision, fetch::install_form(&self.basis.canonical));
        let look = move |frames: &Frames, outline: &Outline| {
            let forms =
                if is_listed { None } else { Some(files::forms(frames, outline, &revision, &install)?) };
            let promised = outline.releases().iter().map(|one| (one.file.clone(), one.expected));
            Ok((promised.collect(), forms))
        };
        let (promised, forms) = self.basis.fetch.examine(&revision, look).await?;
        match forms {
            Some(Forms { metadata, install }) => {
                directory.fresh.push((METADATA.to_owned(), metadata));
                directory.fresh.push((INSTALL.to_owned(), install));
            }
            None => [METADATA, INSTALL].into_iter().for_each(|file| directory.keep(file)),
        }
        Some(promised)
    }

    async fn tarball(&self, file: FileName, integrity: &Integrity, length: u64, directory: &mut Directory) {
        let Basis { store, fetch, .. } = &self.basis;
        if directory.lists(file.as_str(), &Digest::Tarball(*integrity)) {
            directory.keep(file.as_str());
            return;
        }
        // Several files with the same bytes are read once.
        let fresh = match directory.of_tarball(integrity) {
            Some(fresh) => Some(fresh),
            None => files::tarball(store, fetch, integrity, length).await,
        };
        if let Some(fresh) = fresh {
            directory.tarballs.insert(*integrity, directory.fresh.len());
            directory.fresh.push((file.as_str().to_owned(), fresh));
        }
    }
}

/// A directory that is looked at.
pub(super) struct Directory {
    /// What was listed, and has not been found to be held yet.
    listed: Rows,
    stays: Rows,
    fresh: Vec<(String, Fresh)>,
    /// Where in `fresh` there is a file with these bytes.
    tarballs: BTreeMap<Integrity, usize>,
}

impl Directory {
    pub(super) fn of(listed: Rows) -> Self {
        Self { listed, stays: Rows::new(), fresh: Vec::new(), tarballs: BTreeMap::new() }
    }

    fn lists(&self, file: &str, digest: &Digest) -> bool {
        self.listed.get(file).is_some_and(|row| row.digest == *digest)
    }

    fn of_tarball(&self, integrity: &Integrity) -> Option<Fresh> {
        let nth = self.tarballs.get(integrity)?;
        self.fresh.get(*nth).map(|(_, fresh)| fresh.clone())
    }

    fn keep(&mut self, file: &str) {
        if let Some((file, row)) = self.listed.remove_entry(file) {
            self.stays.insert(file, row);
        }
    }

    /// A document stands there, whether or not it did before.
    pub(super) fn put(&mut self, file: &str, fresh: Fresh) {
        if self.lists(file, &fresh.row.digest) {
            self.keep(file);
        } else {
            self.fresh.push((file.to_owned(), fresh));
        }
    }

    /// What has become of it; what was listed and has not been found again goes.
    pub(super) fn difference(self, folder: Folder) -> Difference {
        let is_empty = self.stays.is_empty() && self.fresh.is_empty();
        let was_empty = self.stays.is_empty() && self.listed.is_empty();
        Difference { folder, fresh: self.fresh, gone: self.listed, was_empty, is_empty }
    }
}

/// The digests of a package's files, each file once.
fn candidates(package: &Package, promised: Option<Promised>) -> BTreeMap<FileName, Integrity> {
    let fetched: BTreeMap<_, _> =
        package.tarballs.iter().map(|(file, record)| (file.clone(), record.integrity)).collect();
    let Some(promised) = promised else { return fetched };
    let digest = |(file, expected): (FileName, Option<Expected>)| {
        let digest = match expected {
            Some(Expected::Integrity(integrity)) => integrity,
            // Old versions have a SHA-1: what was fetched had it.
            Some(Expected::Shasum(_)) => *fetched.get(&file)?,
            None => return None,
        };
        Some((file, digest))
    };
    promised.into_iter().filter_map(digest).collect()
}
