//! What is installed: a recorded project, or the usual packages and as many more as are asked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use harness::Package;
use harness::projects::{self, Project};
use serde_json::Value;

use super::options::Options;

/// The smallest of the further packages.
const SMALLEST: f64 = 2_000.0;
/// How often it may double: half of all are smaller than 32 kB, the largest has 512 kB, and the mean is 92 kB.
const DOUBLED: f64 = 8.0;

/// The project that the options ask for. What they name is a recording by now.
pub(crate) fn of(options: &Options) -> Result<Project, String> {
    match options.packages {
        Some(packages) => Ok(synthetic(packages, options.seed)),
        None => projects::recorded(&options.project),
    }
}

/// The recording that the options name; if they name a package.json, what npm makes of it now, written into this folder.
/// There has to be a way to a registry for that.
pub(crate) fn recording(options: &Options, folder: &Path) -> Result<PathBuf, String> {
    let named = &options.project;
    if options.packages.is_some() || !is_package_json(named)? {
        return Ok(named.clone());
    }
    // By this name it stands in the report; above no project, or clients would take it for that project's own.
    let apart = folder.join("recorded");
    let made = apart.join(named.file_name().unwrap_or_default());
    let complaint = |error| format!("cannot write {}: {error}", made.display());
    let file = fs::create_dir(&apart).and_then(|()| fs::File::create(&made)).map_err(complaint)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("simulator/record");
    let recorded = Command::new(&script).arg(named).stdin(Stdio::null()).stdout(file).status();
    let ended =
        recorded.map_err(|error| format!("{}, which needs node and npm: {error}", script.display()))?;
    if ended.success() { Ok(made) } else { Err(format!("{} could not be recorded", named.display())) }
}

/// Whether it is one rather than a recording, or neither.
fn is_package_json(file: &Path) -> Result<bool, String> {
    let text = fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let document: Value = serde_json::from_slice(&text).unwrap_or_default();
    let has = |key| document.get(key).is_some();
    Ok(!has("format") && (has("dependencies") || has("devDependencies")))
}

fn synthetic(packages: usize, seed: u64) -> Project {
    (0..packages).fold(projects::typical(), |project, nth| {
        let name = format!("part-{nth:04}");
        let package = Package::new(&name).version("1.0.0", |version| version.size(size(seed, nth)));
        project.with(package, "^1.0.0")
    })
}

/// Many are small, and few are large, as on the npm registry.
fn size(seed: u64, nth: usize) -> usize {
    let doubled = DOUBLED * fraction(seed, nth as u64);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between the smallest and the largest"
    )]
    let size = (SMALLEST * doubled.exp2()) as usize;
    size
}

/// A number from 0 to 1 that follows from two others (splitmix64).
pub(crate) fn fraction(seed: u64, nth: u64) -> f64 {
    let mixed = (seed << 32 ^ nth).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}
