//! Content codings of upstream's answers, undone chunk by chunk and within limits.

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use flate2::write::MultiGzDecoder;
use http::header::CONTENT_ENCODING;
use zstd::zstd_safe::{CParameter, DParameter};

use crate::upstream::{Answer, UpstreamError};

/// What is given to the decoder at once: it can become a thousand times as much.
const STEP: usize = 8 * 1024;

/// Undoes one body's coding.
pub(super) enum Decoder {
    Identity,
    Gzip(Box<MultiGzDecoder<Gathered>>),
    /// One frame after the other.
    Zstd(Box<zstd::stream::zio::Writer<Gathered, zstd::stream::raw::Decoder<'static>>>),
    /// What a [`Packer`] has made.
    Packed(Box<zstd::stream::write::Decoder<'static, Gathered>>),
}

/// Packs a body that came as it is, so that it takes as little room as others until it is read.
pub(super) struct Packer(zstd::stream::write::Encoder<'static, Vec<u8>>);

impl Packer {
    /// Level 1 and a small window: half a millisecond for a MB, and 0.5 MB of memory.
    pub(super) fn new() -> io::Result<Self> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1)?;
        encoder.set_parameter(CParameter::WindowLog(17))?;
        Ok(Self(encoder))
    }

    /// Packs a chunk; gives what has come out of it so far.
    pub(super) fn pack(&mut self, chunk: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(chunk)?;
        Ok(std::mem::take(self.0.get_mut()))
    }

    /// The rest.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        self.0.finish()
    }
}

/// What has come out of a decoder and was not taken yet; no more than `most`.
pub(super) struct Gathered {
    bytes: BytesMut,
    most: u64,
}

impl Decoder {
    /// For a `Content-Encoding` header; `None` for a coding that was not asked for.
    pub(super) fn for_coding(coding: Option<&str>) -> Option<Self> {
        match coding.map(str::trim) {
            None | Some("" | "identity") => Some(Self::Identity),
            Some("gzip" | "x-gzip") => Some(Self::Gzip(Box::new(MultiGzDecoder::new(Gathered::default())))),
            Some("zstd") => zstd().ok().map(|decoder| Self::Zstd(Box::new(decoder))),
            Some(_) => None,
        }
    }

    /// For what a [`Packer`] has made.
    pub(super) fn for_packed() -> io::Result<Self> {
        Ok(Self::Packed(Box::new(zstd::stream::write::Decoder::new(Gathered::default())?)))
    }

    /// Decodes a chunk; at most `limit` bytes come out.
    pub(super) fn decode(&mut self, chunk: Bytes, limit: u64) -> io::Result<Bytes> {
        let decoded = match self {
            Self::Identity => chunk,
            Self::Gzip(decoder) => {
                for step in chunk.chunks(STEP) {
                    decoder.write_all(step)?;
                    within(decoder.get_ref().bytes.len(), limit)?;
                }
                decoder.get_mut().bytes.split().freeze()
            }
            Self::Zstd(decoder) => {
                decoder.writer_mut().most = limit;
                decoder.write_all(&chunk)?;
                decoder.writer_mut().bytes.split().freeze()
            }
            Self::Packed(decoder) => {
                decoder.write_all(&chunk)?;
                decoder.get_mut().bytes.split().freeze()
            }
        };
        within(decoded.len(), limit)?;
        Ok(decoded)
    }

    /// What is left at the end; an error when the coded body is not complete.
    pub(super) fn finish(self) -> io::Result<Bytes> {
        match self {
            Self::Identity => Ok(Bytes::new()),
            Self::Gzip(decoder) => Ok(decoder.finish()?.bytes.freeze()),
            Self::Packed(mut decoder) => {
                decoder.flush()?;
                Ok(decoder.into_inner().bytes.freeze())
            }
            Self::Zstd(mut decoder) => {
                decoder.finish()?;
                Ok(decoder.into_inner().0.bytes.freeze())
            }
        }
    }
}

/// Gathers the text of an answer, decoded.
pub(super) struct Gatherer {
    decoder: Decoder,
    text: Vec<u8>,
    limit: u64,
}

impl Gatherer {
    /// For an answer of at most `limit` bytes, decoded.
    ///
    /// # Errors
    /// [`UpstreamError::Wrong`] when it has an odd coding.
    pub(super) fn new(answer: &Answer, limit: u64) -> Result<Self, UpstreamError> {
        let decoder =
            Decoder::for_coding(answer.header(CONTENT_ENCODING)).ok_or_else(|| wrong("an odd coding"))?;
        Ok(Self { decoder, text: Vec::new(), limit })
    }

