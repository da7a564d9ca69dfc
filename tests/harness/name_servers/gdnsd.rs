//! gdnsd with plugin_geoip: networks, and a database where there is one.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Site, Steered, write, zone_file};

pub(super) fn command(zone: &Steered, at: SocketAddr, folder: &Path) -> Command {
    for name in ["zones", "run", "state"] {
        fs::create_dir(folder.join(name)).expect("a folder in a new folder");
    }
    write(&folder.join("config"), &configuration(zone, at, folder));
    let origin = format!("$ORIGIN {}.\n", zone.zone);
    let records = zone_file(zone, false).replace(&origin, "") + "@ 20 DYNA geoip!registry\n";
    write(&folder.join("zones").join(&zone.zone), &records);
    let mut command = Command::new("gdnsd");
    command.arg("-c").arg(folder).arg("start");
    command
}

fn configuration(zone: &Steered, at: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    let names: Vec<&str> = zone.sites.iter().map(|site| site.name.as_str()).collect();
    let nets =
        each(zone, |site| site.networks.iter().map(|net| format!("{net} => [ {} ]", site.name)).collect());
    let sites = each(zone, |site| {
        vec![format!("{} => {{ addrs_v4 => [ {} ], addrs_v6 => [ {} ] }}", site.name, site.v4, site.v6)]
    });
    let service = if zone.monitored { "web" } else { "up" };
    format!(
        "options => {{ listen => [ {at} ], run_dir => {folder}/run, state_dir => {folder}/state, \
         udp_threads => 1, tcp_threads => 1 }}\n\
         service_types => {{ web => {{ plugin => http_status, port => 80, url_path => \"/\", interval => 10 }} }}\n\
         plugins => {{ geoip => {{\n\
         maps => {{ networks => {{ datacenters => [ {} ], {} nets => {{\n{nets}\n}} }} }}\n\
         resources => {{ registry => {{ map => networks, service_types => {service}, dcmap => {{\n{sites}\n}} }} }}\n\
         }} }}\n",
        names.join(", "),
        by_country(zone)
    )
}

fn each(zone: &Steered, of: impl Fn(&Site) -> Vec<String>) -> String {
    zone.sites.iter().flat_map(of).collect::<Vec<_>>().join(",\n")
}

/// `geoip2_db => ..., map => { default => [ a ], EU => { DE => [ b ] } },`
fn by_country(zone: &Steered) -> String {
    let Some(database) = &zone.database else { return String::new() };
    let mut continents: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for site in &zone.sites {
        for (continent, country) in &site.countries {
            continents.entry(continent).or_default().push(format!("{country} => [ {} ]", site.name));
        }
    }
    let map =
        continents.iter().map(|(name, countries)| format!(", {name} => {{ {} }}", countries.join(", ")));
    format!(
        "geoip2_db => {}, map => {{ default => [ {} ]{} }},",
        database.display(),
        zone.sites[0].name,
        map.collect::<String>()
    )
}
