//! Tarballs: which digest a name stands for, and the bytes of that digest.

use resolver::integrity::{Expected, Integrity};
use resolver::package::{FileName, PackageName};
use resolver::plan::{Plan, Wish};
use resolver::variant::Revision;

use super::arriving::Arriving;
use super::download::{Opened, Order, Word};
use super::failure::Failure;
use super::packuments::Document;
use super::{Fetch, Provenance, TarballRequest};
use crate::store::Blob;

/// A tarball that a client can have.
pub enum Tarball {
    /// Verified, and here.
    Held {
        /// The bytes.
        blob: Blob,
        /// Where they came from for this request.
        source: Provenance,
        /// Whether upstream's own word, and not only the client's, ties the name to these bytes.
        confirmed: bool,
    },
    /// Still on its way: it is larger than is verified first, or there is no room for it here.
    Arriving(Arriving),
}

/// How somebody wants a tarball.
#[derive(Debug, Clone, Copy)]
struct Manner {
    /// All of it at once.
    whole: bool,
    /// Peers may be asked for it.
    peers: bool,
}

/// What upstream's packument says of a file.
struct Release {
    expected: Expected,
    address: String,
    /// Of the packument.
    revision: Revision,
}

impl Fetch {
    /// A tarball. With `whole`, verified bytes that are all here, if there is any room for them; otherwise a large one
    /// may be arriving.
    ///
    /// # Errors
    /// [`Failure`], when it is neither held nor to be had.
    pub async fn tarball(&self, request: &TarballRequest, whole: bool) -> Result<Tarball, Failure> {
        self.tarball_for(request, Manner { whole, peers: true }).await
    }

    /// As [`Self::tarball`], but no peer is asked: for a peer that wants it fetched, so that no request goes in circles.
    ///
    /// # Errors
    /// [`Failure`], when it is neither held nor to be had from upstream.
    pub async fn tarball_alone(&self, request: &TarballRequest, whole: bool) -> Result<Tarball, Failure> {
        self.tarball_for(request, Manner { whole, peers: false }).await
    }

    async fn tarball_for(&self, request: &TarballRequest, manner: Manner) -> Result<Tarball, Failure> {
        if let Some(notice) = self.blocked(request) {
            return Err(Failure::Blocked(notice));
        }
        let tarball = match request {
            TarballRequest::Digest(integrity) => self.by_digest(integrity, manner).await?,
            TarballRequest::Named(name, file, hint) => self.by_name(name, file, *hint, manner).await?,
        };
        self.unless_blocked(tarball)
    }

    /// The digest that a name stands for, as far as that is known without asking anybody: upstream's word before the
    /// client's.
    pub async fn digest(
        &self,
        name: &PackageName,
        file: &FileName,
        hint: Option<Integrity>,
    ) -> Option<Integrity> {
        self.known(name, file, hint).await.or(hint)
    }

    async fn by_digest(&self, integrity: &Integrity, manner: Manner) -> Result<Tarball, Failure> {
        if let Some(blob) = self.inner.store.blob(integrity).await {
            return Ok(held(blob, true));
        }
        let path = format!("-/tarballs/sha512/{}", integrity.base64url());
        let address = format!("{}/{path}", self.inner.upstream.base());
        let expected = Expected::Integrity(*integrity);
        let (what, word) = (integrity.to_string(), Word::Upstream);
        self.download(Order { what, named: None, address, expected, word, peers: manner.peers }, manner.whole)
            .await
    }

    async fn by_name(
        &self,
        name: &PackageName,
        file: &FileName,
        hint: Option<Integrity>,
        manner: Manner,
    ) -> Result<Tarball, Failure> {
        let known = self.known(name, file, hint).await;
        // A client's digest never overrules upstream's: who asks for a name must not get another package.
        let hint = hint.filter(|hint| known.is_none_or(|known| known == *hint));
        if let Some(integrity) = hint.or(known)
            && let Some(blob) = self.inner.store.blob(&integrity).await
        {
            return Ok(held(blob, known.is_some()));
        }
        let unseen = self.inner.store.packument(name).is_none();
        if let Some(integrity) = hint.filter(|_| unseen) {
            match self.by_hint(name, file, integrity, manner).await {
                Err(Failure::NotFound(_) | Failure::Unavailable { .. }) if self.can_ask() => {}
                other => return other,
            }
        }
        self.by_packument(name, file, manner).await
    }

