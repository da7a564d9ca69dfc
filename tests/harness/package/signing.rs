//! The registry's signatures: ECDSA P-256 over `name@version:integrity`, as the npm registry makes them.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate().expect("a P-256 key"));

/// Signatures are randomised; remembering them makes equal versions equal for the life of the process.
static SIGNED: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// One entry of `dist.signatures` for `name@version:integrity`.
pub fn sign(message: &str) -> Value {
    let mut signed = SIGNED.lock().unwrap_or_else(PoisonError::into_inner);
    let signature = signed
        .entry(message.to_owned())
        .or_insert_with(|| BASE64.encode(KEY.sign(message.as_bytes()).expect("a P-256 key signs anything")));
    json!({"keyid": key_id(), "sig": signature})
}

/// The body of `/-/npm/v1/keys`.
pub fn public_keys() -> Value {
    json!({"keys": [{
        "expires": null,
        "keyid": key_id(),
        "keytype": "ecdsa-sha2-nistp256",
        "scheme": "ecdsa-sha2-nistp256",
        "key": BASE64.encode(KEY.subject_public_key_info()),
    }]})
}

fn key_id() -> String {
    format!("SHA256:{}", BASE64.encode(Sha256::digest(KEY.subject_public_key_info())))
}
