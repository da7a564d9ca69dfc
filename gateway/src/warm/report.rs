//! How far a warm-up is, and how it ended.

use std::io::{self, Write};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::lockfile::LeftOut;
use crate::terminal::escape;

/// One line of what is said about a warm-up while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    /// How far it is.
    Progress(Snapshot),
    /// How it ended; nothing follows.
    Report(Report),
}

/// How far a warm-up is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// The set's name.
    pub(super) name: String,
    /// Packages (each version counts) that are here, or known to be missing.
    pub(super) done: u64,
    /// All of them.
    pub(super) all: u64,
    /// Those that were here before.
    pub(super) held: u64,
    /// Those of which something had to be fetched.
    pub(super) fetched: u64,
    /// Bytes of tarballs that were fetched.
    pub(super) bytes: u64,
    /// What has been under way for longest.
    pub(super) fetching: Option<String>,
}

/// How a warm-up ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    /// The set's name.
    pub(super) name: String,
    /// Packages (each version counts) that the lockfile needs.
    pub(super) packages: u64,
    /// Those that were here before.
    pub(super) held: u64,
    /// Those of which something had to be fetched.
    pub(super) fetched: u64,
    /// Bytes of their tarballs.
    pub(super) bytes: u64,
    /// Whether it came to its end; otherwise it was stopped before.
    pub(super) complete: bool,
    /// Why what is here may be evicted again; `None`: it may not, as long as the set is not forgotten.
    pub(super) unpinned: Option<String>,
    /// What is not here.
    pub(super) missing: Vec<Missing>,
    /// What no registry has.
    pub(super) left_out: Vec<NotTaken>,
}

/// One thing that is not here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Missing {
    /// `left@1.0.0`.
    pub(super) package: String,
    /// "metadata", "tarball", "attestations" or "keys"; several are joined by " and ".
    pub(super) part: String,
    /// Why.
    pub(super) why: String,
    /// Whether the project can do without it.
    pub(super) optional: bool,
}

/// One thing that was left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct NotTaken {
    /// Its name in the lockfile.
    pub(super) package: String,
    /// Why.
    pub(super) why: String,
}

impl From<&LeftOut> for NotTaken {
    fn from(left: &LeftOut) -> Self {
        Self { package: left.what.clone(), why: left.why.to_string() }
    }
}

impl Snapshot {
    /// What can be reported when nothing more is heard.
    pub(super) fn into_report(self) -> Report {
        let Self { name, all, held, fetched, bytes, .. } = self;
        Report { name, packages: all, held, fetched, bytes, ..Report::default() }
    }
}

impl Report {
    /// Whether everything that a registry can have is here, and that is not nothing.
    pub(super) fn is_whole(&self) -> bool {
        self.complete && self.missing.is_empty() && !self.is_all_left_out()
    }

    /// Whether there was something, and nothing of it was taken.
    fn is_all_left_out(&self) -> bool {
        self.packages == 0 && !self.left_out.is_empty()
    }

    /// Prints it for a person. Names come from the lockfile, causes from upstream: neither commands the terminal.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { packages, held, fetched, bytes, .. } = self;
        writeln!(out, "{}: {packages} packages", escape(&self.name))?;
        writeln!(out, "  {held} were here, {fetched} fetched ({})", ByteSize::b(*bytes).display().si())?;
        for Missing { package, part, why, optional } in &self.missing {
            let optional = if *optional { " (optional)" } else { "" };
            writeln!(out, "  missing: {}{optional}, its {part}: {}", escape(package), escape(why))?;
        }
        for NotTaken { package, why } in &self.left_out {
            writeln!(out, "  left out: {}: {}", escape(package), escape(why))?;
        }
        if let Some(why) = &self.unpinned {
            writeln!(out, "  it may be evicted again: {}", escape(why))?;
        }
        writeln!(out, "{}", self.verdict())
    }

    fn verdict(&self) -> &'static str {
        match (self.complete, self.missing.is_empty(), self.left_out.is_empty()) {
            (false, ..) => "Stopped. What has come stays; the same command goes on from here.",
            (true, false, _) => "Not everything is here. The same command tries again what is missing.",
            (true, true, false) if self.packages == 0 => {
                "Nothing was taken: everything that the lockfile needs was left out."
            }
            (true, true, true) => "Everything is here: the project installs without a connection.",
            (true, true, false) => {
                "Everything that the registry has is here; what was left out has to come from its own place."
            }
        }
    }
}
