//! Packs a package's files as npm does: a gzipped tar, everything under `package/`, no clock in it.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, GzBuilder};

/// The modification time that npm gives every file: 26 Oct 1985, 08:15 UTC.
const MTIME: u64 = 499_162_500;

/// What [`gzip`] makes of what does not compress: 9 bits of each byte from 144 on, 8 of any other.
pub(super) const FILLER_PACKED_PER_MILLE: usize = 1_055;

/// One file of a package.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) bytes: Bytes,
    mode: u32,
}

impl File {
    pub(crate) fn new(path: &str, bytes: impl Into<Bytes>) -> Self {
        Self { path: path.to_owned(), bytes: bytes.into(), mode: 0o644 }
    }

    pub(crate) fn executable(mut self) -> Self {
        self.mode = 0o755;
        self
    }
}

/// The tarball of these files.
pub(crate) fn pack(files: &[File]) -> Bytes {
    let mut archive = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = header_of(file);
        let path = format!("package/{}", file.path);
        archive.append_data(&mut header, path, file.bytes.as_ref()).expect("a write to memory");
    }
    gzip(&archive.into_inner().expect("a write to memory"))
}

fn header_of(file: &File) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(file.bytes.len() as u64);
    header.set_mode(file.mode);
    header.set_mtime(MTIME);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// The gzip form of `bytes`, the same in every run.
pub(crate) fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("a write to memory");
    encoder.finish().expect("a write to memory").into()
}

/// Bytes that do not compress and follow from `seed`.
pub(crate) fn filler(seed: &str, length: usize) -> Bytes {
    let mut state = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    }) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}
