//! Promise: on the wire this gateway is the name server that the RFCs describe, and agrees with the others that steer.
//!
//! One table of questions, put octet by octet to a gateway and to gdnsd, Knot DNS and PowerDNS with the same zone. What
//! the gateway has to say stands in each row; where a neighbour says something else, that is a column with its reason.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use harness::name_servers::{NameServer, Program, Row, Site, Steered, put};
use harness::packet::{EDNS_CLIENT_SUBNET, Query, kind, name, subnet};
use harness::{Gateway, in_own_network};

use Program::{Gdnsd, Knot, Pdns};

const ZONE: &str = "registry.open-registry.dev";
const V4: Ipv4Addr = Ipv4Addr::new(45, 83, 220, 11);
const V6: Ipv6Addr = Ipv6Addr::new(0x2a0d, 0x5600, 8, 0, 0, 0, 0, 0x11);
/// Why neighbours differ, where several rows have the same reason.
const BEYOND: &str = "it does not look beyond the question";
const NO_ANSWER: &str = "what cannot be read gets no answer";
const ECHOED: &str = "the question is repeated, though nobody knows whether that opcode has one";
const NO_RFC_8482: &str = "not after RFC 8482: the module adds one of the records";
const NOT_SENT: &str = "of the opcodes that it does not know it says nothing";
const AUTHORITATIVE: &str = "AA stays set on what is refused";
const FORGOTTEN: &str =
    "an OPT record that cannot be read is none; RFC 6891, section 7, wants one in the answer";
const ONE_A: &str = "NOERROR aa A 45.83.220.11";
const ONE_A_OPT: &str = "NOERROR aa A 45.83.220.11 opt";
const PASSED_OVER: &str = "a subnet that cannot be read is passed over";
const UNCHECKED: &str = "RFC 7871, sections 6 and 7.1.2, wants FORMERR";
const WIDE: &str = "a scope for all types alike, by its map, though here all clients have the same";
const AS_INTERNET: &str = "ANY stands for IN";

fn apex(kind: u16) -> Query {
    Query::of(ZONE, kind)
}

fn below(label: &str, kind: u16) -> Query {
    Query::of(&format!("{label}.{ZONE}"), kind)
}

fn a() -> String {
    format!("NOERROR aa A {V4}")
}

fn aaaa() -> String {
    format!("NOERROR aa AAAA {V6}")
}

/// Names and types.
fn names() -> Vec<Row> {
    let mixed = Query::empty().question(&name("rEgIsTrY.OPEN-registry.dEv"), kind::A, 1);
    let mixed_nowhere = Query::empty().question(&name("nOwHeRe.rEgIsTrY.OPEN-registry.dEv"), kind::A, 1);
    vec![
        Row::new("the apex, A", &apex(kind::A), a()),
        Row::new("the apex, A", &apex(kind::A), a()).tcp(),
        Row::new("the apex, AAAA", &apex(kind::AAAA), aaaa()),
        Row::new("the apex, SOA", &apex(kind::SOA), "NOERROR aa SOA"),
        Row::new("the apex, NS", &apex(kind::NS), "NOERROR aa NS"),
        Row::new("the apex, MX", &apex(kind::MX), "NOERROR aa +SOA"),
        Row::new("the apex, HTTPS", &apex(kind::HTTPS), "NOERROR aa +SOA"),
        Row::new("the apex, a type that nobody knows", &apex(65280), "NOERROR aa +SOA"),
        Row::new("direct, A", &below("direct", kind::A), a()),
        Row::new("direct, AAAA", &below("direct", kind::AAAA), aaaa()),
        Row::new("direct, MX", &below("direct", kind::MX), "NOERROR aa +SOA"),
        Row::new("direct, SOA", &below("direct", kind::SOA), "NOERROR aa +SOA"),
        Row::new("no such name", &below("nowhere", kind::A), "NXDOMAIN aa +SOA"),
        Row::new("no such name", &below("nowhere", kind::A), "NXDOMAIN aa +SOA").tcp(),
        Row::new("no such name, two labels down", &below("a.nowhere", kind::A), "NXDOMAIN aa +SOA"),
        Row::new("below a name that is there", &below("a.direct", kind::A), "NXDOMAIN aa +SOA"),
        Row::new("another zone", &Query::of("example.com", kind::A), "REFUSED"),
        Row::new("the zone above", &Query::of("open-registry.dev", kind::A), "REFUSED"),
        Row::new("a name that ends alike", &Query::of("xregistry.open-registry.dev", kind::A), "REFUSED"),
        Row::new("the root", &Query::of("", kind::NS), "REFUSED"),
        Row::new("capitals", &mixed, a()),
        Row::new("capitals, no such name", &mixed_nowhere, "NXDOMAIN aa +SOA"),
        Row::new("ANY", &apex(kind::ANY), "NOERROR aa HINFO").but(Knot, ONE_A, NO_RFC_8482).but(
            Pdns,
            "NOERROR aa tc",
            "over UDP it sends everybody who asks for ANY to TCP",
        ),
        Row::new("ANY", &apex(kind::ANY), "NOERROR aa HINFO").tcp().but(Knot, ONE_A, NO_RFC_8482).but(
            Pdns,
            "NOERROR aa A 45.83.220.11 AAAA 2a0d:5600:8::11 NS SOA",
            "all that there is, once by TCP",
        ),
        Row::new("ANY, no such name", &below("nowhere", kind::ANY), "NXDOMAIN aa +SOA").but(
            Pdns,
            "NOERROR aa tc",
            "over UDP it sends everybody who asks for ANY to TCP",
        ),
        Row::new("AXFR", &apex(kind::AXFR), "REFUSED")
            .but_both([Gdnsd, Knot], "NOTIMP", "RFC 5936 leaves open what is said to AXFR by UDP")
            .but(Pdns, "NOERROR aa +SOA", "a type that no name has, by UDP"),
        Row::new("AXFR", &apex(kind::AXFR), "REFUSED")
            .tcp()
            .but(Gdnsd, "NOTIMP", "it has no transfers")
            .but(Knot, "NOTAUTH", "what is forbidden is not its own, by RFC 5936")
            .but(Pdns, "NOERROR aa SOA", "from loopback it is allowed"),
        Row::new("IXFR", &apex(kind::IXFR), "REFUSED")
            .but(Gdnsd, "NOTIMP", "it has no transfers")
            .but(Knot, "NOTAUTH", "what is forbidden is not its own, by RFC 5936")
            .but(Pdns, "REFUSED aa", AUTHORITATIVE),
    ]
}

