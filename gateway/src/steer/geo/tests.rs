//! Promises about databases: of every customary shape, replaced, absent, broken and damaged.

use std::net::IpAddr;
use std::path::Path;

use maxminddb_writer::Database as Writer;
use maxminddb_writer::metadata::IpVersion;
use maxminddb_writer::paths::IpAddrWithMask;
use proptest::prelude::*;
use resolver::geo::{Code, Place};
use serde::Serialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// A database as its vendor writes it: what each network is said to be.
fn database(version: IpVersion, networks: &[(&str, Value)]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.metadata.ip_version = version;
    writer.metadata.binary_format_major_version = 2;
    writer.metadata.database_type = "Test-City".into();
    writer.metadata.build_epoch = 1_790_000_000;
    for (network, value) in networks {
        let data = writer.insert_value(Typed(value.clone())).unwrap();
        writer.insert_node(network.parse::<IpAddrWithMask>().unwrap(), data);
    }
    let mut bytes = Vec::new();
    writer.write_to(&mut bytes).unwrap();
    bytes
}

/// JSON with the types of MaxMind's own databases: whole numbers of 32 bits.
struct Typed(Value);

impl Serialize for Typed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Value::Object(map) => {
                serializer.collect_map(map.iter().map(|(key, value)| (key, Typed(value.clone()))))
            }
            Value::Number(number) if number.is_u64() => {
                serializer.serialize_u32(u32::try_from(number.as_u64().unwrap()).unwrap())
            }
            other => other.serialize(serializer),
        }
    }
}

/// A directory with these files, and all of them in use.
fn geo(files: &[(&str, Vec<u8>)]) -> (Geo, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let paths = files.iter().map(|(name, bytes)| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    });
    (Geo::load(&paths.collect::<Vec<_>>()), folder)
}

fn locate(geo: &Geo, address: &str) -> Whereabouts {
    geo.locate(address.parse().unwrap())
}

fn country(geo: &Geo, address: &str) -> Option<String> {
    locate(geo, address).country.map(|country| country.to_string())
}

fn dresden() -> Whereabouts {
    Whereabouts {
        place: Some(Place { latitude: 51.05, longitude: 13.74, accuracy_km: 0 }),
        country: Code::parse("DE"),
        continent: Code::parse("EU"),
        asn: Some(680),
        prefix: 24,
    }
}

#[test]
fn the_nested_and_the_flat_shape_say_the_same() {
    let nested = json!({
        "continent": { "code": "EU", "names": { "en": "Europe" } },
        "country": { "iso_code": "DE", "geoname_id": 2_921_044, "names": { "en": "Germany" } },
        "location": { "latitude": 51.05, "longitude": 13.74, "accuracy_radius": 20, "time_zone": "Europe/Berlin" },
        "subdivisions": [{ "iso_code": "SN" }],
        "autonomous_system_number": 680,
    });
    let flat = json!({
        "country_code": "DE", "city": "Dresden", "latitude": 51.05, "longitude": 13.74, "postcode": "",
        "autonomous_system_number": 680, "autonomous_system_organization": "DFN",
    });
    let ipinfo = json!({
        "country": "Germany", "country_code": "DE", "continent": "Europe", "continent_code": "EU",
        "latitude": "51.05", "longitude": "13.74", "asn": "AS680", "as_name": "DFN",
    });
    for (shape, accuracy_km) in [(nested, 20), (flat, 0), (ipinfo, 0)] {
        let (geo, _folder) =
            geo(&[("one.mmdb", database(IpVersion::V4, &[("192.0.2.0/24", shape.clone())]))]);
        let place = dresden().place.map(|place| Place { accuracy_km, ..place });
        assert_eq!(locate(&geo, "192.0.2.77"), Whereabouts { place, ..dresden() }, "{shape}");
    }
}

#[test]
fn each_fact_is_the_first_databases_that_has_it_and_the_prefix_the_longest() {
    let countries = database(IpVersion::V4, &[("192.0.0.0/16", json!({ "country_code": "DE" }))]);
    let cities = json!({ "country_code": "PL", "latitude": 51.05, "longitude": 13.74 });
    let cities = database(IpVersion::V4, &[("192.0.2.0/23", cities)]);
    let systems = database(IpVersion::V4, &[("192.0.2.0/24", json!({ "autonomous_system_number": 680 }))]);
    let (geo, _folder) = geo(&[("a", countries), ("b", cities), ("c", systems)]);
    assert_eq!(locate(&geo, "192.0.2.1"), dresden());
    // Not in the third, whose leaf is as long all the same: its neighbours are in it.
    assert_eq!(locate(&geo, "192.0.3.1"), Whereabouts { asn: None, ..dresden() });
    assert_eq!(locate(&geo, "198.51.100.1").country, None);
}

