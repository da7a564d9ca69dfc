//! A CAR in zstd, packed while it is sent.

use std::io::{self, Write as _};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::task::yield_now;
use zstd::stream::write::Encoder;
use zstd::zstd_safe::CParameter;

/// What is packed before others have their turn: a fraction of a millisecond.
const PIECE: usize = 64 * 1024;

/// Packs.
pub(super) struct Packer(Encoder<'static, Vec<u8>>);

impl Packer {
    /// Level 1 and a small window: half a millisecond for 100 kB, and 0.5 MB of memory.
    pub(super) fn new() -> io::Result<Self> {
        let mut encoder = Encoder::new(Vec::new(), 1)?;
        encoder.set_parameter(CParameter::WindowLog(17))?;
        Ok(Self(encoder))
    }

    fn pack(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        self.0.write_all(piece)?;
        Ok(std::mem::take(self.0.get_mut()).into())
    }
}

/// These chunks, packed. An error ends them where they are, as it does without.
pub(super) fn packed(
    packer: Packer,
    chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let begun = (Some(packer), Box::pin(chunks), Bytes::new());
    stream::try_unfold(begun, |(packer, mut chunks, mut chunk)| async move {
        let Some(mut packer) = packer else { return Ok(None) };
        loop {
            if chunk.is_empty() {
                match chunks.next().await.transpose()? {
                    Some(next) => chunk = next,
                    None => return Ok(Some((packer.0.finish()?.into(), (None, chunks, chunk)))),
                }
            }
            let piece = chunk.split_to(chunk.len().min(PIECE));
            let out = packer.pack(&piece)?;
            if !out.is_empty() {
                return Ok(Some((out, (Some(packer), chunks, chunk))));
            }
            yield_now().await;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    async fn all(chunks: Vec<io::Result<Bytes>>) -> io::Result<Vec<u8>> {
        let mut packed = pin!(packed(Packer::new().unwrap(), stream::iter(chunks)));
        let mut all = Vec::new();
        while let Some(some) = packed.next().await {
            all.extend_from_slice(&some?);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn what_is_packed_comes_out_and_what_breaks_off_does_not_look_whole() {
        let plain: Vec<u8> = (0..200_000u32).flat_map(|number| (number / 9).to_le_bytes()).collect();
        let chunks = plain.chunks(300_000).map(Bytes::copy_from_slice).map(Ok).collect();
        let packed = all(chunks).await.unwrap();
        assert!(packed.len() < plain.len() / 4);
        assert!(zstd::decode_all(&packed[..]).unwrap() == plain);
        let broken = vec![Ok(Bytes::copy_from_slice(&plain)), Err(io::Error::other("gone"))];
        assert!(all(broken).await.is_err());
        assert!(zstd::decode_all(&all(Vec::new()).await.unwrap()[..]).unwrap().is_empty());
    }
}
