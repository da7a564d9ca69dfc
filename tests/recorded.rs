//! Recorded projects: npm makes the recorded tree of what the harness makes of a recording.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::collections::BTreeSet;
use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::GzDecoder;
use harness::clients::{Checkout, Client, Mode, Settings};
use harness::http::Request;
use harness::projects::{self, Project};
use harness::{ABBREVIATED, Package, Registry};
use serde_json::{Value, json};

/// So many bytes do not count.
const LEAST: u64 = 1_000;

/// A web project: express, react, vite, eslint, mocha, typescript.
fn web() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("simulator/projects/web.json")
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// `left@1.0.0` for every version of a recording that `wanted` accepts.
fn locked(recording: &Value, wanted: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    let packages = recording["packages"].as_array().unwrap().iter();
    let versions = packages.flat_map(|package| {
        package["locked"].as_array().unwrap().iter().map(move |version| (&package["name"], version))
    });
    let wanted = versions.filter(|(_, version)| wanted(version));
    wanted.map(|(name, version)| named(name, &version["version"])).collect()
}

fn named(name: &Value, version: &Value) -> String {
    format!("{}@{}", name.as_str().unwrap(), version.as_str().unwrap())
}

/// Whether this machine takes it: Linux with glibc.
fn is_for_this_machine(version: &Value) -> bool {
    let cpu = if ARCH == "aarch64" { "arm64" } else { "x64" };
    [("os", "linux"), ("cpu", cpu), ("libc", "glibc")].iter().all(|(key, ours)| {
        let listed = version[key].as_array();
        listed.is_none_or(|listed| listed.iter().any(|one| one == ours))
    })
}

/// `left@1.0.0` for every package in a package-lock.json.
fn in_lockfile(lockfile: &str) -> BTreeSet<String> {
    let lockfile: Value = serde_json::from_str(lockfile).unwrap();
    let entries = lockfile["packages"].as_object().unwrap().iter().filter(|(place, _)| !place.is_empty());
    let version = |(place, entry): (&String, &Value)| {
        let name = entry["name"].as_str().unwrap_or_else(|| place.rsplit("node_modules/").next().unwrap());
        named(&json!(name), &entry["version"])
    };
    entries.map(version).collect()
}

/// The same of what lies in node_modules.
fn in_node_modules(checkout: &Checkout) -> BTreeSet<String> {
    let packages = checkout.installed();
    let manifest = |place: &String| read(&checkout.directory().join(place).join("package.json"));
    packages.keys().map(manifest).map(|manifest| named(&manifest["name"], &manifest["version"])).collect()
}

fn about(found: usize, recorded: &Value, per_mille: u64, what: &str) {
    let recorded = recorded.as_u64().unwrap();
    let off = (found as u64).abs_diff(recorded);
    assert!(off <= (recorded * per_mille / 1_000).max(LEAST), "{what}: {found} bytes, {recorded} recorded");
}

fn files_in(tarball: &[u8]) -> usize {
    tar::Archive::new(GzDecoder::new(tarball)).entries().unwrap().count()
}

fn refused(recording: &Value) -> String {
    projects::recording(&recording.to_string()).unwrap_err()
}

fn small() -> Value {
    json!({"format": 1, "package_json": {"dependencies": {"left": "^1.0.0"}}, "packages": [
        {"name": "left", "versions": 9, "full": 9_000, "abbreviated": 5_000, "gzip": 2_500, "tags": {}, "locked": [
            {"version": "1.0.0", "packed": 700, "files": 3, "bin": {"left": "./cli.js"}},
        ]},
    ]})
}

#[test]
fn npm_makes_the_recorded_tree_of_the_recorded_project() {
    let recording = read(&web());
    let project = projects::recorded(&web()).unwrap();
    assert!(project.packages.len() >= 300, "{} packages", project.packages.len());
    let registry = Registry::builder().packages(project.packages.clone()).start();
    let folder = tempfile::tempdir().unwrap();
    let checkout = Checkout::new(folder.path(), &project.package_json_text());

    let settings = Settings::registry(registry.url());
    let outcome = Client::Npm11.install(&checkout, &settings, Mode::Cold).expect_success();

    assert_eq!(in_lockfile(&outcome.locked()), locked(&recording, |_| true));
    assert_eq!(in_node_modules(&checkout), locked(&recording, is_for_this_machine));
}

#[test]
fn tarballs_and_packuments_are_about_as_large_as_they_were() {
    let recording = read(&web());
    let project = projects::recorded(&web()).unwrap();
    let registry = Registry::builder().packages(project.packages.clone()).start();
    registry.render();
    let (mut gzip, mut gzip_recorded, mut packed, mut packed_recorded) = (0, 0, 0, 0);
    // Some have more files than fit into as many bytes once they are packed.
    let (mut tarballs, mut odd) = (0, 0);
    for package in recording["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        for version in package["locked"].as_array().unwrap() {
            let release = project.package(name).at(version["version"].as_str().unwrap());
            about(release.tarball.len(), &version["packed"], 50, &format!("{name}'s tarball"));
            packed += release.tarball.len();
            packed_recorded += version["packed"].as_u64().unwrap();
            let files = files_in(&release.tarball);
            let is_as_recorded = files as u64 == version["files"];
            assert!(is_as_recorded || files == 2, "{name} has {files} files");
            (tarballs, odd) = (tarballs + 1, odd + usize::from(!is_as_recorded));
        }
        let url = format!("{}/{name}", registry.url());
        let full = Request::get(&url).send();
        about(full.body.len(), &package["full"], 100, &format!("{name}'s packument"));
        let document: Value = serde_json::from_slice(&full.body).unwrap();
        assert_eq!(document["versions"].as_object().unwrap().len() as u64, package["versions"], "{name}");
        let abbreviated = Request::get(&url).header("accept", ABBREVIATED).send();
        serde_json::from_slice::<Value>(&abbreviated.body).unwrap();
        about(abbreviated.body.len(), &package["abbreviated"], 100, &format!("{name}'s short packument"));
        gzip += Request::get(&url).header("accept-encoding", "gzip").send().body.len();
        gzip_recorded += package["gzip"].as_u64().unwrap();
    }
    assert!(odd * 10 < tarballs, "{odd} of {tarballs} have another number of files");
    about(packed, &json!(packed_recorded), 10, "all tarballs");
    about(gzip, &json!(gzip_recorded), 100, "all packuments as gzip");
}

