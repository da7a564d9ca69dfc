//! A world for the benchmark: sites, and a database that says which of them each network is near.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use harness::name_servers::Site;
use maxminddb_writer::Database;
use maxminddb_writer::metadata::IpVersion;
use maxminddb_writer::paths::IpAddrWithMask;
use serde_json::json;

/// The first octets of the networks that the database knows: 64, in which nothing is private.
const FIRST: u32 = 11;
const LAST: u32 = 74;
/// How long the database's networks are: 65,536 of them.
const BITS: u32 = 18;

/// Name, continent, country, latitude and longitude of a site.
pub(crate) type Place = (&'static str, &'static str, &'static str, f64, f64);

/// The sites.
pub(crate) const PLACES: [Place; 4] = [
    ("a", "EU", "DE", 50.1, 8.7),
    ("b", "NA", "US", 39.0, -77.5),
    ("c", "AS", "JP", 35.7, 139.7),
    ("d", "SA", "BR", -23.5, -46.6),
];

/// The sites, each with all of its networks for whoever cannot read the database.
pub(crate) fn sites() -> Vec<Site> {
    let mut networks: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (network, site) in all_networks() {
        networks.entry(site).or_default().push(format!("{network}/{BITS}"));
    }
    let site = |(number, (name, continent, country, ..)): (usize, &Place)| Site {
        name: (*name).to_owned(),
        v4: v4(number),
        v6: v6(number),
        networks: networks.remove(&number).unwrap_or_default(),
        countries: vec![((*continent).to_owned(), (*country).to_owned())],
    };
    PLACES.iter().enumerate().map(site).collect()
}

/// The addresses of a site.
pub(crate) fn v4(site: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(45, 83, 220, 11).to_bits() + u32::try_from(site).expect("few sites"))
}

pub(crate) fn v6(site: usize) -> Ipv6Addr {
    let first = Ipv6Addr::new(0x2a0d, 0x5600, 8, 0, 0, 0, 0, 0x11);
    Ipv6Addr::from_bits(first.to_bits() + u128::try_from(site).expect("few sites"))
}

/// A database as MaxMind's are, in which every network is in the country, and at the place, of one of the sites.
pub(crate) fn write_database(file: &Path) {
    let mut database = Database::default();
    database.metadata.ip_version = IpVersion::V6;
    database.metadata.database_type = "GeoIP2-City".to_owned();
    // libmaxminddb takes no other version, and wants the rest to be there.
    database.metadata.binary_format_major_version = 2;
    database.metadata.build_epoch = 1_700_000_000;
    database.metadata.languages = vec!["en".to_owned()];
    database.metadata.description.insert("en".to_owned(), "a world of four sites".to_owned());
    let of_site = PLACES.map(|(_, continent, country, latitude, longitude)| {
        let record = json!({
            "continent": { "code": continent },
            "country": { "iso_code": country },
            "location": { "latitude": latitude, "longitude": longitude },
        });
        database.insert_value(record).expect("a small record")
    });
    for (network, site) in all_networks() {
        // IPv4 stands under ::/96 in a database for both.
        let path: IpAddrWithMask = format!("::{network}/{}", BITS + 96).parse().expect("a network");
        database.insert_node(path, of_site[site]);
    }
    let file = BufWriter::new(File::create(file).expect("a file in a new folder"));
    database.write_to(file).expect("a database");
}

/// Every network with the number of its site; neighbours mostly differ, as on the Internet.
fn all_networks() -> impl Iterator<Item = (Ipv4Addr, usize)> {
    let size = 1 << (32 - BITS);
    (FIRST << 24..(LAST + 1) << 24)
        .step_by(size)
        .map(|network| (Ipv4Addr::from_bits(network), site_of(network)))
}

fn site_of(network: u32) -> usize {
    (network >> (32 - BITS)).wrapping_mul(0x9E37_79B1) as usize >> 24 & (PLACES.len() - 1)
}

/// A /24 somewhere in the database: the same for the same number.
pub(crate) fn client(number: u32) -> Ipv4Addr {
    let span = (LAST - FIRST + 1) << 16;
    let chosen = number.wrapping_mul(0x9E37_79B1) % span;
    Ipv4Addr::from_bits((FIRST << 24) + (chosen << 8))
}
