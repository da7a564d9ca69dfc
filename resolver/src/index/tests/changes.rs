//! Changes: the root is a function of the content, and nothing is left behind.

use super::*;
use std::vec;

/// Every node that is reached from the root, with the number of its places.
fn reached(store: &Store) -> BTreeMap<Cid, u64> {
    let mut walk = Walk::new(store.root(), Reach::All);
    let mut reached = BTreeMap::new();
    while let Some(met) = walk.next(store).unwrap() {
        if let Met::Node(cid) = met {
            *reached.entry(cid).or_default() += 1;
        }
    }
    reached
}

fn many_tarballs(count: u64) -> Model {
    let tarball = |nth| {
        let file = FileName::parse(&format!("big-1.0.{nth}.tgz")).unwrap();
        (Path::tarball(package("big"), &file), content(nth))
    };
    (0..count).map(tarball).collect()
}

fn folder_of(store: &Store, name: &str) -> directory_kind::Kind {
    let found = resolve(store, &store.root(), [name]).unwrap().target.unwrap();
    directory_kind::of(&store.block(&found).unwrap())
}

mod directory_kind {
    use crate::index::node::Node;

    #[derive(Debug, PartialEq)]
    pub(super) enum Kind {
        Basic,
        Sharded,
    }

    pub(super) fn of(block: &[u8]) -> Kind {
        match Node::read(block).unwrap() {
            Node::Basic(_) => Kind::Basic,
            Node::Sharded(_) => Kind::Sharded,
            Node::File(_) => panic!("a file"),
        }
    }
}

#[test]
fn an_index_without_anything_is_an_empty_root() {
    let mut store = Store::of(&Model::new());
    let empty = store.clone();
    assert_eq!(store.nodes.len(), 1);
    let mut changes = Changes::default();
    changes.put(Path::metadata(package("@a/b")), content(1));
    changes.put(Path::peers(), content(2));
    store.apply(&changes);
    assert_eq!(store.nodes.len(), 4, "the root, the scope, the package, and what is home's own");
    let mut changes = Changes::default();
    changes.remove(Path::metadata(package("@a/b")));
    changes.remove_all(Folder::Federation);
    changes.remove_all(Folder::Package(package("nobody")));
    changes.remove(Path::state());
    store.apply(&changes);
    assert_eq!(store, empty);
}

#[test]
fn a_block_that_stands_in_two_places_stays_while_it_stands_in_one() {
    let mut store = Store::default();
    let mut changes = Changes::default();
    for scope in ["@a", "@b"] {
        for name in ["x", "y"] {
            changes.put(Path::metadata(package(&format!("{scope}/{name}"))), content(7));
        }
    }
    store.apply(&changes);
    let counts: Vec<_> = store.nodes.values().map(|(_, places)| *places).collect();
    assert!(counts.contains(&2) && counts.contains(&4), "scopes twice, packages four times: {counts:?}");
    let mut changes = Changes::default();
    changes.remove_all(Folder::Package(package("@a/x")));
    let update = store.apply(&changes);
    assert_eq!(update.files, [(content(7).cid, -1)].into());
    assert_eq!(reached(&store), store.nodes.iter().map(|(cid, (_, places))| (*cid, *places)).collect());
    assert!(resolve(&store, &store.root(), ["@b", "x", "metadata.json"]).unwrap().target.is_some());
}

#[test]
fn a_packages_directory_is_sharded_while_it_has_more_than_256_kib() {
    let length = |model: &Model| -> u64 {
        4 + model.iter().map(|(path, link)| directory::basic_length(path.file(), *link)).sum::<u64>()
    };
    let count = (4_000..).find(|count| length(&many_tarballs(*count)) > 256 * 1024).unwrap();
    let last_basic = Store::of(&many_tarballs(count - 1));
    assert_eq!(folder_of(&last_basic, "big"), directory_kind::Kind::Basic);
    let longest = last_basic.nodes.values().map(|(bytes, _)| bytes.len() as u64).max();
    assert_eq!(longest, Some(length(&many_tarballs(count - 1))), "lengths are those of blocks");
    let all = many_tarballs(count);
    assert_eq!(folder_of(&Store::of(&all), "big"), directory_kind::Kind::Sharded);
    let mut store = Store::of(&all);
    let mut changes = Changes::default();
    all.keys().skip(300).for_each(|path| changes.remove(path.clone()));
    store.apply(&changes);
    assert_eq!(folder_of(&store, "big"), directory_kind::Kind::Basic);
    let left = all.iter().take(300).map(|(path, link)| (path.clone(), *link)).collect();
    assert_eq!(store, Store::of(&left));
    store.apply(&puts(&all));
    assert_eq!(store, Store::of(&all));
    let mut changes = Changes::default();
    changes.put(Path::metadata(package("big")), content(5));
    store.apply(&changes);
    changes = Changes::default();
    changes.remove(Path::metadata(package("big")));
    store.apply(&changes);
    assert_eq!(store, Store::of(&all), "a sharded directory is changed in its place");
    changes = Changes::default();
    changes.remove_all(Folder::Package(package("big")));
    store.apply(&changes);
    assert_eq!(store, Store::of(&Model::new()));
}

