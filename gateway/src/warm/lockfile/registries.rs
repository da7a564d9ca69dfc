//! Which addresses in a lockfile stand for the registry that this gateway caches.

use std::net::SocketAddr;

use resolver::package::{FileName, PackageName};
use url::Url;

use crate::config::Config;

/// yarn's own name for the npm registry, which yarn 1 writes into its lockfiles.
const YARNS_NAME: &str = "registry.yarnpkg.com";

/// The addresses that stand for the registry. Packages of any other host are left out: a company's registry may
/// have names that its upstream must not hear of.
#[derive(Debug, Clone, Default)]
pub struct Registries {
    /// `host`, for any port, or `host:port`; lower case.
    authorities: Vec<String>,
    /// A domain and everything below it.
    zone: Option<String>,
}

/// What the path of a tarball's address says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// The package; `None` when the path is not the conventional one.
    pub(super) name: Option<PackageName>,
    /// The tarball's file name.
    pub(super) file: FileName,
}

impl Registries {
    /// Those that the configuration names: upstream and its tarball hosts, and this gateway itself.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let canonical = config.canonical_tarballs();
        let mut registries =
            Self { zone: Some(config.zone.name.to_string().to_ascii_lowercase()), ..Self::default() };
        let urls = [&config.upstream.url, &canonical].into_iter();
        registries.authorities.extend(urls.filter_map(authority));
        registries.authorities.extend(config.upstream.tarball_hosts.iter().map(|h| h.to_ascii_lowercase()));
        let listen = config.http.listen.iter().chain(&config.http.tls_listen);
        registries.authorities.extend(listen.map(SocketAddr::to_string));
        registries.authorities.push(YARNS_NAME.to_owned());
        registries
    }

    /// With another one, that somebody says is the same registry.
    #[must_use]
    pub fn and(mut self, url: &Url) -> Self {
        self.authorities.extend(authority(url));
        self
    }

    /// Where a tarball's address leads, when it is at the registry.
    ///
    /// # Errors
    /// Its host, when it is not.
    pub(super) fn place(&self, address: &str) -> Result<Option<Placed>, String> {
        let Ok(url) = Url::parse(address) else {
            return Ok(None);
        };
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let authority = authority(&url).unwrap_or_default();
        let below = |zone: &String| host == *zone || host.ends_with(&format!(".{zone}"));
        let known = self.authorities.iter().any(|known| *known == host || *known == authority);
        if !known && !self.zone.as_ref().is_some_and(below) {
            return Err(authority);
        }
        Ok(placed(url.path()))
    }
}

/// Package and file of `…/@scope/name/-/name-1.0.0.tgz`.
pub(super) fn placed(path: &str) -> Option<Placed> {
    let path = percent_encoding::percent_decode_str(path).decode_utf8().ok()?;
    let (before, file) = path.rsplit_once('/')?;
    let file = FileName::parse(file).ok()?;
    let name = before.strip_suffix("/-").and_then(|package| {
        let mut parts = package.rsplit('/');
        let (last, scope) = (parts.next()?, parts.next().filter(|part| part.starts_with('@')));
        let name = scope.map_or_else(|| last.to_owned(), |scope| format!("{scope}/{last}"));
        PackageName::parse(&name).ok()
    });
    Some(Placed { name, file })
}

/// `host:port`, the port also where it is the scheme's own.
fn authority(url: &Url) -> Option<String> {
    let host = url.host_str()?.to_ascii_lowercase();
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}
