//! One manifest of the abbreviated form: the fields that an install needs, each copied as it stands.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::json::Members;

/// The fields that npm documents for the abbreviated form, and `libc`, without which a client fetches the
/// platform packages of the wrong C library.
const FIELDS: [&str; 20] = [
    "name",
    "version",
    "deprecated",
    "dependencies",
    "acceptDependencies",
    "devDependencies",
    "optionalDependencies",
    "bundleDependencies",
    "bundledDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "bin",
    "directories",
    "dist",
    "engines",
    "cpu",
    "os",
    "libc",
    "funding",
    "_hasShrinkwrap",
];

/// The scripts that npm runs at installation.
const INSTALL_SCRIPTS: [&str; 3] = ["preinstall", "install", "postinstall"];

/// Appends the abbreviated form of `manifest` to `out`; `dist` stands in it as in the manifest. What is no manifest
/// becomes an empty one; a document with such a thing has been refused when it was read.
pub(super) fn push_manifest(out: &mut String, manifest: &[u8]) {
    let members =
        serde_json::from_slice(manifest).map_or_else(|_| Vec::new(), |members: Members<'_>| members.0);
    out.push('{');
    let start = out.len();
    let mut has_install_script = None;
    for (key, value) in &members {
        match key.as_str() {
            "hasInstallScript" => has_install_script = Some(value.get() == "true"),
            "scripts" => has_install_script = has_install_script.or_else(|| runs_at_installation(value)),
            key if FIELDS.contains(&key) => push_member(out, start, key, value.get()),
            _ => {}
        }
    }
    if has_install_script == Some(true) {
        push_member(out, start, "hasInstallScript", "true");
    }
    out.push('}');
}

fn push_member(out: &mut String, start: usize, key: &str, value: &str) {
    if out.len() > start {
        out.push(',');
    }
    out.push('"');
    out.push_str(key);
    out.push_str("\":");
    out.push_str(value);
}

fn runs_at_installation(scripts: &RawValue) -> Option<bool> {
    #[derive(Deserialize)]
    struct Scripts(BTreeMap<String, IgnoredAny>);
    let scripts: Scripts = serde_json::from_str(scripts.get()).ok()?;
    Some(INSTALL_SCRIPTS.iter().any(|script| scripts.0.contains_key(*script)))
}
