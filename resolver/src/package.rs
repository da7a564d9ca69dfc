//! Package names and tarball file names, parsed once at the door.
//!
//! Source: npm's `validate-npm-package-name`, its rules for names that exist (not those for new ones, which
//! are stricter): legacy names with capitals and `~!'()*` are served.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// npm's own limit for new names; no longer legacy name is known.
const MAX_NAME: usize = 214;
/// Room for a name, a long prerelease and build tag, and the ending.
const MAX_FILE: usize = 512;

/// A package's name, with its scope if it has one: `lodash`, `@babel/core`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageName(String);

/// The last part of a tarball's address: `core-7.24.0.tgz`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(String);

/// Why a name is refused. The text is fit for a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Longer than any name can be.
    #[error("the name is longer than {0} characters")]
    TooLong(usize),
    /// Empty, or with a scope but nothing behind it.
    #[error("the name is empty")]
    Empty,
    /// A character that no package name has.
    #[error("a package name cannot contain {0:?}")]
    Character(char),
    /// A name that npm keeps for itself, or that is a path.
    #[error("no package can have this name")]
    Reserved,
    /// Not the name of a tarball.
    #[error("a tarball's file name ends in .tgz or .tar.gz and has no directory")]
    NotATarball,
}

impl PackageName {
    /// Parses a decoded name: `name` or `@scope/name`.
    ///
    /// # Errors
    /// [`InvalidName`] says which rule is broken.
    pub fn parse(name: &str) -> Result<Self, InvalidName> {
        if name.len() > MAX_NAME {
            return Err(InvalidName::TooLong(MAX_NAME));
        }
        let unscoped = match name.strip_prefix('@') {
            Some(scoped) => {
                let (scope, unscoped) = scoped.split_once('/').ok_or(InvalidName::Empty)?;
                check_part(scope)?;
                unscoped
            }
            None => name,
        };
        check_part(unscoped)?;
        Ok(Self(name.to_owned()))
    }

    /// The whole name, decoded.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The scope with its `@`, if there is one.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.0.starts_with('@').then(|| self.0.split_once('/').map_or("", |(scope, _)| scope))
    }

    /// The name without its scope.
    #[must_use]
    pub fn unscoped(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, unscoped)| unscoped)
    }

    /// The path of the packument below a registry's root, as npm writes it: `@scope%2fname`.
    #[must_use]
    pub fn packument_path(&self) -> String {
        self.0.replacen('/', "%2f", 1)
    }

    /// The conventional path of a tarball below a registry's root.
    #[must_use]
    pub fn tarball_path(&self, file: &FileName) -> String {
        format!("{}/-/{}", self.0, file.0)
    }

    /// The file name that npm gives to a version's tarball.
    ///
    /// # Errors
    /// [`InvalidName`] when the version cannot stand in a file name.
    pub fn conventional_file(&self, version: &str) -> Result<FileName, InvalidName> {
        FileName::parse(&format!("{}-{version}.tgz", self.unscoped()))
    }
}

impl FileName {
    /// Parses a decoded file name.
    ///
    /// # Errors
    /// [`InvalidName`] says which rule is broken.
    pub fn parse(file: &str) -> Result<Self, InvalidName> {
        if file.len() > MAX_FILE {
            return Err(InvalidName::TooLong(MAX_FILE));
        }
        if !(file.ends_with(".tgz") || file.ends_with(".tar.gz")) || file.starts_with('.') {
            return Err(InvalidName::NotATarball);
        }
        match file.chars().find(|c| !(is_name_character(*c) || *c == '+')) {
            Some('/' | '\\') => Err(InvalidName::NotATarball),
            Some(other) => Err(InvalidName::Character(other)),
            None => Ok(Self(file.to_owned())),
        }
    }

    /// The file name, decoded.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_part(part: &str) -> Result<(), InvalidName> {
    if part.is_empty() {
        return Err(InvalidName::Empty);
    }
    if let Some(odd) = part.chars().find(|c| !is_name_character(*c)) {
        return Err(InvalidName::Character(odd));
    }
    let reserved = part.starts_with('.') || part == "node_modules" || part == "favicon.ico";
    if reserved { Err(InvalidName::Reserved) } else { Ok(()) }
}

/// What `encodeURIComponent` leaves alone.
fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.~!'()*".contains(c)
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_exist_are_accepted() {
        for name in ["lodash", "@babel/core", "JSONStream", "-", "a", "socket.io", "@types/node", "_", "co~"]
        {
            assert_eq!(PackageName::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn a_path_is_not_a_name() {
        for name in [
            "",
            "..",
            ".",
            "../etc/passwd",
            "a/b",
            "@a",
            "@/b",
            "@a/",
            "@a/..",
            "@a/b/c",
            "a\\b",
            "a b",
            "a\0",
            "é",
            "a%2fb",
        ] {
            assert!(PackageName::parse(name).is_err(), "{name:?} was accepted");
        }
    }

    #[test]
    fn a_scope_is_known_with_its_sign() {
        let name = PackageName::parse("@babel/core").unwrap();
        assert_eq!((name.scope(), name.unscoped()), (Some("@babel"), "core"));
        assert_eq!(name.packument_path(), "@babel%2fcore");
    }

    #[test]
    fn a_tarball_has_no_directory() {
        for file in ["../x.tgz", "a/b.tgz", ".tgz", "x.zip", "x.tgz/..", "x\n.tgz", ""] {
            assert!(FileName::parse(file).is_err(), "{file:?} was accepted");
        }
        assert!(FileName::parse("esprima-fb-3001.0001.0000-dev-harmony-fb.tgz").is_ok());
        assert!(FileName::parse("a-1.0.0-beta+exp.sha.5114f85.tgz").is_ok());
    }
}
