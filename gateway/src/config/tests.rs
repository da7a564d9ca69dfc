//! Promises about all layers together: who wins, and how a mistake in each of them is told.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use resolver::peer::PeerId;

use super::*;

/// A directory like `/etc/open-registry`, gone when the test is over.
struct Etc(PathBuf);

impl Etc {
    fn new(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let etc = Self(std::env::temp_dir().join(format!("open-registry-{}-{number}", std::process::id())));
        std::fs::create_dir_all(etc.path("conf.d")).unwrap();
        for (name, text) in files {
            std::fs::write(etc.path(name), text).unwrap();
        }
        etc
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn sources(&self) -> Sources {
        Sources { files: Files::Directory(self.0.clone()), environment: Vec::new(), flags: Vec::new() }
    }
}

impl Drop for Etc {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn nothing() -> Sources {
    Sources { files: Files::Directory("/nonexistent".into()), environment: Vec::new(), flags: Vec::new() }
}

fn only(file: impl Into<PathBuf>) -> Sources {
    Sources { files: Files::Only(file.into()), ..nothing() }
}

fn environment(variables: &[(&str, &str)]) -> Sources {
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect();
    Sources { environment, ..nothing() }
}

fn problems(sources: &Sources) -> Vec<String> {
    load(sources).unwrap_err().0.iter().map(ToString::to_string).collect()
}

fn fresh_seconds(sources: &Sources) -> u64 {
    load(sources).unwrap().config.upstream.fresh.duration().as_secs()
}

#[test]
fn the_default_file_is_a_configuration_by_itself() {
    let loaded = load(&nothing()).unwrap();
    assert!(loaded.files.is_empty());
    assert!(!loaded.config.http.listen.is_empty());
    assert_eq!(loaded.config.store.dir, None);
    assert!(loaded.config.operator.listen.is_some());
}

#[test]
fn the_default_file_as_a_file_of_the_operator_changes_nothing() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/open-registry.toml");
    let config = |sources| format!("{:?}", load(sources).unwrap().config);
    assert_eq!(config(&only(file)), config(&nothing()));
}

#[test]
fn every_example_is_a_configuration() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples");
    let mut count = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let file = entry.unwrap().path();
        let loaded = load(&only(&file)).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(loaded.files, [file]);
        count += 1;
    }
    assert!(count >= 5, "{count} examples");
}

#[test]
fn a_flag_wins_over_the_environment_which_wins_over_files() {
    let etc = Etc::new(&[("open-registry.toml", "[upstream]\nfresh = \"1s\"\n")]);
    let mut sources = etc.sources();
    assert_eq!(fresh_seconds(&sources), 1);
    sources.environment.push(("OPEN_REGISTRY_UPSTREAM__FRESH".to_owned(), "2s".into()));
    assert_eq!(fresh_seconds(&sources), 2);
    sources.flags.push(Setting::new("--fresh", "upstream.fresh", "3s"));
    assert_eq!(fresh_seconds(&sources), 3);
}

#[test]
fn a_later_drop_in_wins_over_an_earlier_one_and_both_over_the_main_file() {
    let fresh = |period: &str| format!("upstream.fresh = \"{period}\"\n");
    let etc = Etc::new(&[
        ("conf.d/20-late.toml", &fresh("20s")),
        ("conf.d/10-early.toml", &fresh("10s")),
        ("open-registry.toml", &fresh("1s")),
        ("conf.d/30-saved.toml.bak", &fresh("30s")),
    ]);
    let loaded = load(&etc.sources()).unwrap();
    assert_eq!(loaded.config.upstream.fresh.duration().as_secs(), 20);
    let names = ["open-registry.toml", "conf.d/10-early.toml", "conf.d/20-late.toml"];
    assert_eq!(loaded.files, names.map(|name| etc.path(name)));
}