/// Headers, classes, opcodes.
fn headers() -> Vec<Row> {
    let class = |class| Query::empty().question(&name(ZONE), kind::A, class);
    let version = Query::empty().question(&name("version.bind"), kind::TXT, 3);
    vec![
        Row::new("recursion is wanted", &apex(kind::A).recursive(), a()),
        Row::new("CD and AD are set", &apex(kind::A).flags(0x0030), a()),
        Row::new("Z is set", &apex(kind::A).flags(0x0040), a()),
        Row::new("TC is set", &apex(kind::A).flags(0x0200), a()).but(
            Pdns,
            "silence",
            "a query that says it is cut",
        ),
        Row::new("AA and RA are set", &apex(kind::A).flags(0x0480), a()),
        Row::new("a status is set", &apex(kind::A).flags(0x0003), a()),
        Row::new("class CH", &class(3), "REFUSED")
            .but(Gdnsd, "NOERROR TXT", "it says its version to whoever asks for anything in CH")
            .but(Pdns, "NOTIMP aa", "CH is for version.bind alone"),
        Row::new("class HS", &class(4), "REFUSED").but(Pdns, "REFUSED aa", AUTHORITATIVE),
        Row::new("class NONE", &class(254), "REFUSED").but(Pdns, "REFUSED aa", AUTHORITATIVE),
        Row::new("class ANY", &class(255), "REFUSED").but_both([Gdnsd, Knot], ONE_A, AS_INTERNET).but(
            Pdns,
            "NOERROR A 45.83.220.11",
            AS_INTERNET,
        ),
        Row::new("a class that nobody knows", &class(4242), "REFUSED").but(Pdns, "REFUSED aa", AUTHORITATIVE),
        Row::new("version.bind", &version, "REFUSED")
            .but_both([Gdnsd, Knot], "NOERROR TXT", "it says its version")
            .but(Pdns, "NOERROR aa TXT", "it says its version"),
        Row::new("IQUERY", &apex(kind::A).opcode(1), "NOTIMP no question")
            .but_both([Gdnsd, Knot], "NOTIMP", ECHOED)
            .but(Pdns, "silence", NOT_SENT),
        Row::new("STATUS", &apex(kind::A).opcode(2), "NOTIMP no question")
            .but_both([Gdnsd, Knot], "NOTIMP", ECHOED)
            .but(Pdns, "silence", NOT_SENT),
        Row::new("NOTIFY", &apex(kind::SOA).opcode(4), "NOTIMP no question")
            .but(Gdnsd, "NOTIMP", ECHOED)
            .but(Knot, "NOTAUTH", "a primary knows NOTIFY, and takes none")
            .but(Pdns, "REFUSED aa", "it knows NOTIFY, and takes none"),
        Row::new("UPDATE", &apex(kind::SOA).opcode(5), "NOTIMP no question")
            .but(Gdnsd, "NOTIMP", ECHOED)
            .but(Knot, "NOTAUTH", "it knows UPDATE, and takes none")
            .but(Pdns, "REFUSED aa", "it knows UPDATE, and takes none"),
        Row::new("an opcode that nobody knows", &apex(kind::A).opcode(15), "NOTIMP no question")
            .but_both([Gdnsd, Knot], "NOTIMP", ECHOED)
            .but(Pdns, "silence", NOT_SENT),
        Row::new("an answer", &apex(kind::A).flags(0x8000), "silence"),
        Row::new("a refusal that came as an answer", &apex(kind::A).flags(0x8005), "silence"),
    ]
}

