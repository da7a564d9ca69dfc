//! Tarballs: files named by their SHA-512.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use resolver::integrity::Integrity;

use super::blob::Blob;
use super::draft::{Draft, Kept, blocking};
use super::known::{Known, remove};
use super::memory::Memory;
use super::room::Room;

/// The content-addressed part of a data directory.
pub(super) struct Contents {
    pub(super) dir: PathBuf,
    pub(super) known: Arc<Known>,
    room: Arc<Room>,
}

/// What a look for content finds.
pub(super) enum Found<T> {
    Intact(T),
    Missing,
    /// It was there, but not what its name says; it has been removed.
    Corrupt,
}

impl Contents {
    pub(super) fn new(dir: &Path, memory: Arc<Memory>) -> Self {
        Self { dir: dir.into(), known: Arc::new(Known::new(memory)), room: Arc::default() }
    }

    /// What is done where the disk takes nothing.
    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    /// A draft in a file, or in memory alone.
    pub(super) fn draft(&self, in_file: bool) -> Draft {
        Draft::new(&self.dir.join("drafts"), Arc::clone(&self.room), in_file)
    }

    pub(super) async fn blob(&self, integrity: &Integrity) -> Found<Blob> {
        if let Some(blob) = self.known.at_hand(integrity) {
            return Found::Intact(blob);
        }
        let (path, integrity, known) = (self.blob_path(integrity), *integrity, Arc::clone(&self.known));
        let opened = blocking(move || known.open(&path, &integrity)).await;
        opened.unwrap_or_else(|error| {
            tracing::warn!(%error, %integrity, "cannot read a tarball from the store");
            Found::Missing
        })
    }

    /// Opens what a draft has become, and says whether it has its place in the store; without `place` it gets none.
    pub(super) async fn keep_blob(
        &self,
        draft: Draft,
        integrity: &Integrity,
        place: bool,
    ) -> io::Result<(Blob, bool)> {
        let length = draft.length();
        Ok(match draft.end(place.then(|| self.blob_path(integrity))).await? {
            Kept::InPlace(file) => (self.known.kept(integrity, file, length), true),
            Kept::Nameless(file) => (self.known.nameless(integrity, file, length), false),
            Kept::InMemory(bytes) => (Blob::in_memory(integrity, bytes), false),
        })
    }

    /// Removes a blob, and lets go of what is in memory of it; whoever reads it can read on. Blocks.
    pub(super) fn remove_blob(&self, integrity: &Integrity) {
        // In this order: `Known::open` looks behind itself.
        remove(&self.blob_path(integrity));
        self.known.forget(integrity);
    }

    pub(super) fn blob_path(&self, integrity: &Integrity) -> PathBuf {
        sharded(&self.dir.join("blobs/sha512"), &integrity.hex())
    }
}

