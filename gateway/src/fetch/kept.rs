//! Upstream's own bytes for whoever follows this gateway: as they are kept, in frames of zstd, or decoded. What damage has
//! made of them is found before it is sent.

use std::time::Duration;

use super::Fetch;
use super::failure::Failure;
use super::packuments::Document;
use super::ready::Ready;
use super::renderings::{Lost, lost};
use crate::store::{Coded, Frames, Store};

/// A document of so many frames, a MiB decoded, is verified before its first byte goes out; of a longer one each frame
/// before it does.
const AT_ONCE: usize = 4;

impl Fetch {
    /// All that upstream has said of a package, as it came; with `packed`, to be sent in zstd. Gives a newer document, if
    /// that has taken the place of this one.
    ///
    /// # Errors
    /// [`Failure`], when it is not readable any more and not to be had again.
    pub async fn as_it_came(&self, document: Document, packed: bool) -> Result<(Document, Ready), Failure> {
        let mut document = document;
        for _ in 0..2 {
            let (store, of) = (self.inner.store.clone(), document.clone());
            let opened = tokio::task::spawn_blocking(move || open(&store, &of, packed)).await;
            match opened.unwrap_or(Err(Lost::Document)) {
                Ok(ready) => return Ok((document, ready)),
                Err(_) => document = self.again(document).await?,
            }
        }
        Err(Failure::unavailable(document.name.as_str(), "its document changes faster than it can be read"))
    }

    /// Since upstream has confirmed a document, as far as that counts.
    #[must_use]
    pub fn age(&self, document: &Document) -> Duration {
        self.inner.packuments.age(&document.name, &document.record)
    }
}

/// Blocks.
fn open(store: &Store, document: &Document, packed: bool) -> Result<Ready, Lost> {
    let frames = document.frames(store).ok_or(Lost::Document)?;
    let opened = ready(&frames, packed);
    opened.map_err(|error| lost(store, document, &frames, &error))
}

fn ready(frames: &Frames, packed: bool) -> std::io::Result<Ready> {
    if frames.frames() > AT_ONCE {
        // A document that is damaged all over shows it here.
        frames.frame(0)?;
        return Ok(if packed { Ready::Packed(frames.clone()) } else { Ready::Plain(frames.clone()) });
    }
    let mut whole = Vec::new();
    for number in 0..frames.frames() {
        let part = if packed { frames.packed(number)? } else { frames.frame(number)?.into() };
        whole.extend_from_slice(&part);
    }
    Ok(Ready::Coded(Coded::Whole(whole.into())))
}
