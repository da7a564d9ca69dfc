//! The usual query's short way: one question for an address of ours is read and answered without the codec.
//!
//! What is answered here is answered with the same bytes as by [`super::message`], which has every query that is not
//! usual: a test holds the two together. All that costs time there is done once, when the zone is known.

use std::net::IpAddr;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, Record, RecordType};
use resolver::answer::{Answer, Kind};
use resolver::subnet::Subnet;
use resolver::zone::Location;

use super::decided;
use super::edns::{Counts, Edns, Said};
use super::message::{HEADER, udp_limit};

/// Everything in a header's third octet but AA, TC and RD, which a query may have: QR and the operation, which is 0.
const NOT_A_QUERY: u8 = 0xF8;
const RECURSION_DESIRED: u8 = 0x01;
const CHECKING_DISABLED: u8 = 0x10;
/// QR and AA.
const AUTHORITATIVE_RESPONSE: u8 = 0x84;
const RECURSION_AVAILABLE: u8 = 0x80;
/// A pointer to the question's name (RFC 1035, section 4.1.4).
const QUESTIONS_NAME: [u8; 2] = [0xC0, 0x0C];
const INTERNET: [u8; 2] = [0, 1];
const A: [u8; 2] = [0, 1];
const AAAA: [u8; 2] = [0, 28];
/// A question's type and class.
const AFTER_NAME: usize = 4;

/// Our names as they stand in a packet, and what stands behind a question that has no answer.
pub(super) struct Usual {
    names: [Known; 2],
}

struct Known {
    location: Location,
    /// In small letters.
    name: Box<[u8]>,
    /// The authority section of "there is none".
    authority: Box<[u8]>,
}

/// A usual query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) location: Location,
    pub(super) kind: Kind,
    packet: &'a [u8],
    /// Where the question ends.
    end: usize,
    edns: Option<Edns>,
    known: usize,
}

impl Usual {
    /// The short way for the zone with this name, and `direct` in it; `authority` is its SOA record.
    pub(super) fn new(apex: &Name, direct: &Name, authority: &Record) -> Option<Self> {
        let known = |location, name: &Name| {
            let mut message = Message::query();
            message.add_query(Query::query(name.clone(), RecordType::A));
            message.add_authority(authority.clone());
            let bytes = message.to_vec().ok()?;
            let length = name.iter().map(|label| label.len() + 1).sum::<usize>() + 1;
            let (question, authority) = bytes.get(HEADER..)?.split_at_checked(length + AFTER_NAME)?;
            Some(Known { location, name: question[..length].into(), authority: authority.into() })
        };
        Some(Self { names: [known(Location::Apex, apex)?, known(Location::Direct, direct)?] })
    }

    /// A packet's question, if it is a usual one.
    pub(super) fn read<'a>(&self, packet: &'a [u8]) -> Option<Question<'a>> {
        let (header, rest) = packet.split_first_chunk::<HEADER>()?;
        let [_, _, flags, _, counts @ ..] = header;
        let additionals = match counts {
            [0, 1, 0, 0, 0, 0, 0, additionals @ 0..=1] => *additionals,
            _ => return None,
        };
        if flags & NOT_A_QUERY != 0 {
            return None;
        }
        let is_asked = |known: &Known| {
            rest.get(..known.name.len()).is_some_and(|asked| asked.eq_ignore_ascii_case(&known.name))
        };
        let known = self.names.iter().position(is_asked)?;
        let end = HEADER + self.names[known].name.len() + AFTER_NAME;
        let kind = match packet.get(end - AFTER_NAME..end)?.split_first_chunk()? {
            (&A, class) if class == INTERNET => Kind::A,
            (&AAAA, class) if class == INTERNET => Kind::Aaaa,
            _ => return None,
        };
        let edns = match additionals {
            0 => None,
            // A signature, or what is wrong, is not usual.
            _ => Some(Edns::read(packet, end, Counts::additional()).ok()?.filter(|edns| edns.version == 0)?),
        };
        Some(Question { location: self.names[known].location, kind, packet, end, edns, known })
    }

    /// Writes the packet that says what was decided; false if it is not one of addresses, or none, or does not fit.
    pub(super) fn write(
        &self,
        question: &Question<'_>,
        decided: &decided::Said,
        id: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        out.clear();
        out.extend_from_slice(&question.packet[..question.end]);
        let scope = match &decided.answer {
            Answer::Addresses { addresses, ttl, scope } => {
                addresses.iter().for_each(|address| record(*address, *ttl, out));
                counts(out, addresses.len(), 0);
                *scope
            }
            Answer::NoData => {
                out.extend_from_slice(&self.names[question.known].authority);
                counts(out, 0, 1);
                0
            }
            _ => return false,
        };
        out[2] = AUTHORITATIVE_RESPONSE | (out[2] & RECURSION_DESIRED);
        out[3] =
            (out[3] & CHECKING_DISABLED) | if decided.recursion_available { RECURSION_AVAILABLE } else { 0 };
        if let Some(edns) = &question.edns {
            Said::to(edns, 0, scope, id, None).write(out);
            out[11] = 1;
        }
        out.len() <= udp_limit(question.edns.as_ref())
    }
}

impl Question<'_> {
    /// The network that it asks for, where it does.
    pub(super) fn subnet(&self) -> Option<&Subnet> {
        self.edns.as_ref()?.subnet.as_ref()
    }
}

/// The numbers of records, of which there are a few.
fn counts(out: &mut [u8], answers: usize, authorities: u8) {
    out[7] = u8::try_from(answers).unwrap_or_default();
    out[9] = authorities;
    out[11] = 0;
}

fn record(address: IpAddr, ttl: u32, out: &mut Vec<u8>) {
    out.extend(QUESTIONS_NAME);
    out.extend(if address.is_ipv4() { A } else { AAAA });
    out.extend(INTERNET);
    out.extend(ttl.to_be_bytes());
    match address {
        IpAddr::V4(v4) => {
            out.extend([0, 4]);
            out.extend(v4.octets());
        }
        IpAddr::V6(v6) => {
            out.extend([0, 16]);
            out.extend(v6.octets());
        }
    }
}
