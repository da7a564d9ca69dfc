//! Everything that is listened on: handed over or bound, all of it before anything is served.

use std::net::SocketAddr;
use std::sync::Arc;

use resolver::links::Links;
use resolver::peer::{PeerId, Scheme};
use resolver::rank::Snapshot;
use tokio::sync::watch;

use crate::config::Config;
use crate::dns::{self, Announced, Dns, Locate, Sockets, Surroundings};
use crate::http::Door;
use crate::listen::Listeners;
use crate::metrics::Metrics;
use crate::pulse::Pulses;
use crate::service::{Closed, Handed};
use crate::swarm;
use crate::terminal::say;
use crate::tls::{self, Tls, TlsError};

/// The port that "open" gives on a phone's keys.
const MNEMONIC_PORT: u16 = 6736;

/// Sockets that will be served.
pub(super) struct Listening {
    /// For clients, plain and with TLS.
    pub(super) clients: Vec<Door>,
    /// For operators.
    pub(super) operators: Vec<Door>,
    /// For names.
    pub(super) dns: Dns,
    /// For nobody.
    pub(super) closed: Closed,
    /// Where clients are served.
    pub(super) served: Vec<SocketAddr>,
    /// Where each of them is, and what it is called.
    addresses: Vec<(&'static str, SocketAddr)>,
}

/// What listeners have to know of the rest of the gateway.
pub(super) struct Around {
    /// Who it is.
    pub(super) id: PeerId,
    /// The machine's interfaces.
    pub(super) links: watch::Receiver<Arc<Links>>,
    /// Other gateways.
    pub(super) peers: watch::Receiver<Arc<Snapshot>>,
    /// What is published of the index.
    pub(super) head: watch::Receiver<Option<Arc<Announced>>>,
    /// Says where networks are.
    pub(super) locate: Locate,
    /// Where all is counted.
    pub(super) metrics: Arc<Metrics>,
    /// Where loops show that they turn.
    pub(super) pulses: Pulses,
}

impl Listening {
    /// Takes what was handed over, and binds what is configured for the roles that were handed nothing. Without a
    /// certificate, what was handed over for TLS is closed.
    ///
    /// # Errors
    /// When an address cannot be bound, or a certificate is missing for one that is configured.
    pub(super) fn open<'a>(
        config: &'a Config,
        mut handed: Handed,
        tls: Option<&Tls>,
        around: &Around,
    ) -> anyhow::Result<Self> {
        let pulses = &around.pulses;
        let (http, operator) = (&config.http, &config.operator);
        let closed = if tls.is_some() { Closed::default() } else { Closed::without_certificate(&mut handed) };
        let unless_closed =
            |role, addresses: &'a [SocketAddr]| if closed.holds(role) { &[] } else { addresses };
        let plain = Listeners::adopt_or_bind(handed.http, "http.listen or --listen", &http.listen)?;
        let secure = Listeners::adopt_or_bind(
            handed.https,
            "http.tls_listen",
            unless_closed("https", &http.tls_listen),
        )?;
        let operators =
            Listeners::adopt_or_bind(handed.operator, "operator.listen", operator.listen.as_slice())?;
        let sockets = Sockets { udp: handed.dns_udp, tcp: Listeners::adopt(handed.dns_tcp)? };
        let around = surroundings(config, &[&plain, &secure], around);
        let served = around.served.clone();
        let mut dns = Dns::bind(&dns_config(config), around, sockets)?;
        let over_tls = Listeners::adopt_or_bind(
            handed.dot,
            "dns.tls_listen",
            unless_closed("dot", &config.dns.tls_listen),
        )?;
        if !over_tls.is_empty() {
            dns.add_tls(over_tls, Tls::required(tls, "dot")?.server(tls::DNS)?);
        }
        warn_of_names_that_lead_nowhere(config, &dns, &[&plain, &secure]);
        let named = |name: &'static str, listeners: &Listeners| {
            listeners.addresses().into_iter().map(move |address| (name, address)).collect::<Vec<_>>()
        };
        let addresses =
            [named("operator", &operators), dns.addresses(), named("https", &secure), named("http", &plain)]
                .concat();
        let mut clients = Door::plain(plain, "http", pulses);
        clients.extend(https(secure, tls, pulses)?);
        Ok(Self {
            clients,
            operators: Door::plain(operators, "operator", pulses),
            dns,
            closed,
            served,
            addresses,
        })
    }

    /// The ports that clients come in by.
    pub(super) fn ports(&self) -> Vec<u16> {
        let of_clients = |(name, _): &&(&str, SocketAddr)| matches!(*name, "http" | "https");
        self.addresses.iter().filter(of_clients).map(|(_, address)| address.port()).collect()
    }

    /// Where clients are served, and how.
    pub(super) fn doors(&self) -> Vec<swarm::Door> {
        let door = |(name, address): &(&str, SocketAddr)| {
            Some(swarm::Door { scheme: Scheme::parse(name)?, address: *address })
        };
        self.addresses.iter().filter_map(door).collect()
    }

    /// Says where, in the log and on the terminal.
    pub(super) fn announce(&self) {
        let mut said = Vec::new();
        for (listener, address) in &self.addresses {
            tracing::info!(listener, %address, "listening");
            let sentence = sentence(listener, *address);
            if !said.contains(&sentence) {
                say(&sentence);
                said.push(sentence);
            }
        }
    }
}

