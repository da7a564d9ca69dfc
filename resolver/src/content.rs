//! What a client can ask for.

use core::fmt;

use crate::integrity::Integrity;
use crate::package::{FileName, PackageName};

/// One thing that can be had from a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// npm's metadata document of a package.
    Packument(PackageName),
    /// A tarball by its name.
    Tarball(PackageName, FileName),
    /// A tarball by its digest.
    Blob(Integrity),
    /// A small signed document: registry keys, or the attestations of one version, by its path.
    Evidence(alloc::string::String),
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packument(name) => write!(f, "{name}"),
            Self::Tarball(name, file) => write!(f, "{name}/-/{file}"),
            Self::Blob(integrity) => write!(f, "{integrity}"),
            Self::Evidence(path) => f.write_str(path),
        }
    }
}
