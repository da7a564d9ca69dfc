//! The keys that exist: those of the default file, which is compiled in, and no others.

use std::sync::LazyLock;

use toml_edit::{ImDocument, Item, TableLike, Value};

/// The file that holds every key, its default and its sentence.
pub(crate) const DEFAULTS: &str = include_str!("../../../config/open-registry.toml");

const ENVIRONMENT_PREFIX: &str = "OPEN_REGISTRY_";

static KNOWN: LazyLock<Keys> = LazyLock::new(|| {
    let text = with_examples(DEFAULTS);
    let defaults = ImDocument::parse(text).expect("the default file is TOML, as the tests see");
    let mut keys = Keys::default();
    keys.collect("", defaults.as_table());
    keys
});

/// Every key, in the order of the default file, and every section.
#[derive(Default)]
pub(crate) struct Keys {
    keys: Vec<Key>,
    sections: Vec<String>,
    lists: Vec<String>,
    members: Vec<Key>,
}

/// One key, and what it is when nobody says otherwise.
pub(crate) struct Key {
    /// Section and key: `http.listen`.
    pub(crate) name: String,
    /// Its value in the default file; for a key of a list's entry, that of the example.
    pub(crate) default: Value,
}

impl Keys {
    /// The keys of the default file.
    pub(crate) fn known() -> &'static Self {
        &KNOWN
    }

    fn collect(&mut self, section: &str, table: &dyn TableLike) {
        for (name, item) in table.iter() {
            let name = join(section, name);
            match item {
                Item::Value(value) => {
                    let default = value.clone().decorated("", "");
                    self.keys.push(Key { name, default });
                }
                Item::Table(table) => {
                    self.collect(&name, table);
                    self.sections.push(name);
                }
                Item::ArrayOfTables(tables) => {
                    for table in tables {
                        self.collect_members(&name, table);
                    }
                    self.lists.push(name);
                }
                Item::None => {}
            }
        }
    }

    /// The keys of a list's entry are those of its example.
    fn collect_members(&mut self, list: &str, example: &dyn TableLike) {
        for (name, item) in example.iter() {
            let name = join(list, name);
            if let Some(table) = item.as_table_like() {
                self.collect_members(&name, table);
                self.sections.push(name);
            } else if let Some(value) = item.as_value() {
                self.members.push(Key { name, default: value.clone().decorated("", "") });
            }
        }
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Key> {
        self.keys.iter()
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// A key of a list's entry: `peer.urls`.
    pub(crate) fn member(&self, name: &str) -> Option<&Key> {
        self.members.iter().find(|key| key.name == name)
    }

    /// The keys of a list's entries, in the order of the example.
    pub(crate) fn members(&self) -> std::slice::Iter<'_, Key> {
        self.members.iter()
    }

    /// Whether `name` is written as often as there are entries: `[[peer]]`.
    pub(crate) fn is_list(&self, name: &str) -> bool {
        self.lists.iter().any(|list| list == name)
    }

    pub(crate) fn is_section(&self, name: &str) -> bool {
        self.sections.iter().any(|section| section == name)
    }

    /// The key or section that was most likely meant, if one is close enough to be offered.
    pub(crate) fn nearest(&self, name: &str) -> Option<&str> {
        let in_list = |name: &str| name.split_once('.').is_some_and(|(list, _)| self.is_list(list));
        let keys = self.keys.iter().chain(&self.members).map(|key| &key.name);
        keys.chain(&self.sections)
            .chain(&self.lists)
            .filter(|known| in_list(known) == in_list(name))
            .map(|known| (strsim::damerau_levenshtein(name, known), known.as_str()))
            .filter(|(distance, known)| *distance <= known.len() / 3 || last(known) == last(name))
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, known)| known)
    }
}

impl Key {
    /// Section and key apart: `("http", "listen")`, or `("", "offline")` at the top level.
    pub(crate) fn parts(&self) -> (&str, &str) {
        self.name.rsplit_once('.').unwrap_or(("", &self.name))
    }

