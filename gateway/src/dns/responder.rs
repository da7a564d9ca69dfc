//! From the bytes of a query to the bytes of its answer, without waiting for anything.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, HINFO, NS, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use resolver::answer::{Answer, Facts, Kind, TTL_HEAD, TTL_NEGATIVE, answer};
use resolver::asker::Asker;
use resolver::head::dns::Text;
use resolver::links::{Arrival, Links};
use resolver::rank::Snapshot;
use resolver::subnet::Subnet;
use resolver::zone::Zone;

use super::decided::{Decided, Said};
use super::message::{HEADER, Packet, Reply, Request, Transport};
use super::rate::{Allowance, Rates};
use super::usual::Usual;
use super::{Announced, Locate};
use crate::metrics::{Counter, Metrics};

/// Seconds that the zone's own records hold: what they say changes with the configuration.
const TTL_ZONE: u32 = 3600;
/// Seconds after which, and between tries with which, a secondary server would ask again; after the last it would
/// give up. There is none: the values are those of RFC 1912, section 2.2.
const REFRESH: i32 = 3600;
const RETRY: i32 = 600;
const EXPIRE: i32 = 86400;
/// For how many answers the one with the head counts where they are limited: it has five times as many octets as a usual one.
const HEAD_COSTS: u32 = 4;
/// The bit of a header's third octet that says that it is an answer's.
const RESPONSE: u8 = 0x80;
/// OPT (41), and the types from 128 to 254: none can be had as a record (RFC 6895, section 3.1).
const META: [RangeInclusive<u16>; 2] = [41..=41, 128..=254];

/// What to do about a packet.
#[derive(Debug)]
pub(super) enum Reaction {
    /// Send what was written.
    Answer,
    /// Ask somebody else.
    LookUp(Box<Request>),
    /// Nothing.
    Silence,
}

/// Answers queries. All transports share one.
pub(super) struct Responder {
    zone: Zone,
    /// What NSID says.
    id: Vec<u8>,
    /// The SOA record: the answer for it, and what stands beside every "there is none".
    authority: Record,
    name_server: Record,
    facts: ArcSwap<Facts>,
    /// Beside the facts: with each new root all that was decided would be decided again.
    head: ArcSwapOption<Announced>,
    locate: Locate,
    rates: Option<Rates>,
    usual: Option<Usual>,
    metrics: Arc<Metrics>,
    /// Of the outcomes of usual queries: to find them by their labels would take longer than to answer.
    counted: Counted,
    started: Instant,
}

/// What whoever answers one packet after the other uses again for each.
#[derive(Default)]
pub(super) struct Desk {
    /// The answer that was written last.
    pub(super) answer: Vec<u8>,
    decided: Decided,
}

impl Desk {
    /// Everything is decided again.
    pub(super) fn forget(&mut self) {
        self.decided.forget();
    }
}

struct Counted {
    answered: Counter,
    no_data: Counter,
}

impl Responder {
    /// A responder for the zone.
    pub(super) fn new(
        zone: Zone,
        id: Vec<u8>,
        facts: Facts,
        locate: Locate,
        rate_limit: u32,
        metrics: Arc<Metrics>,
    ) -> Self {
        let apex = name(zone.as_str());
        let direct = name(&zone.direct());
        let contact = name(&format!("hostmaster.{zone}"));
        let minimum = TTL_NEGATIVE;
        let soa = SOA::new(direct.clone(), contact, serial(), REFRESH, RETRY, EXPIRE, minimum);
        let authority = Record::from_rdata(apex.clone(), TTL_NEGATIVE, RData::SOA(soa));
        let counter = |outcome| metrics.dns_counter(Transport::Udp.name(), outcome);
        Self {
            usual: Usual::new(&apex, &direct, &authority),
            rates: Rates::new(rate_limit),
            counted: Counted { answered: counter("answered"), no_data: counter("no_data") },
            started: Instant::now(),
            authority,
            name_server: Record::from_rdata(apex, TTL_ZONE, RData::NS(NS(direct))),
            zone,
            id,
            locate,
            facts: ArcSwap::from_pointee(facts),
            head: ArcSwapOption::empty(),
            metrics,
        }
    }

    /// What this gateway calls itself.
    pub(super) fn id(&self) -> &[u8] {
        &self.id
    }

    /// The machine's interfaces are these from now on.
    pub(super) fn learn(&self, links: &Links) {
        self.facts.rcu(|facts| Facts { links: links.clone(), ..Facts::clone(facts) });
    }

    /// Other gateways fare so from now on.
    pub(super) fn learn_peers(&self, peers: &Arc<Snapshot>) {
        self.facts.rcu(|facts| Facts { peers: Arc::clone(peers), ..Facts::clone(facts) });
    }

    /// This is published from now on.
    pub(super) fn learn_head(&self, head: Option<Arc<Announced>>) {
        self.head.store(head);
    }

