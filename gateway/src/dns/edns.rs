//! EDNS (RFC 6891): the OPT record of a query, read from its octets, and that of an answer.
//!
//! The codec's own reading hides what is wrong with an option, and its writing has no order: so both are done here.

use resolver::subnet::Subnet;

/// What passes everywhere without being fragmented: the value of DNS flag day 2020.
pub(super) const MAX_PAYLOAD: u16 = 1232;
/// Questions and records that are gone through on the way to the OPT record: a query brings one question, with IXFR
/// the SOA that its sender has (RFC 1995), an OPT record and perhaps a signature. An update may bring more.
const MOST_ENTRIES: u16 = 32;
/// The type of the OPT record.
const OPT: u16 = 41;
/// Options that are known here: NSID (RFC 5001), the client's subnet (RFC 7871), how long a connection is kept (RFC
/// 7828).
const NSID: u16 = 3;
const SUBNET: u16 = 8;
const KEEPALIVE: u16 = 11;
/// The bit of the flags that says DNSSEC OK.
const DNSSEC_OK: u16 = 0x8000;

/// The OPT record of a query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Edns {
    /// What the client takes by UDP.
    pub(super) payload: u16,
    pub(super) version: u8,
    pub(super) dnssec_ok: bool,
    /// It wants to know which server answers.
    pub(super) wants_id: bool,
    /// It wants to know how long the connection is kept.
    pub(super) wants_keepalive: bool,
    /// Whom it asks for.
    pub(super) subnet: Option<Subnet>,
}

/// What an answer's OPT record says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said<'a> {
    /// The high bits of the response code.
    pub(super) code_high: u8,
    pub(super) dnssec_ok: bool,
    /// Which server answers.
    pub(super) id: Option<&'a [u8]>,
    /// The subnet that was asked for, and for how many bits the answer holds.
    pub(super) subnet: Option<(Subnet, u8)>,
    /// How long a silent connection is kept, in units of 100 ms.
    pub(super) keepalive: Option<u16>,
}

/// A packet that is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed {
    /// It has an OPT record: who speaks EDNS is answered with it (RFC 6891, section 7).
    pub(super) speaks_edns: bool,
}

/// How many entries each section of a packet has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    pub(super) questions: u16,
    /// Answers and authorities.
    pub(super) records: u16,
    pub(super) additionals: u16,
}

impl Edns {
    /// The OPT record of a packet, its sections beginning at `start`; `None` if it has none.
    pub(super) fn read(packet: &[u8], start: usize, counts: Counts) -> Result<Option<Self>, Malformed> {
        let Counts { questions, records, additionals } = counts;
        let mut walk = Walk { packet, at: start };
        let mut speaks_edns = false;
        let mut found = None;
        let mut go = || -> Option<()> {
            let few = [questions, records, additionals].iter().all(|count| *count <= MOST_ENTRIES);
            if !few {
                return None;
            }
            (0..questions).try_for_each(|_| walk.question())?;
            (0..records).try_for_each(|_| walk.record().map(drop))?;
            for _ in 0..additionals {
                let record = walk.header()?;
                speaks_edns |= record.kind == OPT;
                let data = walk.data()?;
                if record.kind != OPT {
                    continue;
                }
                if found.is_some() || !record.is_root {
                    return None;
                }
                found = Some(Self::of(&record, data)?);
            }
            Some(())
        };
        match go() {
            Some(()) => Ok(found),
            None => Err(Malformed { speaks_edns }),
        }
    }

