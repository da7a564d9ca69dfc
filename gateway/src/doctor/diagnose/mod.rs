//! Facts to findings: what is in the way, why, and what mends it. A pure function.
//!
//! [`view`] says what the facts mean for one address or one resolver; [`names`], whether the name leads to the
//! gateway, and [`detour`], which resolvers cannot know; [`reach`], whether the gateway is there; [`host`] and
//! [`clients`] look at both ends, [`peers`] at those beside the gateway; [`cure`] has the recipes for the
//! [`kinds`] of resolvers.

mod clients;
mod cure;
mod detour;
mod host;
mod kinds;
mod names;
mod peers;
mod reach;
mod view;

use super::facts::Facts;
use view::View;

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about, in a word that stays the same: `rebinding-filter`.
    pub topic: &'static str,
    /// What is so, in one line.
    pub what: String,
    /// Why; empty where there is nothing to explain.
    pub cause: String,
    /// What mends it, line by line; empty where nothing needs to be.
    pub fix: Vec<String>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Not looked at.
    LeftOut,
    /// It works, but not well or not for all.
    Warning,
    /// It does not work.
    Problem,
}

/// All findings, in the order in which a request would meet them.
#[must_use]
pub fn diagnose(facts: &Facts) -> Vec<Finding> {
    let view = View::of(facts);
    let left_out = facts
        .left_out
        .iter()
        .map(|one| Finding::new(Level::LeftOut, "left-out", format!("{}: {}", one.what, one.why)));
    let host = host::findings(&view).into_iter().chain(peers::findings(facts));
    [clients::findings(&view), names::findings(&view), reach::findings(&view)]
        .concat()
        .into_iter()
        .chain(host)
        .chain(left_out)
        .collect()
}

impl Level {
    /// One word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::LeftOut => "not done",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

impl Finding {
    fn new(level: Level, topic: &'static str, what: impl Into<String>) -> Self {
        Self { level, topic, what: what.into(), cause: String::new(), fix: Vec::new() }
    }

    pub(super) fn ok(topic: &'static str, what: impl Into<String>) -> Self {
        Self::new(Level::Ok, topic, what)
    }

    fn left_out(topic: &'static str, what: impl Into<String>) -> Self {
        Self::new(Level::LeftOut, topic, what)
    }

    fn warning(topic: &'static str, what: impl Into<String>) -> Self {
        Self::new(Level::Warning, topic, what)
    }

    pub(super) fn problem(topic: &'static str, what: impl Into<String>) -> Self {
        Self::new(Level::Problem, topic, what)
    }

    pub(super) fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = cause.into();
        self
    }

    pub(super) fn fix<S: Into<String>>(mut self, lines: impl IntoIterator<Item = S>) -> Self {
        self.fix = lines.into_iter().map(Into::into).collect();
        self
    }

    /// The same, no worse than this.
    fn at_most(mut self, level: Level) -> Self {
        self.level = self.level.min(level);
        self
    }
}

#[cfg(test)]
mod tests;