fn surroundings(config: &Config, clients: &[&Listeners], around: &Around) -> Surroundings {
    Surroundings {
        zone: config.zone.name.clone(),
        id: short(around.id).into_bytes(),
        addresses: config.zone.addresses.clone(),
        served: clients.iter().flat_map(|listeners| listeners.reached()).collect(),
        links: around.links.clone(),
        peers: around.peers.clone(),
        head: around.head.clone(),
        locate: Arc::clone(&around.locate),
        metrics: Arc::clone(&around.metrics),
        pulses: around.pulses.clone(),
    }
}

/// Enough of an id to tell gateways apart: what all ids begin with says nothing, and answers must not be long.
fn short(id: PeerId) -> String {
    let id = id.to_string();
    id.chars().skip(id.len().saturating_sub(12)).collect()
}

/// `[dns]` as it is meant: offline, nobody is asked for other names either.
fn dns_config(config: &Config) -> dns::Config {
    let mut dns = config.dns.clone();
    if config.offline && !dns.forward.is_empty() {
        tracing::warn!("offline: names of other zones are refused, not forwarded (dns.forward)");
        dns.forward.clear();
    }
    dns
}

/// DNS gives addresses and no ports: a client that follows it comes to port 80, or 443.
fn warn_of_names_that_lead_nowhere(config: &Config, dns: &Dns, clients: &[&Listeners]) {
    let ports: Vec<u16> =
        clients.iter().flat_map(|listeners| listeners.addresses()).map(|address| address.port()).collect();
    if !dns.addresses().is_empty()
        && let Some(missing) = missing_port(&ports)
    {
        let zone = &config.zone.name;
        tracing::warn!("http://{zone} means port 80, and http.listen has no address with that port{missing}");
    }
}

/// Nothing, when all is well; else what is left to clients without port 80.
fn missing_port(ports: &[u16]) -> Option<&'static str> {
    match (ports.contains(&80), ports.contains(&443)) {
        (true, _) => None,
        (false, true) => Some(": only clients that say https come in"),
        (false, false) => Some(""),
    }
}

fn https(listeners: Listeners, tls: Option<&Tls>, pulses: &Pulses) -> Result<Vec<Door>, TlsError> {
    if listeners.is_empty() {
        return Ok(Vec::new());
    }
    let server = Tls::required(tls, "https")?.server(tls::HTTP)?;
    Ok(Door::secure(listeners, server, "https", pulses))
}

/// Both sockets of an address are one server to people.
fn sentence(listener: &str, address: SocketAddr) -> String {
    let (what, place) = match listener {
        "http" => ("HTTP server", url("http", address)),
        "https" => ("HTTPS server", url("https", address)),
        "operator" => ("operator's listener", url("http", address)),
        "dot" => ("DNS over TLS", address.to_string()),
        _ => ("DNS", address.to_string()),
    };
    let hint = if place.ends_with(&format!(":{MNEMONIC_PORT}")) { " # mnemonic: \"open\" in T9" } else { "" };
    format!("Started {what} on {place}{hint}")
}

fn url(scheme: &str, address: SocketAddr) -> String {
    match address.ip() {
        ip if ip.is_loopback() => format!("{scheme}://localhost:{}", address.port()),
        _ => format!("{scheme}://{address}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_to_https_alone_is_complained_of() {
        assert_eq!(missing_port(&[6736, 80, 443]), None);
        assert_eq!(missing_port(&[80]), None);
        assert!(
            missing_port(&[6736, 443]).is_some_and(|words| words.contains("only clients that say https"))
        );
        assert_eq!(missing_port(&[6736]), Some(""));
    }
}