#[test]
fn a_list_replaces_the_list_below_it() {
    let loaded = load(&environment(&[("OPEN_REGISTRY_HTTP__LISTEN", "0.0.0.0:6736")])).unwrap();
    assert_eq!(loaded.config.http.listen, ["0.0.0.0:6736".parse().unwrap()]);
}

#[test]
fn an_empty_variable_unsets_what_can_be_unset() {
    let variables = [("OPEN_REGISTRY_OPERATOR__LISTEN", ""), ("OPEN_REGISTRY_OFFLINE", "true")];
    let config = load(&environment(&variables)).unwrap().config;
    assert_eq!(config.operator.listen, None);
    assert!(config.offline);
}

#[test]
fn an_unknown_variable_names_itself_and_the_nearest_one() {
    let variables =
        [("OPEN_REGISTRY_HTTP_LISTEN", "0.0.0.0:80"), ("OPEN_REGISTRY_PORT", "tcp://10.0.0.1:80")];
    let expected = "environment: unknown variable \"OPEN_REGISTRY_HTTP_LISTEN\"; \
                    did you mean \"OPEN_REGISTRY_HTTP__LISTEN\"?";
    assert_eq!(problems(&environment(&variables)), [expected]);
}

#[test]
fn a_wrong_type_names_the_place_the_key_and_what_is_wanted() {
    let etc = Etc::new(&[("open-registry.toml", "offline = \"yes\"\n\n[http]\nlisten = [\"here\"]\n")]);
    let mut sources = etc.sources();
    sources.environment.push(("OPEN_REGISTRY_HTTP__VERIFY_FIRST_MAX".to_owned(), "lots".into()));
    sources.flags.push(Setting::new("--upstream", "upstream.url", "example"));
    let found = problems(&sources).join("\n");
    let file = etc.path("open-registry.toml").display().to_string();
    for expected in [
        format!("{file}:1: offline: expected a boolean, found string \"yes\"; write it like false"),
        format!("{file}:4: http.listen, entry 1: invalid socket address syntax; write it like [\""),
        "OPEN_REGISTRY_HTTP__VERIFY_FIRST_MAX: http.verify_first_max: \"lots\" is not a size".to_owned(),
        "--upstream: upstream.url: ".to_owned(),
    ] {
        assert!(found.contains(&expected), "{expected}\nis not in\n{found}");
    }
}

#[test]
fn what_a_good_value_looks_like_is_said_once() {
    let etc = Etc::new(&[(
        "open-registry.toml",
        "[http]\nlisten = [\"here\"]\n[zone]\nname = \"a b\"\n[dns]\nforward = [\"router\"]\n",
    )]);
    let found = problems(&etc.sources());
    assert_eq!(found.len(), 3, "{found:#?}");
    for problem in found {
        assert_eq!(problem.matches("write it like").count(), 1, "{problem}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let etc = Etc::new(&[
        ("open-registry.toml", "[http]\nlisten = 80\nlisen = []\n"),
        ("conf.d/10-broken.toml", "offline =\n"),
        ("conf.d/20-rules.toml", "[private]\nscopes = [\"example\", \"@fine\"]\n"),
    ]);
    assert_eq!(problems(&etc.sources()).len(), 4);
}

#[test]
fn a_broken_rule_names_where_the_value_was_written() {
    let etc = Etc::new(&[("conf.d/10-lan.toml", "[http]\n# nobody\nlisten = []\n")]);
    let found = problems(&etc.sources());
    let place = etc.path("conf.d/10-lan.toml").display().to_string();
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with(&format!("{place}:3: http.listen: is empty")), "{found:?}");
}

#[test]
fn a_file_that_was_asked_for_must_exist() {
    let found = problems(&only("/nonexistent/open-registry.toml"));
    assert!(found[0].starts_with("/nonexistent/open-registry.toml: cannot be read"), "{found:?}");
}

