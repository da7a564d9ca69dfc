//! Finds out: reads this host's files, asks its resolvers, and knocks at every address that they name.
//!
//! Two rounds, each at once and within a limit, so that the whole ends soon even where nobody answers: first whatever
//! needs no other answer ([`ask`], [`files`], [`clients`], [`host`]), then [`visit`] to the addresses that were named.

mod ask;
mod clients;
mod files;
mod host;
mod visit;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use url::Url;

use super::Request;
use super::facts::{Answer, Asked, Behind, Door, Facts, Home, LeftOut, Lookup, Upstream};
use crate::config::{Config, Loaded};
use crate::setup::{Said, Site, interfaces};
use crate::status;
use visit::Visitor;

/// For `getaddrinfo`, whose own patience is resolv.conf's: 5 seconds for each server, twice.
const LOOKUP_WAIT: Duration = Duration::from_secs(6);
/// More resolvers than a host asks (resolv.conf(5) takes three).
const MOST_RESOLVERS: usize = 8;
/// More addresses than an honest answer for the name has.
const MOST_DOORS: usize = 16;
const DNS_PORT: u16 = 53;
/// Where else a gateway may listen: at its default port, and at that of plain http.
const OTHER_PORTS: [u16; 2] = [6736, 80];

/// All facts about this host and its way to the gateway.
pub(super) async fn probe(request: &Request, loaded: &Loaded) -> anyhow::Result<Facts> {
    let config = &loaded.config;
    let visitor = Visitor::new(request.ca.as_deref())?;
    let hosted = request.here || !loaded.files.is_empty() || runs_here(config, &visitor).await;
    let site = site(request, config, hosted)?;
    let (zone, url, named) = (site.values.zone, site.values.url, site.values.gateways);

    let names = ask::Names::new(&zone, &config.upstream.url)?;
    let configured = files::resolvers(MOST_RESOLVERS);
    let authorities =
        named.iter().map(|ip| (SocketAddr::new(*ip, DNS_PORT), "the gateway itself".to_owned()));
    let upstream_named = loaded.origin("upstream.url").is_some_and(|origin| origin == "--upstream");
    let (resolvers, authorities, system, upstream, home, connected) = tokio::join!(
        join_all(configured.into_iter().map(|(server, origin)| ask::ask(server, origin, &names))),
        join_all(authorities.map(|(server, origin)| ask::ask(server, origin, &names))),
        look_up(&zone),
        reach_upstream(&visitor, config, (hosted || upstream_named) && !config.offline),
        home(config, hosted && !config.offline),
        connected(config, hosted),
    );
    let authorities: Vec<Asked> = authorities.into_iter().filter(is_served).collect();
    let addresses = addresses(&named, &resolvers, &authorities, &system);
    let doors = join_all(addresses.into_iter().map(|ip| knock(&visitor, &url, ip))).await;
    let left_out = left_out(&named, &doors, hosted, upstream.is_some(), config);
    Ok(Facts {
        hosts: files::hosts(&zone),
        services: files::services(),
        resolved: files::resolved(),
        peers: hosted.then(|| host::peers(config, connected)).flatten(),
        ports: if hosted { host::ports(config)? } else { Vec::new() },
        disk: hosted.then(|| host::disk(config)).flatten(),
        clients: clients::of_this_user(&url),
        zone,
        url,
        named,
        hosted,
        resolvers,
        authorities,
        system,
        doors,
        upstream,
        home,
        left_out,
    })
}

/// The gateway's addresses are this host's only where this host is the gateway's.
fn site(request: &Request, config: &Config, hosted: bool) -> anyhow::Result<Site> {
    let own = if hosted { interfaces()? } else { Vec::new() };
    let said = Said { addresses: &request.gateway, url: request.url.as_ref(), ca: request.ca.as_deref() };
    let mut site = Site::of(&said, config, &own)?;
    if !hosted && request.gateway.is_empty() {
        site.values.gateways.clone_from(&config.zone.addresses);
    }
    Ok(site)
}

/// Whether a gateway answers on this host: where the configuration has it listen, or at the ports of systemd's sockets.
async fn runs_here(config: &Config, visitor: &Visitor) -> bool {
    let configured = config.http.listen.iter().copied();
    let usual = OTHER_PORTS.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let visits = configured.chain(usual).map(|address| async move {
        let ip = if address.ip().is_unspecified() { loopback(address.ip()) } else { address.ip() };
        is_gateway(visitor, SocketAddr::new(ip, address.port())).await
    });
    join_all(visits).await.contains(&true)
}

/// Where whoever listens on all addresses of this family can be reached from this host.
fn loopback(unspecified: IpAddr) -> IpAddr {
    if unspecified.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}

async fn is_gateway(visitor: &Visitor, address: SocketAddr) -> bool {
    let Ok(url) = format!("http://{address}").parse() else { return false };
    matches!(visitor.visit(&url, address).await.behind, Behind::Gateway { .. })
}

