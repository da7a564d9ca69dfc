//! What a value must be beyond being of its type.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use resolver::peer::PeerId;
use url::Url;

use super::Config;
use crate::share;
use crate::swarm::Config as Federation;

const LARGEST_VERIFIED_FIRST: u64 = 1 << 30;
/// Each costs two sockets, and a machine has few addresses.
const MOST_LISTENERS: usize = 64;
/// As many as resolv.conf(5) takes.
const MOST_NAME_SERVERS: usize = 3;
/// Countries, cities and systems, for each family in files of their own, and as many of the operator's own.
const MOST_DATABASES: usize = 16;
/// Each is compared with who asks for a private client: so many are a microsecond's work.
const MOST_FORWARDERS: usize = 256;
/// What a table is ranked from.
const MOST_ADMITTED: usize = 10_000;
/// Room for a few of the largest packuments, and for the state.
const LEAST_STORE: u64 = 64 << 20;
const AN_HOUR: Duration = Duration::from_secs(60 * 60);
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A key whose value breaks a rule.
pub(crate) struct Broken {
    pub(crate) key: &'static str,
    pub(crate) words: String,
}

/// Every rule that is broken.
pub(crate) fn broken(config: &Config) -> Vec<Broken> {
    let http = &config.http;
    let mut broken = Vec::new();
    let mut check = |key, outcome: Result<(), String>| {
        broken.extend(outcome.err().map(|words| Broken { key, words }));
    };
    check("http.listen", somewhere(http.listen.len()));
    for (key, outcome) in once(&listeners(config)) {
        check(key, outcome);
    }
    check("http.canonical_tarballs", http.canonical_tarballs.as_ref().map_or(Ok(()), base));
    check("http.verify_first_max", verify_first_max(http.verify_first_max.bytes()));
    check("tls.cert", both(config.tls.cert.as_deref(), config.tls.key.as_deref(), "key"));
    check("tls.key", both(config.tls.key.as_deref(), config.tls.cert.as_deref(), "certificate"));
    check("upstream.url", base(&config.upstream.url));
    check("upstream.fresh", at_most_a_year(config.upstream.fresh.duration()));
    check("upstream.stale", at_most_a_year(config.upstream.stale.duration()));
    check("upstream.changes", config.upstream.changes.as_ref().map_or(Ok(()), changes));
    check("store.max_bytes", max_bytes(config.store.max_bytes.bytes()));
    check("store.metadata_share", metadata_share(config.store.metadata_share));
    check("store.scrub", config.store.scrub.map_or(Ok(()), |period| scrub(period.duration())));
    for host in &config.upstream.tarball_hosts {
        check("upstream.tarball_hosts", tarball_host(host));
    }
    for address in &config.zone.addresses {
        check("zone.addresses", told(*address));
    }
    check("dns.listen", at_most("dns.listen", config.dns.listen.len(), MOST_LISTENERS));
    check("dns.tls_listen", at_most("dns.tls_listen", config.dns.tls_listen.len(), MOST_LISTENERS));
    check("dns.forward", at_most("dns.forward", config.dns.forward.len(), MOST_NAME_SERVERS));
    let forwarders = config.dns.trusted_forwarders.len();
    check("dns.trusted_forwarders", at_most("dns.trusted_forwarders", forwarders, MOST_FORWARDERS));
    for (key, addresses) in [("dns.listen", &config.dns.listen), ("dns.tls_listen", &config.dns.tls_listen)] {
        for address in addresses {
            check(key, asked(*address));
        }
    }
    for server in &config.dns.forward {
        check("dns.forward", another(server.0, &config.dns.listen));
    }
    let Federation { listen, bootstrap, interfaces, admit, .. } = &config.federation;
    for (key, count) in [("federation.listen", listen.len()), ("federation.bootstrap", bootstrap.len())] {
        check(key, at_most(key, count, MOST_LISTENERS));
    }
    check("federation.home", reachable(config.federation.home.is_some(), listen.is_empty()));
    check("federation.bootstrap", reachable(!bootstrap.is_empty(), listen.is_empty()));
    check("federation.interfaces", at_most("federation.interfaces", interfaces.len(), MOST_LISTENERS));
    check("federation.admit", self::admit(admit, config.federation.psk_file.is_some()));
    check("federation.hedge_ms", hedge(config.federation.hedge_ms));
    check("share.max_upload_per_peer", upload(&config.share));
    check("steer.geoip", geoip(&config.steer.geoip));
    for scope in &config.private.scopes {
        check("private.scopes", self::scope(scope));
    }
    broken
}

