//! npm packages made from nothing: real tarballs, real digests, the metadata the npm registry gives.
//!
//! ```text
//! Package::new("left")
//!     .version("1.0.0", |v| v.dependency("@scope/right", "^1.0.0"))
//!     .version("2.0.0-rc.1", |v| v.bin("left", "cli.js"))
//!     .tag("next", "2.0.0-rc.1")
//! ```
//!
//! The same calls give the same bytes, in every run.

mod past;
mod release;
mod signing;
mod tarball;
mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use past::Past;
pub use release::Release;
pub use signing::{public_keys, sign};
pub(crate) use tarball::gzip;
pub use version::VersionBuilder;

/// A package: its versions in the order they were published, and its dist-tags.
#[derive(Debug, Clone)]
pub struct Package {
    pub(crate) name: String,
    pub(crate) releases: Vec<Arc<Release>>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) readme: String,
    pub(crate) dated: bool,
    /// Versions that `time` leaves out.
    pub(crate) undated: BTreeSet<String>,
    pub(crate) past: Option<Past>,
}

impl Package {
    /// A package without versions.
    pub fn new(name: &str) -> Self {
        let readme = format!("# {name}\n\nA package of the tests.\n");
        let (releases, tags, undated) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        Self { name: name.to_owned(), releases, tags, readme, dated: true, undated, past: None }
    }

    /// Adds a version, or replaces the one of that number.
    #[must_use]
    pub fn version(self, version: &str, describe: impl FnOnce(VersionBuilder) -> VersionBuilder) -> Self {
        let release = describe(VersionBuilder::new(&self.name, version)).build();
        self.release(release)
    }

    /// Adds a version that is already built.
    #[must_use]
    pub fn release(mut self, release: Release) -> Self {
        self.releases.retain(|held| held.version != release.version);
        self.releases.push(Arc::new(release));
        self
    }

    /// Points a dist-tag at a version. `latest` is the last one without a prerelease unless it is set here.
    #[must_use]
    pub fn tag(mut self, tag: &str, version: &str) -> Self {
        self.tags.insert(tag.to_owned(), version.to_owned());
        self
    }

    /// The readme of the full packument.
    #[must_use]
    pub fn readme(mut self, text: &str) -> Self {
        text.clone_into(&mut self.readme);
        self
    }

    /// A packument without `time`, as some private registries give.
    #[must_use]
    pub fn without_time(mut self) -> Self {
        self.dated = false;
        self
    }

    /// A packument whose `time` leaves this version out, as a bad mirror's does.
    #[must_use]
    pub fn without_time_of(mut self, version: &str) -> Self {
        self.undated.insert(version.to_owned());
        self
    }

    /// Packuments as long as this, with so many versions that nobody installs.
    #[must_use]
    pub fn past(mut self, past: Past) -> Self {
        self.past = Some(past);
        self
    }

    /// `left`, or `@scope/left`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One version.
    ///
    /// # Panics
    /// When there is no such version.
    pub fn at(&self, version: &str) -> &Release {
        self.find(version).unwrap_or_else(|| panic!("{} has no version {version}", self.name))
    }

    /// Every version, in the order of publication.
    pub fn releases(&self) -> impl Iterator<Item = &Release> {
        self.releases.iter().map(AsRef::as_ref)
    }

    pub(crate) fn find(&self, version: &str) -> Option<&Release> {
        self.releases().find(|release| release.version == version)
    }

    /// Every dist-tag that points at a version that is there, `latest` included.
    pub(crate) fn dist_tags(&self) -> BTreeMap<String, String> {
        let mut tags = self.tags.clone();
        tags.retain(|_, version| self.find(version).is_some());
        if let Some(latest) = self.newest() {
            tags.entry("latest".to_owned()).or_insert_with(|| latest.version.clone());
        }
        tags
    }

    fn newest(&self) -> Option<&Release> {
        self.releases().filter(|release| !release.version.contains('-')).last().or(self.releases().last())
    }
}