/// What is no query.
fn malformed() -> Vec<Row> {
    let two = apex(kind::A).question(&name(ZONE), kind::AAAA, 1);
    let raw = |octets: &[u8]| Query::empty().question(octets, kind::A, 1);
    let long = ["a".repeat(63).as_str(); 4].join(".");
    let record = [&name(ZONE)[..], &[0, 1, 0, 1, 0, 0, 0, 20, 0, 4, 192, 0, 2, 1]].concat();
    let one = || Query::empty().counts([1, 0, 0, 0]);
    let unreadable = |title: &str, query: &Query| {
        Row::new(title, query, "FORMERR no question").but_both([Knot, Pdns], "silence", NO_ANSWER)
    };
    let twice = |title: &str, query: &Query| {
        unreadable(title, query).but(
            Gdnsd,
            "FORMERR",
            "the first question is repeated, as if it were the only one",
        )
    };
    vec![
        Row::new("no question", &Query::empty(), "FORMERR no question").but(Pdns, "silence", NO_ANSWER),
        twice("two questions", &two),
        twice("one question, and two announced", &apex(kind::A).counts([2, 0, 0, 0])),
        unreadable("a question that is not there", &one()),
        unreadable("a name that ends nowhere", &one().trailing(&[8, b'r'])),
        unreadable("a pointer to itself", &raw(&[0xc0, 12])),
        unreadable("a pointer onwards", &raw(&[0xc0, 18])),
        unreadable("a label of a type that is not used", &raw(&[0x41, 0])),
        unreadable("a name of more than 255 octets", &raw(&name(&long))),
        unreadable("no class", &one().trailing(&[&name(ZONE)[..], &[0, 1]].concat())),
        Row::new("an answer in the question", &apex(kind::A).record(1, &record), "FORMERR")
            .but_all(ONE_A, BEYOND),
        Row::new("an additional record that is not there", &apex(kind::A).counts([1, 0, 0, 1]), "FORMERR")
            .but(Pdns, "silence", NO_ANSWER),
        Row::new("octets behind the end", &apex(kind::A).trailing(&[0; 3]), a()).but(
            Knot,
            "FORMERR",
            "it takes nothing that it cannot explain; no RFC says so",
        ),
    ]
}

