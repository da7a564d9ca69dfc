//! `open-registry status`: who this gateway is, and how the one that runs here fares.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use bytesize::ByteSize;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use resolver::peer::PeerId;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{self, Config};
use crate::identity::Identity;
use crate::terminal::escape;

/// How long a gateway on this machine may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A status has a KiB.
const LONGEST: usize = 1024 * 1024;

/// Prints it. A gateway that does not run has an id all the same, if it has run before.
///
/// # Errors
/// When neither a gateway nor a key is there, or the key cannot be read, or the words not be written.
pub async fn run(config: &Config, out: &mut impl Write) -> anyhow::Result<()> {
    let running = match config.operator.listen.map(reachable) {
        Some(address) => ask(address).await?.map(|status| (address, status)),
        None => None,
    };
    let Some((address, status)) = running else {
        let dir = config::data_dir(config)?;
        let identity = Identity::read(&dir)?;
        let identity = identity.with_context(|| {
            format!(
                "no gateway runs here, and none has ever run on {}: its id is made at its first start",
                dir.display()
            )
        })?;
        writeln!(out, "id        {}", identity.id())?;
        writeln!(out, "state     not running{}", unheard(config))?;
        return Ok(());
    };
    print(&status, out)?;
    if let Some(other) = kept(config).filter(|kept| status["peer"] != kept.to_string()) {
        writeln!(
            out,
            "beware    the gateway at {address} has another data directory; the id of the configured one is {other}"
        )?;
    }
    Ok(())
}

/// The id of the gateway that runs here, or else of the configured data directory; `None`: there is neither.
pub async fn id(config: &Config) -> Option<PeerId> {
    let running = match config.operator.listen.map(reachable) {
        Some(address) => ask(address).await.ok().flatten(),
        None => None,
    };
    let running = running.and_then(|status| status["peer"].as_str()?.parse().ok());
    running.or_else(|| Some(Identity::read(&config::data_dir(config).ok()?).ok()??.id()))
}

/// Whom the gateway that runs here follows, and why upstream is not asked through it, where it is not. `None`: nobody, or no
/// gateway is heard here.
pub async fn followed(config: &Config) -> Option<(String, Result<(), String>)> {
    let status = ask(config.operator.listen.map(reachable)?).await.ok()??;
    let home = &status["home"];
    let serves = if home["serves"] == true { Ok(()) } else { Err(home["cause"].as_str()?.to_owned()) };
    Some((home["contact"].as_str()?.to_owned(), serves))
}

/// How many peers are connected to the gateway that runs here; `None`: no gateway is heard here.
pub async fn connected(config: &Config) -> Option<usize> {
    let status = ask(config.operator.listen.map(reachable)?).await.ok()??;
    status["connected"].as_array().map(Vec::len)
}

/// A gateway may run without an operator's listener.
fn unheard(config: &Config) -> &'static str {
    match config.operator.listen {
        Some(_) => "",
        None => ", as far as can be told without operator.listen",
    }
}

/// The id in the configured data directory, when that was named: a service has its own from systemd, which the command cannot know.
fn kept(config: &Config) -> Option<PeerId> {
    let dir = config.store.dir.as_deref()?;
    Identity::read(dir).ok().flatten().map(|identity| identity.id())
}

/// What the gateway behind an operator's listener says; `None` when nobody listens.
async fn ask(address: SocketAddr) -> anyhow::Result<Option<Value>> {
    let Ok(Ok(stream)) = timeout(PATIENCE, TcpStream::connect(address)).await else {
        return Ok(None);
    };
    let answer = timeout(PATIENCE, get(stream, address)).await;
    let answer = answer.with_context(|| format!("what listens at {address} does not answer"))?;
    let status = answer.with_context(|| format!("what listens at {address} is not a gateway"))?;
    if !status["peer"].is_string() {
        bail!("what listens at {address} is not a gateway that knows its id");
    }
    Ok(Some(status))
}

async fn get(stream: TcpStream, address: SocketAddr) -> anyhow::Result<Value> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::get("/status").header(HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    if answer.status() != StatusCode::OK {
        bail!("it answers {}", answer.status().as_u16());
    }
    let body = Limited::new(answer.into_body(), LONGEST)
        .collect()
        .await
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(serde_json::from_slice(&body.to_bytes())?)
}

