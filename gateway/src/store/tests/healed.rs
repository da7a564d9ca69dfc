//! Whatever becomes of the files and of the state: it is found, and nothing else is lost.

use super::*;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::store::documents::{DOCUMENT, Documents};
use crate::store::recovery;
use crate::store::shelf::Verified;

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
    let cursor = Cursor { feed: "a".into(), since: 7, doubted_ms: 1 };
    store.keep_cursor(cursor.clone()).await.unwrap();
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
    Config { scrub: Some(Period(Duration::from_millis(200))), ..Config::of(24 * MIB) }
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
    let (contents, documents) =
        (Contents::new(folder.path(), Arc::new(Memory::new(0))), Documents::new(folder.path()));
    std::fs::write(contents.blob_path(&spoilt), b"something else").unwrap();
    std::fs::remove_file(contents.blob_path(&gone)).unwrap();
    std::fs::write(documents.folder(&revision).join(documents::DOCUMENT), b"something else").unwrap();
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

/// A start that goes over the files for their names once took away what was being kept at that moment.
#[tokio::test]
async fn a_packument_that_is_found_while_it_is_kept_keeps_its_files() {
    let folder = folder();
    let store = open(&folder, 24 * MIB);
    let revision = keep_packument(&store, 4, 10_000).await.unwrap();
    let (state, record) = (store.inner.state.clone(), store.packument(&name(4)).unwrap());
    let found = tokio::task::spawn_blocking(move || recovery::give_row(&state, name(4), record));
    assert!(found.await.unwrap().is_some());
    assert!(store.document(&revision).is_some() && store.packument(&name(4)).is_some());
}

/// A packument with a variant in frames and a coded one, 3 MiB each.
async fn keep_variants(store: &Store) -> VariantKey {
    let revision = keep_packument(store, 4, 10_000).await.unwrap();
    let key = VariantKey { name: name(4), revision, tag: "tag".into() };
    let noise: Vec<u8> = (0..100_000u32).flat_map(|nth| Sha256::digest(nth.to_le_bytes())).collect();
    let mut writer = FramesWriter::new(store.draft()).unwrap();
    writer.write(&noise).unwrap();
    store.keep_plain(&key, writer.finish(&[]).unwrap()).await.unwrap();
    let mut draft = store.draft();
    draft.append(&noise).unwrap();
    store.keep_coded(&key, draft, Sha256::digest(&noise).into()).await.unwrap();
    key
}

/// The scrub and a request often meet at what a sudden end has spoilt.
#[tokio::test]
async fn a_damaged_tarball_is_counted_once_and_a_whole_one_in_its_place_stays() {
    let folder = folder();
    let store = open(&folder, 24 * MIB);
    for nth in 0..40 {
        let integrity = keep(&store, nth, 300_000).await.unwrap();
        let path = Contents::new(folder.path(), Arc::new(Memory::new(0))).blob_path(&integrity);
        std::fs::write(&path, b"something else").unwrap();

        let shared = || Arc::clone(&store.inner.state.shared().contents);
        let finders = [shared(), shared()].map(|contents| {
            tokio::task::spawn_blocking(move || contents.verify_blob(&integrity, &mut |_| true))
        });
        let asked = store.blob(&integrity).await;
        let mut found = store.totals().corrupt.swap(0, Ordering::Relaxed);
        for finder in finders {
            found += u64::from(finder.await.unwrap() == Some(false));
        }
        assert!(asked.is_none());
        assert_eq!(found, 1, "{nth}");

        let damaged = tempfile::tempfile().unwrap();
        keep(&store, nth, 300_000).await.unwrap();
        assert!(!known::remove_this(&path, &damaged), "it is another file");
        assert!(store.blob(&integrity).await.is_some());
    }
}

