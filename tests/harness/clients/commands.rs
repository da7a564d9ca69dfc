//! How each client is started, told of its registry, and kept from anything else that lies on the machine.

use std::env::consts::ARCH;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use http::Uri;
use tokio::process::Command;

use super::{Checkout, Client, Family, Mode, Settings};

/// The settings file of the project and its text: what a user writes to have another registry.
pub(super) fn configuration(client: Client, settings: &Settings) -> (&'static str, String) {
    let file = if client.family() == Family::Berry { ".yarnrc.yml" } else { ".npmrc" };
    let text = match (&settings.lines, client.family()) {
        (Some(lines), _) => lines.clone(),
        (None, Family::Berry) => berry_configuration(settings),
        (None, _) => npm_configuration(settings),
    };
    (file, text)
}

fn npm_configuration(settings: &Settings) -> String {
    let mut text = String::new();
    if let Some(url) = &settings.registry {
        text.push_str(&format!("registry={url}\n"));
    }
    if let Some(authority) = &settings.authority {
        text.push_str(&format!("cafile={}\n", authority.display()));
    }
    text
}

/// Berry reads no .npmrc, and refuses plain http unless the host is listed, even on loopback.
fn berry_configuration(settings: &Settings) -> String {
    let mut text = String::new();
    if let Some(url) = &settings.registry {
        text.push_str(&format!("npmRegistryServer: \"{url}\"\n"));
        let uri: Uri = url.parse().expect("the registry is an address");
        if let ("http", Some(host)) = (uri.scheme_str().unwrap_or_default(), uri.host()) {
            text.push_str(&format!("unsafeHttpWhitelist: [\"{host}\"]\n"));
        }
    }
    if let Some(authority) = &settings.authority {
        text.push_str(&format!("httpsCaFilePath: \"{}\"\n", authority.display()));
    }
    text
}

/// The command that does `mode` in the project's directory.
pub(super) fn command(client: Client, checkout: &Checkout, settings: &Settings, mode: Mode) -> Command {
    let mut command = alone(client, checkout);
    command.args(arguments(client.family(), mode));
    if let (Family::Deno, Some(authority)) = (client.family(), &settings.authority) {
        // Deno takes the registry from .npmrc but not the certificate authority.
        command.env("DENO_CERT", authority);
    }
    command
}

/// Any other command, in the project's directory.
pub(super) fn other(client: Client, checkout: &Checkout, arguments: &[&str]) -> Command {
    let mut command = alone(client, checkout);
    command.args(arguments);
    command
}

/// The command that prints the registry that a client has as its default. Only yarn's is not the npm registry by
/// its own name.
pub(super) fn default_registry(client: Client, checkout: &Checkout) -> Option<Command> {
    let setting = match client.family() {
        Family::Yarn1 => "registry",
        Family::Berry => "npmRegistryServer",
        _ => return None,
    };
    let mut command = alone(client, checkout);
    command.args(["config", "get", setting]);
    Some(command)
}

/// The client's program in the project's directory, with an environment that holds nothing of the machine's.
fn alone(client: Client, checkout: &Checkout) -> Command {
    let home = checkout.home();
    let mut command = program(client);
    command
        .current_dir(checkout.directory())
        .env_clear()
        .env("PATH", search_path())
        .env("HOME", &home)
        .env("TMPDIR", &home)
        .env("XDG_CACHE_HOME", home.join(".cache"))
        .env("XDG_CONFIG_HOME", home.join(".config"))
        .env("XDG_DATA_HOME", home.join(".local/share"))
        .env("XDG_STATE_HOME", home.join(".local/state"))
        .env("NO_COLOR", "1")
        .env("DO_NOT_TRACK", "1")
        .envs(quiet(client.family(), &home));
    command
}

fn program(client: Client) -> Command {
    let script = match client {
        Client::Npm8 => "npm-8/bin/npm-cli.js",
        Client::Npm10 => "npm-10/bin/npm-cli.js",
        Client::Npm11 => "npm-11/bin/npm-cli.js",
        Client::Npm12 => "npm-12/bin/npm-cli.js",
        Client::Yarn1 => "yarn-1/bin/yarn.js",
        Client::Yarn4 => "yarn-4/bin/yarn.js",
        Client::Pnpm10 => "pnpm-10/bin/pnpm.cjs",
        Client::Pnpm11 => "pnpm-11/bin/pnpm.mjs",
        Client::Pnpm12 => return Command::new(present(&format!("@pnpm/exe.linux-{}/pnpm", cpu()))),
        Client::Bun => return Command::new(present(&format!("@oven/bun-linux-{}/bin/bun", bun_cpu()))),
        Client::Deno => return Command::new(present(&format!("@deno/linux-{}-glibc/deno", cpu()))),
    };
    let mut node = Command::new(present(&format!("node-linux-{}/bin/node", cpu())));
    node.arg(present(script));
    node
}

