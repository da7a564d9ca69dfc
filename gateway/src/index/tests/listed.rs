//! What stands in a root, and what does not.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_tarball_that_was_fetched_is_in_the_next_root() {
    let world = World::new();
    assert_eq!(world.settled().await, None, "nothing is held, and so nothing is published");
    let (left, one, two) = (name("@babel/left"), bytes(1, 5000), bytes(2, 5000));
    let document = document(&left, &[("1.0.0", &one), ("2.0.0", &two)], 10);
    let revision = world.keep_packument(&left, &document).await;
    let first = world.settled().await.unwrap();
    assert_eq!(world.at("@babel/left/metadata.json"), Some(address::of_raw(revision.as_bytes())));
    assert_eq!(world.at("@babel/left/left-1.0.0.tgz"), None);

    let integrity = world.keep_tarball(&left, ("1.0.0", &one), &revision).await;
    let second = world.settled().await.unwrap();
    assert_eq!(world.at("@babel/left/left-1.0.0.tgz"), Some(address::of_tarball(&integrity)));
    assert_eq!(world.at("@babel/left/left-2.0.0.tgz"), None, "it is not held");
    assert!(second.sequence > first.sequence && second.root != first.root);
    assert!(second.cumulative_size > document.len() as u64 + 5000);

    let resolved = world.index.resolve(&left, Some("1.0.0")).await.unwrap();
    let (tarball, is) = resolved.tarball.clone().unwrap();
    assert_eq!((tarball.path.as_str(), is), ("/@babel/left/left-1.0.0.tgz", integrity));
    assert_eq!(file_at(&world, tarball.cid).await, one);
    assert_eq!(file_at(&world, resolved.metadata.unwrap().cid).await, document.as_bytes());
    let install = file_at(&world, resolved.install.unwrap().cid).await;
    let install: serde_json::Value = serde_json::from_slice(&install).unwrap();
    let address = format!("{CANONICAL}/@babel/left/-/left-1.0.0.tgz");
    assert_eq!(install["versions"]["1.0.0"]["dist"]["tarball"], address);
    assert!(install.get("readme").is_none());
    assert_eq!(world.index.resolve(&left, Some("2.0.0")).await.unwrap().tarball, None);
    assert_eq!(world.index.resolve(&name("right"), None).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lockfiles_tarball_is_listed_as_soon_as_upstreams_packument_says_whose_it_is() {
    let world = World::new();
    let (left, one) = (name("left"), bytes(1, 5000));
    world.keep_blob(&left, &one).await.unwrap();
    assert_eq!(world.settled().await, None, "a client's word is nobody's");
    world.keep_packument(&left, &document(&left, &[("1.0.0", &one)], 10)).await;
    world.eventually_at("left/left-1.0.0.tgz", Some(address::of_tarball(&Integrity::of(&one)))).await;
    // And the other way round.
    let two = bytes(2, 5000);
    world.keep_packument(&left, &document(&left, &[("1.0.0", &one), ("2.0.0", &two)], 10)).await;
    world.keep_blob(&left, &two).await.unwrap();
    world.eventually_at("left/left-2.0.0.tgz", Some(address::of_tarball(&Integrity::of(&two)))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_evicted_is_not_in_the_next_root() {
    let world = World::with(8 * MIB);
    let one = bytes(1, 100_000);
    let left = world.keep("left", &[("1.0.0", &one)]).await;
    let path = "left/left-1.0.0.tgz";
    world.eventually_at(path, Some(address::of_tarball(&Integrity::of(&one)))).await;
    for nth in 100..250 {
        world.keep_blob(&left, &bytes(nth, 128 * 1024)).await.unwrap();
    }
    assert!(!world.store.holds_blob(&Integrity::of(&one)));
    world.eventually_at(path, None).await;
    assert_eq!(world.index.block(&address::of_tarball(&Integrity::of(&one))), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tarball_that_two_packages_have_goes_from_both() {
    let world = World::new();
    let one = bytes(1, 5000);
    world.keep("left", &[("1.0.0", &one)]).await;
    world.keep("right", &[("1.0.0", &one)]).await;
    let cid = Some(address::of_tarball(&Integrity::of(&one)));
    world.eventually_at("left/left-1.0.0.tgz", cid).await;
    world.eventually_at("right/right-1.0.0.tgz", cid).await;
    world.lose(&one).await;
    world.eventually_at("left/left-1.0.0.tgz", None).await;
    world.eventually_at("right/right-1.0.0.tgz", None).await;
    // And one without a name, whose row has lost it.
    assert!(world.at("left/metadata.json").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_upstream_has_removed_goes_and_an_index_of_nothing_has_no_head() {
    let world = World::new();
    let left = world.keep("left", &[]).await;
    world.settled().await.unwrap();
    world.store.remove_packument(&left).await.unwrap();
    world.eventually_at("left", None).await;
    assert_eq!(world.settled().await, None);
    world.keep("left", &[]).await;
    assert!(world.settled().await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_scope_is_never_listed_also_one_that_has_become_private() {
    let world = World::in_folder(Folder::new(), 1 << 30, &["@secret"]);
    let (one, two) = (bytes(1, 5000), bytes(2, 5000));
    world.keep("@secret/plan", &[("1.0.0", &one)]).await;
    world.keep("@open/plan", &[("1.0.0", &two)]).await;
    world.settled().await.unwrap();
    assert_eq!(world.at("@secret"), None);
    assert!(world.at("@open/plan/plan-1.0.0.tgz").is_some());
    assert_eq!(world.index.block(&address::of_tarball(&Integrity::of(&one))), None);

    let world = world.again(&["@open"], |_| {}).await;
    world.settled().await.unwrap();
    assert_eq!(world.at("@open"), None);
    assert!(world.at("@secret/plan/metadata.json").is_some(), "it is not private any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_documents_and_tarballs_are_files_of_leaves_that_stay_where_they_are() {
    let mut world = World::new();
    let (long, name) = (bytes(1, 3 * 1024 * 1024 + 17), name("long"));
    let versions: Vec<_> = (0..9000).map(|nth| format!("{nth}.0.0")).collect();
    let other = |version: &str| if version == "7.0.0" || version == "8.0.0" { &long[..] } else { b"other" };
    let versions: Vec<Version<'_>> =
        versions.iter().map(|version| (version.as_str(), other(version))).collect();
    let document = document(&name, &versions, 2_000_000);
    let revision = world.keep_packument(&name, &document).await;
    let integrity = world.keep_tarball(&name, ("7.0.0", &long), &revision).await;
    world.settled().await.unwrap();

    let resolved = world.index.resolve(&name, Some("7.0.0")).await.unwrap();
    let (tarball, install) = (resolved.tarball.unwrap().0, resolved.install.unwrap());
    assert!(file_at(&world, tarball.cid).await == long);
    assert!(file_at(&world, resolved.metadata.unwrap().cid).await == document.as_bytes());
    let rendered = file_at(&world, install.cid).await;
    assert!(rendered.len() as u64 == install.length && install.length > MIB);
    serde_json::from_slice::<serde_json::Value>(&rendered).unwrap();
    assert_eq!(world.index.block(&address::of_tarball(&integrity)), None, "no block of more than 1 MiB");

    let listed = world.index.inner.listed(&resolver::index::Folder::Package(name.clone())).unwrap();
    let leaves: Vec<Cid> = listed.values().flat_map(|row| row.blocks.clone()).collect();
    assert!(leaves.len() > 8);
    assert!(listed.contains_key("long-8.0.0.tgz"), "two versions with the same bytes");
    world.lose(&long).await;
    world.store.remove_packument(&name).await.unwrap();
    world.eventually_at("long", None).await;
    world.settled().await;
    assert!(leaves.iter().all(|leaf| world.index.block(leaf).is_none()), "no row is left behind");
    assert_eq!(world.root_from_nothing(&[]).await, None);
}