    /// Whom a question is for; where he is matters to whoever has peers.
    fn asker(&self, facts: &Facts, arrival: &Arrival, subnet: Option<&Subnet>) -> Asker {
        self.located(facts, facts.asker(arrival, subnet))
    }

    fn located(&self, facts: &Facts, mut asker: Asker) -> Asker {
        if !facts.peers.is_alone() {
            asker.whereabouts = (self.locate)(asker.client);
        }
        asker
    }

    /// What to do about a packet that arrived so; an answer lies on the desk then.
    pub(super) fn react(
        &self,
        packet: &[u8],
        arrival: &Arrival,
        transport: Transport,
        desk: &mut Desk,
    ) -> Reaction {
        // Whatever a stranger's bytes make of the codec, the others are still answered.
        let reaction = catch_unwind(AssertUnwindSafe(|| self.decide(packet, arrival, transport, desk)));
        reaction.unwrap_or_else(|_| {
            self.metrics.dns_query(transport.name(), "fault");
            Reaction::Silence
        })
    }

    pub(super) fn decide(
        &self,
        packet: &[u8],
        arrival: &Arrival,
        transport: Transport,
        desk: &mut Desk,
    ) -> Reaction {
        if transport == Transport::Udp {
            let now = || self.started.elapsed();
            let limited = self.limit(packet, arrival.client, now, &mut desk.answer);
            if let Some(reaction) = limited {
                return reaction;
            }
            if self.answer_usual(packet, arrival, desk) {
                return Reaction::Answer;
            }
        }
        self.answer_any(packet, arrival, transport, &mut desk.answer)
    }

    /// What is said to one of a network that has had too many answers by datagram; `None`: what it asks for.
    pub(super) fn limit(
        &self,
        packet: &[u8],
        client: IpAddr,
        now: impl FnOnce() -> Duration,
        out: &mut Vec<u8>,
    ) -> Option<Reaction> {
        let rates = self.rates.as_ref().filter(|_| is_query(packet) && Rates::concern(client))?;
        let allowance = rates.take(client, now());
        if allowance == Allowance::Answer {
            return None;
        }
        self.metrics.dns_query(Transport::Udp.name(), "limited");
        let told = match Packet::read(packet, Transport::Udp) {
            Packet::Request(request) if allowance == Allowance::Truncated => request.truncated(&self.id),
            _ => None,
        };
        Some(given(told, out))
    }

    /// An answer that is much longer than its question counts for several.
    fn charge(&self, client: IpAddr) {
        if let Some(rates) = self.rates.as_ref().filter(|_| Rates::concern(client)) {
            let now = self.started.elapsed();
            for _ in 1..HEAD_COSTS {
                rates.take(client, now);
            }
        }
    }

    /// Answers a usual query by its short way; false: it is none.
    pub(super) fn answer_usual(&self, packet: &[u8], arrival: &Arrival, desk: &mut Desk) -> bool {
        let Some(usual) = &self.usual else { return false };
        let Some(question) = usual.read(packet) else { return false };
        let facts = self.facts.load();
        // Where the client is is looked up only where the answer is not known yet.
        let asker = facts.asker(arrival, question.subnet());
        let asked = (question.location, question.kind);
        let locate = |asker| self.located(&facts, asker);
        let said = desk.decided.say(&facts, asked, &asker, locate, |located| Said {
            answer: answer(question.location, question.kind, located, &facts),
            recursion_available: recursion_available(&facts, arrival),
        });
        let written = usual.write(&question, said, &self.id, &mut desk.answer);
        if written {
            match said.answer {
                Answer::NoData => self.counted.no_data.inc(),
                _ => self.counted.answered.inc(),
            };
        }
        written
    }

    /// Answers any packet.
    pub(super) fn answer_any(
        &self,
        packet: &[u8],
        arrival: &Arrival,
        transport: Transport,
        out: &mut Vec<u8>,
    ) -> Reaction {
        match Packet::read(packet, transport) {
            Packet::Request(request) => self.respond(request, arrival, transport, out),
            Packet::Wrong(told) => {
                self.metrics.dns_query(transport.name(), "malformed");
                given(Some(told), out)
            }
            Packet::Noise => {
                self.metrics.dns_query(transport.name(), "noise");
                Reaction::Silence
            }
        }
    }

    fn respond(
        &self,
        request: Box<Request>,
        arrival: &Arrival,
        transport: Transport,
        out: &mut Vec<u8>,
    ) -> Reaction {
        let facts = self.facts.load();
        let asker = self.asker(&facts, arrival, request.subnet());
        let answer = match self.answer(&request, &asker, &facts) {
            Answer::Head | Answer::Link if self.head.load().is_none() => Answer::NoData,
            answer => answer,
        };
        if answer == Answer::Head && transport == Transport::Udp {
            self.charge(arrival.client);
        }
        self.metrics.dns_query(transport.name(), outcome(&answer));
        if answer == Answer::Forward {
            return Reaction::LookUp(request);
        }
        let reply = self.reply(&request, arrival, &facts, answer);
        given(request.answer(reply, &self.id), out)
    }

