//! Documents as they are kept: zstd frames of a fixed decoded size, so that any part can be read for itself, with a
//! seek table at the end, and what is known of the document in sections that decoders skip.
//!
//! ```text
//! frame*        zstd frames (RFC 8878) of 256 KiB each, decoded; the last one is shorter; each with its checksum
//! section*      skippable frames whose content is one zstd frame each, with its checksum
//! seek table    a skippable frame: for each frame and section its sizes (sections decode to nothing), then a footer
//! ```
//!
//! The seek table is that of zstd's "seekable format" (`contrib/seekable_format`), so `zstd -d` gives the document.
//! Memory: one frame while writing, one while reading. What a disk or a power cut changes in a file is found where it
//! is read: by a frame's checksum, by a size that does not fit, or by the missing footer.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use resolver::packument::{Out, Text};
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

use super::draft::Draft;

/// What one frame decodes to. Larger ones save a little space; this one is decoded in a fraction of a millisecond.
const FRAME: usize = 256 * 1024;
/// zstd's default: smaller than gzip's best, at several times its speed.
const LEVEL: i32 = 3;
/// The longest section that is read: an outline of 100,000 versions.
const LONGEST_SECTION: usize = 64 * 1024 * 1024;
/// The most entries of a seek table: 256 MiB in frames, and some sections.
const MOST_ENTRIES: usize = 2048;

/// RFC 8878, sections 3.1.1 and 3.1.2.
const MAGIC: u32 = 0xFD2F_B528;
const SKIPPABLE: u32 = 0x184D_2A50;
const TABLE: u32 = 0x184D_2A5E;
const FOOTER: u32 = 0x8F92_EAB1;
const HEADER_LENGTH: u64 = 8;
const FOOTER_LENGTH: u64 = 9;
const ENTRY_LENGTH: usize = 8;

/// Writes a document into a draft.
pub struct FramesWriter {
    draft: Draft,
    compressor: Compressor<'static>,
    pending: Vec<u8>,
    /// Stored and decoded size of each frame and section.
    table: Vec<(u32, u32)>,
}

/// A document, read in parts.
#[derive(Debug, Clone)]
pub struct Frames {
    source: Source,
    frames: Arc<[Frame]>,
    sections: Arc<[Range<u64>]>,
    length: u64,
}

/// Where the bytes are.
#[derive(Debug, Clone)]
pub enum Source {
    /// In the store.
    File(Arc<File>),
    /// Nowhere but here: there was no room for them.
    Memory(Bytes),
}

#[derive(Debug)]
struct Frame {
    stored: Range<u64>,
    decoded: Range<u64>,
}

/// A document as rendering reads it: the frame that was read last is at hand.
pub struct FramesText<'a> {
    frames: &'a Frames,
    decompressor: Decompressor<'static>,
    at_hand: Option<(usize, Vec<u8>)>,
}

impl FramesWriter {
    /// Begins a document.
    ///
    /// # Errors
    /// When zstd has no memory.
    pub fn new(draft: Draft) -> io::Result<Self> {
        let mut compressor = Compressor::new(LEVEL)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Self { draft, compressor, pending: Vec::new(), table: Vec::new() })
    }

    /// Appends to the document. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while self.pending.len() + bytes.len() >= FRAME {
            let (now, later) = bytes.split_at(FRAME - self.pending.len());
            self.pending.extend_from_slice(now);
            self.end_frame()?;
            bytes = later;
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// Ends the document with its sections, in order, and gives the draft. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(mut self, sections: &[&[u8]]) -> io::Result<Draft> {
        if !self.pending.is_empty() {
            self.end_frame()?;
        }
        for section in sections {
            let content = self.compressor.compress(section)?;
            self.draft.append(&header(SKIPPABLE, content.len())?)?;
            self.draft.append(&content)?;
            self.table.push((size(content.len())? + 8, 0));
        }
        let mut table = Vec::with_capacity(self.table.len() * ENTRY_LENGTH);
        for (stored, decoded) in &self.table {
            table.extend_from_slice(&stored.to_le_bytes());
            table.extend_from_slice(&decoded.to_le_bytes());
        }
        table.extend_from_slice(&size(self.table.len())?.to_le_bytes());
        // No checksums of its own: each frame has one.
        table.push(0);
        table.extend_from_slice(&FOOTER.to_le_bytes());
        self.draft.append(&header(TABLE, table.len())?)?;
        self.draft.append(&table)?;
        Ok(self.draft)
    }

    fn end_frame(&mut self) -> io::Result<()> {
        let stored = self.compressor.compress(&self.pending)?;
        self.draft.append(&stored)?;
        self.table.push((size(stored.len())?, size(self.pending.len())?));
        self.pending.clear();
        Ok(())
    }
}

