//! Promises about what is said to a packet, whatever the packet is.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use proptest::collection;
use proptest::prelude::*;
use proptest::sample::Index;
use resolver::answer::Facts;
use resolver::head::{Signed, dns, publish};
use resolver::links::{Arrival, By, Link, Links};
use resolver::peer::PeerId;

use super::Announced;
use super::edns::MAX_PAYLOAD;
use super::message::{Packet, Reply, Transport};
use super::responder::{Desk, Reaction, Responder};
use crate::metrics::Metrics;

const ZONE: &str = "registry.example.com";

fn responder(forwards: bool) -> Responder {
    responder_for(ZONE, forwards)
}

fn responder_for(zone: &str, forwards: bool) -> Responder {
    let networks = vec!["192.168.7.9/24".parse().unwrap(), "fd00:7::9/64".parse().unwrap()];
    let links = Links(vec![Link { index: 2, networks }]);
    let facts = Facts { links, forwards, ..Facts::default() };
    Responder::new(
        zone.parse().unwrap(),
        b"gw-7".to_vec(),
        facts,
        Arc::new(|_| Default::default()),
        200,
        Arc::new(Metrics::new()),
    )
}

fn arrival() -> Arrival {
    let (client, local) = ("192.168.7.20".parse().unwrap(), "192.168.7.9".parse().unwrap());
    Arrival { client, local, by: By::Number(2) }
}

fn query(name: &str, record: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), record));
    message
}

fn with_edns(mut message: Message, change: impl FnOnce(&mut Edns)) -> Message {
    let mut edns = Edns::new();
    change(&mut edns);
    message.set_edns(edns);
    message
}

/// The answer over UDP; `None`: silence.
fn say(bytes: &[u8]) -> Option<Message> {
    let mut desk = Desk::default();
    match responder(false).react(bytes, &arrival(), Transport::Udp, &mut desk) {
        Reaction::Answer => Some(Message::from_vec(&desk.answer).unwrap()),
        Reaction::Silence => None,
        Reaction::LookUp(_) => panic!("nothing is forwarded"),
    }
}

fn ask(message: &Message) -> Message {
    say(&message.to_vec().unwrap()).unwrap()
}

fn code(message: &Message) -> ResponseCode {
    ask(message).metadata.response_code
}

#[test]
fn an_answer_repeats_the_question_in_the_clients_own_spelling() {
    let asked = query("ReGiStRy.example.COM.", RecordType::A);
    let answer = ask(&asked);
    assert_eq!(answer.metadata.id, asked.metadata.id);
    assert!(answer.metadata.authoritative && answer.metadata.recursion_desired);
    assert_eq!(answer.queries[0].name().to_ascii(), "ReGiStRy.example.COM.");
    assert_eq!(answer.answers[0].name.to_ascii(), "ReGiStRy.example.COM.");
    assert!(answer.edns.is_none(), "nobody asked for EDNS");
}

#[test]
fn what_is_not_there_names_the_authority_and_for_how_long() {
    for (name, expected) in [
        ("registry.example.com.", ResponseCode::NoError),
        ("no.registry.example.com.", ResponseCode::NXDomain),
    ] {
        let answer = ask(&query(name, RecordType::HTTPS));
        assert_eq!(answer.metadata.response_code, expected);
        assert!(answer.answers.is_empty() && answer.metadata.authoritative);
        let RData::SOA(soa) = &answer.authorities[0].data else { panic!("no SOA") };
        assert_eq!((soa.minimum, answer.authorities[0].ttl), (30, 30));
    }
}

