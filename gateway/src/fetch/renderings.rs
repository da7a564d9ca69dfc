//! Final bytes of packuments: made once per revision and variant, kept on disk coded, and in memory while they are used.

use std::io;
use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{OptionsBuilder, Weighter};
use resolver::packument::{self, Outline};
use resolver::variant::{Encoding, Form, Revision, Variant};

use super::Fetch;
use super::coder::{Coder, Coding};
use super::failure::Failure;
use super::flights::Flights;
use super::packuments::Document;
use super::ready::Ready;
use crate::store::{self, Coded, Frames, Key, PackumentRecord, Store, VariantKey};

/// Open files of variants that are too long for memory: each was verified when it was opened.
const OPEN: u64 = 256 * 1024;
/// Outlines kept in memory.
const OUTLINE_BYTES: u64 = 8 * 1024 * 1024;
/// An uncoded variant up to this length is kept in memory as it goes out.
const WHOLE: u64 = 1024 * 1024;

/// Variants and outlines in memory, and variants being made.
pub(super) struct Renderings {
    /// Those that are not in the store's memory.
    open: Cache<String, Ready, Weights>,
    outlines: Cache<Revision, Arc<Outline>, Weights>,
    making: Flights<String, Result<Ready, Lost>>,
}

/// One variant of one document, as it goes out.
pub struct Rendering {
    /// The document that was rendered: a newer one than was asked for, if that was replaced meanwhile.
    pub document: Document,
    /// The bytes.
    pub ready: Ready,
}

/// Why there are no bytes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lost {
    Document,
    Version,
}

/// One variant to be made.
struct Job {
    store: Store,
    variant: Variant,
    document: Document,
    outline: Option<Arc<Outline>>,
}

/// What a job has made: it can be sent, whether or not there is room to keep it.
struct Made {
    ready: Ready,
    coding: Coding,
    outline: Arc<Outline>,
}

#[derive(Clone)]
struct Weights;

impl Weighter<String, Ready> for Weights {
    fn weight(&self, tag: &String, ready: &Ready) -> u64 {
        let bytes = match ready {
            Ready::Coded(Coded::Whole(bytes)) => bytes.len(),
            Ready::Coded(Coded::File(..)) => 128,
            Ready::Plain(frames) | Ready::Packed(frames) => 128 + frames.frames() * 32,
        };
        (tag.len() + bytes + 128) as u64
    }
}

impl Weighter<Revision, Arc<Outline>> for Weights {
    fn weight(&self, _: &Revision, outline: &Arc<Outline>) -> u64 {
        outline.weight() as u64
    }
}

impl Renderings {
    pub(super) fn new() -> Self {
        let (open, outlines) = (cache(OPEN, 512), cache(OUTLINE_BYTES, 2_000));
        Self { open, outlines, making: Flights::default() }
    }

    /// Remembers an outline that was read when the document came.
    pub(super) fn remember(&self, revision: Revision, outline: Arc<Outline>) {
        self.outlines.insert(revision, outline);
    }

    /// An outline that is in memory, for whoever only looks.
    pub(super) fn outline_at_hand(&self, revision: &Revision) -> Option<Arc<Outline>> {
        self.outlines.peek(revision)
    }
}

impl Fetch {
    /// What the packument that is held says, for whoever only looks.
    ///
    /// # Errors
    /// When it cannot be read; nothing is done about that.
    pub(super) async fn outline_unused(&self, record: &PackumentRecord) -> io::Result<Arc<Outline>> {
        if let Some(outline) = self.inner.renderings.outline_at_hand(&record.revision) {
            return Ok(outline);
        }
        let (store, revision) = (self.inner.store.clone(), record.revision);
        let read = tokio::task::spawn_blocking(move || store.outline_unused(&revision));
        read.await.map_err(io::Error::other)?.map(Arc::new)
    }

    /// The variant with this entity tag if it is in memory.
    #[must_use]
    pub fn rendered(&self, etag: &str) -> Option<Ready> {
        self.at_hand(etag.trim_matches('"'))
    }

