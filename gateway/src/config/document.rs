//! One TOML file, taken apart into settings that know their line.

use std::borrow::Cow;
use std::ops::Range;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use toml_edit::{ImDocument, Item, Key, TableLike};

use super::keys::{Keys, join};
use super::problem::Problem;
use super::setting::Setting;

/// The settings in `text`; what is wrong goes to `problems`, under the name of the file.
pub(crate) fn read(file: &str, text: &str, problems: &mut Vec<Problem>) -> Vec<Setting> {
    match parse(file, text) {
        Ok((document, values)) => {
            let mut reading = Reading { file, text, values, problems, settings: Vec::new() };
            reading.table("", document.as_table());
            reading.settings
        }
        Err(problem) => {
            problems.push(problem);
            Vec::new()
        }
    }
}

/// The document for its lines, and the same document for its values.
fn parse<'a>(file: &str, text: &'a str) -> Result<(ImDocument<&'a str>, Value), Problem> {
    let broken = |span, message: &str| {
        let words = message.trim().replace('\n', "; ");
        Problem::new(format!("{file}:{}", line_of(text, span)), words)
    };
    let document = ImDocument::parse(text).map_err(|error| broken(error.span(), error.message()))?;
    let values: Dict = Toml::from_str(text).map_err(|error| broken(error.span(), error.message()))?;
    Ok((document, Value::from(values)))
}

struct Reading<'a> {
    file: &'a str,
    text: &'a str,
    values: Value,
    problems: &'a mut Vec<Problem>,
    settings: Vec<Setting>,
}

impl Reading<'_> {
    fn table(&mut self, section: &str, table: &dyn TableLike) {
        for (name, _) in table.iter() {
            if let Some((key, item)) = table.get_key_value(name) {
                self.entry(&join(section, &spelled(name)), key, item);
            }
        }
    }

    fn entry(&mut self, name: &str, key: &Key, item: &Item) {
        let line = line_of(self.text, key.span().or_else(|| item.span()));
        let place = format!("{}:{line}", self.file);
        let keys = Keys::known();
        match (item.as_table_like(), self.values.find_ref(name)) {
            (Some(table), _) if keys.is_section(name) => self.table(name, table),
            (None, _) if keys.is_section(name) => {
                let words = format!("{name:?} is a section; write [{name}] and its keys below it");
                self.problems.push(Problem::new(place, words));
            }
            (_, Some(value)) if keys.find(name).is_some() => {
                self.settings.push(Setting::new(place, name, value.clone()));
            }
            _ => self.problems.push(Problem::unknown(place, "key", name, keys.nearest(name))),
        }
    }
}

/// A name with a dot in it stands in quotes, lest it be taken for a section and a key.
fn spelled(name: &str) -> Cow<'_, str> {
    if name.contains('.') { Cow::Owned(format!("'{name}'")) } else { Cow::Borrowed(name) }
}

fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let start = span.map_or(0, |span| span.start).min(text.len());
    1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_in(text: &str) -> Vec<String> {
        let mut problems = Vec::new();
        read("lan.toml", text, &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_setting_knows_its_line() {
        let text = "offline = true\n\n[http]\nlisten = [\n  \"127.0.0.1:1\",\n]\nverify_first_max = 1\n";
        let settings = read("lan.toml", text, &mut Vec::new());
        let places: Vec<_> = settings.iter().map(|one| (one.key.as_str(), one.place.as_str())).collect();
        let expected = [
            ("offline", "lan.toml:1"),
            ("http.listen", "lan.toml:4"),
            ("http.verify_first_max", "lan.toml:7"),
        ];
        assert_eq!(places, expected);
    }

    #[test]
    fn an_unknown_key_names_file_line_and_the_nearest_key() {
        let text = "# for the office\n\n[http]\nlisen = [\"0.0.0.0:80\"]\n";
        let expected = r#"lan.toml:4: unknown key "http.lisen"; did you mean "http.listen"?"#;
        assert_eq!(problems_in(text), [expected]);
    }

    #[test]
    fn an_unknown_section_is_one_problem_whatever_is_in_it() {
        let text = "[htpp]\nlisten = []\nother = 1\n";
        assert_eq!(problems_in(text), [r#"lan.toml:1: unknown key "htpp"; did you mean "http"?"#]);
    }

    #[test]
    fn dotted_keys_and_inline_tables_are_read_like_sections() {
        let text = "http.lisen = []\nstore = { dri = \"/srv\" }\n";
        let expected = [
            r#"lan.toml:1: unknown key "http.lisen"; did you mean "http.listen"?"#,
            r#"lan.toml:2: unknown key "store.dri"; did you mean "store.dir"?"#,
        ];
        assert_eq!(problems_in(text), expected);
    }

    #[test]
    fn a_quoted_name_with_a_dot_is_not_taken_for_a_section_and_a_key() {
        let text = "[http]\nlisten = []\n[\"http.listen\"]\n";
        let expected = r#"lan.toml:3: unknown key "'http.listen'"; did you mean "http.listen"?"#;
        assert_eq!(problems_in(text), [expected]);
    }

    #[test]
    fn a_section_that_is_a_value_is_told_to_be_a_section() {
        let expected = r#"lan.toml:1: "http" is a section; write [http] and its keys below it"#;
        assert_eq!(problems_in("http = 80\n"), [expected]);
        assert_eq!(problems_in("[[http]]\nlisten = []\n"), [expected]);
    }

    #[test]
    fn broken_toml_names_file_and_line() {
        let problems = problems_in("[http]\nlisten = [\n\n[store]\n");
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("lan.toml:"), "{problems:?}");
        assert!(!problems[0].contains('\n'), "{problems:?}");
        let twice = problems_in("offline = true\noffline = false\n");
        assert!(twice[0].starts_with("lan.toml:2: "), "{twice:?}");
    }
}
