//! What can be wrong with a certificate and its key.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use humantime::format_rfc3339_seconds;

/// What the credentials' files are called outside of the service, as `systemd/open-registry.service` has it.
pub(super) const CREDENTIAL_STORE: &str = "/etc/credstore/open-registry.";

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A plain name was configured, and systemd has handed over no credentials.
    #[error(
        "tls.{key} = {name:?} names a credential, and there is no $CREDENTIALS_DIRECTORY; start the gateway by \
         systemd with LoadCredential={name}:<file>, or write a path with a / in it"
    )]
    NoCredentials {
        /// `cert` or `key`.
        key: &'static str,
        /// What was configured.
        name: String,
    },
    /// Something listens for TLS, and there is no certificate.
    #[error(
        "{listener} is to be served without a certificate; set cert and key in [tls], hand over the credentials \
         tls.cert and tls.key, or do not listen for {listener}"
    )]
    Missing {
        /// `https` or `dot`.
        listener: &'static str,
    },
    /// One of two credentials was found.
    #[error(
        "there is the credential {there} and not the credential {missing}; the units of systemd/ take it from \
         {CREDENTIAL_STORE}{missing}"
    )]
    Half {
        /// Which one was found.
        there: &'static str,
        /// Which one was not.
        missing: &'static str,
    },
    /// Something is wrong with a file.
    #[error("{}: {cause}", file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        cause: Cause,
    },
    /// The TLS library refuses to work at all.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// It is not there, or may not be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// A folder, a pipe or a device.
    #[error("is not a file")]
    NotAFile,
    /// More than any chain of certificates needs.
    #[error("is larger than {0} bytes; it should hold one certificate and those that lead to its authority")]
    TooLarge(u64),
    /// It is no text of PEM sections.
    #[error("is not valid PEM ({0})")]
    BadPem(String),
    /// There is no certificate in it.
    #[error("holds no certificate; it must be PEM, with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// There is no private key in it.
    #[error("holds no private key; it must be PEM, with -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// There is a key, and a password is needed for it.
    #[error("holds a key under a password; remove it: openssl pkey -in <this file> -out <new file>")]
    EncryptedKey,
    /// It is no certificate of the kind that the web uses.
    #[error("its first certificate cannot be read ({0})")]
    BadCertificate(String),
    /// It is no key that TLS can sign with.
    #[error("its key cannot be used ({0})")]
    BadKey(rustls::Error),
    /// The two do not belong together.
    #[error("its key is not that of the first certificate in {}", .0.display())]
    Mismatch(PathBuf),
    /// Its time is over.
    #[error("expired at {}; renew it", format_rfc3339_seconds(*.0))]
    Expired(SystemTime),
    /// Its time has not come.
    #[error("is valid only from {}; is this machine's clock right?", format_rfc3339_seconds(*.0))]
    NotYetValid(SystemTime),
}

impl Cause {
    pub(super) fn of(self, file: &Path) -> TlsError {
        TlsError::File { file: file.to_owned(), cause: self }
    }
}
