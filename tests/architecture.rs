//! The rules that ARCHITECTURE.md states, kept by a machine.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What each part of `gateway` may use of the others. `gateway.rs` wires them, and so knows all.
const IMPORTS: [(&str, &[&str]); 38] = [
    ("catalogue", &["fetch", "follow", "index", "metrics", "rooted", "share", "swarm"]),
    ("changes", &["fetch", "index", "metrics", "store", "upstream"]),
    ("command", &["config", "doctor", "explain", "resolve", "setup", "steer", "swarm", "tls", "warm"]),
    (
        "config",
        &[
            "dns", "http", "operator", "private", "share", "steer", "store", "swarm", "takedown", "terminal",
            "tls", "upstream", "zone",
        ],
    ),
    ("dns", &["listen", "metrics", "pulse"]),
    ("doctor", &["config", "interfaces", "setup", "status", "swarm", "terminal"]),
    ("explain", &["config", "fetch", "identity", "interfaces", "steer", "terminal"]),
    ("fetch", &["metrics", "rooted", "share", "steer", "store", "swarm", "takedown", "upstream"]),
    (
        "http",
        &[
            "catalogue",
            "fetch",
            "identity",
            "index",
            "listen",
            "metrics",
            "pulse",
            "share",
            "steer",
            "store",
            "swarm",
            "takedown",
            "units",
            "upstream",
        ],
    ),
    ("follow", &["identity", "line", "metrics", "steer", "swarm"]),
    ("identity", &[]),
    ("index", &["fetch", "identity", "store"]),
    ("interfaces", &[]),
    ("lib", &[]),
    ("line", &["swarm"]),
    ("listen", &[]),
    ("log", &["terminal"]),
    ("main", &[]),
    ("metrics", &["store"]),
    ("open_files", &["http", "store"]),
    (
        "operator",
        &[
            "catalogue",
            "changes",
            "fetch",
            "follow",
            "http",
            "metrics",
            "share",
            "steer",
            "store",
            "swarm",
            "units",
            "warm",
        ],
    ),
    ("private", &[]),
    ("pulse", &[]),
    ("resolve", &["catalogue", "config", "explain", "fetch"]),
    ("rooted", &["line", "metrics", "steer", "store", "swarm"]),
    ("service", &["pulse", "terminal", "tls"]),
    ("setup", &["config", "interfaces"]),
    ("share", &["metrics", "store", "swarm", "units"]),
    ("status", &["config", "identity", "terminal"]),
    ("steer", &["identity", "pulse", "swarm", "units"]),
    ("store", &["units"]),
    ("swarm", &["identity", "interfaces", "listen", "metrics", "pulse", "units"]),
    ("takedown", &[]),
    ("tls", &["metrics", "units"]),
    ("units", &[]),
    ("upstream", &["line", "metrics", "share", "steer", "swarm", "units"]),
    ("warm", &["config", "fetch", "http", "metrics", "store", "takedown", "terminal", "units", "upstream"]),
    ("zone", &[]),
];

/// What `resolver` may be built on: codecs, digests and plain values, nothing that does.
const RESOLVER: [&str; 15] = [
    "base64",
    "bs58",
    "cid",
    "ipnet",
    "libm",
    "memchr",
    "percent-encoding",
    "serde",
    "serde_bytes",
    "serde_ipld_dagcbor",
    "serde_json",
    "sha1",
    "sha2",
    "thiserror",
    "unsigned-varint",
];

#[test]
fn resolver_has_no_socket_file_clock_or_runtime() {
    let lib = read("resolver/src/lib.rs");
    assert!(lib.contains("#![no_std]"), "resolver is no longer no_std");
    assert!(!lib.replace("#[cfg(test)]\nextern crate std;", "").contains("extern crate std"));
    let manifest: toml_edit::DocumentMut = read("resolver/Cargo.toml").parse().unwrap();
    let dependencies: BTreeSet<_> =
        table(&manifest, "dependencies").iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(dependencies, RESOLVER.map(str::to_owned).into());
}

#[test]
fn each_part_of_the_gateway_uses_only_those_below_it() {
    for file in files("gateway/src", "rs") {
        let part = part_of(&file);
        if part == "gateway" || part == "terminal" {
            continue;
        }
        let (_, allowed) = IMPORTS.iter().find(|(name, _)| *name == part).unwrap_or_else(|| {
            panic!("{part} is new: say in tests/architecture.rs what it may use");
        });
        for used in crate_paths(&fs::read_to_string(&file).unwrap()) {
            assert!(
                used == part || allowed.contains(&used.as_str()),
                "{} uses crate::{used}",
                file.display()
            );
        }
    }
}

#[test]
fn the_public_registrys_address_stands_in_one_place() {
    let host = harness::canonical_host();
    let holders: Vec<_> = files("", "")
        .into_iter()
        .filter(|file| fs::read(file).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(&host)))
        .map(|file| file.strip_prefix(root()).unwrap().to_owned())
        .collect();
    assert_eq!(holders, [Path::new("config/open-registry.toml")]);
}

#[test]
fn lockfiles_hold_no_download_addresses() {
    for lock in ["tests/bench/verdaccio", "tests/clients", "tests/index", "tests/ipfs", "tests/ipns"] {
        let lock = &format!("{lock}/package-lock.json");
        assert!(!read(lock).contains("\"resolved\""), "{lock} has download addresses");
    }
    for line in read("Cargo.lock").lines().filter(|line| line.starts_with("source = ")) {
        assert_eq!(line, "source = \"registry+https://github.com/rust-lang/crates.io-index\"");
    }
}

#[test]
fn there_are_no_features_of_our_own() {
    for manifest in ["resolver/Cargo.toml", "gateway/Cargo.toml", "tests/Cargo.toml"] {
        assert!(!read(manifest).contains("[features]"), "{manifest} has features");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn table<'a>(manifest: &'a toml_edit::DocumentMut, name: &str) -> &'a toml_edit::Table {
    manifest[name].as_table().unwrap()
}

/// All files below `folder` with this ending (with any, if it is empty), but for what is built or fetched.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let built = matches!(name.as_str(), "target" | "node_modules" | ".git");
            match path.is_dir() {
                true if !built => folders.push(path),
                false if !built && name.ends_with(ending) => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// `fetch` for `gateway/src/fetch/download.rs`, `operator` for `gateway/src/operator.rs`.
fn part_of(file: &Path) -> String {
    let inside = file.strip_prefix(root().join("gateway/src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The parts that a file's code names as `crate::<part>`; its comments and documentation may name any.
fn crate_paths(source: &str) -> BTreeSet<String> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let paths = code.flat_map(|line| line.split("crate::").skip(1));
    let parts = paths.flat_map(|path| match path.strip_prefix('{') {
        Some(several) => several.split(',').map(|one| word(one.trim())).collect::<Vec<_>>(),
        None => vec![word(path)],
    });
    parts.filter(|part| part.chars().all(|c| !c.is_uppercase())).collect()
}
