//! Promises of the index, and what they are kept with: a store that counts places, and a model of what is in it.

use alloc::string::String;
use alloc::vec::Vec;
use std::collections::BTreeMap;
use std::format;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::package::{FileName, PackageName};

mod changes;
mod codec;
mod diffs;
mod files;
mod hostile;
mod lookups;

/// What is in the tree.
type Model = BTreeMap<Path, Link>;

/// Nodes, with the number of places that each stands in, as a gateway keeps them.
#[derive(Debug, Clone, Default, PartialEq)]
struct Store {
    nodes: BTreeMap<Cid, (Vec<u8>, u64)>,
    files: BTreeMap<Cid, i64>,
    root: Option<Cid>,
}

impl Store {
    fn of(model: &Model) -> Self {
        let mut store = Self::default();
        store.apply(&puts(model));
        store
    }

    fn apply(&mut self, changes: &Changes) -> Update {
        let update = update(self, self.root.as_ref(), changes).unwrap();
        assert!(update.refused.is_empty());
        for (block, places) in &update.placed {
            address::check(&block.cid, &block.bytes).unwrap();
            self.nodes.entry(block.cid).or_insert_with(|| (block.bytes.clone(), 0)).1 += places;
        }
        for (cid, places) in &update.displaced {
            let left = &mut self.nodes.get_mut(cid).expect("what goes was there").1;
            *left = left.checked_sub(*places).expect("no more goes than was there");
        }
        for (cid, places) in &update.files {
            *self.files.entry(*cid).or_default() += places;
        }
        self.nodes.retain(|_, (_, places)| *places > 0);
        self.files.retain(|_, places| *places != 0);
        self.root = Some(update.root.cid);
        update
    }

    fn root(&self) -> Cid {
        self.root.unwrap()
    }
}

impl Blocks for Store {
    fn block(&self, cid: &Cid) -> Option<Cow<'_, [u8]>> {
        self.nodes.get(cid).map(|(bytes, _)| Cow::Borrowed(bytes.as_slice()))
    }
}

fn puts(model: &Model) -> Changes {
    let mut changes = Changes::default();
    model.iter().for_each(|(path, link)| changes.put(path.clone(), *link));
    changes
}

fn package(name: &str) -> PackageName {
    PackageName::parse(name).unwrap()
}

/// A document with a content that only `nth` says.
fn content(nth: u64) -> Link {
    file::document(&Sha256::digest(nth.to_be_bytes()).into(), nth % 100_000).unwrap()
}

/// Few names, of which many share the first octets of their hashes: shards of up to four levels come of them.
fn names() -> Vec<String> {
    let crowded = (0u32..).map(|nth| format!("p{nth}"));
    let crowded = crowded.filter(|name| directory::place_of(name) >> 52 == 0x7ab).take(6);
    let more =
        ["lodash", "react", "JSONStream", "-", "@babel/core", "@babel/cli", "@types/node", "@types/react"];
    let same = ["@other/core", "@other/cli"];
    crowded.chain(more.into_iter().chain(same).map(String::from)).collect()
}

fn path() -> impl Strategy<Value = Path> {
    (proptest::sample::select(names()), 0..5).prop_map(|(name, file)| {
        let name = package(&name);
        match file {
            0 | 1 => Path::metadata(name),
            2 => Path::install(name),
            3 => Path::removed(name),
            _ => Path::tarball(name, &FileName::parse("a-1.0.0.tgz").unwrap()),
        }
    })
}

fn model() -> impl Strategy<Value = Model> {
    proptest::collection::btree_map(path(), (0u64..4).prop_map(content), 0..30)
}

/// What may happen to the tree.
#[derive(Debug, Clone)]
enum Act {
    Put(Path, Link),
    Remove(Path),
    RemoveAll(Folder),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (path(), (0u64..4).prop_map(content)).prop_map(|(path, link)| Act::Put(path, link)),
        2 => path().prop_map(Act::Remove),
        1 => path().prop_map(|path| Act::RemoveAll(path.folder().clone())),
    ]
}

fn happen(act: &Act, changes: &mut Changes, model: &mut Model) {
    match act.clone() {
        Act::Put(path, link) => {
            model.insert(path.clone(), link);
            changes.put(path, link);
        }
        Act::Remove(path) => {
            model.remove(&path);
            changes.remove(path);
        }
        Act::RemoveAll(folder) => {
            model.retain(|path, _| *path.folder() != folder);
            changes.remove_all(folder);
        }
    }
}