    /// The digest that upstream's word ties to a name: the packument's that is held, otherwise what it was when the
    /// tarball was fetched. A client that expects the latter needs no look into the packument.
    async fn known(&self, name: &PackageName, file: &FileName, hint: Option<Integrity>) -> Option<Integrity> {
        let record = self.inner.store.tarball(name, file);
        let fetched = record.map(|record| record.integrity);
        if hint.is_some() && hint == fetched {
            return fetched;
        }
        // The packument that is held is the one that said so: there is no need to read it again.
        let held = self.inner.store.packument(name);
        if held.is_some_and(|held| record.is_some_and(|record| record.is_word_of(&held.revision))) {
            return fetched;
        }
        match self.release_held(name, file).await {
            Ok(Some(Release { expected: Expected::Integrity(promised), .. })) => Some(promised),
            _ => fetched,
        }
    }

    /// With a lockfile's digest a tarball needs no packument.
    async fn by_hint(
        &self,
        name: &PackageName,
        file: &FileName,
        integrity: Integrity,
        manner: Manner,
    ) -> Result<Tarball, Failure> {
        let address = self.inner.upstream.origins().tarball(None, name, file);
        let (what, expected) = (name.tarball_path(file), Expected::Integrity(integrity));
        let (named, word) = (Some((name.clone(), file.clone())), Word::Client);
        self.download(Order { what, named, address, expected, word, peers: manner.peers }, manner.whole).await
    }

    async fn by_packument(
        &self,
        name: &PackageName,
        file: &FileName,
        manner: Manner,
    ) -> Result<Tarball, Failure> {
        let release = self.release(name, file).await?;
        if let Expected::Integrity(integrity) = &release.expected
            && let Some(blob) = self.inner.store.blob(integrity).await
        {
            self.note(name, file, integrity, &release.revision).await;
            return Ok(held(blob, true));
        }
        let Release { expected, address, revision } = release;
        let (what, named) = (name.tarball_path(file), Some((name.clone(), file.clone())));
        let order = Order { what, named, address, expected, word: Word::Upstream, peers: manner.peers };
        let tarball = self.download(order, manner.whole).await?;
        if let Tarball::Held { blob, .. } = &tarball {
            self.note(name, file, blob.integrity(), &revision).await;
        }
        Ok(tarball)
    }

    /// Remembers what a name stands for, as far as the disk takes it: without it the packument is asked the next time.
    async fn note(&self, name: &PackageName, file: &FileName, is: &Integrity, said_by: &Revision) {
        if let Err(error) = self.inner.store.keep_tarball(name, file, is, Some(said_by)).await {
            tracing::debug!(%error, %name, "what a tarball's name stands for was not kept");
        }
    }

    /// What upstream says of a file; a document that does not know the file yet is asked for once more.
    async fn release(&self, name: &PackageName, file: &FileName) -> Result<Release, Failure> {
        let held = self.inner.store.packument(name).is_some();
        if held && let Some(release) = self.release_held(name, file).await? {
            return Ok(release);
        }
        // Only upstream can say that there is no such version.
        let what = name.tarball_path(file);
        let document =
            if held { self.confirmed(name, &what).await? } else { self.packument(name, Wish::Usual).await? };
        let mut release = self.release_in(&document, file).await?;
        if release.is_none() && document.source == Provenance::Home && !held {
            // Home's word may be of before.
            let document = self.confirmed(name, &what).await?;
            release = self.release_in(&document, file).await?;
        }
        release.ok_or(Failure::NotFound(what))
    }

    async fn release_held(&self, name: &PackageName, file: &FileName) -> Result<Option<Release>, Failure> {
        match self.held(name) {
            Some(document) => self.release_in(&document, file).await,
            None => Ok(None),
        }
    }

    async fn release_in(&self, document: &Document, file: &FileName) -> Result<Option<Release>, Failure> {
        let (name, outline) = (&document.name, self.outline(document).await?);
        let Some(release) = outline.release_of_file(file) else {
            return Ok(None);
        };
        let Some(expected) = release.expected else {
            return Err(Failure::unavailable(&name.tarball_path(file), "upstream names no digest for it"));
        };
        let address = self.inner.upstream.origins().tarball(release.tarball.as_deref(), name, file);
        Ok(Some(Release { expected, address, revision: document.record.revision }))
    }

    fn can_ask(&self) -> bool {
        Plan::for_tarball(false, &self.inner.upstream.latch().link()).obstacle.is_none()
    }

    async fn download(&self, order: Order, whole: bool) -> Result<Tarball, Failure> {
        let confirmed = order.word == Word::Upstream;
        Ok(match self.inner.downloads.open(order, whole).await? {
            Opened::Kept(blob, source) => Tarball::Held { blob, source, confirmed },
            Opened::Arriving(arriving) => Tarball::Arriving(arriving),
        })
    }
}

fn held(blob: Blob, confirmed: bool) -> Tarball {
    Tarball::Held { blob, source: Provenance::Store, confirmed }
}
