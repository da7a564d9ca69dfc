//! From entries, as any client writes them, to needs: each once, or left out with the reason.

use std::collections::{BTreeMap, BTreeSet};

use resolver::integrity::Expected;
use resolver::package::{FileName, PackageName};

use super::registries::placed;
use super::{ENTRIES, Format, LeftOut, Lockfile, LockfileError, Need, Registries, Why};

/// The longest version: npm's own limit.
const LONGEST_VERSION: usize = 256;

/// Takes entries one after the other.
pub(super) struct Collector<'a> {
    registries: &'a Registries,
    /// Without `optional`, which is true only when it is for all who need the same thing.
    needs: BTreeMap<Need, bool>,
    left_out: BTreeSet<LeftOut>,
}

/// One entry of a lockfile.
#[derive(Debug, Default)]
pub(super) struct Entry<'a> {
    /// The package's name at the registry.
    pub(super) name: &'a str,
    /// The version, or whatever stands for it.
    pub(super) version: &'a str,
    /// Where it comes from, when the lockfile says so: an address, or `git+…`, `file:…`.
    pub(super) from: Option<&'a str>,
    /// What the tarball hashes to.
    pub(super) expected: Option<Expected>,
    /// Whether the project can do without it.
    pub(super) optional: bool,
}

impl<'a> Collector<'a> {
    pub(super) fn new(registries: &'a Registries) -> Self {
        Self { registries, needs: BTreeMap::new(), left_out: BTreeSet::new() }
    }

    /// Takes one entry.
    ///
    /// # Errors
    /// [`LockfileError::TooMany`].
    pub(super) fn take(&mut self, entry: &Entry<'_>) -> Result<(), LockfileError> {
        match self.need(entry) {
            Ok(need) => {
                let optional = need.optional;
                let all = self.needs.entry(Need { optional: false, ..need }).or_insert(optional);
                *all &= optional;
            }
            Err(why) => _ = self.left_out.insert(LeftOut { what: shown(entry), why }),
        }
        self.check_size()
    }

    /// Leaves one entry out.
    ///
    /// # Errors
    /// [`LockfileError::TooMany`].
    pub(super) fn leave(&mut self, what: &str, why: Why) -> Result<(), LockfileError> {
        self.left_out.insert(LeftOut { what: what.to_owned(), why });
        self.check_size()
    }

    pub(super) fn finish(self, format: Format) -> Lockfile {
        let needs = self.needs.into_iter().map(|(need, optional)| Need { optional, ..need }).collect();
        Lockfile { format, needs, left_out: self.left_out.into_iter().collect() }
    }

    fn check_size(&self) -> Result<(), LockfileError> {
        let full = self.needs.len() + self.left_out.len() > ENTRIES;
        if full { Err(LockfileError::TooMany) } else { Ok(()) }
    }

    fn need(&self, entry: &Entry<'_>) -> Result<Need, Why> {
        let (named, file) = self.address(entry.from.unwrap_or_default())?;
        let unusable = |words: String| Why::Unusable(words);
        let declared = PackageName::parse(entry.name).map_err(|error| unusable(error.to_string()));
        // The address is what the client asks for; an alias that is not marked as one still leads there.
        let name = named.map_or(declared, Ok)?;
        if !is_version(entry.version) {
            return Err(unusable(format!("{:?} is no version", entry.version)));
        }
        let Entry { expected, optional, .. } = *entry;
        Ok(Need { name, version: entry.version.to_owned(), file, expected, optional })
    }

    /// Package and file that an address at the registry names.
    fn address(&self, from: &str) -> Result<(Option<PackageName>, Option<FileName>), Why> {
        if from.is_empty() {
            return Ok((None, None));
        }
        if let Some(why) = elsewhere(from) {
            return Err(why);
        }
        let place = match from.split_once("://") {
            Some(("http" | "https", _)) => self.registries.place(from).map_err(Why::OtherHost)?,
            Some((scheme, _)) => return Err(Why::Unusable(format!("{scheme}: is no scheme of a registry"))),
            // pnpm 7 writes what is unconventional relative to the registry.
            None => placed(from),
        };
        match place {
            Some(place) => Ok((place.name, Some(place.file))),
            None => Err(Why::Unusable(format!("{from:?} names no tarball"))),
        }
    }
}

/// What is not fetched from a registry, by how its address begins.
pub(super) fn elsewhere(from: &str) -> Option<Why> {
    const LOCAL: [&str; 9] = ["file:", "link:", "portal:", "workspace:", "root:", "exec:", "./", "../", "/"];
    const GIT: [&str; 9] =
        ["git+", "git:", "git@", "ssh:", "github:", "gitlab:", "bitbucket:", "gist:", "git//"];
    let begins = |with: &[&str]| with.iter().any(|start| from.starts_with(start));
    if begins(&LOCAL) {
        Some(Why::Local)
    } else if begins(&GIT) || from.ends_with(".git") || from.contains(".git#") {
        Some(Why::Git)
    } else {
        None
    }
}

/// `name` and what stands behind its sign: `@scope/name@npm:1.0.0` is `@scope/name` and `npm:1.0.0`.
pub(super) fn split(spec: &str) -> Option<(&str, &str)> {
    let scope = usize::from(spec.starts_with('@'));
    let sign = scope + spec[scope..].find('@')?;
    Some((&spec[..sign], &spec[sign + 1..]))
}

fn is_version(version: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-+".contains(&byte);
    (1..=LONGEST_VERSION).contains(&version.len())
        && version.starts_with(|first: char| first.is_ascii_digit())
        && version.bytes().all(plain)
}

fn shown(entry: &Entry<'_>) -> String {
    match is_version(entry.version) {
        true => format!("{}@{}", entry.name, entry.version),
        false => entry.name.to_owned(),
    }
}
