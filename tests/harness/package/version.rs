//! Describes one version of a package: its package.json, its files, and what is odd about it.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::release::{Oddities, Release};
use super::tarball::{self, File};

/// Long enough ago for every client's release-age gate.
const PUBLISHED: &str = "2020-01-01T00:00:00.000Z";

/// One version in the making.
#[derive(Debug)]
pub struct VersionBuilder {
    name: String,
    version: String,
    manifest: Map<String, Value>,
    files: Vec<File>,
    published: String,
    deprecated: Option<String>,
    oddities: Oddities,
}

impl VersionBuilder {
    pub(super) fn new(name: &str, version: &str) -> Self {
        let manifest = json!({
            "name": name, "version": version, "description": format!("{name}, for tests"), "main": "index.js",
            "license": "MIT", "author": {"name": "Ada"}, "keywords": ["tests"],
            "repository": {"type": "git", "url": format!("git+https://git.example/{name}.git")},
            "scripts": {"test": "node index.js"},
        });
        let Value::Object(manifest) = manifest else { unreachable!("a literal object") };
        let files = vec![File::new("index.js", format!("module.exports = '{name}@{version}';\n"))];
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            manifest,
            files,
            published: PUBLISHED.to_owned(),
            deprecated: None,
            oddities: Oddities::default(),
        }
    }

    /// Needs `name` in `range`.
    #[must_use]
    pub fn dependency(self, name: &str, range: &str) -> Self {
        self.entry("dependencies", name, json!(range))
    }

    /// Needs `name` while it is developed.
    #[must_use]
    pub fn dev_dependency(self, name: &str, range: &str) -> Self {
        self.entry("devDependencies", name, json!(range))
    }

    /// Takes `name` where it can be installed.
    #[must_use]
    pub fn optional_dependency(self, name: &str, range: &str) -> Self {
        self.entry("optionalDependencies", name, json!(range))
    }

    /// Expects `name` beside it.
    #[must_use]
    pub fn peer(self, name: &str, range: &str) -> Self {
        self.entry("peerDependencies", name, json!(range))
    }

    /// Expects `name` beside it, and can do without.
    #[must_use]
    pub fn optional_peer(self, name: &str, range: &str) -> Self {
        self.peer(name, range).entry("peerDependenciesMeta", name, json!({"optional": true}))
    }

    /// A command, with the script behind it.
    #[must_use]
    pub fn bin(mut self, command: &str, path: &str) -> Self {
        let says = format!("#!/usr/bin/env node\nconsole.log('{}@{}');\n", self.name, self.version);
        self.files.push(File::new(path, says).executable());
        self.entry("bin", command, json!(path))
    }

    /// A script that runs when the package is installed.
    #[must_use]
    pub fn install_script(mut self) -> Self {
        self.files.push(File::new("install.js", "require('fs').writeFileSync('installed', '');\n"));
        self.entry("scripts", "install", json!("node install.js"))
    }

    /// Operating systems it runs on.
    #[must_use]
    pub fn os(self, systems: &[&str]) -> Self {
        self.field("os", json!(systems))
    }

    /// Processors it runs on.
    #[must_use]
    pub fn cpu(self, processors: &[&str]) -> Self {
        self.field("cpu", json!(processors))
    }

    /// C libraries it runs with.
    #[must_use]
    pub fn libc(self, libraries: &[&str]) -> Self {
        self.field("libc", json!(libraries))
    }

    /// Versions of node it runs with.
    #[must_use]
    pub fn node(self, range: &str) -> Self {
        self.entry("engines", "node", json!(range))
    }

    /// Any other field of package.json.
    #[must_use]
    pub fn field(mut self, key: &str, value: Value) -> Self {
        self.manifest.insert(key.to_owned(), value);
        self
    }

    /// A file of the tarball; replaces the one of that path.
    #[must_use]
    pub fn file(mut self, path: &str, bytes: impl Into<Bytes>) -> Self {
        self.files.retain(|file| file.path != path);
        self.files.push(File::new(path, bytes));
        self
    }

    /// Adds so many bytes that do not compress.
    #[must_use]
    pub fn size(self, bytes: usize) -> Self {
        let filler = tarball::filler(&format!("{}@{}", self.name, self.version), bytes);
        self.file("filler.bin", filler)
    }

    /// Adds files of bytes that do not compress, until there are `files` and the tarball has about so many bytes.
    /// Whatever else is to be in package.json comes before.
    #[must_use]
    pub fn packed(mut self, bytes: usize, files: usize) -> Self {
        // Beside package.json, which is written at the end.
        let more = files.saturating_sub(self.files.len() + 1);
        let mut added: Vec<File> =
            (0..more).map(|nth| File::new(&format!("lib/part-{nth}.js"), Bytes::new())).collect();
        if added.is_empty() {
            added = self.files.drain(..1).collect();
        }
        let known = [&[self.package_json()], &*self.files, &*added].concat();
        let room =
            bytes.saturating_sub(tarball::pack(&known).len()) * 1_000 / tarball::FILLER_PACKED_PER_MILLE;
        let (each, rest) = (room / added.len(), room % added.len());
        for (nth, file) in added.iter_mut().enumerate() {
            let seed = format!("{}@{}/{}", self.name, self.version, file.path);
            file.bytes = tarball::filler(&seed, each + if nth == 0 { rest } else { 0 });
        }
        self.files.extend(added);
        self
    }

    /// When it was published: `2020-01-01T00:00:00.000Z`.
    #[must_use]
    pub fn published(mut self, time: &str) -> Self {
        time.clone_into(&mut self.published);
        self
    }

    /// What clients say to whoever installs it.
    #[must_use]
    pub fn deprecated(mut self, message: &str) -> Self {
        self.deprecated = Some(message.to_owned());
        self
    }

    /// Has provenance at the attestations endpoint.
    #[must_use]
    pub fn attested(mut self) -> Self {
        self.oddities.attested = true;
        self
    }

    /// A tarball that is not called `<name>-<version>.tgz`.
    #[must_use]
    pub fn file_name(mut self, name: &str) -> Self {
        self.oddities.file_name = Some(name.to_owned());
        self
    }

    /// As before 2017: a SHA-1 and nothing better.
    #[must_use]
    pub fn shasum_only(mut self) -> Self {
        self.oddities.shasum_only = true;
        self
    }

    /// Without a signature of the registry.
    #[must_use]
    pub fn unsigned(mut self) -> Self {
        self.oddities.unsigned = true;
        self
    }

    /// Its `dist.tarball` names another host: `http://127.0.0.1:8080`.
    #[must_use]
    pub fn tarball_on(mut self, base: &str) -> Self {
        self.oddities.tarball_base = Some(base.to_owned());
        self
    }

    pub(super) fn build(mut self) -> Release {
        self.files.insert(0, self.package_json());
        let tarball = tarball::pack(&self.files);
        let mut release = Release::of(self.manifest, tarball, &self.files, self.oddities);
        release.published = self.published;
        release.deprecated = self.deprecated;
        release
    }

    fn package_json(&self) -> File {
        File::new("package.json", serde_json::to_vec_pretty(&self.manifest).expect("JSON made of JSON"))
    }

    fn entry(mut self, section: &str, key: &str, value: Value) -> Self {
        let entries = self.manifest.entry(section).or_insert_with(|| json!({}));
        entries[key] = value;
        self
    }
}
