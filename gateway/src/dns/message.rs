//! A packet becomes a request, or the answer that it deserves; a reply becomes a packet.
//!
//! What is refused here, before anybody decides: what is no query, what asks nothing or twice, EDNS that is malformed
//! or of another version. The rules are RFC 1035 (section 4.1), RFC 6891 (EDNS), RFC 7871 (client subnets) and RFC 9619
//! (one question).
//!
//! All names are encoded in small letters and compressed against the question; then the question is spelled as the
//! client did (0x20), and with it whatever points there.

use hickory_proto::op::{Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use resolver::subnet::Subnet;

use super::edns::{Counts, Edns, MAX_PAYLOAD, Malformed, Said};

/// What a client without EDNS takes by UDP (RFC 1035, section 2.3.4).
const MIN_PAYLOAD: u16 = 512;
/// A query brings an OPT record and perhaps a signature.
const MOST_ADDITIONALS: u16 = 4;
/// The octets of a header.
pub(super) const HEADER: usize = 12;
/// Where in it the number of additional records stands.
const ADDITIONALS: usize = 10;
/// A question's type and class.
const AFTER_NAME: usize = 4;
/// What clients are told of how long a silent connection is kept (RFC 7828): 30 s, in its units of 100 ms. It is kept
/// for a little longer.
const KEEPALIVE: u16 = 300;

/// How a query came, and so how long its answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Transport {
    /// One datagram.
    Udp,
    /// A connection.
    Tcp,
    /// A connection with TLS (RFC 7858).
    Tls,
}

impl Transport {
    /// The word for it in the metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

/// A query that can be answered.
#[derive(Debug, Clone)]
pub(super) struct Request {
    metadata: Metadata,
    question: Question,
    edns: Option<Edns>,
    transport: Transport,
}

/// What is asked.
#[derive(Debug, Clone)]
struct Question {
    /// Its name in small letters.
    query: Query,
    /// Its name as it stood in the packet.
    spelled: Box<[u8]>,
}

/// What a packet is.
#[derive(Debug)]
pub(super) enum Packet {
    /// A query.
    Request(Box<Request>),
    /// Something else, which is told what it is with these bytes.
    Wrong(Vec<u8>),
    /// Nothing that can be answered without danger of a loop.
    Noise,
}

/// What is said to a request.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) code: ResponseCode,
    pub(super) authoritative: bool,
    pub(super) recursion_available: bool,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    pub(super) additionals: Vec<Record>,
    /// For how many bits of the client's subnet it holds; 0: for everybody.
    pub(super) scope: u8,
}

impl Packet {
    /// Reads a packet.
    pub(super) fn read(bytes: &[u8], transport: Transport) -> Self {
        let Ok(header) = Header::read(&mut BinDecoder::new(bytes)) else {
            return Self::Noise;
        };
        if header.message_type == MessageType::Response {
            return Self::Noise;
        }
        let edns = Edns::read(bytes, HEADER, counts(&header));
        let question = Question::read(bytes).filter(|_| header.counts.queries == 1);
        let wrong = |code, question| Self::wrong(&header.metadata, code, question, &edns);
        if header.op_code != OpCode::Query {
            return wrong(ResponseCode::NotImp, None);
        }
        let Some(question) = question else {
            return wrong(ResponseCode::FormErr, None);
        };
        match edns {
            Ok(Some(edns)) if edns.version > 0 => wrong(ResponseCode::BADVERS, Some(&question)),
            Ok(edns) if is_bare(&header) => {
                Self::Request(Box::new(Request { metadata: header.metadata, question, edns, transport }))
            }
            _ => wrong(ResponseCode::FormErr, Some(&question)),
        }
    }

    fn wrong(
        request: &Metadata,
        code: ResponseCode,
        question: Option<&Question>,
        edns: &Result<Option<Edns>, Malformed>,
    ) -> Self {
        let mut message = Message::response(request.id, request.op_code);
        message.metadata.recursion_desired = request.recursion_desired;
        // BADVERS is sixteen: its low bits stand in the header, the others in the OPT record (RFC 6891, section 6.1.3).
        message.metadata.response_code = ResponseCode::from_low(code.low());
        let speaks_edns = edns.map_or_else(|malformed| malformed.speaks_edns, |edns| edns.is_some());
        let said = speaks_edns.then(|| Said { code_high: code.high(), ..Said::default() });
        packet(message, question, said).map_or(Self::Noise, Self::Wrong)
    }
}

/// Nothing stands beside the question but, for an IXFR, the SOA that its sender has (RFC 1995), and what EDNS and a
/// signature need.
fn is_bare(header: &Header) -> bool {
    let counts = &header.counts;
    counts.answers == 0 && counts.authorities <= 1 && counts.additionals <= MOST_ADDITIONALS
}

fn counts(header: &Header) -> Counts {
    let counts = &header.counts;
    Counts {
        questions: counts.queries,
        records: counts.answers.saturating_add(counts.authorities),
        additionals: counts.additionals,
    }
}

