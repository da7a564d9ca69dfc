//! pnpm-lock.yaml: versions 5, 6 and 9. From pnpm 11 a file may hold two documents, the first with what pnpm itself
//! needs (`configDependencies`, `packageManager`).

use std::collections::BTreeMap;

use resolver::integrity::Expected;
use serde::Deserialize;

use super::collect::{Collector, Entry, elsewhere, split};
use super::error::malformed_yaml;
use super::scalar::Scalar;
use super::{ENTRIES, Format, LockfileError, Why};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    lockfile_version: Scalar,
    shrinkwrap_version: Scalar,
    packages: Option<BTreeMap<String, Package>>,
    snapshots: Option<BTreeMap<String, Option<Snapshot>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Package {
    resolution: Resolution,
    name: Scalar,
    version: Scalar,
    optional: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resolution {
    integrity: Scalar,
    tarball: Scalar,
    #[serde(rename = "type")]
    kind: Scalar,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Snapshot {
    optional: bool,
}

pub(super) fn read(text: &str, collector: &mut Collector<'_>) -> Result<(), LockfileError> {
    let documents: Vec<Document> =
        serde_saphyr::from_multiple_with_options(text, limits()).map_err(|error| malformed_yaml(&error))?;
    for document in &documents {
        take(document, collector)?;
    }
    Ok(())
}

/// An entry has some 40 events, and none has aliases: pnpm writes none.
pub(super) fn limits() -> serde_saphyr::Options {
    let most = ENTRIES * 100;
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: most,
            max_nodes: most,
            max_aliases: 0,
            max_depth: 16,
            max_documents: 8,
            simple_key_max_lookahead: 64 * 1024,
        },
        with_snippet: false,
    }
}

fn take(document: &Document, collector: &mut Collector<'_>) -> Result<(), LockfileError> {
    let old = document.shrinkwrap_version.as_str();
    let version = document.lockfile_version.as_str().or(old).unwrap_or_default();
    let major = version.split('.').next().unwrap_or_default();
    if !matches!(major, "5" | "6" | "9") {
        return Err(LockfileError::Version { format: Format::Pnpm.name(), version: version.to_owned() });
    }
    let needed = needed(document);
    for (key, package) in document.packages.iter().flatten() {
        let Key { host, name, version } = Key::read(major, key);
        let name = package.name.as_str().unwrap_or(name);
        let version = package.version.as_str().unwrap_or(version);
        let optional = package.optional || needed.get(key.as_str()) == Some(&false);
        take_package(&Key { host, name, version }, package, optional, collector)?;
    }
    Ok(())
}

/// Whether each package of version 9 is needed by anybody who cannot do without: there that stands beside the peers.
fn needed(document: &Document) -> BTreeMap<&str, bool> {
    let mut needed = BTreeMap::new();
    for (key, snapshot) in document.snapshots.iter().flatten() {
        let optional = snapshot.as_ref().is_some_and(|snapshot| snapshot.optional);
        *needed.entry(without_peers(key)).or_insert(false) |= !optional;
    }
    needed
}

fn take_package(
    &Key { host, name, version }: &Key<'_>,
    package: &Package,
    optional: bool,
    collector: &mut Collector<'_>,
) -> Result<(), LockfileError> {
    let Resolution { integrity, tarball, kind } = &package.resolution;
    match kind.as_str() {
        Some("git") => return collector.leave(name, Why::Git),
        Some("directory") => return collector.leave(name, Why::Local),
        Some(other) => return collector.leave(name, Why::OtherKind(other.to_owned())),
        None => {}
    }
    // What the key says of where it comes from counts when there is no address.
    let by_key = || host.map(|host| format!("https://{}/", host.replace('+', ":")));
    let by_key = || by_key().or_else(|| elsewhere(version).map(|_| version.to_owned()));
    let from = tarball.as_str().map(str::to_owned).or_else(by_key);
    let expected = integrity.as_str().and_then(Expected::from_sri);
    collector.take(&Entry { name, version, from: from.as_deref(), expected, optional })
}

/// `/name/1.0.0_peer@2.0.0` (5), `/name@1.0.0(peer@2.0.0)` (6), `name@1.0.0` (9); in 5 and 6 the host of another
/// registry may come first.
struct Key<'a> {
    host: Option<&'a str>,
    name: &'a str,
    version: &'a str,
}

impl<'a> Key<'a> {
    fn read(major: &str, key: &'a str) -> Self {
        let key = without_peers(key);
        if major == "9" {
            let (name, version) = split(key).unwrap_or((key, ""));
            return Self { host: None, name, version };
        }
        let (host, path) = key.split_once('/').unwrap_or(("", key));
        let plain = |version: &'a str| version.split('_').next().unwrap_or(version);
        let parts = match major {
            "5" => path.rsplit_once('/').map(|(name, version)| (name, plain(version))),
            _ => split(path),
        };
        let (name, version) = parts.unwrap_or((key, ""));
        Self { host: Some(host).filter(|host| !host.is_empty()), name, version }
    }
}

fn without_peers(key: &str) -> &str {
    key.split('(').next().unwrap_or(key)
}
