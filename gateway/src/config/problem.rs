//! What is wrong with a configuration, and where it was written.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {words}")]
pub struct Problem {
    /// `file:line`, a variable or a flag.
    pub place: String,
    /// What is wrong, and what to do.
    pub words: String,
}

/// Everything that is wrong, one line each; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problem {
    pub(crate) fn new(place: impl Into<String>, words: impl Into<String>) -> Self {
        Self { place: place.into(), words: words.into() }
    }

    pub(crate) fn unknown(place: impl Into<String>, what: &str, name: &str, nearest: Option<&str>) -> Self {
        let words = match nearest {
            Some(nearest) => format!("unknown {what} {name:?}; did you mean {nearest:?}?"),
            None => format!("unknown {what} {name:?}; `open-registry config` prints every key"),
        };
        Self::new(place, words)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Problems {}
