//! What the writer and the keeper do with content files: look, remove, list, verify. All of it blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use resolver::integrity::{Expected, Integrity, Verifier};
use resolver::package::PackageName;
use resolver::variant::Revision;

use super::content::{Contents, Found};
use super::documents::{DOCUMENT, Documents};
use super::draft::read_at;
use super::frames::{Frames, Source};
use super::known::remove_this;
use super::tables::on_disk;

/// What a file is read in.
const CHUNK: usize = 256 * 1024;

/// A file as a listing shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    /// In bytes.
    pub(super) length: u64,
    /// When it was last written.
    pub(super) written: SystemTime,
}

/// What a look at every file of a revision has shown.
pub(super) enum Verified {
    /// Whose it is, and the files of the variants that were damaged and have been removed.
    Intact(PackageName, Vec<String>),
    /// It has been removed; whose it was, if it still says so.
    Corrupt(Option<PackageName>),
    /// It has gone, there was no time, or the disk refuses.
    Unknown,
}

impl Contents {
    pub(super) fn has_blob(&self, integrity: &Integrity) -> bool {
        self.blob_path(integrity).exists()
    }

    /// The tarballs whose digests begin with this byte: one folder in 256, so that a listing is small.
    pub(super) fn blobs_in(&self, first: u8) -> io::Result<BTreeMap<[u8; 64], Listed>> {
        let mut listed = BTreeMap::new();
        each_in(&self.dir.join("blobs/sha512"), first, |name, entry| {
            // It may go while it is looked at.
            if let (Some(integrity), Ok(file)) = (Integrity::from_hex(name), entry.metadata()) {
                let written = file.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                listed.insert(*integrity.as_bytes(), Listed { length: file.len(), written });
            }
        })?;
        Ok(listed)
    }

    /// Whether a tarball still has the digest that it is named by; one that does not is removed. `None`, when it has
    /// gone (somebody else may have found the same), `pace` says to stop, or the disk refuses: that is nothing to remove it for.
    pub(super) fn verify_blob(
        &self,
        integrity: &Integrity,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Option<bool> {
        let path = self.blob_path(integrity);
        match self.hash(&path, integrity, pace) {
            Ok(verified) => verified,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, path = %path.display(), "cannot read a file of the store to verify it");
                }
                None
            }
        }
    }

    fn hash(
        &self,
        path: &Path,
        integrity: &Integrity,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> io::Result<Option<bool>> {
        let file = File::open(path)?;
        let mut verifier = Verifier::new(Expected::Integrity(*integrity));
        let whole = read_through(&file, |chunk| {
            verifier.update(chunk);
            pace(chunk.len() as u64)
        })?;
        if !whole || verifier.finish().is_ok() {
            return Ok(whole.then_some(true));
        }
        self.known.forget(integrity);
        Ok(remove_this(path, &file).then_some(false))
    }
}

impl Documents {
    /// The revisions whose digests begin with this byte.
    pub(super) fn revisions_in(&self, first: u8) -> io::Result<BTreeSet<[u8; 32]>> {
        let mut listed = BTreeSet::new();
        each_in(&self.dir, first, |name, _| {
            listed.extend(Revision::from_hex(name).map(|revision| *revision.as_bytes()));
        })?;
        Ok(listed)
    }

    /// What all files of a revision take on disk.
    pub(super) fn measure(&self, revision: &Revision) -> u64 {
        let entries = fs::read_dir(self.folder(revision)).into_iter().flatten().flatten();
        entries.filter_map(|entry| Some(on_disk(entry.metadata().ok()?.len()))).sum()
    }

    /// Reads every file of a revision. Variants that are damaged are removed, to be made again; with the document, all
    /// goes.
    pub(super) fn verify(&self, revision: &Revision, pace: &mut dyn FnMut(u64) -> bool) -> Verified {
        let read = self.file(revision).map(|file| {
            let document = Frames::read(Source::File(Arc::clone(&file)));
            (document.and_then(|document| Self::describe(&document, revision, pace)), file)
        });
        match read {
            Ok((Ok(Some((name, _))), _)) => Verified::Intact(name, self.verify_variants(revision, pace)),
            Ok((Ok(None), _)) => Verified::Unknown,
            Ok((Err(error), file)) if error.kind() == io::ErrorKind::InvalidData => {
                let name = self.description(revision).ok().map(|(name, _)| name);
                if self.remove_this(revision, &file) { Verified::Corrupt(name) } else { Verified::Unknown }
            }
            Ok((Err(error), _)) | Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, revision = revision.hex(), "cannot read a packument to verify it");
                }
                Verified::Unknown
            }
        }
    }

    /// Says which were damaged.
    fn verify_variants(&self, revision: &Revision, pace: &mut dyn FnMut(u64) -> bool) -> Vec<String> {
        let mut damaged = Vec::new();
        for entry in fs::read_dir(self.folder(revision)).into_iter().flatten().flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            let length = entry.metadata().map_or(0, |file| file.len());
            // Looking is enough: what is damaged goes.
            let is_damaged = match file.strip_suffix(".id") {
                _ if file == DOCUMENT => continue,
                Some(tag) => matches!(self.plain(revision, tag), Found::Corrupt),
                None => matches!(self.coded(revision, &file), Found::Corrupt),
            };
            if is_damaged {
                damaged.push(file);
            }
            if !pace(length) {
                break;
            }
        }
        damaged
    }
}

/// The entries of one folder of 256, by their digests in hexadecimal; none, when there is no such folder.
fn each_in(root: &Path, first: u8, mut each: impl FnMut(&str, &fs::DirEntry)) -> io::Result<()> {
    let hex = format!("{first:02x}");
    let entries = match fs::read_dir(root.join(&hex)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        each(&format!("{hex}{}", entry.file_name().to_string_lossy()), &entry);
    }
    Ok(())
}

/// False when it was stopped before the end.
fn read_through(file: &File, mut each: impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
    let mut at = 0;
    loop {
        let chunk = read_at(file, at, CHUNK)?;
        if chunk.is_empty() {
            return Ok(true);
        }
        if !each(&chunk) {
            return Ok(false);
        }
        at += chunk.len() as u64;
    }
}