fn print(status: &Value, out: &mut impl Write) -> std::io::Result<()> {
    let (store, upstream) = (&status["store"], &status["upstream"]);
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let size = |value: &Value| ByteSize(number(value)).to_string();
    let ready = if status["ready"] == true { "ready" } else { "not ready: starting or stopping" };
    let up = humantime::format_duration(Duration::from_secs(number(&status["uptime_s"])));
    writeln!(out, "id        {}", word(&status["peer"]))?;
    for contact in status["contacts"].as_array().into_iter().flatten() {
        writeln!(out, "contact   {}", word(contact))?;
    }
    writeln!(out, "state     {ready}, up for {up}, version {}", word(&status["version"]))?;
    let cause = upstream["cause"].as_str().map(|cause| format!(" ({})", escape(cause))).unwrap_or_default();
    writeln!(out, "upstream  {} is {}{cause}", word(&upstream["url"]), word(&upstream["state"]))?;
    if let Some(home) = home(&status["home"]) {
        writeln!(out, "home      {home}")?;
    }
    if let Some(followed) = followed_root(&status["followed"]) {
        writeln!(out, "followed  {followed}")?;
    }
    writeln!(
        out,
        "held      {} packuments ({}), {} tarballs ({}){}",
        number(&store["packuments"]),
        size(&store["packument_bytes"]),
        number(&store["tarballs"]),
        size(&store["tarball_bytes"]),
        if store["full"] == true { "; nothing new can be kept" } else { "" }
    )?;
    if let Some(blocked) = blocked(&status["blocked"]) {
        writeln!(out, "blocked   {blocked}")?;
    }
    if let Some(index) = index(&status["index"]) {
        writeln!(out, "index     {index}")?;
    }
    let bytes = &status["bytes"];
    let from = by_source(&bytes["received_from"]);
    writeln!(out, "traffic   {} sent, {} received{from}", size(&bytes["sent"]), size(&bytes["received"]))?;
    peers(status, out)
}

/// `: 7.3 MiB from upstream, 1.0 KiB from lan peer`
fn by_source(from: &Value) -> String {
    let sources = from.as_object().into_iter().flatten();
    let told = sources.filter(|(_, bytes)| bytes.as_u64().unwrap_or(0) > 0);
    let told: Vec<_> = told
        .map(|(source, bytes)| {
            let source = escape(source).replace('_', " ");
            format!("{} from {source}", ByteSize(bytes.as_u64().unwrap_or(0)))
        })
        .collect();
    if told.is_empty() { String::new() } else { format!(": {}", told.join(", ")) }
}

/// Who is connected, and who is known besides; what they say of themselves is theirs, and escaped.
fn peers(status: &Value, out: &mut impl Write) -> std::io::Result<()> {
    let lists = ["connected", "known"].map(|list| status[list].as_array().map_or(&[][..], Vec::as_slice));
    writeln!(out, "peers     {} connected, {} known besides", lists[0].len(), lists[1].len())?;
    for peer in lists.into_iter().flatten() {
        writeln!(out, "  {}", word(&peer["peer"]))?;
        writeln!(out, "    {}", place(peer))?;
        writeln!(out, "    clients   {}", told(peer, "not_target", "are led to it"))?;
        writeln!(out, "    tarballs  {}", told(peer, "not_source", "are fetched from it"))?;
    }
    Ok(())
}

