//! What is filled in: from flags, else from the configuration, else from this machine's interfaces.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::Context;
use resolver::links::Class;
use url::Url;

use super::addresses::{self, Interface, NoAddress};
use super::catalogue::{Entry, Needs};
use super::recipe::Values;
use crate::config::{Config, told};

/// Where one gateway is found, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// What is filled in.
    pub values: Values,
    /// How the addresses came to be known.
    pub source: Source,
    /// Whether a flag named the registry's address.
    pub url_said: bool,
}

/// What flags say of it.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// The gateway's addresses; empty where no flag names one.
    pub addresses: &'a [IpAddr],
    /// The registry's address for clients.
    pub url: Option<&'a Url>,
    /// The file with the certificate authority.
    pub ca: Option<&'a Path>,
}

/// Who named the addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A flag or the configuration.
    Said,
    /// This machine's interface of that name; the text lists what else there is.
    Guessed { interface: String, others: String },
    /// Nobody.
    Nobody,
}

impl Site {
    /// The site of the gateway that this configuration and these flags are about.
    ///
    /// # Errors
    /// When the file of the certificate authority has no place that can be written down.
    pub fn of(said: &Said<'_>, config: &Config, interfaces: &[Interface]) -> anyhow::Result<Self> {
        let (gateways, source) = gateways(said.addresses, config, interfaces);
        let url = said.url.cloned().unwrap_or_else(|| default_url(config, said.ca.is_some()));
        let ca = said.ca.map(|file| {
            let whole =
                std::path::absolute(file).with_context(|| format!("cannot find {}", file.display()))?;
            whole
                .into_os_string()
                .into_string()
                .ok()
                .context("the path of the certificate authority is not UTF-8")
        });
        let values =
            Values { zone: config.zone.name.to_string(), gateways, url, ca: ca.transpose()?, peer: None };
        Ok(Self { values, source, url_said: said.url.is_some() })
    }

    pub(super) fn require_address(&self) -> Result<(), NoAddress> {
        if self.source == Source::Nobody { Err(NoAddress) } else { Ok(()) }
    }

    /// What the reader has to know about the lines of this entry.
    pub(super) fn notes(&mut self, entry: &Entry, config: &Config) -> Vec<String> {
        let mut notes = Vec::new();
        if entry.needs == Needs::Peers {
            return notes;
        }
        if entry.needs == Needs::Url {
            notes.extend(self.unreachable(config));
            return notes;
        }
        if let Source::Guessed { interface, others } = &self.source {
            let taken = list(&self.values.gateways);
            notes.push(format!(
                "taking {taken} of {interface} for the gateway; --address says otherwise{others}"
            ));
        }
        let has = |class| self.values.gateways.iter().any(|address| Class::of(*address) == class);
        if has(Class::Private) && has(Class::Public) {
            notes.push(
                "filters against DNS rebinding drop answers that mix private \
                and public addresses; give addresses of one kind"
                    .into(),
            );
        }
        if entry.needs >= Needs::Dns && config.dns.listen.is_empty() {
            notes.push(
                "the gateway must answer DNS: set listen in [dns] there, or start its DNS socket".into(),
            );
        }
        if entry.needs == Needs::Forward && config.dns.forward.is_empty() {
            notes.push("the gateway must answer for all names: set forward in [dns] there".into());
        }
        notes
    }

    /// A warning, where clients elsewhere cannot reach what this configuration serves.
    fn unreachable(&self, config: &Config) -> Option<String> {
        let alone = served(&config.http.listen).is_empty() && served(&config.http.tls_listen).is_empty();
        (alone && !self.url_said).then(|| {
            format!(
                "this is for a service whose systemd sockets serve {}; for a gateway that was \
                    started by hand on this computer: --url http://localhost:6736",
                self.values.url
            )
        })
    }
}

fn gateways(given: &[IpAddr], config: &Config, interfaces: &[Interface]) -> (Vec<IpAddr>, Source) {
    let listeners = [&config.dns.listen, &config.http.listen, &config.http.tls_listen];
    let listeners = listeners.into_iter().flatten().map(SocketAddr::ip);
    let reachable = listeners.filter(|ip| !ip.is_unspecified() && Class::of(*ip) >= Class::Private);
    let configured = [config.zone.addresses.clone(), unique(reachable)].map(of_one_class);
    for said in [given.to_vec()].into_iter().chain(configured) {
        if !said.is_empty() {
            return (said, Source::Said);
        }
    }
    let Ok((interface, addresses)) = addresses::choose(interfaces) else {
        return (Vec::new(), Source::Nobody);
    };
    let rest = interfaces.iter().flat_map(|one| &one.addresses).filter(|ip| !addresses.contains(ip));
    let rest: Vec<IpAddr> = rest.copied().collect();
    let others = if rest.is_empty() { String::new() } else { format!(" (there are also {})", list(&rest)) };
    (addresses, Source::Guessed { interface: interface.name.clone(), others })
}

/// The registry's address for clients: the zone's name, and the port that it is served on; plain http, unless
/// `https` is asked for or nothing else is served.
///
/// Where the configuration serves nobody but this machine, the sockets of systemd do, on the default ports.
#[must_use]
pub fn default_url(config: &Config, https: bool) -> Url {
    let (plain, safe) = (served(&config.http.listen), served(&config.http.tls_listen));
    let https = https || (plain.is_empty() && !safe.is_empty());
    let (scheme, ports, default) = if https { ("https", safe, 443) } else { ("http", plain, 80) };
    let mut url: Url =
        format!("{scheme}://{}", config.zone.name).parse().expect("a zone's name is a host name");
    if let Some(port) = ports.first().filter(|_| !ports.contains(&default)) {
        // Only what has no host has no port.
        let _ = url.set_port(Some(*port));
    }
    url
}

/// The ports at which others than this machine are served.
fn served(listeners: &[SocketAddr]) -> Vec<u16> {
    listeners.iter().filter(|address| !address.ip().is_loopback()).map(SocketAddr::port).collect()
}

/// Reads the address of a registry.
///
/// # Errors
/// When it is none, in words for whoever wrote it.
pub fn parse_url(text: &str) -> Result<Url, String> {
    let url: Url =
        text.parse().map_err(|error| format!("{error}; write it like http://registry.example.com"))?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    match matches!(url.scheme(), "http" | "https") && url.has_host() && plain {
        true => Ok(url),
        false => Err("it is not the address of a registry; write it like http://registry.example.com".into()),
    }
}

/// Reads an address of the gateway.
///
/// # Errors
/// When it is none, or leads nowhere, in words for whoever wrote it.
pub fn parse_address(text: &str) -> Result<IpAddr, String> {
    let address = text.parse().map_err(|error| format!("{error}; write it like 192.168.7.9"))?;
    told(address).map(|()| address)
}

/// The private ones, where there are any: the recipes are for one network, and resolvers do not take both kinds.
fn of_one_class(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let is_private = |address: &IpAddr| Class::of(*address) == Class::Private;
    if addresses.iter().any(is_private) {
        addresses.retain(is_private);
    }
    addresses
}

fn unique(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut unique = Vec::new();
    for address in addresses {
        if !unique.contains(&address) {
            unique.push(address);
        }
    }
    unique
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
