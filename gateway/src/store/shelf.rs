//! What the writer and the keeper do with content files: look, remove, list, verify. All of it blocks.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::SystemTime;

use resolver::integrity::{Expected, Integrity, Verifier};

use super::content::{Contents, remove};
use super::draft::read_at;

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

impl Contents {
    pub(super) fn has_blob(&self, integrity: &Integrity) -> bool {
        self.blob_path(integrity).exists()
    }

    pub(super) fn remove_blob(&self, integrity: &Integrity) {
        remove(&self.blob_path(integrity));
    }

    /// The tarballs whose digests begin with this byte: one folder in 256, so that a listing is small.
    pub(super) fn blobs_in(&self, first: u8) -> io::Result<BTreeMap<[u8; 64], Listed>> {
        let hex = format!("{first:02x}");
        let mut listed = BTreeMap::new();
        let entries = match fs::read_dir(self.dir.join("blobs/sha512").join(&hex)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(listed),
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let name = format!("{hex}{}", entry.file_name().to_string_lossy());
            let Some(integrity) = Integrity::from_hex(&name) else {
                continue;
            };
            // It may go while it is looked at.
            if let Ok(file) = entry.metadata() {
                let written = file.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                listed.insert(*integrity.as_bytes(), Listed { length: file.len(), written });
            }
        }
        Ok(listed)
    }

    /// Whether a tarball still has the digest that it is named by; one that does not is removed. `None`, when it has
    /// gone, `pace` says to stop, or the disk refuses: that is nothing to remove it for.
    pub(super) fn verify_blob(
        &self,
        integrity: &Integrity,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Option<bool> {
        let path = self.blob_path(integrity);
        let mut verifier = Verifier::new(Expected::Integrity(*integrity));
        let read = read_through(&path, |chunk| {
            verifier.update(chunk);
            pace(chunk.len() as u64)
        });
        settled(&path, read, || verifier.finish().is_ok())
    }
}

/// False when it was stopped before the end.
fn read_through(path: &Path, mut each: impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
    let file = File::open(path)?;
    let mut at = 0;
    loop {
        let chunk = read_at(&file, at, CHUNK)?;
        if chunk.is_empty() {
            return Ok(true);
        }
        if !each(&chunk) {
            return Ok(false);
        }
        at += chunk.len() as u64;
    }
}

fn settled(path: &Path, read: io::Result<bool>, is_intact: impl FnOnce() -> bool) -> Option<bool> {
    match read {
        Ok(true) if is_intact() => Some(true),
        Ok(true) => {
            remove(path);
            Some(false)
        }
        Ok(false) => None,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, path = %path.display(), "cannot read a file of the store to verify it");
            }
            None
        }
    }
}