#[test]
fn a_change_writes_only_what_leads_to_it() {
    let all: Model =
        (0..5_000).map(|nth| (Path::metadata(package(&format!("n{nth}"))), content(nth))).collect();
    let mut store = Store::of(&all);
    let mut changes = Changes::default();
    changes.put(Path::metadata(package("n77")), content(1));
    let update = store.apply(&changes);
    assert!(update.placed.len() <= 4, "{} blocks", update.placed.len());
    assert_eq!(update.placed.len(), update.displaced.len());
    let update = store.apply(&changes);
    assert_eq!((update.placed, update.displaced), (vec![], vec![]), "the same again changes nothing");
}

#[test]
fn without_the_blocks_on_the_way_nothing_is_changed() {
    let mut store = Store::of(&[(Path::metadata(package("@a/b")), content(1))].into());
    let root = store.root();
    let scope = resolve(&store, &root, ["@a"]).unwrap().target.unwrap();
    store.nodes.remove(&scope);
    let mut changes = Changes::default();
    changes.put(Path::metadata(package("@a/c")), content(1));
    assert_eq!(update(&store, Some(&root), &changes), Err(TreeError::Missing(vec![scope])));
}

proptest! {
    #[test]
    fn the_root_is_a_function_of_the_content_and_nothing_is_left_behind(
        batches in proptest::collection::vec(proptest::collection::vec(act(), 0..12), 0..8),
    ) {
        let (mut store, mut model) = (Store::of(&Model::new()), Model::new());
        for batch in &batches {
            let mut changes = Changes::default();
            batch.iter().for_each(|act| happen(act, &mut changes, &mut model));
            store.apply(&changes);
        }
        prop_assert_eq!(&store, &Store::of(&model));
        let counted: BTreeMap<_, _> = store.nodes.iter().map(|(cid, (_, places))| (*cid, *places)).collect();
        prop_assert_eq!(reached(&store), counted);
    }

    #[test]
    fn one_after_the_other_in_any_order_is_the_same_as_all_at_once(model in model(), seed: u64) {
        let mut order: Vec<_> = model.iter().collect();
        order.sort_by_key(|(path, _)| directory::place_of(&format!("{seed}{path}")));
        let mut store = Store::of(&Model::new());
        for (path, link) in order {
            let mut changes = Changes::default();
            changes.put(path.clone(), *link);
            store.apply(&changes);
        }
        prop_assert_eq!(store, Store::of(&model));
    }

    #[test]
    fn insert_then_remove_is_identity(model in model(), more in model()) {
        let mut store = Store::of(&model);
        let before = store.clone();
        let mut changes = Changes::default();
        let mut back = Changes::default();
        for (path, link) in &more {
            changes.put(path.clone(), *link);
            match model.get(path) {
                Some(link) => back.put(path.clone(), *link),
                None => back.remove(path.clone()),
            }
        }
        store.apply(&changes);
        store.apply(&back);
        prop_assert_eq!(store, before);
    }

    #[test]
    fn sizes_say_what_all_below_comes_to(model in model()) {
        let mut store = Store::default();
        let update = store.apply(&puts(&model));
        let nodes: u64 = store.nodes.values().map(|(bytes, places)| bytes.len() as u64 * places).sum();
        let documents: u64 = model.values().map(|link| link.size).sum();
        prop_assert_eq!(update.root.size, nodes + documents);
    }
}
