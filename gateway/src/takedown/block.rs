//! A `[[block]]` of the configuration.

use resolver::integrity::Integrity;
use resolver::package::PackageName;
use serde::{Deserialize, Serialize};

/// The longest reason and the longest version, in bytes.
const LONGEST_REASON: usize = 500;
const LONGEST_VERSION: usize = 256;

/// Something that is not served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// The package.
    pub package: String,
    /// The version; empty: all of them, and the package itself.
    #[serde(default)]
    pub version: String,
    /// Why, for whoever asks for it.
    pub reason: String,
    /// Of the tarball, as npm writes it; empty: what the packument says.
    #[serde(default)]
    pub integrity: String,
}

impl Block {
    /// What is wrong with it: the key, and in words why.
    #[must_use]
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let Self { package, version, reason, integrity } = self;
        if let Err(error) = PackageName::parse(package) {
            return Some(("package", error.to_string()));
        }
        if version == "*" || version.len() > LONGEST_VERSION || version.contains(char::is_whitespace) {
            return Some((
                "version",
                "is one version, like \"1.2.3\"; to block the whole package, leave it out".into(),
            ));
        }
        if reason.trim().is_empty() || reason.len() > LONGEST_REASON || reason.contains(char::is_control) {
            return Some((
                "reason",
                format!("is a sentence for whoever asks, of at most {LONGEST_REASON} bytes in one line"),
            ));
        }
        if !integrity.is_empty() && Integrity::from_sri(integrity).is_none() {
            return Some((
                "integrity",
                "is the dist.integrity that npm shows, and begins with sha512-".into(),
            ));
        }
        (!integrity.is_empty() && version.is_empty())
            .then(|| ("integrity", "is that of one version; name it, or leave this out".into()))
    }
}