#[test]
fn a_file_that_was_asked_for_replaces_the_files_of_the_system() {
    let etc = Etc::new(&[
        ("open-registry.toml", "upstream.fresh = \"1s\"\n"),
        ("conf.d/10.toml", "upstream.fresh = \"2s\"\n"),
        ("mine.toml", "offline = true\n"),
    ]);
    let loaded = load(&only(etc.path("mine.toml"))).unwrap();
    assert_eq!(loaded.config.upstream.fresh.duration().as_secs(), 300);
    assert_eq!(loaded.files, [etc.path("mine.toml")]);
}

#[test]
fn the_shown_configuration_is_a_configuration_and_says_where_each_value_was_written() {
    let etc = Etc::new(&[("open-registry.toml", "[private]\nscopes = [\"@example\"]\n")]);
    let mut sources = etc.sources();
    sources.environment.push(("OPEN_REGISTRY_STORE__DIR".to_owned(), "/srv/\"packages\"".into()));
    sources.environment.push(("OPEN_REGISTRY_OPERATOR__LISTEN".to_owned(), "".into()));
    sources.flags.push(Setting::new("--offline", "offline", true));
    let loaded = load(&sources).unwrap();
    let shown = loaded.to_toml().unwrap();
    assert!(shown.contains("offline = true  # --offline\n"), "{shown}");
    assert!(shown.contains("verify_first_max = \"16MiB\"  # default\n"), "{shown}");
    assert!(shown.contains("packages\"'  # OPEN_REGISTRY_STORE__DIR\n"), "{shown}");
    assert!(shown.contains("open-registry.toml:2\n"), "{shown}");

    let etc = Etc::new(&[("shown.toml", &shown)]);
    let again = load(&only(etc.path("shown.toml"))).unwrap();
    assert_eq!(format!("{:?}", again.config), format!("{:?}", loaded.config));
}

#[test]
fn the_lockfile_address_stays_the_default_when_upstream_changes() {
    let default = load(&nothing()).unwrap().config;
    let variable = ("OPEN_REGISTRY_UPSTREAM__URL", "https://npm.example.com");
    let elsewhere = load(&environment(&[variable])).unwrap().config;
    assert_eq!(elsewhere.upstream.url.host_str(), Some("npm.example.com"));
    assert_eq!(elsewhere.canonical_tarballs(), default.upstream.url);

    let company = ("OPEN_REGISTRY_HTTP__CANONICAL_TARBALLS", "https://npm.example.com");
    let company = load(&environment(&[company])).unwrap().config;
    assert_eq!(company.canonical_tarballs().host_str(), Some("npm.example.com"));
}

#[test]
fn the_data_directory_is_the_configured_one_then_systemds_then_the_users() {
    let (state, user) = (Some(OsStr::new("/var/lib/a:/var/lib/b")), Some(PathBuf::from("/home/me/data")));
    let configured = choose_data_dir(Some("/srv".into()), state, user.clone());
    assert_eq!(configured, Ok("/srv".into()));
    assert_eq!(choose_data_dir(None, state, user.clone()), Ok("/var/lib/a".into()));
    assert_eq!(choose_data_dir(None, Some(OsStr::new("")), user), Ok("/home/me/data/open-registry".into()));
    assert_eq!(choose_data_dir(None, None, None), Err(NoDataDirectory));
}

/// An entry with this id, and these lines below it.
fn peer(key: u8, lines: &str) -> String {
    format!("[[peer]]\nid = \"{}\"\n{lines}\n", PeerId::of_key([key; 32]))
}

/// What is wrong with a file of this text, without the file's name.
fn problems_of(text: &str) -> Vec<String> {
    let etc = Etc::new(&[("peers.toml", text)]);
    let file = etc.path("peers.toml").display().to_string();
    let found = load(&only(etc.path("peers.toml"))).map_or_else(|problems| problems.0, |_| Vec::new());
    found.iter().map(|problem| problem.to_string().replace(&file, "")).collect()
}

