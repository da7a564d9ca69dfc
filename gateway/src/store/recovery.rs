//! Finds the names of files again after the state was lost: what has no name is nobody's, takes room, and is never
//! evicted.

use resolver::integrity::Integrity;

use super::change::Change;
use super::database::REBUILD;
use super::keeper::Stop;
use super::state::State;

/// Tarballs in one transaction.
const AT_ONCE: usize = 256;

/// Gives a row to each tarball on the disk; whether it is intact shows when it is read. True when that is done.
pub(super) fn adopt_all(state: &State, stop: &Stop) -> bool {
    tracing::info!("looking for names among the files");
    for first in 0..=u8::MAX {
        let listed = match state.shared().contents.blobs_in(first) {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(%error, "cannot list a folder of tarballs");
                return false;
            }
        };
        let found: Vec<_> = listed
            .iter()
            .filter_map(|(digest, file)| Some((Integrity::from_bytes(digest)?, file.length)))
            .collect();
        for some in found.chunks(AT_ONCE) {
            if stop.is_stopped() || state.commit_blocking(Change::Adopt(some.to_vec())).is_err() {
                return false;
            }
        }
    }
    adopt_packuments(state, stop) && state.commit_blocking(Change::NoNote { word: REBUILD }).is_ok()
}

/// Likewise to each packument, which says itself whose it is. What it says of upstream is as old as the document.
fn adopt_packuments(state: &State, stop: &Stop) -> bool {
    for first in 0..=u8::MAX {
        let documents = &state.shared().contents.documents;
        let Some(found) = documents.found_in(first, &mut |_| !stop.is_stopped()) else {
            return false;
        };
        for (name, record) in found {
            if state.commit_blocking(Change::AdoptPackument { name, record }).is_err() {
                return false;
            }
        }
    }
    true
}