async fn look_up(zone: &str) -> Lookup {
    match timeout(LOOKUP_WAIT, tokio::net::lookup_host((zone, 0))).await {
        Ok(Ok(found)) => {
            let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            addresses.dedup();
            Lookup::Found(addresses)
        }
        Ok(Err(error)) => Lookup::Failed(error.to_string()),
        Err(_) => Lookup::Failed(format!("no answer within {} s", LOOKUP_WAIT.as_secs())),
    }
}

async fn reach_upstream(visitor: &Visitor, config: &Config, wanted: bool) -> Option<Upstream> {
    if !wanted {
        return None;
    }
    let url = config.upstream.url.clone();
    let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default()?;
    let found = timeout(LOOKUP_WAIT, tokio::net::lookup_host((host.as_str(), port))).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return Some(Upstream { url, outcome: Err(error.to_string()), ahead_s: None }),
        Err(_) => {
            return Some(Upstream {
                url,
                outcome: Err("its name is not found in time".into()),
                ahead_s: None,
            });
        }
    };
    // As clients do: the first that answers is enough.
    let visits = addresses.iter().take(MOST_DOORS).map(|address| visitor.visit(&url, *address));
    let mut failure = "its name has no address".to_owned();
    for visit in join_all(visits).await {
        match visit.behind {
            Behind::Gateway { .. } | Behind::Other(_) => {
                return Some(Upstream { url, outcome: Ok(()), ahead_s: visit.ahead_s });
            }
            Behind::Nobody(why) => failure = why,
            Behind::Untrusted(why) => failure = format!("its certificate does not hold: {why}"),
        }
    }
    Some(Upstream { url, outcome: Err(failure), ahead_s: None })
}

/// In the words of the gateway that follows it: nobody else has a connection to it that proves who it is.
async fn home(config: &Config, wanted: bool) -> Option<Home> {
    if !wanted || config.federation.home.is_none() {
        return None;
    }
    status::followed(config).await.map(|(contact, outcome)| Home { contact, outcome })
}

/// How many peers the gateway of this host has, as it says.
async fn connected(config: &Config, hosted: bool) -> usize {
    if hosted { status::connected(config).await.unwrap_or(0) } else { 0 }
}

/// Nobody at all at port 53 is no finding: the gateway need not answer DNS.
fn is_served(asked: &Asked) -> bool {
    !matches!(asked.a, Answer::Silence(_)) || !matches!(asked.aaaa, Answer::Silence(_))
}

fn addresses(named: &[IpAddr], resolvers: &[Asked], authorities: &[Asked], system: &Lookup) -> Vec<IpAddr> {
    let found = match system {
        Lookup::Found(found) => found.as_slice(),
        Lookup::Failed(_) => &[],
    };
    let told = resolvers.iter().chain(authorities).flat_map(Asked::addresses);
    let mut addresses: Vec<IpAddr> = Vec::new();
    for ip in named.iter().chain(found).copied().chain(told) {
        if !addresses.contains(&ip) && addresses.len() < MOST_DOORS {
            addresses.push(ip);
        }
    }
    addresses
}

/// Who answers at an address on the URL's port; and where nobody does, on which other port a gateway does.
async fn knock(visitor: &Visitor, url: &Url, ip: IpAddr) -> Door {
    let port = url.port_or_known_default().unwrap_or(80);
    let address = SocketAddr::new(ip, port);
    let others = OTHER_PORTS.into_iter().filter(|other| *other != port);
    let elsewhere =
        join_all(others.map(|other| async move {
            is_gateway(visitor, SocketAddr::new(ip, other)).await.then_some(other)
        }));
    let (visit, elsewhere) = tokio::join!(visitor.visit(url, address), elsewhere);
    let instead = elsewhere.into_iter().flatten().next();
    let instead = instead.filter(|_| !matches!(visit.behind, Behind::Gateway { .. }));
    Door {
        address,
        behind: visit.behind,
        ahead_s: visit.ahead_s,
        certificate_days: visit.certificate_days,
        instead,
    }
}

fn left_out(named: &[IpAddr], doors: &[Door], hosted: bool, upstream: bool, config: &Config) -> Vec<LeftOut> {
    let mut left_out = Vec::new();
    let mut leave = |what: &str, why: &str| left_out.push(LeftOut { what: what.into(), why: why.into() });
    if named.is_empty() {
        leave(
            "comparing answers with the gateway's own",
            "its address is not known here; --gateway gives it",
        );
    }
    if doors.is_empty() {
        leave("reaching the gateway", "no address of it is known; --gateway gives one");
    }
    if !upstream {
        let why = if config.offline {
            "this gateway is offline, as configured"
        } else {
            "no gateway runs on this host; --upstream gives a registry to try"
        };
        leave("reaching upstream", why);
    }
    if !hosted {
        leave("ports and disk of the gateway", "no gateway runs on this host; --here looks anyway");
    }
    left_out
}