fn arguments(family: Family, mode: Mode) -> Vec<&'static str> {
    let (always, particular): (&[_], &[_]) = match (family, mode) {
        (Family::Npm, Mode::Cold) => (&["install", "--ignore-scripts"], &[]),
        (Family::Npm, Mode::Frozen | Mode::Warm) => (&["ci", "--ignore-scripts"], &[]),
        (Family::Npm, Mode::Resolve) => (&["install", "--ignore-scripts"], &["--package-lock-only"]),
        (Family::Yarn1, Mode::Cold) => (&["install", "--non-interactive", "--ignore-scripts"], &[]),
        (Family::Yarn1, Mode::Frozen | Mode::Warm) => {
            (&["install", "--non-interactive", "--ignore-scripts"], &["--frozen-lockfile"])
        }
        (Family::Yarn1, Mode::Resolve) => panic!("yarn 1 cannot resolve without installing"),
        (Family::Berry, Mode::Cold) => (&["install"], &["--no-immutable"]),
        (Family::Berry, Mode::Frozen | Mode::Warm) => (&["install"], &["--immutable"]),
        (Family::Berry, Mode::Resolve) => (&["install"], &["--mode=update-lockfile"]),
        (Family::Pnpm, Mode::Cold) => (PNPM, &["--no-frozen-lockfile"]),
        (Family::Pnpm, Mode::Frozen | Mode::Warm) => (PNPM, &["--frozen-lockfile"]),
        (Family::Pnpm, Mode::Resolve) => (PNPM, &["--lockfile-only"]),
        (Family::Bun, Mode::Cold) => (&["install", "--ignore-scripts"], &[]),
        (Family::Bun, Mode::Frozen | Mode::Warm) => {
            (&["install", "--ignore-scripts"], &["--frozen-lockfile"])
        }
        (Family::Bun, Mode::Resolve) => (&["install", "--ignore-scripts"], &["--lockfile-only"]),
        (Family::Deno, Mode::Cold) => (DENO, &[]),
        (Family::Deno, Mode::Frozen | Mode::Warm) => (DENO, &["--frozen"]),
        (Family::Deno, Mode::Resolve) => (DENO, &["--lockfile-only"]),
    };
    [always, particular].concat()
}

const PNPM: &[&str] = &["install", "--ignore-scripts", "--reporter=append-only"];
const DENO: &[&str] = &["install", "--node-modules-dir=auto"];

/// No telemetry, no look for updates, no shared caches.
fn quiet(family: Family, home: &Path) -> Vec<(&'static str, OsString)> {
    let set = |name, value: &str| (name, OsString::from(value));
    let place = |name, value: &str| (name, home.join(value).into_os_string());
    match family {
        Family::Npm => vec![
            place("npm_config_globalconfig", "no-such-npmrc"),
            set("npm_config_update_notifier", "false"),
            set("npm_config_fund", "false"),
        ],
        Family::Yarn1 => {
            vec![place("YARN_CACHE_FOLDER", "yarn-cache"), set("yarn_disable_self_update_check", "true")]
        }
        Family::Berry => vec![
            place("YARN_GLOBAL_FOLDER", "yarn"),
            place("YARN_CACHE_FOLDER", "yarn-cache"),
            set("YARN_ENABLE_GLOBAL_CACHE", "false"),
            set("YARN_ENABLE_MIRROR", "false"),
            set("YARN_ENABLE_SCRIPTS", "false"),
            set("YARN_ENABLE_TELEMETRY", "false"),
            set("YARN_ENABLE_PROGRESS_BARS", "false"),
            set("YARN_IGNORE_PATH", "true"),
            set("YARN_NODE_LINKER", "node-modules"),
        ],
        Family::Pnpm => vec![
            place("PNPM_HOME", "pnpm"),
            set("npm_config_update_notifier", "false"),
            set("pnpm_config_update_notifier", "false"),
        ],
        Family::Bun => vec![place("BUN_INSTALL", "bun"), place("BUN_INSTALL_CACHE_DIR", "bun-cache")],
        Family::Deno => {
            vec![place("DENO_DIR", "deno"), set("DENO_NO_PROMPT", "1"), set("DENO_NO_UPDATE_CHECK", "1")]
        }
    }
}

/// The pinned node comes before the system's, for what clients start themselves.
fn search_path() -> OsString {
    let mut path = present(&format!("node-linux-{}/bin", cpu())).into_os_string();
    path.push(":/usr/bin:/bin");
    path
}

/// A file of `tests/clients/node_modules`.
fn present(path: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/node_modules").join(path);
    assert!(file.exists(), "the clients are not there ({path}): run tests/clients/install");
    file
}

fn cpu() -> &'static str {
    if ARCH == "aarch64" { "arm64" } else { "x64" }
}

fn bun_cpu() -> &'static str {
    if ARCH == "aarch64" { "aarch64" } else { "x64" }
}