#[test]
fn a_recording_makes_the_same_bytes_again() {
    let text = small().to_string();
    let [one, other] = [(); 2].map(|()| projects::recording(&text).unwrap());
    assert_eq!(one.package("left").at("1.0.0").integrity, other.package("left").at("1.0.0").integrity);
    let packument = |project: Project| {
        let registry =
            Registry::builder().packages(project.packages).public_url("http://registry.example").start();
        Request::get(&format!("{}/left", registry.url())).send().body
    };
    assert_eq!(packument(one), packument(other));
}

#[test]
fn what_is_no_recording_is_refused_in_words() {
    assert!(projects::recording(&small().to_string()).is_ok(), "what the cases below are made of");
    let cases: [(&str, Value, &str); 9] = [
        ("/format", json!(2), "format 1"),
        ("/package_json", json!([]), "package_json is missing"),
        ("/packages", json!([]), "no packages"),
        ("/packages/0/name", json!("le\"ft"), "the registry has not"),
        ("/packages/0/locked", json!([]), "left: it has no versions"),
        ("/packages/0/locked/0/packed", json!("700"), "left: packed is missing, or no number"),
        ("/packages/0/locked/0/files", json!(1_000_000_000), "left: files is 1000000000, more than"),
        ("/packages/0/locked/0/bin/left", json!("../cli.js"), "left: the command left is no path"),
        (
            "/packages/0/locked/0/dependencies",
            json!({"right": "1"}),
            "left needs right, which was not recorded",
        ),
    ];
    for (place, value, words) in cases {
        let mut recording = small();
        match recording.pointer_mut(place) {
            Some(held) => *held = value,
            None => recording["packages"][0]["locked"][0]["dependencies"] = value,
        }
        let said = refused(&recording);
        assert!(said.contains(words), "{place}: {said}");
    }
    assert!(projects::recording("{\"format\": 1").unwrap_err().contains("not JSON"));
    assert!(
        projects::recorded(Path::new("/no/such/file")).unwrap_err().contains("cannot read /no/such/file")
    );
}

/// The script in this repository, with npm's own program and nothing else of the machine's.
fn record(registry: &Registry, folder: &Path, package_json: &Value) -> std::process::Output {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = folder.join("package.json");
    fs::write(&file, package_json.to_string()).unwrap();
    Command::new(manifest.join("simulator/record"))
        .arg(file)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", manifest.join("clients/node_modules/.bin").display()))
        .env("HOME", folder)
        .env("npm_config_registry", registry.url())
        .output()
        .unwrap()
}

#[test]
fn the_script_records_what_npm_installs_and_no_address() {
    let project = projects::typical().with(bundling(), "^1.0.0").with(aliasing(), "^1.0.0");
    let registry = Registry::builder().packages(project.packages.clone()).start();
    let folder = tempfile::tempdir().unwrap();

    let output = record(&registry, folder.path(), &project.package_json);

    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("127.0.0.1") && !text.contains("http"), "{text}");
    let recording: Value = serde_json::from_str(&text).unwrap();
    let again = projects::recording(&text).unwrap();
    let packed = |project: &Project| project.package("chalky").at("2.0.0-rc.1").tarball.len();
    about(packed(&again), &json!(packed(&project)), 30, "a tarball");

    let registry = Registry::builder().packages(again.packages.clone()).start();
    let checkout = Checkout::new(&folder.path().join("checkout"), &again.package_json_text());
    let settings = Settings::registry(registry.url());
    let outcome = Client::Npm11.install(&checkout, &settings, Mode::Cold).expect_success();
    let found = in_lockfile(&outcome.locked());
    assert_eq!(found, locked(&recording, |_| true));
    for expected in ["leaf@1.9.9", "leaf@2.0.0", "chalky@2.0.0-rc.1", "@native/thing-darwin-arm64@1.0.0"] {
        assert!(found.contains(expected), "{expected} is not in {found:?}");
    }
}

/// Its tarball brings along what it depends on.
fn bundling() -> Package {
    let inner = json!({"name": "inside", "version": "1.0.0"}).to_string();
    Package::new("bundling").version("1.0.0", |version| {
        let version = version.dependency("inside", "^1.0.0").field("bundleDependencies", json!(["inside"]));
        version.file("node_modules/inside/package.json", inner)
    })
}

/// It knows another package by a name of its own.
fn aliasing() -> Package {
    Package::new("aliasing").version("1.0.0", |version| version.dependency("old-leaf", "npm:leaf@^1.0.0"))
}

#[test]
fn the_script_says_why_it_cannot_record_something() {
    let registry = Registry::builder().start();
    let folder = tempfile::tempdir().unwrap();
    let output = record(&registry, folder.path(), &json!({"dependencies": {"nowhere": "1.0.0"}}));
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("npm install failed") && said.contains("nowhere"), "{said}");
}
