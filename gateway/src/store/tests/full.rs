//! A disk without room: nothing fails, nothing is lost, and it is over when there is room again.

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::*;

/// A file system of its own, in memory.
struct Small(TempDir);

impl Small {
    /// `None` where this process may not mount.
    fn new(bytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        let mounted =
            mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some(size.as_str()));
        match mounted {
            Ok(()) => Some(Self(folder)),
            Err(error) => {
                tracing::warn!(%error, "left out: no file system can be mounted here");
                None
            }
        }
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// Others take what is free, but for so many bytes.
    fn fill(&self, but: u64) {
        let free = space::Space::new(self.0.path()).free().unwrap();
        std::fs::write(
            self.0.path().join("others"),
            vec![1; usize::try_from(free.saturating_sub(but)).unwrap()],
        )
        .unwrap();
    }

    fn clear(&self) {
        std::fs::remove_file(self.0.path().join("others")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // At worst it is left in a temporary folder.
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

fn held(store: &Store) -> u64 {
    store.totals().blobs.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_disk_that_others_fill_costs_what_is_held_and_never_an_error_of_another_kind() {
    let Some(small) = Small::new(64 * MIB) else { return };
    let store = Store::open(&small.data(), &Config::of(40 * MIB)).unwrap();
    for nth in 0..100 {
        keep(&store, nth, 128 * 1024).await.unwrap();
    }
    small.fill(0);
    let mut refused = 0;
    for nth in 100..400 {
        match keep(&store, nth, 128 * 1024).await {
            Ok(integrity) => assert!(store.blob(&integrity).await.is_some()),
            Err(StoreError::Full) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        // What is held is served all the while.
        keep_packument(&store, 1, 4000).await.ok();
    }
    assert!(refused < 300, "room is made by evicting");
    small.clear();
    let since = Instant::now();
    while keep(&store, 1000, 128 * 1024).await.is_err() {
        assert!(since.elapsed() < LIMIT, "it does not recover");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!store.is_full());
    assert_eq!(on_the_disk(&small.data()), taken_by_files(&store));
}

#[tokio::test]
async fn a_full_disk_with_nothing_to_evict_passes_through_and_serves_what_it_holds() {
    let Some(small) = Small::new(32 * MIB) else { return };
    let store = Store::open(&small.data(), &Config::of(24 * MIB)).unwrap();
    let mut pinned = Vec::new();
    for nth in 0..20 {
        pinned.push(keep(&store, nth, 128 * 1024).await.unwrap());
        keep_packument(&store, nth, 4000).await.unwrap();
    }
    let names: Vec<_> = (0..20).map(name).collect();
    store.pin("all", &pinned, &names).await.unwrap();
    small.fill(0);
    eventually("it is full", || store.is_full()).await;
    for nth in 100..120 {
        assert!(matches!(keep(&store, nth, 128 * 1024).await, Err(StoreError::Full)));
        assert!(matches!(keep_packument(&store, nth, 4000).await, Err(StoreError::Full)));
        assert!(store.blob(&pinned[0]).await.is_some() && store.packument(&names[0]).is_some());
    }
    small.clear();
    eventually("there is room again", || !store.is_full()).await;
    keep(&store, 100, 128 * 1024).await.unwrap();
    assert_eq!(held(&store), 21);
}

/// The state's own file wants to grow, and cannot.
#[tokio::test]
async fn a_state_that_cannot_grow_refuses_goes_on_being_read_and_recovers() {
    let Some(small) = Small::new(32 * MIB) else { return };
    let store = Store::open(&small.data(), &Config::of(24 * MIB)).unwrap();
    keep_packument(&store, 0, 4000).await.unwrap();
    store.pin("all", &[], &[name(0)]).await.unwrap();
    small.fill(256 * 1024);
    let body = "x".repeat(64 * 1024);
    let evidence = |nth: u32| {
        (
            format!("-/npm/v1/attestations/left@{nth}"),
            Evidence { status: 200, content_type: None, body: body.clone(), checked_ms: 1 },
        )
    };
    let mut refused = 0;
    for nth in 0..60 {
        let (path, evidence) = evidence(nth);
        match store.keep_evidence(&path, evidence).await {
            Ok(()) => {}
            Err(StoreError::Full) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        assert!(store.packument(&name(0)).is_some(), "after {nth}");
    }
    assert!(refused > 0);
    small.clear();
    let since = Instant::now();
    let (path, evidence) = evidence(100);
    while store.keep_evidence(&path, evidence.clone()).await.is_err() {
        assert!(since.elapsed() < LIMIT, "it does not recover");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(store.evidence(&path), Some(evidence));
}

#[tokio::test]
async fn a_start_on_a_full_disk_serves_what_is_held() {
    let Some(small) = Small::new(32 * MIB) else { return };
    let store = Store::open(&small.data(), &Config::of(24 * MIB)).unwrap();
    let integrity = keep(&store, 1, 128 * 1024).await.unwrap();
    keep_packument(&store, 1, 4000).await.unwrap();
    store.pin("all", &[integrity], &[name(1)]).await.unwrap();
    store.close().await;
    drop(store);
    small.fill(0);
    let store = Store::open(&small.data(), &Config::of(24 * MIB)).unwrap();
    assert!(store.blob(&integrity).await.is_some() && store.packument(&name(1)).is_some());
    assert!(matches!(keep(&store, 2, 128 * 1024).await, Err(StoreError::Full)));
}
