//! Is there anything between the gateway of this host and its peers? Who has its port is told with the other ports.

use super::super::facts::{Facts, Holder, Peers};
use super::Finding;

/// As the kernel's tables have them, which cut off after 15 characters.
const AVAHI: &str = "avahi-daemon";
const RESOLVED: &str = "systemd-resolve";

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let Some(peers) = &facts.peers else { return Vec::new() };
    [multicast(peers), sharing(peers)].into_iter().flatten().collect()
}

fn multicast(peers: &Peers) -> Option<Finding> {
    let program = match peers.multicast.as_ref()? {
        Holder::Other(Some(program)) => Some(program.as_str()),
        _ => None,
    };
    let let_in = match program {
        Some(AVAHI) => "in /etc/avahi/avahi-daemon.conf, under [server]: disallow-other-stacks=no".to_owned(),
        Some(RESOLVED) => {
            "have it leave the port alone: MulticastDNS=no in /etc/systemd/resolved.conf".to_owned()
        }
        Some(program) => format!("stop {program}, or have it share the port (SO_REUSEADDR and SO_REUSEPORT)"),
        None => "which one it is, only root can see: run this as root".to_owned(),
    };
    // Who serves nothing to others is not to be announced.
    let announce = recipe(program).filter(|_| peers.shares);
    let announce =
        announce.map(|recipe| format!("or have it announce the gateway, so that others find it: {recipe}"));
    let name = "or name a peer: bootstrap in [federation]".to_owned();
    let who = program.unwrap_or("another program");
    let what = format!("{who} has port 5353 (udp), and shares it with nobody");
    let finding = Finding::warning("multicast-port", what)
        .because("so the gateway does not look for peers by multicast DNS, and is not found by it");
    Some(finding.fix([let_in].into_iter().chain(announce).chain([name])))
}

fn recipe(program: Option<&str>) -> Option<&'static str> {
    match program {
        Some(AVAHI) => Some("open-registry setup avahi"),
        Some(RESOLVED) => Some("open-registry setup resolved-dnssd"),
        Some(_) => None,
        None => Some("open-registry setup avahi, or open-registry setup resolved-dnssd"),
    }
}

fn sharing(peers: &Peers) -> Option<Finding> {
    let with = match (peers.connected, peers.configured) {
        _ if peers.shares => return None,
        (0, 0) => return None,
        (0, configured) => format!("{configured} of them configured"),
        (connected, _) => format!("{connected} of them connected"),
    };
    Some(
        Finding::warning("sharing", format!("this gateway serves nothing to its peers, {with}"))
            .because("share.enabled is false: each of them fetches from the Internet what is held here")
            .fix(["where that is not meant: enabled = true in [share]"]),
    )
}