#[test]
fn a_database_of_both_families_has_ipv4_prefixes_for_ipv4() {
    let both = database(
        IpVersion::V6,
        &[
            ("::c000:200/120", json!({ "country_code": "DE" })),
            ("2001:db8::/32", json!({ "country_code": "FR" })),
        ],
    );
    let (geo, _folder) = geo(&[("both", both)]);
    assert_eq!((country(&geo, "192.0.2.1").as_deref(), locate(&geo, "192.0.2.1").prefix), (Some("DE"), 24));
    let french = locate(&geo, "2001:db8::1");
    assert_eq!((country(&geo, "2001:db8::1").as_deref(), french.prefix), (Some("FR"), 32));
}

#[test]
fn a_family_that_a_database_lacks_is_unknown_as_a_whole() {
    let v4 = database(IpVersion::V4, &[("192.0.2.0/24", json!({ "country_code": "DE" }))]);
    let v6 = database(IpVersion::V6, &[("2001:db8::/32", json!({ "country_code": "FR" }))]);
    let (four, _folder) = geo(&[("v4", v4.clone())]);
    assert_eq!(locate(&four, "2001:db8::1"), Whereabouts::default());
    let (six, _folder) = geo(&[("v6", v6.clone())]);
    assert_eq!(locate(&six, "192.0.2.1"), Whereabouts::default());
    let (both, _folder) = geo(&[("v4", v4), ("v6", v6)]);
    assert_eq!(country(&both, "192.0.2.1").as_deref(), Some("DE"));
    assert_eq!(
        (country(&both, "2001:db8::1").as_deref(), locate(&both, "2001:db8::1").prefix),
        (Some("FR"), 32)
    );
}

#[test]
fn what_is_no_place_and_no_country_is_unknown() {
    for nonsense in [
        json!({ "country_code": "ZZ", "latitude": 0.0, "longitude": 0.0 }),
        json!({ "country": { "iso_code": "Germany" }, "location": { "latitude": 91.0, "longitude": 0.0 } }),
        json!({ "country_code": 49, "latitude": "north", "longitude": true, "asn": "AS0" }),
        json!({ "autonomous_system_number": 0, "location": {}, "continent": { "code": "XX" } }),
    ] {
        let (geo, _folder) = geo(&[("odd", database(IpVersion::V4, &[("192.0.2.0/24", nonsense.clone())]))]);
        let expected = Whereabouts { prefix: 24, ..Whereabouts::default() };
        assert_eq!(locate(&geo, "192.0.2.1"), expected, "{nonsense}");
    }
}

#[test]
fn without_databases_nothing_is_known() {
    assert_eq!(locate(&Geo::load(&[]), "192.0.2.1"), Whereabouts::default());
}

fn german() -> Vec<u8> {
    database(IpVersion::V4, &[("192.0.2.0/24", json!({ "country_code": "DE" }))])
}

fn french() -> Vec<u8> {
    database(IpVersion::V4, &[("192.0.2.0/24", json!({ "country_code": "FR" }))])
}

/// As programs that fetch databases do it: the new one takes the place of the old in one step.
fn replace(file: &Path, bytes: &[u8]) {
    let new = file.with_extension("new");
    std::fs::write(&new, bytes).unwrap();
    std::fs::rename(new, file).unwrap();
}

#[test]
fn an_absent_file_is_complained_of_and_taken_when_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("country.mmdb");
    let geo = Geo::load(std::slice::from_ref(&file));
    assert!(geo.describe()[0].contains("cannot be read"), "{:?}", geo.describe());
    assert_eq!(locate(&geo, "192.0.2.1"), Whereabouts::default());
    replace(&file, &german());
    geo.look();
    assert_eq!(country(&geo, "192.0.2.1").as_deref(), Some("DE"));
    assert!(geo.describe()[0].contains("\"Test-City\" of 2026-09-21"), "{:?}", geo.describe());
}

#[test]
fn a_database_that_is_replaced_is_read_again_and_a_bad_one_is_not_taken() {
    let (geo, folder) = geo(&[("country.mmdb", german())]);
    let file = folder.path().join("country.mmdb");
    replace(&file, &french());
    geo.look();
    assert_eq!(country(&geo, "192.0.2.1").as_deref(), Some("FR"));
    let half = german();
    for bad in [&b"<html>404</html>"[..], &half[..half.len() / 2], b""] {
        replace(&file, bad);
        geo.look();
        assert_eq!(country(&geo, "192.0.2.1").as_deref(), Some("FR"), "{} bytes", bad.len());
        assert!(geo.describe()[0].contains("in use is the one before"), "{:?}", geo.describe());
    }
    std::fs::remove_file(&file).unwrap();
    geo.look();
    assert_eq!(country(&geo, "192.0.2.1").as_deref(), Some("FR"));
    replace(&file, &german());
    geo.look();
    assert_eq!(country(&geo, "192.0.2.1").as_deref(), Some("DE"));
    assert!(!geo.describe()[0].contains("before"), "{:?}", geo.describe());
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let geo = Geo::load(&[pipe, folder.path().to_owned()]);
    assert!(geo.describe().iter().all(|line| line.ends_with("is no file")), "{:?}", geo.describe());
}

