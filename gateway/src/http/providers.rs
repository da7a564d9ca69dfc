//! `GET /routing/v1/providers/<cid>`: who has a block, as IPFS clients ask for it
//! ([specification](https://specs.ipfs.tech/routing/http-routing-v1/)).

use std::net::IpAddr;

use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, VARY};
use http::request::Parts;
use http::{Method, Response};
use resolver::index::{Cid, address};
use resolver::links::Class;
use resolver::peer::PeerId;
use resolver::trustless;
use serde_json::{Value, json};
use url::{Host, Url};

use super::answer::Answer;
use super::body;
use super::caller::Caller;
use super::headers::text;
use super::service::Service;
use super::trustless::open_to_all;

/// Records one to a line, as they are found.
const LINES: &str = "application/x-ndjson";
/// What is here may go, and what is not may come.
const FOR_A_WHILE: HeaderValue = HeaderValue::from_static("public, max-age=60");
const FOR_A_MOMENT: HeaderValue = HeaderValue::from_static("public, max-age=5");

impl Service {
    /// This gateway, where it has the block, at the address that its asker has used; and of a tarball, the peers that are connected and
    /// hold it.
    pub(super) fn providers(&self, cid: &Cid, head: &Parts, caller: &Caller) -> Answer {
        let catalogue = self.catalogue();
        let mut found = Vec::new();
        if trustless::inline(cid).is_some() || catalogue.index().block(cid).is_some() {
            let own = caller.base.parse().ok().and_then(|url| multiaddr(&url));
            found.push(record(self.prover().id(), own.as_slice()));
        }
        let takedowns = self.fetch().takedowns();
        let tarball = address::tarball_of(cid).filter(|integrity| takedowns.of_digest(integrity).is_none());
        for holder in tarball.map(|integrity| catalogue.peers_with(&integrity)).unwrap_or_default() {
            let urls = holder.urls.iter().filter_map(|url| url.parse().ok());
            let addresses: Vec<_> =
                urls.filter(|url| is_for(url, caller.client)).filter_map(|url| multiaddr(&url)).collect();
            if !addresses.is_empty() {
                found.push(record(holder.peer, &addresses));
            }
        }
        written(&found, head)
    }
}

fn record(peer: PeerId, addresses: &[String]) -> Value {
    json!({
        "Schema": "peer",
        "ID": peer,
        "Addrs": addresses,
        "Protocols": ["transport-ipfs-gateway-http"],
    })
}

fn written(found: &[Value], head: &Parts) -> Answer {
    let by_line = text(&head.headers, ACCEPT).is_some_and(|accept| accept.contains(LINES));
    let (kind, text) = if by_line {
        (LINES, found.iter().map(|record| format!("{record}\n")).collect())
    } else {
        ("application/json", json!({ "Providers": found }).to_string())
    };
    let length = text.len();
    let is_head = head.method == Method::HEAD;
    let mut response = Response::new(if is_head { body::empty() } else { body::full(text) });
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_LENGTH, length.into());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, if found.is_empty() { FOR_A_MOMENT } else { FOR_A_WHILE });
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    open_to_all(headers);
    Answer::new(response, "ok", "none")
}

/// Where a peer is on a private network is nobody's business outside of it, and of no use there.
fn is_for(url: &Url, client: Option<IpAddr>) -> bool {
    let class = match url.host() {
        Some(Host::Ipv4(ip)) => Class::of(ip.into()),
        Some(Host::Ipv6(ip)) => Class::of(ip.into()),
        Some(Host::Domain(_)) => return true,
        None => return false,
    };
    class == Class::Public || client.is_some_and(|client| Class::of(client) < Class::Public)
}

/// `/ip4/192.0.2.7/tcp/6736/http`
fn multiaddr(url: &Url) -> Option<String> {
    let host = match url.host()? {
        Host::Ipv4(ip) => format!("/ip4/{ip}"),
        Host::Ipv6(ip) => format!("/ip6/{ip}"),
        Host::Domain(name) => format!("/dns/{name}"),
    };
    Some(format!("{host}/tcp/{}/{}", url.port_or_known_default()?, url.scheme()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_in_the_words_of_ipfs() {
        for (url, expected) in [
            ("http://192.0.2.7:6736", "/ip4/192.0.2.7/tcp/6736/http"),
            ("https://[2001:db8::7]", "/ip6/2001:db8::7/tcp/443/https"),
            ("http://registry.example", "/dns/registry.example/tcp/80/http"),
        ] {
            assert_eq!(multiaddr(&url.parse().unwrap()).unwrap(), expected);
        }
    }

    #[test]
    fn private_addresses_are_told_to_private_networks_alone() {
        let told = |url: &str, client: &str| is_for(&url.parse().unwrap(), client.parse().ok());
        assert!(
            told("http://192.168.7.9:6736", "192.168.7.20") && told("http://192.168.7.9:6736", "127.0.0.1")
        );
        assert!(!told("http://192.168.7.9:6736", "203.0.113.7") && !told("http://[fd00::7]:6736", ""));
        assert!(told("http://192.0.9.1:6736", "203.0.113.7") && told("https://registry.example", ""));
    }
}
