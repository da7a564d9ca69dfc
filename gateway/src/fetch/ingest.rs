//! Takes a packument: its body to disk as it comes; then, when its turn has come, decoded, hashed, read and packed, all
//! in one pass and a frame at a time.

use http::header::{CONTENT_ENCODING, ETAG, LAST_MODIFIED};
use resolver::package::PackageName;
use resolver::packument::{InvalidPackument, Outline, Reader};
use resolver::variant::Revision;
use sha2::{Digest, Sha256};

use super::decode::{Decoder, Packer};
use super::failure::Failure;
use super::packuments::{LONGEST, confirmed_ms, tag};
use super::{Fetch, Provenance, now_ms};
use crate::store::{Draft, Frames, FramesWriter, PackumentRecord, Source, Store, StoreError};
use crate::upstream::{Answer, UpstreamError};

/// A body up to this length, less than a draft gathers before it writes, is not worth packing.
const SHORT: u64 = 128 * 1024;
/// What is decoded at once. A bomb makes a thousand times as much of it.
const STEP: u64 = 16 * 1024;

/// Whose fault it was that a body could not be taken.
pub(super) enum TakeError {
    Upstream(UpstreamError),
    Store(Failure),
}

/// What has been taken.
pub(super) struct Taken {
    pub(super) record: PackumentRecord,
    /// `None`: it is what was held before.
    pub(super) new: Option<New>,
}

/// A document that was not held before.
pub(super) struct New {
    pub(super) draft: Draft,
    /// The same, to be read even if it gets no place in the store.
    pub(super) frames: Frames,
    pub(super) outline: Outline,
}

/// A body as it came, and what its headers said.
struct Body {
    name: PackageName,
    raw: Draft,
    coding: Option<String>,
    /// Packed on its way, whatever its coding was.
    is_packed: bool,
    etag: Option<String>,
    last_modified: Option<String>,
    held: Option<PackumentRecord>,
    /// When upstream has said so.
    confirmed_ms: u64,
    /// What it has to be, if home has given it.
    tag: Option<String>,
}

impl Fetch {
    /// Takes the body of an answer to a request for `name`.
    pub(super) async fn take_packument(
        &self,
        name: &PackageName,
        mut answer: Answer,
    ) -> Result<Taken, TakeError> {
        let is_plain =
            answer.header(CONTENT_ENCODING).is_none_or(|coding| coding.eq_ignore_ascii_case("identity"));
        let (raw, is_packed) = self.receive(&mut answer, is_plain).await?;
        let text = |header| answer.header(header).map(str::to_owned);
        let tag = text(ETAG).filter(|_| answer.is_of_home());
        let body = Body {
            confirmed_ms: confirmed_ms(&answer),
            etag: if tag.is_some() { None } else { text(ETAG) },
            tag,
            name: name.clone(),
            raw,
            coding: text(CONTENT_ENCODING),
            is_packed,
            last_modified: text(LAST_MODIFIED),
            held: self.inner.store.packument(name),
        };
        // Upstream's place is for others while this waits for its turn.
        drop(answer);
        let store = self.inner.store.clone();
        let taken = self.inner.workers.run(move || body.take(&store)).await;
        taken.unwrap_or_else(|| Err(UpstreamError::Wrong("its packument cannot be read".into()).into()))
    }

    /// A body as it came, or packed when it came as it is and is not short: a disk without room leaves 16 MiB of memory
    /// for it, which is little for 40 MB of JSON and much for the same in a tenth of its size.
    async fn receive(&self, answer: &mut Answer, is_plain: bool) -> Result<(Draft, bool), TakeError> {
        let (mut coming, source) = (Coming::new(self.inner.store.draft(), is_plain), Provenance::of(answer));
        while let Some(chunk) = answer.chunk().await? {
            source.count(&self.inner.packuments.metrics, chunk.len());
            coming.take(&chunk).await?;
        }
        coming.finish().await
    }

    /// Takes the packument of `name` that has come otherwise than in an answer, and was verified; home knew at `confirmed_ms` that
    /// upstream has it.
    pub(super) async fn take_verified(
        &self,
        name: &PackageName,
        (raw, is_packed): (Draft, bool),
        confirmed_ms: u64,
    ) -> Result<Taken, TakeError> {
        let held = self.inner.store.packument(name);
        let (name, coding) = (name.clone(), None);
        let (etag, last_modified, tag) = (None, None, None);
        let body = Body { name, raw, coding, is_packed, etag, last_modified, held, confirmed_ms, tag };
        let store = self.inner.store.clone();
        let taken = self.inner.workers.run(move || body.take(&store)).await;
        taken.unwrap_or_else(|| Err(UpstreamError::Wrong("its packument cannot be read".into()).into()))
    }
}

/// A body that is coming.
pub(super) struct Coming {
    raw: Draft,
    packer: Option<Packer>,
    is_plain: bool,
    length: u64,
}

impl Coming {
    /// `is_plain`: it has no coding.
    pub(super) fn new(raw: Draft, is_plain: bool) -> Self {
        Self { raw, packer: None, is_plain, length: 0 }
    }

    pub(super) async fn take(&mut self, chunk: &[u8]) -> Result<(), TakeError> {
        self.length += chunk.len() as u64;
        if self.length > LONGEST {
            return Err(UpstreamError::Wrong("its packument is larger than any may be".into()).into());
        }
        if self.is_plain && self.packer.is_none() && self.length > SHORT {
            // What has come is still in the draft's buffer.
            let mut begun = Packer::new()?;
            let so_far = begun.pack(&self.raw.take_buffered())?;
            self.raw.write(&so_far).await?;
            self.packer = Some(begun);
        }
        match &mut self.packer {
            Some(packer) => self.raw.write(&packer.pack(chunk)?).await?,
            None => self.raw.write(chunk).await?,
        }
        Ok(())
    }