/// Where it is, since when, what it says of itself, what it got.
fn place(peer: &Value) -> String {
    let list = |key: &str| {
        let all = peer[key].as_array().into_iter().flatten().map(word);
        Some(all.collect::<Vec<_>>().join(" ")).filter(|all| !all.is_empty())
    };
    let text = |key: &str| peer[key].as_str().map(|text| escape(text).into_owned());
    let near = peer["near"].as_bool().map(|near| if near { "near" } else { "far" }.to_owned());
    let since = peer["since_s"]
        .as_u64()
        .map(|since| format!("connected for {}", humantime::format_duration(Duration::from_secs(since))));
    let bytes =
        |key: &str| peer[key].as_u64().filter(|bytes| *bytes > 0).map(|bytes| ByteSize(bytes).to_string());
    let facts = [
        near,
        list("addresses"),
        text("place"),
        since,
        text("health").map(|health| format!("health {health}")),
        text("version").map(|version| format!("version {version}")),
        list("urls"),
        peer["tarballs"].as_u64().map(|tarballs| format!("holds {tarballs} tarballs")),
        bytes("sent").map(|bytes| format!("{bytes} sent")),
        bytes("received").map(|bytes| format!("{bytes} received")),
        peer["strikes"]
            .as_u64()
            .filter(|strikes| *strikes > 0)
            .map(|strikes| format!("{strikes} of 3 strikes")),
    ];
    facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What there is against it, or that there is nothing.
fn told(peer: &Value, key: &str, otherwise: &str) -> String {
    let Some(against) = peer[key].as_str() else { return otherwise.to_owned() };
    let complaint = peer["complaint"].as_str().filter(|_| key == "not_target");
    let complaint = complaint.map(|complaint| format!(" ({})", escape(complaint)));
    format!("not: {}{}", escape(against), complaint.unwrap_or_default())
}

/// Whom it follows, and how that goes; `None`: nobody.
fn home(home: &Value) -> Option<String> {
    let contact = escape(home["contact"].as_str()?);
    let since = home["connected_s"].as_u64().map(Duration::from_secs).map(humantime::format_duration);
    let connected =
        since.map_or_else(|| "not connected".to_owned(), |since| format!("connected for {since}"));
    let way = match (home["serves"].as_bool(), home["cause"].as_str()) {
        (Some(true), _) => "upstream is asked through it".to_owned(),
        (_, cause) => format!("upstream is asked directly ({})", escape(cause.unwrap_or("unknown"))),
    };
    Some(format!("{contact} is {connected}; {way}"))
}

/// Which root of home's is followed; `None`: nobody is.
fn followed_root(followed: &Value) -> Option<String> {
    followed.is_object().then_some(())?;
    let Some(root) = followed["root"].as_str() else {
        return Some("home has not told any root yet".to_owned());
    };
    let age = humantime::format_duration(Duration::from_secs(followed["age_s"].as_u64().unwrap_or(0)));
    let standing = match followed["standing"].as_str() {
        Some("quiet") => "; home has said nothing for long, or it is kept from this gateway",
        Some("expired") => "; it is out of date, and used for want of a newer one",
        _ => "",
    };
    let by = match followed["by"].as_str() {
        Some("disk") | None => "from disk".to_owned(),
        Some(way) => format!("by {}", escape(way)),
    };
    let counts = match followed["settled"].as_str() {
        Some(settled) if settled == root => "",
        Some(_) => "; the one before counts until what differs is known",
        None => "; it does not count yet",
    };
    Some(format!("root {}, signed {age} ago, {by}{counts}{standing}", escape(root)))
}

/// What is not served; `None`: nothing is blocked.
fn blocked(blocked: &Value) -> Option<String> {
    let (own, home) = (blocked["own"].as_u64().unwrap_or(0), blocked["home"].as_u64().unwrap_or(0));
    (own + home > 0).then(|| format!("{own} by this gateway's configuration, {home} by home's"))
}

/// What is published; `None`: a gateway of a version that publishes nothing.
fn index(index: &Value) -> Option<String> {
    let number = |key: &str| index[key].as_u64().unwrap_or(0);
    let Some(root) = index["root"].as_str() else {
        return index.is_object().then(|| "nothing is published yet".to_owned());
    };
    let age = humantime::format_duration(Duration::from_secs(number("age_s")));
    Some(format!(
        "root {}, signed {age} ago (sequence {}): {} packages, {} blocks, {} in all",
        escape(root),
        number("sequence"),
        number("packages"),
        number("blocks"),
        ByteSize(number("bytes")),
    ))
}

fn word(value: &Value) -> String {
    escape(value.as_str().unwrap_or("unknown")).into_owned()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_is_a_few_lines_and_no_text_of_others_commands_the_terminal() {
        let status = json!({
            "version": "0.1.0", "uptime_s": 3661, "ready": true, "peer": "12D3KooWx",
            "contacts": ["/ip4/192.168.7.9/tcp/6738/p2p/12D3KooWx"],
            "upstream": { "url": "http://up", "state": "down", "cause": "\u{1b}[2J" },
            "store": { "packuments": 3, "packument_bytes": 2048, "tarballs": 1, "tarball_bytes": 1024, "full": false },
            "bytes": { "sent": 10, "received": 20 },
        });
        let mut out = Vec::new();
        print(&status, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with(
                "id        12D3KooWx\ncontact   /ip4/192.168.7.9/tcp/6738/p2p/12D3KooWx\nstate     ready, up for 1h 1m 1s, version 0.1.0\n"
            ),
            "{text}"
        );
        assert!(text.contains("http://up is down (\\u{1b}[2J)\n"), "{text}");
        assert!(!text.contains("home  "), "nobody is followed");
        assert!(!text.contains("index  "), "a version that has none");
        let published = json!({
            "root": "bafy\u{1b}", "sequence": 1_800_000_000_000_u64, "age_s": 61, "packages": 2, "blocks": 9, "bytes": 2048,
        });
        let told = "root bafy\\u{1b}, signed 1m 1s ago (sequence 1800000000000): 2 packages, 9 blocks, 2.0 KiB in all";
        assert_eq!(index(&published).as_deref(), Some(told));
        assert_eq!(index(&json!({ "root": null })).as_deref(), Some("nothing is published yet"));
        let contact = "/ip4/192.0.2.7/tcp/6738/p2p/12D3KooWy";
        let followed = json!({ "contact": contact, "connected_s": 60, "serves": true, "cause": null });
        let through = format!("{contact} is connected for 1m; upstream is asked through it");
        assert_eq!(home(&followed), Some(through));
        let absent =
            json!({ "contact": contact, "connected_s": null, "serves": false, "cause": "\u{1b}[2J" });
        let directly = format!("{contact} is not connected; upstream is asked directly (\\u{{1b}}[2J)");
        assert_eq!(home(&absent), Some(directly));
        assert!(text.contains("3 packuments (2.0 KiB), 1 tarballs (1.0 KiB)\n"), "{text}");
        assert!(
            text.ends_with("traffic   10 B sent, 20 B received\npeers     0 connected, 0 known besides\n"),
            "{text}"
        );
    }

    #[test]
    fn peers_are_told_with_what_is_for_and_against_them_and_nothing_of_theirs_commands_the_terminal() {
        let status = json!({
            "bytes": { "received_from": { "lan_peer": 2048, "upstream": 1024, "home": 0 } },
            "connected": [{
                "peer": "12D3KooWa", "near": true, "addresses": ["192.168.7.9"], "since_s": 61, "health": "up",
                "version": "\u{1b}[2J", "urls": ["http://192.168.7.9:6736"], "tarballs": 7, "sent": 1024,
                "not_target": "not admitted: clients are not steered to it", "not_source": null,
            }],
            "known": [{
                "peer": "12D3KooWb", "place": "DE, AS680", "health": "down", "complaint": "192.0.2.7: silent",
                "not_target": "it is down: its probes fail", "not_source": "it is not connected",
            }],
        });
        let mut out = Vec::new();
        print(&status, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let told = text.split_once("peers     1 connected, 1 known besides\n").unwrap().1;
        assert_eq!(
            told,
            "  12D3KooWa\n    near, 192.168.7.9, connected for 1m 1s, health up, version \\u{1b}[2J, \
             http://192.168.7.9:6736, holds 7 tarballs, 1.0 KiB sent\n    \
             clients   not: not admitted: clients are not steered to it\n    \
             tarballs  are fetched from it\n  12D3KooWb\n    DE, AS680, health down\n    \
             clients   not: it is down: its probes fail (192.0.2.7: silent)\n    \
             tarballs  not: it is not connected\n"
        );
        assert!(text.contains("2.0 KiB from lan peer, 1.0 KiB from upstream"), "{text}");
    }
}
