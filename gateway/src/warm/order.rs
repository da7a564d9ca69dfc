//! What is to be fetched, as it is said to the gateway that does it: JSON.

use std::path::Path;

use resolver::integrity::{Expected, Integrity, Shasum};
use resolver::package::{FileName, PackageName};
use serde::{Deserialize, Serialize};

use super::lockfile::{ENTRIES, Need};

/// The longest order in bytes: an entry has some 160, and the largest lockfiles of monorepos 20,000 entries.
pub(super) const LONGEST: usize = 64 * 1024 * 1024;
/// The longest name of a set, as the store has it.
const LONGEST_NAME: usize = 256;

/// What is to be fetched, and under which name it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Which data directory is meant.
    pub place: Option<Place>,
    /// The name of the set: the lockfile's path, or what `--name` says.
    pub name: String,
    /// Whether what is missing may be fetched; otherwise it is only said.
    pub fetch: bool,
    /// Whether the client asks for the attestations of every version.
    pub attestations: bool,
    /// The tarballs, and with each its package's metadata.
    #[serde(with = "needs")]
    pub needs: Vec<Need>,
}

/// A directory on this machine, whatever path leads to it: two containers may see one under two paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    device: u64,
    inode: u64,
}

impl Place {
    /// Which directory this path leads to; `None` when there is none.
    #[must_use]
    pub fn of(directory: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(directory).ok()?;
        Some(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Order {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let order: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if order.needs.len() > ENTRIES {
            return Err(format!("more than {ENTRIES} entries"));
        }
        check_name(&order.name)?;
        Ok(order)
    }

    /// As JSON; `None` when it would be longer than [`LONGEST`].
    #[must_use]
    pub fn to_json(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(self).ok().filter(|json| json.len() <= LONGEST)
    }
}

/// Whether a set can be called so.
///
/// # Errors
/// The rule that is broken, in words.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    match name.is_empty() || name.len() > LONGEST_NAME {
        true => Err(format!("the name of a set has 1 to {LONGEST_NAME} bytes (--name gives it another one)")),
        false => Ok(()),
    }
}

/// Needs as plain text, read back by the rules of each name.
mod needs {
    use serde::de::Error;
    use serde::{Deserializer, Serializer};

    use super::{Deserialize, Need, Plain};

    pub(super) fn serialize<S: Serializer>(needs: &[Need], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(needs.iter().map(Plain::of))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Need>, D::Error> {
        let plain = Vec::<Plain>::deserialize(deserializer)?;
        plain.into_iter().map(|plain| plain.need().map_err(D::Error::custom)).collect()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    package: String,
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    integrity: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shasum: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    optional: bool,
}

impl Plain {
    fn of(need: &Need) -> Self {
        let (integrity, shasum) = match need.expected {
            Some(Expected::Integrity(integrity)) => (Some(integrity.to_string()), None),
            Some(Expected::Shasum(shasum)) => (None, Some(shasum.hex())),
            None => (None, None),
        };
        Self {
            package: need.name.to_string(),
            version: need.version.clone(),
            file: need.file.as_ref().map(FileName::to_string),
            integrity,
            shasum,
            optional: need.optional,
        }
    }

    fn need(self) -> Result<Need, String> {
        let name = PackageName::parse(&self.package).map_err(|error| format!("{}: {error}", self.package))?;
        let invalid = |what: &str| format!("{name}: {what}");
        // Versions end up in file names and paths: the rules of these are the version's.
        let conventional = name.conventional_file(&self.version).map_err(|_| invalid("no version"))?;
        let file = self.file.map(|file| FileName::parse(&file)).transpose();
        let file = file.map_err(|_| invalid("no file name"))?.filter(|file| *file != conventional);
        let integrity =
            self.integrity.map(|sri| Integrity::from_sri(&sri).ok_or_else(|| invalid("no SHA-512")));
        let shasum = self.shasum.map(|hex| Shasum::from_hex(&hex).ok_or_else(|| invalid("no SHA-1")));
        let expected = match (integrity.transpose()?, shasum.transpose()?) {
            (Some(integrity), _) => Some(Expected::Integrity(integrity)),
            (None, shasum) => shasum.map(Expected::Shasum),
        };
        let Self { version, optional, .. } = self;
        Ok(Need { name, version, file, expected, optional })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        let need = |name: &str, file: Option<&str>, expected| Need {
            name: PackageName::parse(name).unwrap(),
            version: "1.0.0".into(),
            file: file.map(|file| FileName::parse(file).unwrap()),
            expected,
            optional: name == "left",
        };
        let integrity = Expected::Integrity(Integrity::of(b"left"));
        let shasum = Shasum::from_hex("da39a3ee5e6b4b0d3255bfef95601890afd80709").map(Expected::Shasum);
        Order {
            place: Place::of(Path::new("/")),
            name: "/srv/app/package-lock.json".into(),
            fetch: true,
            attestations: false,
            needs: vec![
                need("left", None, Some(integrity)),
                need("@scope/right", Some("odd.tgz"), shasum),
                need("leaf", None, None),
            ],
        }
    }

    #[test]
    fn an_order_is_read_back_as_it_was_said() {
        let order = order();
        assert_eq!(Order::from_json(&order.to_json().unwrap()), Ok(order));
    }

    #[test]
    fn an_order_that_nobody_should_follow_is_refused() {
        let json = String::from_utf8(order().to_json().unwrap()).unwrap();
        for (from, to) in [
            ("\"left\"", "\"../left\""),
            ("\"1.0.0\"", "\"1.0.0/../../x\""),
            ("odd.tgz", "../odd.tgz"),
            ("sha512-", "sha512-!"),
            ("/srv/app/package-lock.json", ""),
            ("\"fetch\"", "\"fetched\""),
        ] {
            assert!(Order::from_json(json.replacen(from, to, 1).as_bytes()).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn a_directory_is_the_same_by_every_path() {
        assert_eq!(Place::of(Path::new("/tmp/..")), Place::of(Path::new("/")));
        assert_ne!(Place::of(Path::new("/proc")), Place::of(Path::new("/")));
        assert_eq!(Place::of(Path::new("/nonexistent")), None);
    }
}
