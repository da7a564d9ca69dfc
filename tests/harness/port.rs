//! Ports to choose beforehand: for whoever has to be told of one before somebody listens there, or listens there once more.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below are the ports of services that a machine may have.
const FIRST: u32 = 15_000;
/// Where the ports begin that the system gives to connections and to whoever asks for any (ip(7)), unless it says otherwise.
const SYSTEMS: u32 = 32_768;

/// A port of 127.0.0.1 at which nobody listens, by TCP or UDP, and which the system gives to nobody; each call has another.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let end = range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(SYSTEMS);
    let all = end.saturating_sub(FIRST);
    if all == 0 {
        // The system gives all of them to whoever asks: then one of those, which somebody else may have later.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        return listener.local_addr().expect("a bound socket has an address").port();
    }
    // Other programs of tests begin elsewhere: numbers that follow one another become ones that are far apart.
    let first = process::id().wrapping_mul(0x9e37_79b1) >> 8;
    let ports = (0..all).map(|_| FIRST + first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % all);
    let taken = taken();
    let mut free = ports.filter_map(|port| u16::try_from(port).ok()).filter(|port| !taken.contains(port));
    free.next().expect("a free port")
}

/// The ports that somebody has, in the network where this thread is (proc_pid_net(5)). A socket that tried one would be there for a
/// moment longer in every process that is just being started.
fn taken() -> BTreeSet<u16> {
    let tables = ["tcp", "tcp6", "udp", "udp6"].map(|kind| format!("/proc/thread-self/net/{kind}"));
    let texts = tables.iter().filter_map(|table| fs::read_to_string(table).ok());
    texts.flat_map(|text| text.lines().filter_map(local_port).collect::<Vec<_>>()).collect()
}

/// `   0: 0100007F:1A50 00000000:0000 0A ...`
fn local_port(line: &str) -> Option<u16> {
    let (_, port) = line.split_whitespace().nth(1)?.rsplit_once(':')?;
    u16::from_str_radix(port, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_somebody_has_are_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = std::net::UdpSocket::bind("[::1]:0").unwrap();
        let taken = taken();
        assert!(taken.contains(&listener.local_addr().unwrap().port()));
        assert!(taken.contains(&socket.local_addr().unwrap().port()));
    }
}
