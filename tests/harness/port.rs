//! Ports to choose beforehand: for whoever has to be told of one before somebody listens there, or listens there once more.

use std::fs;
use std::net::{TcpListener, UdpSocket};
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
    let all = end.checked_sub(FIRST).filter(|all| *all > 0).expect("ports that the system gives to nobody");
    // Other programs of tests begin elsewhere.
    let first = process::id().wrapping_mul(61);
    let ports = (0..all).map(|_| FIRST + first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % all);
    let is_free = |port: &u16| {
        TcpListener::bind(("127.0.0.1", *port)).is_ok() && UdpSocket::bind(("127.0.0.1", *port)).is_ok()
    };
    ports.filter_map(|port| u16::try_from(port).ok()).find(is_free).expect("a free port")
}
