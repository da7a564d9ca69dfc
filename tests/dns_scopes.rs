//! Promise: clients of declared networks are led where the other name servers that steer would lead them, and what a
//! resolver may remember of an answer is true for everybody that it remembers it for.
//!
//! Three gateways with networks of their own, which really prove themselves to the one that is asked; gdnsd, Knot DNS and
//! PowerDNS with the same networks.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use harness::name_servers::{NameServer, Program, Site, Steered};
use harness::packet::{self, EDNS_CLIENT_SUBNET, Over, Query, Reply, kind, subnet};
use harness::{Gateway, Identity, in_own_network, until};

const ZONE: &str = "registry.open-registry.dev";
/// Scopes that are legal: IPv4, IPv6.
const LEGAL: [(u8, u8); 2] = [(8, 24), (16, 56)];
/// Networks within networks, and some beside each other; the first site has none.
const NETWORKS: [&[&str]; 3] = [
    &[],
    &["11.0.0.0/8", "12.1.0.0/16", "13.0.0.0/15", "2a00:1000::/20", "2a02:200::/32"],
    &["12.1.2.0/24", "12.1.4.0/22", "11.128.0.0/9", "2a02:200:1::/48", "2a00:1001::/32"],
];
/// Clients, and the number of the site whose networks they are in by the longest prefix.
const CLIENTS: [(&str, usize); 14] = [
    ("11.1.2.0/24", 1),
    ("11.127.255.0/24", 1),
    ("11.128.0.0/24", 2),
    ("11.255.255.0/24", 2),
    ("12.1.1.0/24", 1),
    ("12.1.2.0/24", 2),
    ("12.1.3.0/24", 1),
    ("12.1.7.0/24", 2),
    ("13.0.0.0/24", 1),
    ("13.1.255.0/24", 1),
    ("2a00:1000:5::/48", 1),
    ("2a00:1001:5::/48", 2),
    ("2a02:200:1:2200::/56", 2),
    ("2a02:200:2::/48", 1),
];

/// Networks whose addresses are nobody's on the Internet, each within a /8 whose others are.
const SPECIAL: [(Ipv4Addr, u8); 8] = [
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
];

fn sites() -> Vec<Site> {
    let site = |(number, networks): (u8, &&[&str])| Site {
        name: format!("site{number}"),
        v4: Ipv4Addr::new(45, 83, 220, 10 + number),
        v6: Ipv6Addr::new(0x2a0d, 0x5600, 8, 0, 0, 0, 0, 0x10 + u16::from(number)),
        networks: networks.iter().map(|network| (*network).to_owned()).collect(),
        countries: Vec::new(),
    };
    (0..).zip(&NETWORKS).map(site).collect()
}

/// The gateway that is asked is the first site's.
struct Scene {
    gateways: Vec<Gateway>,
    sites: Vec<Site>,
}

impl Scene {
    fn new() -> Self {
        let sites = sites();
        let identities: Vec<Identity> = sites.iter().map(|_| Identity::new()).collect();
        let entries: String =
            sites.iter().zip(&identities).map(|(site, identity)| entry(site, identity)).collect();
        let start = |number: usize| start(&sites[number], &identities[number], &entries);
        // The others come first, so that they prove themselves in the first round.
        let mut gateways: Vec<Gateway> = (1..sites.len()).map(start).collect();
        gateways.insert(0, start(0));
        let scene = Self { gateways, sites };
        for (client, site) in CLIENTS {
            until(|| scene.ask(client, record_of(client)), |reply| scene.leads_to(reply, site));
        }
        scene
    }

    fn door(&self) -> SocketAddr {
        self.gateways[0].listener("dns")
    }

    fn ask(&self, client: &str, record: u16) -> Reply {
        ask(self.door(), client, record)
    }

    fn leads_to(&self, reply: &Reply, site: usize) -> bool {
        let Site { v4, v6, .. } = &self.sites[site];
        reply
            .addresses()
            .first()
            .is_some_and(|first| *first == IpAddr::from(*v4) || *first == IpAddr::from(*v6))
    }
}