impl Frames {
    /// Opens a file. Blocks.
    ///
    /// # Errors
    /// `NotFound`; `InvalidData` when it is no whole document.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::read(Source::File(Arc::new(File::open(path)?)))
    }

    /// Reads the seek table. Blocks.
    ///
    /// # Errors
    /// `InvalidData` when it is no whole document.
    pub fn read(source: Source) -> io::Result<Self> {
        let end = source.length()?;
        let footer = source.part(end.checked_sub(FOOTER_LENGTH).ok_or_else(damaged)?..end)?;
        let (entries, rest) = footer.split_first_chunk::<4>().ok_or_else(damaged)?;
        let entries = u32::from_le_bytes(*entries) as usize;
        if rest[0] != 0 || rest[1..] != FOOTER.to_le_bytes() || entries > MOST_ENTRIES {
            return Err(damaged());
        }
        let length = (entries * ENTRY_LENGTH) as u64;
        let begin = end.checked_sub(FOOTER_LENGTH + length + HEADER_LENGTH).ok_or_else(damaged)?;
        let head = header(TABLE, entries * ENTRY_LENGTH + footer.len())?;
        if source.part(begin..begin + HEADER_LENGTH)?[..] != head {
            return Err(damaged());
        }
        let table = source.part(begin + HEADER_LENGTH..end - FOOTER_LENGTH)?;
        Self::laid_out(source, &table, begin)
    }

    fn laid_out(source: Source, table: &[u8], end: u64) -> io::Result<Self> {
        let (mut frames, mut sections) = (Vec::new(), Vec::new());
        let (mut stored, mut decoded) = (0, 0);
        for entry in table.as_chunks::<ENTRY_LENGTH>().0 {
            let [a, b, c, d, e, f, g, h] = *entry;
            let next = stored + u64::from(u32::from_le_bytes([a, b, c, d]));
            let length = u32::from_le_bytes([e, f, g, h]);
            match length {
                0 => sections.push(stored + HEADER_LENGTH..next),
                // All but the last are full.
                1.. if length as usize <= FRAME && sections.is_empty() && decoded % FRAME as u64 == 0 => {
                    let until = decoded + u64::from(length);
                    frames.push(Frame { stored: stored..next, decoded: decoded..until });
                    decoded = until;
                }
                _ => return Err(damaged()),
            }
            stored = next;
        }
        if stored != end || sections.iter().any(|section| section.start > section.end) {
            return Err(damaged());
        }
        let laid_out = Self { source, frames: frames.into(), sections: sections.into(), length: decoded };
        if laid_out.is_told_apart()? { Ok(laid_out) } else { Err(damaged()) }
    }

    /// The table has no checksum: whether what it takes for the last frame is one, and the first section, too.
    fn is_told_apart(&self) -> io::Result<bool> {
        let begins = |at: u64, magic: u32| -> io::Result<bool> {
            Ok(self.source.part(at..at + 4)?[..] == magic.to_le_bytes())
        };
        let frame = self.frames.last().map_or(Ok(true), |frame| begins(frame.stored.start, MAGIC));
        let first = self.sections.first();
        let section = first.map_or(Ok(true), |section| begins(section.start - HEADER_LENGTH, SKIPPABLE));
        Ok(frame? && section?)
    }

    /// The file that it is read from; `None`: it is in memory alone.
    pub(super) fn file(&self) -> Option<&File> {
        match &self.source {
            Source::File(file) => Some(file),
            Source::Memory(_) => None,
        }
    }

    /// The length of the document, decoded.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The number of frames.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// One frame, decoded. Blocks.
    ///
    /// # Errors
    /// `InvalidData` when it is damaged or there is none of this number.
    pub fn frame(&self, number: usize) -> io::Result<Vec<u8>> {
        self.decode(number, &mut Decompressor::new()?)
    }

    /// The length of all frames as they are stored: a body in zstd, which has them one after the other.
    #[must_use]
    pub fn packed_length(&self) -> u64 {
        self.frames.last().map_or(0, |frame| frame.stored.end)
    }

    /// One frame as it is stored, when it has been found to be intact. Blocks.
    ///
    /// # Errors
    /// `InvalidData` when it is damaged or there is none of this number.
    pub fn packed(&self, number: usize) -> io::Result<Bytes> {
        let frame = self.frames.get(number).ok_or_else(damaged)?;
        let stored = self.source.part(frame.stored.clone())?;
        unpacked(frame, &stored, &mut Decompressor::new()?)?;
        Ok(stored)
    }

    /// Reads every frame; sections are verified where they are read. Blocks.
    ///
    /// # Errors
    /// `InvalidData` when one is damaged.
    pub fn verify(&self) -> io::Result<()> {
        let mut decompressor = Decompressor::new()?;
        (0..self.frames()).try_for_each(|number| self.decode(number, &mut decompressor).map(drop))
    }

    fn decode(&self, number: usize, decompressor: &mut Decompressor<'static>) -> io::Result<Vec<u8>> {
        let frame = self.frames.get(number).ok_or_else(damaged)?;
        unpacked(frame, &self.source.part(frame.stored.clone())?, decompressor)
    }

    /// One section. Blocks.
    ///
    /// # Errors
    /// `InvalidData` when it is damaged or there is none of this number.
    pub fn section(&self, number: usize) -> io::Result<Vec<u8>> {
        let at = self.sections.get(number).ok_or_else(damaged)?;
        let stored = self.source.part(at.clone())?;
        let length = Decompressor::upper_bound(&stored).filter(|length| *length <= LONGEST_SECTION);
        let mut decompressor = Decompressor::new()?;
        decompressor.decompress(&stored, length.ok_or_else(damaged)?).map_err(|_| damaged())
    }

    /// The document as rendering reads it.
    ///
    /// # Errors
    /// When zstd has no memory.
    pub fn text(&self) -> io::Result<FramesText<'_>> {
        Ok(FramesText { frames: self, decompressor: Decompressor::new()?, at_hand: None })
    }
}

