//! Where a document stands in the tree.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

use crate::package::{FileName, PackageName};

/// Home's own directory, a name that no package can have.
const FEDERATION: &str = ".federation";

/// A directory of the tree that is not a scope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Folder {
    /// `/.federation`.
    Federation,
    /// `/lodash`, `/@babel/core`.
    Package(PackageName),
}

/// A document of the tree: `/@babel/core/metadata.json`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    folder: Folder,
    file: String,
}

impl Folder {
    /// The directory with this name below a scope (with its `@`), or at the top; `None` for what no package is called.
    pub(super) fn parse(scope: Option<&str>, name: &str) -> Option<Self> {
        if scope.is_none() && name == FEDERATION {
            return Some(Self::Federation);
        }
        let whole = match scope {
            Some(scope) => [scope, "/", name].concat(),
            None => name.to_owned(),
        };
        PackageName::parse(&whole).ok().map(Self::Package)
    }

    /// The scope with its `@`, if there is one.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        match self {
            Self::Federation => None,
            Self::Package(name) => name.scope(),
        }
    }

    /// Its name below its scope, or at the top.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Federation => FEDERATION,
            Self::Package(name) => name.unscoped(),
        }
    }

    /// The names from the root on that lead to it: one, or two.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.scope().into_iter().chain([self.name()])
    }
}

impl Path {
    /// Upstream's packument.
    #[must_use]
    pub fn metadata(package: PackageName) -> Self {
        Self::of(package, "metadata.json")
    }

    /// The abbreviated packument.
    #[must_use]
    pub fn install(package: PackageName) -> Self {
        Self::of(package, "install.json")
    }

    /// What was taken down.
    #[must_use]
    pub fn removed(package: PackageName) -> Self {
        Self::of(package, "removed.json")
    }

    /// A tarball that is held.
    #[must_use]
    pub fn tarball(package: PackageName, file: &FileName) -> Self {
        Self::of(package, file.as_str())
    }

    /// Home's list of peers.
    #[must_use]
    pub fn peers() -> Self {
        Self { folder: Folder::Federation, file: "peers.json".to_owned() }
    }

    /// How far home's change feed lags.
    #[must_use]
    pub fn state() -> Self {
        Self { folder: Folder::Federation, file: "state.json".to_owned() }
    }

    /// All that home's operator blocks.
    #[must_use]
    pub fn blocked() -> Self {
        Self { folder: Folder::Federation, file: "blocked.json".to_owned() }
    }

    fn of(package: PackageName, file: &str) -> Self {
        Self { folder: Folder::Package(package), file: file.to_owned() }
    }

    pub(super) fn into_parts(self) -> (Folder, String) {
        (self.folder, self.file)
    }

    /// The directory that it stands in.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Its name in that directory.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The names from the root on that lead to it: two, or three.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.folder.segments().chain([self.file.as_str()])
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments().try_for_each(|name| write!(f, "/{name}"))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.folder, self.file)
    }
}
