//! What upstream's document has lost is noted before it takes the place of the one before: a crash between the two costs nothing but a note
//! that the next document takes back.

use resolver::integrity::Expected;
use resolver::package::PackageName;
use resolver::packument::Outline;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Fetch;
use crate::store::StoreError;

type Versions = Vec<(String, Option<String>)>;

impl Fetch {
    /// Notes what `after` has lost of the document that is held, and what it has got back; `None`: upstream has no such package any more. That
    /// there is no room for a note keeps nobody from the document.
    pub(super) async fn note_removed(
        &self,
        name: &PackageName,
        after: Option<&Outline>,
    ) -> Result<(), StoreError> {
        let held = self.inner.store.packument_unused(name);
        let before = match &held {
            // One that cannot be read has lost nothing that anybody knows of.
            Some(record) => self.outline_unused(record).await.ok(),
            None => None,
        };
        // A state that cannot be read would forget what it knows.
        let Some(mut removals) = self.inner.store.removed(name) else { return Ok(()) };
        let is_nothing_known = removals.iter().next().is_none();
        if before.is_none() && is_nothing_known {
            return Ok(());
        }
        let (before, after) =
            (before.map(|outline| versions(&outline)).unwrap_or_default(), after.map(versions));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if !removals.compare(&before, after.as_deref(), now) {
            return Ok(());
        }
        match self.inner.store.keep_removed(name, &removals).await {
            Ok(()) | Err(StoreError::Full) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn versions(outline: &Outline) -> Versions {
    let version = |release: &resolver::packument::Release| {
        let integrity = match &release.expected {
            Some(Expected::Integrity(integrity)) => Some(integrity.to_string()),
            _ => None,
        };
        (release.version.clone(), integrity)
    };
    outline.releases().iter().map(version).collect()
}