#[test]
fn what_is_not_ours_is_refused() {
    for (name, record) in [
        ("example.com.", RecordType::A),
        (".", RecordType::NS),
        ("registry.example.com.", RecordType::AXFR),
        ("registry.example.com.", RecordType::IXFR),
        ("registry.example.com.", RecordType::Unknown(249)),
    ] {
        let answer = ask(&query(name, record));
        assert_eq!(answer.metadata.response_code, ResponseCode::Refused, "{name} {record}");
        assert!(!answer.metadata.authoritative && !answer.metadata.recursion_available);
        assert!(answer.authorities.is_empty());
    }
    // As secondary servers send it: with the SOA that they have.
    let mut incremental = query("registry.example.com.", RecordType::IXFR);
    let held = ask(&query("registry.example.com.", RecordType::SOA)).answers.remove(0);
    incremental.add_authority(held);
    assert_eq!(code(&incremental), ResponseCode::Refused);
    let mut chaos = query("version.bind.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(code(&chaos), ResponseCode::Refused);
    let mut ours_in_another_class = query("registry.example.com.", RecordType::A);
    ours_in_another_class.queries[0].set_query_class(DNSClass::ANY);
    assert_eq!(code(&ours_in_another_class), ResponseCode::Refused);
}

#[test]
fn any_is_answered_with_one_small_record() {
    let answer = ask(&query("registry.example.com.", RecordType::ANY));
    let RData::HINFO(hinfo) = &answer.answers[0].data else { panic!("no HINFO") };
    assert_eq!((&*hinfo.cpu, &*hinfo.os), (&b"RFC8482"[..], &b""[..]));
}

#[test]
fn another_operation_is_not_implemented() {
    for operation in [OpCode::Status, OpCode::Notify, OpCode::Update, OpCode::Unknown(7)] {
        let mut message = query("registry.example.com.", RecordType::SOA);
        message.metadata.op_code = operation;
        let answer = ask(&message);
        assert_eq!(answer.metadata.response_code, ResponseCode::NotImp);
        assert_eq!(answer.metadata.op_code, operation);
        assert!(ask(&with_edns(message, |_| {})).edns.is_some());
    }
}

#[test]
fn another_version_of_edns_is_told_ours() {
    let message = query("registry.example.com.", RecordType::A);
    let answer = ask(&with_edns(message, |edns| {
        edns.set_version(1);
    }));
    let edns = answer.edns.as_ref().unwrap();
    assert_eq!((edns.version(), edns.rcode_high()), (0, 1));
    assert_eq!(u16::from(answer.metadata.response_code), u16::from(ResponseCode::BADVERS));
    assert!(answer.answers.is_empty());
}

#[test]
fn edns_is_answered_with_what_passes_everywhere() {
    let message = query("registry.example.com.", RecordType::A);
    let answer = ask(&with_edns(message, |edns| {
        edns.set_max_payload(4096).set_dnssec_ok(true);
    }));
    let edns = answer.edns.unwrap();
    assert_eq!((edns.version(), edns.max_payload(), edns.flags().dnssec_ok), (0, 1232, true));
}

/// A query for the zone's address whose OPT record holds these options.
fn with_options(options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut data = Vec::new();
    for (code, content) in options {
        data.extend(code.to_be_bytes());
        data.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        data.extend_from_slice(content);
    }
    with_opt_data(&data)
}

fn with_opt_data(data: &[u8]) -> Vec<u8> {
    let mut bytes = query("registry.example.com.", RecordType::A).to_vec().unwrap();
    bytes[11] += 1;
    bytes.extend([0, 0, 41, 16, 0, 0, 0, 0, 0]);
    bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(data);
    bytes
}

/// The options of an answer's OPT record, by their codes.
fn options(answer: &Message) -> Vec<(u16, Vec<u8>)> {
    let edns = answer.edns.as_ref().expect("EDNS is answered with EDNS");
    let options = edns.options().as_ref().iter();
    options.map(|(code, option)| (u16::from(*code), Vec::<u8>::try_from(option).unwrap())).collect()
}

const SUBNET: u16 = 8;

#[test]
fn a_client_subnet_that_breaks_its_rfc_is_a_format_error() {
    for wrong in [
        &[][..],
        &[0, 1, 24],
        &[0, 3, 24, 0, 130, 59, 31],
        &[0, 1, 33, 0, 130, 59, 31, 1, 0],
        &[0, 1, 24, 24, 130, 59, 31],
        &[0, 1, 24, 0, 130, 59],
        &[0, 1, 24, 0, 130, 59, 31, 1],
        &[0, 1, 22, 0, 130, 59, 31],
    ] {
        let answer = say(&with_options(&[(SUBNET, wrong)])).unwrap();
        assert_eq!(answer.metadata.response_code, ResponseCode::FormErr, "{wrong:?}");
        assert_eq!(answer.queries[0].name().to_ascii(), "registry.example.com.");
        assert_eq!(options(&answer), [], "EDNS, and nothing of what was wrong");
    }
    let good: &[u8] = &[0, 1, 24, 0, 130, 59, 31];
    for bytes in [
        with_options(&[(SUBNET, good), (SUBNET, good)]),
        with_opt_data(&[0, 8, 0]),
        with_opt_data(&[0, 8, 0, 7, 0, 1]),
        with_opt_data(&[0, 10, 0, 9, 0, 1]),
    ] {
        let answer = say(&bytes).unwrap();
        assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
        assert!(answer.edns.is_some() && answer.queries.len() == 1);
    }
}

#[test]
fn a_client_subnet_comes_back_as_it_was_and_holds_for_all_where_nothing_depends_on_it() {
    for subnet in
        [&[0, 1, 24, 0, 130, 59, 31][..], &[0, 1, 0, 0], &[0, 2, 0, 0], &[0, 2, 56, 0, 42, 0, 0, 1, 0, 2, 52]]
    {
        let answer = say(&with_options(&[(SUBNET, subnet)])).unwrap();
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert_eq!(options(&answer), [(SUBNET, subnet.to_vec())], "scope 0");
    }
    assert_eq!(options(&ask(&with_edns(query("registry.example.com.", RecordType::A), |_| {}))), []);
}

#[test]
fn who_asks_which_server_answers_is_told() {
    let answer = say(&with_options(&[(3, b"")])).unwrap();
    assert_eq!(options(&answer), [(3, b"gw-7".to_vec())]);
}

#[test]
fn how_long_a_connection_is_kept_is_told_on_connections_alone() {
    let asked = with_options(&[(11, b"")]);
    assert_eq!(options(&say(&asked).unwrap()), []);
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut desk = Desk::default();
        let reaction = responder(false).react(&asked, &arrival(), transport, &mut desk);
        assert!(matches!(reaction, Reaction::Answer));
        let answer = Message::from_vec(&desk.answer).unwrap();
        assert_eq!(options(&answer), [(11, 300_u16.to_be_bytes().to_vec())]);
    }
}

