//! Who this gateway is: an ed25519 key, made at the first start and kept in the data directory.
//!
//! ```text
//! <dir>/identity.pem        PKCS #8 in PEM (RFC 5958, RFC 8410), 0600: `openssl pkey -in identity.pem -text`
//! <dir>/identity.pem.new    the same until it is on the disk
//! ```
//!
//! The public half is the gateway's name ([`PeerId`]): others admit it by that. So a file that is there is never
//! replaced, whatever is wrong with it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use resolver::peer::PeerId;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

/// The file in the data directory.
const FILE: &str = "identity.pem";
/// What it is called until it is on the disk.
const UNFINISHED: &str = "identity.pem.new";
/// The longest file that is read: a key has some 120 bytes, and what people write around it.
const LONGEST: u64 = 16 * 1024;
/// Characters in a line of PEM (RFC 7468, section 2).
const LINE: usize = 64;

/// A gateway's key.
pub struct Identity {
    key: Ed25519KeyPair,
    id: PeerId,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file is something else, or damaged.
    #[error(
        "{0} holds no ed25519 key ({1}): put a copy of it back; or move it away, and this gateway starts with another \
         id, which nobody knows yet who has admitted the one before"
    )]
    Damaged(PathBuf, String),
    /// The file is there and cannot be read.
    #[error("cannot read {0}, this gateway's key: {1}")]
    Unreadable(PathBuf, io::Error),
    /// A new key cannot be kept.
    #[error("cannot keep a new key in {0}: {1}")]
    NotKept(PathBuf, io::Error),
    /// The system has no random numbers.
    #[error("cannot make a key: the system gives no random numbers")]
    NotMade,
}

impl Identity {
    /// The key of the data directory `dir`, made if there is none. To be called by the owner of the directory only. On a disk that
    /// takes nothing a gateway serves all the same, with a key for this once.
    ///
    /// # Errors
    /// [`IdentityError`], also when there is a file without a key: it stays as it is.
    pub fn open(dir: &Path) -> Result<Self, IdentityError> {
        if let Some(identity) = Self::read(dir)? {
            return Ok(identity);
        }
        let made = Self::new()?;
        match made.keep(dir) {
            Ok(()) => Ok(made),
            Err(error) if takes_nothing(&error) => {
                let file = dir.join(FILE);
                tracing::warn!(file = %file.display(), %error, "this gateway's new key cannot be kept: its id holds until it ends");
                Ok(made)
            }
            Err(error) => Err(IdentityError::NotKept(dir.join(FILE), error)),
        }
    }

    /// The key of the data directory `dir`; `None` where no gateway has been started yet.
    ///
    /// # Errors
    /// [`IdentityError::Damaged`] and [`IdentityError::Unreadable`].
    pub fn read(dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = dir.join(FILE);
        let mut pem = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(LONGEST).read_to_end(&mut pem));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(IdentityError::Unreadable(path, error)),
            Ok(_) => Self::of_pem(&pem).map(Some).map_err(|why| IdentityError::Damaged(path, why)),
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Its signature (RFC 8032).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.key.sign(message);
        signature.as_ref().try_into().expect("an ed25519 signature has 64 bytes")
    }

    /// The secret half (RFC 8032), for whoever makes connections that prove this id.
    ///
    /// # Errors
    /// [`IdentityError::NotMade`]; a key that can sign has it.
    pub fn secret(&self) -> Result<[u8; 32], IdentityError> {
        let seed = self.key.seed().and_then(|seed| seed.as_be_bytes());
        let seed: aws_lc_rs::encoding::Curve25519SeedBin<'_> = seed.map_err(|_| IdentityError::NotMade)?;
        seed.as_ref().try_into().map_err(|_| IdentityError::NotMade)
    }

    fn new() -> Result<Self, IdentityError> {
        let key = Ed25519KeyPair::generate().map_err(|_| IdentityError::NotMade)?;
        Ok(Self::of(key))
    }

    fn of(key: Ed25519KeyPair) -> Self {
        let public = key.public_key().as_ref().try_into().expect("an ed25519 key has 32 bytes");
        Self { key, id: PeerId::of_key(public) }
    }

    fn of_pem(pem: &[u8]) -> Result<Self, String> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|error| error.to_string())?;
        // With or without the public half in it; when it is there, it must fit.
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        key.map(Self::of).map_err(|error| error.to_string())
    }

    /// Without the public half, which OpenSSL before 3 does not read.
    fn to_pem(&self) -> io::Result<String> {
        let der = self.key.to_pkcs8v1().map_err(|_| io::Error::other("the key cannot be written down"))?;
        let text = STANDARD.encode(&der);
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        for line in text.as_bytes().chunks(LINE) {
            pem.extend(line.iter().copied().map(char::from));
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        Ok(pem)
    }

    /// On the disk before anybody can see it: an id that is told and then lost would be admitted for nothing.
    fn keep(&self, dir: &Path) -> io::Result<()> {
        let unfinished = dir.join(UNFINISHED);
        // What an earlier start has left; it may have another mode.
        if let Err(error) = fs::remove_file(&unfinished)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(self.to_pem()?.as_bytes())?;
        file.sync_all()?;
        fs::rename(unfinished, dir.join(FILE))?;
        File::open(dir)?.sync_all()
    }
}