    fn answer(&self, request: &Request, asker: &Asker, facts: &Facts) -> Answer {
        if !request.is_internet() {
            return Answer::Refused;
        }
        let query = request.query();
        let location = self.zone.locate(query.name().iter());
        match answer(location, kind(query.query_type()), asker, facts) {
            Answer::Forward if !request.wants_recursion() => Answer::Refused,
            answer => answer,
        }
    }

    fn reply(&self, request: &Request, arrival: &Arrival, facts: &Facts, answer: Answer) -> Reply {
        let mut reply = Reply {
            authoritative: answer != Answer::Refused,
            recursion_available: recursion_available(facts, arrival),
            ..Reply::default()
        };
        match answer {
            Answer::NoData => reply.authorities.push(self.authority.clone()),
            Answer::NoName => {
                reply.code = ResponseCode::NXDomain;
                reply.authorities.push(self.authority.clone());
            }
            Answer::Refused | Answer::Forward => reply.code = ResponseCode::Refused,
            given => {
                if let Answer::Addresses { scope, .. } = given {
                    reply.scope = scope;
                }
                reply.answers = self.records(request.query().name(), given);
            }
        }
        reply
    }

    /// The records of an answer, under the name that was asked for.
    fn records(&self, owner: &Name, answer: Answer) -> Vec<Record> {
        let record = |ttl, data| Record::from_rdata(owner.clone(), ttl, data);
        match answer {
            Answer::Addresses { addresses, ttl, .. } => {
                addresses.into_iter().map(|address| record(ttl, data(address))).collect()
            }
            // They hold for one client.
            Answer::Words(words) => {
                words.into_iter().map(|word| record(0, RData::TXT(TXT::new(vec![word])))).collect()
            }
            Answer::Head => {
                let head = self.head.load();
                let texts = head.iter().flat_map(|head| &head.texts);
                texts.map(|text| record(TTL_HEAD, words(text))).collect()
            }
            Answer::Link => {
                let head = self.head.load();
                head.iter().map(|head| record(TTL_HEAD, words(&head.link))).collect()
            }
            Answer::Authority => vec![respelled(&self.authority, owner)],
            Answer::NameServer => vec![respelled(&self.name_server, owner)],
            Answer::Minimal => {
                vec![record(TTL_ZONE, RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new())))]
            }
            Answer::NoData | Answer::NoName | Answer::Refused | Answer::Forward => Vec::new(),
        }
    }
}

fn given(told: Option<Vec<u8>>, out: &mut Vec<u8>) -> Reaction {
    match told {
        Some(told) => {
            *out = told;
            Reaction::Answer
        }
        None => Reaction::Silence,
    }
}

/// What is answered at all: a header, that is none of an answer's.
fn is_query(packet: &[u8]) -> bool {
    packet.len() >= HEADER && packet[2] & RESPONSE == 0
}

fn recursion_available(facts: &Facts, arrival: &Arrival) -> bool {
    facts.forwards && facts.links.is_private(arrival)
}

fn respelled(record: &Record, owner: &Name) -> Record {
    let mut record = record.clone();
    record.name = owner.clone();
    record
}

fn words(text: &Text) -> RData {
    RData::TXT(TXT::from_bytes(text.iter().map(Vec::as_slice).collect()))
}

fn data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(v4) => RData::A(A(v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    }
}

/// The zone's names are host names, which the codec takes.
fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("a host name of a legal length is a DNS name");
    name.set_fqdn(true);
    name
}

/// A serial that grows with every start (RFC 1982).
fn serial() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(now.as_secs() & u64::from(u32::MAX)).unwrap_or_default()
}

fn kind(record: RecordType) -> Kind {
    match record {
        RecordType::A => Kind::A,
        RecordType::AAAA => Kind::Aaaa,
        RecordType::TXT => Kind::Txt,
        RecordType::SOA => Kind::Soa,
        RecordType::NS => Kind::Ns,
        RecordType::ANY => Kind::Any,
        other if META.iter().any(|types| types.contains(&u16::from(other))) => Kind::Meta,
        _ => Kind::Other,
    }
}

/// The word for it in the metrics.
fn outcome(answer: &Answer) -> &'static str {
    match answer {
        Answer::Addresses { .. }
        | Answer::Words(_)
        | Answer::Authority
        | Answer::NameServer
        | Answer::Head
        | Answer::Link
        | Answer::Minimal => "answered",
        Answer::NoData => "no_data",
        Answer::NoName => "no_name",
        Answer::Refused => "refused",
        Answer::Forward => "forwarded",
    }
}
