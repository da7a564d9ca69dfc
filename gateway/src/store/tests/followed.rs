//! Whoever follows what is held knows it, whatever comes and goes meanwhile.

use resolver::inventory::{self, Change, Holdings, Prints};

use super::*;

/// What is held, as the state says.
fn held(store: &Store) -> Prints {
    let all = (0..=u8::MAX).filter_map(|first| store.inner.state.blobs_in(first)).flatten();
    all.map(|digest| inventory::print(&Integrity::from_digest(digest))).collect()
}

async fn begin(store: &Store) -> (Tarballs, Holdings) {
    let (tarballs, beginning) = (store.tarballs(), store.tarballs());
    let all = tokio::task::spawn_blocking(move || beginning.all()).await.unwrap();
    (tarballs, Holdings::of(all.unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_begins_at_any_moment_knows_what_is_held_whatever_comes_and_goes() {
    let folder = folder();
    let store = open(&folder, 8 * MIB);
    let busy = store.clone();
    let keeping = tokio::spawn(async move {
        for nth in 0..600 {
            keep(&busy, nth, 64 * 1024).await.unwrap();
            if nth % 7 == 0 {
                let lost = Integrity::of(&bytes(nth / 2, 64 * 1024));
                busy.drop_blob(&lost).await;
                assert!(busy.blob(&lost).await.is_none(), "it is missed, and its row goes");
            }
        }
    });
    eventually("something is kept", || store.totals().blobs.load(Ordering::Relaxed) > 40).await;
    let (tarballs, mut holdings) = begin(&store).await;
    let mut changes = 0;
    while !keeping.is_finished() {
        let Ok(more) = tokio::time::timeout(Duration::from_millis(10), tarballs.next()).await else {
            continue;
        };
        for change in more.unwrap() {
            holdings.apply(change);
            changes += 1;
        }
    }
    keeping.await.unwrap();
    while let Ok(more) = tokio::time::timeout(Duration::from_millis(100), tarballs.next()).await {
        more.unwrap().into_iter().for_each(|change| drop(holdings.apply(change)));
    }
    assert!(store.totals().evicted.load(Ordering::Relaxed) > 100 && changes > 200);
    assert_eq!(holdings.told(), &held(&store));
}

#[tokio::test]
async fn after_a_start_all_that_was_kept_is_told_and_after_damage_what_is_left() {
    let folder = folder();
    let store = open(&folder, 24 * MIB);
    for nth in 0..20 {
        keep(&store, nth, 5000).await.unwrap();
    }
    store.close().await;
    drop(store);
    let store = open(&folder, 24 * MIB);
    let (tarballs, holdings) = begin(&store).await;
    assert_eq!((holdings.told().len(), holdings.told()), (20, &held(&store)));

    store.inner.state.shared().suspect.store(true, Ordering::Release);
    keep(&store, 20, 5000).await.unwrap();
    // The file was opened again, and whatever it holds now is to be looked at again.
    assert_eq!(tarballs.next().await, None);
    assert_eq!(begin(&store).await.1.told(), &held(&store));
}

#[tokio::test]
async fn what_nobody_takes_is_lost_and_nobody_is_told_half_of_it() {
    let folder = folder();
    let store = open(&folder, 24 * MIB);
    keep(&store, 1, 5000).await.unwrap();
    let (tarballs, _) = begin(&store).await;
    let writing = store.clone();
    let wrote = tokio::task::spawn_blocking(move || {
        let journal = &writing.inner.state.shared().journal;
        for nth in 0..70_000 {
            journal.write(journal.hold(), vec![Change::Kept(nth)]);
        }
    });
    wrote.await.unwrap();
    assert_eq!(tarballs.next().await, None);
    assert_eq!(begin(&store).await.1.told(), &held(&store));
}
