//! Whoever keeps an index of what is held is told of every package of which something changes, and loses nothing by a crash.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use redb::ReadableTable as _;

use super::*;

/// Everything that is marked, in pages of two.
fn marked(news: &News) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    loop {
        let more = news.behind(marks.last(), 2).unwrap();
        if more.is_empty() {
            return marks;
        }
        marks.extend(more);
    }
}

fn packages(marks: &[Mark]) -> Vec<Subject> {
    marks.iter().map(|mark| mark.subject().unwrap()).collect()
}

fn named(numbers: &[u32]) -> Vec<Subject> {
    numbers.iter().map(|nth| Subject::Package(name(*nth))).collect()
}

async fn look_at_all(news: &News) {
    news.seen(marked(news)).await.unwrap();
    assert_eq!(marked(news), []);
}

async fn fetch(store: &Store, nth: u32, for_name: u32) -> Integrity {
    let bytes = bytes(nth, 5000);
    let integrity = Integrity::of(&bytes);
    let mut draft = store.draft();
    draft.write(&bytes).await.unwrap();
    store.keep_blob(draft, &integrity, Some(&name(for_name))).await.unwrap();
    integrity
}

#[tokio::test]
async fn whatever_comes_or_goes_is_marked_until_it_has_been_looked_at() {
    let folder = folder();
    let store = settled(&folder, 24 * MIB).await;
    let news = store.news();
    assert_eq!(marked(&news), []);

    let revision = keep_packument(&store, 1, 1000).await.unwrap();
    news.wait().await;
    assert_eq!(packages(&marked(&news)), named(&[1]));
    look_at_all(&news).await;
    let record = store.packument(&name(1)).unwrap();
    store.confirm_packument(&name(1), PackumentRecord { checked_ms: 2, ..record }).await.unwrap();
    store.account_packument(&name(1), &revision, 4096).await.unwrap();
    assert_eq!(marked(&news), [], "the same bytes, confirmed, are no news");

    let integrity = fetch(&store, 7, 2).await;
    assert_eq!(packages(&marked(&news)), named(&[2]), "whoever it was fetched for");
    look_at_all(&news).await;
    store.keep_tarball(&name(3), &file(3), &integrity, Some(&revision)).await.unwrap();
    assert_eq!(packages(&marked(&news)), named(&[3]));
    look_at_all(&news).await;

    store.drop_blob(&integrity).await;
    assert!(store.blob(&integrity).await.is_none());
    assert_eq!(packages(&marked(&news)), named(&[3]), "it was missed, and has gone");
    look_at_all(&news).await;
    let nameless = keep(&store, 8, 5000).await.unwrap();
    store.drop_blob(&nameless).await;
    assert!(store.blob(&nameless).await.is_none());
    assert_eq!(packages(&marked(&news)), [Subject::Tarball(nameless)]);
    look_at_all(&news).await;

    store.remove_packument(&name(1)).await.unwrap();
    assert_eq!(packages(&marked(&news)), named(&[1]));
}

#[tokio::test]
async fn what_is_evicted_is_marked() {
    let folder = folder();
    let store = settled(&folder, 8 * MIB).await;
    let revision = keep_packument(&store, 0, 1000).await.unwrap();
    let evicted = fetch(&store, 0, 0).await;
    store.keep_tarball(&name(0), &file(0), &evicted, Some(&revision)).await.unwrap();
    let news = store.news();
    look_at_all(&news).await;
    for nth in 1..200 {
        keep(&store, nth, 128 * 1024).await.unwrap();
    }
    assert_eq!(store.lengths(&[evicted]), Some(vec![None]));
    assert!(packages(&marked(&news)).contains(&Subject::Package(name(0))));
}

#[tokio::test]
async fn what_changes_while_it_is_looked_at_stays_marked() {
    let folder = folder();
    let store = settled(&folder, 24 * MIB).await;
    let news = store.news();
    keep_packument(&store, 1, 1000).await.unwrap();
    keep_packument(&store, 2, 1000).await.unwrap();
    let looked_at = marked(&news);
    keep_packument(&store, 1, 2000).await.unwrap();
    news.seen(looked_at).await.unwrap();
    assert_eq!(packages(&marked(&news)), named(&[1]));
}