fn entry(site: &Site, identity: &Identity) -> String {
    let urls = [format!("http://{}", site.v4), format!("http://[{}]", site.v6)];
    identity.entry(&urls, &format!("networks = {:?}", site.networks))
}

/// Not offline, for it looks at its peers; there is no upstream. Whoever asks is believed about private networks.
fn start(site: &Site, identity: &Identity, entries: &str) -> Gateway {
    let trusted = format!("trusted_forwarders = [\"{}/32\", \"{}/128\"]", site.v4, site.v6);
    let toml = format!("[dns]\nrate_limit = 0\n{trusted}\n{entries}");
    let at = |port| [SocketAddr::new(site.v4.into(), port), SocketAddr::new(site.v6.into(), port)];
    let [v4, v6] = at(80);
    let [dns, _] = at(53);
    let builder = Gateway::builder().upstream("http://127.0.0.1:9").identity(identity).config_toml(&toml);
    builder.listen(v4).listen(v6).dns(dns).start()
}

fn record_of(client: &str) -> u16 {
    if client.contains(':') { kind::AAAA } else { kind::A }
}

fn ask(server: SocketAddr, client: &str, record: u16) -> Reply {
    let (address, bits) = client.split_once('/').expect("a network");
    asked(server, address.parse().expect("an address"), bits.parse().expect("a number of bits"), record)
}

fn asked(server: SocketAddr, address: IpAddr, bits: u8, record: u16) -> Reply {
    let query = Query::of(ZONE, record).option(EDNS_CLIENT_SUBNET, &subnet(address, bits));
    let answer = packet::ask(server, &query.bytes(), Over::Udp).expect("an answer");
    Reply::read(&answer).expect("a message")
}

/// The addresses of the sites, so that they can be listened at.
fn in_the_sites_network(test: &str, body: impl FnOnce()) {
    let sites = sites();
    let addresses = sites.iter().flat_map(|site| [IpAddr::from(site.v4), site.v6.into()]);
    let hosts: Vec<(&str, IpAddr)> = addresses.map(|address| ("site", address)).collect();
    in_own_network(test, &hosts, body);
}

#[test]
fn clients_of_declared_networks_are_led_where_others_would_lead_them() {
    in_the_sites_network("clients_of_declared_networks_are_led_where_others_would_lead_them", || {
        let scene = Scene::new();
        let zone = Steered { zone: ZONE.to_owned(), sites: sites(), database: None, monitored: false };
        let neighbours = Program::STEERING.into_iter().zip(12..);
        let neighbours: Vec<NameServer> = neighbours
            .map(|(program, number)| program.start(&zone, SocketAddr::from(([127, 0, 0, number], 53))))
            .collect();
        for (client, site) in CLIENTS {
            for record in [kind::A, kind::AAAA] {
                let reply = scene.ask(client, record);
                assert!(scene.leads_to(&reply, site), "{client}: {reply}");
                for neighbour in &neighbours {
                    let theirs = ask(neighbour.address(), client, record);
                    let name = neighbour.program().name();
                    assert_eq!(
                        theirs.addresses().first(),
                        reply.addresses().first(),
                        "{client}: {name}: {theirs}"
                    );
                }
            }
        }
    });
}

/// What was answered for a network of this many bits.
type Remembered = BTreeMap<(u8, u128), Vec<IpAddr>>;

/// Puts an answer beside those that a resolver remembers, as it would: by the bits that the scope names.
fn remember(remembered: &mut Remembered, family: usize, address: IpAddr, reply: &Reply) {
    let scope = reply.scope().expect("the subnet comes back");
    let (least, most) = LEGAL[family];
    assert!((least..=most).contains(&scope), "{address}: a scope of {scope}");
    let network = network_of(address, scope);
    let before = remembered.entry((scope, network)).or_insert_with(|| reply.addresses());
    assert_eq!(
        *before,
        reply.addresses(),
        "{address}: not what the others of its scope of {scope} bits were told"
    );
}

