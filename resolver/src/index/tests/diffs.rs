//! Differences and lists, page by page.

use super::*;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// All pages together.
fn all(blocks: &dyn Blocks, old: Option<&Cid>, new: &Cid, most: usize) -> Vec<Difference> {
    let (mut all, mut from) = (Vec::new(), Cursor::default());
    loop {
        let page = crate::index::diff(blocks, old, new, from, most).unwrap();
        assert!(page.differences.len() <= most);
        all.extend(page.differences);
        match page.next {
            None => return all,
            Some(next) => assert!(next > core::mem::replace(&mut from, next), "each page gets further"),
        }
    }
}

/// Whether a name's hash, or that of its scope, is among these.
fn among(wanted: &BTreeSet<u64>) -> impl Fn(core::ops::RangeInclusive<u64>) -> bool + '_ {
    |range| wanted.range(range).next().is_some()
}

fn folders(model: &Model) -> BTreeMap<Folder, BTreeMap<String, Link>> {
    let mut folders: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (path, link) in model {
        folders.entry(path.folder().clone()).or_default().insert(path.file().into(), *link);
    }
    folders
}

fn both(old: &Store, new: &Store) -> Store {
    let mut both = old.clone();
    both.nodes.extend(new.nodes.clone());
    both
}

/// Blocks, and which were asked for.
struct Watched<'a>(&'a Store, RefCell<Vec<Cid>>);

impl Blocks for Watched<'_> {
    fn block(&self, cid: &Cid) -> Option<Cow<'_, [u8]>> {
        self.1.borrow_mut().push(*cid);
        self.0.block(cid)
    }
}

fn numbered(count: u64) -> Model {
    let path = |nth| if nth % 3 == 0 { format!("@s{}/n{nth}", nth % 7) } else { format!("n{nth}") };
    (0..count).map(|nth| (Path::metadata(package(&path(nth))), content(nth))).collect()
}

#[test]
fn only_what_differs_is_read() {
    let mut store = Store::of(&numbered(5_000));
    let old = store.clone();
    let mut changes = Changes::default();
    changes.put(Path::metadata(package("n77")), content(1));
    changes.put(Path::metadata(package("@s3/n3")), content(1));
    store.apply(&changes);
    let blocks = both(&old, &store);
    let watched = Watched(&blocks, RefCell::default());
    let found = all(&watched, Some(&old.root()), &store.root(), 10);
    assert_eq!(found.len(), 2);
    let read = watched.1.borrow().len();
    assert!(read <= 2 * (1 + 3 + 4), "{read} of {} blocks", blocks.nodes.len());
}