/// As a kill leaves it: what was committed, and nothing that an orderly end would have done.
fn as_a_kill_leaves_it(folder: &TempDir) -> TempDir {
    let copy = self::folder();
    for (path, _) in files(folder.path()) {
        let to = copy.path().join(path.strip_prefix(folder.path()).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(path, to).unwrap();
    }
    copy
}

#[tokio::test]
async fn marks_outlive_a_kill() {
    let folder = folder();
    let store = settled(&folder, 24 * MIB).await;
    let since = store.news().since();
    for nth in 0..5 {
        keep_packument(&store, nth, 1000).await.unwrap();
    }
    store.news().seen(marked(&store.news())[..2].to_vec()).await.unwrap();
    let copy = as_a_kill_leaves_it(&folder);
    let killed = settled(&copy, 24 * MIB).await;
    assert_eq!(packages(&marked(&killed.news())), named(&[2, 3, 4]));
    assert_eq!(killed.news().since(), since);
}

#[tokio::test]
async fn a_directory_of_a_program_without_news_opens_as_it_is_and_says_that_it_is_another_one() {
    let folder = folder();
    let store = settled(&folder, 24 * MIB).await;
    keep_packument(&store, 1, 1000).await.unwrap();
    let since = store.news().since();
    store.close().await;
    drop(store);
    let path = folder.path().join("state.redb");
    eventually("the store's threads let go of it", || redb::Database::open(&path).is_ok()).await;
    let database = redb::Database::open(&path).unwrap();
    let write = database.begin_write().unwrap();
    assert!(write.delete_table(tables::NEWS).unwrap());
    {
        let mut meta = write.open_table(tables::META).unwrap();
        let totals: serde_json::Value =
            serde_json::from_slice(meta.get("totals").unwrap().unwrap().value()).unwrap();
        let mut totals = totals.as_object().unwrap().clone();
        assert!(totals.remove("news").is_some() && totals.remove("news_since").is_some());
        meta.insert("totals", serde_json::to_vec(&totals).unwrap().as_slice()).unwrap();
    }
    write.commit().unwrap();
    drop(database);

    let store = settled(&folder, 24 * MIB).await;
    assert!(store.packument(&name(1)).is_some());
    assert_eq!(marked(&store.news()), []);
    assert_ne!(store.news().since(), since);
    store.news().renew_all().await.unwrap();
    assert_eq!(packages(&marked(&store.news())), named(&[1]));
}

#[tokio::test]
async fn all_names_are_marked_page_by_page_when_somebody_begins_with_nothing() {
    let folder = folder();
    let store = settled(&folder, 64 * MIB).await;
    let integrity = Integrity::of(b"tarball");
    for nth in 0..700 {
        store.keep_tarball(&name(nth), &file(nth), &integrity, None).await.unwrap();
        store.keep_tarball(&name(nth), &file(nth + 1), &integrity, None).await.unwrap();
    }
    // A name that begins with another one, and one that is known by its packument alone.
    let longer = PackageName::parse("left-1-0").unwrap();
    store.keep_tarball(&longer, &file(1), &integrity, None).await.unwrap();
    keep_packument(&store, 10_000, 1000).await.unwrap();
    let news = store.news();
    look_at_all(&news).await;

    news.renew_all().await.unwrap();
    let all: BTreeSet<_> =
        packages(&marked(&news)).into_iter().map(|subject| format!("{subject:?}")).collect();
    let expected = (0..700).chain([10_000]).map(name).chain([longer]);
    assert_eq!(all, expected.map(|name| format!("{:?}", Subject::Package(name))).collect());
}

#[tokio::test]
async fn after_a_state_was_lost_everything_is_marked() {
    let folder = folder();
    let store = settled(&folder, 24 * MIB).await;
    for nth in 0..3 {
        keep_packument(&store, nth, 1000).await.unwrap();
    }
    let since = store.news().since();
    look_at_all(&store.news()).await;
    store.close().await;
    drop(store);
    std::fs::remove_file(folder.path().join("state.redb")).unwrap();

    let store = settled(&folder, 24 * MIB).await;
    assert_ne!(store.news().since(), since);
    eventually("all are found again", || packages(&marked(&store.news())) == named(&[0, 1, 2])).await;
}

#[tokio::test]
async fn a_state_that_cannot_be_read_says_nothing_rather_than_that_nothing_is_held() {
    let folder = folder();
    let store = settled(&folder, 24 * MIB).await;
    keep_packument(&store, 1, 1000).await.unwrap();
    let news = store.news();
    let database = store.inner.state.shared().database.swap(None);
    assert_eq!((store.package(&name(1)), store.lengths(&[])), (None, None));
    assert_eq!(news.behind(None, 1), None);
    store.inner.state.shared().database.store(database);
    assert!(store.package(&name(1)).unwrap().packument.is_some());
}

/// What somebody does to a store of a few packages.
#[derive(Debug, Clone)]
enum Step {
    Packument(u32, u16),
    NoPackument(u32),
    Tarball(u32),
    Gone(u32),
    Look(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..4u32, 100..400u16).prop_map(|(nth, length)| Step::Packument(nth, length)),
        (0..4u32).prop_map(Step::NoPackument),
        (0..4u32).prop_map(Step::Tarball),
        (0..4u32).prop_map(Step::Gone),
        (0..5u8).prop_map(Step::Look),
    ];
    proptest::collection::vec(step, 1..40)
}

