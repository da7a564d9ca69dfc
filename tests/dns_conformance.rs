//! Promise: on the wire this gateway is the name server that the RFCs describe, and agrees with the others that steer.
//!
//! One table of questions, put octet by octet to a gateway and to gdnsd, Knot DNS and PowerDNS with the same zone. What
//! the gateway has to say stands in each row; where a neighbour says something else, that is a column with its reason.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use harness::name_servers::{NameServer, Program, Row, Site, Steered, put};
use harness::packet::{Query, kind, name};
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
const KEPT: &str = "that there was an OPT record is remembered when it cannot be read";
const ONE_A: &str = "NOERROR aa A 45.83.220.11";
const ONE_A_OPT: &str = "NOERROR aa A 45.83.220.11 opt";
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
        Row::new("EDNS, two questions", &opt(two), "FORMERR no question")
            .but(Gdnsd, "FORMERR opt", "it reads on behind the first question")
            .but_both([Knot, Pdns], "silence", NO_ANSWER),
        version("EDNS 1", opt(apex(kind::A)).version(1)),
        version("EDNS 255", opt(apex(kind::A)).version(255)),
        version("EDNS 1, no such name", opt(below("nowhere", kind::A)).version(1)),
        version("EDNS 1", opt(apex(kind::A)).version(1)).tcp(),
        Row::new("DO", &opt(apex(kind::A)).dnssec_ok(), with_opt(a())),
        Row::new("an option that nobody knows", &apex(kind::A).option(65001, b"what"), with_opt(a())),
        Row::new("padding", &apex(kind::A).option(12, &[0; 20]), with_opt(a())),
        Row::new("EDNS twice", &opt(apex(kind::A)).edns_twice(), "FORMERR")
            .but(Gdnsd, "FORMERR opt", KEPT)
            .but(Pdns, ONE_A_OPT, "RFC 6891, section 6.1.1, wants FORMERR"),
        Row::new(
            "EDNS at another name than the root",
            &opt(apex(kind::A)).edns_owner(&name("dev")),
            "FORMERR",
        )
        .but(Gdnsd, ONE_A, "elsewhere it is not OPT")
        .but_both([Knot, Pdns], ONE_A_OPT, "RFC 6891, section 6.1.2, wants the root"),
        Row::new("an option longer than its record", &apex(kind::A).raw_option(&[0, 12, 0, 9, 0]), "FORMERR")
            .but(Gdnsd, "FORMERR opt", KEPT)
            .but(Pdns, ONE_A_OPT, "options that cannot be read are passed over"),
        Row::new("half an option", &apex(kind::A).raw_option(&[0, 12, 0]), "FORMERR")
            .but(Gdnsd, "FORMERR opt", KEPT)
            .but(Pdns, ONE_A_OPT, "options that cannot be read are passed over"),
    ];
    for payload in [0, 100, 512, 1232, 4096, 65535] {
        rows.push(Row::new(format!("EDNS, {payload} octets"), &apex(kind::A).edns(payload), with_opt(a())));
    }
    rows
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
        let zone = Steered { zone: ZONE.to_owned(), sites: vec![site], database: None };
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
