//! The key of a gateway that is not there yet, so that others can be told of it before it starts.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rcgen::{KeyPair, PKCS_ED25519, SigningKey as _};

/// What stands before the key in a libp2p peer id: the identity hash of 36 bytes, a protobuf of an ed25519 key.
const BEFORE_KEY: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// A key, and the id that goes with it.
#[derive(Debug, Clone)]
pub struct Identity {
    id: String,
    pem: String,
}

impl Identity {
    /// A new one.
    pub fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let id = bs58::encode([&BEFORE_KEY, key.public_key_raw()].concat()).into_string();
        Self { id, pem: key.serialize_pem() }
    }

    /// `12D3KooW...`
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A `[[peer]]` that is admitted, with these URLs and further lines.
    pub fn entry(&self, urls: &[String], lines: &str) -> String {
        let mut entry = format!("[[peer]]\nid = \"{}\"\nurls = {urls:?}\nadmit = true\n", self.id);
        writeln!(entry, "{lines}").expect("a write to memory");
        entry
    }

    /// The signature of these bytes (RFC 8032).
    ///
    /// # Panics
    /// When the key is none.
    pub fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        let key = KeyPair::from_pem(&self.pem).expect("a key");
        key.sign(bytes).expect("a signature").try_into().expect("64 bytes")
    }

    /// Puts the key into the new data folder of a gateway, which has it from its first start on.
    pub(crate) fn keep(&self, data: &Path) {
        fs::create_dir_all(data).expect("a folder for data");
        // A folder with anything in it but this mark is somebody else's.
        fs::write(data.join("format"), "open-registry data 2\n").expect("a file in the folder for data");
        let file = data.join("identity.pem");
        fs::write(&file, &self.pem).expect("a file in the folder for data");
        fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("a file of one's own");
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self::new()
    }
}
