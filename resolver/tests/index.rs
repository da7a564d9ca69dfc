//! The index has the CIDs that the JavaScript implementation of UnixFS computes for the same content: those that it has said
//! once (`tests/index/trees.json`), and those that it says now, where `tests/index/install` has put it.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::fs;
use std::path::{Path as FilePath, PathBuf};
use std::process::Command;

use resolver::index::file::{self, FileBuilder, Shape};
use resolver::index::murmur3::murmur3_x64_64;
use resolver::index::{BlockSet, Changes, Link, Path, update};
use resolver::integrity::Integrity;
use resolver::package::PackageName;
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize, PartialEq, Debug)]
struct Said {
    trees: std::collections::BTreeMap<u64, Size>,
    files: Vec<Cut>,
    hashes: Vec<String>,
}

#[derive(Deserialize, PartialEq, Debug)]
struct Size {
    cid: String,
    size: u64,
}

#[derive(Deserialize, PartialEq, Debug)]
struct Cut {
    leaf: u64,
    width: usize,
    length: usize,
    cid: String,
    size: u64,
}

fn folder() -> PathBuf {
    FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../tests/index")
}

fn said() -> Said {
    serde_json::from_slice(&fs::read(folder().join("trees.json")).unwrap()).unwrap()
}

/// A document says in its name what is in it: the SHA-256 of that, in hexadecimal, so many times.
fn content(name: &str, times: usize) -> Vec<u8> {
    let hex: String = Sha256::digest(name).iter().map(|octet| format!("{octet:02x}")).collect();
    hex.repeat(times).into_bytes()
}

fn document(name: &str, times: usize) -> Link {
    file::of_bytes(&content(name, times)).0
}

fn tarball(name: &str, times: usize) -> Link {
    let bytes = content(name, times);
    file::tarball(&Integrity::of(&bytes), bytes.len() as u64).unwrap_or_else(|| file::of_bytes(&bytes).0)
}

/// Every fifth package is in one of eleven scopes.
fn name_of(nth: u64) -> PackageName {
    let name = if nth % 5 == 3 { format!("@scope{}/name{nth}", nth % 11) } else { format!("name{nth}") };
    PackageName::parse(&name).unwrap()
}

/// Two documents, and up to two tarballs; one package has 5,000, and one a document and a tarball of more than 1 MiB.
fn put_package(changes: &mut Changes, nth: u64) {
    let name = name_of(nth);
    let few = |count: u64| usize::try_from(count).unwrap();
    let times = if nth == 0 { 50_000 } else { few(1 + nth % 7) };
    changes.put(Path::metadata(name.clone()), document(&format!("{name} metadata"), times));
    changes.put(Path::install(name.clone()), document(&format!("{name} install"), 1));
    let mut put = |version: &str, times: usize, named: String| {
        let file = name.conventional_file(version).unwrap();
        changes.put(Path::tarball(name.clone(), &file), tarball(&named, times));
    };
    for version in 0..if nth == 1 { 5_000 } else { nth % 3 } {
        put(&format!("1.0.{version}"), few(1 + version % 3), format!("{name} {version}"));
    }
    if nth == 0 {
        put("2.0.0", 16_385, format!("{name} 2.0.0"));
    }
}

fn root(count: u64) -> Link {
    let mut changes = Changes::default();
    (0..count).for_each(|nth| put_package(&mut changes, nth));
    changes.put(Path::peers(), document("peers", 1));
    changes.put(Path::state(), document("state", 1));
    update(&BlockSet::default(), None, &changes).unwrap().root
}

#[test]
fn trees_of_1_and_300_and_20_000_names_have_the_cids_that_javascript_computes() {
    for (count, said) in said().trees {
        let root = root(count);
        assert_eq!((root.cid.to_string(), root.size), (said.cid, said.size), "{count} names");
    }
}

#[test]
fn files_are_cut_as_javascript_cuts_them() {
    for said in said().files {
        let bytes = content("file", said.length.div_ceil(64));
        let mut builder = FileBuilder::of_shape(Shape { leaf: said.leaf, width: said.width });
        builder.take(&bytes[..said.length], drop);
        let link = builder.finish(drop);
        assert_eq!((link.cid.to_string(), link.size), (said.cid, said.size), "{} bytes", said.length);
    }
}

#[test]
fn names_hash_as_in_javascript() {
    let bytes = content("hash", 1);
    for (length, said) in said().hashes.iter().enumerate() {
        assert_eq!(format!("{:016x}", murmur3_x64_64(&bytes[..length])), *said, "{length} octets");
    }
}

#[test]
fn javascript_still_says_so() {
    let platform = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let node = folder().join(format!("node_modules/node-linux-{platform}/bin/node"));
    assert!(node.exists(), "the implementation is not there: run tests/index/install");
    let output = Command::new(node).arg("trees.mjs").current_dir(folder()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(serde_json::from_slice::<Said>(&output.stdout).unwrap(), said());
}
