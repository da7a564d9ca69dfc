//! A version's addresses: by which CID it is had, where it stands under the root, and who has it; or what of it is missing.

use std::fmt;

use resolver::index::address;
use resolver::integrity::Integrity;
use resolver::package::PackageName;
use resolver::peer::PeerId;
use serde::{Deserialize, Serialize};

use super::Catalogue;
use crate::fetch::{Content, NoProspect};
use crate::index::{Listed, Resolved};

/// Where a version is to be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// The package.
    pub name: String,
    /// The version, also where a dist-tag has named it.
    pub version: String,
    /// The root of now.
    pub root: String,
    /// Of its head.
    pub sequence: u64,
    /// Of the tarball: `/ipfs/<root>/left/left-1.0.0.tgz`
    pub path: String,
    /// By which IPFS clients get it: a raw block by npm's own digest, above 1 MiB a file of several blocks.
    pub cid: String,
    /// npm's digest.
    pub integrity: String,
    /// In bytes.
    pub size: u64,
    /// This gateway, and peers that are connected.
    pub holders: Vec<Holder>,
}

/// Somebody who has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Who.
    pub peer: PeerId,
    /// It is the gateway that says this.
    pub this: bool,
    /// Where it serves clients, as far as it says.
    pub urls: Vec<String>,
}

/// What is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// Nothing has been published yet.
    Root,
    /// Nothing of the package is listed.
    Package,
    /// Its packument does not know the version.
    Version,
    /// The tarball is not held, or not listed yet.
    Tarball,
    /// It is not served here.
    Blocked,
}

/// Why a version has no address under the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unresolved {
    /// In words.
    pub error: String,
    /// What is not here; `None`: there is no telling now.
    pub missing: Option<Missing>,
    /// npm's digest of the tarball, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integrity: Option<String>,
    /// The address that the tarball would have as one block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cid: Option<String>,
    /// Peers that are connected, and say that they have it.
    pub holders: Vec<Holder>,
}

impl Catalogue {
    /// Where this version is to be had, by what this gateway knows itself.
    ///
    /// # Errors
    /// [`Unresolved`] says what is missing.
    pub async fn resolve(&self, name: &PackageName, version: &str) -> Result<Resolution, Unresolved> {
        let basis = &self.inner.basis;
        let nothing = |missing, error: String| Err(Unresolved::of(Some(missing), error));
        if name.scope().is_some_and(|scope| basis.private_scopes.iter().any(|private| private == scope)) {
            return nothing(Missing::Package, format!("{name} is private: nothing is published of it"));
        }
        let takedowns = basis.fetch.takedowns();
        if let Some(notice) = takedowns.of_version(name, version) {
            return nothing(Missing::Blocked, notice.to_string());
        }
        let content = Content { name: name.clone(), version: Some(version.to_owned()) };
        let prospect = match basis.fetch.prospect(&content).await {
            Ok(prospect) => prospect,
            Err(error @ NoProspect::NoVersion { .. }) => return nothing(Missing::Version, error.to_string()),
            Err(error) => return Err(Unresolved::of(None, error.to_string())),
        };
        let resolved = basis.index.resolve(name, Some(version)).await;
        let Some(Resolved { published, tarball, .. }) = resolved else {
            let missing = if self.published().is_some() { Missing::Package } else { Missing::Root };
            return nothing(missing, missing.words(name, version));
        };
        let foreseen = prospect.tarball;
        let version_of = foreseen.as_ref().map(|tarball| tarball.version.as_str());
        let digest = foreseen.as_ref().and_then(|tarball| Integrity::from_sri(tarball.digest.as_ref()?));
        let by_name = version_of.and_then(|version| takedowns.of_version(name, version));
        if let Some(notice) = by_name.or_else(|| takedowns.of_digest(&digest?)) {
            return nothing(Missing::Blocked, notice.to_string());
        }
        let Some((Listed { path, cid, length }, integrity)) = tarball else {
            let integrity = foreseen.and_then(|tarball| Integrity::from_sri(&tarball.digest?));
            return Err(self.without_tarball(name, version, integrity));
        };
        let this = Holder { peer: basis.id, this: true, urls: Vec::new() };
        let others = self.peers_with(&integrity);
        Ok(Resolution {
            name: name.to_string(),
            version: foreseen.map_or_else(|| version.to_owned(), |tarball| tarball.version),
            root: published.root.to_string(),
            sequence: published.sequence,
            path: format!("/ipfs/{}{path}", published.root),
            cid: cid.to_string(),
            integrity: integrity.to_string(),
            size: length,
            holders: [vec![this], others].concat(),
        })
    }

    fn without_tarball(&self, name: &PackageName, version: &str, integrity: Option<Integrity>) -> Unresolved {
        let holders = integrity.map(|integrity| self.peers_with(&integrity)).unwrap_or_default();
        Unresolved {
            integrity: integrity.map(|integrity| integrity.to_string()),
            cid: integrity.map(|integrity| address::of_tarball(&integrity).to_string()),
            holders,
            ..Unresolved::of(Some(Missing::Tarball), Missing::Tarball.words(name, version))
        }
    }
}

impl Unresolved {
    fn of(missing: Option<Missing>, error: String) -> Self {
        Self { error, missing, integrity: None, cid: None, holders: Vec::new() }
    }
}

impl Missing {
    fn words(self, name: &PackageName, version: &str) -> String {
        match self {
            Self::Root => "this gateway has not published anything yet".to_owned(),
            Self::Package => format!("the package {name} is not in the index of this gateway"),
            Self::Version => format!("{name} has no version {version} here"),
            Self::Blocked => format!("{name}@{version} is not served here"),
            Self::Tarball => format!("the tarball of {name}@{version} is not in the index of this gateway"),
        }
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}@{}", self.name, self.version)?;
        writeln!(f, "CID        {}", self.cid)?;
        writeln!(f, "path       {}", self.path)?;
        writeln!(f, "integrity  {}", self.integrity)?;
        writeln!(f, "size       {} bytes", self.size)?;
        write_holders(&self.holders, f)
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        for (what, value) in [("integrity", &self.integrity), ("CID", &self.cid)] {
            if let Some(value) = value {
                write!(f, "\n{what:<10} {value}")?;
            }
        }
        if !self.holders.is_empty() {
            writeln!(f)?;
        }
        write_holders(&self.holders, f)
    }
}

fn write_holders(holders: &[Holder], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for Holder { peer, this, urls } in holders {
        let whereabouts = if *this { "this gateway".to_owned() } else { urls.join(", ") };
        let whereabouts = if whereabouts.is_empty() { String::new() } else { format!(" ({whereabouts})") };
        writeln!(f, "held by    {peer}{whereabouts}")?;
    }
    Ok(())
}
