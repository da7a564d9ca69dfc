//! Everything that is listened on: handed over or bound, all of it before anything is served.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;

use crate::config::Config;
use crate::dns::{self, Dns, Sockets, Surroundings};
use crate::http::Door;
use crate::interfaces;
use crate::listen::Listeners;
use crate::metrics::Metrics;
use crate::pulse::Pulses;
use crate::service::Handed;
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
    /// Where each of them is, and what it is called.
    addresses: Vec<(&'static str, SocketAddr)>,
}

impl Listening {
    /// Takes what was handed over, and binds what is configured for the roles that were handed nothing.
    ///
    /// # Errors
    /// When an address cannot be bound, or a certificate is missing.
    pub(super) fn open(
        config: &Config,
        handed: Handed,
        tls: Option<&Tls>,
        metrics: &Arc<Metrics>,
        pulses: &Pulses,
    ) -> anyhow::Result<Self> {
        let (http, operator) = (&config.http, &config.operator);
        let plain = Listeners::adopt_or_bind(handed.http, "http.listen or --listen", &http.listen)?;
        let secure = Listeners::adopt_or_bind(handed.https, "http.tls_listen", &http.tls_listen)?;
        let operators =
            Listeners::adopt_or_bind(handed.operator, "operator.listen", operator.listen.as_slice())?;
        let sockets = Sockets { udp: handed.dns_udp, tcp: Listeners::adopt(handed.dns_tcp)? };
        let around = surroundings(config, &[&plain, &secure], metrics, pulses)?;
        let mut dns = Dns::bind(&dns_config(config), around, sockets)?;
        let over_tls = Listeners::adopt_or_bind(handed.dot, "dns.tls_listen", &config.dns.tls_listen)?;
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
        Ok(Self { clients, operators: Door::plain(operators, "operator", pulses), dns, addresses })
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

fn surroundings(
    config: &Config,
    clients: &[&Listeners],
    metrics: &Arc<Metrics>,
    pulses: &Pulses,
) -> anyhow::Result<Surroundings> {
    Ok(Surroundings {
        zone: config.zone.name.clone(),
        addresses: config.zone.addresses.clone(),
        served: clients.iter().flat_map(|listeners| listeners.reached()).collect(),
        links: interfaces::watch().context("cannot see this machine's network interfaces")?,
        metrics: Arc::clone(metrics),
        pulses: pulses.clone(),
    })
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
    let mut listening = clients.iter().flat_map(|listeners| listeners.addresses());
    if !dns.addresses().is_empty() && !listening.any(|address| matches!(address.port(), 80 | 443)) {
        let zone = &config.zone.name;
        tracing::warn!("http://{zone} means port 80, and http.listen has no address with that port");
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
