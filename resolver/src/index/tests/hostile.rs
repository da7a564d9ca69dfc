//! Trees that no gateway has written: everything ends, within limits, and says why.

use super::*;
use crate::index::dag_pb::{PbLink, PbNode};
use crate::index::unixfs::{Places, UnixFs};
use std::cell::Cell;
use std::vec;

/// Gives the same bytes for whatever it is asked: a tree without an end. It counts.
struct Mirror(Vec<u8>, Cell<usize>);

impl Blocks for Mirror {
    fn block(&self, _: &Cid) -> Option<Cow<'_, [u8]>> {
        self.1.set(self.1.get() + 1);
        Some(Cow::Borrowed(&self.0))
    }
}

fn shard(links: &[(u8, &str)]) -> Vec<u8> {
    let mut places = Places::default();
    links.iter().for_each(|(place, _)| places.take(*place));
    let names: Vec<_> = links.iter().map(|(place, name)| format!("{place:02X}{name}")).collect();
    let link = Link { cid: address::of_node(b"x"), size: 1 };
    let links = names.iter().map(|name| PbLink { name, link }).collect();
    PbNode { links, data: &UnixFs::Shard(places).to_bytes() }.to_bytes()
}

/// Asks everything that can be asked of a tree.
fn ask(blocks: &dyn Blocks, root: &Cid, other: &Cid) {
    let path = Path::metadata(package("@babel/core"));
    let _ = resolve(blocks, root, path.segments());
    let _ = prove(blocks, root, path.segments());
    let _ = read_file(blocks, root, 100);
    let _ = entries(blocks, root, 0, 10);
    for old in [None, Some(other)] {
        let mut from = Cursor::default();
        for _ in 0..4 {
            match crate::index::diff(blocks, old, root, from, 3) {
                Ok(Page { next: Some(next), .. }) => from = next,
                _ => break,
            }
        }
    }
    let mut changes = Changes::default();
    changes.put(path.clone(), content(1));
    changes.remove_all(Folder::Package(package("lodash")));
    changes.remove(Path::metadata(package("react")));
    let _ = update(blocks, Some(root), &changes);
    for reach in [Reach::Block, Reach::Entity, Reach::All] {
        let mut walk = Walk::new(*root, reach);
        for _ in 0..500 {
            if !matches!(walk.next(blocks), Ok(Some(_))) {
                break;
            }
        }
    }
}

#[test]
fn a_directory_without_an_end_ends_at_the_eighth_level() {
    let all: Vec<_> = (0..=255).map(|place| (place, "")).collect();
    let mirror = Mirror(shard(&all), Cell::default());
    let root = address::of_node(&mirror.0);
    let too_deep = Err(TreeError::Malformed(address::of_node(b"x"), Malformed::TooDeep));
    assert_eq!(resolve(&mirror, &root, ["lodash"]).map(drop), too_deep);
    assert_eq!(mirror.1.get(), 8);
    assert_eq!(list(&mirror, &root, Cursor::default(), 1).map(drop), too_deep);
    assert!(mirror.1.get() <= 16);
    let mut changes = Changes::default();
    changes.put(Path::peers(), content(1));
    assert_eq!(update(&mirror, Some(&root), &changes).map(drop), too_deep);
    ask(&mirror, &root, &address::of_node(b"x"));
    let mut walk = Walk::new(root, Reach::All);
    let mut steps = 0;
    let error = loop {
        match walk.next(&mirror) {
            Ok(Some(_)) => steps += 1,
            Ok(None) => panic!("it has no end"),
            Err(error) => break error,
        }
    };
    assert_eq!((steps, Err(error)), (7, too_deep));
}

#[test]
fn a_shard_that_leads_to_nothing_is_refused() {
    let mirror = Mirror(shard(&[]), Cell::default());
    let root = address::of_node(&mirror.0);
    assert_eq!(list(&mirror, &root, Cursor::default(), 1), Ok(Page::default()), "an empty root is one");
    let region = directory::Region::WHOLE.at(7);
    assert_eq!(directory::Shard::read(&mirror.0, region), Err(Malformed::UnixFs));
}

