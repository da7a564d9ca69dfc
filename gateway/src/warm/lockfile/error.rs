//! Why a lockfile cannot be read, in words for whoever has it.

use super::{ENTRIES, LARGEST};

/// Why a lockfile cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockfileError {
    /// More bytes than are read.
    #[error("it is larger than {} MiB", LARGEST / (1024 * 1024))]
    TooLarge,
    /// More entries than are taken.
    #[error("it has more than {ENTRIES} entries")]
    TooMany,
    /// Bun's older, binary format.
    #[error(
        "it is bun's binary lockfile: make a bun.lock of it with `bun install --save-text-lockfile --frozen-lockfile --lockfile-only`"
    )]
    BunBinary,
    /// Deno's.
    #[error("it is deno's lockfile, which cannot be read yet")]
    Deno,
    /// Some other JSON.
    #[error("it is JSON, but no lockfile: give the package-lock.json or bun.lock beside it")]
    NoLockfile,
    /// None of those that are known.
    #[error(
        "it is none of the lockfiles that can be read: package-lock.json, npm-shrinkwrap.json, pnpm-lock.yaml, yarn.lock, bun.lock"
    )]
    Unknown,
    /// A client that came later, or one that is long gone.
    #[error("it has version {version} of {format}, which is not known here")]
    Version {
        /// Whose lockfile it is.
        format: &'static str,
        /// The version that it says.
        version: String,
    },
    /// Bytes that are no text.
    #[error("line {0} is not UTF-8")]
    NotUtf8(usize),
    /// Two branches that nobody has merged yet.
    #[error("line {0} begins a merge conflict: resolve it first")]
    Conflict(usize),
    /// Not what its format says.
    #[error("line {line}: {words}")]
    Malformed {
        /// Counted from one.
        line: usize,
        /// What is wrong there.
        words: String,
    },
}

/// What serde says of JSON, with its line.
pub(super) fn malformed_json(file: &str, error: &serde_json::Error) -> LockfileError {
    let words = error.to_string();
    let words = words.split(" at line ").next().unwrap_or_default();
    LockfileError::Malformed { line: error.line(), words: format!("{file} is not as it should be: {words}") }
}

/// What serde says of YAML, with its line.
pub(super) fn malformed_yaml(error: &serde_saphyr::Error) -> LockfileError {
    let line = error.location().map_or(1, |at| usize::try_from(at.line()).unwrap_or(usize::MAX));
    let words = error.without_snippet().to_string();
    let words = words.lines().next().unwrap_or_default();
    LockfileError::Malformed { line, words: words.to_owned() }
}
