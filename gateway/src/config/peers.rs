//! The `[[peer]]` entries of all files: read one by one, and what each must be beyond being of its type.

use std::collections::HashMap;

use figment::value::{Dict, Value};
use ipnet::IpNet;
use resolver::fold::{Folded, site, stands_for_v4};
use resolver::geo::Code;
use resolver::peer::PeerId;
use serde::de::DeserializeOwned;
use url::Url;

use super::document::Table;
use super::keys::{Key, Keys};
use super::load::explain;
use super::problem::Problem;
use super::rules::{base, leads_to, require};
use super::setting::Setting;
use crate::steer::{self, Entry};

/// The name of the list.
pub(crate) const LIST: &str = "peer";

/// What a table is ranked from, and a round of probes takes.
const MOST_PEERS: usize = 10_000;
/// A few names and ports beside the addresses that DNS can tell; each is probed.
const MOST_URLS: usize = resolver::peer::MOST_ENDPOINTS;
/// Of all peers together: ten times what a university's or a provider's own come to, and their trie is some megabytes.
const MOST_NETWORKS: usize = 10_000;
/// From one that takes a hundredth of what others take to one that takes as much as a thousand.
const CAPACITY: std::ops::RangeInclusive<f32> = 0.01..=1000.0;

/// An entry, and where it and its values were written.
#[derive(Debug, Clone)]
struct Placed<'a> {
    entry: Entry,
    table: &'a Table,
}

/// The entries of these tables, in their order; what is wrong goes to `problems`.
pub(crate) fn read(tables: &[&Table], problems: &mut Vec<Problem>) -> Vec<Entry> {
    let before = problems.len();
    let placed: Vec<_> = tables
        .iter()
        .filter_map(|table| Some(Placed { entry: typed(table, LIST, problems)?, table }))
        .collect();
    for one in &placed {
        one.check(problems);
    }
    problems.extend(too_many(&placed));
    if problems.len() == before {
        problems.extend(twice(&placed));
    }
    placed.into_iter().map(|one| one.entry).collect()
}

/// A value that cannot be read is reported and gives way to the example's, so that the rest of the entry is read as well.
pub(super) fn typed<E: DeserializeOwned>(
    table: &Table,
    list: &str,
    problems: &mut Vec<Problem>,
) -> Option<E> {
    let mut settings = table.settings.clone();
    for wrong in 0..=settings.len() {
        let error = match dict(&settings).deserialize() {
            Ok(entry) => return (wrong == 0).then_some(entry),
            Err(error) => error,
        };
        let Some(setting) = settings.iter_mut().find(|setting| is_at(setting, &error.path)) else {
            // What an entry lacks is said of the entry.
            let error = error.with_path(list);
            problems.push(explain(&table.place, &error, None));
            return None;
        };
        let key = Keys::known().member(&setting.key)?;
        problems.push(explain(&setting.place, &error, Some(key)));
        setting.value = key.default.to_string().parse().ok()?;
    }
    None
}

/// The values of one entry, as one.
fn dict(settings: &[Setting]) -> Value {
    let merged = settings.iter().fold(Dict::new(), |mut dict, setting| {
        let inside = setting.key.split('.').skip(1).collect::<Vec<_>>();
        put(&mut dict, &inside, setting.value.clone());
        dict
    });
    Value::from(merged)
}

