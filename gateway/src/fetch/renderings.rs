//! Final bytes of packuments: made once per revision and variant, kept in memory while they are used.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use quick_cache::sync::Cache;
use quick_cache::{OptionsBuilder, Weighter};
use resolver::package::PackageName;
use resolver::packument::{self, Outline};
use resolver::variant::{Encoding, Form, Revision, Variant};
use tokio::sync::OwnedSemaphorePermit;

use super::Fetch;
use super::budget::Budget;
use super::decode;
use super::failure::Failure;
use super::packuments::{Document, LONGEST};
use crate::upstream::{Answer, UpstreamError};

/// Rendered bytes kept in memory; what is pushed out is rendered again.
const RENDERED_BYTES: u64 = 64 * 1024 * 1024;
/// Outlines kept in memory.
const OUTLINE_BYTES: u64 = 24 * 1024 * 1024;
/// What a document is taken for before its length is known: few are longer.
const TYPICAL: u64 = 16 * 1024 * 1024;
/// What gzip spends: level 6 packs 10 MB in 0.1 s and is done once per variant.
const GZIP: u32 = 6;

/// Renderings and outlines in memory.
pub(super) struct Renderings {
    budget: Budget,
    rendered: Cache<String, Bytes, Weights>,
    outlines: Cache<Revision, Arc<Outline>, Weights>,
}

/// One variant of one document, as it goes out.
pub struct Rendering {
    /// The document that was rendered: a newer one than was asked for, if that was replaced meanwhile.
    pub document: Document,
    /// The bytes.
    pub bytes: Bytes,
}

#[derive(Clone)]
struct Weights;

impl Weighter<String, Bytes> for Weights {
    fn weight(&self, etag: &String, bytes: &Bytes) -> u64 {
        (etag.len() + bytes.len() + 128) as u64
    }
}

impl Weighter<Revision, Arc<Outline>> for Weights {
    fn weight(&self, _: &Revision, outline: &Arc<Outline>) -> u64 {
        outline.weight() as u64
    }
}

impl Renderings {
    pub(super) fn new(budget: Budget) -> Self {
        Self { budget, rendered: cache(RENDERED_BYTES, 2_000), outlines: cache(OUTLINE_BYTES, 2_000) }
    }

    /// Remembers an outline that was read when the document came.
    pub(super) fn remember(&self, revision: Revision, outline: Arc<Outline>) {
        self.outlines.insert(revision, outline);
    }
}

impl Fetch {
    /// The bytes of a variant if they are in memory.
    #[must_use]
    pub fn rendered(&self, document: &Document, variant: &Variant) -> Option<Bytes> {
        self.inner.renderings.rendered.get(&variant.etag(&document.record.revision))
    }

    /// The bytes of a variant.
    ///
    /// # Errors
    /// [`Failure`], when the document is not readable any more and not to be had again.
    pub async fn render(&self, document: Document, variant: &Variant) -> Result<Rendering, Failure> {
        let renderings = &self.inner.renderings;
        let mut document = document;
        for _ in 0..2 {
            let etag = variant.etag(&document.record.revision);
            let made = renderings.rendered.get_or_insert_async(&etag, self.make(&document, variant)).await;
            match made {
                Ok(bytes) => return Ok(Rendering { document, bytes }),
                Err(Lost::Version) => {
                    return Err(Failure::NotFound(format!("that version of {}", document.name)));
                }
                Err(Lost::Document) => document = self.again(document).await?,
            }
        }
        Err(Failure::unavailable(document.name.as_str(), "its document changes faster than it can be read"))
    }

    /// What a packument says.
    ///
    /// # Errors
    /// [`Failure`], when the document is not readable any more and not to be had again.
    pub async fn outline(&self, document: &Document) -> Result<Arc<Outline>, Failure> {
        let mut document = document.clone();
        for _ in 0..2 {
            let read = self.work_on(&document, |text, name| Outline::read(name, &text).ok().map(Arc::new));
            let read = async { read.await.ok_or(()) };
            let outlines = &self.inner.renderings.outlines;
            if let Ok(outline) = outlines.get_or_insert_async(&document.record.revision, read).await {
                return Ok(outline);
            }
            document = self.again(document).await?;
        }
        Err(Failure::unavailable(document.name.as_str(), "its document changes faster than it can be read"))
    }

