//! Lookups and proofs.

use super::*;
use std::vec;

fn segments(path: &str) -> Vec<&str> {
    path.split('/').filter(|name| !name.is_empty()).collect()
}

fn blocks_of(proof: &Proof) -> Vec<(Cid, Vec<u8>)> {
    proof.nodes.iter().map(|block| (block.cid, block.bytes.clone())).collect()
}

fn sample() -> (Store, Model) {
    let model: Model =
        names().iter().zip(0u64..).map(|(name, nth)| (Path::metadata(package(name)), content(nth))).collect();
    (Store::of(&model), model)
}

#[test]
fn a_path_through_a_document_or_beyond_a_package_leads_nowhere() {
    let (store, _) = sample();
    let root = store.root();
    for path in [
        "/lodash/metadata.json/x",
        "/lodash/metadata.json/x/y",
        "/lodash/install.json",
        "/@babel/x",
        "/@x/core",
        "/x",
    ] {
        let found = resolve(&store, &root, segments(path)).unwrap();
        assert_eq!(found.target, None, "{path}");
        assert!(!found.nodes.is_empty());
    }
    assert_eq!(resolve(&store, &root, []).unwrap(), Found { target: Some(root), nodes: vec![] });
}

#[test]
fn every_flipped_bit_in_a_proof_is_refused() {
    let (store, model) = sample();
    let root = store.root();
    let missing = Path::install(package("@babel/core"));
    for path in model.keys().chain([&missing]) {
        let proof = prove(&store, &root, path.segments()).unwrap();
        let blocks = blocks_of(&proof);
        for (nth, (_, bytes)) in blocks.iter().enumerate() {
            for bit in 0..bytes.len() * 8 {
                let mut flipped = blocks.clone();
                flipped[nth].1[bit / 8] ^= 1 << (bit % 8);
                let cid = flipped[nth].0;
                let refused = verify(&root, path.segments(), flipped, usize::MAX);
                assert_eq!(refused.err(), Some(Refused::Unproven(address::Unproven::Hash(cid))));
            }
        }
    }
}

#[test]
fn a_proof_without_one_of_its_blocks_is_none() {
    let (store, model) = sample();
    for path in model.keys() {
        let blocks = blocks_of(&prove(&store, &store.root(), path.segments()).unwrap());
        for nth in 0..blocks.len() {
            let mut fewer = blocks.clone();
            let (cid, _) = fewer.remove(nth);
            let refused = verify(&store.root(), path.segments(), fewer, usize::MAX).err();
            assert_eq!(refused, Some(Refused::Tree(TreeError::Missing(vec![cid]))));
        }
    }
}

#[test]
fn a_proof_of_another_root_is_none() {
    let (store, _) = sample();
    let path = Path::metadata(package("lodash"));
    let blocks = blocks_of(&prove(&store, &store.root(), path.segments()).unwrap());
    let other = Store::of(&Model::new()).root();
    assert_eq!(
        verify(&other, path.segments(), blocks, usize::MAX).err(),
        Some(Refused::Tree(TreeError::Missing(vec![other])))
    );
}

#[test]
fn no_more_is_taken_than_there_is_room_for() {
    let mut set = BlockSet::within(1_000);
    let block = |nth: u8| (address::of_node(&[nth; 300]), vec![nth; 300]);
    for nth in [0, 1, 1, 1, 0] {
        set.insert(block(nth).0, block(nth).1).unwrap();
    }
    assert_eq!(set.insert(block(2).0, block(2).1), Err(address::Unproven::TooLong(block(2).0)));
    assert_eq!(set.iter().count(), 2);
}

proptest! {
    #[test]
    fn lookups_agree_with_the_model_and_their_proofs_with_them(model in model(), asked in path()) {
        let store = Store::of(&model);
        for path in model.keys().chain([&asked]) {
            let found = resolve(&store, &store.root(), path.segments()).unwrap();
            prop_assert_eq!(found.target, model.get(path).map(|link| link.cid));
            let proof = prove(&store, &store.root(), path.segments()).unwrap();
            let (proven, _) = verify(&store.root(), path.segments(), blocks_of(&proof), usize::MAX).unwrap();
            prop_assert_eq!(proven, found);
        }
    }
}
