//! A packet becomes a request, or the answer that it deserves; a reply becomes a packet.
//!
//! What is refused here, before anybody decides: what is no query, what asks nothing or twice, EDNS of another
//! version. The rules are RFC 1035 (section 4.1), RFC 6891 (EDNS) and RFC 9619 (one question).

use hickory_proto::op::{Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// What passes everywhere without being fragmented: the value of DNS flag day 2020.
pub(super) const MAX_PAYLOAD: u16 = 1232;
/// What a client without EDNS takes by UDP (RFC 1035, section 2.3.4).
const MIN_PAYLOAD: u16 = 512;
/// A query brings an OPT record and perhaps a signature.
const MOST_ADDITIONALS: u16 = 4;

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
    query: Query,
    edns: Option<Edns>,
    transport: Transport,
}

/// What a packet is.
#[derive(Debug)]
pub(super) enum Packet {
    /// A query.
    Request(Box<Request>),
    /// Something else, which is told what it is.
    Wrong(Box<Message>),
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
}

impl Packet {
    /// Reads a packet.
    pub(super) fn read(bytes: &[u8], transport: Transport) -> Self {
        let mut decoder = BinDecoder::new(bytes);
        let Ok(header) = Header::read(&mut decoder) else {
            return Self::Noise;
        };
        if header.message_type == MessageType::Response {
            return Self::Noise;
        }
        let wrong = |code, query| Self::Wrong(Box::new(error(&header, bytes, code, query)));
        if header.op_code != OpCode::Query {
            return wrong(ResponseCode::NotImp, None);
        }
        if header.counts.queries != 1 {
            return wrong(ResponseCode::FormErr, None);
        }
        let Ok(query) = Query::read(&mut decoder) else {
            return wrong(ResponseCode::FormErr, None);
        };
        match rest(&mut decoder, &header) {
            Some(Some(edns)) if edns.version() > 0 => {
                Self::Wrong(Box::new(bad_version(&header.metadata, query)))
            }
            Some(edns) => {
                Self::Request(Box::new(Request { metadata: header.metadata, query, edns, transport }))
            }
            None => wrong(ResponseCode::FormErr, Some(query)),
        }
    }
}

/// The OPT record of a query that has nothing besides its question but, for an IXFR, the SOA that its sender has (RFC
/// 1995); `None` for any other query.
fn rest(decoder: &mut BinDecoder<'_>, header: &Header) -> Option<Option<Edns>> {
    let counts = &header.counts;
    if counts.answers != 0 || counts.authorities > 1 || counts.additionals > MOST_ADDITIONALS {
        return None;
    }
    let mut read = |count, additional| {
        Message::read_records(decoder, usize::from(count), additional, OpCode::Query).ok()
    };
    read(counts.authorities, false)?;
    read(counts.additionals, true).map(|(_, edns, _)| edns)
}

/// Whether a packet has an OPT record where its reader would find it, whatever else is wrong with it.
fn speaks_edns(header: &Header, bytes: &[u8]) -> bool {
    let mut decoder = BinDecoder::new(bytes);
    let few = header.counts.queries <= 1;
    let skipped = Header::read(&mut decoder).is_ok()
        && few
        && Message::read_queries(&mut decoder, usize::from(header.counts.queries)).is_ok();
    skipped && rest(&mut decoder, header).is_some_and(|edns| edns.is_some())
}

fn error(request: &Header, bytes: &[u8], code: ResponseCode, query: Option<Query>) -> Message {
    let mut message = refusal(&request.metadata, code, query);
    // RFC 6891, section 7: who speaks EDNS is answered with it.
    if speaks_edns(request, bytes) {
        message.set_edns(own_edns());
    }
    message
}

fn refusal(request: &Metadata, code: ResponseCode, query: Option<Query>) -> Message {
    let mut message = Message::response(request.id, request.op_code);
    message.metadata.recursion_desired = request.recursion_desired;
    message.metadata.response_code = code;
    message.add_queries(query);
    message
}

/// BADVERS is sixteen: its low bits stand in the header, the others in the OPT record (RFC 6891, section 6.1.3).
fn bad_version(request: &Metadata, query: Query) -> Message {
    let mut message = refusal(request, ResponseCode::BADVERS, Some(query));
    let mut edns = own_edns();
    edns.set_rcode_high(ResponseCode::BADVERS.high());
    message.set_edns(edns);
    message
}

fn own_edns() -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(MAX_PAYLOAD);
    edns
}

impl Request {
    /// What is asked.
    pub(super) fn query(&self) -> &Query {
        &self.query
    }

    /// The class of what is asked is the Internet.
    pub(super) fn is_internet(&self) -> bool {
        self.query.query_class() == DNSClass::IN
    }

    /// The client wants its question pursued.
    pub(super) fn wants_recursion(&self) -> bool {
        self.metadata.recursion_desired
    }

    /// The same question, to be put to another server.
    pub(super) fn onward(&self) -> Message {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.metadata.checking_disabled = self.metadata.checking_disabled;
        message.add_query(self.query.clone());
        let mut edns = own_edns();
        edns.set_dnssec_ok(self.wants_dnssec());
        message.set_edns(edns);
        message
    }

    /// The client wants the records of DNSSEC too.
    pub(super) fn wants_dnssec(&self) -> bool {
        self.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok)
    }

    /// The packet that says `reply`. One that is too long for its transport says nothing but that.
    pub(super) fn answer(&self, reply: Reply) -> Option<Vec<u8>> {
        let message = self.message(reply);
        let bytes = message.to_vec().ok()?;
        if bytes.len() <= self.limit() { Some(bytes) } else { message.truncate().to_vec().ok() }
    }

    fn message(&self, reply: Reply) -> Message {
        let mut message = Message::response(self.metadata.id, OpCode::Query);
        message.metadata.recursion_desired = self.metadata.recursion_desired;
        message.metadata.checking_disabled = self.metadata.checking_disabled;
        message.metadata.recursion_available = reply.recursion_available;
        message.metadata.authoritative = reply.authoritative;
        message.metadata.response_code = reply.code;
        message.add_query(self.query.clone());
        message.insert_answers(reply.answers);
        message.insert_authorities(reply.authorities);
        message.insert_additionals(reply.additionals);
        if self.edns.is_some() {
            let mut edns = own_edns();
            // RFC 3225, section 3: the bit is copied.
            edns.set_dnssec_ok(self.wants_dnssec()).set_rcode_high(reply.code.high());
            message.set_edns(edns);
        }
        message
    }

    fn limit(&self) -> usize {
        let payload = match (self.transport, &self.edns) {
            (Transport::Tcp | Transport::Tls, _) => u16::MAX,
            (Transport::Udp, Some(edns)) => edns.max_payload().clamp(MIN_PAYLOAD, MAX_PAYLOAD),
            (Transport::Udp, None) => MIN_PAYLOAD,
        };
        usize::from(payload)
    }
}