#[test]
fn a_second_opt_record_or_one_that_is_not_the_roots_is_a_format_error() {
    let mut twice = with_opt_data(&[]);
    twice[11] += 1;
    twice.extend([0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0]);
    let mut named = query("registry.example.com.", RecordType::A).to_vec().unwrap();
    named[11] += 1;
    named.extend([1, b'a', 0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0]);
    for bytes in [twice, named] {
        let answer = say(&bytes).unwrap();
        assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
        assert!(answer.edns.is_some() && answer.queries.len() == 1);
    }
}

#[test]
fn every_name_in_an_answer_is_spelled_as_the_client_did() {
    let spelled = |asked: &str, record| {
        let answer = ask(&query(asked, record));
        let records = answer.answers.iter().chain(&answer.authorities);
        let owners: Vec<_> = records.map(|record| record.name.to_ascii()).collect();
        (answer.queries[0].name().to_ascii(), owners)
    };
    for (asked, record) in
        [("reGistry.EXAMPLE.com.", RecordType::MX), ("NO.reGistry.EXAMPLE.com.", RecordType::A)]
    {
        assert_eq!(spelled(asked, record), (asked.to_owned(), vec!["reGistry.EXAMPLE.com.".to_owned()]));
    }
}

#[test]
fn a_packet_that_asks_nothing_or_twice_is_a_format_error() {
    let mut nothing = query("registry.example.com.", RecordType::A);
    nothing.queries.clear();
    let mut twice = query("registry.example.com.", RecordType::A);
    twice.add_query(twice.queries[0].clone());
    let mut answering = query("registry.example.com.", RecordType::A);
    answering.add_answer(Record::from_rdata(Name::root(), 1, RData::A(A::new(10, 0, 0, 1))));
    for message in [&nothing, &twice, &answering] {
        assert_eq!(code(message), ResponseCode::FormErr);
        assert!(ask(message).edns.is_none());
    }
    let spoken = ask(&with_edns(nothing, |_| {}));
    assert_eq!(spoken.metadata.response_code, ResponseCode::FormErr);
    assert!(spoken.edns.is_some(), "EDNS is answered with EDNS");
    let mut cut = query("registry.example.com.", RecordType::A).to_vec().unwrap();
    cut.truncate(cut.len() - 1);
    assert_eq!(say(&cut).unwrap().metadata.response_code, ResponseCode::FormErr);
}

