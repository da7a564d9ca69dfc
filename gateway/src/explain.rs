//! `open-registry explain`: whom a client is led to, and why, in the words of the gateway that runs here, or of its
//! configuration; or what is held of a content, and what a request for it would lead to.

use std::fmt::Display;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use http::StatusCode;
use http::header::HOST;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use resolver::health::Outcome;
use resolver::links::Links;
use resolver::peers::{Peers, Sighting};
use resolver::rank::Snapshot;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::config::{Config, data_dir};
use crate::fetch::{Content, InvalidContent, Prospect};
use crate::identity::Identity;
use crate::interfaces;
use crate::steer::{Basis, Explanation, Geo, Guide, directory};
use crate::terminal::escape;

/// How long a gateway on this machine may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer: 10,000 peers with half a KiB each, many times.
const LONGEST: usize = 64 * 1024 * 1024;
/// What is shown of words in place of an answer: a name and a version, and a sentence.
const LONGEST_WORDS: usize = 2048;

/// What is to be explained.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Request {
    /// The address of a client, or a package, or one version of it: 192.168.7.20, left, @scope/left@1.0.0
    #[arg(value_name = "client or content")]
    subject: Subject,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    Client(IpAddr),
    Content(String),
}

/// Why a text is nothing that can be explained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum InvalidSubject {
    /// `300.1.1.1`
    #[error("{0:?} is no IP address; write one like 192.168.7.20, or a package like left@1.0.0")]
    Address(String),
    /// Neither an address nor a content.
    #[error("{0}; and it is no IP address either")]
    Content(#[from] InvalidContent),
}

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        if let Ok(client) = text.parse() {
            return Ok(Self::Client(client));
        }
        // npm would take such a name, but nobody who writes four numbers means a package.
        let numbers = text.split('.').filter(|part| part.bytes().all(|byte| byte.is_ascii_digit())).count();
        if numbers == 4 && text.split('.').count() == 4 {
            return Err(InvalidSubject::Address(text.to_owned()));
        }
        Ok(text.parse::<Content>().map(|_| Self::Content(text.to_owned()))?)
    }
}

/// Asks the gateway that runs here; without one, its configuration is taken for all that is known of clients.
///
/// # Errors
/// When the gateway says what is not understood, or the configuration does not tell; when no gateway runs that could say
/// what it holds, or it has no such version.
pub async fn run(
    request: &Request,
    config: &Config,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> anyhow::Result<()> {
    match &request.subject {
        Subject::Client(client) => print(&about_client(*client, config, notes).await?, request.json, out),
        Subject::Content(content) => print(&about_content(content, config).await?, request.json, out),
    }
}

async fn about_client(
    client: IpAddr,
    config: &Config,
    notes: &mut impl Write,
) -> anyhow::Result<Explanation> {
    if let Some(explanation) = ask(config.operator.listen, &format!("/why?client={client}")).await? {
        return Ok(explanation);
    }
    writeln!(
        notes,
        "No gateway answers at operator.listen. This is what the configuration alone says, as if every peer had \
         just proved itself."
    )?;
    by_configuration(config, client)
}

async fn about_content(content: &str, config: &Config) -> anyhow::Result<Prospect> {
    let target = format!("/why?content={}", utf8_percent_encode(content, NON_ALPHANUMERIC));
    let said = ask(config.operator.listen, &target).await?;
    said.context("no gateway answers at operator.listen, and only the one that runs knows what it holds")
}

/// Prints it, in words or as JSON.
///
/// # Errors
/// When it cannot be written.
pub fn print(said: &(impl Serialize + Display), json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(said)?)?;
        return Ok(());
    }
    for line in said.to_string().lines() {
        writeln!(out, "{}", escape(line))?;
    }
    Ok(())
}

/// What the gateway that runs here says at an address of its operator's listener; `None`: nobody is there.
///
/// # Errors
/// When it says no, in its words, or what is not understood.
pub async fn ask<T: DeserializeOwned>(
    operator: Option<SocketAddr>,
    target: &str,
) -> anyhow::Result<Option<T>> {
    let Some(address) = operator.map(reachable) else { return Ok(None) };
    let Ok(Ok(stream)) = timeout(PATIENCE, TcpStream::connect(address)).await else { return Ok(None) };
    let (status, body) = timeout(PATIENCE, get(stream, address, target))
        .await
        .map_err(anyhow::Error::from)
        .flatten()
        .with_context(|| format!("the gateway at {address} does not answer"))?;
    if status != StatusCode::OK {
        let words = String::from_utf8_lossy(&body[..body.len().min(LONGEST_WORDS)]).into_owned();
        bail!("the gateway at {address} says ({}): {}", status.as_u16(), escape(words.trim_end()));
    }
    serde_json::from_slice(&body)
        .map(Some)
        .with_context(|| format!("{address} says what is not understood here"))
}

async fn get(stream: TcpStream, address: SocketAddr, target: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = http::Request::get(target).header(HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body =
        Limited::new(answer.into_body(), LONGEST).collect().await.map_err(anyhow::Error::from_boxed)?;
    Ok((status, body.to_bytes()))
}

/// Who listens on all addresses listens on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// What a gateway with this configuration would say when all its peers are up.
fn by_configuration(config: &Config, client: IpAddr) -> anyhow::Result<Explanation> {
    let links = interfaces::now().context("cannot see this machine's network interfaces")?;
    let geo = Geo::load(&config.steer.geoip);
    let own = Identity::read(&data_dir(config)?)?.map(|identity| identity.id());
    let known = as_if_all_were_up(directory(&config.peer, own, &geo), links.clone());
    let (_learning, peers) = watch::channel(Arc::new(known));
    let (_looking, links) = watch::channel(Arc::new(links));
    let served = [config.http.listen.as_slice(), config.http.tls_listen.as_slice()].concat();
    let guide = Guide::new(Basis {
        configured: config.zone.addresses.clone(),
        served,
        trusted_forwarders: config.dns.trusted_forwarders.clone(),
        links,
        peers,
        steering: None,
        geo,
    });
    Ok(guide.explain(client))
}

fn as_if_all_were_up(told: Vec<Sighting>, links: Links) -> Snapshot {
    let mut peers = Peers::new(Duration::ZERO);
    peers.learn(Sighting::Links(links), Duration::ZERO);
    for sighting in told {
        peers.learn(sighting, Duration::ZERO);
    }
    // By then everybody has been due once.
    let now = Duration::from_secs(3600);
    for due in peers.due(now) {
        let passed = Outcome::Passed { load: 0.0, accepting: true };
        peers.learn(Sighting::Met(due.id, due.target, passed), now);
    }
    peers.snapshot(now)
}