#[test]
fn the_example_of_a_peer_is_one_and_has_every_key() {
    let etc = Etc::new(&[("example.toml", &keys::with_examples(keys::DEFAULTS))]);
    let config = load(&only(etc.path("example.toml"))).unwrap().config;
    assert_eq!(config.peer.len(), 1);
    let every = figment::value::Value::serialize(&config.peer[0]).unwrap();
    let every = every.as_dict().unwrap().keys().map(String::as_str);
    assert_eq!(every.collect::<BTreeSet<_>>(), peers::names(peers::LIST).collect::<BTreeSet<_>>());
    let engines = config.peer[0].peer();
    assert!(engines.endpoints[0].https && engines.whereabouts.place.is_some() && !engines.admitted);
}

#[test]
fn the_example_of_a_block_is_one_and_has_every_key() {
    let etc = Etc::new(&[("example.toml", &keys::with_examples(keys::DEFAULTS))]);
    let loaded = load(&only(etc.path("example.toml"))).unwrap();
    assert_eq!(loaded.config.block.len(), 1);
    let every = figment::value::Value::serialize(&loaded.config.block[0]).unwrap();
    let every = every.as_dict().unwrap().keys().map(String::as_str);
    assert_eq!(every.collect::<BTreeSet<_>>(), peers::names(blocks::LIST).collect::<BTreeSet<_>>());
    let etc = Etc::new(&[("shown.toml", &loaded.to_toml().unwrap())]);
    assert_eq!(load(&only(etc.path("shown.toml"))).unwrap().config.block, loaded.config.block);
}

#[test]
fn every_wrong_value_of_a_block_names_its_line_and_what_is_wanted() {
    let of = |lines: &str| problems_of(&format!("[[block]]\npackage = \"left\"\n{lines}\n"));
    assert_eq!(of("reason = \"an order\""), [""; 0]);
    for (lines, wanted) in [
        ("", ":1: block: missing field `reason`"),
        ("reason = \" \"", ":3: block.reason: is a sentence"),
        ("reason = \"a\\nb\"", ":3: block.reason: is a sentence"),
        ("reason = 7", ":3: block.reason: "),
        ("reason = \"an order\"\nversion = \"*\"", ":4: block.version: is one version"),
        (
            "reason = \"an order\"\nversion = \"1.0.0\"\nintegrity = \"sha1-x\"",
            ":5: block.integrity: is the dist.integrity",
        ),
        (
            "reason = \"an order\"\nversions = []",
            ":4: unknown key \"block.versions\"; did you mean \"block.version\"?",
        ),
    ] {
        let found = of(lines);
        assert!(found.len() == 1 && found[0].starts_with(wanted), "{lines}: {found:?}");
    }
    let twice = problems_of(&"[[block]]\npackage = \"left\"\nreason = \"an order\"\n".repeat(2));
    assert!(
        twice.len() == 1 && twice[0].starts_with(":4: block: this is blocked at :1 already"),
        "{twice:?}"
    );
    let name = problems_of("[[block]]\npackage = \"Left \"\nreason = \"an order\"\n");
    assert!(name.len() == 1 && name[0].starts_with(":2: block.package: "), "{name:?}");
}

#[test]
fn the_peers_of_all_files_add_up() {
    let etc = Etc::new(&[
        (
            "open-registry.toml",
            &(peer(1, "urls = [\"http://192.0.2.1\"]\nadmit = true") + &peer(2, "capacity = 2")),
        ),
        ("conf.d/10-office.toml", &peer(3, "")),
        ("conf.d/20-more.toml", &peer(4, "urls = [\"http://192.0.2.7\"]")),
    ]);
    let loaded = load(&etc.sources()).unwrap();
    let ids: Vec<_> = loaded.config.peer.iter().map(|peer| peer.id.key()[0]).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
    assert_eq!(loaded.config.peer[3].peer().endpoints.len(), 1);
    assert!(loaded.config.peer[0].admit && !loaded.config.peer[1].admit);
}

