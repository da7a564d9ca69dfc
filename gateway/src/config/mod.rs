//! One configuration out of its layers.
//!
//! From the lowest layer to the one that wins: the default file, which is compiled in and holds every default;
//! `/etc/open-registry/open-registry.toml`; `/etc/open-registry/conf.d/*.toml` in name order; environment
//! variables; flags. Entries of lists (`[[peer]]`) add up. A key that is not in the default file is a problem, and all problems are told at once.
//! The structs of the sections live with the modules that use them.

use std::ffi::OsStr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::{dns, http, operator, private, share, steer, store, swarm, takedown, tls, upstream, zone};

mod blocks;
mod document;
mod keys;
mod layers;
mod load;
mod peers;
mod problem;
mod rules;
mod setting;
mod show;

#[cfg(test)]
mod tests;

pub use layers::{Files, Sources};
pub use load::{Loaded, load};
pub use peers::is_sound;
pub use problem::{Problem, Problems};
pub use rules::told;
pub use setting::Setting;

/// Everything that can be configured.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Make no connection at all.
    pub offline: bool,
    /// Where clients are served, and how.
    pub http: http::Config,
    /// The certificate for https and DNS over TLS.
    pub tls: tls::Config,
    /// The registry of record.
    pub upstream: upstream::Config,
    /// Where everything is kept.
    pub store: store::Config,
    /// The name that clients know this gateway by.
    pub zone: zone::Config,
    /// Where names are answered.
    pub dns: dns::Config,
    /// What peers get of this gateway.
    pub share: share::Config,
    /// Which peers there are.
    pub federation: swarm::Config,
    /// How clients are led to the nearest gateway.
    pub steer: steer::Config,
    /// The other gateways that the operator knows of, of all files.
    #[serde(default)]
    pub peer: Vec<steer::Entry>,
    /// What is not served here, of all files.
    #[serde(default)]
    pub block: Vec<takedown::Block>,
    /// What is passed to upstream and never kept.
    pub private: private::Config,
    /// Where metrics, health and status are served.
    pub operator: operator::Config,
}

/// Nobody said where to keep things, and there is no home directory to fall back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no place to keep packages: there is no home directory; set --data, or dir in [store]")]
pub struct NoDataDirectory;

impl Config {
    /// What the tarball URLs in npm's lockfiles begin with: as configured, else the default upstream, whatever
    /// upstream is now.
    #[must_use]
    pub fn canonical_tarballs(&self) -> Url {
        self.http.canonical_tarballs.clone().unwrap_or_else(default_upstream)
    }
}

/// The data directory: `[store] dir`, else systemd's `$STATE_DIRECTORY`, else `open-registry` among the user's data.
///
/// # Errors
/// When none of them is known.
pub fn data_dir(config: &Config) -> Result<PathBuf, NoDataDirectory> {
    let state = std::env::var_os("STATE_DIRECTORY");
    choose_data_dir(config.store.dir.clone(), state.as_deref(), dirs::data_dir())
}

fn choose_data_dir(
    dir: Option<PathBuf>,
    state: Option<&OsStr>,
    user: Option<PathBuf>,
) -> Result<PathBuf, NoDataDirectory> {
    let of_systemd = || state.and_then(|paths| std::env::split_paths(paths).find(|path| path.is_absolute()));
    let of_user = || user.map(|data| data.join("open-registry"));
    dir.or_else(of_systemd).or_else(of_user).ok_or(NoDataDirectory)
}

fn default_upstream() -> Url {
    let key = keys::Keys::known().find("upstream.url");
    let text = key.and_then(|key| key.default.as_str()).unwrap_or_default();
    text.parse().expect("the default file holds upstream's address, as the tests see")
}
