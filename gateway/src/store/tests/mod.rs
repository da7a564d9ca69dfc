//! Promises of the store as a whole: bounded, healed, and open at once.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use resolver::packument::Outline;
use resolver::variant::Revision;
use tempfile::TempDir;

use super::*;

mod bounded;
mod followed;
mod full;
mod healed;
mod news;

const LIMIT: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;
const LARGE: usize = 2 << 20;

/// In memory where there is such a place: the tests are of what is written, not of how fast.
fn folder() -> TempDir {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { tempfile::tempdir_in(shared).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn open(folder: &TempDir, max_bytes: u64) -> Store {
    Store::open(folder.path(), &Config::of(max_bytes)).unwrap()
}

/// A store of a new directory is gone over for names, of which there are none: what is kept meanwhile is measured, and marked, once more.
async fn settled(folder: &TempDir, max_bytes: u64) -> Store {
    let store = open(folder, max_bytes);
    let news = store.news();
    eventually("the directory has been gone over", || news.is_settled()).await;
    store
}

fn bytes(nth: u32, length: usize) -> Vec<u8> {
    nth.to_le_bytes().into_iter().cycle().take(length).collect()
}

async fn keep(store: &Store, nth: u32, length: usize) -> Result<Integrity, StoreError> {
    let bytes = bytes(nth, length);
    let integrity = Integrity::of(&bytes);
    let mut draft = store.draft();
    draft.write(&bytes).await?;
    let not_kept = store.totals().not_kept.load(Ordering::Relaxed);
    let blob = store.keep_blob(draft, &integrity, None).await?;
    // What is not kept is to be had all the same.
    assert_eq!(blob.length(), length as u64);
    let was_kept = store.totals().not_kept.load(Ordering::Relaxed) == not_kept;
    if was_kept { Ok(integrity) } else { Err(StoreError::Full) }
}

fn name(nth: u32) -> PackageName {
    PackageName::parse(&format!("left-{nth}")).unwrap()
}

fn file(nth: u32) -> FileName {
    FileName::parse(&format!("left-{nth}-1.0.0.tgz")).unwrap()
}

/// A document that takes about so many bytes on disk: what is random does not get smaller.
async fn keep_packument(store: &Store, nth: u32, length: usize) -> Result<Revision, StoreError> {
    let mut state = nth;
    let noise: String = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b' ' + (state >> 24) as u8 % 90)
    })
    .filter(|letter| !matches!(letter, '"' | '\\'))
    .take(length)
    .collect();
    let document = format!("{{\"name\":\"left-{nth}\",\"versions\":{{}},\"readme\":\"{noise}\"}}");
    let revision = Revision::of(document.as_bytes());
    let record = PackumentRecord {
        revision,
        length: document.len() as u64,
        checked_ms: 1,
        fetched_ms: 1,
        stored: 0,
        modified_s: 1,
        etag: None,
        last_modified: None,
    };
    let mut writer = FramesWriter::new(store.draft())?;
    writer.write(document.as_bytes())?;
    let outline = Outline::read(&name(nth), &document).unwrap();
    let draft = Store::end_document(writer, &name(nth), &outline, &record)?;
    store.keep_packument(&name(nth), draft, record).await?;
    Ok(revision)
}

fn taken(store: &Store) -> u64 {
    taken_by_files(store) + store.totals().state_bytes.load(Ordering::Relaxed)
}

fn taken_by_files(store: &Store) -> u64 {
    let totals = store.totals();
    totals.blob_stored.load(Ordering::Relaxed) + totals.packument_stored.load(Ordering::Relaxed)
}

/// What is there, whatever the store says.
fn files(folder: &Path) -> Vec<(PathBuf, u64)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .flat_map(|entry| match entry.file_type().unwrap().is_dir() {
            true => files(&entry.path()),
            false => vec![(entry.path(), entry.metadata().unwrap().len())],
        })
        .collect()
}

fn on_the_disk(folder: &Path) -> u64 {
    let held = ["blobs", "documents"].map(|part| files(&folder.join(part)));
    held.iter().flatten().map(|(_, length)| on_disk(*length)).sum()
}

/// Waits for what another thread does.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < LIMIT, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
