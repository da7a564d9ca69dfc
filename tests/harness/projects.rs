//! Projects to install: packages that exercise what clients treat specially, and a package.json for them.

mod recorded;

use serde_json::{Value, json};

pub use recorded::{recorded, recording};

use crate::package::{Package, VersionBuilder};

/// A package.json and every package that its installation can ask for.
#[derive(Debug, Clone)]
pub struct Project {
    /// What stands in package.json.
    pub package_json: Value,
    /// What the registry has to hold.
    pub packages: Vec<Package>,
}

impl Project {
    /// The text of package.json.
    pub fn package_json_text(&self) -> String {
        format!("{:#}\n", self.package_json)
    }

    /// Adds a package to the registry and to the dependencies.
    #[must_use]
    pub fn with(mut self, package: Package, range: &str) -> Self {
        self.package_json["dependencies"][package.name()] = json!(range);
        self.packages.push(package);
        self
    }

    /// Adds a package whose installation runs a script, which some clients refuse.
    #[must_use]
    pub fn with_install_script(self) -> Self {
        self.with(Package::new("scripted").version("1.0.0", VersionBuilder::install_script), "^1.0.0")
    }

    /// Adds a package whose tarball is above the 16 MiB that are verified before the first byte.
    #[must_use]
    pub fn with_large_tarball(self) -> Self {
        self.with(Package::new("large").version("1.0.0", |version| version.size(17 << 20)), "^1.0.0")
    }

    /// One package of this project.
    pub fn package(&self, name: &str) -> &Package {
        let found = self.packages.iter().find(|package| package.name() == name);
        found.unwrap_or_else(|| panic!("the project has no package {name}"))
    }
}

/// Three packages, one scoped: enough for a promise that is not about clients.
pub fn small() -> Project {
    let left = Package::new("left").version("1.0.0", |v| v.dependency("@scope/right", "^1.0.0"));
    let right = Package::new("@scope/right")
        .version("1.0.0", |v| v)
        .version("1.1.0", |v| v.dependency("leaf", "1.x"));
    let leaf = Package::new("leaf").version("1.0.0", |v| v.published("2019-01-01T00:00:00.000Z"));
    Project {
        package_json: manifest(&json!({"left": "^1.0.0"}), &json!({})),
        packages: vec![left, right, leaf],
    }
}

/// About thirty packages: scopes, commands, platforms, peers, deprecation, dist-tags, two versions of one package.
pub fn typical() -> Project {
    let dependencies = json!({
        "app-core": "^2.0.0", "@scope/right": "^1.0.0", "chalky": "next", "native-thing": "^1.0.0",
        "plugin-host": "^3.0.0", "plugin-one": "^1.0.0", "old-thing": "^0.9.0", "fan-out": "^1.0.0",
        "esprima-like": "3001.1.0-dev-harmony-fb",
    });
    let development = json!({"command-line": "^1.0.0", "@types/left": "^1.0.0"});
    let packages = [graph(), platforms(), peers(), curiosities(), fan()].concat();
    Project { package_json: manifest(&dependencies, &development), packages }
}

fn manifest(dependencies: &Value, development: &Value) -> Value {
    json!({
        "name": "a-project", "version": "1.0.0", "private": true,
        "dependencies": dependencies, "devDependencies": development,
    })
}

/// A graph with a diamond in it, whose two sides want different versions of `leaf`.
fn graph() -> Vec<Package> {
    vec![
        Package::new("app-core")
            .version("1.0.0", |v| v.published("2018-03-01T10:00:00.000Z"))
            .version("2.0.0", |v| v.dependency("left", "^1.0.0").dependency("@scope/right", "^1.0.0"))
            .version("2.1.0", |v| {
                v.dependency("left", "^1.0.0").dependency("@scope/right", "^1.0.0").attested()
            }),
        Package::new("left").version("1.0.0", |v| v.dependency("leaf", "^1.0.0")),
        Package::new("@scope/right")
            .version("1.0.0", |v| v.dependency("leaf", "^2.0.0"))
            .version("1.1.0", |v| {
                v.dependency("leaf", "^2.0.0").dependency("@scope/deep.name_x", "~0.1.0").attested()
            }),
        Package::new("leaf")
            .version("1.0.0", |v| v.published("2017-01-01T00:00:00.000Z"))
            .version("1.9.9", |v| v.published("2017-06-01T00:00:00.000Z"))
            .version("2.0.0", |v| v.published("2018-01-01T00:00:00.000Z")),
        Package::new("@scope/deep.name_x").version("0.1.7", |v| v.node(">=12")),
        Package::new("command-line")
            .version("1.0.0", |v| v.bin("command-line", "bin/cli.js").dependency("left", "1")),
        Package::new("@types/left").version("1.0.0", |v| v.file("index.d.ts", "export {};\n")),
    ]
}

/// A package with one optional package per platform, of which a machine takes one.
fn platforms() -> Vec<Package> {
    let builds = [
        ("linux-x64-gnu", "linux", "x64", Some("glibc")),
        ("linux-x64-musl", "linux", "x64", Some("musl")),
        ("linux-arm64-gnu", "linux", "arm64", Some("glibc")),
        ("darwin-arm64", "darwin", "arm64", None),
        ("win32-x64", "win32", "x64", None),
    ];
    let name = |suffix: &str| format!("@native/thing-{suffix}");
    let thing = Package::new("native-thing").version("1.0.0", |version| {
        builds
            .iter()
            .fold(version, |version, (suffix, ..)| version.optional_dependency(&name(suffix), "1.0.0"))
    });
    let build = |(suffix, os, cpu, libc): &(&str, &str, &str, Option<&str>)| {
        Package::new(&name(suffix)).version("1.0.0", |version| {
            let version = version.os(&[os]).cpu(&[cpu]).size(20_000);
            libc.iter().fold(version, |version, libc| version.libc(&[libc]))
        })
    };
    std::iter::once(thing).chain(builds.iter().map(build)).collect()
}

fn peers() -> Vec<Package> {
    vec![
        Package::new("plugin-host").version("2.0.0", |v| v).version("3.0.0", |v| v),
        Package::new("plugin-extra").version("1.0.0", |v| v),
        Package::new("plugin-one")
            .version("1.0.0", |v| v.peer("plugin-host", "^3.0.0").optional_peer("plugin-extra", "^1.0.0")),
    ]
}

fn curiosities() -> Vec<Package> {
    vec![
        Package::new("old-thing").version("0.9.0", |v| v.deprecated("use left instead").unsigned()),
        Package::new("chalky")
            .version("1.0.0", |v| v.field("funding", json!({"url": "https://fund.example"})))
            .version("2.0.0-rc.1", |v| v.size(300_000))
            .tag("next", "2.0.0-rc.1"),
        Package::new("esprima-like").version("3001.1.0-dev-harmony-fb", |v| {
            v.file_name("esprima-like-3001.0001.0000-dev-harmony-fb.tgz")
        }),
    ]
}

/// One package with twelve dependencies: what a client asks for at once.
fn fan() -> Vec<Package> {
    let spoke = |number: usize| format!("spoke-{number}");
    let hub = Package::new("fan-out").version("1.0.0", |version| {
        (1..=12).fold(version, |version, number| version.dependency(&spoke(number), "^1.0.0"))
    });
    let spokes =
        (1..=12).map(|number| Package::new(&spoke(number)).version("1.0.0", |v| v.size(1_000 * number)));
    std::iter::once(hub).chain(spokes).collect()
}
