//! Undoes zstd a piece at a time: however much a few bytes become, no more than one piece of it is in memory.

use std::io;

use bytes::Bytes;
use zstd::stream::raw::{Decoder, Operation as _};
use zstd::zstd_safe::DParameter;

/// What comes out at once, in bytes.
const PIECE: usize = 64 * 1024;

/// Takes chunks as they come, and gives pieces.
pub(super) struct Unpacker {
    decoder: Decoder<'static>,
    packed: Bytes,
    /// The last piece was as long as it could be, so there may be more without another chunk.
    full: bool,
}

impl Unpacker {
    /// With the largest window that a coding on the wire may have (RFC 9659, section 3).
    pub(super) fn new() -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(23))?;
        Ok(Self { decoder, packed: Bytes::new(), full: false })
    }

    /// The next chunk, once [`Self::next`] gives nothing more of the one before.
    pub(super) fn take(&mut self, chunk: Bytes) {
        self.packed = chunk;
    }

    /// The next piece; `None`: another chunk is needed.
    ///
    /// # Errors
    /// When it is not zstd.
    pub(super) fn next(&mut self) -> io::Result<Option<Bytes>> {
        while !self.packed.is_empty() || self.full {
            let mut piece = vec![0; PIECE];
            let status = self.decoder.run_on_buffers(&self.packed, &mut piece)?;
            self.packed = self.packed.slice(status.bytes_read..);
            self.full = status.bytes_written == PIECE;
            if status.bytes_written > 0 {
                piece.truncate(status.bytes_written);
                return Ok(Some(piece.into()));
            }
            if status.bytes_read == 0 {
                break;
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(packed: &[u8], step: usize) -> io::Result<Vec<u8>> {
        let (mut unpacker, mut all) = (Unpacker::new()?, Vec::new());
        for chunk in packed.chunks(step) {
            unpacker.take(Bytes::copy_from_slice(chunk));
            while let Some(piece) = unpacker.next()? {
                assert!(piece.len() <= PIECE);
                all.extend_from_slice(&piece);
            }
        }
        Ok(all)
    }

    #[test]
    fn whatever_the_pieces_are_what_was_packed_comes_out() {
        let plain: Vec<u8> = (0..300_000u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
        let frames = [&plain[..1000], &plain[1000..]].map(|part| zstd::encode_all(part, 1).unwrap()).concat();
        for step in [1, 777, 65_536, frames.len()] {
            assert!(unpacked(&frames, step).unwrap() == plain, "in chunks of {step}");
        }
    }

    #[test]
    fn a_bomb_comes_out_a_piece_at_a_time_and_what_is_not_zstd_is_an_error() {
        let bomb = zstd::encode_all(&vec![0; 64 * 1024 * 1024][..], 3).unwrap();
        let mut unpacker = Unpacker::new().unwrap();
        unpacker.take(bomb.into());
        assert_eq!(unpacker.next().unwrap().map(|piece| piece.len()), Some(PIECE));
        assert!(unpacked(b"{\"name\": \"left\"}", 5).is_err());
    }
}