#[test]
fn what_could_go_round_in_circles_is_not_answered() {
    let mut answer = query("registry.example.com.", RecordType::A);
    answer.metadata.message_type = MessageType::Response;
    assert!(say(&answer.to_vec().unwrap()).is_none());
    assert!(say(&[]).is_none() && say(&[0; 11]).is_none());
}

#[test]
fn an_answer_that_is_too_long_for_a_datagram_says_nothing_but_that() {
    let many = || Reply {
        answers: (0..200)
            .map(|last| {
                Record::from_rdata(Name::from_ascii(ZONE).unwrap(), 20, RData::A(A::new(10, 0, 0, last)))
            })
            .collect(),
        ..Reply::default()
    };
    let request = |edns: Option<u16>, transport| {
        let message = query("registry.example.com.", RecordType::A);
        let message = match edns {
            Some(payload) => with_edns(message, |edns| {
                edns.set_max_payload(payload);
            }),
            None => message,
        };
        match Packet::read(&message.to_vec().unwrap(), transport) {
            Packet::Request(request) => request,
            other => panic!("{other:?}"),
        }
    };
    for edns in [None, Some(512), Some(65535)] {
        let answer = Message::from_vec(&request(edns, Transport::Udp).answer(many(), b"").unwrap()).unwrap();
        assert!(answer.metadata.truncation);
        assert_eq!((answer.queries.len(), answer.answers.len()), (1, 0));
        assert_eq!(answer.edns.is_some(), edns.is_some(), "EDNS survives");
    }
    for transport in [Transport::Tcp, Transport::Tls] {
        let answer = Message::from_vec(&request(None, transport).answer(many(), b"").unwrap()).unwrap();
        assert_eq!((answer.metadata.truncation, answer.answers.len()), (false, 200));
    }
}

#[test]
fn only_who_wants_recursion_is_looked_up_for() {
    let look_up = |message: &Message| {
        let reaction = responder(true).react(
            &message.to_vec().unwrap(),
            &arrival(),
            Transport::Udp,
            &mut Desk::default(),
        );
        matches!(reaction, Reaction::LookUp(_))
    };
    let mut message = query("example.net.", RecordType::A);
    assert!(look_up(&message));
    message.metadata.recursion_desired = false;
    assert!(!look_up(&message));
    assert!(!look_up(&query("registry.example.com.", RecordType::A)));
}

const ROOT: &str = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";

/// A head as it is published; nobody looks at its signature here.
fn announced() -> Announced {
    let (id, now) = (PeerId::of_key([7; 32]), Duration::from_secs(1_800_000_000));
    let head = publish::next(id, ROOT.parse().unwrap(), None, now);
    let record = head.record(&[0x5a; 64]);
    let checked = Signed::read(&record, id).unwrap().check(|_, _, _| true).unwrap();
    Announced { texts: dns::texts(&checked).into(), link: dns::link(&head.root) }
}

fn strings(answer: &Message) -> Vec<Vec<&[u8]>> {
    let data = answer.answers.iter().map(|record| match &record.data {
        RData::TXT(text) => text.txt_data.iter().map(|string| &string[..]).collect(),
        other => panic!("{other:?}"),
    });
    data.collect()
}

fn say_of(responder: &Responder, message: &Message, client: &str, transport: Transport) -> Option<Message> {
    let (arrival, mut desk) = (Arrival { client: client.parse().unwrap(), ..arrival() }, Desk::default());
    match responder.react(&message.to_vec().unwrap(), &arrival, transport, &mut desk) {
        Reaction::Answer => Some(Message::from_vec(&desk.answer).unwrap()),
        _ => None,
    }
}

fn for_1232(name: &str, record: RecordType) -> Message {
    with_edns(query(name, record), |edns| {
        edns.set_max_payload(1232);
    })
}

