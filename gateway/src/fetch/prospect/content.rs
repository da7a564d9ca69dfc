//! What is asked about: a package, or one version of it.

use std::str::FromStr;

use resolver::package::{InvalidName, PackageName};

/// A package, or one version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The package.
    pub name: PackageName,
    /// The version, or a dist-tag that names one.
    pub version: Option<String>,
}

/// Why a text names no content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidContent {
    /// What stands before the version is not the name of a package.
    #[error("{0:?} is not the name of a package: {1}")]
    Name(String, InvalidName),
    /// `left@`
    #[error("{0:?} has no version behind its @")]
    NoVersion(String),
}

impl FromStr for Content {
    type Err = InvalidContent;

    /// `left`, `left@1.0.0`, `@scope/left@latest`.
    fn from_str(text: &str) -> Result<Self, InvalidContent> {
        let (name, version) = match text.rfind('@') {
            Some(at) if at > 0 => (&text[..at], Some(&text[at + 1..])),
            _ => (text, None),
        };
        if version.is_some_and(str::is_empty) {
            return Err(InvalidContent::NoVersion(text.to_owned()));
        }
        let name = PackageName::parse(name).map_err(|error| InvalidContent::Name(name.to_owned(), error))?;
        Ok(Self { name, version: version.map(str::to_owned) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_a_package_or_a_version_of_it() {
        let read = |text: &str| {
            let content: Content = text.parse().unwrap();
            (content.name.to_string(), content.version)
        };
        assert_eq!(read("left"), ("left".into(), None));
        assert_eq!(read("left@1.0.0"), ("left".into(), Some("1.0.0".into())));
        assert_eq!(read("@scope/left"), ("@scope/left".into(), None));
        assert_eq!(read("@scope/left@next"), ("@scope/left".into(), Some("next".into())));
        for (text, words) in
            [("left@", "no version"), ("../left", "name of a package"), ("", "name"), ("@", "name")]
        {
            let error = text.parse::<Content>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
