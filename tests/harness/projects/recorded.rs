//! Projects that `tests/simulator/record` has recorded: the shape of a real one, with contents of our own.
//!
//! ```text
//! {"format": 1, "package_json": {"dependencies": {"left": "^1.0.0"}}, "packages": [
//!   {"name": "left", "versions": 98, "full": 103734, "abbreviated": 46598, "gzip": 14656, "tags": {"latest": "1.0.1"},
//!    "locked": [{"version": "1.0.1", "packed": 10384, "files": 5, "dependencies": {"right": "^2.0.0"}}]}
//! ]}
//! ```
//!
//! `locked` are the versions that are installed, in the order of publication. How many versions a packument has in
//! all, and how many bytes it has, is told beside them. Of a version there may be whatever the abbreviated packument
//! has, besides the size of the tarball and the number of files in it.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::path::{Component, Path};
use std::{fs, thread};

use serde_json::{Map, Value, json};

use super::Project;
use crate::package::{Package, Past, VersionBuilder};

/// The format that is read here.
const FORMAT: u64 = 1;
/// The most bytes that anything may have.
const LARGEST: usize = 512 << 20;
/// The most versions or files.
const MOST: usize = 100_000;
/// What a version may say, besides its commands, as it stands in package.json.
const FIELDS: [&str; 8] = [
    "dependencies",
    "optionalDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "os",
    "cpu",
    "libc",
    "engines",
];

/// The project of a recording's file.
///
/// # Errors
/// In words, when it cannot be read or is no recording.
pub fn recorded(path: &Path) -> Result<Project, String> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    recording(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The project of a recording's text: npm makes the recorded tree of it.
///
/// # Errors
/// In words, when it is no recording, or one that lacks what it needs itself.
pub fn recording(text: &str) -> Result<Project, String> {
    let document: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    if document["format"] != FORMAT {
        return Err(format!("not a recording of format {FORMAT}: make one with tests/simulator/record"));
    }
    let mut package_json = object(&document, "package_json")?.clone();
    package_json.entry("dependencies").or_insert_with(|| json!({}));
    let packages = document["packages"].as_array().filter(|packages| !packages.is_empty());
    let packages = packages.ok_or("it has no packages")?;
    let described = packages.iter().enumerate().map(|(nth, package)| {
        Described::of(package).map_err(|error| match package["name"].as_str() {
            Some(name) => format!("{name}: {error}"),
            None => format!("package {nth}: {error}"),
        })
    });
    let described: Vec<Described<'_>> = described.collect::<Result<_, String>>()?;
    is_complete(&package_json, &described)?;
    for (key, value) in [("name", json!("a-project")), ("version", json!("1.0.0")), ("private", json!(true))]
    {
        package_json.insert(key.to_owned(), value);
    }
    Ok(Project { package_json: Value::Object(package_json), packages: made(&described) })
}

/// One package of a recording.
struct Described<'a> {
    name: &'a str,
    locked: Vec<Locked<'a>>,
    tags: Vec<(&'a str, &'a str)>,
    past: Past,
}

/// One of its versions.
struct Locked<'a> {
    version: &'a str,
    packed: usize,
    files: usize,
    fields: &'a Map<String, Value>,
}

impl<'a> Described<'a> {
    fn of(package: &'a Value) -> Result<Self, String> {
        let versions = package["locked"].as_array().filter(|versions| !versions.is_empty());
        let versions = versions.ok_or("it has no versions under locked")?;
        let locked: Vec<Locked<'a>> = versions.iter().map(Locked::of).collect::<Result<_, String>>()?;
        let tags = package["tags"].as_object().into_iter().flatten();
        let past = Past {
            versions: number(package, "versions", MOST)?.saturating_sub(locked.len()),
            full: number(package, "full", LARGEST)?,
            abbreviated: number(package, "abbreviated", LARGEST)?,
            gzip: number(package, "gzip", LARGEST)?,
        };
        Ok(Self {
            name: plain(package, "name")?,
            locked,
            tags: tags.filter_map(|(tag, version)| Some((tag.as_str(), version.as_str()?))).collect(),
            past,
        })
    }

    fn make(&self) -> Package {
        let package = self.locked.iter().fold(Package::new(self.name), |package, locked| {
            package.version(locked.version, |version| locked.describe(version))
        });
        let package = self.tags.iter().fold(package, |package, (tag, version)| package.tag(tag, version));
        package.past(self.past)
    }
}