#[test]
#[expect(clippy::print_stdout, reason = "the figure is worth more than the limit")]
fn the_zones_texts_are_the_head_and_fit_into_one_datagram() {
    let responder = responder(false);
    let apex = for_1232("registry.example.com.", RecordType::TXT);
    let below = for_1232("_dnslink.registry.example.com.", RecordType::TXT);
    let none = say_of(&responder, &apex, "192.168.7.20", Transport::Udp).unwrap();
    assert!(none.answers.is_empty() && !none.authorities.is_empty(), "nothing is published yet");
    responder.learn_head(Some(Arc::new(announced())));

    let said = say_of(&responder, &apex, "192.168.7.20", Transport::Udp).unwrap();
    assert!(!said.metadata.truncation);
    assert!(said.answers.iter().all(|record| record.ttl == 20), "{said:?}");
    let told = dns::read(strings(&said)).unwrap();
    assert_eq!(told.root, Some(ROOT.parse().unwrap()));
    assert_eq!(told.records.len(), 1);
    let length = said.to_vec().unwrap().len();
    println!("the head by DNS: {length} octets, its record {}", told.records[0].len());
    assert!(length <= 600, "{length}");

    let linked = say_of(&responder, &below, "192.168.7.20", Transport::Udp).unwrap();
    let linked = strings(&linked);
    assert_eq!(dns::read_link(linked[0].iter().copied()), Some(ROOT.parse().unwrap()));
    let bare = query("registry.example.com.", RecordType::TXT);
    let by_connection = say_of(&responder, &bare, "192.168.7.20", Transport::Tcp).unwrap();
    assert_eq!(by_connection.answers.len(), 2);
}

#[test]
fn whoever_asked_is_told_at_the_name_that_is_this_gateway_alone() {
    let said = ask(&query("direct.registry.example.com.", RecordType::TXT));
    assert_eq!(strings(&said), [[b"client=192.168.7.20"]]);
    assert_eq!(said.answers[0].ttl, 0);
}

/// Questions under a victim's address would bring it the head, again and again.
#[test]
fn a_public_network_gets_the_head_less_often_than_other_answers() {
    let responder = responder(false);
    responder.learn_head(Some(Arc::new(announced())));
    let answered = |record, client: &str| {
        let question = for_1232("registry.example.com.", record);
        let said = (0..300).filter_map(|_| say_of(&responder, &question, client, Transport::Udp));
        said.filter(|answer| !answer.metadata.truncation).count()
    };
    // What comes in while this takes its time is more.
    let (heads, others) =
        (answered(RecordType::TXT, "203.0.113.5"), answered(RecordType::SOA, "198.51.100.5"));
    assert!((50..=150).contains(&heads) && others >= 200, "{heads} {others}");
    let private = answered(RecordType::TXT, "192.168.7.20");
    assert_eq!(private, 300, "a private network holds no victims of strangers");
}

/// How many bytes of answer a byte of question buys at most, over all that can be asked with a small packet. It is
/// what somebody gains who sends questions under another's address. The shorter the zone's name, the more.
#[test]
#[expect(clippy::print_stdout, reason = "the figure is worth more than the limit")]
fn an_answer_is_little_longer_than_its_question() {
    for (zone, most) in [("registry.open-registry.dev", 2.5), ("lan", 4.0)] {
        let (factor, what) = worst_amplification(zone);
        println!("amplification factor at most {factor:.2} ({what})");
        assert!(factor < most, "{factor}: {what}");
    }
}

fn worst_amplification(zone: &str) -> (f64, String) {
    let responder = responder_for(zone, false);
    let longest = "2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap();
    let arrival = Arrival { client: longest, local: longest, by: By::Number(2) };
    let types = (0..=300).map(RecordType::from).chain([RecordType::CAA, RecordType::DS]);
    let mut worst = (0.0, String::new());
    for (prefix, record) in
        ["", "direct.", "no."].iter().flat_map(|name| types.clone().map(move |r| (name, r)))
    {
        let plain = query(&format!("{prefix}{zone}."), record);
        let edns = with_edns(plain.clone(), |edns| {
            edns.set_max_payload(4096);
        });
        for bytes in [plain, edns].map(|message| message.to_vec().unwrap()) {
            let mut answer = Vec::new();
            let Reaction::Answer = responder.answer_any(&bytes, &arrival, Transport::Udp, &mut answer) else {
                continue;
            };
            let factor = answer.len() as f64 / bytes.len() as f64;
            if factor > worst.0 {
                worst =
                    (factor, format!("{prefix}{zone} {record}: {} for {} bytes", answer.len(), bytes.len()));
            }
        }
    }
    worst
}