#[test]
fn the_blocks_that_are_missing_are_asked_for_many_at_once() {
    let old = Store::of(&numbered(5_000));
    let mut new = old.clone();
    let mut changes = Changes::default();
    for nth in 1..1_000 {
        changes.put(Path::metadata(package(&format!("n{}", nth * 3 + 1))), content(nth));
    }
    new.apply(&changes);
    let mut held = old.clone();
    let mut rounds = 0;
    loop {
        match crate::index::diff(&held, Some(&old.root()), &new.root(), Cursor::default(), 2_000) {
            Ok(page) => break assert_eq!((page.differences.len(), page.next), (999, None)),
            Err(TreeError::Missing(cids)) => {
                cids.iter().for_each(|cid| drop(held.nodes.insert(*cid, new.nodes[cid].clone())));
                rounds += 1;
                assert!(rounds <= 8, "one for each level");
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_list_has_each_package_once_and_pages_meet_without_a_gap() {
    let model = numbered(3_000);
    let store = Store::of(&model);
    let names: BTreeSet<_> = folders(&model).into_keys().collect();
    for most in [1, 7, 1_000, 5_000] {
        let listed = all(&store, None, &store.root(), most);
        assert_eq!(listed.len(), names.len(), "{most} at once");
        assert_eq!(listed.into_iter().map(|difference| difference.folder).collect::<BTreeSet<_>>(), names);
    }
    let page = list(&store, &store.root(), Cursor::default(), 0).unwrap();
    assert_eq!(page.differences.len(), 1, "a page has one at least");
}

#[test]
fn what_is_in_a_package_is_listed_in_pages() {
    for count in [5, 5_000u64] {
        let tarball = |nth| {
            let file = FileName::parse(&format!("a-1.0.{nth}.tgz")).unwrap();
            (Path::tarball(package("a"), &file), content(nth))
        };
        let model: Model = (0..count).map(tarball).collect();
        let store = Store::of(&model);
        let directory = resolve(&store, &store.root(), ["a"]).unwrap().target.unwrap();
        let (mut listed, mut from) = (BTreeMap::new(), 0);
        loop {
            let (page, next) = entries(&store, &directory, from, 3.max(listed.len())).unwrap();
            listed.extend(page.into_iter().map(|entry| (entry.name, entry.link)));
            match next {
                Some(next) => assert!(next > core::mem::replace(&mut from, next)),
                None => break,
            }
        }
        assert_eq!(listed, folders(&model).into_values().next().unwrap());
    }
}

#[test]
fn who_wants_to_know_of_few_packages_reads_little_however_many_differ() {
    let (old, new) = (Store::of(&numbered(5_000)), {
        let other =
            numbered(5_000).into_iter().map(|(path, link)| (path, Link { size: link.size + 1, ..link }));
        Store::of(&other.map(|(path, link)| (path, Link { cid: content(link.size).cid, ..link })).collect())
    });
    let blocks = both(&old, &new);
    let watched = Watched(&blocks, RefCell::default());
    let wanted = BTreeSet::from([place_of("n77"), place_of("@s3")]);
    let (old, new, wanted) = (old.root(), new.root(), among(&wanted));
    let (mut found, mut from) = (Vec::new(), Some(Cursor::default()));
    while let Some(cursor) = from {
        let page = diff_among(&watched, Some(&old), &new, cursor, 1000, &wanted).unwrap();
        found.extend(page.differences);
        from = page.next;
    }
    let is_wanted = |folder: &Folder| matches!(folder.segments().next(), Some("n77" | "@s3"));
    assert!(found.len() > 200 && found.iter().all(|difference| is_wanted(&difference.folder)));
    let read = watched.1.borrow().len();
    assert!(read < 600, "{read} of {} blocks", blocks.nodes.len());
}

proptest! {
    #[test]
    fn what_differs_among_some_is_what_differs_of_them(
        old in model(),
        new in model(),
        most in 1usize..5,
        some: u8,
    ) {
        let (old, new) = (Store::of(&old), Store::of(&new));
        let blocks = both(&old, &new);
        let first = |folder: &Folder| place_of(folder.segments().next().unwrap());
        let is_some = |hash: u64| hash.count_ones() % 4 == u32::from(some % 4);
        let every = all(&blocks, Some(&old.root()), &new.root(), most);
        let wanted = every.iter().map(|one| first(&one.folder)).filter(|hash| is_some(*hash)).collect();
        let (mut found, mut from) = (Vec::new(), Some(Cursor::default()));
        while let Some(cursor) = from {
            let page =
                diff_among(&blocks, Some(&old.root()), &new.root(), cursor, most, &among(&wanted)).unwrap();
            found.extend(page.differences);
            from = page.next;
        }
        let expected: Vec<_> = every.into_iter().filter(|one| is_some(first(&one.folder))).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn diff_applied_is_identity(old in model(), new in model(), most in 1usize..5) {
        let (mut store, target) = (Store::of(&old), Store::of(&new));
        let blocks = both(&store, &target);
        let found = all(&blocks, Some(&store.root()), &target.root(), most);
        let (before, after) = (folders(&old), folders(&new));
        let differ = before.keys().chain(after.keys()).filter(|name| before.get(name) != after.get(name));
        let differ: BTreeSet<_> = differ.cloned().collect();
        prop_assert_eq!(found.iter().map(|d| d.folder.clone()).collect::<BTreeSet<_>>(), differ);
        let mut changes = Changes::default();
        for difference in found {
            prop_assert_eq!(difference.old.is_some(), before.contains_key(&difference.folder));
            changes.remove_all(difference.folder.clone());
            let Some(directory) = difference.new else { continue };
            for entry in entries(&blocks, &directory.cid, 0, 100).unwrap().0 {
                let path = new.keys().find(|path| {
                    *path.folder() == difference.folder && path.file() == entry.name
                });
                changes.put(path.unwrap().clone(), entry.link);
            }
        }
        store.apply(&changes);
        prop_assert_eq!(store, target);
    }
}
