//! Where values come from: the default file, the operator's files, the environment and the flags.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use figment::value::Value;

use super::document::{self, Table};
use super::keys::{DEFAULTS, Keys, key_of, variable_of};
use super::problem::Problem;
use super::setting::Setting;

/// How a setting of the default file is called when asked where it comes from.
pub(crate) const DEFAULT: &str = "default";

/// Everything a configuration is read from, so that a test can bring its own.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The operator's files.
    pub files: Files,
    /// Names and values; those that do not begin with `OPEN_REGISTRY_` are passed over.
    pub environment: Vec<(String, OsString)>,
    /// What the flags of the command line set.
    pub flags: Vec<Setting>,
}

/// The operator's files.
#[derive(Debug, Clone)]
pub enum Files {
    /// `open-registry.toml` and `conf.d/*.toml` in this directory; none of them need exist.
    Directory(PathBuf),
    /// This file alone, which must exist.
    Only(PathBuf),
}

/// The settings of all layers, lowest first, and the files they were read from.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    pub(crate) settings: Vec<Setting>,
    /// Entries of lists: a file adds to those of the files before it.
    pub(crate) tables: Vec<Table>,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) problems: Vec<Problem>,
}

impl Sources {
    /// This process: `/etc/open-registry` or the one file given, its environment, and these flags.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<Setting>) -> Self {
        let files = file.map_or_else(|| Files::Directory("/etc/open-registry".into()), Files::Only);
        let text = |(name, value): (OsString, OsString)| name.into_string().ok().map(|name| (name, value));
        Self { files, environment: std::env::vars_os().filter_map(text).collect(), flags }
    }
}

impl Layers {
    /// The settings of the default file.
    pub(crate) fn defaults() -> Vec<Setting> {
        let settings = document::read(DEFAULT, DEFAULTS, &mut Vec::new()).settings;
        settings.into_iter().map(|setting| Setting { place: DEFAULT.to_owned(), ..setting }).collect()
    }

    pub(crate) fn read(sources: &Sources) -> Self {
        let mut layers = Self { settings: Self::defaults(), ..Self::default() };
        layers.read_files(&sources.files);
        for (variable, value) in &sources.environment {
            layers.read_variable(variable, value);
        }
        layers.settings.extend(sources.flags.iter().cloned());
        layers
    }

    fn read_files(&mut self, files: &Files) {
        match files {
            Files::Only(file) => self.read_file(file, Absent::IsAProblem),
            Files::Directory(directory) => {
                self.read_file(&directory.join("open-registry.toml"), Absent::IsFine);
                for file in self.drop_ins(&directory.join("conf.d")) {
                    self.read_file(&file, Absent::IsFine);
                }
            }
        }
    }

    /// The `*.toml` files of a directory in name order, hidden ones passed over.
    fn drop_ins(&mut self, directory: &Path) -> Vec<PathBuf> {
        let listed = std::fs::read_dir(directory)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect());
        let mut files: Vec<PathBuf> = match listed {
            Ok(files) => files,
            Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                self.problems.push(unreadable(directory, &error));
                return Vec::new();
            }
        };
        files.retain(|file| is_drop_in(file));
        files.sort();
        files
    }

    fn read_file(&mut self, file: &Path, absent: Absent) {
        match std::fs::read_to_string(file) {
            Ok(text) => {
                let name = file.display().to_string();
                let contents = document::read(&name, &text, &mut self.problems);
                self.settings.extend(contents.settings);
                self.tables.extend(contents.tables);
                self.files.push(file.to_owned());
            }
            Err(error) if error.kind() == ErrorKind::NotFound && absent == Absent::IsFine => {}
            Err(error) => self.problems.push(unreadable(file, &error)),
        }
    }

    fn read_variable(&mut self, variable: &str, value: &OsString) {
        let Some(name) = key_of(variable) else { return };
        let keys = Keys::known();
        let Some(key) = keys.find(&name) else {
            let nearest = keys.nearest(&name).map(variable_of);
            self.problems.push(Problem::unknown("environment", "variable", variable, nearest.as_deref()));
            return;
        };
        match value.to_str() {
            Some(text) => self.settings.push(Setting::new(variable, name, typed_like(&key.default, text))),
            None => self.problems.push(Problem::new(variable, "is not UTF-8; write it again")),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Absent {
    IsFine,
    IsAProblem,
}

fn is_drop_in(file: &Path) -> bool {
    let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && file.extension().is_some_and(|extension| extension == "toml")
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    Problem::new(path.display().to_string(), format!("cannot be read: {error}"))
}

/// What a variable's text means for a key with this default: a text stays as it is, a list is split.
fn typed_like(default: &toml_edit::Value, text: &str) -> Value {
    match default {
        toml_edit::Value::String(_) => Value::from(text),
        toml_edit::Value::Array(_) => list(text),
        _ => text.trim().parse().unwrap_or_else(|never: std::convert::Infallible| match never {}),
    }
}

/// `["a", "b"]`, `a, b` and `a` are lists; `[::1]:6736` begins with a bracket and is one address all the same.
fn list(text: &str) -> Value {
    let text = text.trim();
    if text.starts_with('[')
        && text.ends_with(']')
        && let Ok(value @ Value::Array(..)) = text.parse::<Value>()
    {
        return value;
    }
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    Value::from(entries.map(str::to_owned).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(value: &Value) -> Vec<&str> {
        value.as_array().unwrap().iter().map(|entry| entry.as_str().unwrap()).collect()
    }

    #[test]
    fn a_list_in_a_variable_is_an_array_or_separated_by_commas() {
        assert_eq!(texts(&list(r#"["127.0.0.1:1", "[::1]:1"]"#)), ["127.0.0.1:1", "[::1]:1"]);
        assert_eq!(texts(&list("127.0.0.1:1, [::1]:1")), ["127.0.0.1:1", "[::1]:1"]);
        assert_eq!(texts(&list("[::1]:1,[::1]:2")), ["[::1]:1", "[::1]:2"]);
        assert_eq!(texts(&list("@example")), ["@example"]);
        assert!(texts(&list("")).is_empty());
    }

    #[test]
    fn a_text_that_looks_like_a_number_stays_a_text() {
        assert_eq!(typed_like(&toml_edit::Value::from("16MiB"), "4096").as_str(), Some("4096"));
        assert_eq!(typed_like(&toml_edit::Value::from(false), " true ").to_bool(), Some(true));
    }

    #[test]
    fn only_visible_toml_files_are_drop_ins() {
        let kept = |file: &str| is_drop_in(Path::new(file));
        assert!(kept("conf.d/10-lan.toml"));
        assert!(!kept("conf.d/.10-lan.toml") && !kept("conf.d/10-lan.toml.bak") && !kept("conf.d/README"));
    }
}