/// EDNS (RFC 6891).
fn edns() -> Vec<Row> {
    let opt = |query: Query| query.edns(1232);
    let with_opt = |text: String| text + " opt";
    let two = apex(kind::A).question(&name(ZONE), kind::AAAA, 1);
    let version = |title: &str, query: Query| {
        Row::new(title, &query, "BADVERS opt").but(Pdns, "BADVERS aa opt", AUTHORITATIVE)
    };
    let mut rows = vec![
        Row::new("EDNS, no such name", &opt(below("nowhere", kind::A)), "NXDOMAIN aa +SOA opt"),
        Row::new("EDNS, no such type", &opt(apex(kind::MX)), "NOERROR aa +SOA opt"),
        Row::new("EDNS, another zone", &opt(Query::of("example.com", kind::A)), "REFUSED opt"),
        Row::new("EDNS, ANY", &opt(apex(kind::ANY)), "NOERROR aa HINFO opt")
            .but(Knot, ONE_A_OPT, NO_RFC_8482)
            .but(Pdns, "NOERROR aa tc opt", "over UDP it sends everybody who asks for ANY to TCP"),
        Row::new("EDNS, NOTIFY", &opt(apex(kind::SOA)).opcode(4), "NOTIMP no question opt")
            .but(Gdnsd, "NOTIMP opt", ECHOED)
            .but(Knot, "NOTAUTH opt", "a primary knows NOTIFY, and takes none")
            .but(Pdns, "REFUSED aa opt", "it knows NOTIFY, and takes none"),
        Row::new("EDNS, two questions", &opt(two), "FORMERR no question opt")
            .but(Gdnsd, "FORMERR opt", "it reads on behind the first question")
            .but_both([Knot, Pdns], "silence", NO_ANSWER),
        version("EDNS 1", opt(apex(kind::A)).version(1)),
        version("EDNS 255", opt(apex(kind::A)).version(255)),
        version("EDNS 1, no such name", opt(below("nowhere", kind::A)).version(1)),
        version("EDNS 1", opt(apex(kind::A)).version(1)).tcp(),
        Row::new("DO", &opt(apex(kind::A)).dnssec_ok(), with_opt(a())),
        Row::new("an option that nobody knows", &apex(kind::A).option(65001, b"what"), with_opt(a())),
        Row::new("padding", &apex(kind::A).option(12, &[0; 20]), with_opt(a())),
        Row::new("EDNS twice", &opt(apex(kind::A)).edns_twice(), "FORMERR opt")
            .but(Knot, "FORMERR", FORGOTTEN)
            .but(Pdns, ONE_A_OPT, "RFC 6891, section 6.1.1, wants FORMERR"),
        Row::new(
            "EDNS at another name than the root",
            &opt(apex(kind::A)).edns_owner(&name("dev")),
            "FORMERR opt",
        )
        .but(Gdnsd, ONE_A, "elsewhere it is not OPT")
        .but_both([Knot, Pdns], ONE_A_OPT, "RFC 6891, section 6.1.2, wants the root"),
        Row::new(
            "an option longer than its record",
            &apex(kind::A).raw_option(&[0, 12, 0, 9, 0]),
            "FORMERR opt",
        )
        .but(Knot, "FORMERR", FORGOTTEN)
        .but(Pdns, ONE_A_OPT, "options that cannot be read are passed over"),
        Row::new("half an option", &apex(kind::A).raw_option(&[0, 12, 0]), "FORMERR opt")
            .but(Knot, "FORMERR", FORGOTTEN)
            .but(Pdns, ONE_A_OPT, "options that cannot be read are passed over"),
    ];
    for payload in [0, 100, 512, 1232, 4096, 65535] {
        rows.push(Row::new(format!("EDNS, {payload} octets"), &apex(kind::A).edns(payload), with_opt(a())));
    }
    rows
}