    /// What a good value looks like: the default, or for want of one an example.
    pub(crate) fn example(&self) -> Option<String> {
        match self.name.as_str() {
            "http.trusted_proxies" => Some(r#"["10.0.0.0/8"]"#.to_owned()),
            "zone.addresses" => Some(r#"["192.168.7.9"]"#.to_owned()),
            "dns.listen" => Some(r#"["192.168.7.9:53"]"#.to_owned()),
            "dns.tls_listen" => Some(r#"["192.168.7.9:853"]"#.to_owned()),
            "dns.trusted_forwarders" => Some(r#"["192.168.0.0/16"]"#.to_owned()),
            "dns.forward" => Some(r#"["192.168.7.1"]"#.to_owned()),
            "http.tls_listen" => Some(r#"["0.0.0.0:443"]"#.to_owned()),
            "tls.cert" => Some(r#""/etc/open-registry/tls/cert.pem""#.to_owned()),
            "tls.key" => Some(r#""/etc/open-registry/tls/key.pem""#.to_owned()),
            "http.canonical_tarballs" => Some(r#""https://npm.example.com""#.to_owned()),
            "steer.geoip" => Some(r#"["/var/lib/GeoIP/city.mmdb"]"#.to_owned()),
            "upstream.changes" => Some(r#""https://npm.example.com/registry""#.to_owned()),
            _ if is_empty(&self.default) => None,
            _ => Some(self.default.to_string()),
        }
    }
}

/// The default file with its examples in effect: the lines that begin with `#` and no space behind it.
pub(crate) fn with_examples(text: &str) -> String {
    let example = |line: &&str| !line.is_empty() && !line.starts_with(' ');
    let lines = text.lines().map(|line| line.strip_prefix('#').filter(example).unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// `http` and `listen` to `http.listen`.
pub(crate) fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// `http.listen` to `OPEN_REGISTRY_HTTP__LISTEN`.
pub(crate) fn variable_of(key: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// `OPEN_REGISTRY_HTTP__LISTEN` to `http.listen`; `None` for a variable that is none of ours.
pub(crate) fn key_of(variable: &str) -> Option<String> {
    let name = variable.strip_prefix(ENVIRONMENT_PREFIX)?;
    (!is_service_link(name)).then(|| name.to_ascii_lowercase().replace("__", "."))
}

/// Kubernetes and Docker describe a service called `open-registry` to its neighbours in variables of their own.
fn is_service_link(name: &str) -> bool {
    let begins = |prefix| name.starts_with(prefix);
    name == "PORT" || begins("PORT_") || begins("SERVICE_HOST") || begins("SERVICE_PORT")
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn is_empty(value: &Value) -> bool {
    value.as_str() == Some("") || value.as_array().is_some_and(toml_edit::Array::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_of_the_default_file() {
        let keys = Keys::known();
        assert!(keys.find("offline").is_some());
        assert!(keys.find("http.listen").is_some());
        assert!(keys.is_section("http"));
        assert!(keys.find("http").is_none());
        assert!(keys.is_list("peer") && keys.is_section("peer.place"));
        assert!(keys.member("peer.urls").is_some() && keys.find("peer.urls").is_none());
    }

    #[test]
    fn the_nearest_key_is_the_one_that_was_meant() {
        let nearest = |name| Keys::known().nearest(name);
        assert_eq!(nearest("http.lisen"), Some("http.listen"));
        assert_eq!(nearest("htpp"), Some("http"));
        assert_eq!(nearest("private.scope"), Some("private.scopes"));
        assert_eq!(nearest("verify_first_max"), Some("http.verify_first_max"));
        assert_eq!(nearest("colour"), None);
        assert_eq!(nearest("peers"), Some("peer"));
        assert_eq!(nearest("peer.url"), Some("peer.urls"));
        assert_eq!(nearest("peer.place.latidude"), Some("peer.place.latitude"));
        assert_eq!(nearest("peer.listen"), None);
        assert_eq!(nearest("urls"), None);
    }

    #[test]
    fn a_key_and_its_variable_lead_to_each_other() {
        assert_eq!(variable_of("http.listen"), "OPEN_REGISTRY_HTTP__LISTEN");
        for key in Keys::known().iter() {
            assert_eq!(key_of(&variable_of(&key.name)).as_deref(), Some(key.name.as_str()));
        }
    }

    #[test]
    fn what_an_orchestrator_says_of_a_service_of_our_name_is_not_for_us() {
        for variable in ["PORT", "PORT_80_TCP_ADDR", "SERVICE_HOST", "SERVICE_PORT_HTTP"] {
            assert_eq!(key_of(&format!("OPEN_REGISTRY_{variable}")), None);
        }
        assert_eq!(key_of("HOME"), None);
    }
}
