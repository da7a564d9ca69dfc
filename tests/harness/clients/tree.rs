//! What an install left in node_modules, so that two installs can be compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Every package under `project`, by its path: the SHA-256, in hex, of the names, executable bits and bytes of its
/// files. What clients keep for themselves in node_modules is no package and is left out, and so are links.
///
/// # Panics
/// When something that is there cannot be read.
pub fn installed(project: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    collect(project, Path::new("node_modules"), &mut found);
    found
}

/// Walks a directory that is no package: a node_modules, a scope, or a client's own store.
fn collect(project: &Path, directory: &Path, found: &mut BTreeMap<String, String>) {
    for inner in directories(project, directory) {
        if is_package(project, &inner) {
            let mut digest = Sha256::new();
            feed(&project.join(&inner), Path::new(""), &mut digest);
            found.insert(inner.display().to_string(), hex(&digest.finalize()));
            collect(project, &inner.join("node_modules"), found);
        } else {
            collect(project, &inner, found);
        }
    }
}

fn is_package(project: &Path, directory: &Path) -> bool {
    let scope_or_modules = directory.parent().and_then(Path::file_name);
    let among_packages = scope_or_modules
        .is_some_and(|name| name == "node_modules" || name.to_string_lossy().starts_with('@'));
    among_packages && project.join(directory).join("package.json").is_file()
}

/// Adds every file of a package, but not the packages nested in it.
fn feed(package: &Path, inner: &Path, digest: &mut Sha256) {
    for entry in entries(&package.join(inner)) {
        let path = inner.join(entry.file_name().expect("an entry has a name"));
        let meta = fs::symlink_metadata(&entry).expect("what is installed can be read");
        if meta.is_dir() {
            if path != Path::new("node_modules") {
                feed(package, &path, digest);
            }
            continue;
        }
        let bytes = fs::read(&entry).expect("what is installed can be read");
        let executable = meta.permissions().mode() & 0o100 != 0;
        digest.update(format!("{}\0{executable}\0{}\0", path.display(), bytes.len()));
        digest.update(bytes);
    }
}

fn directories(project: &Path, directory: &Path) -> Vec<PathBuf> {
    let real = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    let names = entries(&project.join(directory)).into_iter().filter(real);
    names.filter_map(|path| path.file_name().map(|name| directory.join(name))).collect()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(listed) = fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<PathBuf> =
        listed.map(|entry| entry.expect("a directory can be listed").path()).collect();
    paths.sort();
    paths
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
