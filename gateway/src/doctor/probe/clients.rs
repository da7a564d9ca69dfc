//! What tells this user's clients which registry to use, and through which proxy.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use url::Url;

use super::super::facts::{Clients, Setting};

/// The variables that name a registry to npm, in the order in which they win; pnpm 11 and later reads its own.
const NPM_VARIABLES: [&str; 3] = ["npm_config_registry", "NPM_CONFIG_REGISTRY", "pnpm_config_registry"];
const YARN_VARIABLE: &str = "YARN_NPM_REGISTRY_SERVER";
const YARN_WHITELIST: &str = "YARN_UNSAFE_HTTP_WHITELIST";

/// Reads the environment, and the files of this folder and of this user.
pub(super) fn of_this_user(url: &Url) -> Clients {
    let folders: Vec<PathBuf> = [env::current_dir().ok(), dirs::home_dir()].into_iter().flatten().collect();
    let (npmrc, yarnrc) = (files(&folders, ".npmrc"), files(&folders, ".yarnrc.yml"));
    clients(url, &npmrc, &yarnrc, |name| env::var(name).ok().filter(|value| !value.is_empty()))
}

/// A file and its text.
type File = (PathBuf, String);

fn clients(url: &Url, npmrc: &[File], yarnrc: &[File], variable: impl Fn(&str) -> Option<String>) -> Clients {
    let host = url.host_str().unwrap_or_default();
    let from =
        |name: &str| variable(name).map(|value| Setting { place: format!("the variable {name}"), value });
    let in_npmrc = |key: &str| npmrc.iter().filter_map(|(file, text)| entry(file, text, '=', key)).collect();
    let in_yarnrc = yarnrc.iter().filter_map(|(file, text)| entry(file, text, ':', "npmRegistryServer"));
    let whitelists = yarnrc.iter().map(|(_, text)| whitelist(text)).chain(variable(YARN_WHITELIST));
    let written: Vec<Setting> = in_npmrc("registry");
    Clients {
        npm: NPM_VARIABLES.iter().filter_map(|name| from(name)).chain(written).collect(),
        yarn: from(YARN_VARIABLE).into_iter().chain(in_yarnrc).collect(),
        yarn_accepts_http: whitelists.into_iter().any(|list| list.contains(host)),
        proxy: proxy(url, from, in_npmrc),
    }
}

/// The proxy that a request to `url` goes through, unless its host is excepted.
fn proxy(
    url: &Url,
    from: impl Fn(&str) -> Option<Setting>,
    in_npmrc: impl Fn(&str) -> Vec<Setting>,
) -> Option<Setting> {
    let (variables, key) = match url.scheme() {
        "https" => (["https_proxy", "HTTPS_PROXY"], "https-proxy"),
        _ => (["http_proxy", "HTTP_PROXY"], "proxy"),
    };
    let exceptions = ["no_proxy", "NO_PROXY"].iter().filter_map(|name| from(name)).chain(in_npmrc("noproxy"));
    let host = url.host_str().unwrap_or_default();
    if exceptions.into_iter().any(|setting| excepts(&setting.value, host)) {
        return None;
    }
    let proxy = variables.iter().find_map(|name| from(name)).or_else(|| in_npmrc(key).into_iter().next())?;
    // It may hold a password.
    Some(Setting { value: String::new(), ..proxy })
}

/// `NO_PROXY`: names with all that lies below them, with or without a dot before them, or `*`.
fn excepts(list: &str, host: &str) -> bool {
    list.split([',', ' '])
        .map(|one| one.trim().trim_start_matches("*.").trim_start_matches('.'))
        .any(|one| one == "*" || (!one.is_empty() && (host == one || host.ends_with(&format!(".{one}")))))
}

/// The files of this name that exist, the folder's before the user's.
fn files(folders: &[PathBuf], name: &str) -> Vec<File> {
    let mut found: Vec<File> = Vec::new();
    for file in folders.iter().map(|folder| folder.join(name)) {
        if found.iter().all(|(known, _)| *known != file) {
            found.extend(fs::read_to_string(&file).ok().map(|text| (file, text)));
        }
    }
    found
}

/// `key = value` or `key: value`, with or without quotes; the last of a file counts.
fn entry(file: &Path, text: &str, separator: char, key: &str) -> Option<Setting> {
    let entries = text.lines().enumerate().filter_map(|(number, line)| {
        let (name, value) = line.split_once(separator)?;
        let value = value.trim().trim_matches(['"', '\'']).to_owned();
        (name.trim() == key).then(|| (number + 1, value))
    });
    let (number, value) = entries.last()?;
    Some(Setting { place: format!("{}:{number}", file.display()), value })
}

/// The hosts of `unsafeHttpWhitelist`, on its line or indented below it.
fn whitelist(yarnrc: &str) -> String {
    let mut lines = yarnrc.lines().skip_while(|line| !line.starts_with("unsafeHttpWhitelist:"));
    let first = lines.next().unwrap_or_default();
    let rest = lines.take_while(|line| line.starts_with([' ', '-', ']']));
    std::iter::once(first).chain(rest).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str, npmrc: &str, yarnrc: &str, variables: &[(&str, &str)]) -> Clients {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).into());
        let file = |name: &str, text: &str| [(PathBuf::from(name), text.to_owned())];
        clients(&url.parse().unwrap(), &file("/a/.npmrc", npmrc), &file("/a/.yarnrc.yml", yarnrc), variable)
    }

    #[test]
    fn the_environment_wins_over_files_and_each_setting_knows_its_place() {
        let npmrc = "# registry=http://comment\n; x\nregistry = \
            \"http://first/\"\nregistry=http://second/\n";
        let clients =
            read("http://registry.example.com", npmrc, "", &[("npm_config_registry", "http://env/")]);
        let values: Vec<_> = clients.npm.iter().map(|setting| setting.value.as_str()).collect();
        assert_eq!(values, ["http://env/", "http://second/"]);
        assert_eq!(clients.npm[1].place, "/a/.npmrc:4");
    }

    #[test]
    fn yarns_whitelist_is_read_in_both_forms() {
        let accepts = |yarnrc: &str| read("http://registry.example.com", "", yarnrc, &[]).yarn_accepts_http;
        assert!(accepts("unsafeHttpWhitelist: [\"registry.example.com\"]\n"));
        assert!(accepts("unsafeHttpWhitelist:\n  - localhost\n  - registry.example.com\nnodeLinker: pnp\n"));
        assert!(!accepts(
            "unsafeHttpWhitelist:\n  - localhost\nnpmRegistryServer: \"http://registry.example.com\"\n"
        ));
    }

    #[test]
    fn a_proxy_counts_unless_the_host_is_excepted_and_its_password_is_not_kept() {
        let proxy = ("HTTP_PROXY", "http://me:hunter2@proxy:3128");
        let clients = |more: &[(&str, &str)]| {
            read("http://registry.example.com", "", "a: b", &[&[proxy], more].concat())
        };
        let found = clients(&[]).proxy.unwrap();
        assert_eq!((found.place.as_str(), found.value.as_str()), ("the variable HTTP_PROXY", ""));
        assert_eq!(clients(&[("NO_PROXY", "localhost,.example.com")]).proxy, None);
        assert!(clients(&[("NO_PROXY", "ample.com")]).proxy.is_some());
    }
}
