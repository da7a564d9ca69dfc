//! A query put together octet by octet.

use std::net::IpAddr;

use super::kind;

/// The number of the EDNS Client Subnet option (RFC 7871).
pub const EDNS_CLIENT_SUBNET: u16 = 8;

/// The bits of the second word of a header (RFC 1035, section 4.1.1).
const RECURSION_DESIRED: u16 = 0x0100;

/// A query in the making: one question of class IN, a header that says so, no EDNS.
#[derive(Debug, Clone)]
pub struct Query {
    id: u16,
    flags: u16,
    counts: [u16; 4],
    questions: Vec<u8>,
    before: Vec<u8>,
    edns: Option<Opt>,
    after: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Opt {
    owner: Vec<u8>,
    payload: u16,
    extended: u32,
    data: Vec<u8>,
    copies: u16,
}

impl Query {
    /// Asks for this name (without a dot at its end; "" is the root) and type.
    pub fn of(name: &str, kind: u16) -> Self {
        Self::empty().question(&self::name(name), kind, 1)
    }

    /// Asks nothing.
    pub fn empty() -> Self {
        Self {
            id: 0x4f52,
            flags: 0,
            counts: [0; 4],
            questions: Vec::new(),
            before: Vec::new(),
            edns: None,
            after: Vec::new(),
        }
    }

    /// One more question; the name is given as octets.
    #[must_use]
    pub fn question(mut self, name: &[u8], kind: u16, class: u16) -> Self {
        self.questions.extend_from_slice(name);
        self.questions.extend_from_slice(&kind.to_be_bytes());
        self.questions.extend_from_slice(&class.to_be_bytes());
        self.counts[0] += 1;
        self
    }

    /// The header's second word: QR, opcode, AA, TC, RD, RA, Z, AD, CD and the status.
    #[must_use]
    pub fn flags(mut self, flags: u16) -> Self {
        self.flags |= flags;
        self
    }

    /// Wants its question pursued.
    #[must_use]
    pub fn recursive(self) -> Self {
        self.flags(RECURSION_DESIRED)
    }

    /// Of another kind: 0 is a query, 4 a NOTIFY, 5 an UPDATE.
    #[must_use]
    pub fn opcode(self, opcode: u16) -> Self {
        self.flags(opcode << 11)
    }

    /// Claims this many questions, answers, authorities and additional records, whatever there is.
    #[must_use]
    pub fn counts(mut self, counts: [u16; 4]) -> Self {
        self.counts = counts;
        self
    }

    /// One more record before OPT, as octets, in this section: 1 for answers, 2 for authorities, 3 for additionals.
    #[must_use]
    pub fn record(mut self, section: usize, record: &[u8]) -> Self {
        self.before.extend_from_slice(record);
        self.counts[section] += 1;
        self
    }

    /// Speaks EDNS and takes answers of this length.
    #[must_use]
    pub fn edns(mut self, payload: u16) -> Self {
        self.counts[3] += u16::from(self.edns.is_none());
        let new = Opt { owner: vec![0], payload, extended: 0, data: Vec::new(), copies: 1 };
        self.edns = Some(Opt { payload, ..self.edns.unwrap_or(new) });
        self
    }

    /// Of this version of EDNS.
    #[must_use]
    pub fn version(self, version: u8) -> Self {
        self.with_edns(|opt| opt.extended |= u32::from(version) << 16)
    }

    /// Wants DNSSEC's records too.
    #[must_use]
    pub fn dnssec_ok(self) -> Self {
        self.with_edns(|opt| opt.extended |= 0x8000)
    }

    /// With this option of EDNS.
    #[must_use]
    pub fn option(self, code: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len()).expect("a short option");
        self.raw_option(&[&code.to_be_bytes(), &length.to_be_bytes(), value].concat())
    }

    /// With these octets among the options of EDNS.
    #[must_use]
    pub fn raw_option(self, octets: &[u8]) -> Self {
        self.with_edns(|opt| opt.data.extend_from_slice(octets))
    }

    /// With the OPT record at this name, which has to be the root's.
    #[must_use]
    pub fn edns_owner(self, owner: &[u8]) -> Self {
        self.with_edns(|opt| opt.owner = owner.to_vec())
    }

    /// With the OPT record twice.
    #[must_use]
    pub fn edns_twice(mut self) -> Self {
        self.counts[3] += 1;
        self.with_edns(|opt| opt.copies += 1)
    }

    /// With these octets behind everything.
    #[must_use]
    pub fn trailing(mut self, octets: &[u8]) -> Self {
        self.after.extend_from_slice(octets);
        self
    }

    /// The packet.
    pub fn bytes(&self) -> Vec<u8> {
        let header = [[self.id, self.flags].as_slice(), &self.counts].concat();
        let mut packet: Vec<u8> = header.into_iter().flat_map(u16::to_be_bytes).collect();
        packet.extend_from_slice(&self.questions);
        packet.extend_from_slice(&self.before);
        if let Some(opt) = &self.edns {
            (0..opt.copies).for_each(|_| packet.extend_from_slice(&opt.bytes()));
        }
        packet.extend_from_slice(&self.after);
        packet
    }

    fn with_edns(self, change: impl FnOnce(&mut Opt)) -> Self {
        let mut query = if self.edns.is_some() { self } else { self.edns(1232) };
        change(query.edns.as_mut().expect("it was given one above"));
        query
    }
}

impl Opt {
    fn bytes(&self) -> Vec<u8> {
        let length = u16::try_from(self.data.len()).expect("short options");
        let fixed = [kind::OPT.to_be_bytes(), self.payload.to_be_bytes()].concat();
        [&self.owner, &fixed[..], &self.extended.to_be_bytes(), &length.to_be_bytes(), &self.data].concat()
    }
}

/// A name as octets: `3www7example3com0`.
pub fn name(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        octets.push(u8::try_from(label.len()).expect("a label of 63 octets at most"));
        octets.extend_from_slice(label.as_bytes());
    }
    octets.push(0);
    octets
}

/// The value of an EDNS Client Subnet option for `address` with this many bits of it, the others zero.
pub fn subnet(address: IpAddr, source: u8) -> Vec<u8> {
    let (family, octets) = match address {
        IpAddr::V4(v4) => (1, v4.octets().to_vec()),
        IpAddr::V6(v6) => (2, v6.octets().to_vec()),
    };
    let length = usize::from(source.div_ceil(8));
    let mut value = vec![0, family, source, 0];
    value.extend_from_slice(&octets[..length]);
    if let (Some(last), spare @ 1..) = (value[4..].last_mut(), (8 - source % 8) % 8) {
        *last &= u8::MAX << spare;
    }
    value
}