    /// The document that took this one's place, or this one fetched again.
    async fn again(&self, document: Document) -> Result<Document, Failure> {
        let record = match self.inner.store.packument(&document.name) {
            Some(record) if record.revision != document.record.revision => Arc::new(record),
            _ => self.revalidate(&document.name).await?,
        };
        Ok(Document { record, ..document })
    }

    async fn make(&self, document: &Document, variant: &Variant) -> Result<Bytes, Lost> {
        let known = self.inner.renderings.outlines.get(&document.record.revision);
        let variant = variant.clone();
        let made = self.work_on(document, move |text, name| {
            let outline = known.map_or_else(|| Outline::read(name, &text).map(Arc::new), Ok);
            outline.ok().map(|outline| (render(&text, &outline, &variant), outline))
        });
        let (rendered, outline) = made.await.ok_or(Lost::Document)?;
        self.inner.renderings.remember(document.record.revision, outline);
        rendered.ok_or(Lost::Version)
    }

    /// Works on a document's text where it may block, within the memory budget: the room is given back when the
    /// work is done, also when whoever wanted it has gone.
    async fn work_on<T: Send + 'static>(
        &self,
        document: &Document,
        work: impl FnOnce(String, &PackageName) -> Option<T> + Send + 'static,
    ) -> Option<T> {
        let room = self.inner.renderings.budget.room_for(document.record.length).await;
        let (store, name, revision) =
            (self.inner.store.clone(), document.name.clone(), document.record.revision);
        let done = tokio::task::spawn_blocking(move || {
            let done = store.read_document(&revision).and_then(|text| work(text, &name));
            drop(room);
            done
        });
        done.await.ok().flatten()
    }

    /// Room for a document that is not kept, to be taken before it is asked for: one that is not read keeps others
    /// from coming. `None` when too many wait.
    pub async fn room_to_rewrite(&self, wait: Duration) -> Option<OwnedSemaphorePermit> {
        tokio::time::timeout(wait, self.inner.renderings.budget.room_for(TYPICAL)).await.ok().flatten()
    }

    /// Reads a document that is not kept and rewrites it; `None`: it is not what `rewrite` expects.
    ///
    /// # Errors
    /// [`UpstreamError`] when the body breaks off, is too large or is not text.
    pub async fn rewrite(
        &self,
        answer: Answer,
        room: Option<OwnedSemaphorePermit>,
        rewrite: impl FnOnce(&str) -> Option<String> + Send + 'static,
    ) -> Result<Option<String>, UpstreamError> {
        let text = decode::text(answer, LONGEST).await?;
        let done = tokio::task::spawn_blocking(move || {
            let done = rewrite(&text);
            drop(room);
            done
        });
        Ok(done.await.ok().flatten())
    }
}

/// Why there are no bytes.
enum Lost {
    Document,
    Version,
}

fn render(text: &str, outline: &Outline, variant: &Variant) -> Option<Bytes> {
    let rendered = match &variant.form {
        Form::Full => packument::full(text, outline, &variant.urls),
        Form::Abbreviated => packument::abbreviated(text, outline, &variant.urls).ok()?,
        Form::Manifest(version) => {
            packument::manifest(text, outline, outline.release(version)?, &variant.urls)
        }
    };
    match variant.encoding {
        Encoding::Identity => Some(rendered.into()),
        Encoding::Gzip => {
            let mut gzip = GzEncoder::new(Vec::with_capacity(rendered.len() / 8), Compression::new(GZIP));
            gzip.write_all(rendered.as_bytes()).ok()?;
            Some(gzip.finish().ok()?.into())
        }
    }
}

/// One shard: a bound by weight is divided among shards, and a document must fit into its own.
fn cache<K, V>(bytes: u64, items: usize) -> Cache<K, V, Weights>
where
    K: Eq + std::hash::Hash + Clone,
    V: Clone,
    Weights: Weighter<K, V> + Clone,
{
    let options =
        OptionsBuilder::new().shards(1).weight_capacity(bytes).estimated_items_capacity(items).build();
    Cache::with_options(
        options.expect("all required options are set"),
        Weights,
        quick_cache::DefaultHashBuilder::default(),
        quick_cache::sync::DefaultLifecycle::default(),
    )
}