impl<'a> Locked<'a> {
    fn of(version: &'a Value) -> Result<Self, String> {
        let fields = version.as_object().ok_or("a version under locked is no object")?;
        let commands = fields.get("bin").and_then(Value::as_object).into_iter().flatten();
        if let Some((command, _)) = commands.into_iter().find(|(_, path)| !is_inside(path)) {
            return Err(format!("the command {command} is no path inside of the package"));
        }
        Ok(Self {
            version: plain(version, "version")?,
            packed: number(version, "packed", LARGEST)?,
            files: number(version, "files", MOST)?,
            fields,
        })
    }

    fn describe(&self, version: VersionBuilder) -> VersionBuilder {
        let known = FIELDS.iter().filter_map(|key| Some((key, self.fields.get(*key)?)));
        let version = known.fold(version, |version, (key, value)| version.field(key, value.clone()));
        let commands = self.fields.get("bin").and_then(Value::as_object).into_iter().flatten();
        let version = commands.fold(version, |version, (command, path)| {
            version.bin(command, path.as_str().unwrap_or_default().trim_start_matches("./"))
        });
        let version = match self.fields.get("deprecated") {
            Some(_) => version.deprecated("recorded as deprecated"),
            None => version,
        };
        version.packed(self.packed, self.files)
    }
}

/// Whether everything is there that something in it wants.
fn is_complete(package_json: &Map<String, Value>, packages: &[Described<'_>]) -> Result<(), String> {
    let there: BTreeSet<&str> = packages.iter().map(|package| package.name).collect();
    if there.len() < packages.len() {
        return Err("a package is in it twice".to_owned());
    }
    let project = wanted("the project", package_json, &["dependencies", "devDependencies"]);
    let others = packages.iter().flat_map(|package| {
        package.locked.iter().flat_map(|locked| wanted(package.name, locked.fields, &["dependencies"]))
    });
    for (who, name) in project.into_iter().chain(others) {
        if !there.contains(name) {
            return Err(format!("{who} needs {name}, which was not recorded"));
        }
    }
    Ok(())
}

/// Who wants what, by the names that the registry knows.
fn wanted<'a>(who: &'a str, fields: &'a Map<String, Value>, sections: &[&str]) -> Vec<(&'a str, &'a str)> {
    let entries = sections.iter().filter_map(|section| fields.get(*section)?.as_object()).flatten();
    entries.map(|(name, range)| (who, target(name, range.as_str().unwrap_or_default()))).collect()
}

/// The package behind `npm:other@^1.0.0`, or this one.
fn target<'a>(name: &'a str, range: &'a str) -> &'a str {
    let Some(other) = range.strip_prefix("npm:") else { return name };
    let end = other.get(1..).and_then(|rest| rest.find('@')).map_or(other.len(), |at| at + 1);
    &other[..end]
}

/// Tarballs take their time: all processors make them.
fn made(described: &[Described<'_>]) -> Vec<Package> {
    let count = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let shares = (0..count).map(|first| {
            scope.spawn(move || described.iter().skip(first).step_by(count).map(Described::make).collect())
        });
        let shares: Vec<thread::ScopedJoinHandle<'_, Vec<Package>>> = shares.collect();
        shares.into_iter().flat_map(|share| share.join().expect("a package of checked parts")).collect()
    })
}

fn object<'a>(value: &'a Value, key: &str) -> Result<&'a Map<String, Value>, String> {
    value[key].as_object().ok_or_else(|| format!("{key} is missing, or no object"))
}

/// A name or a version's number.
fn plain<'a>(value: &'a Value, key: &str) -> Result<&'a str, String> {
    let word = value[key].as_str().filter(|word| !word.is_empty());
    let word = word.ok_or_else(|| format!("{key} is missing, or no text"))?;
    let is_plain =
        word.chars().all(|letter| letter.is_ascii_alphanumeric() || "@/._-~+!'()*".contains(letter));
    if is_plain { Ok(word) } else { Err(format!("{key} is {word:?}, which the registry has not")) }
}

fn number(value: &Value, key: &str, limit: usize) -> Result<usize, String> {
    let number = value[key].as_u64().and_then(|number| usize::try_from(number).ok());
    match number.ok_or_else(|| format!("{key} is missing, or no number"))? {
        number if number <= limit => Ok(number),
        number => Err(format!("{key} is {number}, more than {limit}")),
    }
}

fn is_inside(path: &Value) -> bool {
    let path = path.as_str().map(Path::new);
    path.is_some_and(|path| {
        path.components().all(|part| matches!(part, Component::CurDir | Component::Normal(_)))
    })
}
