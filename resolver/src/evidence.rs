//! Names of the small signed documents that clients check packages with.
//!
//! Source: npm's registry signatures (`/-/npm/v1/keys`) and provenance attestations
//! (`/-/npm/v1/attestations/<name>@<version>`).

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

use crate::package::PackageName;

/// The longest version: npm's own limit.
const LONGEST_VERSION: usize = 256;

/// One small signed document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EvidenceName {
    /// The keys that the registry signs with.
    Keys,
    /// Who built this version, and from what.
    Attestations(PackageName, String),
}

impl EvidenceName {
    /// The attestations of `<name>@<version>`; `None` when it is not a name and a version.
    #[must_use]
    pub fn attestations(spec: &str) -> Option<Self> {
        let (name, version) = spec.rsplit_once('@')?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-+".contains(&byte);
        let valid = (1..=LONGEST_VERSION).contains(&version.len()) && version.bytes().all(plain);
        Some(Self::Attestations(PackageName::parse(name).ok().filter(|_| valid)?, version.to_owned()))
    }

    /// Its one path below a registry's root, however a client has spelled it.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::Keys => "-/npm/v1/keys".to_owned(),
            Self::Attestations(name, version) => {
                format!("-/npm/v1/attestations/{}@{version}", name.packument_path())
            }
        }
    }

    /// The package it is about.
    #[must_use]
    pub fn package(&self) -> Option<&PackageName> {
        match self {
            Self::Keys => None,
            Self::Attestations(name, _) => Some(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_version_are_told_apart_at_the_last_sign() {
        let scoped = EvidenceName::attestations("@s/n@1.0.0-rc.1+x").unwrap();
        assert_eq!(scoped.path(), "-/npm/v1/attestations/@s%2fn@1.0.0-rc.1+x");
        assert_eq!(scoped.package().unwrap().as_str(), "@s/n");
        for spec in ["left", "@s/n", "left@", "@1.0.0", "..@1.0.0", "left@1/..", "left@1 0", ""] {
            assert_eq!(EvidenceName::attestations(spec), None, "{spec}");
        }
    }
}
