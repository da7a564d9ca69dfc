//! The versions that nobody installs any more: what makes a packument as long as the real one.
//!
//! They are prereleases of 0.0.0, so that no range finds them, and have no tarballs. Digests and a part of the text do
//! not compress, the rest does: the packument is about as large as it is to be, as it stands and as gzip.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

use super::tarball;

/// Compresses to nothing when it is repeated.
const WORDS: &str = "installed by nobody, told to everybody; ";
/// What an entry costs as gzip at its fastest before any text: two digests, a time, and where they begin and end.
const DIGESTS_GZIPPED: usize = 180;
/// What gzip at its fastest makes of text that does not compress.
const NOISE_PER_MILLE: usize = 1_050;
/// More than gzip looks back.
const NOISE: usize = 96 << 10;

/// How many such versions there are, and how long packuments are to be with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// How many versions.
    pub versions: usize,
    /// Bytes of the full packument.
    pub full: usize,
    /// Bytes of the abbreviated one.
    pub abbreviated: usize,
    /// Bytes of the full one as gzip.
    pub gzip: usize,
}

impl Past {
    /// The number of one of them.
    pub(crate) fn version(nth: usize) -> String {
        format!("0.0.0-past.{nth}")
    }

    /// The packument with these versions before its own, about `length` bytes long.
    pub(crate) fn before(&self, mut document: Map<String, Value>, base: &str, length: usize) -> Vec<u8> {
        let name = document["name"].as_str().unwrap_or_default().to_owned();
        let own = written(&document.remove("versions").unwrap_or_default());
        let mut text = written(&Value::Object(document.clone()));
        if let (0, Some(Value::String(readme))) = (self.versions, document.get_mut("readme")) {
            // Without a past it is the readme that is long.
            readme.extend(WORDS.chars().cycle().take(length.saturating_sub(text.len() + own.len())));
            text = written(&Value::Object(document));
        }
        text.pop();
        text.push_str(r#","versions":{"#);
        let room = length.saturating_sub(text.len() + own.len()) / self.versions.max(1);
        let mut noise = Noise::of(&name);
        for nth in 0..self.versions {
            self.entry(&mut text, &mut noise, (&name, nth, base), room);
        }
        // What follows is a whole object of at least one version.
        text.push_str(&own[1..]);
        text.push('}');
        text.into_bytes()
    }

    fn entry(&self, text: &mut String, noise: &mut Noise, of: (&str, usize, &str), room: usize) {
        let (name, nth, base) = of;
        let version = Self::version(nth);
        let bare = name.rsplit('/').next().unwrap_or(name);
        let start = text.len();
        let (shasum, digest) = (noise.hex(40), noise.letters(85));
        write!(
            text,
            r#""{version}":{{"name":"{name}","version":"{version}","dist":{{"shasum":"{shasum}","tarball":"{base}/{name}/-/{bare}-{version}.tgz","integrity":"sha512-{digest}A=="}}"#
        )
        .expect("a write to memory");
        let rest = room.saturating_sub(text.len() - start + r#","directories":{"doc":""}},"#.len());
        if rest > 0 {
            let noisy = rest * self.noise_per_mille() / 1_000;
            text.push_str(r#","directories":{"doc":""#);
            text.push_str(noise.letters(noisy));
            text.extend(WORDS.chars().cycle().take(rest - noisy));
            text.push_str(r#""}"#);
        }
        text.push_str("},");
    }

    /// How much of the text must not compress, so that all of it is as large as it is to be.
    fn noise_per_mille(&self) -> usize {
        let incompressible =
            self.gzip.saturating_sub(self.versions * DIGESTS_GZIPPED) * 1_000 / NOISE_PER_MILLE;
        (incompressible * 1_000 / self.full.max(1)).min(1_000)
    }
}

fn written(value: &Value) -> String {
    serde_json::to_string(value).expect("JSON made of JSON")
}

/// Letters and digits that follow from a name, over and over, too far apart for gzip to find them again.
struct Noise {
    letters: String,
    hex: String,
    at: usize,
}

impl Noise {
    fn of(name: &str) -> Self {
        let bytes = tarball::filler(name, NOISE);
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a write to memory");
            hex
        });
        Self { letters: BASE64.encode(&bytes), hex, at: 0 }
    }

    fn letters(&mut self, count: usize) -> &str {
        let at = self.turn(count);
        self.letters.get(at..at + count).unwrap_or(&self.letters)
    }

    fn hex(&mut self, count: usize) -> String {
        let at = self.turn(count);
        self.hex.get(at..at + count).unwrap_or(&self.hex).to_owned()
    }

    /// Where the next so many begin.
    fn turn(&mut self, count: usize) -> usize {
        let at = if self.at + count > self.letters.len() { 0 } else { self.at };
        self.at = at + count;
        at
    }
}
