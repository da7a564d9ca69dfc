//! What a request shows of its sender: the base address it used, whether the wire was safe, and whether it
//! carries credentials.

use std::net::{IpAddr, SocketAddr};

use http::Version;
use http::header::{AUTHORIZATION, COOKIE, FORWARDED, HOST, HeaderMap, HeaderName, PROXY_AUTHORIZATION, VIA};
use http::request::Parts;
use http::uri::Authority;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use resolver::peer::Scheme;

use super::connection::Wire;
use super::sharing::Peering;
use crate::steer::HOP;

/// The longest host that is believed: a DNS name of full length and a port.
const LONGEST_HOST: usize = 255 + 6;
/// Headers that carry a secret, besides those with names of their own in HTTP.
const SECRET_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("npm-otp"), HeaderName::from_static("x-auth-token")];
/// Headers that a proxy adds.
const RELAYED: [HeaderName; 3] = [HeaderName::from_static("x-forwarded-for"), FORWARDED, VIA];
/// Requests whose body, or whose answer, is a secret: log-in, tokens, the user's own data.
const SECRET_PATHS: [&str; 5] =
    ["/-/user", "/-/v1/login", "/-/v1/done", "/-/npm/v1/tokens", "/-/npm/v1/user"];

/// The sender of one request.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Scheme, host and port as the client has them configured, without a slash at the end.
    pub(super) base: String,
    /// TLS to us (or to a trusted proxy), or from this very machine.
    pub(super) safe: bool,
    /// The request carries credentials, or is a log-in.
    pub(super) credentials: bool,
    /// How the client speaks to us, or to our proxy.
    pub(super) scheme: Scheme,
    /// The client's address; `None`: our proxy does not say it.
    pub(super) client: Option<IpAddr>,
    /// It is a peer's own request.
    pub(super) peering: Option<Box<Peering>>,
    /// It is a peer's own request, or one that a peer has sent here.
    pub(super) relayed_by_peer: bool,
    /// Our address that the request came to; `None`: to a proxy's, or on a stream.
    pub(super) asked_at: Option<IpAddr>,
}

impl Caller {
    /// Reads the head of a request that came over `wire`. `None`: its host is none.
    pub(super) fn of(head: &Parts, wire: Wire, proxies: &[IpNet]) -> Option<Self> {
        let peer = wire.peer.ip();
        let by_address = wire.proved.is_none();
        let proxied = by_address && proxies.iter().any(|network| network.contains(&peer));
        let forwarded = |name| if proxied { items(&head.headers, name) } else { Vec::new() };
        let client = if proxied { client_behind(&head.headers, proxies) } else { Some(peer) };
        // Somebody on this machine passes it on for a sender who may be anywhere, and is not listed as a proxy.
        let relayed = !proxied && RELAYED.iter().any(|name| head.headers.contains_key(name));
        // What the nearest proxy has added stands last, on whichever line.
        let told = forwarded("x-forwarded-proto").last().map(|proto| proto.eq_ignore_ascii_case("https"));
        let tls = told.unwrap_or(wire.tls);
        // TLS from a proxy to here says nothing of the way to the proxy.
        let safe_wire = told.unwrap_or(wire.tls && !proxied && !relayed);
        let host = match forwarded("x-forwarded-host").last() {
            Some(host) => authority(host)?,
            None => host(head, wire.local)?,
        };
        let scheme = if tls { Scheme::Https } else { Scheme::Http };
        let peering = Peering::of(&head.headers, wire.proved.map(|id| *id)).map(Box::new);
        Some(Self {
            base: format!("{}://{host}", scheme.name()),
            safe: safe_wire || (client.is_some_and(|client| client.is_loopback()) && !relayed),
            credentials: has_credentials(head),
            scheme,
            client,
            relayed_by_peer: peering.is_some() || has_hop(head.uri.query()),
            peering,
            asked_at: (by_address && !proxied).then(|| wire.local.ip()),
        })
    }
}

