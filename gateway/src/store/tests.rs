//! Promises of the store as a whole: bounded, healed, and open at once.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use resolver::packument::Outline;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;

const LIMIT: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;
const LARGE: usize = 2 << 20;

pub(crate) fn config(max_bytes: u64) -> Config {
    Config { dir: None, max_bytes: Size(max_bytes), min_free: Size(0), metadata_share: 25, scrub: None }
}

/// In memory where there is such a place: the tests are of what is written, not of how fast.
fn folder() -> TempDir {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { tempfile::tempdir_in(shared).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn open(folder: &TempDir, max_bytes: u64) -> Store {
    Store::open(folder.path(), &config(max_bytes)).unwrap()
}

fn bytes(nth: u32, length: usize) -> Vec<u8> {
    nth.to_le_bytes().into_iter().cycle().take(length).collect()
}

async fn keep(store: &Store, nth: u32, length: usize) -> Result<Integrity, StoreError> {
    let bytes = bytes(nth, length);
    let integrity = Integrity::of(&bytes);
    let mut draft = store.draft();
    draft.write(&bytes).await?;
    store.keep_blob(draft, &integrity).await?;
    Ok(integrity)
}

fn name(nth: u32) -> PackageName {
    PackageName::parse(&format!("left-{nth}")).unwrap()
}

fn file(nth: u32) -> FileName {
    FileName::parse(&format!("left-{nth}-1.0.0.tgz")).unwrap()
}

/// A packument with so many characters that can hardly be packed.
fn packument(nth: u32, length: usize) -> String {
    let digests =
        (0..).map(|part: u32| Integrity::of(&[nth.to_le_bytes(), part.to_le_bytes()].concat()).to_string());
    let readme: String =
        digests.flat_map(String::into_bytes).take(length).map(char::from).collect();
    format!("{{\"name\":\"left-{nth}\",\"readme\":\"{readme}\"}}")
}

async fn keep_packument(store: &Store, nth: u32, length: usize) -> Result<Revision, StoreError> {
    let document = packument(nth, length);
    let revision = Revision::of(document.as_bytes());
    let outline = Outline::read(&name(nth), &document).unwrap();
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
    let draft = Store::end_document(writer, &name(nth), &outline, &record)?;
    store.keep_packument(&name(nth), draft, record).await?;
    Ok(revision)
}

async fn keep_variant(store: &Store, nth: u32, revision: Revision, length: usize) -> Result<(), StoreError> {
    let bytes = bytes(nth, length);
    let mut draft = store.draft();
    draft.write(&bytes).await?;
    let key = VariantKey { name: name(nth), revision, tag: "tag".into() };
    store.keep_coded(&key, draft, Sha256::digest(&bytes).into()).await
}

fn taken(store: &Store) -> u64 {
    let totals = store.totals();
    [&totals.blob_stored, &totals.packument_stored, &totals.state_bytes]
        .map(|bytes| bytes.load(Ordering::Relaxed))
        .iter()
        .sum()
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

fn on_the_disk(folder: &TempDir) -> u64 {
    let held = ["blobs", "documents"].map(|part| files(&folder.path().join(part)));
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

#[tokio::test]
async fn what_is_kept_never_takes_more_than_the_limit() {
    let (folder, limit) = (folder(), 24 * MIB);
    let store = open(&folder, limit);
    for nth in 0..400 {
        keep(&store, nth, 128 * 1024).await.unwrap();
        keep_packument(&store, nth, 20_000).await.unwrap();
        assert!(taken(&store) <= limit, "{} after {nth}", taken(&store));
    }
    let state = store.totals().state_bytes.load(Ordering::Relaxed);
    assert_eq!(on_the_disk(&folder) + state, taken(&store));
    assert!(taken(&store) > limit / 100 * 90, "it is used: {}", taken(&store));
    assert!(store.totals().evicted.load(Ordering::Relaxed) > 200);
    assert!(!store.is_full());
}

#[tokio::test]
async fn what_is_used_survives_a_scan_and_what_is_not_does_not() {
    let folder = folder();
    let store = open(&folder, 24 * MIB);
    let mut hot = Vec::new();
    for nth in 0..20 {
        hot.push(keep(&store, nth, 128 * 1024).await.unwrap());
    }
    let cold = keep(&store, 20, 128 * 1024).await.unwrap();
    for nth in 100..500 {
        if nth % 50 == 0 {
            for integrity in &hot {
                assert!(store.blob(integrity).await.is_some(), "before {nth}");
            }
        }
        keep(&store, nth, 128 * 1024).await.unwrap();
    }
    for integrity in &hot {
        assert!(store.blob(integrity).await.is_some());
    }
    assert!(store.blob(&cold).await.is_none());
}

#[tokio::test]
async fn tarballs_never_drive_out_metadata_within_its_share() {
    let folder = folder();
    let store = open(&folder, 24 * MIB);
    for nth in 0..100 {
        keep_packument(&store, nth, 20_000).await.unwrap();
    }
    for nth in 0..400 {
        keep(&store, nth, 128 * 1024).await.unwrap();
    }
    assert_eq!(store.totals().packuments.load(Ordering::Relaxed), 100);
    let evicted = keep(&store, 1000, 128 * 1024).await.unwrap();
    store.keep_tarball(&name(1), &file(1), &evicted, None).await.unwrap();
    for nth in 1001..1400 {
        keep(&store, nth, 128 * 1024).await.unwrap();
    }
    assert!(store.blob(&evicted).await.is_none());
    assert_eq!(store.tarball(&name(1), &file(1)), None, "its name goes with it");
    assert!(store.packument(&name(1)).is_some(), "and nothing else");
}

#[tokio::test]
async fn an_evicted_tarball_is_read_to_its_end_by_whoever_has_it() {
    let folder = folder();
    let store = open(&folder, 24 * MIB);
    let length = 2 * 1024 * 1024;
    let bytes = bytes(0, length);
    let integrity = Integrity::of(&bytes);
    let mut draft = store.draft();
    draft.write(&bytes).await.unwrap();
    let blob = store.keep_blob(draft, &integrity).await.unwrap();
    let mut reader = blob.reader(0..length as u64);
    let mut read = reader.next().await.unwrap().unwrap().to_vec();
    for nth in 1..60 {
        keep(&store, nth, length).await.unwrap();
    }
    assert!(store.blob(&integrity).await.is_none());
    while let Some(chunk) = reader.next().await.unwrap() {
        read.extend_from_slice(&chunk);
    }
    assert_eq!(Integrity::of(&read), integrity);
}

#[tokio::test]
async fn what_is_pinned_stays_until_it_is_given_up() {
    let folder = folder();
    let store = open(&folder, 24 * MIB);
    let pinned = keep(&store, 0, 128 * 1024).await.unwrap();
    keep_packument(&store, 0, 20_000).await.unwrap();
    let later = Integrity::of(&bytes(1, 128 * 1024));
    store.pin("project", &[pinned, later], &[name(0)]).await.unwrap();
    store.pin("other", &[pinned], &[]).await.unwrap();
    keep(&store, 1, 128 * 1024).await.unwrap();
    for nth in 100..500 {
        keep(&store, nth, 128 * 1024).await.unwrap();
    }
    let is_there = |integrity| Contents::new(folder.path()).has_blob(integrity);
    assert!(is_there(&pinned) && is_there(&later));
    assert_eq!(store.totals().pinned.load(Ordering::Relaxed), 3);
    assert_eq!(
        store.pins().iter().map(|set| (set.name.as_str(), set.items)).collect::<Vec<_>>(),
        [("other", 1), ("project", 3)]
    );

    assert!(store.unpin("project").await.unwrap());
    assert!(!store.unpin("project").await.unwrap());
    for nth in 500..1000 {
        keep(&store, nth, 128 * 1024).await.unwrap();
    }
    assert!(is_there(&pinned), "another set has it");
    assert!(!is_there(&later));
    assert_eq!(store.totals().pinned.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn pins_that_leave_no_room_are_refused_as_a_whole() {
    let folder = folder();
    let store = open(&folder, 10 * MIB);
    let mut all = Vec::new();
    for nth in 0..3 {
        all.push(keep(&store, nth, LARGE).await.unwrap());
    }
    store.pin("some", &all[..2], &[]).await.unwrap();
    let refused = Store::pin(&store, "more", &[all[2]], &[]).await;
    assert!(refused.is_ok(), "6 of 9 MiB: {refused:?}");
    let store = {
        drop(store);
        open(&folder, 6 * MIB)
    };
    let refused = store.pin("most", &all, &[name(1)]).await.unwrap_err();
    assert!(matches!(refused, PinError::TooMuch { .. }), "{refused}");
    assert!(refused.to_string().contains("store.max_bytes"), "{refused}");
    assert!(matches!(store.pin("", &all, &[]).await, Err(PinError::Name)));
    assert!(store.pins().iter().all(|set| set.name != "most"));
}

#[tokio::test]
async fn a_store_of_nothing_but_pins_is_full_and_says_so() {
    let folder = folder();
    let store = open(&folder, 10 * MIB);
    let all = [keep(&store, 0, LARGE).await.unwrap(), keep(&store, 1, LARGE).await.unwrap()];
    store.pin("all", &all, &[]).await.unwrap();
    store.close().await;
    drop(store);
    let store = open(&folder, 4 * MIB);
    eventually("it is full", || store.is_full()).await;
    assert!(matches!(keep(&store, 2, 4096).await, Err(StoreError::Full)));
    assert!(store.blob(&all[0]).await.is_some());
    store.unpin("all").await.unwrap();
    eventually("there is room", || !store.is_full()).await;
    keep(&store, 2, 4096).await.unwrap();
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let folder = folder();
    let counted = |store: &Store| {
        let totals = store.totals();
        [&totals.blobs, &totals.blob_stored, &totals.packuments, &totals.packument_stored]
            .map(|count| count.load(Ordering::Relaxed))
    };
    let store = open(&folder, 24 * MIB);
    for nth in 0..200 {
        keep(&store, nth, 128 * 1024).await.unwrap();
        keep_packument(&store, nth, 20_000).await.unwrap();
    }
    let cursor = Cursor { feed: "http://feed".into(), since: 7, doubted_ms: 1 };
    store.keep_cursor(&cursor).await.unwrap();
    let hot = Integrity::of(&bytes(199, 128 * 1024));
    assert!(store.blob(&hot).await.is_some());
    let before = counted(&store);
    store.close().await;
    drop(store);

    let store = open(&folder, 24 * MIB);
    assert_eq!(counted(&store), before);
    assert_eq!(store.cursor(), Some(cursor));
    for nth in 1000..1170 {
        keep(&store, nth, 128 * 1024).await.unwrap();
    }
    assert!(store.blob(&hot).await.is_some(), "it was used before the restart");
}

#[tokio::test]
async fn variants_are_accounted_for_and_a_confirmation_forgets_none() {
    let folder = folder();
    let store = open(&folder, 24 * MIB);
    let revision = keep_packument(&store, 1, 10_000).await.unwrap();
    let record = store.packument(&name(1)).unwrap();
    keep_variant(&store, 1, revision, 5000).await.unwrap();
    assert!(keep_variant(&store, 1, Revision::of(b"another"), 5000).await.is_err());
    store.confirm_packument(&name(1), PackumentRecord { checked_ms: 2, ..record.clone() }).await.unwrap();
    let confirmed = store.packument(&name(1)).unwrap();
    assert_eq!((confirmed.stored, confirmed.checked_ms), (record.stored + 8192, 2));
    assert_eq!(store.totals().packument_stored.load(Ordering::Relaxed), confirmed.stored);
    store.remove_packument(&name(1)).await.unwrap();
    store.confirm_packument(&name(1), confirmed).await.unwrap();
    assert_eq!(store.packument(&name(1)), None, "a confirmation brings nothing back");
    assert_eq!(store.totals().packument_stored.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_digest_is_upstreams_word_while_its_packument_is_held() {
    let folder = folder();
    let store = open(&folder, 24 * MIB);
    let (one, other) = (Revision::of(b"one"), Revision::of(b"other"));
    let integrity = Integrity::of(b"tarball");
    store.keep_tarball(&name(1), &file(1), &integrity, Some(&one)).await.unwrap();
    let record = store.tarball(&name(1), &file(1)).unwrap();
    assert!(record.integrity == integrity && record.is_word_of(&one) && !record.is_word_of(&other));
    store.keep_tarball(&name(1), &file(1), &integrity, Some(&other)).await.unwrap();
    assert!(store.tarball(&name(1), &file(1)).unwrap().is_word_of(&other));
}

#[tokio::test]
async fn a_state_that_is_lost_or_spoilt_is_found_again_from_the_files() {
    for spoil in [
        |path: &Path| std::fs::remove_file(path).unwrap(),
        |path: &Path| std::fs::write(path, b"nobody's state ".repeat(1000)).unwrap(),
        |path: &Path| std::fs::File::options().write(true).open(path).unwrap().set_len(9000).unwrap(),
    ] {
        let folder = folder();
        let store = open(&folder, 24 * MIB);
        let integrity = keep(&store, 1, 10_000).await.unwrap();
        store.close().await;
        drop(store);
        spoil(&folder.path().join("state.redb"));

        let store = open(&folder, 24 * MIB);
        eventually("the tarball is counted", || store.totals().blobs.load(Ordering::Relaxed) == 1).await;
        assert!(store.blob(&integrity).await.is_some());
        for nth in 2..300 {
            keep(&store, nth, 128 * 1024).await.unwrap();
        }
        assert!(taken(&store) <= 24 * MIB);
    }
}

#[tokio::test]
async fn the_layout_before_becomes_this_one_and_keeps_its_tarballs() {
    let folder = folder();
    let integrity = {
        let store = open(&folder, 24 * MIB);
        let integrity = keep(&store, 1, 10_000).await.unwrap();
        store.close().await;
        integrity
    };
    std::fs::write(folder.path().join("format"), "open-registry data 1\n").unwrap();
    std::fs::write(folder.path().join("documents/sha256/old"), "{}").unwrap();
    std::fs::write(folder.path().join("state.redb"), "old").unwrap();
    let store = open(&folder, 24 * MIB);
    assert!(store.blob(&integrity).await.is_some());
    assert!(files(&folder.path().join("documents")).is_empty());
    assert_eq!(std::fs::read_to_string(folder.path().join("format")).unwrap(), "open-registry data 2\n");
    eventually("the tarball is counted", || store.totals().blobs.load(Ordering::Relaxed) == 1).await;
}

fn scrubbing() -> Config {
    Config { scrub: Some(Period(Duration::from_millis(200))), ..config(24 * MIB) }
}

#[tokio::test]
async fn the_scrub_finds_what_is_spoilt_nameless_or_gone() {
    let folder = folder();
    let store = open(&folder, 24 * MIB);
    let [spoilt, gone, sound] =
        [keep(&store, 1, 10_000).await, keep(&store, 2, 10_000).await, keep(&store, 3, 10_000).await]
            .map(Result::unwrap);
    store.keep_tarball(&name(1), &file(1), &spoilt, None).await.unwrap();
    let revision = keep_packument(&store, 4, 10_000).await.unwrap();
    keep_packument(&store, 5, 10_000).await.unwrap();
    store.close().await;
    let contents = Contents::new(folder.path());
    std::fs::write(contents.blob_path(&spoilt), b"something else").unwrap();
    std::fs::remove_file(contents.blob_path(&gone)).unwrap();
    std::fs::write(contents.documents.path(&revision), b"something else").unwrap();
    let nameless = Integrity::of(b"nameless");
    std::fs::create_dir_all(contents.blob_path(&nameless).parent().unwrap()).unwrap();
    std::fs::write(contents.blob_path(&nameless), b"nameless").unwrap();
    drop(store);

    let store = Store::open(folder.path(), &scrubbing()).unwrap();
    let mut lost = store.lost().unwrap();
    let mut told = Vec::new();
    while told.len() < 2 {
        told.push(tokio::time::timeout(LIMIT, lost.recv()).await.unwrap().unwrap());
    }
    assert!(told.contains(&Lost::Tarball(name(1), file(1), spoilt)), "{told:?}");
    assert!(told.contains(&Lost::Packument(name(4))), "{told:?}");
    let held = || {
        let totals = store.totals();
        (totals.blobs.load(Ordering::Relaxed), totals.packuments.load(Ordering::Relaxed))
    };
    eventually("rows and files agree", || held() == (2, 1)).await;
    assert_eq!(store.totals().corrupt.load(Ordering::Relaxed), 2);
    assert!(store.blob(&sound).await.is_some() && store.blob(&nameless).await.is_some());
    assert!(store.blob(&spoilt).await.is_none() && store.blob(&gone).await.is_none());
}

/// Clocks jump: a file from the future is doubtful too, and one from the past is verified when it is read.
#[tokio::test]
async fn after_a_sudden_end_what_was_written_last_is_verified_unasked_whatever_the_clock_says() {
    let folder = self::folder();
    let store = open(&folder, 24 * MIB);
    let [fresh, future, past] =
        [keep(&store, 1, 10_000).await, keep(&store, 2, 10_000).await, keep(&store, 3, 10_000).await]
            .map(Result::unwrap);
    // As a process that is killed leaves it: nobody says that it is the end.
    let killed = self::folder();
    for (path, _) in files(folder.path()) {
        let copy = killed.path().join(path.strip_prefix(folder.path()).unwrap());
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(path, copy).unwrap();
    }
    let contents = Contents::new(killed.path());
    let now = std::time::SystemTime::now();
    for (integrity, at) in
        [(fresh, now), (future, now + Duration::from_secs(1 << 30)), (past, std::time::UNIX_EPOCH)]
    {
        let path = contents.blob_path(&integrity);
        std::fs::write(&path, b"something else").unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
    }
    let store = open(&killed, 24 * MIB);
    eventually("two are found", || store.totals().corrupt.load(Ordering::Relaxed) == 2).await;
    assert!(store.blob(&past).await.is_none());
    assert_eq!(store.totals().corrupt.load(Ordering::Relaxed), 3);
}
