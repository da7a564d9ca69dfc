//! The configuration in effect, as a TOML file that says where each value was written.

use std::fmt::Write;

use figment::value::{Num, Value};

use super::Loaded;
use super::keys::{Key, Keys};
use super::peers;
use crate::terminal::escape;

impl Loaded {
    /// A file that is itself a valid configuration, with the origin of each value as a comment behind it.
    ///
    /// # Errors
    /// When a value cannot be written as text, such as a path that is not UTF-8.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        let values = Value::serialize(&self.config)?;
        let mut file = String::new();
        let mut current = "";
        for key in Keys::known().iter() {
            let (section, _) = key.parts();
            if section != current {
                current = section;
                file.push_str(&format!("\n[{section}]\n"));
            }
            file.push_str(&self.line(key, &values));
        }
        for (list, origins) in &self.entries {
            let entries = values.find_ref(list).and_then(Value::as_array).unwrap_or_default();
            for (entry, origin) in entries.iter().zip(origins) {
                file.push_str(&table(list, entry, origin));
            }
        }
        Ok(file)
    }

    fn line(&self, key: &Key, values: &Value) -> String {
        let (_, name) = key.parts();
        let value = values.find_ref(&key.name).map_or_else(|| key.default.clone(), toml);
        let mut line = format!("{name} = {value}");
        if let Some(origin) = self.origins.get(&key.name) {
            // Writing to a string cannot fail.
            let _ = write!(line, "  # {}", escape(origin));
        }
        line.push('\n');
        line
    }
}

/// An entry of a list, its values in the order of the example.
fn table(list: &'static str, entry: &Value, origin: &str) -> String {
    let mut lines = format!("\n[[{list}]]  # {}\n", escape(origin));
    for (name, value) in peers::names(list).filter_map(|name| Some((name, entry.find_ref(name)?))) {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{name} = {}", toml(value));
    }
    lines
}

/// What is not set is written as an empty string, as in the default file.
fn toml(value: &Value) -> toml_edit::Value {
    match value {
        Value::String(_, text) => text.as_str().into(),
        Value::Char(_, letter) => letter.to_string().into(),
        Value::Bool(_, truth) => (*truth).into(),
        Value::Num(_, number) => toml_number(*number),
        Value::Array(_, entries) => entries.iter().map(toml).collect(),
        Value::Dict(_, entries) => entries.iter().map(|(name, value)| (name, toml(value))).collect(),
        Value::Empty(..) => "".into(),
    }
}

/// TOML's own integers end where `i64` does; a number that was read as a short one is written as short.
fn toml_number(number: Num) -> toml_edit::Value {
    if let Num::F32(number) = number {
        return number.to_string().parse().unwrap_or_else(|_| f64::from(number)).into();
    }
    match number.to_i128().or_else(|| number.to_u128().and_then(|n| i128::try_from(n).ok())) {
        Some(integer) => i64::try_from(integer).unwrap_or(i64::MAX).into(),
        None => number.to_f64().unwrap_or_default().into(),
    }
}