#[test]
fn a_name_that_stands_where_it_cannot_is_refused() {
    let place = directory::Region::WHOLE.place_of(directory::place_of("lodash"));
    let read = |block: &[u8]| node::Node::read(block).map(drop);
    assert_eq!(read(&shard(&[(place, "lodash")])), Ok(()));
    assert_eq!(read(&shard(&[(place ^ 1, "lodash")])), Err(Malformed::Name));
    let link = Link { cid: address::of_node(b"x"), size: 1 };
    let basic = |names: &[&str]| {
        let links = names.iter().map(|name| PbLink { name, link }).collect();
        PbNode { links, data: &UnixFs::Directory.to_bytes() }.to_bytes()
    };
    assert_eq!(read(&basic(&["a", "b"])), Ok(()));
    for names in [&["b", "a"][..], &["a", "a"], &["", "a"]] {
        assert_eq!(read(&basic(names)), Err(Malformed::Name), "{names:?}");
    }
    let swapped = {
        let mut places = Places::default();
        places.take(1);
        let links = vec![PbLink { name: "02", link }];
        PbNode { links, data: &UnixFs::Shard(places).to_bytes() }.to_bytes()
    };
    assert_eq!(read(&swapped), Err(Malformed::Name));
    let more = PbNode { links: vec![], data: &UnixFs::File(vec![1]).to_bytes() }.to_bytes();
    assert_eq!(read(&more), Err(Malformed::UnixFs));
}

#[test]
fn a_file_without_an_end_costs_no_more_than_its_bytes() {
    let link = Link { cid: address::of_node(b"x"), size: 1 };
    let links = vec![PbLink { name: "", link }; 2];
    let node = PbNode { links, data: &UnixFs::File(vec![5, 5]).to_bytes() }.to_bytes();
    let mirror = Mirror(node, Cell::default());
    let error = read_file(&mirror, &address::of_node(b"y"), usize::MAX);
    assert_eq!(error, Err(TreeError::Malformed(link.cid, Malformed::UnixFs)), "ten bytes are no five");
}

proptest! {
    #[test]
    fn whatever_stands_in_a_block_nothing_panics_or_goes_on_for_ever(
        model in model(),
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        octet in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut store, other) = (Store::of(&model), Store::of(&Model::new()));
        let root = store.root();
        let cid = *store.nodes.keys().nth(which.index(store.nodes.len())).unwrap();
        store.nodes.extend(other.nodes.clone());
        let valid = store.nodes[&cid].0.clone();
        store.nodes.get_mut(&cid).unwrap().0[at.index(valid.len())] = octet;
        ask(&store, &root, &other.root());
        store.nodes.get_mut(&cid).unwrap().0 = valid[..cut.index(valid.len())].to_vec();
        ask(&store, &root, &other.root());
        store.nodes.remove(&cid);
        ask(&store, &root, &other.root());
    }

    #[test]
    fn a_node_in_the_place_of_another_one_changes_nothing_of_that(
        model in model(),
        one in any::<prop::sample::Index>(),
        another in any::<prop::sample::Index>(),
    ) {
        let mut store = Store::of(&model);
        let root = store.root();
        let cids: Vec<_> = store.nodes.keys().copied().collect();
        let bytes = store.nodes[&cids[another.index(cids.len())]].clone();
        store.nodes.insert(cids[one.index(cids.len())], bytes);
        ask(&store, &root, &cids[0]);
    }

    #[test]
    fn arbitrary_bytes_for_every_node_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mirror = Mirror(bytes, Cell::default());
        ask(&mirror, &address::of_node(b"a"), &address::of_node(b"b"));
        prop_assert!(mirror.1.get() < 5_000);
    }
}
