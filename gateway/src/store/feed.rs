//! What is kept of the change feed: where it was left, and how far what is held has been brought up to date with it.

use resolver::freshness::State;

use super::change::Change;
use super::tables::{Cursor, read_json};
use super::{Store, StoreError};

/// Its places among the notes.
const CURSOR: &str = "cursor";
const STATE: &str = "feed state";

impl Store {
    /// Where the change feed was left.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        self.inner.state.note(CURSOR).and_then(|note| read_json(&note))
    }

    /// Keeps where the change feed was left.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be committed.
    pub async fn keep_cursor(&self, cursor: Cursor) -> Result<(), StoreError> {
        let value = serde_json::to_vec(&cursor).map_err(|error| StoreError::Io(error.into()))?;
        self.commit(Change::Note { word: CURSOR, value }).await.map(drop)
    }

    /// How far what is held was brought up to date, when that was last kept.
    #[must_use]
    pub fn feed_state(&self) -> Option<State> {
        self.inner.state.note(STATE).and_then(|note| State::parse(&note).ok())
    }

    /// Keeps how far what is held is up to date.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be committed.
    pub async fn keep_feed_state(&self, state: &State) -> Result<(), StoreError> {
        self.commit(Change::Note { word: STATE, value: state.to_json() }).await.map(drop)
    }
}
