//! Promises about all layers together: who wins, and how a mistake in each of them is told.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

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
