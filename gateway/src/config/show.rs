//! The configuration in effect, as a TOML file that says where each value was written.

use std::fmt::Write;

use figment::value::{Num, Value};

use super::Loaded;
use super::keys::{Key, Keys};
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

/// TOML's own integers end where `i64` does.
fn toml_number(number: Num) -> toml_edit::Value {
    match number.to_i128().or_else(|| number.to_u128().and_then(|n| i128::try_from(n).ok())) {
        Some(integer) => i64::try_from(integer).unwrap_or(i64::MAX).into(),
        None => number.to_f64().unwrap_or_default().into(),
    }
}
