//! What was warmed stays: the tarballs and the metadata of a lockfile are pinned as a set under its name, so that they
//! are not evicted, until the set is forgotten.

use std::io::{self, Write};

use resolver::integrity::Integrity;
use resolver::package::PackageName;
use serde::{Deserialize, Serialize};

use super::order::Place;
use crate::store::{PinError, Store};
use crate::terminal::escape;

/// Things pinned in one call; the store has a limit for one, not for a set.
const AT_ONCE: usize = 100_000;

/// One set, in a list of all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Set {
    /// The lockfile's path, or what `--name` said.
    pub(super) name: String,
    /// Tarballs, packages and signed documents in it.
    pub(super) items: u64,
}

/// What is asked about the sets of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// Which data directory is meant.
    pub(super) place: Option<Place>,
    /// The set to be forgotten; `None`: all are to be listed.
    pub(super) forget: Option<String>,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// All sets, in order of names.
    Sets(Vec<Set>),
    /// Whether there was such a set.
    Forgotten(bool),
    /// The store refuses.
    Failed(String),
}

impl Answer {
    /// Prints it for a person.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Sets(sets) if sets.is_empty() => writeln!(out, "Nothing was warmed here."),
            Self::Sets(sets) => sets
                .iter()
                .try_for_each(|Set { name, items }| writeln!(out, "{}: {items} items", escape(name))),
            Self::Forgotten(true) => writeln!(out, "Forgotten: what only this set needs may be evicted."),
            Self::Forgotten(false) => writeln!(out, "There is no such set; --list names those there are."),
            Self::Failed(why) => writeln!(out, "The store refuses: {}", escape(why)),
        }
    }
}

/// What is pinned together.
#[derive(Debug, Default)]
pub(super) struct Items {
    /// Tarballs.
    pub(super) tarballs: Vec<Integrity>,
    /// Packages, for their packuments.
    pub(super) packages: Vec<PackageName>,
    /// Paths of evidence.
    pub(super) evidence: Vec<String>,
}

/// Pins these besides what is in the set.
///
/// # Errors
/// [`PinError`] says what is in the way: then nothing of the last call is pinned.
pub(super) async fn pin(store: &Store, set: &str, items: &Items) -> Result<(), PinError> {
    for tarballs in items.tarballs.chunks(AT_ONCE) {
        store.pin(set, tarballs, &[]).await?;
    }
    for packages in items.packages.chunks(AT_ONCE) {
        store.pin(set, &[], packages).await?;
    }
    for evidence in items.evidence.chunks(AT_ONCE) {
        store.pin_evidence(set, evidence).await?;
    }
    Ok(())
}

/// Pins these and nothing else: what the lockfile no longer needs may go.
///
/// # Errors
/// [`PinError`] says what is in the way: then the set is what it was.
pub(super) async fn replace(store: &Store, set: &str, items: &Items) -> Result<(), PinError> {
    store.replace_pins(set, &items.tarballs, &items.packages, &items.evidence).await
}

/// Lists the sets, or forgets one.
pub(super) async fn answer(store: &Store, question: Question) -> Answer {
    match question.forget {
        Some(name) => store.unpin(&name).await.map_or_else(|error| failed(&error), Answer::Forgotten),
        None => {
            let store = store.clone();
            let sets = tokio::task::spawn_blocking(move || store.pins()).await;
            let set = |set: crate::store::PinSet| Set { name: set.name, items: set.items };
            sets.map_or_else(|error| failed(&error), |sets| Answer::Sets(sets.into_iter().map(set).collect()))
        }
    }
}

fn failed(error: &impl std::fmt::Display) -> Answer {
    Answer::Failed(error.to_string())
}
