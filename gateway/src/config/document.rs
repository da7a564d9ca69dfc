//! One TOML file, taken apart into settings and entries of lists that know their line.

use std::borrow::Cow;
use std::ops::Range;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use toml_edit::{ImDocument, Item, Key, TableLike};

use super::keys::{Keys, join};
use super::problem::Problem;
use super::setting::Setting;

/// What a file says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contents {
    pub(crate) settings: Vec<Setting>,
    /// The entries of lists, in the order of the file.
    pub(crate) tables: Vec<Table>,
}

/// One entry of a list: `[[peer]]` and what stands below it.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// The list's name: `peer`.
    pub(crate) list: String,
    /// `file:line`
    pub(crate) place: String,
    /// Its values, each with the list's name before its key: `peer.urls`.
    pub(crate) settings: Vec<Setting>,
}

/// What stands in `text`; what is wrong with it goes to `problems`, under the name of the file.
pub(crate) fn read(file: &str, text: &str, problems: &mut Vec<Problem>) -> Contents {
    match parse(file, text) {
        Ok((document, values)) => {
            let lines = Lines::of(text);
            let mut reading =
                Reading { file, lines: &lines, values, problems, contents: Contents::default() };
            reading.table("", document.as_table());
            reading.contents
        }
        Err(problem) => {
            problems.push(problem);
            Contents::default()
        }
    }
}

/// The document for its lines, and the same document for its values.
fn parse<'a>(file: &str, text: &'a str) -> Result<(ImDocument<&'a str>, Value), Problem> {
    let broken = |span, message: &str| {
        let words = message.trim().replace('\n', "; ");
        Problem::new(format!("{file}:{}", Lines::of(text).line(span)), words)
    };
    let document = ImDocument::parse(text).map_err(|error| broken(error.span(), error.message()))?;
    let values: Dict = Toml::from_str(text).map_err(|error| broken(error.span(), error.message()))?;
    Ok((document, Value::from(values)))
}

struct Reading<'a> {
    file: &'a str,
    lines: &'a Lines,
    values: Value,
    problems: &'a mut Vec<Problem>,
    contents: Contents,
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
        let place = self.place(key.span().or_else(|| item.span()));
        let keys = Keys::known();
        match (item.as_table_like(), self.values.find_ref(name)) {
            (_, Some(values)) if keys.is_list(name) => self.list(name, item, &values.clone(), place),
            (Some(table), _) if keys.is_section(name) => self.table(name, table),
            (None, _) if keys.is_section(name) => {
                self.problems.push(Problem::new(place, no_section(name)));
            }
            (_, Some(value)) if keys.find(name).or_else(|| keys.member(name)).is_some() => {
                self.contents.settings.push(Setting::new(place, name, value.clone()));
            }
            _ => self.problems.push(Problem::unknown(place, "key", name, keys.nearest(name))),
        }
    }

    /// `[[peer]]` as often as it is there, or `peer = [{ ... }, { ... }]`.
    fn list(&mut self, name: &str, item: &Item, values: &Value, place: String) {
        let Some((tables, values)) = tables(item).zip(values.as_array()) else {
            let words =
                format!("{name:?} is a list; write [[{name}]] and its keys below it, for each of them");
            self.problems.push(Problem::new(place, words));
            return;
        };
        for ((span, table), value) in tables.into_iter().zip(values) {
            let place = self.place(span);
            let values = figment::util::nest(name, value.clone());
            let Reading { file, lines, .. } = *self;
            let contents = Contents::default();
            let mut inside = Reading { file, lines, values, problems: &mut *self.problems, contents };
            inside.table(name, table);
            let settings = inside.contents.settings;
            self.contents.tables.push(Table { list: name.to_owned(), place, settings });
        }
    }

    fn place(&self, span: Option<Range<usize>>) -> String {
        format!("{}:{}", self.file, self.lines.line(span))
    }
}

/// A table, and where it stands.
type Spanned<'a> = (Option<Range<usize>>, &'a dyn TableLike);

