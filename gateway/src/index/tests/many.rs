//! Many packages at once.

use super::*;

/// Prints what it took; debug builds are some ten times as slow as others.
#[expect(clippy::print_stdout, reason = "a figure for whoever asks with --nocapture")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_packages_at_once_make_at_most_a_root_a_second() {
    const PACKAGES: usize = 1000;
    let world = Arc::new(World::new());
    let mut head = world.index.head();
    let heads = tokio::spawn(async move {
        let mut sequences = Vec::new();
        while head.changed().await.is_ok() {
            sequences.extend(head.borrow().as_ref().map(|published| published.sequence));
        }
        sequences
    });
    let since = Instant::now();
    let keeping = (0..8).map(|part| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            for nth in (part..PACKAGES).step_by(8) {
                world.keep(&format!("left-{nth}"), &[("1.0.0", &bytes(nth, 2000))]).await;
            }
        })
    });
    futures_util::future::join_all(keeping).await;
    let kept = since.elapsed();
    let published = world.settled().await.unwrap();
    let listed = since.elapsed();
    assert!((0..PACKAGES).all(|nth| world.at(&format!("left-{nth}/left-{nth}-1.0.0.tgz")).is_some()));
    let bytes = fs::metadata(world.folder.path().join("index.redb")).unwrap().len();
    let blocks = published.blocks;
    let mut world = Arc::into_inner(world).unwrap();
    world.end_index().await;
    let root = world.root_from_nothing(&[]).await;
    assert_eq!(root, Some(*published.root.cid()));
    drop(world);
    let sequences = heads.await.unwrap();
    println!(
        "kept in {kept:?}, listed after {listed:?} in {} roots: {blocks} blocks, {bytes} bytes",
        sequences.len()
    );
    assert!(sequences.windows(2).all(|two| two[1] >= two[0] + 1000), "{sequences:?}");
    assert!(sequences.len() as u64 <= listed.as_secs() + 1);
}