fn put(dict: &mut Dict, path: &[&str], value: Value) {
    match path {
        [] => {}
        [name] => {
            dict.insert((*name).to_owned(), value);
        }
        [name, rest @ ..] => {
            let inner = dict.entry((*name).to_owned()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

/// Whether this setting is what an error's path leads to, or into.
fn is_at(setting: &Setting, path: &[String]) -> bool {
    let names: Vec<_> = setting.key.split('.').skip(1).collect();
    path.len() >= names.len() && names.iter().zip(path).all(|(name, step)| name == step)
}

impl Placed<'_> {
    fn place(&self, key: &str) -> &str {
        let named = |setting: &&Setting| setting.key[LIST.len() + 1..].starts_with(key);
        self.table.settings.iter().find(named).map_or(&self.table.place, |setting| &setting.place)
    }

    fn check(&self, problems: &mut Vec<Problem>) {
        let Entry { urls, place, networks, capacity, admit, .. } = &self.entry;
        let mut check = |key: &str, outcome: Result<(), String>| {
            let words = outcome.err().map(|words| format!("{LIST}.{key}: {words}"));
            problems.extend(words.map(|words| Problem::new(self.place(key), words)));
        };
        check("urls", self::urls(urls));
        check("place", self::place(*place));
        for each in networks {
            check("networks", network(*each));
        }
        check(
            "capacity",
            require(CAPACITY.contains(capacity), || {
                format!(
                    "{capacity} is not a multiple of what others take; write it like 2, at least 0.01 and at most 1000"
                )
            }),
        );
        check(
            "admit",
            require(!admit || !urls.is_empty(), || {
                "clients cannot be led to it, for it has no urls; write where it serves them, or leave admit out".to_owned()
            }),
        );
    }
}

/// Whether an entry that somebody else has written could stand in this gateway's own configuration.
pub fn is_sound(entry: &Entry) -> bool {
    let Entry { urls, place, networks, capacity, .. } = entry;
    self::urls(urls).is_ok()
        && self::place(*place).is_ok()
        && networks.iter().all(|each| network(*each).is_ok())
        && CAPACITY.contains(capacity)
}

fn urls(urls: &[Url]) -> Result<(), String> {
    require(urls.len() <= MOST_URLS, || {
        format!("holds {} addresses; at most {MOST_URLS} are of use", urls.len())
    })?;
    for (index, url) in urls.iter().enumerate() {
        base(url)?;
        require(url.path() == "/", || {
            format!("\"{url}\" has a path; a gateway is the whole of its host: leave out {:?}", url.path())
        })?;
        if let Some(address) = steer::address(url) {
            leads_to(address, "that peer")?;
            require(address == address.to_canonical(), || {
                format!("\"{url}\" is an IPv4 address; write {}", address.to_canonical())
            })?;
        }
        require(!urls[..index].contains(url), || format!("\"{url}\" is there twice; leave one out"))?;
    }
    Ok(())
}

fn place(place: steer::Place) -> Result<(), String> {
    let steer::Place { latitude, longitude, country, asn } = place;
    require(latitude.is_none_or(|angle| (-90.0..=90.0).contains(&angle)), || {
        "latitude is in degrees north, -90 to 90".to_owned()
    })?;
    require(longitude.is_none_or(|angle| (-180.0..=180.0).contains(&angle)), || {
        "longitude is in degrees east, -180 to 180".to_owned()
    })?;
    require(latitude.is_some() == longitude.is_some(), || {
        "latitude and longitude say nothing without each other; set both, or neither".to_owned()
    })?;
    require(country.is_none_or(|country| country.continent().is_some()), || {
        let code = country.map(|country: Code| country.to_string()).unwrap_or_default();
        format!("{code:?} is no country (ISO 3166-1); write it like \"DE\"")
    })?;
    require(asn != Some(0), || "asn 0 is nobody's (RFC 7607); leave it out".to_owned())
}

fn network(network: IpNet) -> Result<(), String> {
    require(network == network.trunc(), || {
        format!("\"{network}\" is an address inside of a network; write the network, \"{}\"", network.trunc())
    })?;
    require(network.prefix_len() > 0, || {
        format!("\"{network}\" is everybody; a peer is there for everybody without being told")
    })?;
    require(!stands_for_v4(network), || {
        let v4 = Folded::of(network).network;
        let write =
            if v4 == network { "the IPv4 networks that it is there for".to_owned() } else { v4.to_string() };
        format!(
            "\"{network}\" stands for IPv4 addresses, and clients of these are found as such; write {write}"
        )
    })?;
    require(site(network) == network, || {
        let words =
            "is smaller than what of a public address is looked at, so that nobody would be found in it";
        format!("\"{network}\" {words}; write {}", site(network))
    })
}

fn too_many(placed: &[Placed<'_>]) -> Option<Problem> {
    if let Some(one) = placed.get(MOST_PEERS) {
        let words = format!("{LIST}: there are {} of them; at most {MOST_PEERS} are ranked", placed.len());
        return Some(Problem::new(&*one.table.place, words));
    }
    let mut networks = 0;
    let full = placed.iter().find(|one| {
        networks += one.entry.networks.len();
        networks > MOST_NETWORKS
    })?;
    let words = format!("{LIST}.networks: more than {MOST_NETWORKS} in all; declare larger networks");
    Some(Problem::new(full.place("networks"), words))
}

/// Two entries of one id would be two opinions of one gateway; and whoever answers at an address has one id.
fn twice(placed: &[Placed<'_>]) -> Vec<Problem> {
    let mut first: HashMap<PeerId, &str> = HashMap::new();
    let mut addresses: HashMap<&Url, &str> = HashMap::new();
    let mut problems = Vec::new();
    for one in placed {
        let place = one.place("urls");
        for url in &one.entry.urls {
            if let Some(before) = addresses.insert(url, place) {
                let words = format!(
                    "{LIST}.urls: \"{url}\" is another peer's already, at {before}; a gateway has its own"
                );
                problems.push(Problem::new(place, words));
            }
        }
        let place = one.place("id");
        if let Some(before) = first.insert(one.entry.id, place) {
            let words =
                format!("{LIST}.id: \"{}\" is described at {before} already; leave one out", one.entry.id);
            problems.push(Problem::new(place, words));
        }
    }
    problems
}

/// The names of the values of a list's entry, in the order of the example.
pub(crate) fn names(list: &'static str) -> impl Iterator<Item = &'static str> {
    let of_list = move |key: &&Key| key.name.split('.').next() == Some(list);
    let names = Keys::known().members().filter(of_list).filter_map(|key| key.name.split('.').nth(1));
    names.scan("", |last, name| Some((std::mem::replace(last, name) != name).then_some(name))).flatten()
}
