//! yarn.lock of yarn 2 and later: YAML, with versions only. Its checksums are those of yarn's own archives, not of
//! the tarballs, so here nothing can be verified but by upstream's word.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::collect::{Collector, Entry, elsewhere, split};
use super::error::malformed_yaml;
use super::pnpm::limits;
use super::scalar::Scalar;
use super::{Format, LockfileError};

/// The versions of `__metadata` from yarn 2 on.
const VERSIONS: std::ops::RangeInclusive<u32> = 4..=10;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Locked {
    version: Scalar,
    resolution: Scalar,
}

pub(super) fn read(text: &str, collector: &mut Collector<'_>) -> Result<(), LockfileError> {
    let entries: BTreeMap<String, Locked> =
        serde_saphyr::from_str_with_options(text, limits()).map_err(|error| malformed_yaml(&error))?;
    let version = entries.get("__metadata").and_then(|head| head.version.as_str()).unwrap_or_default();
    if !version.parse().is_ok_and(|version: u32| VERSIONS.contains(&version)) {
        return Err(LockfileError::Version { format: Format::Berry.name(), version: version.to_owned() });
    }
    for (key, locked) in entries.iter().filter(|(key, _)| *key != "__metadata") {
        take(locked.resolution.as_str().unwrap_or(key), collector)?;
    }
    Ok(())
}

/// `left@npm:1.0.0`, `left@npm:1.0.0::__archiveUrl=<address>`, `left@workspace:.`, `left@https://…`.
fn take(resolution: &str, collector: &mut Collector<'_>) -> Result<(), LockfileError> {
    let (name, reference) = split(resolution).unwrap_or((resolution, ""));
    // A patch is applied to a package that has an entry of its own.
    if reference.starts_with("patch:") {
        return Ok(());
    }
    let Some(reference) = reference.strip_prefix("npm:") else {
        let address = reference.split("::").next().unwrap_or(reference);
        let git = address.contains("#commit=").then_some("git:");
        let from = elsewhere(address).map_or(git.unwrap_or(address), |_| address);
        return collector.take(&Entry { name, from: Some(from), ..Entry::default() });
    };
    let (version, parameters) = reference.split_once("::").unwrap_or((reference, ""));
    let archive = parameters.split('&').find_map(|parameter| parameter.strip_prefix("__archiveUrl="));
    let archive = archive.map(|encoded| percent_decode_str(encoded).decode_utf8_lossy());
    collector.take(&Entry { name, version, from: archive.as_deref(), ..Entry::default() })
}
