//! A network in which the npm registry is ours, and a project to install in it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use tempfile::TempDir;
use url::Url;

use super::{Checkout, Client, Settings};
use crate::projects::{self, Project};
use crate::{Ca, Gateway, GatewayBuilder, Recorded, Registry, canonical_host, canonical_url, in_own_network};

const CANONICAL: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// What a test of a client has around it.
#[derive(Debug)]
pub struct World {
    /// The npm registry: over TLS, at its own address, by every name under which the client knows it.
    pub registry: Registry,
    /// Who vouches for it, and for whomever a test wants vouched for.
    pub ca: Ca,
    project: Project,
    authority: PathBuf,
    folder: TempDir,
}

impl World {
    /// Runs `body` in a network of its own, as [`in_own_network`] does.
    pub fn enter(test: &str, client: Client, body: impl FnOnce(&Self)) {
        let names = Self::names(&[client]);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let hosts: Vec<(&str, IpAddr)> = names.iter().map(|name| (*name, CANONICAL)).collect();
        in_own_network(test, &hosts, || body(&Self::new(&names, SocketAddr::new(CANONICAL, 443))));
    }

    /// The names under which these clients know the npm registry.
    pub fn names(clients: &[Client]) -> Vec<String> {
        let host = |client: &Client| {
            let url = Url::parse(&client.default_registry()).expect("a client's default registry is a URL");
            url.host_str().expect("a registry has a host").to_owned()
        };
        let names: BTreeSet<String> = clients.iter().map(host).chain([canonical_host()]).collect();
        names.into_iter().collect()
    }

    /// The npm registry by these names, where the calling thread is.
    pub fn new(names: &[&str], address: SocketAddr) -> Self {
        Self::of(projects::typical(), names, address)
    }

    /// The same with another project.
    pub fn of(project: Project, names: &[&str], address: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let authority = folder.path().join("authority.pem");
        let ca = Ca::new();
        ca.write_pem(&authority);
        let project = conventional(project);
        let registry = Registry::builder()
            .packages(project.packages.clone())
            .public_url(&canonical_url())
            .start_tls(address, ca.issue(names));
        Self { registry, ca, project, authority, folder }
    }

    /// A new checkout of the project, with a user of its own.
    pub fn checkout(&self, name: &str) -> Checkout {
        Checkout::new(&self.folder.path().join(name), &self.project.package_json_text())
    }

    /// What a user has who never heard of a gateway.
    pub fn straight(&self) -> Settings {
        Settings::none().trusting(&self.authority)
    }

    /// The one setting that leads to the gateway. The npm registry is trusted all the same: a request that goes
    /// round the gateway is to arrive and be seen.
    pub fn through(&self, gateway: &Gateway) -> Settings {
        Settings::registry(&gateway.url()).trusting(&self.authority)
    }

    /// The same, over https: by the name of this machine.
    pub fn through_https(&self, gateway: &Gateway) -> Settings {
        let port = gateway.https_address().port();
        Settings::registry(&format!("https://localhost:{port}")).trusting(&self.authority)
    }

    /// A gateway whose upstream is the npm registry.
    pub fn gateway(&self) -> Gateway {
        self.gateway_builder().start()
    }

    /// A gateway whose upstream is the npm registry, that also serves https.
    pub fn https_gateway(&self) -> Gateway {
        self.gateway_builder().tls(self.certificate(&["localhost"])).start()
    }

    /// A gateway in the making whose upstream is the npm registry.
    pub fn gateway_builder(&self) -> GatewayBuilder {
        Gateway::builder().env("SSL_CERT_FILE", self.authority())
    }

    /// The files of a certificate for these names, and of its key.
    pub fn certificate(&self, names: &[&str]) -> (PathBuf, PathBuf) {
        self.ca.leaf(names).write(self.folder.path())
    }

    /// The PEM file of the authority that vouches for the npm registry.
    pub fn authority(&self) -> &str {
        self.authority.to_str().expect("a temporary folder with a plain name")
    }

    /// The tarballs that the npm registry was asked for, once for each time.
    pub fn tarballs_asked_for(&self) -> Vec<String> {
        self.registry
            .requests()
            .into_iter()
            .filter(Recorded::is_tarball)
            .map(|recorded| recorded.path)
            .collect()
    }

    /// Asserts that every request was a gateway's: it names itself to its upstream.
    pub fn assert_only_the_gateway_asked(&self) {
        for recorded in self.registry.requests() {
            let agent = recorded.header("user-agent").unwrap_or_default();
            let passed_on = recorded.header("via").is_some_and(|via| via.contains("open-registry"));
            let (method, path) = (&recorded.method, &recorded.path);
            let by_gateway = passed_on || agent.starts_with("open-registry/");
            assert!(by_gateway, "{agent} went round the gateway: {method} {path}");
        }
    }

    /// Asserts that the npm registry gave each tarball once at most, and at least one.
    pub fn assert_no_tarball_was_asked_for_twice(&self) {
        let asked = self.tarballs_asked_for();
        let different: BTreeSet<_> = asked.iter().collect();
        assert!(!asked.is_empty(), "the npm registry was asked for no tarball at all");
        assert_eq!(asked.len(), different.len(), "some tarballs were asked for twice: {asked:#?}");
    }
}

/// Without the package whose tarball has a name of its own: berry and pnpm write such an address down, and bun
/// cannot install it a second time from its own lockfile, wherever it comes from.
fn conventional(mut project: Project) -> Project {
    let dependencies = project.package_json["dependencies"].as_object_mut().expect("dependencies");
    dependencies.remove("esprima-like");
    project
}
