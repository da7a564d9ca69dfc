//! Finds the names of files again after the state was lost: what has no name is nobody's, takes room, and is never
//! evicted.

use resolver::integrity::Integrity;
use resolver::package::PackageName;
use resolver::variant::Revision;

use super::change::Change;
use super::database::REBUILD;
use super::keeper::Stop;
use super::news;
use super::state::State;
use super::tables::PackumentRecord;

/// Tarballs in one transaction.
const AT_ONCE: usize = 256;

/// Gives a row to everything on the disk; whether it is intact shows when it is read. True when that is done. A new
/// directory is gone over without a word.
pub(super) fn adopt_all(state: &State, stop: &Stop) -> bool {
    let mut found = 0;
    let done = (0..=u8::MAX).all(|first| {
        let adopted =
            adopt_blobs(state, first, &mut found).and_then(|()| adopt_packuments(state, first, &mut found));
        adopted.is_some() && !stop.is_stopped()
    });
    // Nobody knows what was marked.
    let done = done && news::renew_all(state).is_ok();
    let noted = done && state.commit_blocking(Change::NoNote { word: REBUILD }).is_ok();
    if noted && found > 0 {
        tracing::info!(files = found, "all files have been gone over for their names");
    }
    noted
}

/// Counts what a folder holds, and says with the first of it what is being done.
fn tell(found: &mut usize, more: usize) {
    if *found == 0 && more > 0 {
        tracing::info!("looking for names among the files");
    }
    *found += more;
}

fn adopt_blobs(state: &State, first: u8, found: &mut usize) -> Option<()> {
    let listed = state.shared().contents.blobs_in(first).ok()?;
    tell(found, listed.len());
    let files = listed.iter().map(|(digest, file)| (Integrity::from_digest(*digest), file.length));
    for some in files.collect::<Vec<_>>().chunks(AT_ONCE) {
        state.commit_blocking(Change::Adopt(some.to_vec())).ok()?;
    }
    Some(())
}

fn adopt_packuments(state: &State, first: u8, found: &mut usize) -> Option<()> {
    let listed = state.shared().documents.revisions_in(first).ok()?;
    tell(found, listed.len());
    for digest in listed {
        adopt_packument(state, &Revision::from_digest(digest))?;
    }
    Some(())
}

/// Gives a row to a packument that has none; of two revisions the one stays that came later. `None` when that cannot be
/// committed.
pub(super) fn adopt_packument(state: &State, revision: &Revision) -> Option<()> {
    let documents = &state.shared().documents;
    let Ok((name, record)) = documents.description(revision) else {
        return Some(());
    };
    let stored = documents.measure(revision);
    match state.packument_unused(&name) {
        Some(held) if held.revision == *revision => {
            let revision = *revision;
            state.commit_blocking(Change::Measured { name, revision, stored }).ok()?;
        }
        Some(held) if held.fetched_ms >= record.fetched_ms => documents.remove(revision),
        _ => give_row(state, name, PackumentRecord { stored, ..record })?,
    }
    Some(())
}

/// Whoever keeps the same packument at this moment may have been quicker: then its row is there, and its files are these.
pub(super) fn give_row(state: &State, name: PackageName, record: PackumentRecord) -> Option<()> {
    let revision = record.revision;
    let applied = state.commit_blocking(Change::Packument { name, record }).ok()?;
    if let Some(before) = applied.before.filter(|before| before.revision != revision) {
        state.shared().documents.remove(&before.revision);
    }
    Some(())
}