/// A query of some kind, as bytes.
fn a_query() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        Just("registry.example.com.".to_owned()),
        Just("direct.registry.example.com.".to_owned()),
        "([a-z]{1,10}\\.){0,4}registry\\.example\\.com\\.",
        "([a-zA-Z0-9]{1,20}\\.){1,6}",
    ];
    (name, any::<u16>(), any::<u16>(), prop::option::of((any::<u16>(), any::<u8>(), any::<bool>()))).prop_map(
        |(name, record, id, edns)| {
            let mut message = query(&name, record.into());
            message.metadata.id = id;
            if let Some((payload, version, dnssec)) = edns {
                message = with_edns(message, |edns| {
                    edns.set_max_payload(payload).set_version(version).set_dnssec_ok(dnssec);
                });
            }
            message.to_vec().unwrap()
        },
    )
}

/// A query after an accident: bytes changed, put in, cut off.
fn a_damaged_query() -> impl Strategy<Value = Vec<u8>> {
    let changes = collection::vec((any::<Index>(), any::<u8>()), 0..12);
    let tail = collection::vec(any::<u8>(), 0..64);
    (a_query(), changes, tail, any::<Index>(), any::<bool>()).prop_map(
        |(mut bytes, changes, tail, cut, cuts)| {
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if cuts {
                bytes.truncate(cut.index(bytes.len()));
            }
            bytes.extend(tail);
            bytes
        },
    )
}

fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![2 => a_query(), 4 => a_damaged_query(), 1 => collection::vec(any::<u8>(), 0..600)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn no_packet_is_answered_with_anything_but_a_fitting_answer(packet in any_packet(), forwards in any::<bool>()) {
        // Without the net that would catch a panic.
        let mut desk = Desk::default();
        match fuzzed(forwards).decide(&packet, &arrival(), Transport::Udp, &mut desk) {
            Reaction::Answer => {
                prop_assert!(desk.answer.len() <= usize::from(MAX_PAYLOAD));
                let message = Message::from_vec(&desk.answer).unwrap();
                prop_assert_eq!(message.metadata.id.to_be_bytes(), [packet[0], packet[1]]);
                prop_assert_eq!(message.metadata.message_type, MessageType::Response);
                prop_assert!(packet[2] & 0x80 == 0, "an answer was answered");
                prop_assert!(message.queries.len() <= 1);
            }
            Reaction::LookUp(request) => {
                prop_assert!(forwards);
                prop_assert!(request.onward().to_vec().is_ok());
                let said = request.answer(Reply::default(), b"").unwrap();
                prop_assert!(Message::from_vec(&said).is_ok());
            }
            Reaction::Silence => prop_assert!(packet.len() < 12 || packet[2] & 0x80 != 0),
        }
    }
}

/// A query for an address of ours, spelled anyhow, with any flags and options; what most clients send is among them.
fn a_usual_query() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![Just("registry.example.com."), Just("direct.registry.example.com.")];
    let spelling = collection::vec(any::<bool>(), 32);
    let record = prop_oneof![3 => Just(1_u16), 3 => Just(28), 1 => any::<u16>()];
    let flags =
        prop_oneof![2 => Just([1, 0]), 1 => (0_u8..8, any::<u8>()).prop_map(|(high, low)| [high, low])];
    (name, spelling, record, any::<[u8; 2]>(), flags, prop::option::of(an_opt_record())).prop_map(
        |(name, spelling, record, id, flags, opt)| {
            let spelled: String = name
                .chars()
                .zip(spelling.iter().cycle())
                .map(|(letter, capital)| if *capital { letter.to_ascii_uppercase() } else { letter })
                .collect();
            let mut bytes = query(&spelled, record.into()).to_vec().unwrap();
            bytes[..2].copy_from_slice(&id);
            bytes[2..4].copy_from_slice(&flags);
            if let Some(opt) = opt {
                bytes[11] = 1;
                bytes.extend(opt);
            }
            bytes
        },
    )
}

