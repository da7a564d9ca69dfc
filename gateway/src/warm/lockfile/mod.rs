//! Lockfiles of the npm clients: a text becomes what has to be fetched for it, and what has not, with reasons.
//!
//! Pure functions. The format is recognised by what stands in the text; the file's name only helps to word an
//! error. A lockfile is anybody's text: its size, its entries and, in YAML, its nesting and aliases have limits.

mod berry;
mod bun;
mod collect;
mod error;
mod npm;
mod pnpm;
mod registries;
mod scalar;
mod yarn1;

#[cfg(test)]
mod tests;

use resolver::integrity::Expected;
use resolver::package::{FileName, PackageName};
use serde::Deserialize;

pub use error::LockfileError;
pub use registries::Registries;

use collect::Collector;
use error::malformed_json;
use scalar::Scalar;

/// The largest lockfile that is read, in bytes. The largest known ones, of monorepos, have some 5 MB.
pub const LARGEST: u64 = 256 * 1024 * 1024;
/// Entries of one lockfile. Large monorepos have 20,000.
pub const ENTRIES: usize = 500_000;

/// What a lockfile says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lockfile {
    /// Who wrote it.
    pub format: Format,
    /// What its project needs from a registry, each thing once, in order of names.
    pub needs: Vec<Need>,
    /// What it needs from elsewhere.
    pub left_out: Vec<LeftOut>,
}

/// Which client's lockfile it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// package-lock.json or npm-shrinkwrap.json.
    Npm,
    /// pnpm-lock.yaml.
    Pnpm,
    /// yarn.lock of yarn 1.
    Yarn1,
    /// yarn.lock of yarn 2 and later.
    Berry,
    /// bun.lock.
    Bun,
}

/// One tarball that a project needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The package, as the registry names it: aliases are resolved.
    pub name: PackageName,
    /// Which version.
    pub version: String,
    /// Its tarball's file name, where the lockfile says it.
    pub file: Option<FileName>,
    /// What the tarball must hash to, where the lockfile says it.
    pub expected: Option<Expected>,
    /// Whether the project can do without it, as on another platform.
    pub optional: bool,
}

/// One thing that cannot be fetched from a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// Its name in the lockfile.
    pub what: String,
    /// Why.
    pub why: Why,
}

/// Why an entry of a lockfile is not fetched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Why {
    /// It comes with the project.
    #[error("part of the project itself")]
    Local,
    /// It is cloned.
    #[error("comes from a git repository")]
    Git,
    /// It is no package of the registry that this gateway caches, or that cannot be told.
    #[error("comes from {0}, which is not known to be the same registry (--registry says that it is)")]
    OtherHost(String),
    /// Not a package at all: a runtime, or a kind that came later.
    #[error("is of the kind {0:?}, which no registry has")]
    OtherKind(String),
    /// A name, a version or an address that no registry can have.
    #[error("cannot be asked for: {0}")]
    Unusable(String),
    /// Of a scope that is never kept.
    #[error("is of a private scope, which is never kept")]
    Private,
}

impl Format {
    /// How people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Npm => "package-lock.json",
            Self::Pnpm => "pnpm-lock.yaml",
            Self::Yarn1 => "yarn.lock (yarn 1)",
            Self::Berry => "yarn.lock (yarn 2 or later)",
            Self::Bun => "bun.lock",
        }
    }

    /// Whether this client asks for the attestations of each version, also with a frozen lockfile: pnpm 12 does.
    #[must_use]
    pub fn needs_attestations(self) -> bool {
        self == Self::Pnpm
    }
}

/// Reads a lockfile. `file` is its name without a directory, `registries` are the addresses that stand for the
/// registry in it.
///
/// # Errors
/// [`LockfileError`], with the line where that is known.
pub fn read(file: &str, bytes: &[u8], registries: &Registries) -> Result<Lockfile, LockfileError> {
    if bytes.len() as u64 > LARGEST {
        return Err(LockfileError::TooLarge);
    }
    let text = text(file, bytes)?;
    let format = recognise(file, text)?;
    let mut collector = Collector::new(registries);
    match format {
        Format::Npm => npm::read(text, &mut collector)?,
        Format::Pnpm => pnpm::read(text, &mut collector)?,
        Format::Yarn1 => yarn1::read(text, &mut collector)?,
        Format::Berry => berry::read(text, &mut collector)?,
        Format::Bun => bun::read(text, &mut collector)?,
    }
    Ok(collector.finish(format))
}

fn text<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, LockfileError> {
    if bytes.starts_with(b"#!/usr/bin/env bun\nbun-lockfile-format") || file == "bun.lockb" {
        return Err(LockfileError::BunBinary);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let line = |valid: usize| 1 + bytes[..valid].iter().filter(|byte| **byte == b'\n').count();
    let text =
        std::str::from_utf8(bytes).map_err(|error| LockfileError::NotUtf8(line(error.valid_up_to())))?;
    match text.lines().position(|line| line.starts_with("<<<<<<< ")) {
        Some(before) => Err(LockfileError::Conflict(before + 1)),
        None => Ok(text),
    }
}

/// What tells the JSON formats apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    lockfile_version: Option<Scalar>,
    workspaces: Option<serde::de::IgnoredAny>,
    version: Option<Scalar>,
    specifiers: Option<serde::de::IgnoredAny>,
}

fn recognise(file: &str, text: &str) -> Result<Format, LockfileError> {
    if text.trim_start().starts_with('{') {
        return recognise_json(file, text);
    }
    let has = |start: &str| text.lines().any(|line| line.starts_with(start));
    if has("lockfileVersion:") || has("shrinkwrapVersion:") {
        Ok(Format::Pnpm)
    } else if has("__metadata:") {
        Ok(Format::Berry)
    } else if has("# yarn lockfile v1") || (file == "yarn.lock" && has("  version ")) {
        Ok(Format::Yarn1)
    } else {
        Err(LockfileError::Unknown)
    }
}

fn recognise_json(file: &str, text: &str) -> Result<Format, LockfileError> {
    let plain = bun::without_trailing_commas(text);
    let head: Head = serde_json::from_str(&plain).map_err(|error| malformed_json(file, &error))?;
    match (head.lockfile_version, head.workspaces) {
        // A package.json has workspaces too, but no version of a lockfile; npm's lockfile has them further inside.
        (Some(_), Some(_)) => Ok(Format::Bun),
        (Some(_), None) => Ok(Format::Npm),
        (None, _) if head.specifiers.is_some() && head.version.is_some() => Err(LockfileError::Deno),
        (None, _) => Err(LockfileError::NoLockfile),
    }
}