/// The tables that a list consists of; `None`: it is no list of tables.
fn tables(item: &Item) -> Option<Vec<Spanned<'_>>> {
    if let Some(tables) = item.as_array_of_tables() {
        return Some(tables.iter().map(|table| (table.span(), table as &dyn TableLike)).collect());
    }
    let inline = |value: &toml_edit::Value| value.as_inline_table().is_some();
    let array = item.as_array().filter(|array| array.iter().all(inline))?;
    let tables = array.iter().filter_map(|value| {
        let table = value.as_inline_table()?;
        Some((value.span(), table as &dyn TableLike))
    });
    Some(tables.collect())
}

fn no_section(name: &str) -> String {
    match name.split_once('.') {
        Some((_, inside)) => {
            format!("{name:?} is a table; write it like {inside} = {{ {} }}", examples(name))
        }
        None => format!("{name:?} is a section; write [{name}] and its keys below it"),
    }
}

/// `latitude = 51.05, longitude = 13.74`
fn examples(section: &str) -> String {
    let inside = |name: &'static str| name.strip_prefix(section)?.strip_prefix('.');
    let members = Keys::known().members();
    let examples = members.filter_map(|key| Some(format!("{} = {}", inside(&key.name)?, key.default)));
    examples.collect::<Vec<_>>().join(", ")
}

/// A name with a dot in it stands in quotes, lest it be taken for a section and a key.
fn spelled(name: &str) -> Cow<'_, str> {
    if name.contains('.') { Cow::Owned(format!("'{name}'")) } else { Cow::Borrowed(name) }
}

/// Where each line but the first begins.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at + 1).collect())
    }

    /// The number of the line in which a span begins.
    fn line(&self, span: Option<Range<usize>>) -> usize {
        let start = span.map_or(0, |span| span.start);
        1 + self.0.partition_point(|line| *line <= start)
    }
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
        let settings = read("lan.toml", text, &mut Vec::new()).settings;
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
    fn an_entry_of_a_list_knows_its_line_and_that_of_each_of_its_values() {
        let text =
            "\n[[peer]]\nid = \"a\"\nplace = { asn = 1 }\n\n[[peer]]\n\nurls = []\n[peer.place]\nasn = 2\n";
        let inline = "offline = true\npeer = [\n  { id = \"a\" },\n  {},\n]\n";
        let places = |text| -> Vec<String> {
            let tables = read("lan.toml", text, &mut Vec::new()).tables;
            let places = |table: &Table| {
                let settings = table.settings.iter().map(|one| format!("{} {}", one.key, one.place));
                std::iter::once(table.place.clone()).chain(settings).collect::<Vec<_>>()
            };
            tables.iter().flat_map(places).collect()
        };
        let expected = ["lan.toml:2", "peer.id lan.toml:3", "peer.place.asn lan.toml:4"];
        let second = ["lan.toml:6", "peer.urls lan.toml:8", "peer.place.asn lan.toml:10"];
        assert_eq!(places(text), [expected, second].concat());
        assert_eq!(places(inline), ["lan.toml:3", "peer.id lan.toml:3", "lan.toml:4"]);
    }

    #[test]
    fn an_unknown_key_in_an_entry_names_its_line_and_the_nearest_key_of_an_entry() {
        let text = "[[peer]]\nurl = []\n[[peer]]\nplace = { lattitude = 1 }\nlisten = 1\n";
        let expected = [
            r#"lan.toml:2: unknown key "peer.url"; did you mean "peer.urls"?"#,
            r#"lan.toml:4: unknown key "peer.place.lattitude"; did you mean "peer.place.latitude"?"#,
            r#"lan.toml:5: unknown key "peer.listen"; `open-registry config` prints every key"#,
        ];
        assert_eq!(problems_in(text), expected);
    }

    #[test]
    fn what_is_no_list_is_told_how_one_is_written() {
        let expected =
            r#"lan.toml:1: "peer" is a list; write [[peer]] and its keys below it, for each of them"#;
        for text in ["[peer]\nid = \"a\"\n", "peer = \"a\"\n", "peer = [\"a\"]\n", "peer.id = \"a\"\n"] {
            assert_eq!(problems_in(text), [expected], "{text}");
        }
        let place = problems_in("[[peer]]\nplace = \"Dresden\"\n");
        assert!(
            place[0].starts_with("lan.toml:2: \"peer.place\" is a table; write it like place = { "),
            "{place:?}"
        );
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