/// `ab/cdef…` below `root`: 256 folders keep each of them small.
fn sharded(root: &Path, hex: &str) -> PathBuf {
    root.join(&hex[..2]).join(&hex[2..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::known::key;
    use std::fs::{self, File};

    /// Contents in a directory that is gone with the test, and tarballs in it.
    struct Shelf {
        dir: tempfile::TempDir,
        memory: Arc<Memory>,
        contents: Contents,
    }

    impl Shelf {
        fn new(memory: u64) -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("drafts")).unwrap();
            let memory = Arc::new(Memory::new(memory));
            let contents = Contents::new(dir.path(), Arc::clone(&memory));
            Self { dir, memory, contents }
        }

        async fn keep(&self, bytes: &[u8]) -> Integrity {
            let integrity = Integrity::of(bytes);
            let mut draft = self.contents.draft(true);
            draft.write(bytes).await.unwrap();
            self.contents.keep_blob(draft, &integrity, true).await.unwrap();
            integrity
        }

        /// The same directory after a start.
        fn again(self) -> Self {
            let contents = Contents::new(self.dir.path(), Arc::clone(&self.memory));
            Self { contents, ..self }
        }

        async fn blob(&self, integrity: &Integrity) -> Option<Blob> {
            match self.contents.blob(integrity).await {
                Found::Intact(blob) => Some(blob),
                Found::Missing | Found::Corrupt => None,
            }
        }

        async fn read(&self, integrity: &Integrity) -> Option<io::Result<Vec<u8>>> {
            Some(read(&self.blob(integrity).await?).await)
        }
    }

    async fn read(blob: &Blob) -> io::Result<Vec<u8>> {
        let (mut reader, mut bytes) = (blob.reader(0..blob.length()), Vec::new());
        while let Some(chunk) = reader.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn some(length: usize) -> Vec<u8> {
        (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect()
    }

    #[tokio::test]
    async fn a_tarball_of_any_size_is_read_as_it_was_kept_by_whatever_way() {
        for memory in [0, 1024 * 1024] {
            let mut shelf = Shelf::new(memory);
            for length in [0, 1, 5000, 64 * 1024, 64 * 1024 + 1, 700_000] {
                let bytes = some(length);
                let integrity = shelf.keep(&bytes).await;
                for _ in 0..3 {
                    assert_eq!(shelf.read(&integrity).await.unwrap().unwrap(), bytes);
                }
                shelf = shelf.again();
                assert_eq!(shelf.read(&integrity).await.unwrap().unwrap(), bytes, "hashed, and read");
                let blob = shelf.blob(&integrity).await.unwrap();
                let half = blob.length() / 2;
                let mut reader = blob.reader(half..blob.length());
                assert_eq!(reader.left(), blob.length() - half);
                while let Some(chunk) = reader.next().await.unwrap() {
                    assert!(!chunk.is_empty());
                }
                assert_eq!(reader.left(), 0);
            }
        }
    }

    #[tokio::test]
    async fn what_is_removed_is_not_served_any_more_but_whoever_reads_it_reads_on() {
        let shelf = Shelf::new(1024 * 1024);
        for length in [5000, 700_000] {
            let bytes = some(length);
            let integrity = shelf.keep(&bytes).await;
            let blob = shelf.blob(&integrity).await.unwrap();
            shelf.contents.remove_blob(&integrity);
            assert!(shelf.read(&integrity).await.is_none());
            assert_eq!(read(&blob).await.unwrap(), bytes);
            shelf.keep(&bytes).await;
            assert_eq!(shelf.read(&integrity).await.unwrap().unwrap(), bytes);
        }
    }

    #[tokio::test]
    async fn a_file_that_has_become_shorter_is_found_out_and_let_go() {
        let shelf = Shelf::new(0);
        let integrity = shelf.keep(&some(700_000)).await;
        let opened = shelf.blob(&integrity).await.unwrap();
        let file = File::options().write(true).open(shelf.contents.blob_path(&integrity)).unwrap();
        file.set_len(300_000).unwrap();
        assert_eq!(read(&opened).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(matches!(shelf.contents.blob(&integrity).await, Found::Corrupt));
        assert!(matches!(shelf.contents.blob(&integrity).await, Found::Missing));
    }

    #[tokio::test]
    async fn other_bytes_under_a_digest_are_found_when_they_are_first_read_after_a_start() {
        for length in [5000, 700_000] {
            let shelf = Shelf::new(0);
            let integrity = shelf.keep(&some(length)).await;
            fs::write(shelf.contents.blob_path(&integrity), vec![7; length]).unwrap();
            let shelf = shelf.again();
            assert!(matches!(shelf.contents.blob(&integrity).await, Found::Corrupt));
            assert!(matches!(shelf.contents.blob(&integrity).await, Found::Missing));
        }
    }

    #[tokio::test]
    async fn small_ones_are_in_memory_after_their_first_read_and_large_ones_never() {
        let shelf = Shelf::new(1024 * 1024);
        for (length, kept) in [(5000, true), (700_000, false)] {
            let integrity = shelf.keep(&some(length)).await;
            shelf.read(&integrity).await.unwrap().unwrap();
            assert_eq!(shelf.memory.get(&key(&integrity)).is_some(), kept);
            let at_once = shelf.blob(&integrity).await.unwrap().at_once(&(10..20));
            assert_eq!(at_once.as_deref(), kept.then_some(&some(length)[10..20]));
        }
    }
}