/// Client subnets that RFC 7871 forbids in a query (sections 6 and 7.1.2).
fn malformed_subnets() -> Vec<Row> {
    let v4 = |octets: &[u8]| [&[0, 1], octets].concat();
    let v6 = |octets: &[u8]| [&[0, 2], octets].concat();
    let with = |value: &[u8]| apex(kind::A).option(EDNS_CLIENT_SUBNET, value);
    let row = |title: &str, value: Vec<u8>| Row::new(title, &with(&value), "FORMERR opt");
    // What is not read at all is passed over by PowerDNS.
    let unread = |title: &str, value: Vec<u8>| row(title, value).but(Pdns, ONE_A_OPT, PASSED_OVER);
    // What is read, though wrong: with what is left of it.
    let lenient = |title: &str, value: Vec<u8>, echo: &str| {
        let says = format!("{ONE_A_OPT} ecs {echo}");
        row(title, value).but_both([Knot, Pdns], &says, UNCHECKED)
    };
    let valid = v4(&[24, 0, 11, 1, 2]);
    let long_v6 = v6(&[56, 0, 0x2a, 0x0d, 0x56, 0, 0, 8, 0, 0]);
    vec![
        unread("ECS, empty", Vec::new()),
        unread("ECS, three octets", v4(&[24])),
        unread("ECS, family 0", vec![0, 0, 24, 0, 11, 1, 2]),
        unread("ECS, family 0 and nothing else", vec![0; 4]),
        unread("ECS, family 3", vec![0, 3, 24, 0, 11, 1, 2]),
        unread("ECS, family 257", vec![1, 1, 24, 0, 11, 1, 2]),
        unread("ECS, 33 bits of IPv4", v4(&[33, 0, 11, 1, 2, 3, 128])),
        unread("ECS, 255 bits of IPv4", v4(&[255, 0, 11, 1, 2, 3])),
        unread("ECS, 129 bits of IPv6", v6(&[&[129, 0, 0x2a][..], &[0; 16]].concat())),
        unread("ECS, an octet too few", v4(&[24, 0, 11, 1])),
        unread("ECS, no address", v4(&[24, 0])),
        unread("ECS, an octet too many", v4(&[24, 0, 11, 1, 2, 0])).but(
            Knot,
            format!("{ONE_A_OPT} ecs 1/24/0 0b010200"),
            UNCHECKED,
        ),
        unread("ECS, no bits, and an address", v4(&[0, 0, 0])).but(
            Knot,
            format!("{ONE_A_OPT} ecs 1/0/0 00"),
            UNCHECKED,
        ),
        unread("ECS, 56 bits of IPv6, an octet too few", v6(&[56, 0, 0x2a, 0x0d, 0x56, 0, 0, 8])),
        unread("ECS, 56 bits of IPv6, an octet too many", long_v6).but(
            Knot,
            format!("{ONE_A_OPT} ecs 2/56/0 2a0d560000080000"),
            UNCHECKED,
        ),
        lenient("ECS, bits beyond its prefix", v4(&[23, 0, 11, 1, 3]), "1/23/0 0b0102"),
        lenient(
            "ECS, bits beyond its prefix, IPv6",
            v6(&[47, 0, 0x2a, 0x0d, 0x56, 0, 0, 9]),
            "2/47/0 2a0d56000008",
        ),
        lenient("ECS, a scope", v4(&[24, 24, 11, 1, 2]), "1/24/0 0b0102"),
        lenient("ECS, no bits, and a scope", v4(&[0, 1]), "1/0/0"),
        lenient("ECS, bits beyond its prefix", v4(&[23, 0, 11, 1, 3]), "1/23/0 0b0102").tcp(),
        Row::new("ECS twice", &with(&valid).option(EDNS_CLIENT_SUBNET, &valid), "FORMERR opt").but_all(
            "NOERROR aa A 45.83.220.11 opt ecs 1/24/0 0b0102",
            "one of the two is used; no RFC says which",
        ),
        Row::new(
            "ECS, a scope, no such name",
            &below("nowhere", kind::A).option(EDNS_CLIENT_SUBNET, &v4(&[24, 24, 11, 1, 2])),
            "FORMERR opt",
        )
        .but_both([Knot, Pdns], "NXDOMAIN aa +SOA opt ecs 1/24/0 0b0102", UNCHECKED),
    ]
}

/// Client subnets that come back as they were, beside what is the same for everybody.
fn subnets() -> Vec<Row> {
    let mut rows = Vec::new();
    // Beside each: the scope that gdnsd gives, which says how much of the address space has the same answer by its map.
    for (network, shown, of_gdnsd) in [
        ("0.0.0.0/0", "1/0/0", 0),
        ("::/0", "2/0/0", 0),
        ("11.1.2.0/24", "1/24/0 0b0102", 0),
        ("11.1.2.3/32", "1/32/0 0b010203", 0),
        ("11.0.0.0/8", "1/8/0 0b", 0),
        ("11.1.16.0/20", "1/20/0 0b0110", 0),
        ("128.0.0.0/1", "1/1/0 80", 0),
        ("2a0d:5600:9::/48", "2/48/0 2a0d56000009", 5),
        ("2a0d:5600:9:100::/56", "2/56/0 2a0d5600000901", 5),
        ("2a0d:5600:9::1/128", "2/128/0 2a0d5600000900000000000000000001", 5),
        // Nobody's on the Internet: private, a carrier's, loopback, link-local, documentation.
        ("192.168.8.0/24", "1/24/0 c0a808", 0),
        ("10.1.0.0/16", "1/16/0 0a01", 0),
        ("100.64.1.0/24", "1/24/0 644001", 0),
        ("127.0.0.0/24", "1/24/0 7f0000", 0),
        ("169.254.1.0/24", "1/24/0 a9fe01", 0),
        ("192.0.2.0/24", "1/24/0 c00002", 0),
        ("fd00:8::/56", "2/56/0 fd000008000000", 1),
        ("fe80::/64", "2/64/0 fe80000000000000", 1),
        ("2001:db8:1::/48", "2/48/0 20010db80001", 21),
        // IPv4 inside of IPv6.
        ("::ffff:11.1.2.0/120", "2/120/0 00000000000000000000ffff0b0102", 96),
        ("2002:b01:200::/40", "2/40/0 20020b0102", 16),
        ("64:ff9b::b01:200/120", "2/120/0 0064ff9b00000000000000000b0102", 96),
    ] {
        let query = apex(kind::A).option(EDNS_CLIENT_SUBNET, &network_option(network));
        let says = format!("{ONE_A_OPT} ecs {shown}");
        let wide = says.replacen("/0 ", &format!("/{of_gdnsd} "), 1);
        let row = Row::new(format!("ECS, {network}"), &query, says);
        rows.push(if of_gdnsd == 0 { row } else { row.but(Gdnsd, wide, WIDE) });
    }
    let beside = [
        ("no such name", below("nowhere", kind::A), "NXDOMAIN aa +SOA"),
        ("no such type", apex(kind::MX), "NOERROR aa +SOA"),
        ("SOA", apex(kind::SOA), "NOERROR aa SOA"),
        ("NS", apex(kind::NS), "NOERROR aa NS"),
        ("direct", below("direct", kind::A), ONE_A),
        ("HTTPS", apex(kind::HTTPS), "NOERROR aa +SOA"),
        ("another zone", Query::of("example.com", kind::A), "REFUSED"),
    ];
    let echo = "opt ecs 1/24/0 0b0102";
    let with = |query: Query| query.option(EDNS_CLIENT_SUBNET, &network_option("11.1.2.0/24"));
    for (title, query, says) in beside {
        rows.push(Row::new(format!("ECS, {title}"), &with(query), format!("{says} {echo}")));
    }
    let any = Row::new("ECS, ANY", &with(apex(kind::ANY)), format!("NOERROR aa HINFO {echo}"))
        .but(Knot, format!("{ONE_A} {echo}"), NO_RFC_8482)
        .but(Pdns, format!("NOERROR aa tc {echo}"), "over UDP it sends everybody who asks for ANY to TCP");
    rows.push(any);
    rows
}