#[tokio::test(start_paused = true)]
async fn a_new_database_is_found_within_a_minute() {
    let (geo, folder) = geo(&[("country.mmdb", german())]);
    let watching = tokio::spawn(geo.clone().watch());
    replace(&folder.path().join("country.mmdb"), &french());
    tokio::time::timeout(LOOK * 2, async {
        while country(&geo, "192.0.2.1").as_deref() != Some("FR") {
            tokio::time::sleep(LOOK / 60).await;
        }
    })
    .await
    .unwrap();
    watching.abort();
}

/// Up to twelve networks of either family, each its own system.
fn networks() -> impl Strategy<Value = Vec<(bool, u128, u8)>> {
    prop::collection::vec((any::<bool>(), any::<u128>(), 1..=28_u8), 1..12)
}

fn made_of(networks: &[(bool, u128, u8)]) -> Vec<u8> {
    let named = networks.iter().enumerate().map(|(index, (v4, bits, length))| {
        // IPv4 addresses have the first 96 bits of an IPv6 database to themselves.
        let (bits, length) = if *v4 { (bits >> 96, length + 96) } else { (*bits | 1 << 127, *length) };
        let network = bits >> (128 - length) << (128 - length);
        (format!("{}/{length}", std::net::Ipv6Addr::from_bits(network)), json!({ "asn": 1 + index }))
    });
    let named: Vec<_> = named.collect();
    let borrowed: Vec<_> = named.iter().map(|(network, value)| (network.as_str(), value.clone())).collect();
    database(IpVersion::V6, &borrowed)
}

fn one(bytes: Vec<u8>) -> Option<Database> {
    Database::parse(bytes).ok()
}

fn address(v4: bool, bits: u128) -> IpAddr {
    if v4 {
        std::net::Ipv4Addr::from_bits((bits >> 96) as u32).into()
    } else {
        std::net::Ipv6Addr::from_bits(bits).into()
    }
}

proptest! {
    #[test]
    fn within_a_prefix_all_addresses_are_alike(
        networks in networks(), v4: bool, bits: u128, other: u128, inside in any::<prop::sample::Index>(), near: bool,
    ) {
        let database = one(made_of(&networks)).unwrap();
        // Half of all addresses are from one of the networks.
        let network = networks[inside.index(networks.len())];
        let (v4, bits) = if near { (network.0, network.1) } else { (v4, bits) };
        let here = database.locate(address(v4, bits));
        let prefix = u32::from(here.prefix);
        let most = if v4 { 32 } else { 128 };
        prop_assert!(prefix <= most);
        let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
        let neighbour = address(v4, (bits & mask) | (other & !mask));
        prop_assert_eq!(database.locate(neighbour), here, "{} of {}", neighbour, prefix);
    }

    #[test]
    fn a_damaged_database_never_ends_the_program(
        networks in networks(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in prop::option::of(any::<prop::sample::Index>()),
        questions in prop::collection::vec((any::<bool>(), any::<u128>()), 20),
    ) {
        let mut bytes = made_of(&networks);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.drain(..cut.index(bytes.len()));
        }
        if let Some(database) = one(bytes) {
            database.describe();
            for (v4, bits) in questions {
                database.locate(address(v4, bits));
            }
        }
    }
}

/// `GEOIP=/a/city.mmdb:/a/country.mmdb cargo test --release -- --ignored --nocapture a_look_up` prints what one costs.
#[test]
#[ignore = "needs databases, and measures"]
#[expect(clippy::print_stdout, reason = "it is there to print")]
fn a_look_up_and_its_memory_are_measured() {
    let paths = std::env::var("GEOIP").expect("GEOIP names databases");
    let paths: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    let memory = || {
        std::fs::read_to_string("/proc/self/statm")
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            * 4096
    };
    let before = memory();
    let geo = Geo::load(&paths);
    println!("{:#?}\n{} MiB resident", geo.describe(), (memory() - before) >> 20);
    let mut bits = 1_u32;
    let mut addresses = || {
        // Addresses of all of IPv4, in no order (xorshift).
        bits ^= bits << 13;
        bits ^= bits >> 17;
        bits ^= bits << 5;
        std::net::Ipv4Addr::from_bits(bits)
    };
    for round in ["cold", "again"] {
        let addresses: Vec<_> = (0..1_000_000).map(|_| addresses()).collect();
        let start = std::time::Instant::now();
        let found =
            addresses.iter().filter(|address| geo.locate((**address).into()).country.is_some()).count();
        let each = start.elapsed() / 1_000_000;
        println!("{round}: {each:?} each, {found} of 1000000 in a country");
        let (address, start) = (addresses[7].into(), std::time::Instant::now());
        (0..1_000_000).for_each(|_| {
            std::hint::black_box(geo.locate(std::hint::black_box(address)));
        });
        println!("the same address: {:?} each", start.elapsed() / 1_000_000);
    }
}
