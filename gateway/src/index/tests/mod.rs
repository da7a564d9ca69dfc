//! Promises of the index: it lists what is held, nothing else, and whatever becomes of its file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use resolver::index::{Cid, address, resolve};
use resolver::integrity::Integrity;
use resolver::package::{FileName, PackageName};
use resolver::packument::Outline;
use resolver::variant::Revision;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

mod damaged;
mod killed;
mod listed;
mod many;
mod own;

use super::*;
use crate::store::{Config, FramesWriter, PackumentRecord, StoreError};

const LIMIT: Duration = Duration::from_secs(120);
const MIB: u64 = 1 << 20;
const CANONICAL: &str = "https://registry.example";

/// A gateway's store, and its index while somebody keeps it.
struct World {
    folder: Folder,
    identity: Arc<Identity>,
    store: Store,
    index: Index,
    kept: Option<(CancellationToken, JoinHandle<()>)>,
}

/// Where it lies; gone with the test that has made it.
struct Folder {
    path: PathBuf,
    _gone_with_it: Option<TempDir>,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { path: folder.path().into(), _gone_with_it: Some(folder) }
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// A version and its tarball's bytes.
type Version<'a> = (&'a str, &'a [u8]);

fn name(name: &str) -> PackageName {
    PackageName::parse(name).unwrap()
}

fn file(name: &PackageName, version: &str) -> FileName {
    name.conventional_file(version).unwrap()
}

/// Bytes that differ from those of every other number.
fn bytes(nth: usize, length: usize) -> Vec<u8> {
    let mut state = nth as u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[2]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// A packument with these versions, and a readme of this length.
fn document(name: &PackageName, versions: &[Version<'_>], readme: usize) -> String {
    let version = |(version, tarball): &Version<'_>| {
        let address = format!("{CANONICAL}/{}", name.tarball_path(&file(name, version)));
        let integrity = Integrity::of(tarball);
        format!(
            r#""{version}":{{"name":"{name}","version":"{version}","dist":{{"tarball":"{address}","integrity":"{integrity}"}}}}"#
        )
    };
    let versions: Vec<_> = versions.iter().map(version).collect();
    let readme = "r".repeat(readme);
    format!(r#"{{"name":"{name}","versions":{{{}}},"readme":"{readme}"}}"#, versions.join(","))
}

impl World {
    fn new() -> Self {
        Self::with(1 << 30)
    }

    fn with(max_bytes: u64) -> Self {
        Self::in_folder(Folder::new(), max_bytes, &[])
    }

    fn in_folder(folder: Folder, max_bytes: u64, private: &[&str]) -> Self {
        let store = Store::open(folder.path(), &Config::of(max_bytes)).unwrap();
        let identity = Arc::new(Identity::open(folder.path()).unwrap());
        let index = Self::index(folder.path(), &store, &identity, private);
        let mut world = Self { folder, identity, store, index, kept: None };
        world.keep_index();
        world
    }

    fn index(dir: &Path, store: &Store, identity: &Arc<Identity>, private: &[&str]) -> Index {
        Index::new(Basis {
            dir: dir.into(),
            store: store.clone(),
            fetch: Fetch::alone(store.clone()),
            identity: Arc::clone(identity),
            canonical: CANONICAL.into(),
            private_scopes: private.iter().map(|&scope| scope.to_owned()).collect(),
        })
    }

    fn keep_index(&mut self) {
        let stop = CancellationToken::new();
        let kept = tokio::spawn(self.index.keeper().run(stop.clone()));
        self.kept = Some((stop, kept));
    }

    async fn end_index(&mut self) {
        let (stop, kept) = self.kept.take().unwrap();
        stop.cancel();
        kept.await.unwrap();
    }

    /// As a kill leaves the index: whatever was under way is not ended.
    async fn kill_index(&mut self) {
        let (_, kept) = self.kept.take().unwrap();
        kept.abort();
        let _ = kept.await;
        self.index = Self::index(self.folder.path(), &self.store, &self.identity, &[]);
    }

    /// The same directory after an orderly end.
    async fn again(mut self, private: &[&str], between: impl FnOnce(&Path)) -> Self {
        self.end_index().await;
        let Self { folder, store, index, .. } = self;
        store.close().await;
        drop((store, index));
        // Threads of the store let go of its file in a moment.
        between(folder.path());
        Self::in_folder(folder, 1 << 30, private)
    }

    async fn keep_packument(&self, name: &PackageName, document: &str) -> Revision {
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
        let mut writer = FramesWriter::new(self.store.draft()).unwrap();
        writer.write(document.as_bytes()).unwrap();
        let outline = Outline::read(name, document).unwrap();
        let draft = Store::end_document(writer, name, &outline, &record).unwrap();
        self.store.keep_packument(name, draft, record).await.unwrap();
        revision
    }

    async fn keep_tarball(&self, name: &PackageName, version: Version<'_>, of: &Revision) -> Integrity {
        let integrity = self.keep_blob(name, version.1).await.unwrap();
        let file = file(name, version.0);
        self.store.keep_tarball(name, &file, &integrity, Some(of)).await.unwrap();
        integrity
    }

    async fn keep_blob(&self, name: &PackageName, bytes: &[u8]) -> Result<Integrity, StoreError> {
        let integrity = Integrity::of(bytes);
        let mut draft = self.store.draft();
        draft.write(bytes).await?;
        self.store.keep_blob(draft, &integrity, Some(name)).await?;
        Ok(integrity)
    }

    /// A package with all its tarballs.
    async fn keep(&self, package: &str, versions: &[Version<'_>]) -> PackageName {
        let name = name(package);
        let revision = self.keep_packument(&name, &document(&name, versions, 10)).await;
        for version in versions {
            self.keep_tarball(&name, *version, &revision).await;
        }
        name
    }

    /// The tarball's file goes, and is missed.
    async fn lose(&self, bytes: &[u8]) {
        let integrity = Integrity::of(bytes);
        let hex: String = integrity.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        fs::remove_file(self.folder.path().join("blobs/sha512").join(&hex[..2]).join(&hex[2..])).unwrap();
        assert!(self.store.blob(&integrity).await.is_none());
    }

    /// When no news waits any more.
    async fn settled(&self) -> Option<Arc<Published>> {
        let news = self.store.news();
        eventually("all is listed", || {
            let state = self.index.inner.state();
            // After a restart the last keeper's work is not yet this one's.
            let made_by = keeper::made_by(&self.index.inner.basis);
            let is_done = state.is_ok_and(|state| {
                let is_listed = state.reviewed.is_none() && !state.is_beginning;
                is_listed && state.since == Some(news.since()) && state.made_by == made_by
            });
            let committed = self.index.inner.committed().ok().flatten();
            let is_done = is_done && self.index.head().borrow().as_deref() == committed.as_ref();
            news.is_settled() && is_done && news.behind(None, 1).is_some_and(|marks| marks.is_empty())
        })
        .await;
        self.index.head().borrow().clone()
    }

    /// What is at this path of the tree.
    fn at(&self, path: &str) -> Option<Cid> {
        let nodes = self.index.nodes().unwrap();
        let root = nodes.root()?;
        resolve(&nodes, &root.cid, path.split('/')).unwrap().target
    }

    async fn eventually_at(&self, path: &str, expected: Option<Cid>) {
        eventually(path, || self.index.nodes().is_some() && self.at(path) == expected).await;
    }

    /// The root of an index of this store that is made from nothing.
    async fn root_from_nothing(&mut self, private: &[&str]) -> Option<Cid> {
        if self.kept.is_some() {
            self.end_index().await;
        }
        let other = tempfile::tempdir().unwrap();
        let index = Self::index(other.path(), &self.store, &self.identity, private);
        let this = std::mem::replace(&mut self.index, index);
        self.keep_index();
        let root = self.settled().await.map(|published| *published.root.cid());
        self.end_index().await;
        self.index = this;
        root
    }
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < LIMIT, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The addresses of a published root, and what is read by them.
async fn file_at(world: &World, cid: Cid) -> Vec<u8> {
    let bytes = world.index.bytes(&cid).await.unwrap_or_else(|| panic!("{cid} is there"));
    address::check(&cid, &bytes).unwrap();
    if cid.codec() == address::RAW {
        return bytes.to_vec();
    }
    let (mut leaves, mut file) = (Vec::new(), Vec::new());
    let nodes = world.index.nodes().unwrap();
    let mut walk = resolver::index::Walk::new(cid, resolver::index::Reach::All);
    while let Some(met) = walk.next(&nodes).unwrap() {
        if let resolver::index::Met::Leaf { cid, .. } = met {
            leaves.push(cid);
        }
    }
    for leaf in leaves {
        let bytes = world.index.bytes(&leaf).await.unwrap();
        address::check(&leaf, &bytes).unwrap();
        file.extend_from_slice(&bytes);
    }
    file
}
