//! Packuments on disk: a folder for each revision, with the document and the variants that were made of it.
//!
//! ```text
//! ab/cdef…/document     the document (see `frames`); its sections: the outline, and name and record
//! ab/cdef…/<etag>       a variant as it goes out, coded, and behind it 16 bytes of its SHA-256
//! ab/cdef…/<etag>.id    an uncoded variant, in frames
//! ```
//!
//! So a document says itself what it is, and the state could be made again out of the folders.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use resolver::package::PackageName;
use resolver::packument::Outline;
use resolver::variant::Revision;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::content::Found;
use super::draft::{Draft, blocking, read_at};
use super::frames::{Frames, FramesWriter, Source};
use super::known::{remove as remove_file, remove_this};
use super::tables::PackumentRecord;

pub(super) const DOCUMENT: &str = "document";
const OUTLINE: usize = 0;
const DESCRIPTION: usize = 1;
/// What is kept of a variant's SHA-256 behind it.
const SEAL: usize = 16;
/// The variants of one revision that are kept: two forms in four codings, for clients of a few addresses each. What is
/// more is made anew.
const MOST_VARIANTS: usize = 32;
/// A variant up to this length is read in one piece.
const WHOLE: u64 = 1024 * 1024;

/// The packuments of a data directory.
pub(super) struct Documents {
    pub(super) dir: PathBuf,
}

/// A document's own word of what it is.
#[derive(Serialize, Deserialize)]
struct Description {
    name: String,
    record: PackumentRecord,
}

/// A coded variant, as it goes out.
#[derive(Debug, Clone)]
pub enum Coded {
    /// All of it.
    Whole(Bytes),
    /// A file, of which the first so many bytes are the variant.
    File(Arc<File>, u64),
}

impl Coded {
    /// The first `length` bytes of what has just been written: in one piece when they are few. Blocks.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn of(source: Source, length: u64) -> io::Result<Self> {
        match source {
            Source::File(file) if length > WHOLE => Ok(Self::File(file, length)),
            source => Ok(Self::Whole(source.part(0..length)?)),
        }
    }
}