fn unpacked(frame: &Frame, stored: &[u8], decompressor: &mut Decompressor<'static>) -> io::Result<Vec<u8>> {
    let length = usize::try_from(frame.decoded.end - frame.decoded.start).map_err(|_| damaged())?;
    let decoded = decompressor.decompress(stored, length).map_err(|_| damaged())?;
    if decoded.len() == length { Ok(decoded) } else { Err(damaged()) }
}

impl Text for FramesText<'_> {
    type Error = io::Error;

    fn copy(&mut self, span: Range<usize>, out: Out<'_, io::Error>) -> io::Result<()> {
        let mut next = span.start;
        while next < span.end {
            let number = next / FRAME;
            let frame = self.frame(number)?;
            let part = frame.get(next % FRAME..frame.len().min(span.end - number * FRAME));
            let part = part.filter(|part| !part.is_empty()).ok_or_else(damaged)?;
            next += part.len();
            out(part)?;
        }
        Ok(())
    }
}

impl FramesText<'_> {
    fn frame(&mut self, number: usize) -> io::Result<&[u8]> {
        if self.at_hand.as_ref().is_none_or(|(at_hand, _)| *at_hand != number) {
            self.at_hand = Some((number, self.frames.decode(number, &mut self.decompressor)?));
        }
        Ok(self.at_hand.as_ref().map_or(&[], |(_, frame)| frame))
    }
}