/// Whether `signature` over `message` was made with the key of `id`.
#[must_use]
pub fn is_signed_by(id: PeerId, message: &[u8], signature: &[u8; 64]) -> bool {
    UnparsedPublicKey::new(&ED25519, id.key()).verify(message, signature).is_ok()
}

fn takes_nothing(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_key_is_made_once_and_kept_for_its_owner_alone() {
        let dir = folder();
        assert!(Identity::read(dir.path()).unwrap().is_none());
        fs::write(dir.path().join(UNFINISHED), "half a").unwrap();

        let made = Identity::open(dir.path()).unwrap().id();

        assert_eq!(Identity::open(dir.path()).unwrap().id(), made);
        assert_eq!(Identity::read(dir.path()).unwrap().unwrap().id(), made);
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_is_no_key_is_an_error_and_stays_as_it_is() {
        let dir = folder();
        let good = Identity::new().unwrap().to_pem().unwrap();
        let ecdsa = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for bad in ["", "no key", &good[..60], &good.replace("PRIVATE", "PUBLIC"), &ecdsa] {
            fs::write(dir.path().join(FILE), bad).unwrap();
            let error = Identity::open(dir.path()).err().unwrap();
            assert!(matches!(error, IdentityError::Damaged(..)), "{error}");
            assert!(error.to_string().contains("put a copy of it back"), "{error}");
            assert_eq!(fs::read_to_string(dir.path().join(FILE)).unwrap(), bad);
        }
        fs::remove_file(dir.path().join(FILE)).unwrap();
        fs::create_dir(dir.path().join(FILE)).unwrap();
        assert!(matches!(Identity::open(dir.path()), Err(IdentityError::Unreadable(..))));
    }

    #[test]
    fn a_signature_is_its_own_and_nobody_elses() {
        let (one, other) = (Identity::new().unwrap(), Identity::new().unwrap());
        let signature = one.sign(b"here I am");
        assert!(is_signed_by(one.id(), b"here I am", &signature));
        assert!(!is_signed_by(other.id(), b"here I am", &signature));
        assert!(!is_signed_by(one.id(), b"here I was", &signature));
        assert!(!is_signed_by(one.id(), b"here I am", &[0; 64]));
    }

    #[test]
    fn openssl_reads_what_is_written_and_writes_what_is_read() {
        let dir = folder();
        let id = Identity::open(dir.path()).unwrap().id();
        let run = |arguments: &[&str]| {
            let output = Command::new("openssl").args(arguments).current_dir(dir.path()).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let public = run(&["pkey", "-in", FILE, "-pubout", "-outform", "DER"]);
        assert!(public.ends_with(id.key()));
        run(&["genpkey", "-algorithm", "ed25519", "-out", FILE]);
        assert_ne!(Identity::open(dir.path()).unwrap().id(), id);
    }
}