/// Whether a query says that the request was redirected here.
fn has_hop(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some(HOP)))
}

/// The authority of the request's target or its one `Host` header (RFC 9112, section 3.2); an HTTP/1.0 request
/// may have neither.
fn host(head: &Parts, local: SocketAddr) -> Option<String> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let named = hosts.next().map(|host| host.to_str()).transpose().ok()?;
    if hosts.next().is_some() {
        return None;
    }
    match head.uri.authority().map(Authority::as_str).or(named) {
        Some(named) => authority(named),
        None if head.version <= Version::HTTP_10 => Some(local.to_string()),
        None => None,
    }
}

/// A host with an optional port and nothing else: it will stand in documents.
fn authority(text: &str) -> Option<String> {
    if text.len() > LONGEST_HOST || text.contains('@') {
        return None;
    }
    let authority: Authority = text.parse().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
    let port = authority.as_str()[authority.host().len()..].strip_prefix(':');
    let valid = !authority.host().is_empty() && port.is_none_or(|port| port.parse::<u16>().is_ok());
    (valid && text.bytes().all(plain)).then(|| text.to_ascii_lowercase())
}

/// The client that proxies name, in `X-Forwarded-For` or `Forwarded`; `None` when that is unknown. A proxy that writes one
/// of them may pass the other on as the client sent it: where both are there they have to agree.
fn client_behind(headers: &HeaderMap, proxies: &[IpNet]) -> Option<IpAddr> {
    let customary: Vec<_> = items(headers, "x-forwarded-for").iter().map(|item| item.parse().ok()).collect();
    let standard: Vec<_> = items(headers, "forwarded").iter().map(|element| forwarded_for(element)).collect();
    let nearest = |list: &[Option<IpAddr>]| nearest_client(list, proxies);
    match (customary.as_slice(), standard.as_slice()) {
        (list, []) | ([], list) => nearest(list),
        (one, other) => nearest(one).filter(|client| nearest(other) == Some(*client)),
    }
}

/// The last address in a list that is not a trusted proxy's own.
fn nearest_client(list: &[Option<IpAddr>], proxies: &[IpNet]) -> Option<IpAddr> {
    let mut addresses = list.iter().rev().map(|address| address.map(|ip| ip.to_canonical()));
    let is_proxy = |ip: &IpAddr| proxies.iter().any(|network| network.contains(ip));
    addresses.find(|ip| !ip.as_ref().is_some_and(is_proxy)).flatten()
}

/// The address in `for=` of one element of `Forwarded`, with or without a port (RFC 7239, section 6); `None`: it is
/// hidden, or not to be read.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut values = element.split(';').filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(value)
    });
    let value = values.next().filter(|_| values.next().is_none())?;
    let node = value.strip_prefix('"').map_or(Some(value), |quoted| quoted.strip_suffix('"'))?;
    let with_port = || node.parse().ok().map(|node: SocketAddr| node.ip());
    let bracketed = || node.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let alone = || node.parse().ok().map(IpAddr::V4);
    alone().or_else(bracketed).or_else(with_port)
}

fn has_credentials(head: &Parts) -> bool {
    let headers = &head.headers;
    let by_header =
        [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].iter().any(|name| headers.contains_key(name))
            || SECRET_HEADERS.iter().any(|name| headers.contains_key(name));
    // As routes are read: decoded.
    let path = percent_decode_str(head.uri.path()).decode_utf8_lossy();
    by_header || SECRET_PATHS.iter().any(|secret| path.starts_with(secret))
}