/// Who keeps the index and who asks often meet at it, too.
#[tokio::test]
async fn a_damaged_document_is_counted_once_and_a_whole_one_in_its_place_stays() {
    let folder = folder();
    let store = open(&folder, 24 * MIB);
    for nth in 0..40 {
        let revision = keep_packument(&store, nth, 300_000).await.unwrap();
        let path = Documents::new(folder.path()).folder(&revision).join(DOCUMENT);
        // Half of them are not to be opened; of the others that shows when they are read.
        let mut wrong = std::fs::read(&path).unwrap();
        let at = if nth % 2 == 0 { wrong.len() - 1 } else { 20 };
        wrong[at] ^= 1;
        std::fs::write(&path, wrong).unwrap();

        let read = |store: Store| {
            move || {
                let frames = store.document(&revision)?;
                let is_damaged = frames.verify().is_err();
                is_damaged.then(|| store.document_is_damaged(&revision, &frames));
                (!is_damaged).then_some(frames)
            }
        };
        let readers = [0; 3].map(|_| tokio::task::spawn_blocking(read(store.clone())));
        let scrub = Arc::clone(&store.inner.state.shared().documents);
        let scrub = tokio::task::spawn_blocking(move || scrub.verify(&revision, &mut |_| true));
        for reader in readers {
            assert!(reader.await.unwrap().is_none());
        }
        let scrubbed = u64::from(matches!(scrub.await.unwrap(), Verified::Corrupt(_)));
        assert_eq!(scrubbed + store.totals().corrupt.swap(0, Ordering::Relaxed), 1, "{nth}");

        let damaged = tempfile::tempfile().unwrap();
        assert_eq!(keep_packument(&store, nth, 300_000).await.unwrap(), revision);
        assert!(!Documents::new(folder.path()).remove_this(&revision, &damaged), "it is another file");
        assert!(store.document(&revision).is_some_and(|frames| frames.verify().is_ok()));
    }
}

#[tokio::test]
async fn a_damaged_variant_is_counted_once_whoever_finds_it_and_costs_nothing_but_itself() {
    for (config, finds) in [(scrubbing(), "the scrub"), (Config::of(24 * MIB), "a request")] {
        let folder = folder();
        let store = open(&folder, 24 * MIB);
        let key = keep_variants(&store).await;
        assert!(store.plain(&key).is_some() && store.coded(&key).is_some());
        store.close().await;
        drop(store);
        let held = Documents::new(folder.path()).folder(&key.revision);
        for file in ["tag", "tag.id"] {
            let mut wrong = std::fs::read(held.join(file)).unwrap();
            let middle = wrong.len() / 2;
            wrong[middle] ^= 1;
            std::fs::write(held.join(file), wrong).unwrap();
        }

        let store = Store::open(folder.path(), &config).unwrap();
        let corrupt = || store.totals().corrupt.load(Ordering::Relaxed);
        if config.scrub.is_some() {
            eventually("both are found", || corrupt() == 2).await;
        }
        assert!(store.plain(&key).is_none() && store.coded(&key).is_none(), "{finds}");
        assert_eq!(corrupt(), 2, "{finds}");
        assert!(store.document(&key.revision).is_some() && store.packument(&key.name).is_some(), "{finds}");
        assert_eq!(keep_variants(&store).await.revision, key.revision);
        assert!(store.plain(&key).is_some() && store.coded(&key).is_some(), "{finds}");
    }
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
    let contents = Contents::new(killed.path(), Arc::new(Memory::new(0)));
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_changed_in_the_state_the_store_opens_has_what_it_had_and_keeps_what_is_new(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = folder();
            let store = settled(&folder, 24 * MIB).await;
            let mut kept = Vec::new();
            for nth in 0..20 {
                kept.push((nth, keep(&store, nth, 5000).await.unwrap()));
            }
            store.close().await;
            drop(store);
            let path = folder.path().join("state.redb");
            let mut bytes = std::fs::read(&path).unwrap();
            let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
            for (at, byte) in changes {
                bytes[at.index(used)] = byte;
            }
            std::fs::write(&path, bytes).unwrap();

            let store = open(&folder, 24 * MIB);
            for (nth, integrity) in kept {
                assert!(store.blob(&integrity).await.is_some(), "{nth}");
            }
            // What is damaged is found when it is written, and made anew.
            let mut tries = 0;
            while keep(&store, 100, 5000).await.is_err() {
                tries += 1;
                assert!(tries < 100, "nothing new is kept any more");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }
}
