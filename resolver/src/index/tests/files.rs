//! Files: the same tree whatever the chunks, and the bytes come back.

use super::*;
use crate::index::file::{Part, Shape};
use std::vec;

/// Builds a file in chunks of `chunk` bytes; its blocks hold the leaves too.
fn build(bytes: &[u8], chunk: usize, shape: Shape) -> (Link, BlockSet, Vec<Part>) {
    let mut builder = FileBuilder::of_shape(shape);
    let mut parts = Vec::new();
    for some in bytes.chunks(chunk) {
        builder.take(some, |part| parts.push(part));
    }
    let link = builder.finish(|part| parts.push(part));
    let mut blocks = BlockSet::within(usize::MAX);
    for part in &parts {
        let (cid, block) = match part {
            Part::Node(block) => (block.cid, block.bytes.clone()),
            Part::Leaf { cid, offset, length } => {
                let (from, length) = (usize::try_from(*offset).unwrap(), usize::try_from(*length).unwrap());
                (*cid, bytes[from..from + length].to_vec())
            }
        };
        blocks.insert(cid, block).unwrap();
    }
    (link, blocks, parts)
}

fn counted(length: usize) -> Vec<u8> {
    (0u64..).flat_map(u64::to_be_bytes).take(length).collect()
}

#[test]
fn up_to_one_mib_a_file_is_one_raw_block() {
    for length in [0, 1, 1 << 20] {
        let bytes = counted(length);
        let (link, parts) = file::of_bytes(&bytes);
        assert_eq!(Some(link), file::document(&Sha256::digest(&bytes).into(), length as u64));
        assert_eq!(parts, [Part::Leaf { cid: link.cid, offset: 0, length: length as u64 }]);
    }
    let (link, parts) = file::of_bytes(&counted((1 << 20) + 1));
    assert_eq!((link.cid.codec(), parts.len()), (address::DAG_PB, 3));
    assert_eq!(file::document(&[0; 32], (1 << 20) + 1), None);
    let integrity = crate::integrity::Integrity::of(b"");
    assert_eq!(file::tarball(&integrity, (1 << 20) + 1), None);
    assert_eq!(file::tarball(&integrity, 0).unwrap().cid, address::of_tarball(&integrity));
}

#[test]
fn a_file_that_is_longer_than_is_wanted_is_not_put_together() {
    let bytes = counted(1_000);
    let (link, blocks, _) = build(&bytes, 64, Shape { leaf: 10, width: 4 });
    assert_eq!(read_file(&blocks, &link.cid, 1_000), Ok(bytes));
    assert!(matches!(read_file(&blocks, &link.cid, 999), Err(TreeError::Malformed(_, Malformed::TooLong))));
    let empty = Store::of(&Model::new());
    let root = empty.root();
    assert_eq!(read_file(&empty, &root, 9), Err(TreeError::Malformed(root, Malformed::UnixFs)));
}

#[test]
fn a_walk_begins_again_where_a_block_was_missing() {
    let bytes = counted(200);
    let (link, blocks, _) = build(&bytes, 64, Shape { leaf: 10, width: 4 });
    let mut walk = Walk::new(link.cid, Reach::Entity);
    let mut met = vec![];
    let mut held = BlockSet::within(usize::MAX);
    loop {
        match walk.next(&held) {
            Ok(None) => break,
            Ok(Some(one)) => met.push(one),
            Err(TreeError::Missing(cids)) => {
                held.insert(cids[0], blocks.block(&cids[0]).unwrap().into_owned()).unwrap();
            }
            Err(other) => panic!("{other}"),
        }
    }
    let mut whole = Walk::new(link.cid, Reach::Entity);
    let again: Vec<_> = core::iter::from_fn(|| whole.next(&blocks).unwrap()).collect();
    assert_eq!(met, again);
    assert_eq!(met.iter().filter(|met| matches!(met, Met::Leaf { .. })).count(), 20);
    assert_eq!(Walk::new(link.cid, Reach::Block).next(&held), Ok(Some(Met::Node(link.cid))));
}

proptest! {
    #[test]
    fn a_file_comes_back_and_its_tree_does_not_depend_on_the_chunks(
        length in 0usize..3_000,
        chunk in 1usize..200,
        leaf in 1u64..40,
        width in 2usize..6,
    ) {
        let (bytes, shape) = (counted(length), Shape { leaf, width });
        let (link, blocks, parts) = build(&bytes, chunk, shape);
        prop_assert_eq!(build(&bytes, 3_000, shape).0, link);
        prop_assert_eq!(read_file(&blocks, &link.cid, length), Ok(bytes));
        let mut end = 0;
        for part in &parts {
            if let Part::Leaf { offset, length, .. } = part {
                prop_assert_eq!(*offset, end);
                end += length;
            }
        }
        prop_assert_eq!(end, length as u64);
        let nodes = parts.iter().map(|part| match part {
            Part::Node(block) => block.bytes.len() as u64,
            Part::Leaf { length, .. } => *length,
        });
        prop_assert_eq!(link.size, nodes.sum::<u64>());
    }
}