/// An address' first bits, at the top of 128.
fn network_of(address: IpAddr, bits: u8) -> u128 {
    let all = match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    };
    all & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

/// Scopes that lie within each other would have the resolver's answer depend on who asked first.
fn assert_disjoint(remembered: &Remembered) {
    let by_start: BTreeMap<u128, u8> = remembered.keys().map(|(bits, network)| (*network, *bits)).collect();
    for (bits, network) in remembered.keys() {
        let length = 1_u128 << (128 - u32::from(*bits));
        let mut within = by_start.range(*network..=*network + (length - 1));
        assert_eq!(within.next(), Some((network, bits)), "two scopes begin at {network:032x}");
        assert_eq!(within.next(), None, "a scope within that of {bits} bits at {network:032x}");
    }
}

/// Numbers that are the same each time.
fn numbers() -> impl Iterator<Item = u64> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state)
    })
}

#[test]
fn the_scopes_of_ipv4_are_legal_and_disjoint_and_true() {
    in_the_sites_network("the_scopes_of_ipv4_are_legal_and_disjoint_and_true", || {
        let (scene, mut remembered) = (Scene::new(), Remembered::new());
        // From scope to scope through what the networks lie in, and on; then here and there.
        for (first, last) in [([11, 0, 0, 0], [14, 255, 255, 255]), ([45, 80, 0, 0], [45, 90, 255, 255])] {
            let (mut next, last) =
                (u64::from(u32::from_be_bytes(first)), u64::from(u32::from_be_bytes(last)));
            while next <= last {
                let address = Ipv4Addr::from_bits(u32::try_from(next).expect("32 bits"));
                let reply = asked(scene.door(), address.into(), 24, kind::A);
                remember(&mut remembered, 0, address.into(), &reply);
                next += 1 << (32 - reply.scope().expect("checked above"));
            }
        }
        for number in numbers().take(3000) {
            let [.., c, b, a] = number.to_le_bytes();
            let address = Ipv4Addr::new(11 + a % 4, b, c, 0);
            remember(&mut remembered, 0, address.into(), &asked(scene.door(), address.into(), 24, kind::A));
        }
        // In private space, which this resolver is believed about, and around it.
        for (number, (address, bits)) in numbers().zip(SPECIAL.into_iter().cycle()).take(4000) {
            let within = u32::try_from(number >> 40).expect("24 bits") << 8;
            let around = u32::MAX >> if number % 2 == 0 { bits } else { 8 };
            let address = Ipv4Addr::from_bits(address.to_bits() & !around | within & around);
            remember(&mut remembered, 0, address.into(), &asked(scene.door(), address.into(), 24, kind::A));
        }
        assert!(remembered.len() > 10, "{} scopes", remembered.len());
        assert_disjoint(&remembered);
    });
}

#[test]
fn the_scopes_of_ipv6_are_legal_and_disjoint_and_true() {
    in_the_sites_network("the_scopes_of_ipv6_are_legal_and_disjoint_and_true", || {
        let (scene, mut remembered) = (Scene::new(), Remembered::new());
        let around = [0x2a00_1000_u64, 0x2a00_1001, 0x2a02_0200, 0x2a02_0201, 0x2a03_0000];
        for number in numbers().take(4000) {
            let base = around[usize::try_from(number % 5).expect("small")];
            let below = if number % 3 == 0 { 0x0001_0000 } else { 0 } | (number >> 40 & 0xff) << 8;
            let address = Ipv6Addr::from_bits(u128::from(base << 32 | below) << 64);
            remember(
                &mut remembered,
                1,
                address.into(),
                &asked(scene.door(), address.into(), 56, kind::AAAA),
            );
        }
        assert!(remembered.len() > 3, "{} scopes", remembered.len());
        assert_disjoint(&remembered);
    });
}
