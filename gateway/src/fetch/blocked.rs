//! What is not served here: refused by name before anybody is asked for it, and by digest before its first byte goes out.

use std::sync::Arc;

use resolver::integrity::{Expected, Integrity};
use resolver::package::{FileName, PackageName};
use resolver::packument::Outline;

use super::failure::Failure;
use super::{Fetch, Tarball, TarballRequest};
use crate::takedown::{Fact, Notice, Takedowns};

impl Fetch {
    /// What is not served here.
    #[must_use]
    pub fn takedowns(&self) -> &Takedowns {
        &self.inner.takedowns
    }

    /// Why a tarball is not served, by what its request says.
    #[must_use]
    pub fn blocked(&self, request: &TarballRequest) -> Option<Arc<Notice>> {
        let takedowns = self.takedowns();
        match request {
            TarballRequest::Digest(integrity) => takedowns.of_digest(integrity),
            TarballRequest::Named(name, file, hint) => {
                let by_digest = || hint.as_ref().and_then(|hint| takedowns.of_digest(hint));
                takedowns.of_file(name, file).or_else(by_digest)
            }
        }
    }

    /// Why a version's tarball is not served.
    pub(super) fn blocked_file(
        &self,
        name: &PackageName,
        version: &str,
        expected: Option<&Expected>,
    ) -> Option<Arc<Notice>> {
        let by_digest = || match expected {
            Some(Expected::Integrity(integrity)) => self.takedowns().of_digest(integrity),
            _ => None,
        };
        self.takedowns().of_version(name, version).or_else(by_digest)
    }

    /// A tarball, unless it turns out to be one that is not served.
    pub(super) fn unless_blocked(&self, tarball: Tarball) -> Result<Tarball, Failure> {
        let integrity = match &tarball {
            Tarball::Held { blob, .. } => Some(blob.integrity()),
            Tarball::Arriving(arriving) => arriving.integrity(),
        };
        let notice = integrity.and_then(|integrity| self.takedowns().of_digest(integrity));
        notice.map_or(Ok(tarball), |notice| Err(Failure::Blocked(notice)))
    }

    /// What a packument that has come says of files that are not served.
    pub(super) fn learn_blocked(&self, name: &PackageName, outline: &Outline) {
        self.takedowns().learn(
            name,
            outline.releases().iter().map(|release| Fact {
                file: release.file.clone(),
                version: Some(release.version.clone()),
                integrity: match release.expected {
                    Some(Expected::Integrity(integrity)) => Some(integrity),
                    _ => None,
                },
            }),
        );
    }

    /// What the store says of them: the digests of all files that were fetched. Blocks for a moment.
    pub fn learn_blocked_of_store(&self) {
        for name in self.takedowns().names() {
            let Some(package) = self.inner.store.package(&name) else { continue };
            let fact = |(file, integrity): (FileName, Integrity)| Fact {
                file,
                version: None,
                integrity: Some(integrity),
            };
            let files = package.tarballs.into_iter().map(|(file, record)| (file, record.integrity));
            self.takedowns().learn(&name, files.map(fact));
        }
    }

    /// Looks into what is held whenever something else is blocked. Ends with the program.
    pub async fn learn_blocked_forever(self) {
        let mut changed = self.takedowns().changed();
        loop {
            changed.mark_unchanged();
            let fetch = self.clone();
            let _ = tokio::task::spawn_blocking(move || fetch.learn_blocked_of_store()).await;
            for name in self.takedowns().names() {
                let Some(record) = self.inner.store.packument_unused(&name) else { continue };
                if let Ok(outline) = self.outline_unused(&record).await {
                    self.learn_blocked(&name, &outline);
                }
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}