    fn at_hand(&self, tag: &str) -> Option<Ready> {
        let bytes = self.inner.store.memory().get(&memory_key(tag)?);
        bytes.map(|bytes| Ready::Coded(Coded::Whole(bytes))).or_else(|| self.inner.renderings.open.get(tag))
    }

    /// An open file has turned out to be damaged: whoever asks next opens it again, and finds that out.
    pub(super) fn forget_ready(&self, etag: &str) {
        self.inner.renderings.open.remove(etag.trim_matches('"'));
    }

    fn remember_ready(&self, tag: String, ready: &Ready) {
        match (ready, memory_key(&tag)) {
            (Ready::Coded(Coded::Whole(bytes)), Some(key)) => {
                self.inner.store.memory().insert(key, bytes.clone());
            }
            _ => self.inner.renderings.open.insert(tag, ready.clone()),
        }
    }

    /// A variant, made first if it has not been made yet.
    ///
    /// # Errors
    /// [`Failure`], when the document is not readable any more and not to be had again, or has no such version.
    pub async fn render(&self, document: Document, variant: &Variant) -> Result<Rendering, Failure> {
        let mut document = document;
        for _ in 0..2 {
            match self.obtain_ready(&document, variant).await? {
                Ok(ready) => return Ok(Rendering { document, ready }),
                Err(Lost::Version) => {
                    return Err(Failure::NotFound(format!("this version of {}", document.name)));
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
            let outlines = &self.inner.renderings.outlines;
            let read = self.read_outline(&document);
            if let Ok(outline) = outlines.get_or_insert_async(&document.record.revision, read).await {
                return Ok(outline);
            }
            document = self.again(document).await?;
        }
        Err(Failure::unavailable(document.name.as_str(), "its document changes faster than it can be read"))
    }

    async fn read_outline(&self, document: &Document) -> Result<Arc<Outline>, Lost> {
        let (store, document) = (self.inner.store.clone(), document.clone());
        let read = tokio::task::spawn_blocking(move || {
            let frames = document.frames(&store).ok_or(Lost::Document)?;
            store::outline(&frames).map(Arc::new).map_err(|error| lost(&store, &document, &frames, &error))
        });
        read.await.unwrap_or(Err(Lost::Document))
    }

    /// The document that took this one's place, or this one fetched again.
    pub(super) async fn again(&self, document: Document) -> Result<Document, Failure> {
        match self.inner.store.packument(&document.name) {
            Some(record) if record.revision != document.record.revision => {
                Ok(Document { record: Arc::new(record), loose: None, ..document })
            }
            _ => {
                let held = self.revalidate(&document.name).await?;
                Ok(Document { record: held.record, loose: held.loose, ..document })
            }
        }
    }

    pub(super) async fn obtain_ready(
        &self,
        document: &Document,
        variant: &Variant,
    ) -> Result<Result<Ready, Lost>, Failure> {
        let tag = tag(document, variant);
        if let Some(ready) = self.at_hand(&tag) {
            return Ok(Ok(ready));
        }
        let flight = self.inner.renderings.making.join(&tag, || {
            let (fetch, document, variant, tag) =
                (self.clone(), document.clone(), variant.clone(), tag.clone());
            async move {
                let ready = fetch.read_or_make(document, variant, tag.clone()).await;
                if let Ok(ready) = &ready {
                    fetch.remember_ready(tag, ready);
                }
                Ok(ready)
            }
        });
        flight.await
    }

    async fn read_or_make(&self, document: Document, variant: Variant, tag: String) -> Result<Ready, Lost> {
        let key = VariantKey { name: document.name.clone(), revision: document.record.revision, tag };
        let (store, look) = (self.inner.store.clone(), (key.clone(), variant.encoding));
        let made_before = tokio::task::spawn_blocking(move || made_before(&store, &look.0, look.1));
        if let Some(ready) = made_before.await.ok().flatten() {
            return Ok(ready);
        }
        let outline = self.inner.renderings.outlines.get(&document.record.revision);
        let (store, is_manifest) = (self.inner.store.clone(), matches!(variant.form, Form::Manifest(_)));
        let job = Job { store, variant, document, outline };
        let made = self.inner.workers.run(|| job.make()).await.unwrap_or(Err(Lost::Document))?;
        self.inner.renderings.remember(key.revision, made.outline);
        let kept = match made.coding {
            // There are as many manifests as versions, and each is made in a moment.
            _ if is_manifest => Ok(()),
            Coding::Coded(draft, seal) => self.inner.store.keep_coded(&key, draft, seal).await,
            Coding::Plain(draft) => self.inner.store.keep_plain(&key, draft).await,
        };
        if let Err(error) = kept {
            tracing::debug!(%error, name = %key.name, "a variant is not kept");
        }
        Ok(made.ready)
    }
}

impl Job {
    /// Renders and codes the variant. Blocks.
    fn make(self) -> Result<Made, Lost> {
        let frames = self.document.frames(&self.store).ok_or(Lost::Document)?;
        match self.render(&frames) {
            Ok(Some(made)) => Ok(made),
            Ok(None) => Err(Lost::Version),
            Err(error) => Err(lost(&self.store, &self.document, &frames, &error)),
        }
    }

    fn render(&self, frames: &Frames) -> io::Result<Option<Made>> {
        let outline = self.outline.clone().map_or_else(|| store::outline(frames).map(Arc::new), Ok)?;
        let mut coder = Coder::new(self.variant.encoding, self.store.draft())?;
        let Variant { form, urls, hidden, .. } = &self.variant;
        let mut text = frames.text()?;
        let mut out = |piece: &[u8]| coder.write(piece);
        let rendered = packument::render_without(&mut text, &outline, form, urls, hidden, &mut out)?;
        if !rendered {
            return Ok(None);
        }
        let mut coding = coder.finish()?;
        let ready = ready(&mut coding)?;
        Ok(Some(Made { ready, coding, outline }))
    }
}

/// What has just been made, as it goes out: in memory when it is short, else out of the draft's own file, which can be
/// read wherever the draft goes.
fn ready(coding: &mut Coding) -> io::Result<Ready> {
    match coding {
        Coding::Plain(draft) => {
            let frames = Frames::read(draft.source()?)?;
            Ok(whole(&frames).unwrap_or(Ready::Plain(frames)))
        }
        Coding::Coded(draft, _) => Ok(Ready::Coded(Coded::of(draft.source()?, draft.length())?)),
    }
}

/// What reading a document has shown of it.
pub(super) fn lost(store: &Store, document: &Document, frames: &Frames, error: &io::Error) -> Lost {
    let name = document.name.as_str();
    tracing::warn!(%error, name, "a document cannot be rendered");
    if error.kind() == io::ErrorKind::InvalidData {
        store.document_is_damaged(&document.record.revision, frames);
    }
    Lost::Document
}

/// Reading a document that is held has failed; one that is damaged goes.
pub(super) fn damaged(store: &Store, revision: &Revision, frames: &Frames, error: &io::Error) {
    tracing::warn!(%error, revision = revision.hex(), "a document cannot be read");
    if error.kind() == io::ErrorKind::InvalidData {
        store.document_is_damaged(revision, frames);
    }
}

fn made_before(store: &Store, key: &VariantKey, encoding: Encoding) -> Option<Ready> {
    match encoding {
        Encoding::Identity => {
            let frames = store.plain(key)?;
            Some(whole(&frames).unwrap_or(Ready::Plain(frames)))
        }
        Encoding::Gzip | Encoding::Zstd | Encoding::Brotli => store.coded(key).map(Ready::Coded),
    }
}

/// A short uncoded variant, decoded once for all. Blocks.
fn whole(frames: &Frames) -> Option<Ready> {
    if frames.length() > WHOLE {
        return None;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(frames.length()).unwrap_or(0));
    for number in 0..frames.frames() {
        bytes.extend_from_slice(&frames.frame(number).ok()?);
    }
    Some(Ready::Coded(Coded::Whole(bytes.into())))
}

/// A variant's entity tag without its quotes: what it is known by in memory and on disk.
fn tag(document: &Document, variant: &Variant) -> String {
    variant.etag(&document.record.revision).trim_matches('"').to_owned()
}

/// A tag is 32 hexadecimal digits.
fn memory_key(tag: &str) -> Option<Key> {
    tag.as_bytes().try_into().ok().map(Key::Rendering)
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
