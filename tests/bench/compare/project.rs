//! A project of 600 packages in a registry of a thousand, with versions, documents and tarballs as they are found.

use std::time::Duration;

use harness::http::Request;
use harness::projects::Project;
use harness::{ABBREVIATED, Gateway, Package, VersionBuilder};
use serde_json::{Map, json};

/// How many packages the project installs.
pub(crate) const INSTALLED: usize = 600;
/// How many the registry has.
pub(crate) const HELD: usize = 1_000;
/// How many the project names itself; each of the others is named by the one before it in the tree.
const DIRECT: usize = 30;
const CHILDREN: usize = 3;

/// The same packages in every run.
pub(crate) fn project() -> Project {
    let direct: Map<String, _> = (0..DIRECT).map(|nth| (name(nth), json!("^1.0.0"))).collect();
    let package_json =
        json!({"name": "a-project", "version": "1.0.0", "private": true, "dependencies": direct});
    Project { package_json, packages: (0..HELD).map(package).collect() }
}

/// The name of a package, every fifth scoped.
pub(crate) fn name(nth: usize) -> String {
    if nth % 5 == 4 { format!("@scope-{}/part-{nth}", nth % 7) } else { format!("part-{nth}") }
}

/// The version that is installed.
fn newest(nth: usize) -> String {
    format!("1.{}.0", versions(nth) - 1)
}

/// Where the registry has the tarball that is installed.
pub(crate) fn tarball_path(nth: usize) -> String {
    let name = name(nth);
    let bare = name.rsplit('/').next().unwrap_or(&name);
    format!("/{name}/-/{bare}-{}.tgz", newest(nth))
}

/// Fetches a package through a gateway: both forms and the tarball.
pub(crate) fn fetch(gateway: &Gateway, nth: usize) {
    let within = Duration::from_secs(60);
    for accept in ["application/json", ABBREVIATED] {
        let reply = Request::get(&format!("{}/{}", gateway.url(), name(nth)))
            .header("accept", accept)
            .header("accept-encoding", "gzip")
            .within(within)
            .send();
        assert_eq!(reply.status, 200, "{}", name(nth));
    }
    let tarball = Request::get(&format!("{}{}", gateway.url(), tarball_path(nth))).within(within).send();
    assert_eq!(tarball.status, 200, "{}", name(nth));
}

fn package(nth: usize) -> Package {
    let all = versions(nth);
    (0..all).fold(Package::new(&name(nth)), |package, minor| {
        package.version(&format!("1.{minor}.0"), |version| {
            let first = DIRECT + nth * CHILDREN;
            let children = (first..first + CHILDREN).filter(|child| nth < INSTALLED && *child < INSTALLED);
            let version = children.fold(version, |version, child| version.dependency(&name(child), "^1.0.0"));
            if minor + 1 < all { version } else { filled(version, nth) }
        })
    })
}

/// A median of 25 versions, and some packages with hundreds.
fn versions(nth: usize) -> usize {
    match nth % 50 {
        0 => 600,
        1 => 250,
        2..10 => 80,
        10..30 => 30,
        _ => 12,
    }
}

/// Files that make a tarball of 10 KB in the median, 60 KB on average, 3 MB at most.
fn filled(version: VersionBuilder, nth: usize) -> VersionBuilder {
    let bytes = match nth % 100 {
        0 => 3_000_000,
        1..5 => 300_000,
        5..25 => 50_000,
        25..60 => 12_000,
        _ => 4_000,
    };
    let files = 8;
    (0..files).fold(version.size(bytes / 2), |version, file| {
        let line = format!("exports.f{file} = (a, b) => a * {nth} + b; // part {nth}\n");
        version.file(&format!("lib/file-{file}.js"), line.repeat(bytes / files / 12))
    })
}
