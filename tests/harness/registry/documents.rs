//! Packuments as bytes: the full form, the abbreviated one, and what a bare mirror gives.

use std::sync::OnceLock;
use std::time::SystemTime;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::package::{Package, Past, Release, gzip};

/// The media type that asks for the abbreviated form and names it.
pub(crate) const ABBREVIATED: &str = "application/vnd.npm.install-v1+json";

/// Which document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    Full,
    Abbreviated,
    Bare,
}

/// One form of one packument.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) form: Form,
    pub(crate) bytes: Bytes,
    /// Strong, without its quotes; every form has its own.
    pub(crate) tag: String,
    pub(crate) modified: SystemTime,
    gzipped: OnceLock<Bytes>,
}

impl Document {
    pub(crate) fn render(package: &Package, form: Form, base: &str, modified: SystemTime) -> Self {
        let document = match form {
            Form::Full => full(package, base, modified),
            Form::Abbreviated => abbreviated(package, base, modified),
            Form::Bare => bare(package, base, modified),
        };
        let bytes = match (&package.past, document) {
            (Some(past), Value::Object(document)) => past.before(document, base, past.length(form)),
            (_, document) => serde_json::to_vec(&document).expect("JSON made of JSON"),
        };
        Self::of(form, bytes.into(), modified)
    }

    /// These very bytes.
    pub(crate) fn of(form: Form, bytes: Bytes, modified: SystemTime) -> Self {
        let tag = entity_tag(&bytes);
        Self { form, bytes, tag, modified, gzipped: OnceLock::new() }
    }

    /// Compressed once: a large one takes longer than everything else that is done with it.
    pub(crate) fn gzipped(&self) -> Bytes {
        self.gzipped.get_or_init(|| gzip(&self.bytes)).clone()
    }

    pub(crate) fn content_type(&self) -> &'static str {
        match self.form {
            Form::Abbreviated => ABBREVIATED,
            Form::Full | Form::Bare => "application/json",
        }
    }
}

/// A tag that follows from the bytes.
pub(crate) fn entity_tag(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn full(package: &Package, base: &str, modified: SystemTime) -> Value {
    let mut document = skeleton(package, |release| release.full(base));
    document["_id"] = json!(package.name);
    document["_rev"] = json!(format!("{}-{}", package.releases.len(), entity_tag(package.name.as_bytes())));
    document["readme"] = json!(package.readme);
    document["readmeFilename"] = json!("README.md");
    document["maintainers"] = json!([{"name": "ada", "email": "ada@mail.example"}]);
    document["description"] = json!(format!("{}, for tests", package.name));
    document["license"] = json!("MIT");
    dated(document, package, modified)
}

fn abbreviated(package: &Package, base: &str, modified: SystemTime) -> Value {
    let mut document = skeleton(package, |release| release.abbreviated(base));
    document["modified"] = json!(stamp(modified));
    document
}

fn bare(package: &Package, base: &str, modified: SystemTime) -> Value {
    let mut document = skeleton(package, |release| release.bare(base));
    document["_id"] = json!(package.name);
    dated(document, package, modified)
}

fn skeleton(package: &Package, describe: impl Fn(&Release) -> Value) -> Value {
    let versions: Map<String, Value> =
        package.releases().map(|release| (release.version.clone(), describe(release))).collect();
    json!({"name": package.name, "dist-tags": package.dist_tags(), "versions": versions})
}

fn dated(mut document: Value, package: &Package, modified: SystemTime) -> Value {
    if package.dated {
        let mut times: Map<String, Value> =
            package.releases().map(|release| (release.version.clone(), json!(release.published))).collect();
        times.retain(|version, _| !package.undated.contains(version));
        let created = package.releases().map(|release| release.published.as_str()).min();
        let past = 0..package.past.map_or(0, |past| past.versions);
        times.extend(past.map(|nth| (Past::version(nth), json!(created))));
        times.insert("created".to_owned(), json!(created));
        times.insert("modified".to_owned(), json!(stamp(modified)));
        document["time"] = Value::Object(times);
    }
    document
}

impl Past {
    fn length(&self, form: Form) -> usize {
        if form == Form::Abbreviated { self.abbreviated } else { self.full }
    }
}

fn stamp(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}
