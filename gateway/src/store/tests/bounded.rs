//! What is kept has a limit, and what is used stays.

use super::*;

#[tokio::test]
async fn what_is_kept_never_takes_more_than_the_limit() {
    let (folder, limit) = (folder(), 24 * MIB);
    let store = open(&folder, limit);
    for nth in 0..400 {
        keep(&store, nth, 128 * 1024).await.unwrap();
        keep_packument(&store, nth, 20_000).await.unwrap();
        assert!(taken(&store) <= limit, "{} after {nth}", taken(&store));
    }
    assert_eq!(on_the_disk(folder.path()), taken_by_files(&store));
    assert!(taken(&store) > limit / 100 * 90, "it is used: {}", taken(&store));
    assert!(store.totals().evicted.load(Ordering::Relaxed) > 200);
    assert!(!store.is_full());
}

#[tokio::test]
async fn what_others_keep_beside_the_state_counts_too() {
    let (folder, limit) = (folder(), 24 * MIB);
    let store = open(&folder, limit);
    std::fs::write(folder.path().join(INDEX), vec![1; 8 << 20]).unwrap();
    for nth in 0..400 {
        keep(&store, nth, 128 * 1024).await.unwrap();
        assert!(taken_by_files(&store) + 8 * MIB <= limit, "{} after {nth}", taken_by_files(&store));
    }
    assert!(taken_by_files(&store) > 12 * MIB, "what is left is used: {}", taken_by_files(&store));
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
    let blob = store.keep_blob(draft, &integrity, None).await.unwrap();
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
    let is_there = |integrity| Contents::new(folder.path(), Arc::new(Memory::new(0))).has_blob(integrity);
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
async fn a_set_is_replaced_as_a_whole_or_stays_what_it_was() {
    let folder = folder();
    let store = open(&folder, 24 * MIB);
    let mut all = Vec::new();
    for nth in 0..11 {
        all.push(keep(&store, nth, LARGE).await.unwrap());
    }
    let sets = || store.pins().into_iter().map(|set| (set.name, set.items)).collect::<Vec<_>>();
    let pinned = || store.totals().pinned_bytes.load(Ordering::Relaxed) / LARGE as u64;
    store.pin("other", &all[..1], &[]).await.unwrap();
    store.pin("ours", &all[..9], &[name(1)]).await.unwrap();
    let refused = store.pin("ours", &all[2..], &[]).await.unwrap_err();
    assert!(matches!(refused, PinError::TooMuch { .. }), "22 of 21.6 MiB: {refused}");

    for time in ["once", "the same once more"] {
        store.replace_pins("ours", &all[2..], &[], &[]).await.unwrap();
        let expected = [("other".to_owned(), 1), ("ours".to_owned(), 9)];
        assert_eq!((sets(), pinned()), (expected.to_vec(), 10), "{time}");
    }

    let before = sets();
    let refused = store.replace_pins("ours", &all[1..], &[name(2)], &[]).await.unwrap_err();
    assert!(matches!(refused, PinError::TooMuch { .. }), "{refused}");
    assert_eq!((sets(), pinned()), (before, 10));
}

#[tokio::test]
async fn what_came_when_there_was_no_room_for_its_pin_is_pinned_when_there_is() {
    let folder = folder();
    let store = open(&folder, 24 * MIB);
    let mut first = Vec::new();
    for nth in 0..10 {
        first.push(keep(&store, nth, LARGE).await.unwrap());
    }
    let later = Integrity::of(&bytes(10, LARGE));
    store.pin("first", &first, &[]).await.unwrap();
    store.pin("later", &[later], &[]).await.unwrap();
    keep(&store, 10, LARGE).await.unwrap();
    assert_eq!(store.totals().pinned.load(Ordering::Relaxed), 10, "22 of 21.6 MiB");
    assert!(matches!(store.pin("later", &[later], &[]).await, Err(PinError::TooMuch { .. })));
    store.unpin("first").await.unwrap();
    store.pin("later", &[later], &[]).await.unwrap();
    assert_eq!(store.totals().pinned.load(Ordering::Relaxed), 1);
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
async fn variants_are_accounted_for_and_a_confirmation_forgets_none() {
    let folder = folder();
    let store = settled(&folder, 24 * MIB).await;
    let revision = keep_packument(&store, 1, 10_000).await.unwrap();
    let record = store.packument(&name(1)).unwrap();
    store.account_packument(&name(1), &revision, 8192).await.unwrap();
    store.account_packument(&name(1), &Revision::of(b"another"), 8192).await.unwrap();
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
