//! Finds the program under test, built from this very tree.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

static BINARY: OnceLock<PathBuf> = OnceLock::new();

/// The `open-registry` program: the one that `OPEN_REGISTRY_BIN` names, or a fresh build, once per process.
pub fn binary() -> PathBuf {
    BINARY.get_or_init(|| env::var_os("OPEN_REGISTRY_BIN").map_or_else(build, PathBuf::from)).clone()
}

fn build() -> PathBuf {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--workspace", "--bins", "--message-format=json-render-diagnostics"]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    if is_release() {
        cargo.arg("--release");
    }
    let built = cargo.output().expect("cargo, to build open-registry; or set OPEN_REGISTRY_BIN");
    assert!(
        built.status.success(),
        "open-registry does not build:\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let messages = String::from_utf8_lossy(&built.stdout);
    messages.lines().find_map(executable).expect("the workspace has a program called open-registry")
}

fn is_release() -> bool {
    env::current_exe().is_ok_and(|path| path.components().any(|part| part.as_os_str() == "release"))
}

fn executable(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let program = message["target"]["name"] == "open-registry";
    message["executable"].as_str().filter(|_| program).map(PathBuf::from)
}