/// The packet with this message: `said` is what its OPT record says, if it is to have one.
fn packet(mut message: Message, question: Option<&Question>, said: Option<Said<'_>>) -> Option<Vec<u8>> {
    message.add_queries(question.map(|question| question.query.clone()));
    let mut bytes = message.to_vec().ok()?;
    if let Some(Question { spelled, .. }) = question {
        bytes.get_mut(HEADER..)?.get_mut(..spelled.len())?.copy_from_slice(spelled);
    }
    if let Some(said) = said {
        said.write(&mut bytes);
        let count = bytes.get_mut(ADDITIONALS..)?.first_chunk_mut()?;
        *count = u16::from_be_bytes(*count).checked_add(1)?.to_be_bytes();
    }
    Some(bytes)
}

impl Question {
    /// The first question of a packet; none, if it is cut off or its name is compressed: there is nothing before it.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut decoder = BinDecoder::new(bytes);
        Header::read(&mut decoder).ok()?;
        let mut query = Query::read(&mut decoder).ok()?;
        let spelled = bytes.get(HEADER..decoder.index())?.split_last_chunk::<AFTER_NAME>()?.0;
        if spelled.len() != query.name().iter().map(|label| label.len() + 1).sum::<usize>() + 1 {
            return None;
        }
        let name = query.name().to_lowercase();
        query.set_name(name);
        Some(Self { query, spelled: spelled.into() })
    }
}

impl Request {
    /// What is asked, in small letters.
    pub(super) fn query(&self) -> &Query {
        &self.question.query
    }

    /// The class of what is asked is the Internet.
    pub(super) fn is_internet(&self) -> bool {
        self.query().query_class() == DNSClass::IN
    }

    /// The client wants its question pursued.
    pub(super) fn wants_recursion(&self) -> bool {
        self.metadata.recursion_desired
    }

    /// The network that it asks for, where it does.
    pub(super) fn subnet(&self) -> Option<&Subnet> {
        self.edns.as_ref()?.subnet.as_ref()
    }

    /// The same question, to be put to another server: for whom is nobody's business there.
    pub(super) fn onward(&self) -> Message {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.metadata.checking_disabled = self.metadata.checking_disabled;
        message.add_query(self.query().clone());
        let mut edns = hickory_proto::op::Edns::new();
        edns.set_max_payload(MAX_PAYLOAD).set_dnssec_ok(self.wants_dnssec());
        message.set_edns(edns);
        message
    }

    /// The client wants the records of DNSSEC too.
    pub(super) fn wants_dnssec(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// The packet that says that it should be asked by connection.
    pub(super) fn truncated(&self, id: &[u8]) -> Option<Vec<u8>> {
        let reply = Reply { authoritative: true, ..Reply::default() };
        let said = self.edns.as_ref().map(|edns| self.said(edns, &reply, id));
        let mut message = self.header(&reply);
        message.metadata.truncation = true;
        packet(message, Some(&self.question), said)
    }

    /// The packet that says `reply`, from the server with this id. One that is too long for its transport says nothing
    /// but that.
    pub(super) fn answer(&self, reply: Reply, id: &[u8]) -> Option<Vec<u8>> {
        let said = self.edns.as_ref().map(|edns| self.said(edns, &reply, id));
        let (mut empty, message) = (self.header(&reply), self.message(reply));
        let bytes = packet(message, Some(&self.question), said)?;
        if bytes.len() <= self.limit() {
            return Some(bytes);
        }
        empty.metadata.truncation = true;
        packet(empty, Some(&self.question), said)
    }

    fn said<'a>(&self, edns: &Edns, reply: &Reply, id: &'a [u8]) -> Said<'a> {
        let keepalive = (self.transport != Transport::Udp).then_some(KEEPALIVE);
        Said::to(edns, reply.code.high(), reply.scope, id, keepalive)
    }

    fn header(&self, reply: &Reply) -> Message {
        let mut message = Message::response(self.metadata.id, OpCode::Query);
        message.metadata.recursion_desired = self.metadata.recursion_desired;
        message.metadata.checking_disabled = self.metadata.checking_disabled;
        message.metadata.recursion_available = reply.recursion_available;
        message.metadata.authoritative = reply.authoritative;
        message.metadata.response_code = ResponseCode::from_low(reply.code.low());
        message
    }

    fn message(&self, reply: Reply) -> Message {
        let mut message = self.header(&reply);
        message.insert_answers(reply.answers);
        message.insert_authorities(reply.authorities);
        message.insert_additionals(reply.additionals);
        message
    }

    fn limit(&self) -> usize {
        match self.transport {
            Transport::Tcp | Transport::Tls => usize::from(u16::MAX),
            Transport::Udp => udp_limit(self.edns.as_ref()),
        }
    }
}

/// How long an answer by datagram may be.
pub(super) fn udp_limit(edns: Option<&Edns>) -> usize {
    usize::from(edns.map_or(MIN_PAYLOAD, |edns| edns.payload.clamp(MIN_PAYLOAD, MAX_PAYLOAD)))
}
