//! Names that share all bits of their hash.

use alloc::string::String;
use alloc::vec::Vec;
use std::vec;

use super::*;
use crate::index::BlockSet;
use crate::index::address;

fn link(of: &str) -> Link {
    Link { cid: address::of_node(of.as_bytes()), size: 1 }
}

/// Edits of names that are taken to have the same hash.
fn edits<'a>(names: &[(&'a str, Option<Link>)]) -> Vec<Edit<'a, Option<Link>>> {
    names.iter().map(|(name, what)| Edit { hash: 42, name, adds: what.is_some(), what: *what }).collect()
}

fn run(resident: Option<&str>, names: &[(&str, Option<Link>)]) -> (Option<String>, Vec<String>) {
    let none = BlockSet::default();
    let mut ledger = Ledger::new(&none);
    let resident = resident.map(|name| Entry { name: name.to_owned(), link: link(name) });
    let apply = |_: &mut Ledger<'_>, new: &Option<Link>, _: Option<Link>| Ok(*new);
    let mut editor = Editor { ledger: &mut ledger, within: "/", apply };
    let left = editor.entry(resident, &edits(names)).unwrap();
    (left.map(|entry| entry.name), ledger.refused)
}

#[test]
fn of_names_with_one_hash_the_first_stays_and_the_others_are_told() {
    let (some, none) = (Some(link("x")), None);
    assert_eq!(run(None, &[("a", some), ("b", some)]), (Some("a".into()), vec!["/b".into()]));
    assert_eq!(run(Some("b"), &[("a", some)]), (Some("b".into()), vec!["/a".into()]));
    assert_eq!(run(Some("b"), &[("a", some), ("b", none)]), (Some("a".into()), vec![]));
    assert_eq!(run(Some("b"), &[("a", none)]), (Some("b".into()), vec![]));
    assert_eq!(run(Some("b"), &[("b", none)]), (None, vec![]));
}

#[test]
fn names_with_one_hash_end_at_the_eighth_level() {
    let none = BlockSet::default();
    let mut ledger = Ledger::new(&none);
    let mut shard = Shard::default();
    let apply = |_: &mut Ledger<'_>, new: &Option<Link>, _: Option<Link>| Ok(*new);
    let edits = edits(&[("a", Some(link("a"))), ("b", Some(link("b")))]);
    Editor { ledger: &mut ledger, within: "/@s/", apply }.shard(&mut shard, Region::WHOLE, &edits).unwrap();
    assert_eq!(shard.only_entry().map(|entry| entry.name.as_str()), Some("a"));
    assert_eq!(ledger.refused, ["/@s/b"]);
}