/// What is listened on by TCP, besides `dns.listen`, which takes "all addresses" in a way of its own.
fn listeners(config: &Config) -> Vec<(&'static str, SocketAddr)> {
    let named =
        |key, addresses: &[SocketAddr]| -> Vec<_> { addresses.iter().map(|one| (key, *one)).collect() };
    [
        named("http.listen", &config.http.listen),
        named("http.tls_listen", &config.http.tls_listen),
        named("dns.tls_listen", &config.dns.tls_listen),
        named("federation.listen", &config.federation.listen),
        named("operator.listen", config.operator.listen.as_slice()),
    ]
    .concat()
}

/// Every address that is in the way of one before it.
fn once(listeners: &[(&'static str, SocketAddr)]) -> Vec<(&'static str, Result<(), String>)> {
    let refusal = |(index, (key, address)): (usize, &(&'static str, SocketAddr))| {
        let (before, other) = listeners[..index].iter().find(|(_, other)| overlap(*address, *other))?;
        let words =
            format!("\"{address}\" cannot be listened on beside \"{other}\" of {before}; leave one out");
        Some((*key, Err(words)))
    };
    listeners.iter().enumerate().filter_map(refusal).collect()
}

/// Whether one socket has what the other wants; port 0 is another one each time.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |a: SocketAddr, b: SocketAddr| a.ip() == b.ip() || a.ip().is_unspecified();
    one.port() == other.port()
        && one.port() != 0
        && one.is_ipv4() == other.is_ipv4()
        && (covers(one, other) || covers(other, one))
}

fn somewhere(addresses: usize) -> Result<(), String> {
    require(addresses > 0, || {
        "is empty: no client could be served; name at least one address and port".to_owned()
    })
}

/// An address that a client can be told.
///
/// # Errors
/// When it leads nowhere, in words for whoever wrote it.
pub fn told(address: IpAddr) -> Result<(), String> {
    leads_to(address, "this gateway")
}

/// An address of this gateway, or of whoever it is.
pub(super) fn leads_to(address: IpAddr, whom: &str) -> Result<(), String> {
    let scoped = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let everybody = address == IpAddr::V4(Ipv4Addr::BROADCAST) || address.is_multicast();
    require(!address.is_unspecified() && !everybody && !scoped, || {
        format!("\"{address}\" leads nowhere; write an address of {whom}, like \"192.168.7.9\"")
    })
}

/// An address that a resolver can be configured with.
fn asked(address: SocketAddr) -> Result<(), String> {
    let fits = address.ip().is_unspecified() || told(address.ip()).is_ok();
    require(fits, || {
        format!("\"{address}\" is none that a client could ask; write it like \"192.168.7.9:53\"")
    })
}

fn another(server: SocketAddr, listeners: &[SocketAddr]) -> Result<(), String> {
    require(!listeners.contains(&server), || {
        format!("\"{server}\" is this gateway itself; name the resolver that is to be asked")
    })
}

fn at_most(key: &str, count: usize, most: usize) -> Result<(), String> {
    require(count <= most, || format!("{key} holds {count} addresses; at most {most} are of use"))
}

/// A certificate is nothing without its key; `this` is set only together with `other`.
fn both(this: Option<&str>, other: Option<&str>, what: &str) -> Result<(), String> {
    require(this.is_none() || other.is_some(), || {
        format!("is set without its {what}; set both, or neither for the credentials tls.cert and tls.key")
    })?;
    require(this.is_none_or(|text| text != "." && text != ".."), || {
        "is neither a file nor the name of a credential".to_owned()
    })
}

/// An address that other addresses begin with.
pub(crate) fn base(url: &Url) -> Result<(), String> {
    require(matches!(url.scheme(), "http" | "https") && url.has_host(), || {
        format!("\"{url}\" is not an http or https address; write it like \"https://npm.example.com\"")
    })?;
    require(url.username().is_empty() && url.password().is_none(), || {
        "holds a user name or a password; leave them out: clients send their own".to_owned()
    })?;
    require(url.query().is_none() && url.fragment().is_none(), || {
        format!("\"{url}\" goes on after its path; leave out what begins with ? or #")
    })
}

fn changes(url: &Url) -> Result<(), String> {
    require(!url.path().trim_end_matches('/').ends_with("_changes"), || {
        "ends in _changes; leave that out: what is meant is the address below which it is".to_owned()
    })?;
    base(url)
}

fn verify_first_max(bytes: u64) -> Result<(), String> {
    require((1..=LARGEST_VERIFIED_FIRST).contains(&bytes), || {
        "must be more than 0 and at most 1GiB, for that much of a tarball may be held back".to_owned()
    })
}

fn at_most_a_year(period: Duration) -> Result<(), String> {
    require(period <= A_YEAR, || "must be at most a year; to never ask upstream, set offline".to_owned())
}

fn max_bytes(bytes: u64) -> Result<(), String> {
    require(bytes >= LEAST_STORE, || "must be at least 64MiB: less holds nothing of use".to_owned())
}

fn metadata_share(percent: u8) -> Result<(), String> {
    require((1..=99).contains(&percent), || {
        "is a share in percent, 1 to 99: packuments and tarballs are of no use without each other".to_owned()
    })
}

fn scrub(period: Duration) -> Result<(), String> {
    require((AN_HOUR..=A_YEAR).contains(&period), || {
        "must be an hour to a year; to never verify what is not asked for, set it to \"\"".to_owned()
    })
}

fn tarball_host(text: &str) -> Result<(), String> {
    let foreign = text.contains(['/', '\\', '@', '?', '#']) || text.ends_with(':');
    let url = Url::parse(&format!("https://{text}")).ok().filter(|_| !foreign);
    let host = url.as_ref().and_then(Url::host_str);
    let Some(host) = host else {
        return Err(format!(
            "{text:?} is not a host; write it like \"files.example.com\" or \"files.example.com:8443\""
        ));
    };
    require(text.starts_with(host), || format!("{text:?} is not how that host is written; write \"{host}\""))
}

/// Home, and whoever leads to others, is reached as a peer.
fn reachable(is_named: bool, is_without_peers: bool) -> Result<(), String> {
    require(!is_named || !is_without_peers, || {
        "is reached as a peer, but federation.listen is empty, so there are no peers: name an address there, or leave this \
         out"
        .to_owned()
    })
}

/// Ids of peers, or the word for all of a private swarm.
fn admit(admit: &[String], is_private: bool) -> Result<(), String> {
    require(admit.len() <= MOST_ADMITTED, || {
        format!("holds {} peers; at most {MOST_ADMITTED} are ranked", admit.len())
    })?;
    for text in admit {
        if text == "swarm" {
            require(is_private, || {
                "names \"swarm\", but the swarm is everybody's: set psk_file, or name peers by their ids"
                    .to_owned()
            })?;
        } else {
            text.parse::<PeerId>().map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

fn hedge(milliseconds: u64) -> Result<(), String> {
    require(milliseconds <= 60_000, || "must be at most 60000 milliseconds".to_owned())
}

fn upload(share: &share::Config) -> Result<(), String> {
    let (all, one) = (share.max_upload.bytes(), share.max_upload_per_peer.bytes());
    require(all == 0 || one <= all, || {
        "is more than max_upload, which all peers have together; make it less, or leave it out".to_owned()
    })
}

fn geoip(files: &[PathBuf]) -> Result<(), String> {
    require(files.len() <= MOST_DATABASES, || {
        format!("holds {} files; at most {MOST_DATABASES} are of use", files.len())
    })?;
    require(files.iter().all(|file| file.is_absolute()), || {
        "holds a path that does not begin with /; where it leads would depend on where the gateway is started"
            .to_owned()
    })
}

fn scope(scope: &str) -> Result<(), String> {
    let name = scope.strip_prefix('@').unwrap_or_default();
    let fits = !name.is_empty() && !name.contains(['/', '@']) && !name.contains(char::is_whitespace);
    require(fits, || format!("{scope:?} is not a scope; write it like \"@example\""))
}

pub(crate) fn require(holds: bool, words: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(words()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_base(url: &str) -> bool {
        base(&url.parse().unwrap()).is_ok()
    }

    #[test]
    fn a_base_is_http_with_a_host_and_nothing_after_its_path() {
        assert!(is_base("https://npm.example.com"));
        assert!(is_base("http://127.0.0.1:4873/a/mirror/"));
        for refused in
            ["ftp://npm.example.com", "data:npm", "https://npm.example.com/?a", "https://npm.example.com/#a"]
        {
            assert!(!is_base(refused), "{refused}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_refused_without_being_repeated() {
        let refused = base(&"https://me:hunter2@npm.example.com".parse().unwrap()).unwrap_err();
        assert!(!refused.contains("hunter2"), "{refused}");
    }

    #[test]
    fn a_certificate_comes_with_its_key() {
        assert_eq!(both(None, Some("/a"), "key"), Ok(()));
        assert_eq!(both(Some("/a"), Some("tls.key"), "key"), Ok(()));
        assert!(both(Some("/a"), None, "key").unwrap_err().contains("without its key"));
        assert!(both(Some(".."), Some("/a"), "key").is_err());
    }

    #[test]
    fn a_tarball_host_is_a_host_with_or_without_a_port() {
        for host in ["files.example.com", "files.example.com:8443", "127.0.0.1:80", "[::1]:80"] {
            assert_eq!(tarball_host(host), Ok(()), "{host}");
        }
        let refused =
            ["", "https://files.example.com", "files.example.com/", "me@example.com", "a b", "example.com:"];
        for host in refused.into_iter().chain(["example.com:99999"]) {
            assert!(tarball_host(host).is_err(), "{host}");
        }
    }

    #[test]
    fn a_host_in_capitals_is_told_how_to_be_written() {
        let refused = tarball_host("Files.example.com").unwrap_err();
        assert!(refused.ends_with("write \"files.example.com\""), "{refused}");
    }

    #[test]
    fn a_scope_begins_with_an_at_sign_and_holds_no_package() {
        assert_eq!(scope("@example"), Ok(()));
        for refused in ["example", "@", "", "@example/", "@example/package", "@ex ample"] {
            assert!(scope(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_zones_address_leads_to_this_gateway() {
        assert!(told("192.168.7.9".parse().unwrap()).is_ok() && told("fd00::9".parse().unwrap()).is_ok());
        for refused in ["0.0.0.0", "::", "fe80::1", "224.0.0.251", "255.255.255.255"] {
            assert!(told(refused.parse().unwrap()).is_err(), "{refused}");
        }
    }

    #[test]
    fn an_address_is_listened_on_once() {
        let refused = |listeners: &[(&'static str, &str)]| {
            let parsed: Vec<_> = listeners.iter().map(|(key, text)| (*key, text.parse().unwrap())).collect();
            once(&parsed).into_iter().map(|(key, outcome)| (key, outcome.unwrap_err())).collect::<Vec<_>>()
        };
        assert_eq!(refused(&[("a", "0.0.0.0:80"), ("a", "[::]:80"), ("b", "0.0.0.0:443")]), []);
        assert_eq!(refused(&[("a", "127.0.0.1:0"), ("a", "127.0.0.1:0")]), []);
        let twice = refused(&[("a", "192.168.7.9:80"), ("a", "192.168.7.9:80")]);
        assert!(twice.len() == 1 && twice[0].1.contains("beside \"192.168.7.9:80\" of a"), "{twice:?}");
        assert_eq!(refused(&[("a", "0.0.0.0:6737"), ("b", "127.0.0.1:6737")])[0].0, "b");
        assert_eq!(refused(&[("a", "[::1]:80"), ("b", "[::]:80")])[0].0, "b");
    }

    #[test]
    fn nobody_forwards_to_himself() {
        let listeners = ["192.168.7.9:53".parse().unwrap()];
        assert!(another("192.168.7.1:53".parse().unwrap(), &listeners).is_ok());
        assert!(another("192.168.7.9:53".parse().unwrap(), &listeners).is_err());
    }

    #[test]
    fn limits_include_their_bounds() {
        assert!(verify_first_max(0).is_err() && verify_first_max(1).is_ok());
        assert!(verify_first_max(1 << 30).is_ok() && verify_first_max((1 << 30) + 1).is_err());
        assert!(at_most_a_year(A_YEAR).is_ok() && at_most_a_year(A_YEAR + Duration::from_secs(1)).is_err());
    }
}
