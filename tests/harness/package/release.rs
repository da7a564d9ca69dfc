//! One published version: its tarball, its digests, and how packuments describe it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha1::Sha1;
use sha2::{Digest as _, Sha512};

use super::signing;
use super::tarball::File;

/// The fields of package.json that an abbreviated packument keeps, as npm's package-metadata page lists them.
const ABBREVIATED: [&str; 15] = [
    "name",
    "version",
    "dependencies",
    "optionalDependencies",
    "devDependencies",
    "bundleDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "bin",
    "directories",
    "engines",
    "cpu",
    "os",
    "libc",
    "funding",
];

/// What may be unusual about a version.
#[derive(Debug, Clone, Default)]
pub(crate) struct Oddities {
    pub(crate) file_name: Option<String>,
    pub(crate) tarball_base: Option<String>,
    pub(crate) shasum_only: bool,
    pub(crate) unsigned: bool,
    pub(crate) attested: bool,
}

/// A version as it was published.
#[derive(Debug, Clone)]
pub struct Release {
    /// The package's name.
    pub name: String,
    /// The version's number.
    pub version: String,
    /// When it was published, RFC 3339.
    pub published: String,
    /// What clients say to whoever installs it.
    pub deprecated: Option<String>,
    /// The tarball itself.
    pub tarball: Bytes,
    /// The tarball's SRI digest: `sha512-...`.
    pub integrity: String,
    /// The tarball's SHA-1, in hex.
    pub shasum: String,
    manifest: Map<String, Value>,
    file_count: usize,
    unpacked_size: usize,
    oddities: Oddities,
}

impl Release {
    pub(crate) fn of(
        manifest: Map<String, Value>,
        tarball: Bytes,
        files: &[File],
        oddities: Oddities,
    ) -> Self {
        Self {
            name: text(&manifest, "name"),
            version: text(&manifest, "version"),
            published: String::new(),
            deprecated: None,
            integrity: format!("sha512-{}", BASE64.encode(Sha512::digest(&tarball))),
            shasum: hex(&Sha1::digest(&tarball)),
            tarball,
            manifest,
            file_count: files.len(),
            unpacked_size: files.iter().map(|file| file.bytes.len()).sum(),
            oddities,
        }
    }

    /// A version that a client published: its manifest and the tarball it attached.
    pub(crate) fn uploaded(mut manifest: Map<String, Value>, tarball: Bytes, published: String) -> Self {
        manifest.remove("dist");
        Self { published, ..Self::of(manifest, tarball, &[], Oddities::default()) }
    }

    /// The tarball's file name.
    pub fn file_name(&self) -> String {
        let bare = self.name.rsplit('/').next().unwrap_or(&self.name);
        self.oddities.file_name.clone().unwrap_or_else(|| format!("{bare}-{}.tgz", self.version))
    }

    /// The tarball's path on a registry: `/left/-/left-1.0.0.tgz`.
    pub fn tarball_path(&self) -> String {
        format!("/{}/-/{}", self.name, self.file_name())
    }

    pub(crate) fn is_attested(&self) -> bool {
        self.oddities.attested
    }

    /// As it stands in a full packument.
    pub(crate) fn full(&self, base: &str) -> Value {
        let mut document = self.manifest.clone();
        document.insert("_id".into(), json!(format!("{}@{}", self.name, self.version)));
        document.insert("_npmUser".into(), json!({"name": "ada", "email": "ada@mail.example"}));
        document.insert("maintainers".into(), json!([{"name": "ada", "email": "ada@mail.example"}]));
        document.insert("_hasShrinkwrap".into(), json!(false));
        document.insert("_nodeVersion".into(), json!("20.0.0"));
        document.insert("_npmVersion".into(), json!("10.0.0"));
        self.finish(document, self.dist(base))
    }

    /// As it stands in an abbreviated packument.
    pub(crate) fn abbreviated(&self, base: &str) -> Value {
        let mut document = self.manifest.clone();
        document.retain(|key, _| ABBREVIATED.contains(&key.as_str()));
        document.insert("_hasShrinkwrap".into(), json!(false));
        if self.runs_on_install() {
            document.insert("hasInstallScript".into(), json!(true));
        }
        self.finish(document, self.dist(base))
    }

    /// As a bare mirror gives it: package.json and three fields of `dist`.
    pub(crate) fn bare(&self, base: &str) -> Value {
        let mut dist = self.dist(base);
        dist.retain(|key, _| ["integrity", "shasum", "tarball"].contains(&key.as_str()));
        self.finish(self.manifest.clone(), dist)
    }

    fn finish(&self, mut document: Map<String, Value>, dist: Map<String, Value>) -> Value {
        if let Some(message) = &self.deprecated {
            document.insert("deprecated".into(), json!(message));
        }
        document.insert("dist".into(), Value::Object(dist));
        Value::Object(document)
    }

    fn dist(&self, base: &str) -> Map<String, Value> {
        let home = self.oddities.tarball_base.as_deref().unwrap_or(base).trim_end_matches('/');
        let mut dist = Map::new();
        dist.insert("shasum".into(), json!(self.shasum));
        dist.insert("tarball".into(), json!(format!("{home}{}", self.tarball_path())));
        if self.oddities.shasum_only {
            return dist;
        }
        dist.insert("integrity".into(), json!(self.integrity));
        dist.insert("fileCount".into(), json!(self.file_count));
        dist.insert("unpackedSize".into(), json!(self.unpacked_size));
        if !self.oddities.unsigned {
            let message = format!("{}@{}:{}", self.name, self.version, self.integrity);
            dist.insert("signatures".into(), json!([signing::sign(&message)]));
        }
        if self.oddities.attested {
            dist.insert("attestations".into(), self.attestations(base));
        }
        dist
    }

    fn attestations(&self, base: &str) -> Value {
        let base = base.trim_end_matches('/');
        json!({
            "url": format!("{base}/-/npm/v1/attestations/{}@{}", self.name.replace('/', "%2f"), self.version),
            "provenance": {"predicateType": "https://slsa.dev/provenance/v1"},
        })
    }

    fn runs_on_install(&self) -> bool {
        let scripts = self.manifest.get("scripts").and_then(Value::as_object);
        ["preinstall", "install", "postinstall"]
            .iter()
            .any(|step| scripts.is_some_and(|s| s.contains_key(*step)))
    }
}

fn text(manifest: &Map<String, Value>, key: &str) -> String {
    manifest.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
