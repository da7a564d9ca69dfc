//! What a registry is like before it starts.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use super::Registry;
use super::catalog::Catalog;
use super::respond::Character;
use super::serve::State;
use crate::package::Package;
use crate::place::Place;
use crate::port::free_port;

/// A registry in the making.
#[derive(Debug, Default)]
pub struct Builder {
    catalog: Catalog,
    plain: bool,
    public_url: Option<String>,
}

impl Builder {
    /// Holds this package.
    #[must_use]
    pub fn package(mut self, package: Package) -> Self {
        self.catalog.publish(package);
        self
    }

    /// Holds these packages.
    #[must_use]
    pub fn packages(self, packages: impl IntoIterator<Item = Package>) -> Self {
        packages.into_iter().fold(self, Self::package)
    }

    /// A bare mirror: no validators, no compression, no abbreviated packuments, empty 404 bodies, 405 for audits.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// What `dist.tarball` begins with, when it is not where the registry listens.
    #[must_use]
    pub fn public_url(mut self, url: &str) -> Self {
        self.public_url = Some(url.trim_end_matches('/').to_owned());
        self
    }

    /// Knows `user` by this bearer token.
    #[must_use]
    pub fn account(mut self, user: &str, token: &str) -> Self {
        self.catalog.add_account(user, token);
        self
    }

    /// Hides a scope (`@acme`) from everybody who does not send this bearer token: 404.
    #[must_use]
    pub fn private_scope(mut self, scope: &str, token: &str) -> Self {
        self.catalog.close_scope(scope, token);
        self
    }

    /// Listens on a free port of 127.0.0.1, which nobody else is given while it is switched off.
    pub fn start(self) -> Registry {
        self.start_at(SocketAddr::from(([127, 0, 0, 1], free_port())))
    }

    /// Listens here; port 0 is any free one.
    pub fn start_at(self, address: SocketAddr) -> Registry {
        self.listen(address, None)
    }

    /// Listens here with TLS; HTTP/2 when the configuration's ALPN offers it.
    pub fn start_tls(self, address: SocketAddr, tls: ServerConfig) -> Registry {
        self.listen(address, Some(TlsAcceptor::from(Arc::new(tls))))
    }

    fn listen(self, address: SocketAddr, tls: Option<TlsAcceptor>) -> Registry {
        let listener =
            TcpListener::bind(address).unwrap_or_else(|error| panic!("cannot bind {address}: {error}"));
        let address = listener.local_addr().expect("a bound socket has an address");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        let base = self.public_url.unwrap_or_else(|| url.clone());
        let state = Arc::new(State::new(Character { plain: self.plain, base }, self.catalog));
        let place = Place::here();
        let registry = Registry { state, url, address, tls, place, running: Mutex::new(None) };
        registry.listen_on(listener);
        registry
    }
}