    /// The record's class is the payload, its TTL the rest of the header (RFC 6891, section 6.1.3).
    fn of(record: &RecordHeader, mut data: &[u8]) -> Option<Self> {
        let [_, version, high, low] = record.ttl;
        let dnssec_ok = u16::from_be_bytes([high, low]) & DNSSEC_OK != 0;
        let mut edns = Self { payload: record.class, version, dnssec_ok, ..Self::default() };
        // Options of a version that nobody knows may be anything.
        while version == 0 && !data.is_empty() {
            let (code, rest) = data.split_first_chunk()?;
            let (length, rest) = rest.split_first_chunk()?;
            let (content, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            edns.option(u16::from_be_bytes(*code), content)?;
            data = rest;
        }
        Some(edns)
    }

    fn option(&mut self, code: u16, content: &[u8]) -> Option<()> {
        match code {
            NSID => self.wants_id = true,
            KEEPALIVE => self.wants_keepalive = true,
            SUBNET if self.subnet.is_some() => return None,
            SUBNET => self.subnet = Some(Subnet::read(content).ok()?),
            _ => {}
        }
        Some(())
    }
}

impl Counts {
    /// One additional record and nothing before it.
    pub(super) fn additional() -> Self {
        Self { questions: 0, records: 0, additionals: 1 }
    }
}

impl<'a> Said<'a> {
    /// What is said to a query with `edns` by the server with this `id`, in an answer with this code that holds for
    /// `scope` bits.
    pub(super) fn to(edns: &Edns, code_high: u8, scope: u8, id: &'a [u8], keepalive: Option<u16>) -> Self {
        Self {
            code_high,
            // RFC 3225, section 3: the bit is copied.
            dnssec_ok: edns.dnssec_ok,
            id: (edns.wants_id && !id.is_empty()).then_some(id),
            subnet: edns.subnet.map(|subnet| (subnet, scope)),
            keepalive: keepalive.filter(|_| edns.wants_keepalive),
        }
    }

    /// Appends the record.
    pub(super) fn write(&self, packet: &mut Vec<u8>) {
        packet.push(0);
        packet.extend(OPT.to_be_bytes());
        packet.extend(MAX_PAYLOAD.to_be_bytes());
        packet.extend([self.code_high, 0]);
        packet.extend(if self.dnssec_ok { DNSSEC_OK } else { 0 }.to_be_bytes());
        let length = packet.len();
        packet.extend([0, 0]);
        if let Some(id) = self.id {
            option(packet, NSID, id.len());
            packet.extend_from_slice(id);
        }
        if let Some((subnet, scope)) = self.subnet {
            option(packet, SUBNET, subnet.written_len());
            subnet.write(scope, packet);
        }
        if let Some(keepalive) = self.keepalive {
            option(packet, KEEPALIVE, 2);
            packet.extend(keepalive.to_be_bytes());
        }
        let written = octets(packet.len() - length - 2);
        packet[length..length + 2].copy_from_slice(&written);
    }
}

fn option(packet: &mut Vec<u8>, code: u16, length: usize) {
    packet.extend(code.to_be_bytes());
    packet.extend(octets(length));
}

/// Lengths here are of a few hundred octets at most.
fn octets(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

/// A packet's sections, gone through entry by entry.
struct Walk<'a> {
    packet: &'a [u8],
    at: usize,
}

/// What stands before a record's data.
struct RecordHeader {
    is_root: bool,
    kind: u16,
    class: u16,
    ttl: [u8; 4],
}

impl<'a> Walk<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.packet.get(self.at..)?.get(..length)?;
        self.at += length;
        Some(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// Passes a name; whether it was the root's.
    fn name(&mut self) -> Option<bool> {
        let start = self.at;
        loop {
            let [length] = self.chunk()?;
            match length {
                0 => return Some(self.at == start + 1),
                1..=63 => drop(self.take(usize::from(length))?),
                // A pointer ends a name (RFC 1035, section 4.1.4); to where does not matter.
                0xC0.. => return self.take(1).map(|_| false),
                _ => return None,
            }
        }
    }

    fn question(&mut self) -> Option<()> {
        self.name()?;
        self.take(4).map(drop)
    }

    fn header(&mut self) -> Option<RecordHeader> {
        let is_root = self.name()?;
        let kind = u16::from_be_bytes(self.chunk()?);
        let class = u16::from_be_bytes(self.chunk()?);
        Some(RecordHeader { is_root, kind, class, ttl: self.chunk()? })
    }

    fn data(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_be_bytes(self.chunk()?);
        self.take(usize::from(length))
    }

    fn record(&mut self) -> Option<&'a [u8]> {
        self.header()?;
        self.data()
    }
}
