//! Layers to one checked configuration, or to all that is wrong with them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use figment::Figment;
use figment::error::Kind;

use super::keys::{Key, Keys};
use super::layers::{DEFAULT, Layers, Sources};
use super::problem::{Problem, Problems};
use super::setting::Setting;
use super::{Config, blocks, peers, rules};

/// How a sentence goes on that shows what a good value looks like.
const ADVICE: &str = "write it like";

/// A configuration, and where it was found.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration in effect.
    pub config: Config,
    /// The files that were read, lowest layer first; the default file is not among them.
    pub files: Vec<PathBuf>,
    /// Where the value of each key was written.
    pub(crate) origins: BTreeMap<String, String>,
    /// Where each entry of a list was written, by the list's name.
    pub(crate) entries: BTreeMap<&'static str, Vec<String>>,
}

impl Loaded {
    /// Where the value of a key (`upstream.url`) was written: `file:line`, a variable, a flag or the defaults.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&str> {
        self.origins.get(key).map(String::as_str)
    }
}

/// Reads all layers and checks them.
///
/// # Errors
/// All problems that were found: unknown keys, values of the wrong type, values that no gateway can work with.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let Layers { settings, tables, files, mut problems } = Layers::read(sources);
    let figment = settings.into_iter().fold(Figment::new(), Figment::merge);
    let origins = origins(&figment);
    let of = |list| tables.iter().filter(|table| table.list == list).collect::<Vec<_>>();
    let peer = peers::read(&of(peers::LIST), &mut problems);
    let block = blocks::read(&of(blocks::LIST), &mut problems);
    let config = extract(figment, &mut problems).map(|config| Config { peer, block, ..config });
    if let Some(config) = &config {
        problems.extend(rules::broken(config).into_iter().map(|broken| {
            let place = origins.get(broken.key).map_or(broken.key, String::as_str);
            Problem::new(place, format!("{}: {}", broken.key, broken.words))
        }));
    }
    match config {
        Some(config) if problems.is_empty() => {
            let places = |list| (list, of(list).into_iter().map(|table| table.place.clone()).collect());
            let entries = [peers::LIST, blocks::LIST].map(places).into();
            Ok(Loaded { config, files, origins, entries })
        }
        _ => Err(Problems(problems)),
    }
}

fn origins(figment: &Figment) -> BTreeMap<String, String> {
    let origin = |key: &Key| {
        let metadata = figment.find_metadata(&key.name)?;
        Some((key.name.clone(), metadata.name.to_string()))
    };
    Keys::known().iter().filter_map(origin).collect()
}

/// A value that cannot be read is reported and gives way to its default, so that the rest is checked as well.
fn extract(mut figment: Figment, problems: &mut Vec<Problem>) -> Option<Config> {
    for _ in 0..=Keys::known().iter().len() {
        let error = match figment.extract() {
            Ok(config) => return Some(config),
            Err(error) => error,
        };
        let key = key_of(&error);
        let place = error.metadata.as_ref().map_or("configuration", |metadata| &metadata.name);
        problems.push(explain(place, &error, key));
        let key = key?;
        figment = figment.merge(Setting::new(DEFAULT, &*key.name, default_of(key)?));
    }
    None
}

fn key_of(error: &figment::Error) -> Option<&'static Key> {
    let keys = Keys::known();
    (1..=error.path.len()).find_map(|length| keys.find(&error.path[..length].join(".")))
}

fn default_of(key: &Key) -> Option<figment::value::Value> {
    Layers::defaults().into_iter().find(|setting| setting.key == key.name).map(|setting| setting.value)
}

/// The words for a value at this place that cannot be read.
pub(crate) fn explain(place: &str, error: &figment::Error, key: Option<&Key>) -> Problem {
    let entry = match error.path.last().and_then(|index| index.parse::<usize>().ok()) {
        Some(index) => format!(", entry {}", index + 1),
        None => String::new(),
    };
    let name = key.map_or_else(|| error.path.join("."), |key| format!("{}{entry}", key.name));
    let what = match &error.kind {
        Kind::InvalidType(found, wanted) | Kind::InvalidValue(found, wanted) => {
            format!("expected {wanted}, found {found}")
        }
        kind => kind.to_string(),
    };
    // Values that have rules of their own say so themselves.
    let example = key.filter(|_| !what.contains(ADVICE)).and_then(Key::example);
    let example = example.map(|example| format!("; {ADVICE} {example}"));
    Problem::new(place, format!("{name}: {what}{}", example.unwrap_or_default()))
}