async fn take(store: &Store, step: &Step) {
    match step {
        Step::Packument(nth, length) => {
            keep_packument(store, *nth, usize::from(*length)).await.unwrap();
        }
        Step::NoPackument(nth) => store.remove_packument(&name(*nth)).await.unwrap(),
        Step::Tarball(nth) => {
            let integrity = fetch(store, *nth, *nth).await;
            store.keep_tarball(&name(*nth), &file(*nth), &integrity, None).await.unwrap();
        }
        Step::Gone(nth) => {
            let integrity = Integrity::of(&bytes(*nth, 5000));
            store.drop_blob(&integrity).await;
            assert!(store.blob(&integrity).await.is_none());
        }
        Step::Look(_) => {}
    }
}

fn seen_of(store: &Store, nth: u32) -> (Option<Revision>, Option<u64>) {
    let held = store.package(&name(nth)).unwrap().packument.map(|record| record.revision);
    (held, store.lengths(&[Integrity::of(&bytes(nth, 5000))]).unwrap()[0])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Who looks at nothing but what is marked, at any moments, knows in the end what is held.
    #[test]
    fn whoever_follows_the_news_knows_what_is_held(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let folder = folder();
            let store = settled(&folder, 64 * MIB).await;
            let (news, mut known) = (store.news(), BTreeMap::new());
            for step in steps.iter().chain([&Step::Look(u8::MAX)]) {
                take(&store, step).await;
                let Step::Look(most) = step else { continue };
                let marks = news.behind(None, usize::from(*most)).unwrap();
                for nth in 0..4 {
                    let nameless = Subject::Tarball(Integrity::of(&bytes(nth, 5000)));
                    if packages(&marks).iter().any(|of| *of == nameless || *of == Subject::Package(name(nth))) {
                        known.insert(nth, seen_of(&store, nth));
                    }
                }
                news.seen(marks).await.unwrap();
            }
            for nth in 0..4 {
                assert_eq!(known.get(&nth).copied().unwrap_or_default(), seen_of(&store, nth), "{nth}");
            }
        });
    }
}

/// Not a promise but a figure: `cargo test --workspace --lib what_a_commit_costs -- --ignored --nocapture`.
#[expect(clippy::print_stdout, reason = "a figure for whoever asks")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures"]
async fn what_a_commit_costs() {
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let store = settled(&folder, 1 << 30).await;
    let record = |nth: u32| PackumentRecord {
        revision: Revision::of(&nth.to_le_bytes()),
        length: 1000,
        checked_ms: 1,
        fetched_ms: 1,
        stored: 0,
        modified_s: 1,
        etag: None,
        last_modified: None,
    };
    for nth in 0..1200 {
        let documents = &store.inner.state.shared().documents;
        let path = documents.folder(&record(nth).revision);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("document"), b"").unwrap();
    }
    let commit = |nth: u32| store.commit(Change::Packument { name: name(nth), record: record(nth) });
    let since = Instant::now();
    for nth in 0..200 {
        commit(nth).await.unwrap();
    }
    println!("one after the other: {:?} each", since.elapsed() / 200);
    let since = Instant::now();
    let commits: Vec<_> = (200..1200).map(commit).collect();
    for done in futures_util::future::join_all(commits).await {
        assert!(done.unwrap().changed);
    }
    println!("a thousand at once: {:?} for all", since.elapsed());
    drop(store);
    // In memory: what a disk takes for a flush differs by more than a row.
    let folder = self::folder();
    let mut sums = [Duration::ZERO; 2];
    for round in 0..10 {
        sums[0] += transactions(folder.path(), round, false);
        sums[1] += transactions(folder.path(), round, true);
    }
    let [without, with] = sums.map(|sum| sum / 2000);
    println!("a transaction of a packument's rows: {without:?} without its mark, {with:?} with it");
}

/// As the writer commits a packument that is there, with its mark or without.
fn transactions(folder: &Path, round: u32, with: bool) -> Duration {
    use crate::store::tables::{META, NEWS, PACKUMENTS};
    let path = folder.join(format!("{round}-{with}.redb"));
    let database = redb::Database::create(path).unwrap();
    let row = [b'x'; 300].as_slice();
    let since = Instant::now();
    for nth in 0..200 {
        let write = database::begin(&database).unwrap();
        let name = format!("left-{}", nth % 100);
        write.open_table(PACKUMENTS).unwrap().insert(name.as_str(), (1, row)).unwrap();
        write.open_table(META).unwrap().insert("totals", row).unwrap();
        if with {
            write.open_table(NEWS).unwrap().insert(name.as_str(), nth).unwrap();
        }
        write.commit().unwrap();
    }
    since.elapsed()
}
