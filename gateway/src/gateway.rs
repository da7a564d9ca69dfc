//! Wires the parts of one gateway together, and runs them.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use resolver::connectivity::Link;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config};
use crate::dns::{self, Dns, Sockets, Surroundings};
use crate::fetch::{Fetch, Settings};
use crate::http::{Door, Policy, Server, Service};
use crate::interfaces;
use crate::listen::Listeners;
use crate::metrics::Metrics;
use crate::operator::Operator;
use crate::pulse::Pulses;
use crate::service::{self, Handed, Reloads};
use crate::store::{OpenError, Store};
use crate::terminal::{self, Transfer, say};
use crate::tls::{self, Tls, TlsError};
use crate::upstream::{Upstream, UpstreamError};

/// The port that "open" gives on a phone's keys.
const MNEMONIC_PORT: u16 = 6736;

/// Runs one gateway until it is told to stop. Sockets that were handed over are served in place of the configured
/// addresses of the same role.
///
/// # Errors
/// When a part cannot start: the data directory, an address to listen on, the trust store, the certificate.
pub async fn run(config: Config, handed: Handed) -> anyhow::Result<()> {
    let stop = stop_on_signals()?;
    let reloads = Reloads::listen()?;
    let metrics = Arc::new(Metrics::new());
    let store = open_store(&config).await?;
    let upstream = Upstream::new(&config.upstream, config.offline, Arc::clone(&metrics))?;
    let settings = Settings {
        fresh: config.upstream.fresh.duration(),
        verify_first_max: config.http.verify_first_max.bytes(),
    };
    let fetch = Fetch::new(store, upstream.clone(), settings, Arc::clone(&metrics));
    let service = Service::new(fetch.clone(), policy(&config), Arc::clone(&metrics));
    let operator = Operator::new(fetch, Arc::clone(&metrics));

    let tls = Tls::load(&config.tls, Arc::clone(&metrics))?;
    let pulses = Pulses::new();

    let http = &config.http;
    let clients = Listeners::adopt_or_bind(handed.http, "http.listen or --listen", &http.listen)?;
    let secured = Listeners::adopt_or_bind(handed.https, "http.tls_listen", &http.tls_listen)?;
    let operators =
        Listeners::adopt_or_bind(handed.operator, "operator.listen", config.operator.listen.as_slice())?;
    let around = surroundings(&config, &[&clients, &secured], &metrics, &pulses)?;
    let sockets = Sockets { udp: handed.dns_udp, tcp: Listeners::adopt(handed.dns_tcp)? };
    let mut dns = Dns::bind(&dns_config(&config), around, sockets)?;
    let over_tls = Listeners::adopt_or_bind(handed.dot, "dns.tls_listen", &config.dns.tls_listen)?;
    if !over_tls.is_empty() {
        dns.add_tls(over_tls, Tls::required(tls.as_ref(), "dot")?.server(tls::DNS)?);
    }
    warn_of_names_that_lead_nowhere(&config, &dns, &[&clients, &secured]);
    announce("operator", &operators.addresses());
    announce_dns(&dns);
    announce("http", &clients.addresses());
    announce("https", &secured.addresses());
    let mut doors = Door::plain(clients, "http", &pulses);
    doors.extend(https(secured, tls.as_ref(), &pulses)?);
    tokio::spawn(upstream.clone().probe_forever());
    let server = Server::new(service, metrics.connections(), metrics.handshake_failures());
    let served = tokio::spawn(server.serve(doors, stop.clone()));
    let closing = CancellationToken::new();
    let named = tokio::spawn(dns.serve(closing.clone()));
    let operators = Door::plain(operators, "operator", &pulses);
    let server = Server::new(operator.clone(), Gauge::default(), Counter::default());
    let operated = tokio::spawn(server.serve(operators, closing.clone()));
    tokio::spawn(service::feed_watchdog(pulses));
    if let Some(tls) = tls.clone() {
        tokio::spawn(tls.watch());
    }
    let contact = first_contact(upstream, operator.clone());
    tokio::spawn(async move {
        contact.await;
        reloads.serve(tls).await;
    });
    tokio::spawn(terminal::run_transfer_line(move || {
        let (sent, received) = metrics.transferred();
        Transfer { sent, received }
    }));

    stop.cancelled().await;
    say("Stopping: answers that are under way come to their end");
    service::stopping("Stopping: answers that are under way come to their end");
    operator.set_stopping();
    served.await?;
    // Names are answered, and the operator too, until the last client has what it asked for.
    closing.cancel();
    named.await?;
    operated.await?;
    say("Stopped");
    Ok(())
}

async fn open_store(config: &Config) -> anyhow::Result<Store> {
    let dir = config::data_dir(config)?;
    tracing::info!(dir = %dir.display(), "opening the data directory");
    let opening = dir.clone();
    let opened = tokio::task::spawn_blocking(move || Store::open(&opening)).await;
    // The database panics over some kinds of damage, a truncated file for one.
    Ok(opened.unwrap_or_else(|_| Err(OpenError::Unreadable(dir, "its state is damaged".into())))?)
}

fn policy(config: &Config) -> Policy {
    Policy {
        canonical_tarballs: config.canonical_tarballs().as_str().trim_end_matches('/').to_owned(),
        trusted_proxies: config.http.trusted_proxies.clone(),
        private_scopes: config.private.scopes.clone(),
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

/// Asks upstream once, so that readiness and the terminal can tell.
async fn first_contact(upstream: Upstream, operator: Operator) {
    if upstream.latch().link() != Link::Offline {
        say(&format!("Connecting to {}", upstream.base()));
    }
    match upstream.try_once().await {
        Ok(()) => say("Upstream answers"),
        Err(UpstreamError::Offline) => say("Offline: serving what is held, connecting to nobody"),
        Err(error) => say(&format!("Upstream does not answer ({error}); serving what is held")),
    }
    operator.set_ready();
}

fn announce(listener: &str, addresses: &[SocketAddr]) {
    for address in addresses {
        tracing::info!(listener, %address, "listening");
    }
    let (what, scheme) = match listener {
        "http" => ("HTTP server", "http"),
        "https" => ("HTTPS server", "https"),
        _ => ("operator's listener", "http"),
    };
    let mut urls: Vec<String> = addresses.iter().map(|address| url(scheme, *address)).collect();
    urls.dedup();
    for url in urls {
        let hint =
            if url.ends_with(&format!(":{MNEMONIC_PORT}")) { " # mnemonic: \"open\" in T9" } else { "" };
        say(&format!("Started {what} on {url}{hint}"));
    }
}

fn announce_dns(dns: &Dns) {
    let mut said = Vec::new();
    for (listener, address) in dns.addresses() {
        tracing::info!(listener, %address, "listening");
        if !said.contains(&address) {
            say(&format!("Started DNS on {address}"));
            said.push(address);
        }
    }
}

fn url(scheme: &str, address: SocketAddr) -> String {
    match address.ip() {
        ip if ip.is_loopback() => format!("{scheme}://localhost:{}", address.port()),
        _ => format!("{scheme}://{address}"),
    }
}

/// SIGTERM and Ctrl-C ask for an orderly end; the second one does not wait for it.
fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        let mut times = 0;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            asked.cancel();
            times += 1;
            if times > 1 {
                std::process::exit(1);
            }
        }
    });
    Ok(stop)
}
