//! A table of questions, put to a gateway and to its neighbours.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{NameServer, Program};
use crate::packet::{self, Over, Query, Reply};

/// What is taken by datagram without EDNS, and with it at most.
const LIMITS: [usize; 2] = [512, 1232];
/// Seconds that it may hold that there is nothing: a peer that comes back is not missed for longer.
const LONGEST_NEGATIVE: u32 = 60;
/// What a server says that says nothing.
const SILENCE: &str = "silence";

/// One question, and what has to be said to it.
#[derive(Debug, Clone)]
pub struct Row {
    title: String,
    packet: Vec<u8>,
    over: Over,
    expected: String,
    others: BTreeMap<&'static str, (String, &'static str)>,
}

impl Row {
    /// Everybody has to say this to this question: as a [`Reply`] is displayed, or "silence".
    pub fn new(title: impl Into<String>, query: &Query, expected: impl Into<String>) -> Self {
        let (title, expected) = (title.into(), expected.into());
        Self { title, packet: query.bytes(), over: Over::Udp, expected, others: BTreeMap::new() }
    }

    /// A neighbour says something else, for this reason.
    #[must_use]
    pub fn but(mut self, program: Program, says: impl Into<String>, because: &'static str) -> Self {
        self.others.insert(program.name(), (says.into(), because));
        self
    }

    /// Two neighbours say the same else.
    #[must_use]
    pub fn but_both(self, programs: [Program; 2], says: &str, because: &'static str) -> Self {
        programs.into_iter().fold(self, |row, program| row.but(program, says, because))
    }

    /// All neighbours say the same else.
    #[must_use]
    pub fn but_all(self, says: &str, because: &'static str) -> Self {
        Program::STEERING.into_iter().fold(self, |row, program| row.but(program, says, because))
    }

    /// It is asked on a connection.
    #[must_use]
    pub fn tcp(mut self) -> Self {
        self.over = Over::Tcp;
        self.title += " (TCP)";
        self
    }

    fn ask(&self, server: SocketAddr, expected: &str) -> Result<Option<Reply>, String> {
        let ask = if expected == SILENCE { packet::ask_in_vain } else { packet::ask };
        let Some(answer) = ask(server, &self.packet, self.over) else { return Ok(None) };
        Reply::read(&answer).map(Some).ok_or_else(|| format!("no message: {answer:02x?}"))
    }

    /// What is wrong with what this server says.
    fn check(&self, name: &str, server: SocketAddr, expected: &str, strict: bool) -> Option<String> {
        let reply = match self.ask(server, expected) {
            Ok(reply) => reply,
            Err(complaint) => return Some(format!("{name}: {}: {complaint}", self.title)),
        };
        let words = reply.as_ref().map_or_else(|| SILENCE.to_owned(), Reply::to_string);
        let faults = reply.iter().filter(|_| strict).flat_map(|reply| self.faults(reply)).collect::<Vec<_>>();
        (words != expected || !faults.is_empty())
            .then(|| format!("{name}: {}: {words:?}, not {expected:?} {}", self.title, faults.join(", ")))
    }

    /// What no answer may have, whatever it says.
    fn faults(&self, reply: &Reply) -> Vec<&'static str> {
        let word = |at: usize| u16::from_be_bytes([self.packet[at], self.packet[at + 1]]);
        let (flags, after) = (word(2), &self.packet[12..]);
        let [z, ad, cd] = reply.reserved;
        let edns = reply.edns.as_ref();
        let checks = [
            (reply.is_response, "it is no answer"),
            (reply.id == word(0), "another id"),
            (reply.opcode == flags >> 11 & 0xf, "another opcode"),
            (reply.recursion_desired == (flags & 0x0100 != 0), "RD is not copied"),
            (!z && !ad, "Z or AD is set"),
            (!cd || flags & 0x0010 != 0, "CD is set"),
            (reply.length.0 == reply.length.1, "octets behind the end"),
            (reply.length.0 <= self.limit(), "too long"),
            (reply.question.as_ref().is_none_or(|octets| after.starts_with(octets)), "another question"),
            (reply.answers.iter().all(|record| after.starts_with(&record.owner)), "records of another name"),
            (edns.is_none_or(|edns| edns.version == 0), "another version of EDNS"),
            (edns.is_none_or(|edns| usize::from(edns.payload) == LIMITS[1]), "another size is offered"),
            (reply.authorities.iter().all(|record| record.ttl <= LONGEST_NEGATIVE), "nothing for too long"),
        ];
        checks.into_iter().filter(|(right, _)| !right).map(|(_, fault)| fault).collect()
    }

    /// How long the answer may be: by its OPT record, where that follows the one question.
    fn limit(&self) -> usize {
        if self.over == Over::Tcp {
            return usize::from(u16::MAX);
        }
        let end = self.packet.iter().skip(12).position(|octet| *octet == 0).map(|zero| 12 + zero + 5);
        match end.and_then(|end| self.packet.get(end..end + 5)) {
            Some([0, 0, 41, high, low]) => {
                usize::from(u16::from_be_bytes([*high, *low])).clamp(LIMITS[0], LIMITS[1])
            }
            _ => LIMITS[0],
        }
    }
}

/// Puts all rows to a gateway, at its doors for datagrams and for connections, and to its neighbours; prints the table.
///
/// # Panics
/// With every cell that is not as it should be, and every fault that an answer of the gateway has besides.
#[expect(clippy::print_stdout, reason = "a table for whoever asks for it with --nocapture")]
pub fn put(rows: &[Row], gateway: [SocketAddr; 2], neighbours: &[NameServer]) {
    let mut wrong = Vec::new();
    for row in rows {
        println!("{:45} {}", row.title, row.expected);
        let door = gateway[usize::from(row.over == Over::Tcp)];
        wrong.extend(row.check("gateway", door, &row.expected, true));
        for neighbour in neighbours {
            let name = neighbour.program().name();
            let other = row.others.get(name);
            if let Some((says, because)) = other {
                println!("{name:>45} {says} ({because})");
            }
            let expected = other.map_or(&row.expected, |(says, _)| says);
            wrong.extend(row.check(name, neighbour.address(), expected, false));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
