//! Where the certificate and its key lie: paths, or credentials that systemd has put into a folder.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::Config;
use super::problem::{Cause, TlsError};

/// A chain of certificates is a few KiB; the file is read as a whole.
const LARGEST: u64 = 1 << 20;
/// The credentials that are taken without being configured.
pub(super) const DEFAULT_CERT: &str = "tls.cert";
const DEFAULT_KEY: &str = "tls.key";

/// Two files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    /// Somebody has named them; else they were only found.
    pub(super) configured: bool,
}

/// What the two files hold.
pub(super) struct Texts {
    pub(super) cert: Vec<u8>,
    pub(super) key: Vec<u8>,
}

impl Source {
    /// As configured; else the credentials `tls.cert` and `tls.key`, if one of them is in `credentials`.
    pub(super) fn find(config: &Config, credentials: Option<&Path>) -> Result<Option<Self>, TlsError> {
        if let (Some(cert), Some(key)) = (&config.cert, &config.key) {
            let (cert, key) = (locate("cert", cert, credentials)?, locate("key", key, credentials)?);
            return Ok(Some(Self { cert, key, configured: true }));
        }
        let named = |folder: &Path| {
            let (cert, key) = (folder.join(DEFAULT_CERT), folder.join(DEFAULT_KEY));
            Self { cert, key, configured: false }
        };
        Ok(credentials.map(named).filter(|source| source.cert.exists() || source.key.exists()))
    }

    /// What is missing of two credentials that were found.
    fn half(&self) -> Option<TlsError> {
        let half = |there, missing| Some(TlsError::Half { there, missing });
        match (self.cert.exists(), self.key.exists()) {
            (true, false) if !self.configured => half(DEFAULT_CERT, DEFAULT_KEY),
            (false, true) if !self.configured => half(DEFAULT_KEY, DEFAULT_CERT),
            _ => None,
        }
    }

    /// Reads both.
    pub(super) fn read(&self) -> Result<Texts, TlsError> {
        if let Some(half) = self.half() {
            return Err(half);
        }
        let read = |file: &Path| read(file).map_err(|cause| cause.of(file));
        Ok(Texts { cert: read(&self.cert)?, key: read(&self.key)? })
    }
}

impl Texts {
    /// Tells other texts from these without keeping a key.
    pub(super) fn digest(&self) -> [u8; 32] {
        let (cert, key) = (Sha256::digest(&self.cert), Sha256::digest(&self.key));
        Sha256::new().chain_update(cert).chain_update(key).finalize().into()
    }
}

fn locate(key: &'static str, text: &str, credentials: Option<&Path>) -> Result<PathBuf, TlsError> {
    match credentials {
        _ if text.contains('/') => Ok(text.into()),
        Some(folder) => Ok(folder.join(text)),
        None => Err(TlsError::NoCredentials { key, name: text.to_owned() }),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Cause> {
    // Opening a pipe would wait for whoever writes to it.
    if !file.metadata().map_err(Cause::Unreadable)?.is_file() {
        return Err(Cause::NotAFile);
    }
    let mut text = Vec::new();
    let opened: io::Result<File> = File::open(file);
    let count = opened.and_then(|file| file.take(LARGEST + 1).read_to_end(&mut text));
    match count.map_err(Cause::Unreadable)? as u64 {
        count if count > LARGEST => Err(Cause::TooLarge(LARGEST)),
        _ => Ok(text),
    }
}