/// The items of a list that may stand on several lines (RFC 9110, section 5.3).
fn items(headers: &HeaderMap, name: &str) -> Vec<String> {
    let lines = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("unknown"));
    lines.flat_map(|line| line.split(',')).map(|item| item.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn caller(peer: &str, headers: &[(&str, &str)]) -> Option<Caller> {
        caller_by(Version::HTTP_11, false, peer, headers)
    }

    fn caller_by(version: Version, tls: bool, peer: &str, headers: &[(&str, &str)]) -> Option<Caller> {
        let mut request = Request::get("/left").version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let proxies = ["10.0.0.0/24".parse().unwrap()];
        let head = request.body(()).unwrap().into_parts().0;
        let peer: SocketAddr = format!("{peer}:1234").parse().unwrap();
        Caller::of(&head, Wire { peer, local: "10.1.1.1:6736".parse().unwrap(), tls, proved: None }, &proxies)
    }

    fn caller_over_tls(peer: &str, headers: &[(&str, &str)]) -> Caller {
        caller_by(Version::HTTP_11, true, peer, headers).unwrap()
    }

    #[test]
    fn the_base_is_what_the_client_has_configured() {
        let base = |peer, headers: &[_]| caller(peer, headers).map(|caller| caller.base);
        assert_eq!(
            base("10.2.2.2", &[("host", "registry.example:6736")]).unwrap(),
            "http://registry.example:6736"
        );
        assert_eq!(base("10.2.2.2", &[("host", "[::1]:6736")]).unwrap(), "http://[::1]:6736");
        assert_eq!(base("10.2.2.2", &[]), None);
        let old = caller_by(Version::HTTP_10, false, "10.2.2.2", &[]).unwrap();
        assert_eq!(old.base, "http://10.1.1.1:6736");
        let forwarded =
            [("host", "inner"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "outer.example")];
        assert_eq!(base("10.0.0.1", &forwarded).unwrap(), "https://outer.example");
        assert_eq!(base("10.2.2.2", &forwarded).unwrap(), "http://inner");
        let twice =
            [("host", "a"), ("x-forwarded-host", "evil.example"), ("x-forwarded-host", "outer.example")];
        assert_eq!(base("10.0.0.1", &twice).unwrap(), "http://outer.example");
    }

    #[test]
    fn a_host_that_is_none_is_refused() {
        for host in ["a\"b", "a b", "user@host", "a/b", "", "a,b", "<script>", "a'b", "a:b", "a:", "a:65536"]
        {
            assert!(caller("10.2.2.2", &[("host", host)]).is_none(), "{host:?}");
        }
    }

    #[test]
    fn a_wire_is_safe_on_this_machine_or_by_a_trusted_proxys_word() {
        let safe = |peer, headers: &[_]| caller(peer, headers).unwrap().safe;
        assert!(safe("127.0.0.1", &[("host", "a")]));
        assert!(!safe("127.0.0.1", &[("host", "a"), ("x-forwarded-for", "10.9.9.9")]));
        assert!(!safe("10.2.2.2", &[("host", "a"), ("x-forwarded-proto", "https")]));
        assert!(safe("10.0.0.1", &[("host", "a"), ("x-forwarded-proto", "https")]));
        assert!(!safe("10.0.0.1", &[("host", "a"), ("x-forwarded-for", "127.0.0.1, 10.9.9.9")]));
        assert!(!safe("10.0.0.1", &[("host", "a"), ("x-forwarded-for", "10.9.9.9")]));
        let two_lines = [("host", "a"), ("x-forwarded-for", "127.0.0.1"), ("x-forwarded-for", "10.9.9.9")];
        assert!(!safe("10.0.0.1", &two_lines));
        for unknown in ["10.9.9.9:4444", "unknown", "", "127.0.0.1, unknown"] {
            assert!(!safe("10.0.0.1", &[("host", "a"), ("x-forwarded-for", unknown)]), "{unknown}");
        }
        assert!(!safe("10.0.0.1", &[("host", "a")]));
    }

    #[test]
    fn a_client_is_where_its_connection_or_a_trusted_proxy_says() {
        let client = |peer, headers: &[(&str, &str)]| {
            let headers: Vec<_> = [("host", "a")].into_iter().chain(headers.iter().copied()).collect();
            caller(peer, &headers).unwrap().client.map(|client| client.to_string())
        };
        let proxy = |headers: &[_]| client("10.0.0.1", headers).unwrap_or_default();
        assert_eq!(client("10.2.2.2", &[("forwarded", "for=192.0.2.1")]).unwrap(), "10.2.2.2");
        for (value, expected) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=\"192.0.2.1:4711\";proto=https;by=10.0.0.1", "192.0.2.1"),
            ("for=192.0.2.1:4711", "192.0.2.1"),
            ("for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("for=\"[2001:db8::1]\"", "2001:db8::1"),
            ("for=192.0.2.9, for=192.0.2.1", "192.0.2.1"),
            ("for=192.0.2.1, for=10.0.0.2", "192.0.2.1"),
            ("for=\"[::ffff:192.0.2.1]\"", "192.0.2.1"),
            ("for=192.0.2.1, for=unknown", ""),
            ("for=_hidden", ""),
            ("for=192.0.2.1;for=192.0.2.2", ""),
            ("for=2001:db8::1", ""),
            ("for=\"192.0.2.1", ""),
            ("proto=https", ""),
            ("", ""),
        ] {
            assert_eq!(proxy(&[("forwarded", value)]), expected, "{value}");
        }
        assert_eq!(proxy(&[("x-forwarded-for", "192.0.2.1")]), "192.0.2.1");
        let agree = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=\"192.0.2.1:80\"")];
        assert_eq!(proxy(&agree), "192.0.2.1");
        let differ = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=127.0.0.1")];
        assert_eq!(proxy(&differ), "");
    }

    #[test]
    fn what_a_peer_sends_is_known_by_its_header_or_its_hop() {
        let by_peer = |uri: &str, headers: &[(&str, &str)]| {
            let mut request = Request::get(uri).header("host", "a");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let head = request.body(()).unwrap().into_parts().0;
            let wire = Wire {
                peer: "10.2.2.2:1".parse().unwrap(),
                local: "10.1.1.1:1".parse().unwrap(),
                tls: false,
                proved: None,
            };
            Caller::of(&head, wire, &[]).unwrap().relayed_by_peer
        };
        assert!(by_peer("/left?open-registry-hop=1", &[]) && by_peer("/left?a=b&open-registry-hop", &[]));
        assert!(by_peer("/left", &[("open-registry-peer", "12D3KooW")]));
        assert!(!by_peer("/left?hop=1", &[]) && !by_peer("/left", &[]));
    }

    #[test]
    fn tls_is_safe_from_its_client_and_as_safe_as_a_proxy_says_from_a_proxy() {
        let direct = caller_over_tls("10.2.2.2", &[("host", "a")]);
        assert_eq!((direct.base.as_str(), direct.safe), ("https://a", true));
        let lies = caller_over_tls("10.2.2.2", &[("host", "a"), ("x-forwarded-proto", "http")]);
        assert_eq!((lies.base.as_str(), lies.safe), ("https://a", true));
        let told = caller_over_tls("10.0.0.1", &[("host", "a"), ("x-forwarded-proto", "http")]);
        assert_eq!((told.base.as_str(), told.safe), ("http://a", false));
        for beyond in [
            caller_over_tls("10.0.0.1", &[("host", "a")]),
            caller_over_tls("10.2.2.2", &[("host", "a"), ("x-forwarded-for", "10.9.9.9")]),
        ] {
            assert_eq!((beyond.base.as_str(), beyond.safe), ("https://a", false));
        }
    }

    #[test]
    fn credentials_are_seen_wherever_they_stand() {
        for header in ["authorization", "cookie", "npm-otp", "proxy-authorization"] {
            assert!(caller("127.0.0.1", &[("host", "a"), (header, "x")]).unwrap().credentials, "{header}");
        }
        assert!(!caller("127.0.0.1", &[("host", "a")]).unwrap().credentials);
    }
}