    pub(super) fn length(&self) -> u64 {
        self.text.len() as u64
    }

    pub(super) fn take(&mut self, chunk: Bytes) -> Result<(), UpstreamError> {
        let left = self.limit - self.length();
        let decoded = self.decoder.decode(chunk, left).map_err(|_| wrong("its answer is too large"))?;
        self.text.extend_from_slice(&decoded);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<String, UpstreamError> {
        let rest = self.decoder.finish().map_err(|_| wrong("its answer cannot be decoded"))?;
        self.text.extend_from_slice(&rest);
        String::from_utf8(self.text).map_err(|_| wrong("its answer is not text"))
    }
}

/// The text of an answer, decoded, when it is not longer than `limit`.
///
/// # Errors
/// [`UpstreamError`] when it breaks off, is too large or is not text.
pub(super) async fn text(mut answer: Answer, limit: u64) -> Result<String, UpstreamError> {
    let mut gatherer = Gatherer::new(&answer, limit)?;
    while let Some(chunk) = answer.chunk().await? {
        gatherer.take(chunk)?;
    }
    gatherer.finish()
}

fn wrong(cause: &str) -> UpstreamError {
    UpstreamError::Wrong(cause.to_owned())
}

/// With the largest window that a coding on the wire may have (RFC 9659, section 3).
fn zstd() -> io::Result<zstd::stream::zio::Writer<Gathered, zstd::stream::raw::Decoder<'static>>> {
    let mut decoder = zstd::stream::raw::Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(23))?;
    Ok(zstd::stream::zio::Writer::new(Gathered::default(), decoder))
}

impl Default for Gathered {
    fn default() -> Self {
        Self { bytes: BytesMut::new(), most: u64::MAX }
    }
}

impl Write for Gathered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        within(self.bytes.len() + bytes.len(), self.most)?;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn within(length: usize, limit: u64) -> io::Result<()> {
    if length as u64 > limit { Err(io::Error::other("the document is too large")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn gzipped(bytes: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn a_bomb_is_refused_long_before_it_is_unpacked() {
        let bomb = gzipped(&vec![0; 64 * 1024 * 1024]);
        let mut decoder = Decoder::for_coding(Some("gzip")).unwrap();
        assert!(decoder.decode(bomb, 1024 * 1024).is_err());
        let Decoder::Gzip(decoder) = decoder else { unreachable!() };
        assert!(decoder.get_ref().bytes.len() < 16 * 1024 * 1024);
    }

    #[test]
    fn frames_come_out_one_after_the_other_and_no_more_of_them_than_is_allowed() {
        let frames = [&b"a packu"[..], b"ment"].map(|part| zstd::encode_all(part, 3).unwrap()).concat();
        for step in [1, 5, frames.len()] {
            let mut decoder = Decoder::for_coding(Some("zstd")).unwrap();
            let mut out = Vec::new();
            for chunk in frames.chunks(step) {
                out.extend_from_slice(&decoder.decode(chunk.to_vec().into(), 1024).unwrap());
            }
            out.extend_from_slice(&decoder.finish().unwrap());
            assert_eq!(out, b"a packument");
        }
        let mut decoder = Decoder::for_coding(Some("zstd")).unwrap();
        decoder.decode(frames[..frames.len() - 3].to_vec().into(), 1024).unwrap();
        assert!(decoder.finish().is_err(), "it was cut short");
        let bomb = zstd::encode_all(&vec![0; 64 * 1024 * 1024][..], 3).unwrap();
        let mut decoder = Decoder::for_coding(Some("zstd")).unwrap();
        assert!(decoder.decode(bomb.into(), 1024 * 1024).is_err());
        let Decoder::Zstd(decoder) = decoder else { unreachable!() };
        assert!(decoder.writer().bytes.len() <= 1024 * 1024);
    }

    #[test]
    fn a_body_cut_short_is_an_error() {
        let whole = gzipped(b"a packument");
        let mut decoder = Decoder::for_coding(Some("gzip")).unwrap();
        decoder.decode(whole.slice(..whole.len() - 4), 1024).unwrap();
        assert!(decoder.finish().is_err());
    }

    #[test]
    fn what_was_packed_comes_out() {
        let mut decoder = Decoder::for_coding(Some("gzip")).unwrap();
        let mut out = decoder.decode(gzipped(b"a packument"), 1024).unwrap().to_vec();
        out.extend_from_slice(&decoder.finish().unwrap());
        assert_eq!(out, b"a packument");
        assert!(Decoder::for_coding(Some("br")).is_none());
    }
}