#[test]
fn shown_peers_are_peers_and_say_where_they_were_written() {
    let lines = "capacity = 0.1\nplace = { latitude = 51.05, longitude = 13.74, country = \"de\" }\n\
                 urls = [\"http://192.0.2.7\"]\nnetworks = [\"198.51.100.0/24\"]";
    let etc = Etc::new(&[("open-registry.toml", &(peer(1, lines) + &peer(2, "")))]);
    let loaded = load(&etc.sources()).unwrap();
    let shown = loaded.to_toml().unwrap();
    assert!(shown.contains("open-registry.toml:1\nid = \"12D3KooW"), "{shown}");
    assert!(shown.contains("capacity = 0.1\n") && shown.contains("latitude = 51.05"), "{shown}");

    let etc = Etc::new(&[("shown.toml", &shown)]);
    let again = load(&only(etc.path("shown.toml"))).unwrap();
    assert_eq!(format!("{:?}", again.config), format!("{:?}", loaded.config));
}

#[test]
fn two_entries_of_one_id_are_a_problem_that_names_both() {
    let etc =
        Etc::new(&[("open-registry.toml", &peer(1, "")), ("conf.d/10.toml", &(peer(2, "") + &peer(1, "")))]);
    let found = problems(&etc.sources());
    let [first, second] =
        ["open-registry.toml", "conf.d/10.toml"].map(|file| etc.path(file).display().to_string());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with(&format!("{second}:5: peer.id: ")), "{found:?}");
    assert!(found[0].contains(&format!("is described at {first}:2 already")), "{found:?}");
}

#[test]
fn two_peers_at_one_address_are_a_problem_that_names_both() {
    let at = |key, urls: &str| peer(key, &format!("urls = [{urls}]"));
    let two = at(1, "\"http://192.0.2.7\"") + &at(2, "\"http://192.0.2.8\", \"http://192.0.2.7:80/\"");
    let found = problems_of(&two);
    assert!(
        found.len() == 1 && found[0].starts_with(":6: peer.urls: \"http://192.0.2.7/\" is another"),
        "{found:?}"
    );
    assert!(found[0].contains("already, at :3;"), "{found:?}");
    let ports = at(1, "\"http://192.0.2.7:81\"") + &at(2, "\"http://192.0.2.7:82\"");
    assert_eq!(problems_of(&ports), [""; 0], "one router before both of them");
}

#[test]
fn every_wrong_value_of_a_peer_names_its_line_and_what_is_wanted() {
    for (line, expected) in [
        (
            "urls = [\"example\"]",
            ":3: peer.urls, entry 1: relative URL without a base: \"example\"; write it like [\"http://",
        ),
        ("urls = [\"ftp://192.0.2.7\"]", "is not an http or https address"),
        ("urls = [\"http://a.example/registry/\"]", "has a path; a gateway is the whole of its host"),
        ("urls = [\"http://me:hunter2@a.example\"]", "holds a user name or a password"),
        ("urls = [\"http://0.0.0.0\"]", "leads nowhere; write an address of that peer"),
        ("urls = [\"http://[::ffff:192.0.2.7]\"]", "is an IPv4 address; write 192.0.2.7"),
        ("urls = [\"http://a.example\", \"http://a.example:80/\"]", "is there twice"),
        (
            "place = { latitude = 51 }",
            ":3: peer.place: latitude and longitude say nothing without each other",
        ),
        ("place = { latitude = 91, longitude = 0 }", "latitude is in degrees north, -90 to 90"),
        ("place = { latitude = nan, longitude = 0 }", "latitude is in degrees north, -90 to 90"),
        ("place = { latitude = 0, longitude = 181 }", "longitude is in degrees east"),
        ("place = { country = \"Germany\" }", "\"Germany\" is not a country's code of two letters"),
        ("place = { country = \"ZZ\" }", "\"ZZ\" is no country"),
        ("place = { asn = 0 }", "asn 0 is nobody's"),
        ("place = { asn = -1 }", ":3: peer.place.asn: "),
        ("networks = [\"192.0.2.7/24\"]", "write the network, \"192.0.2.0/24\""),
        ("networks = [\"::/0\"]", "is everybody"),
        ("networks = [\"8.8.0.0/26\"]", "is smaller than what of a public address is looked at"),
        ("networks = [\"8.8.0.0/26\"]", "write 8.8.0.0/24"),
        ("networks = [\"2a00:1:2:3400::/64\"]", "write 2a00:1:2:3400::/56"),
        ("networks = [\"::ffff:9.9.9.0/120\"]", "stands for IPv4 addresses"),
        ("networks = [\"::ffff:9.9.9.0/120\"]", "write 9.9.9.0/24"),
        ("networks = [\"2002:909:900::/40\"]", "write 9.9.9.0/24"),
        ("networks = [\"64:ff9b::/96\"]", "write the IPv4 networks that it is there for"),
        ("networks = [\"office\"]", ":3: peer.networks, entry 1: "),
        ("capacity = 0", ":3: peer.capacity: 0 is not a multiple"),
        ("capacity = 1001", "at most 1000"),
        ("capacity = nan", "NaN is not a multiple"),
        ("admit = true", ":3: peer.admit: clients cannot be led to it, for it has no urls"),
        ("urls = []\nadmit = true", ":4: peer.admit: clients cannot be led to it"),
        ("admit = \"yes\"", ":3: peer.admit: expected a boolean, found string \"yes\"; write it like false"),
    ] {
        let found = problems_of(&peer(1, line));
        assert!(found.len() == 1 && found[0].contains(expected), "{line}: {found:?}");
        assert!(!found[0].contains("hunter2"), "{found:?}");
    }
}