fn an_opt_record() -> impl Strategy<Value = Vec<u8>> {
    let version = prop_oneof![6 => Just(0_u8), 1 => any::<u8>()];
    (any::<u16>(), any::<u8>(), version, any::<[u8; 2]>(), collection::vec(an_option(), 0..4)).prop_map(
        |(payload, code_high, version, flags, options)| {
            let data: Vec<u8> = options
                .into_iter()
                .flat_map(|(code, content)| {
                    let length = u16::try_from(content.len()).unwrap();
                    [&code.to_be_bytes()[..], &length.to_be_bytes(), &content].concat()
                })
                .collect();
            let length = u16::try_from(data.len()).unwrap();
            let fixed = [&[0, 0, 41][..], &payload.to_be_bytes(), &[code_high, version], &flags];
            [fixed.concat(), length.to_be_bytes().to_vec(), data].concat()
        },
    )
}

fn an_option() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let subnet = (any::<u32>(), 0_u8..=32).prop_map(|(bits, source)| {
        let address = bits & u32::MAX.checked_shl(32 - u32::from(source)).unwrap_or(0);
        let octets = address.to_be_bytes();
        (SUBNET, [&[0, 1, source, 0], &octets[..usize::from(source.div_ceil(8))]].concat())
    });
    let content = collection::vec(any::<u8>(), 0..24);
    let any_content = (prop_oneof![Just(3_u16), Just(SUBNET), Just(10), Just(11), any::<u16>()], content);
    prop_oneof![3 => subnet, 1 => Just((3, Vec::new())), 2 => any_content]
}

/// What changes a packet a little: most of what it is stays.
fn slightly_damaged(packet: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), any::<u8>());
    let tail = collection::vec(any::<u8>(), 0..8);
    (packet, collection::vec(change, 0..3), tail, prop::option::weighted(0.1, any::<Index>())).prop_map(
        |(mut bytes, changes, tail, cut)| {
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes.extend(tail);
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            bytes
        },
    )
}

fn any_packet_near_a_usual_one() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => a_usual_query(), 4 => slightly_damaged(a_usual_query()), 1 => any_packet()]
}

thread_local! {
    static DESKS: RefCell<[Desk; 2]> = RefCell::default();
}

/// What each way says, if the short one takes the packet; and that the codec reads the same in it.
fn both_ways(forwards: bool, packet: &[u8], arrival: &Arrival) -> Result<(), TestCaseError> {
    let (responder, mut long) = (fuzzed(forwards), Vec::new());
    // One desk for all cases of a responder: what was decided for another must not be said to this one.
    let short: Option<Vec<u8>> = DESKS.with_borrow_mut(|desks| {
        let desk = &mut desks[usize::from(forwards)];
        responder.answer_usual(packet, arrival, desk).then(|| desk.answer.clone())
    });
    let Some(short) = short else { return Ok(()) };
    let reaction = responder.answer_any(packet, arrival, Transport::Udp, &mut long);
    prop_assert!(matches!(reaction, Reaction::Answer), "only the short way answers");
    prop_assert_eq!(&short, &long);
    let answer = Message::from_vec(&short).unwrap();
    if let Ok(asked) = Message::from_vec(packet) {
        prop_assert_eq!(&asked.queries, &answer.queries);
        prop_assert_eq!(asked.queries[0].name().to_ascii(), answer.queries[0].name().to_ascii());
        prop_assert_eq!(asked.metadata.id, answer.metadata.id);
        prop_assert_eq!(asked.metadata.recursion_desired, answer.metadata.recursion_desired);
        prop_assert_eq!(asked.metadata.checking_disabled, answer.metadata.checking_disabled);
        prop_assert_eq!(asked.edns.is_some(), answer.edns.is_some());
        let dnssec_ok = |message: &Message| message.edns.as_ref().map(|edns| edns.flags().dnssec_ok);
        prop_assert_eq!(dnssec_ok(&asked), dnssec_ok(&answer));
    }
    Ok(())
}

