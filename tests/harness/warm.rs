//! `open-registry warm`, run as a user does, and lockfiles for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Gateway, GatewayBuilder, Package, Registry, Surroundings};

/// Forty packages with a small tarball each: `p0` to `p39`.
pub fn packages() -> Vec<Package> {
    (0..40).map(|number| Package::new(&format!("p{number}")).version("1.0.0", |v| v.size(2_000))).collect()
}

/// A registry that has them.
pub fn registry() -> Registry {
    Registry::builder().packages(packages()).start()
}

/// A package-lock.json for these packages, changed as `change` says; in a folder of its own.
pub fn lockfile(
    packages: &[Package],
    registry: &Registry,
    change: impl FnOnce(&mut Value),
) -> (TempDir, PathBuf) {
    let mut locked = json!({"": {"name": "a-project"}});
    for release in packages.iter().flat_map(Package::releases) {
        locked[format!("node_modules/{}", release.name)] = json!({
            "version": release.version,
            "resolved": format!("{}{}", registry.url(), release.tarball_path()),
            "integrity": release.integrity,
        });
    }
    let mut lockfile = json!({"name": "a-project", "lockfileVersion": 3, "packages": locked});
    change(&mut lockfile["packages"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("package-lock.json");
    std::fs::write(&path, lockfile.to_string()).expect("a file in a new folder");
    (folder, path)
}

/// The command, with the configuration of a gateway in the making.
pub fn command(gateway: GatewayBuilder, lockfile: &Path, flags: &[&str]) -> (Command, Surroundings) {
    let gateway = gateway.flag("warm").flag(lockfile.to_str().expect("a plain path"));
    flags.iter().fold(gateway, |gateway, flag| gateway.flag(flag)).command()
}

/// Runs `open-registry warm <lockfile>` to its end.
pub fn run(gateway: GatewayBuilder, lockfile: &Path, flags: &[&str]) -> Output {
    let (mut command, _surroundings) = command(gateway, lockfile, flags);
    command.stdin(Stdio::null()).output().expect("the program")
}

/// What it reports, when everything is there.
///
/// # Panics
/// When something is missing.
pub fn warmed(gateway: GatewayBuilder, lockfile: &Path, flags: &[&str]) -> Value {
    let output = run(gateway, lockfile, &[&["--json"], flags].concat());
    assert!(output.status.success(), "{output:?}");
    reported(&output)
}

/// The report of a run with `--json`.
pub fn reported(output: &Output) -> Value {
    let last = String::from_utf8_lossy(&output.stdout).lines().last().map(str::to_owned);
    let last: Value =
        serde_json::from_str(&last.unwrap_or_default()).unwrap_or_else(|_| panic!("{output:?}"));
    last["report"].clone()
}

/// The same command, where this gateway's operator is to be asked.
pub fn through(gateway: &Gateway, command: GatewayBuilder) -> GatewayBuilder {
    let operator = gateway.operator_url().replace("http://", "");
    command.env("OPEN_REGISTRY_OPERATOR__LISTEN", &operator)
}

/// Output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs `open-registry warm` without a lockfile.
pub fn ask(gateway: GatewayBuilder, flags: &[&str]) -> Output {
    let gateway = flags.iter().fold(gateway.flag("warm"), |gateway, flag| gateway.flag(flag));
    let (mut command, _surroundings) = gateway.command();
    command.stdin(Stdio::null()).output().expect("the program")
}

/// Looks again and again: the disk tells nobody when it changes.
pub fn within(limit: Duration, done: impl Fn() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !done() {
        if Instant::now() > end {
            return false;
        }
        std::thread::yield_now();
    }
    true
}
