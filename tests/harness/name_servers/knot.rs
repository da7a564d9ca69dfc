//! Knot DNS with mod-geoip: networks alone, for Debian builds it without databases.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Steered, write, zone_file};

pub(super) fn command(zone: &Steered, at: SocketAddr, folder: &Path) -> Command {
    write(&folder.join("zone"), &zone_file(zone, true));
    write(&folder.join("networks"), &networks(zone));
    let file = folder.join("knot.conf");
    write(&file, &configuration(zone, at, folder));
    let mut command = Command::new("knotd");
    command.arg("-c").arg(file);
    command
}

fn networks(zone: &Steered) -> String {
    let mut text = format!("{}:\n", zone.zone);
    let sites: BTreeMap<&str, _> = zone
        .sites
        .iter()
        .flat_map(|site| site.networks.iter().map(move |net| (net.as_str(), site)))
        .collect();
    for (network, site) in sites {
        writeln!(text, "  - net: \"{network}\"\n    A: [ {} ]\n    AAAA: [ \"{}\" ]", site.v4, site.v6)
            .expect("a write to memory");
    }
    text
}

fn configuration(zone: &Steered, at: SocketAddr, folder: &Path) -> String {
    let (folder, listen) = (folder.display(), format!("{}@{}", at.ip(), at.port()));
    format!(
        "server:\n  rundir: {folder}\n  listen: {listen}\n  udp-workers: 1\n  tcp-workers: 1\n\
         \x20 background-workers: 1\n  edns-client-subnet: on\n\
         log:\n - target: stderr\n   any: info\n\
         database:\n  storage: {folder}\n\
         mod-geoip:\n - id: networks\n   config-file: {folder}/networks\n   mode: subnet\n   ttl: 20\n\
         zone:\n - domain: {}\n   file: {folder}/zone\n   module: mod-geoip/networks\n\
         \x20  zonefile-sync: -1\n   journal-content: none\n",
        zone.zone
    )
}