/// The option for a network as people write it.
fn network_option(network: &str) -> Vec<u8> {
    let (address, bits) = network.split_once('/').expect("a network");
    subnet(address.parse().expect("an address"), bits.parse().expect("a number of bits"))
}

/// A gateway and its neighbours, each at an address of its own of loopback.
struct Scene {
    gateway: Gateway,
    neighbours: Vec<NameServer>,
}

impl Scene {
    fn new() -> Self {
        let site =
            Site { name: "here".to_owned(), v4: V4, v6: V6, networks: Vec::new(), countries: Vec::new() };
        let zone = Steered { zone: ZONE.to_owned(), sites: vec![site], database: None, monitored: false };
        let neighbours = Program::STEERING.into_iter().zip(12..);
        let neighbours = neighbours
            .map(|(program, number)| program.start(&zone, SocketAddr::from(([127, 0, 0, number], 53))));
        let toml = format!("[zone]\naddresses = [\"{V4}\", \"{V6}\"]\n");
        let gateway =
            Gateway::builder().offline().config_toml(&toml).dns(SocketAddr::from(([127, 0, 0, 11], 53)));
        Self { neighbours: neighbours.collect(), gateway: gateway.start() }
    }

    fn put(&self, rows: &[Row]) {
        put(rows, ["dns", "dns-tcp"].map(|door| self.gateway.listener(door)), &self.neighbours);
    }
}

#[test]
fn names_types_and_what_is_not_there_are_answered_as_by_the_others() {
    in_own_network("names_types_and_what_is_not_there_are_answered_as_by_the_others", &[], || {
        Scene::new().put(&names());
    });
}

#[test]
fn headers_classes_and_opcodes_are_answered_as_by_the_others() {
    in_own_network("headers_classes_and_opcodes_are_answered_as_by_the_others", &[], || {
        Scene::new().put(&headers());
    });
}

#[test]
fn what_is_no_query_is_told_so() {
    in_own_network("what_is_no_query_is_told_so", &[], || Scene::new().put(&malformed()));
}

#[test]
fn edns_is_spoken_as_by_the_others() {
    in_own_network("edns_is_spoken_as_by_the_others", &[], || Scene::new().put(&edns()));
}

#[test]
fn every_malformed_client_subnet_is_a_format_error() {
    in_own_network("every_malformed_client_subnet_is_a_format_error", &[], || {
        Scene::new().put(&malformed_subnets());
    });
}

#[test]
fn a_client_subnet_comes_back_as_it_was() {
    in_own_network("a_client_subnet_comes_back_as_it_was", &[], || Scene::new().put(&subnets()));
}