impl Documents {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.join("documents/sha256") }
    }

    /// Ends a document with what is known of it. Blocks.
    pub(super) fn finish(
        writer: FramesWriter,
        name: &PackageName,
        outline: &Outline,
        record: &PackumentRecord,
    ) -> io::Result<Draft> {
        let description = Description { name: name.as_str().to_owned(), record: record.clone() };
        let description = serde_json::to_vec(&description)?;
        writer.finish(&[outline.to_json().as_bytes(), &description])
    }

    /// Moves a document to its place; says how many bytes it takes.
    pub(super) async fn keep(&self, draft: Draft, revision: &Revision) -> io::Result<u64> {
        let stored = draft.length();
        draft.keep(self.folder(revision).join(DOCUMENT)).await?;
        Ok(stored)
    }

    pub(super) fn has(&self, revision: &Revision) -> bool {
        self.folder(revision).join(DOCUMENT).exists()
    }

    /// Opens a document; one that is damaged goes. Blocks.
    pub(super) fn open(&self, revision: &Revision) -> Found<Frames> {
        let opened = self.file(revision).map(|file| (Frames::read(Source::File(Arc::clone(&file))), file));
        match opened {
            Ok((Ok(frames), _)) => Found::Intact(frames),
            Ok((Err(error), file)) if error.kind() == io::ErrorKind::InvalidData => {
                if self.remove_this(revision, &file) { Found::Corrupt } else { Found::Missing }
            }
            Ok((Err(error), _)) | Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, revision = revision.hex(), "cannot read a document from the store");
                }
                Found::Missing
            }
        }
    }

    /// The file of a document, whatever is in it.
    pub(super) fn file(&self, revision: &Revision) -> io::Result<Arc<File>> {
        File::open(self.folder(revision).join(DOCUMENT)).map(Arc::new)
    }

    /// What a document says; damage changes nothing here. Blocks.
    ///
    /// # Errors
    /// `NotFound`, or `InvalidData` when it is damaged.
    pub(super) fn outline(&self, revision: &Revision) -> io::Result<Outline> {
        outline(&Frames::open(&self.folder(revision).join(DOCUMENT))?)
    }

    /// Removes a document that was found damaged, and all that was made of it; not a whole one that has come to its place. True when
    /// it was there: several may find the same damage, and only the first of them has. Blocks.
    pub(super) fn remove_this(&self, revision: &Revision, damaged: &File) -> bool {
        let folder = self.folder(revision);
        let is_first = remove_this(&folder.join(DOCUMENT), damaged);
        if is_first {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if entry.file_name() != DOCUMENT {
                    remove_file(&entry.path());
                }
            }
            // It stays when another document has come.
            let _ = fs::remove_dir(&folder);
        }
        is_first
    }

    /// Removes a revision with all its variants. Blocks.
    pub(super) fn remove(&self, revision: &Revision) {
        let folder = self.folder(revision);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %folder.display(), "cannot remove a folder of the store");
            }
            _ => {}
        }
    }

    /// Seals a variant and moves it to its place beside its document; says how many bytes it takes. Where the document
    /// has gone meanwhile, so has the place. Blocks for a moment only.
    pub(super) async fn keep_coded(
        &self,
        mut draft: Draft,
        seal: [u8; 32],
        (revision, tag): (&Revision, &str),
    ) -> io::Result<u64> {
        self.check_number(revision)?;
        draft.write(&seal[..SEAL]).await?;
        let stored = draft.length();
        draft.keep_beside(self.folder(revision).join(tag)).await?;
        Ok(stored)
    }

    /// Moves an uncoded variant to its place.
    pub(super) async fn keep_plain(
        &self,
        draft: Draft,
        (revision, tag): (&Revision, &str),
    ) -> io::Result<u64> {
        self.check_number(revision)?;
        let stored = draft.length();
        draft.keep_beside(self.plain_path(revision, tag)).await?;
        Ok(stored)
    }

    /// Clients choose the host that tarball addresses begin with, and so could make variants without end.
    fn check_number(&self, revision: &Revision) -> io::Result<()> {
        let files = fs::read_dir(self.folder(revision)).map_or(0, Iterator::count);
        if files > MOST_VARIANTS { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// A coded variant; a short one has been checked against its seal, a long one is checked now. Blocks.
    pub(super) fn coded(&self, revision: &Revision, tag: &str) -> Found<Coded> {
        let path = self.folder(revision).join(tag);
        discarded_when_damaged(read_coded(&path), &path)
    }

    /// An uncoded variant. All of it has been checked, for what is damaged must be known before its first byte goes
    /// out. Blocks.
    pub(super) fn plain(&self, revision: &Revision, tag: &str) -> Found<Frames> {
        let path = self.plain_path(revision, tag);
        discarded_when_damaged(read_plain(&path), &path)
    }

    /// What the document of a revision says of itself; of the rest nothing is read. Blocks.
    ///
    /// # Errors
    /// `InvalidData` when it is damaged, or another one's.
    pub(super) fn description(&self, revision: &Revision) -> io::Result<(PackageName, PackumentRecord)> {
        let document = Frames::open(&self.folder(revision).join(DOCUMENT))?;
        described(&document).filter(|(_, record)| record.revision == *revision).ok_or_else(damaged)
    }

    /// The same, when every byte has been read; `None` when `pace`, which is told of each part, says to stop. Blocks.
    ///
    /// # Errors
    /// As for [`Self::description`].
    pub(super) fn describe(
        document: &Frames,
        revision: &Revision,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> io::Result<Option<(PackageName, PackumentRecord)>> {
        let mut hash = Sha256::new();
        for number in 0..document.frames() {
            let frame = document.frame(number)?;
            hash.update(&frame);
            if !pace(frame.len() as u64) {
                return Ok(None);
            }
        }
        outline(document)?;
        let is_its_name = Revision::from_digest(hash.finalize().into()) == *revision;
        let described = described(document).filter(|(_, record)| record.revision == *revision);
        described.filter(|_| is_its_name).map(Some).ok_or_else(damaged)
    }

    fn plain_path(&self, revision: &Revision, tag: &str) -> PathBuf {
        self.folder(revision).join(format!("{tag}.id"))
    }

    pub(super) fn folder(&self, revision: &Revision) -> PathBuf {
        let hex = revision.hex();
        self.dir.join(&hex[..2]).join(&hex[2..])
    }
}

/// The outline that is kept with a document. Blocks.
///
/// # Errors
/// `InvalidData` when it is damaged.
pub fn outline(document: &Frames) -> io::Result<Outline> {
    let json = String::from_utf8(document.section(OUTLINE)?).ok();
    let outline = json.and_then(|json| Outline::from_json(&json));
    outline.filter(|outline| outline.length() as u64 == document.length()).ok_or_else(damaged)
}

fn described(document: &Frames) -> Option<(PackageName, PackumentRecord)> {
    let description: Description = serde_json::from_slice(&document.section(DESCRIPTION).ok()?).ok()?;
    Some((PackageName::parse(&description.name).ok()?, description.record))
}

fn read_coded(path: &Path) -> io::Result<Coded> {
    let file = File::open(path)?;
    let length = file.metadata()?.len().checked_sub(SEAL as u64).ok_or_else(damaged)?;
    let mut seal = [0; SEAL];
    file.read_exact_at(&mut seal, length)?;
    let mut hash = Sha256::new();
    let mut whole = Bytes::new();
    let mut at = 0;
    while at < length {
        whole = read_at(&file, at, usize::try_from((length - at).min(WHOLE)).unwrap_or(0))?;
        if whole.is_empty() {
            return Err(damaged());
        }
        hash.update(&whole);
        at += whole.len() as u64;
    }
    match hash.finalize()[..SEAL] == seal {
        false => Err(damaged()),
        true if length <= WHOLE => Ok(Coded::Whole(whole)),
        true => Ok(Coded::File(Arc::new(file), length)),
    }
}

fn read_plain(path: &Path) -> io::Result<Frames> {
    let frames = Frames::open(path)?;
    frames.verify()?;
    Ok(frames)
}

/// A damaged variant goes, to be made again; one that cannot be read now (no more open files, a disk that fails) stays.
fn discarded_when_damaged<T>(opened: io::Result<T>, path: &Path) -> Found<T> {
    match opened {
        Ok(opened) => Found::Intact(opened),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Found::Missing,
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                // Several may find the same damage; the first of them has.
                if remove_file(path) { Found::Corrupt } else { Found::Missing }
            }
            _ => {
                tracing::warn!(%error, path = %path.display(), "cannot read a variant from the store");
                Found::Missing
            }
        },
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is damaged")
}

/// Removes a revision where blocking is allowed.
pub(super) async fn remove(documents: &Arc<Documents>, revision: Revision) {
    let documents = Arc::clone(documents);
    let removed = blocking(move || {
        documents.remove(&revision);
        Ok(())
    });
    // Removing cannot fail; the task can only be cancelled with the runtime.
    let _ = removed.await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    const NAME: &str = "left";

    fn document() -> String {
        let versions: Vec<_> = (0..20_000).map(|n| format!("\"{n}.0.0\":{{\"dist\":{{}}}}")).collect();
        format!("{{\"name\":\"left\",\"versions\":{{{}}}}}", versions.join(","))
    }

    fn record() -> PackumentRecord {
        let (revision, length) = (Revision::of(document().as_bytes()), document().len() as u64);
        let (checked_ms, fetched_ms, stored, modified_s) = (1, 2, 0, 4);
        let (etag, last_modified) = (Some("\"a\"".into()), None);
        PackumentRecord { revision, length, checked_ms, fetched_ms, stored, modified_s, etag, last_modified }
    }

    async fn keep(folder: &Path) -> (Store, Documents) {
        let store = Store::open(folder, &crate::store::Config::of(1 << 30)).unwrap();
        let mut writer = FramesWriter::new(store.draft()).unwrap();
        writer.write(document().as_bytes()).unwrap();
        let name = PackageName::parse(NAME).unwrap();
        let outline = Outline::read(&name, &document()).unwrap();
        let documents = Documents::new(folder);
        let draft = Documents::finish(writer, &name, &outline, &record()).unwrap();
        documents.keep(draft, &record().revision).await.unwrap();
        (store, documents)
    }

    #[tokio::test]
    async fn a_document_says_itself_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (_, documents) = keep(folder.path()).await;
        let Found::Intact(frames) = documents.open(&record().revision) else { panic!("it is not there") };
        let described = Documents::describe(&frames, &record().revision, &mut |_| true).unwrap();
        let (name, described) = described.unwrap();
        assert_eq!((name.as_str(), described), (NAME, record()));
        assert_eq!(outline(&frames).unwrap(), Outline::read(&name, &document()).unwrap());
    }

    #[tokio::test]
    async fn a_document_in_anothers_place_describes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (_, documents) = keep(folder.path()).await;
        let path = documents.folder(&record().revision).join(DOCUMENT);
        let mut bytes = fs::read(&path).unwrap();
        bytes[100] ^= 1;
        fs::write(&path, bytes).unwrap();
        let Found::Intact(frames) = documents.open(&record().revision) else { panic!("it is not there") };
        assert!(Documents::describe(&frames, &record().revision, &mut |_| true).is_err());
    }

    #[tokio::test]
    async fn a_variant_whose_bytes_have_changed_is_made_again_and_never_sent() {
        let folder = tempfile::tempdir().unwrap();
        let (store, documents) = keep(folder.path()).await;
        let revision = record().revision;
        for length in [10, 3 * 1024 * 1024] {
            let bytes = vec![b'x'; length];
            let mut draft = store.draft();
            draft.append(&bytes).unwrap();
            documents.keep_coded(draft, Sha256::digest(&bytes).into(), (&revision, "tag")).await.unwrap();
            assert!(matches!(documents.coded(&revision, "tag"), Found::Intact(_)), "{length}");
            let path = documents.folder(&revision).join("tag");
            let mut wrong = fs::read(&path).unwrap();
            wrong[length / 2] ^= 1;
            fs::write(&path, wrong).unwrap();
            assert!(matches!(documents.coded(&revision, "tag"), Found::Corrupt), "{length}");
            assert!(matches!(documents.coded(&revision, "tag"), Found::Missing), "{length}");
        }
    }

    /// Its table alone says nothing of a frame in the middle.
    #[tokio::test]
    async fn an_uncoded_variant_that_is_damaged_anywhere_is_made_again_and_never_sent() {
        let folder = tempfile::tempdir().unwrap();
        let (store, documents) = keep(folder.path()).await;
        let revision = record().revision;
        for part in 1..8 {
            let mut writer = FramesWriter::new(store.draft()).unwrap();
            (0..12).for_each(|_| writer.write(document().as_bytes()).unwrap());
            documents.keep_plain(writer.finish(&[]).unwrap(), (&revision, "tag")).await.unwrap();
            assert!(matches!(documents.plain(&revision, "tag"), Found::Intact(_)));
            let path = documents.plain_path(&revision, "tag");
            let mut wrong = fs::read(&path).unwrap();
            let at = wrong.len() * part / 8;
            wrong[at] ^= 1;
            fs::write(&path, wrong).unwrap();
            assert!(matches!(documents.plain(&revision, "tag"), Found::Corrupt), "byte {at}");
            assert!(matches!(documents.plain(&revision, "tag"), Found::Missing), "byte {at}");
        }
    }

    /// Too many open files are no damage.
    #[tokio::test]
    async fn a_variant_that_cannot_be_read_now_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (_, documents) = keep(folder.path()).await;
        let revision = record().revision;
        let paths = [documents.folder(&revision).join("tag"), documents.plain_path(&revision, "tag")];
        // What leads to itself cannot be opened, not even by root.
        paths.iter().for_each(|path| std::os::unix::fs::symlink(path, path).unwrap());
        assert!(matches!(documents.coded(&revision, "tag"), Found::Missing));
        assert!(matches!(documents.plain(&revision, "tag"), Found::Missing));
        paths.iter().for_each(|path| assert!(path.is_symlink(), "{}", path.display()));
    }

    #[tokio::test]
    async fn no_more_variants_are_kept_than_a_few_addresses_need() {
        let folder = tempfile::tempdir().unwrap();
        let (store, documents) = keep(folder.path()).await;
        let mut kept = 0;
        for number in 0..100 {
            let mut draft = store.draft();
            draft.append(b"x").unwrap();
            let (revision, tag) = (record().revision, number.to_string());
            kept += usize::from(documents.keep_plain(draft, (&revision, &tag)).await.is_ok());
        }
        assert_eq!(kept, MOST_VARIANTS);
    }

    #[tokio::test]
    async fn a_variant_of_a_revision_that_has_gone_is_kept_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let (store, documents) = keep(folder.path()).await;
        let revision = record().revision;
        documents.remove(&revision);
        let mut draft = store.draft();
        draft.append(b"x").unwrap();
        assert!(documents.keep_coded(draft, Sha256::digest(b"x").into(), (&revision, "tag")).await.is_err());
        assert!(!documents.folder(&revision).exists());
    }
}