    /// What has come, and whether it was packed.
    pub(super) async fn finish(mut self) -> Result<(Draft, bool), TakeError> {
        let Some(packer) = self.packer else { return Ok((self.raw, false)) };
        self.raw.write(&packer.finish()?).await?;
        Ok((self.raw, true))
    }
}

impl Body {
    fn take(mut self, store: &Store) -> Result<Taken, TakeError> {
        let raw = self.raw.source()?;
        if let Some(held) = self.unchanged(store, &raw)? {
            return Ok(Taken { record: held, new: None });
        }
        let (mut hash, mut reader) = (Sha256::new(), Reader::new(&self.name));
        let mut writer = FramesWriter::new(store.draft())?;
        let length = self.decode(&raw, |decoded| {
            hash.update(decoded);
            reader.feed(decoded)?;
            Ok(writer.write(decoded)?)
        })?;
        let outline = reader.finish()?;
        let revision = Revision::from_digest(hash.finalize().into());
        if self.tag.as_ref().is_some_and(|promised| *promised != tag(&revision)) {
            return Err(UpstreamError::Wrong("home sent another document than it said".into()).into());
        }
        let record = self.record(revision, length, &outline);
        let mut draft = Store::end_document(writer, &self.name, &outline, &record).map_err(Failure::from)?;
        let frames = Frames::read(draft.source()?)?;
        Ok(Taken { record, new: Some(New { draft, frames, outline }) })
    }

    /// The record that is held, confirmed, when this is the same document once more: an upstream without validators
    /// sends it each time, and hashing is the smaller part of the work.
    fn unchanged(&self, store: &Store, raw: &Source) -> Result<Option<PackumentRecord>, TakeError> {
        let Some(held) = self.held.as_ref().filter(|held| store.has_document(&held.revision)) else {
            return Ok(None);
        };
        let mut hash = Sha256::new();
        self.decode(raw, |decoded| {
            hash.update(decoded);
            Ok(())
        })?;
        let is_same = held.revision == Revision::from_digest(hash.finalize().into());
        Ok(is_same.then(|| PackumentRecord {
            checked_ms: self.confirmed_ms,
            fetched_ms: now_ms(),
            etag: self.etag.clone(),
            last_modified: self.last_modified.clone(),
            ..held.clone()
        }))
    }

    /// Decodes the body piece by piece; says how long it is.
    fn decode(
        &self,
        raw: &Source,
        mut take: impl FnMut(&[u8]) -> Result<(), TakeError>,
    ) -> Result<u64, TakeError> {
        let mut decoder = match self.is_packed {
            true => Decoder::for_packed()?,
            false => Decoder::for_coding(self.coding.as_deref())
                .ok_or_else(|| UpstreamError::Wrong("it sent a coding that was not asked for".into()))?,
        };
        let (mut at, mut length) = (0, 0);
        while at < self.raw.length() {
            let chunk = raw.part(at..self.raw.length().min(at + STEP))?;
            at += chunk.len() as u64;
            let decoded = decoder.decode(chunk, LONGEST - length).map_err(|error| garbled(&error))?;
            length += decoded.len() as u64;
            take(&decoded)?;
        }
        let rest = decoder.finish().map_err(|error| garbled(&error))?;
        take(&rest)?;
        Ok(length + rest.len() as u64)
    }

    fn record(&self, revision: Revision, length: u64, outline: &Outline) -> PackumentRecord {
        let before = self.held.as_ref().filter(|before| before.revision == revision);
        PackumentRecord {
            revision,
            length,
            checked_ms: self.confirmed_ms,
            fetched_ms: now_ms(),
            // What keeping it takes is known when it is kept.
            stored: 0,
            // The same bytes are not newer because they came again.
            modified_s: before.map_or_else(
                || modified_s(outline.modified(), self.last_modified.as_deref()),
                |before| before.modified_s,
            ),
            etag: self.etag.clone(),
            last_modified: self.last_modified.clone(),
        }
    }
}

fn garbled(error: &std::io::Error) -> UpstreamError {
    UpstreamError::Wrong(format!("it sent a body that cannot be decoded: {error}"))
}

/// When the package last changed, in seconds since 1970.
fn modified_s(modified: Option<&str>, last_modified: Option<&str>) -> u64 {
    let utc =
        |text: &str| text.strip_suffix("+00:00").map_or_else(|| text.to_owned(), |utc| format!("{utc}Z"));
    let of_document = modified.and_then(|text| humantime::parse_rfc3339(&utc(text)).ok());
    let at = of_document.or_else(|| last_modified.and_then(|text| httpdate::parse_http_date(text).ok()));
    let since = at.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    since.map_or_else(|| now_ms() / 1000, |since| since.as_secs())
}

impl From<UpstreamError> for TakeError {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

impl From<Failure> for TakeError {
    fn from(failure: Failure) -> Self {
        Self::Store(failure)
    }
}

impl From<StoreError> for TakeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl From<std::io::Error> for TakeError {
    fn from(error: std::io::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<InvalidPackument> for TakeError {
    fn from(error: InvalidPackument) -> Self {
        Self::Upstream(UpstreamError::Wrong(format!("it sent something else: {error}")))
    }
}
