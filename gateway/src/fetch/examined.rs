//! Documents that are held, looked into by whoever lists them: nobody is asked for anything, and nothing counts as used.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use resolver::client::TarballUrls;
use resolver::package::PackageName;
use resolver::packument::{Outline, Text as _};
use resolver::variant::{Encoding, Form, Revision, Variant};

use super::Fetch;
use super::packuments::Document;
use super::ready::Ready;
use super::{Provenance, renderings};
use crate::store::{self, Coded, Frames, PackumentRecord};

impl Fetch {
    /// Looks into a document when its turn has come among all work on whole documents. `None`: it is not held, or damaged
    /// (then it goes), or the work came to a sudden end.
    pub async fn examine<T: Send + 'static>(
        &self,
        revision: &Revision,
        look: impl FnOnce(&Frames, &Outline) -> io::Result<T> + Send + 'static,
    ) -> Option<T> {
        let (store, revision) = (self.inner.store.clone(), *revision);
        let outline = self.inner.renderings.outline_at_hand(&revision);
        let work = move || {
            let frames = store.document(&revision)?;
            let looked = outline.map_or_else(|| store::outline(&frames).map(Arc::new), Ok);
            let looked = looked.and_then(|outline| look(&frames, &outline));
            looked.inspect_err(|error| renderings::damaged(&store, &revision, &frames, error)).ok()
        };
        self.inner.workers.run(work).await.flatten()
    }

    /// Does other work that takes a while when its turn has come among all such. `None`: it came to a sudden end.
    pub async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        self.inner.workers.run(work).await
    }

    /// The bytes in `range` of the abbreviated form of the packument that is held, with tarballs below `canonical`; made first if
    /// it has not been made yet. `None`: it is not held in this revision, or cannot be read.
    pub async fn install_form(
        &self,
        name: &PackageName,
        revision: &Revision,
        canonical: &str,
        range: std::ops::Range<usize>,
    ) -> Option<Bytes> {
        let record = self.inner.store.packument_unused(name).filter(|held| held.revision == *revision)?;
        let variant = install_form(canonical);
        match self.obtain_ready(&alone(name, record), &variant).await.ok()?.ok()? {
            Ready::Coded(Coded::Whole(bytes)) => (range.end <= bytes.len()).then(|| bytes.slice(range)),
            Ready::Plain(frames) => self.work(move || part(&frames, range)).await?.ok(),
            Ready::Coded(Coded::File(..)) | Ready::Packed(_) => None,
        }
    }

    /// The bytes in `range` of a packument that is held, as upstream sent it.
    pub async fn original(&self, revision: &Revision, range: std::ops::Range<usize>) -> Option<Bytes> {
        self.examine(revision, move |frames, _| part(frames, range)).await
    }
}

/// The form of a packument that stands in an index.
#[must_use]
pub fn install_form(canonical: &str) -> Variant {
    let urls = TarballUrls::At(canonical.to_owned());
    // All that upstream has: what is not served stands beside it.
    Variant { form: Form::Abbreviated, encoding: Encoding::Identity, urls, hidden: Vec::new() }
}

fn part(frames: &Frames, range: std::ops::Range<usize>) -> io::Result<Bytes> {
    let mut part = Vec::with_capacity(range.len());
    frames.text()?.copy(range, &mut |piece| {
        part.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(part.into())
}

/// The document as it is held, however old.
fn alone(name: &PackageName, record: PackumentRecord) -> Document {
    Document {
        name: name.clone(),
        record: Arc::new(record),
        fresh_for: std::time::Duration::ZERO,
        usable_for: std::time::Duration::ZERO,
        source: Provenance::Store,
        stale: None,
        loose: None,
    }
}

#[cfg(test)]
impl Fetch {
    /// One that has a store, and nobody to ask.
    pub(crate) fn alone(store: crate::store::Store) -> Self {
        let (_, upstream) = crate::upstream::played::Played::new("http://127.0.0.1:1/registry");
        let windows = resolver::plan::Windows {
            fresh: std::time::Duration::from_secs(300),
            stale: std::time::Duration::from_secs(3600),
        };
        let settings = super::Settings { windows, verify_first_max: 1 << 20 };
        Self::new(store, upstream, settings, Arc::new(crate::metrics::Metrics::new()))
    }
}
