//! The content codings that variants are kept in, written into a draft as they are made.

use std::io::{self, Write};

use brotli::CompressorWriter;
use flate2::Compression;
use flate2::write::GzEncoder;
use resolver::variant::Encoding;
use sha2::{Digest, Sha256};
use zstd::zstd_safe::CParameter;

use crate::store::{Draft, FramesWriter};

/// What gzip spends: level 6 packs 10 MB in 0.1 s, and is done once per variant.
const GZIP: u32 = 6;
/// zstd's own default.
const ZSTD: i32 = 3;
/// 2 MiB: a packument repeats itself from version to version. RFC 9659 allows up to 8 MiB.
const ZSTD_WINDOW: u32 = 21;
/// Better than gzip's best at about gzip's speed; 9 and more are far slower.
const BROTLI: u32 = 5;
/// 1 MiB.
const BROTLI_WINDOW: u32 = 20;
/// What brotli gathers before it writes.
const BROTLI_BUFFER: usize = 64 * 1024;

/// A coding under way.
pub(super) enum Coder {
    Gzip(GzEncoder<Sealed>),
    Zstd(zstd::stream::write::Encoder<'static, Sealed>),
    Brotli(Box<CompressorWriter<Sealed>>),
    /// Not coded for clients, and kept in frames.
    Plain(Box<FramesWriter>),
}

/// What a coding has come to.
pub(super) enum Coding {
    /// As it goes out, and the SHA-256 of it.
    Coded(Draft, [u8; 32]),
    /// In frames.
    Plain(Draft),
}

/// A draft, hashed as it is written.
pub(super) struct Sealed {
    draft: Draft,
    hash: Sha256,
}

impl Coder {
    pub(super) fn new(encoding: Encoding, draft: Draft) -> io::Result<Self> {
        let sealed = |draft| Sealed { draft, hash: Sha256::new() };
        Ok(match encoding {
            Encoding::Identity => Self::Plain(Box::new(FramesWriter::new(draft)?)),
            Encoding::Gzip => Self::Gzip(GzEncoder::new(sealed(draft), Compression::new(GZIP))),
            Encoding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(sealed(draft), ZSTD)?;
                encoder.set_parameter(CParameter::WindowLog(ZSTD_WINDOW))?;
                Self::Zstd(encoder)
            }
            Encoding::Brotli => {
                let writer = CompressorWriter::new(sealed(draft), BROTLI_BUFFER, BROTLI, BROTLI_WINDOW);
                Self::Brotli(Box::new(writer))
            }
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
            Self::Brotli(encoder) => encoder.write_all(bytes),
            Self::Plain(frames) => frames.write(bytes),
        }
    }

    pub(super) fn finish(self) -> io::Result<Coding> {
        let Sealed { draft, hash } = match self {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
            Self::Brotli(mut encoder) => {
                encoder.flush()?;
                encoder.into_inner()
            }
            Self::Plain(frames) => return Ok(Coding::Plain(frames.finish(&[])?)),
        };
        Ok(Coding::Coded(draft, hash.finalize().into()))
    }
}

impl Write for Sealed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        self.draft.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::store::Store;

    /// Some text that repeats itself, longer than every buffer.
    fn text() -> Vec<u8> {
        (0..40_000).flat_map(|n| format!("\"{n}.0.0\":{{\"name\":\"left\"}},").into_bytes()).collect()
    }

    fn coded(encoding: Encoding) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), &crate::store::Config::of(1 << 30)).unwrap();
        let mut coder = Coder::new(encoding, store.draft()).unwrap();
        text().chunks(1000).for_each(|chunk| coder.write(chunk).unwrap());
        let Coding::Coded(mut draft, seal) = coder.finish().unwrap() else { panic!("not coded") };
        let bytes = draft.source().unwrap().part(0..draft.length()).unwrap().to_vec();
        assert_eq!(seal, <[u8; 32]>::from(Sha256::digest(&bytes)));
        bytes
    }

    #[test]
    fn every_coding_is_one_that_its_own_decoder_undoes() {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&coded(Encoding::Gzip)[..]).read_to_end(&mut plain).unwrap();
        assert!(plain == text());
        plain.clear();
        brotli::Decompressor::new(&coded(Encoding::Brotli)[..], 4096).read_to_end(&mut plain).unwrap();
        assert!(plain == text());
        assert!(zstd::decode_all(&coded(Encoding::Zstd)[..]).unwrap() == text());
    }

    #[test]
    fn zstds_window_is_one_that_every_client_has_to_take() {
        let mut decoder =
            zstd::stream::read::Decoder::new(std::io::Cursor::new(coded(Encoding::Zstd))).unwrap();
        decoder.window_log_max(23).unwrap();
        std::io::copy(&mut decoder, &mut std::io::sink()).unwrap();
    }
}
