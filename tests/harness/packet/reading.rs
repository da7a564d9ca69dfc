//! An answer read octet by octet, with nothing tidied up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::kind;
use super::query::EDNS_CLIENT_SUBNET;

/// How many pointers a name may have in a row: more is a loop.
const MOST_POINTERS: usize = 16;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The number of its question.
    pub id: u16,
    /// It is an answer, and not a question.
    pub is_response: bool,
    /// The kind of what it answers: 0 for a query.
    pub opcode: u16,
    /// By whom it has to be known.
    pub authoritative: bool,
    /// It was too long.
    pub truncated: bool,
    /// "Recursion desired", copied.
    pub recursion_desired: bool,
    /// "Recursion available".
    pub recursion: bool,
    /// The bits Z (which must be zero), AD and CD.
    pub reserved: [bool; 3],
    /// The status, with the bits that stand in OPT.
    pub code: u16,
    /// Its question, as octets, type and class included.
    pub question: Option<Vec<u8>>,
    /// What it says.
    pub answers: Vec<Record>,
    /// By whose authority.
    pub authorities: Vec<Record>,
    /// What else there is, OPT left out.
    pub additionals: Vec<Record>,
    /// OPT.
    pub edns: Option<Edns>,
    /// How many octets it has, and how many of them are read when everything has been.
    pub length: (usize, usize),
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its name as octets, pointers followed.
    pub owner: Vec<u8>,
    /// Its type.
    pub kind: u16,
    /// Its class.
    pub class: u16,
    /// How many seconds it holds.
    pub ttl: u32,
    /// Its data, as they came.
    pub data: Vec<u8>,
}

/// An OPT record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edns {
    /// How long a datagram may be that the other side takes.
    pub payload: u16,
    /// The version.
    pub version: u8,
    /// The DO bit.
    pub dnssec_ok: bool,
    /// Number and value of each option.
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Record {
    /// The address, if it is a record of one.
    pub fn address(&self) -> Option<IpAddr> {
        match (self.kind, self.data.as_slice()) {
            (kind::A, data) => <[u8; 4]>::try_from(data).ok().map(|octets| Ipv4Addr::from(octets).into()),
            (kind::AAAA, data) => <[u8; 16]>::try_from(data).ok().map(|octets| Ipv6Addr::from(octets).into()),
            _ => None,
        }
    }
}

impl Reply {
    /// Reads an answer; `None` for what is no message.
    pub fn read(packet: &[u8]) -> Option<Self> {
        let mut reader = Reader { packet, at: 0 };
        let [id, flags, questions, answers, authorities, additionals] = reader.words()?;
        let question = match questions {
            0 => None,
            1 => Some(reader.question()?),
            _ => return None,
        };
        let mut records = |count| (0..count).map(|_| reader.record()).collect::<Option<Vec<_>>>();
        let (answers, authorities) = (records(answers)?, records(authorities)?);
        let (mut opts, additionals): (Vec<_>, Vec<_>) =
            records(additionals)?.into_iter().partition(|record| record.kind == kind::OPT);
        let opt = opts.pop();
        let high = opt.as_ref().map_or(0, |opt| u16::from(opt.ttl.to_be_bytes()[0]) << 4);
        let bit = |number: u16| flags & (1 << number) != 0;
        Some(Self {
            id,
            is_response: bit(15),
            opcode: flags >> 11 & 0xf,
            authoritative: bit(10),
            truncated: bit(9),
            recursion_desired: bit(8),
            recursion: bit(7),
            reserved: [bit(6), bit(5), bit(4)],
            code: high | flags & 0xf,
            question,
            answers,
            authorities,
            additionals,
            edns: opt.map(|opt| edns(&opt)).filter(|_| opts.is_empty()),
            length: (packet.len(), reader.at),
        })
    }

    /// The word for its status.
    pub fn status(&self) -> String {
        let known = match self.code {
            0 => "NOERROR",
            1 => "FORMERR",
            2 => "SERVFAIL",
            3 => "NXDOMAIN",
            4 => "NOTIMP",
            5 => "REFUSED",
            9 => "NOTAUTH",
            16 => "BADVERS",
            code => return format!("RCODE{code}"),
        };
        known.to_owned()
    }

    /// The addresses that it gives, in its order.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.answers.iter().filter_map(Record::address).collect()
    }

    /// The values of its EDNS Client Subnet options.
    pub fn subnets(&self) -> Vec<&[u8]> {
        let options = self.edns.iter().flat_map(|edns| &edns.options);
        options.filter(|(code, _)| *code == EDNS_CLIENT_SUBNET).map(|(_, value)| value.as_slice()).collect()
    }

    /// The scope of its EDNS Client Subnet option: how many bits of the address the answer holds for.
    pub fn scope(&self) -> Option<u8> {
        self.subnets().first()?.get(3).copied()
    }
}

fn edns(opt: &Record) -> Edns {
    let [_, version, flags, _] = opt.ttl.to_be_bytes();
    let mut reader = Reader { packet: &opt.data, at: 0 };
    let next = || {
        let [code, length] = reader.words()?;
        Some((code, reader.octets(usize::from(length))?.to_vec()))
    };
    Edns {
        payload: opt.class,
        version,
        dnssec_ok: flags & 0x80 != 0,
        options: std::iter::from_fn(next).collect(),
    }
}

struct Reader<'a> {
    packet: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn octets(&mut self, count: usize) -> Option<&'a [u8]> {
        let octets = self.packet.get(self.at..self.at + count)?;
        self.at += count;
        Some(octets)
    }

    fn words<const N: usize>(&mut self) -> Option<[u16; N]> {
        let octets = self.octets(2 * N)?;
        let mut words = octets.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        Some([(); N].map(|()| words.next().unwrap_or_default()))
    }

    /// A question has no pointer: there is nothing before it.
    fn question(&mut self) -> Option<Vec<u8>> {
        let start = self.at;
        self.name()?;
        self.octets(4)?;
        Some(self.packet[start..self.at].to_vec())
    }

    fn record(&mut self) -> Option<Record> {
        let owner = self.name()?;
        let [kind, class, high, low, length] = self.words()?;
        let data = self.octets(usize::from(length))?.to_vec();
        Some(Record { owner, kind, class, ttl: u32::from(high) << 16 | u32::from(low), data })
    }

    fn name(&mut self) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        let mut after = None;
        for _ in 0..MOST_POINTERS {
            loop {
                let length = self.octets(1)?[0];
                if length >= 0xc0 {
                    let low = self.octets(1)?[0];
                    after.get_or_insert(self.at);
                    self.at = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                    break;
                }
                name.push(length);
                if length == 0 {
                    self.at = after.unwrap_or(self.at);
                    return Some(name);
                }
                name.extend_from_slice(self.octets(usize::from(length))?);
            }
        }
        None
    }
}