#[test]
fn a_private_network_may_be_as_small_as_it_is() {
    let small = "networks = [\"192.168.7.0/28\", \"fd00:7::/64\", \"2002:a00::/24\", \"8.8.0.0/24\"]";
    assert_eq!(problems_of(&peer(1, small)), [""; 0]);
}

#[test]
fn a_peer_without_an_id_or_with_a_wrong_one_is_told_so_once() {
    let nobody = problems_of("offline = true\n[[peer]]\nadmit = true\n");
    assert_eq!(nobody, [":2: peer: missing field `id`"]);
    let several = problems_of("[[peer]]\nid = \"me\"\ncapacity = \"much\"\n");
    assert_eq!(several.len(), 2, "{several:?}");
    assert!(
        several.iter().any(|problem| problem.starts_with(":2: peer.id: \"me\" is not the id of a gateway"))
    );
    assert!(several.iter().any(|problem| problem.starts_with(":3: peer.capacity: ")), "{several:?}");
}

#[test]
fn what_peers_come_to_is_limited() {
    let nine: Vec<_> = (0..9).map(|port| format!("\"http://192.0.2.7:{}\"", 6000 + port)).collect();
    let found = problems_of(&peer(1, &format!("urls = [{}]", nine.join(", "))));
    assert!(found.len() == 1 && found[0].contains("holds 9 addresses; at most 8 are of use"), "{found:?}");
    let networks: Vec<_> = (0..10_001).map(|n| format!("\"10.{}.{}.0/24\"", n / 256, n % 256)).collect();
    let found = problems_of(&peer(1, &format!("networks = [{}]", networks.join(", "))));
    assert!(found.len() == 1 && found[0].contains("more than 10000 in all"), "{found:?}");
    let id = |n: u16| {
        PeerId::of_key(std::array::from_fn(|index| if index < 2 { n.to_be_bytes()[index] } else { 0 }))
    };
    let entries = |count| (0..count).map(|n| format!("[[peer]]\nid = \"{}\"\n", id(n))).collect::<String>();
    assert_eq!(problems_of(&entries(10_000)), [""; 0]);
    let found = problems_of(&entries(10_001));
    assert!(found.len() == 1 && found[0].starts_with(":20001: peer: there are 10001 of them"), "{found:?}");
}
