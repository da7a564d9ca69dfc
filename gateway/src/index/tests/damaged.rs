//! An index that is lost, damaged or cannot be written, and heads that are signed again.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_lost_index_is_made_again_with_the_same_root() {
    let mut world = World::new();
    for nth in 0..20 {
        let tarball = bytes(nth, 3000);
        world.keep(&format!("@s{}/left-{nth}", nth % 3), &[("1.0.0", &tarball)]).await;
    }
    let root = world.settled().await.unwrap();
    for spoil in [
        |path: &Path| fs::remove_file(path).unwrap(),
        |path: &Path| fs::write(path, b"nobody's index ".repeat(1000)).unwrap(),
        |path: &Path| fs::File::options().write(true).open(path).unwrap().set_len(9000).unwrap(),
    ] {
        world = world.again(&[], |folder| spoil(&folder.join("index.redb"))).await;
        let again = world.settled().await.unwrap();
        assert_eq!(
            (again.root, again.blocks, again.cumulative_size),
            (root.root, root.blocks, root.cumulative_size)
        );
        assert!(again.sequence > root.sequence);
    }
    let last = world.settled().await.unwrap();
    let world = world.again(&[], |_| {}).await;
    assert_eq!(world.settled().await.unwrap(), last, "an orderly restart changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_was_lost_costs_the_index_only_what_was_lost_with_it() {
    let world = World::new();
    let tarballs: Vec<_> = (0..6).map(|nth| bytes(nth, 3000)).collect();
    for (nth, tarball) in tarballs.iter().enumerate() {
        world.keep(&format!("left-{nth}"), &[("1.0.0", tarball)]).await;
    }
    let before = world.settled().await.unwrap();
    let lost = world.store.packument(&name("left-3")).unwrap().revision.hex();
    let mut world = world
        .again(&[], |folder| {
            fs::remove_file(folder.join("state.redb")).unwrap();
            fs::remove_dir_all(folder.join("documents/sha256").join(&lost[..2]).join(&lost[2..])).unwrap();
        })
        .await;
    let after = world.settled().await.unwrap();
    assert_ne!(after.root, before.root);
    assert_eq!(world.at("left-3"), None);
    assert!(
        (0..6)
            .filter(|nth| *nth != 3)
            .all(|nth| world.at(&format!("left-{nth}/left-{nth}-1.0.0.tgz")).is_some())
    );
    assert_eq!(world.root_from_nothing(&[]).await, Some(*after.root.cid()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_is_signed_again_with_a_later_sequence_and_the_same_root() {
    let mut world = World::new();
    world.keep("left", &[]).await;
    let first = world.settled().await.unwrap();
    let id = world.identity.id();
    let signed = resolver::head::Signed::read(&first.record, id).unwrap();
    signed.check(|_, message, signature| crate::identity::is_signed_by(id, message, signature)).unwrap();
    world.end_index().await;
    let inner = Arc::clone(&world.index.inner);
    inner.database.open().unwrap();
    inner.commit(&commit::Batch { is_due: true, ..commit::Batch::default() }).unwrap();
    let second = inner.committed().unwrap().unwrap();
    assert_eq!((second.root, second.blocks), (first.root, first.blocks));
    assert!(second.sequence > first.sequence && second.until > first.until);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_cannot_be_written_stops_nothing_and_is_made_when_it_can() {
    let folder = Folder::new();
    let obstacle = folder.path().join("index.redb");
    let store = Store::open(folder.path(), &Config::of(1 << 30)).unwrap();
    drop(store);
    fs::create_dir(&obstacle).unwrap();
    let world = World::in_folder(folder, 1 << 30, &[]);
    let one = bytes(1, 5000);
    let left = world.keep("left", &[("1.0.0", &one)]).await;
    assert!(world.store.packument(&left).is_some() && world.store.holds_blob(&Integrity::of(&one)));
    assert!(world.index.head().borrow().is_none() && world.index.nodes().is_none());
    assert_eq!(world.index.bytes(&address::of_tarball(&Integrity::of(&one))).await, None);
    fs::remove_dir(&obstacle).unwrap();
    assert!(world.settled().await.is_some());
    assert!(world.at("left/left-1.0.0.tgz").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_fails_while_it_is_kept_is_opened_again_and_one_that_is_damaged_made_again() {
    let world = World::new();
    world.keep("left", &[]).await;
    world.settled().await.unwrap();
    world.index.inner.database.fail(&database::Trouble::Io("the disk".into())).unwrap();
    world.keep("right", &[]).await;
    world.settled().await.unwrap();
    assert!(world.at("left").is_some() && world.at("right").is_some());
    world.index.inner.database.fail(&database::Trouble::Damaged("a test".into())).unwrap();
    world.keep("middle", &[]).await;
    world.eventually_at("middle/metadata.json", world_raw(&world, "middle")).await;
    world.settled().await.unwrap();
    assert!(world.at("left").is_some() && world.at("right").is_some());
}

fn world_raw(world: &World, package: &str) -> Option<Cid> {
    Some(address::of_raw(world.store.packument(&name(package))?.revision.as_bytes()))
}
