//! PowerDNS with its geoip backend: networks, and the country where there is a database.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Site, Steered, write};

pub(super) fn command(zone: &Steered, at: SocketAddr, folder: &Path) -> Command {
    write(&folder.join("zones.yaml"), &zones(zone));
    let shown = folder.display();
    let database =
        zone.database.as_ref().map(|file| format!("geoip-database-files=mmdb:{}\n", file.display()));
    let text = format!(
        "launch=geoip\ngeoip-zones-file={shown}/zones.yaml\n{}edns-subnet-processing=yes\nlocal-address={at}\n\
         socket-dir={shown}\nreceiver-threads=1\ndistributor-threads=1\nsecurity-poll-suffix=\nguardian=no\ndaemon=no\n",
        database.unwrap_or_default()
    );
    write(&folder.join("pdns.conf"), &text);
    let mut command = Command::new("pdns_server");
    command.arg(format!("--config-dir={shown}"));
    command
}

/// A site is a name of its own beside the apex; which of them the apex stands for is told by network and country.
fn zones(steered: &Steered) -> String {
    let (zone, first) = (&steered.zone, &steered.sites[0]);
    let mut text = format!(
        "domains:\n- domain: {zone}\n  ttl: 20\n  records:\n    {zone}:\n    - soa:\n\
         \x20       content: direct.{zone} hostmaster.{zone} 1 3600 600 86400 30\n        ttl: 30\n\
         \x20   - ns:\n        content: direct.{zone}\n        ttl: 3600\n{}",
        records(&format!("direct.{zone}"), first)
    );
    for site in &steered.sites {
        text += &records(&format!("{}.sites.{zone}", site.name), site);
        for (_, country) in &site.countries {
            text += &records(&format!("{}.countries.{zone}", country.to_lowercase()), site);
        }
    }
    let default = if steered.database.is_some() { "%cc.countries" } else { &format!("{}.sites", first.name) };
    write!(text, "  services:\n    {zone}:\n      default: '{default}.{zone}'\n").expect("a write to memory");
    for site in &steered.sites {
        for network in &site.networks {
            writeln!(text, "      \"{network}\": {}.sites.{zone}", site.name).expect("a write to memory");
        }
    }
    text
}

fn records(name: &str, site: &Site) -> String {
    format!("    {name}:\n    - a: {}\n    - aaaa: \"{}\"\n", site.v4, site.v6)
}
