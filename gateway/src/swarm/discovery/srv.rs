//! Unicast SRV (RFC 2782): `_open-registry._tcp` below the search domains of this machine, which crosses routers.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::super::task::Found;

/// How often it is asked: an operator who adds a gateway can wait.
const EVERY: Duration = Duration::from_secs(600);
/// The longest that all questions together may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Search domains, as resolv.conf(5) had them for long.
const MOST_DOMAINS: usize = 6;
/// Places that are taken of all answers.
const MOST_PLACES: usize = 8;
/// Where the domains stand.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Says where SRV records lead, again and again.
pub(super) async fn look_up_forever(found: mpsc::Sender<Found>) {
    loop {
        let places = timeout(PATIENCE, look_up()).await.unwrap_or_default();
        if !places.is_empty() && found.send(Found::Somebody(places)).await.is_err() {
            return;
        }
        sleep(EVERY).await;
    }
}

async fn look_up() -> Vec<SocketAddr> {
    let domains = domains(&fs::read_to_string(RESOLV_CONF).unwrap_or_default());
    // Read anew each time: a laptop has another one in the next room.
    let resolver = TokioResolver::builder_tokio().and_then(hickory_resolver::ResolverBuilder::build);
    let Ok(resolver) = resolver else { return Vec::new() };
    let mut places = Vec::new();
    for domain in domains {
        let Ok(answer) = resolver.srv_lookup(format!("_open-registry._tcp.{domain}.")).await else {
            continue;
        };
        for record in answer.answers() {
            let RData::SRV(srv) = &record.data else { continue };
            let Ok(addresses) = resolver.lookup_ip(srv.target.clone()).await else { continue };
            places.extend(addresses.iter().map(|address| SocketAddr::new(address, srv.port)));
        }
    }
    places.truncate(MOST_PLACES);
    places
}

/// The last `search` or `domain` counts (resolv.conf(5)).
fn domains(resolv_conf: &str) -> Vec<String> {
    let of_line = |line: &str| {
        let mut words = line.split_whitespace();
        matches!(words.next(), Some("search" | "domain")).then(|| words.map(str::to_owned).collect())
    };
    let all: Vec<String> = resolv_conf.lines().filter_map(of_line).next_back().unwrap_or_default();
    let plain = all.into_iter().map(|domain| domain.trim_end_matches('.').to_owned());
    plain.filter(|domain| !domain.is_empty()).take(MOST_DOMAINS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_domains_are_those_of_the_last_line_that_names_any() {
        let file =
            "domain old.example\nnameserver 192.0.2.1\nsearch a.example b.example. .\n# search c.example\n";
        assert_eq!(domains(file), ["a.example", "b.example"]);
        assert!(domains("nameserver 192.0.2.1\n").is_empty());
        assert_eq!(domains(&format!("search {}", "x.example ".repeat(20))).len(), MOST_DOMAINS);
    }
}