impl Source {
    /// How many bytes there are.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn length(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// Bytes that must be there. Blocks.
    ///
    /// # Errors
    /// `InvalidData` when some are not.
    pub fn part(&self, range: Range<u64>) -> io::Result<Bytes> {
        let length = usize::try_from(range.end.checked_sub(range.start).ok_or_else(damaged)?);
        let (length, from) = (length.map_err(|_| damaged())?, range.start);
        match self {
            Self::File(file) => {
                let mut part = vec![0; length];
                file.read_exact_at(&mut part, from).map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => damaged(),
                    _ => error,
                })?;
                Ok(part.into())
            }
            Self::Memory(bytes) => {
                let from = usize::try_from(from).map_err(|_| damaged())?;
                if from + length > bytes.len() {
                    return Err(damaged());
                }
                Ok(bytes.slice(from..from + length))
            }
        }
    }
}

fn header(magic: u32, length: usize) -> io::Result<[u8; 8]> {
    let mut header = [0; 8];
    header[..4].copy_from_slice(&magic.to_le_bytes());
    header[4..].copy_from_slice(&size(length)?.to_le_bytes());
    Ok(header)
}

fn size(length: usize) -> io::Result<u32> {
    u32::try_from(length).map_err(io::Error::other)
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is no whole document")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn text(length: usize) -> Vec<u8> {
        (0..)
            .flat_map(|n: u32| format!("\"{n}.0.0\":{{\"name\":\"left\"}},").into_bytes())
            .take(length)
            .collect()
    }

    /// A document of this length, as it stands on disk, with two sections.
    fn written(length: usize) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), &crate::store::Config::of(1 << 30)).unwrap();
        let mut writer = FramesWriter::new(store.draft()).unwrap();
        text(length).chunks(100_000).for_each(|chunk| writer.write(chunk).unwrap());
        let mut draft = writer.finish(&[b"outline", b""]).unwrap();
        draft.source().unwrap().part(0..draft.length()).unwrap().to_vec()
    }

    fn read(bytes: &[u8]) -> io::Result<Frames> {
        Frames::read(Source::Memory(Bytes::copy_from_slice(bytes)))
    }

    fn copied(frames: &Frames, span: Range<usize>) -> io::Result<Vec<u8>> {
        let mut copied = Vec::new();
        frames.text()?.copy(span, &mut |part| {
            copied.extend_from_slice(part);
            Ok(())
        })?;
        Ok(copied)
    }

    #[test]
    fn any_part_of_a_document_of_any_length_can_be_read() {
        for length in [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME + 7] {
            let (frames, text) = (read(&written(length)).unwrap(), text(length));
            assert_eq!(frames.length(), length as u64);
            assert_eq!(
                (frames.section(0).unwrap(), frames.section(1).unwrap()),
                (b"outline".to_vec(), vec![])
            );
            assert!(frames.section(2).is_err());
            for span in [0..length, length / 2..length, length / 3..length / 2, length..length] {
                assert!(copied(&frames, span.clone()).unwrap() == text[span]);
            }
            assert!(copied(&frames, 0..length + 1).is_err());
        }
    }

    #[test]
    fn any_decoder_of_zstd_reads_the_document_and_nothing_else() {
        assert!(zstd::decode_all(&written(3 * FRAME)[..]).unwrap() == text(3 * FRAME));
    }

    #[test]
    fn a_flipped_bit_is_never_read_as_something_else() {
        let (right, text) = (written(2 * FRAME), text(2 * FRAME));
        for at in (0..right.len()).step_by(7).chain(right.len() - 80..right.len()) {
            let mut wrong = right.clone();
            wrong[at] ^= 1 << (at % 8);
            let Ok(frames) = read(&wrong) else { continue };
            if let Ok(read) = copied(&frames, 0..text.len()) {
                assert!(read == text, "byte {at}");
            }
            if let Ok(section) = frames.section(0) {
                assert_eq!(section, b"outline", "byte {at}");
            }
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_no_document() {
        let right = written(FRAME + 10);
        for end in 0..right.len() {
            assert!(read(&right[..end]).is_err(), "cut at {end}");
        }
    }
}
