//! The key of a private swarm: whoever has it not cannot even begin to speak.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use libp2p::pnet::PreSharedKey;

/// What IPFS writes before the digits ([its format](https://github.com/libp2p/specs/blob/master/pnet/Private-Networks-PSK-V1.md)).
const HEADER: [&str; 2] = ["/key/swarm/psk/1.0.0/", "/base16/"];
/// The longest file that is read: a key has some 100 bytes.
const LONGEST: u64 = 4096;
/// Bytes of a key.
const LENGTH: usize = 32;

/// A file without a key.
#[derive(Debug, thiserror::Error)]
pub enum PskError {
    /// It cannot be read.
    #[error("cannot read {0} (federation.psk_file): {1}")]
    Unreadable(PathBuf, io::Error),
    /// It holds something else.
    #[error(
        "{0} (federation.psk_file) holds no key of a private swarm: write 64 hexadecimal digits into it, like `openssl rand \
         -hex 32` makes them, or the file that IPFS calls swarm.key"
    )]
    NoKey(PathBuf),
}

/// Reads a key.
///
/// # Errors
/// [`PskError`]. No message holds anything of the file.
pub(super) fn read(path: &Path) -> Result<PreSharedKey, PskError> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut text));
    read.map_err(|error| PskError::Unreadable(path.to_owned(), error))?;
    let key = std::str::from_utf8(&text).ok().and_then(parse);
    key.map(PreSharedKey::new).ok_or_else(|| PskError::NoKey(path.to_owned()))
}

/// Whether there is one.
///
/// # Errors
/// [`PskError`].
pub fn check(path: &Path) -> Result<(), PskError> {
    read(path).map(drop)
}

fn parse(text: &str) -> Option<[u8; LENGTH]> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let digits = match lines.as_slice() {
        [digits] => digits,
        [first, second, digits] if [*first, *second] == HEADER => digits,
        _ => return None,
    };
    if digits.len() != 2 * LENGTH || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = [0; LENGTH];
    for (byte, pair) in key.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_key_is_64_digits_or_what_ipfs_writes() {
        let digits = "0123456789abcdefABCDEF0123456789".repeat(2);
        let key = parse(&digits).unwrap();
        assert_eq!((key[0], key[31]), (0x01, 0x89));
        assert_eq!(parse(&format!("{digits}\n")), Some(key));
        assert_eq!(parse(&PreSharedKey::new(key).to_key_file()), Some(key));
        assert_eq!(parse(&format!("/key/swarm/psk/1.0.0/\r\n/base16/\r\n{digits}\r\n")), Some(key));
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_repeated() {
        let digits = "0f".repeat(32);
        let short = &digits[..62];
        for bad in [
            "",
            short,
            &format!("{digits}00"),
            &format!("{short}zz"),
            &format!("/key/swarm/psk/1.0.0/\n/base64/\n{digits}"),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), bad).unwrap();
            let words = read(file.path()).unwrap_err().to_string();
            assert!(words.contains("psk_file") && words.contains("openssl rand"), "{words}");
            assert!(!words.contains("0f0f"), "{words}");
        }
        assert!(matches!(read(Path::new("/nowhere/at/all")), Err(PskError::Unreadable(..))));
    }
}
