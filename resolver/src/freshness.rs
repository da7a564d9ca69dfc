//! How fresh a document is under a root: as fresh as home's own last look at upstream.
//!
//! ```text
//! /.federation/state.json   {"looked": 1795341540123, "current": 1795341540100, "behind": 0, "except": ["left-pad"]}
//! ```
//!
//! Home says when it last knew of everything that upstream's change feed had told. What the root then names was upstream's word
//! at that time, for all packages in it at once. [`age`] is what a plan is asked with ([`crate::plan::Held::age`]): while it is below
//! `upstream.fresh`, a follower revalidates nothing; when home falls behind, or is kept from him, it grows, and he revalidates through
//! home, as if there were no root. So it is with the few packages that home excepts, since upstream gives it nothing of them.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::head::publish::AHEAD;
use crate::package::PackageName;

/// The longest `state.json` that is read, in bytes: a program of a later version may say some more.
pub const LONGEST: usize = 4096;
/// Packages that home may except from what it says of all: with the longest names still within [`LONGEST`].
pub const EXCEPTED: usize = 16;
/// Two ages are read off the clock one after the other: what was confirmed at the moment when home was current is not later than that.
const APART: Duration = Duration::from_secs(1);
/// How much sooner home says that it has looked again than documents cease to be fresh: a follower learns it in time by any way.
const PART: u32 = 4;
/// No sooner than after this time, however short documents are fresh, and no later than after that.
const SOONEST: Duration = Duration::from_secs(5);
const LATEST: Duration = Duration::from_secs(60);

/// How home stands towards upstream's change feed. Times are in milliseconds since 1970, by home's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// When the feed last answered; 0: it never has, or none is followed.
    #[serde(default)]
    pub looked: u64,
    /// When the root last had everything that the feed had told; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<u64>,
    /// How many changes were to be caught up with at the last look.
    #[serde(default)]
    pub behind: u64,
    /// Packages of which `current` is not said, at most [`EXCEPTED`]: upstream has given nothing when it was asked for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
}

/// A document that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAState {
    /// It has too many bytes.
    #[error("the state has {0} bytes; at most {LONGEST} are read")]
    TooLong(usize),
    /// It excepts too much.
    #[error("the state excepts {0} packages; at most {EXCEPTED} are read")]
    TooManyExcepted(usize),
    /// It is not the object that it should be.
    #[error("the state is not to be read: {0}")]
    Unreadable(String),
}

/// What the root says of a document that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// This one.
    Same,
    /// Another one of the same package.
    Other,
    /// Nothing: home has no such package.
    Nothing,
}

/// What is known of a document that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Since this gateway itself was last told that it is upstream's.
    pub confirmed: Duration,
    /// What the root says; [`Word::Nothing`] also where none is followed.
    pub word: Word,
    /// Since home was last current; `None`: there is no telling.
    pub current: Option<Duration>,
}

impl State {
    /// Reads one.
    ///
    /// # Errors
    /// [`NotAState`].
    pub fn parse(json: &[u8]) -> Result<Self, NotAState> {
        if json.len() > LONGEST {
            return Err(NotAState::TooLong(json.len()));
        }
        let state: Self =
            serde_json::from_slice(json).map_err(|error| NotAState::Unreadable(error.to_string()))?;
        match state.except.len() {
            0..=EXCEPTED => Ok(state),
            more => Err(NotAState::TooManyExcepted(more)),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers are JSON")
    }

    /// Home has looked, and `behind` changes are not in the root yet, besides those of the packages that are excepted.
    #[must_use]
    pub fn after_look(&self, behind: u64, except: Vec<String>, now: Duration) -> Self {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        match behind {
            0 => Self { looked: now, current: Some(now), behind, except },
            _ => Self { looked: now, behind, ..self.clone() },
        }
    }

    /// How long ago home was current, `now` since 1970; `None`: there is no telling, for it never was, or says that it was in a
    /// future that clocks do not explain.
    #[must_use]
    pub fn since_current(&self, now: Duration) -> Option<Duration> {
        let current = Duration::from_millis(self.current?);
        (current <= now.saturating_add(AHEAD)).then(|| now.saturating_sub(current))
    }

    /// When home last knew all of this package: milliseconds since 1970.
    #[must_use]
    pub fn current_of(&self, name: &PackageName) -> Option<u64> {
        self.current.filter(|_| !self.is_excepted(name))
    }

    /// The same as [`since_current`](Self::since_current), of one package.
    #[must_use]
    pub fn since_current_of(&self, name: &PackageName, now: Duration) -> Option<Duration> {
        self.since_current(now).filter(|_| !self.is_excepted(name))
    }

    fn is_excepted(&self, name: &PackageName) -> bool {
        self.except.iter().any(|one| one == name.as_str())
    }

    /// Whether this says enough more than `published` to be worth a new root; documents are fresh for `fresh` at home. Where something
    /// that is held has changed meanwhile there is a new root anyway, and without this it would not count for whoever has asked home
    /// for the same document since home last said that it is current.
    #[must_use]
    pub fn is_worth_a_root(&self, published: &Self, fresh: Duration, has_changed: bool) -> bool {
        let pause = if has_changed { SOONEST } else { (fresh / PART).clamp(SOONEST, LATEST) };
        let (Some(now), Some(then)) = (self.current, published.current) else {
            return self.current != published.current;
        };
        now < then || self.except != published.except || Duration::from_millis(now - then) >= pause
    }
}

/// How old a document is to be taken for.
///
/// - The root names it: it was upstream's when home was current, if that is later than what this gateway knows itself.
/// - The root names another: it is out of date, unless it was confirmed here since. Then home is the one that is behind.
/// - The root has no such package: what this gateway knows itself.
#[must_use]
pub fn age(known: &Known) -> Duration {
    let Known { confirmed, word, current } = *known;
    match (word, current) {
        (Word::Same, Some(current)) => confirmed.min(current),
        (Word::Same, None) | (Word::Nothing, _) => confirmed,
        (Word::Other, Some(current)) if confirmed.saturating_add(APART) < current => confirmed,
        (Word::Other, _) => Duration::MAX,
    }
}

#[cfg(test)]
mod tests;
