//! DNS packets as octets: queries that no library would make, and answers as they came.
//!
//! ```text
//! let query = Query::of("registry.open-registry.dev", A).edns(1232).option(8, &[0, 1, 24, 0, 192, 0, 2]);
//! let answer = packet::ask(server, &query.bytes(), Over::Udp).expect("an answer");
//! assert_eq!(answer.to_string(), "NOERROR aa A 45.83.220.11 opt ecs 0118:00:c00002");
//! ```

mod query;
mod reading;

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

pub use query::{EDNS_CLIENT_SUBNET, Query, name, subnet};
pub use reading::{Record, Reply};

use crate::dns;

/// How long an answer may take; silence is told after it.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same, where silence is expected.
const SILENCE: Duration = Duration::from_millis(500);

/// How a packet travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// As one datagram.
    Udp,
    /// On a connection of its own.
    Tcp,
}

/// What comes back for these octets, as it came; `None`: nothing did, or the connection was closed.
pub fn ask(server: SocketAddr, packet: &[u8], over: Over) -> Option<Vec<u8>> {
    exchange(server, packet, over, PATIENCE)
}

/// The same where the answer is most likely none, which is waited for shortly.
pub fn ask_in_vain(server: SocketAddr, packet: &[u8], over: Over) -> Option<Vec<u8>> {
    exchange(server, packet, over, SILENCE)
}

fn exchange(server: SocketAddr, packet: &[u8], over: Over, within: Duration) -> Option<Vec<u8>> {
    match over {
        Over::Udp => dns::exchange(server, packet, within),
        Over::Tcp => {
            let length = u16::try_from(packet.len()).expect("a packet that fits into a frame");
            on_connection(server, &[&length.to_be_bytes()[..], packet].concat(), 1, within).pop()
        }
    }
}

/// Sends these octets on one connection, and gives the answers that came, this many at most.
pub fn on_connection(server: SocketAddr, octets: &[u8], most: usize, within: Duration) -> Vec<Vec<u8>> {
    let Ok(mut stream) = TcpStream::connect_timeout(&server, PATIENCE) else { return Vec::new() };
    stream.set_read_timeout(Some(within)).expect("a time limit");
    if stream.write_all(octets).is_err() {
        return Vec::new();
    }
    let next = || {
        let mut length = [0; 2];
        stream.read_exact(&mut length).ok()?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).ok()?;
        Some(answer)
    };
    std::iter::from_fn(next).take(most).collect()
}

/// The types that tests ask for, by number (RFC 1035, 3596, 6891, 8482, 9460).
pub mod kind {
    /// An IPv4 address.
    pub const A: u16 = 1;
    /// The name servers of a zone.
    pub const NS: u16 = 2;
    /// The start of authority.
    pub const SOA: u16 = 6;
    /// What a machine is; nowadays: that there is no ANY.
    pub const HINFO: u16 = 13;
    /// Mail.
    pub const MX: u16 = 15;
    /// Words.
    pub const TXT: u16 = 16;
    /// An IPv6 address.
    pub const AAAA: u16 = 28;
    /// EDNS.
    pub const OPT: u16 = 41;
    /// How to reach a web server.
    pub const HTTPS: u16 = 65;
    /// A zone's changes.
    pub const IXFR: u16 = 251;
    /// A whole zone.
    pub const AXFR: u16 = 252;
    /// Everything.
    pub const ANY: u16 = 255;
}

/// The word for a type, or `TYPE<number>`.
fn kind_name(kind: u16) -> String {
    let known = match kind {
        kind::A => "A",
        kind::NS => "NS",
        kind::SOA => "SOA",
        kind::HINFO => "HINFO",
        kind::MX => "MX",
        kind::TXT => "TXT",
        kind::AAAA => "AAAA",
        _ => return format!("TYPE{kind}"),
    };
    known.to_owned()
}

/// An answer in one line, for tables: what it says, and nothing that differs from one time to the next.
///
/// `NOERROR aa A 45.83.220.11 opt`, `NXDOMAIN aa +SOA`, `FORMERR opt`, `NOTIMP no question`.
impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.status())?;
        for (set, word) in [(self.authoritative, " aa"), (self.truncated, " tc"), (self.recursion, " ra")] {
            out.write_str(if set { word } else { "" })?;
        }
        let mut said: Vec<String> = self.answers.iter().map(record_in_words).collect();
        said.sort();
        said.iter().try_for_each(|record| write!(out, " {record}"))?;
        let beside = self.authorities.iter().filter(|record| record.kind == kind::SOA);
        beside.into_iter().try_for_each(|_| write!(out, " +SOA"))?;
        if self.question.is_none() {
            out.write_str(" no question")?;
        }
        if self.edns.is_some() {
            out.write_str(" opt")?;
        }
        self.subnets().iter().try_for_each(|option| write!(out, " ecs {}", subnet_in_words(option)))
    }
}

fn record_in_words(record: &Record) -> String {
    match record.address() {
        Some(IpAddr::V4(v4)) => format!("A {v4}"),
        Some(IpAddr::V6(v6)) => format!("AAAA {v6}"),
        None => kind_name(record.kind),
    }
}

/// `1/24/0 c00002`: family, source, scope and the address' octets.
fn subnet_in_words(option: &[u8]) -> String {
    let [high, low, source, scope, address @ ..] = option else { return format!("{option:02x?}") };
    let octets: String = address.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{}/{source}/{scope} {octets}", u16::from_be_bytes([*high, *low])).trim_end().to_owned()
}