/// From a neighbour, from outside, and from behind the neighbour's router.
fn an_arrival() -> impl Strategy<Value = Arrival> {
    prop::sample::select(vec![
        ("192.168.7.20", "192.168.7.9", 2),
        ("fd00:7::20", "fd00:7::9", 2),
        ("10.1.1.1", "192.168.7.9", 2),
        ("130.59.31.80", "192.168.7.9", 3),
        ("2a00::1", "fd00:7::9", 3),
    ])
    .prop_map(|(client, local, number)| {
        let (client, local) = (client.parse().unwrap(), local.parse().unwrap());
        Arrival { client, local, by: By::Number(number) }
    })
}

#[test]
fn what_most_clients_send_is_answered_by_the_short_way() {
    let edns = |record| with_edns(query("REGISTRY.example.com.", record), |_| {}).to_vec().unwrap();
    for packet in [
        query("registry.example.com.", RecordType::A).to_vec().unwrap(),
        query("direct.registry.example.com.", RecordType::AAAA).to_vec().unwrap(),
        edns(RecordType::A),
        edns(RecordType::AAAA),
        with_options(&[(SUBNET, &[0, 1, 24, 0, 130, 59, 31])]),
        with_options(&[(SUBNET, &[0, 1, 0, 0]), (3, b"")]),
    ] {
        assert!(responder(false).answer_usual(&packet, &arrival(), &mut Desk::default()), "{packet:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn the_short_way_says_what_the_codec_would(
        packet in any_packet_near_a_usual_one(),
        arrival in an_arrival(),
        forwards in any::<bool>(),
    ) {
        both_ways(forwards, &packet, &arrival)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000_000))]

    /// `cargo test --release --workspace --lib -- --ignored for_a_long_time`
    #[test]
    #[ignore = "takes as long as a fuzzer should"]
    fn the_short_way_says_what_the_codec_would_for_a_long_time(
        packet in any_packet_near_a_usual_one(),
        arrival in an_arrival(),
        forwards in any::<bool>(),
    ) {
        both_ways(forwards, &packet, &arrival)?;
    }
}

/// One responder for all cases: making it costs more than they do.
fn fuzzed(forwards: bool) -> &'static Responder {
    static RESPONDERS: std::sync::OnceLock<[Responder; 2]> = std::sync::OnceLock::new();
    &RESPONDERS.get_or_init(|| [responder(false), responder(true)])[usize::from(forwards)]
}

/// What is said by datagram to so many questions of one network at one time: answers, truncated answers.
fn flood(responder: &Responder, client: &str, now: Duration, questions: usize) -> (usize, usize) {
    let packet = query("registry.example.com.", RecordType::A).to_vec().unwrap();
    let mut said = (0, 0);
    for _ in 0..questions {
        let mut told = Vec::new();
        match responder.limit(&packet, client.parse().unwrap(), || now, &mut told) {
            None => said.0 += 1,
            Some(Reaction::Answer) => {
                let told = Message::from_vec(&told).unwrap();
                assert!(told.metadata.truncation && told.answers.is_empty() && told.queries.len() == 1);
                assert_eq!(told.metadata.response_code, ResponseCode::NoError);
                said.1 += 1;
            }
            Some(_) => {}
        }
    }
    said
}

#[test]
fn a_network_that_floods_is_told_to_ask_by_connection_every_second_time() {
    let responder = responder(false);
    assert_eq!(flood(&responder, "130.59.31.80", Duration::ZERO, 1000), (200, 400));
    assert_eq!(flood(&responder, "130.59.30.80", Duration::ZERO, 100), (100, 0));
    assert_eq!(flood(&responder, "192.168.7.20", Duration::ZERO, 1000), (1000, 0));
    assert_eq!(flood(&responder, "130.59.31.80", Duration::from_secs(1), 1000), (200, 400));
    let noise = responder.limit(&[0; 5], "130.59.31.80".parse().unwrap(), || Duration::ZERO, &mut Vec::new());
    assert!(noise.is_none(), "what is not answered is not counted");
}
