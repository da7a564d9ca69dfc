//! What a gateway keeps on disk: looked at, and spoiled, behind its back.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256, Sha512};

use crate::package::Release;

/// Where the tarball of this release is kept.
pub fn blob(data: &Path, release: &Release) -> PathBuf {
    let digest = hex(&Sha512::digest(&release.tarball));
    data.join("blobs/sha512").join(&digest[..2]).join(&digest[2..])
}

/// Every tarball that is kept.
pub fn blobs(data: &Path) -> Vec<PathBuf> {
    files(&data.join("blobs"))
}

/// Every packument that is kept: its document, as upstream sent it.
pub fn packuments(data: &Path) -> Vec<PathBuf> {
    documents(data).into_iter().filter(|path| path.ends_with("document")).collect()
}

/// Every file of every packument: documents and variants.
pub fn documents(data: &Path) -> Vec<PathBuf> {
    files(&data.join("documents"))
}

/// Everything that is not verified yet.
pub fn drafts(data: &Path) -> Vec<PathBuf> {
    files(&data.join("drafts"))
}

/// Tarballs and packuments whose bytes do not hash to their names, and variants of packuments that are damaged.
pub fn unsound(data: &Path) -> Vec<PathBuf> {
    let blobs = blobs(data).into_iter().filter(|path| digest_of::<Sha512>(path) != name_of(path));
    let documents = documents(data).into_iter().filter(|path| !is_sound(path));
    blobs.chain(documents).collect()
}

/// A folder is named by the digest of its document, which is compressed with zstd; an uncoded variant (`.id`) is
/// compressed likewise, and a coded one ends with 16 bytes of the digest of what is before them.
fn is_sound(path: &Path) -> bool {
    let bytes = read(path);
    let file = path.file_name().expect("a file").to_string_lossy();
    if file == "document" || file.ends_with(".id") {
        let Ok(document) = zstd::decode_all(&bytes[..]) else { return false };
        let folder = path.parent().expect("a folder");
        return file != "document" || hex(&Sha256::digest(document)) == name_of(folder);
    }
    let Some(length) = bytes.len().checked_sub(16) else { return false };
    Sha256::digest(&bytes[..length])[..16] == bytes[length..]
}

/// Flips one bit in the middle of a file, as a bad disk does.
pub fn flip(path: &Path) {
    let mut bytes = read(path);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    write(path, &bytes);
}

/// Halves a file, as a power cut does.
pub fn truncate(path: &Path) {
    let bytes = read(path);
    write(path, &bytes[..bytes.len() / 2]);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry of a folder").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// `ab/cdef…` is named `abcdef…`.
fn name_of(path: &Path) -> String {
    let mut names = path.iter().rev().map(|name| name.to_string_lossy().into_owned());
    let (file, folder) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
    folder + &file
}

fn digest_of<D: Digest>(path: &Path) -> String {
    hex(&D::digest(read(path)))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
