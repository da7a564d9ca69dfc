//! package-lock.json and npm-shrinkwrap.json, versions 1 to 3.
//!
//! Version 2 has both `packages` and, for npm 6, `dependencies`; version 1 only the latter, nested as node_modules is.

use std::collections::BTreeMap;

use resolver::integrity::Expected;
use serde::Deserialize;

use super::collect::{Collector, Entry, split};
use super::error::malformed_json;
use super::scalar::Scalar;
use super::{Format, LockfileError, Why};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    lockfile_version: Scalar,
    packages: Option<BTreeMap<String, Package>>,
}

#[derive(Deserialize)]
struct Old {
    dependencies: Option<BTreeMap<String, Dependency>>,
}

/// A place in node_modules (version 2 and 3).
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Package {
    name: Scalar,
    version: Scalar,
    resolved: Scalar,
    integrity: Scalar,
    link: bool,
    in_bundle: bool,
    optional: bool,
    dev_optional: bool,
}

/// A dependency (version 1).
#[derive(Default, Deserialize)]
#[serde(default)]
struct Dependency {
    version: Scalar,
    resolved: Scalar,
    integrity: Scalar,
    bundled: bool,
    optional: bool,
    dependencies: BTreeMap<String, Dependency>,
}

pub(super) fn read(text: &str, collector: &mut Collector<'_>) -> Result<(), LockfileError> {
    let malformed = |error: serde_json::Error| malformed_json(Format::Npm.name(), &error);
    let document: Document = serde_json::from_str(text).map_err(malformed)?;
    match (document.lockfile_version.as_str().unwrap_or_default(), document.packages) {
        ("2" | "3", packages) => take_packages(&packages.unwrap_or_default(), collector),
        ("1", _) => {
            let old: Old = serde_json::from_str(text).map_err(malformed)?;
            take_dependencies(&old.dependencies.unwrap_or_default(), collector)
        }
        (version, _) => {
            Err(LockfileError::Version { format: Format::Npm.name(), version: version.to_owned() })
        }
    }
}

fn take_packages(
    packages: &BTreeMap<String, Package>,
    collector: &mut Collector<'_>,
) -> Result<(), LockfileError> {
    for (place, package) in packages {
        // What is not below node_modules is a directory of the project; who uses it has a link to it.
        let Some((_, name)) = place.rsplit_once("node_modules/") else {
            continue;
        };
        if package.in_bundle {
            continue;
        }
        if package.link {
            collector.leave(name, Why::Local)?;
            continue;
        }
        collector.take(&Entry {
            name: package.name.as_str().unwrap_or(name),
            version: package.version.as_str().unwrap_or_default(),
            from: package.resolved.as_str(),
            expected: package.integrity.as_str().and_then(Expected::from_sri),
            optional: package.optional || package.dev_optional,
        })?;
    }
    Ok(())
}

/// Recursive, as deep as the JSON was nested, for which its reader has a limit.
fn take_dependencies(
    dependencies: &BTreeMap<String, Dependency>,
    collector: &mut Collector<'_>,
) -> Result<(), LockfileError> {
    for (name, dependency) in dependencies {
        if !dependency.bundled {
            collector.take(&old_entry(name, dependency))?;
        }
        take_dependencies(&dependency.dependencies, collector)?;
    }
    Ok(())
}

/// In version 1 `version` is a version, `npm:<name>@<version>`, or the address of what is not of the registry.
fn old_entry<'a>(name: &'a str, dependency: &'a Dependency) -> Entry<'a> {
    let version = dependency.version.as_str().unwrap_or_default();
    let alias = version.strip_prefix("npm:").and_then(split);
    let (name, version) = alias.unwrap_or((name, version));
    let address = version.contains([':', '/']).then_some(version);
    Entry {
        name,
        version,
        from: address.or(dependency.resolved.as_str()),
        expected: dependency.integrity.as_str().and_then(Expected::from_sri),
        optional: dependency.optional,
    }
}
