//! Announcements of peers that are not there, as libp2p's multicast DNS makes them.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use socket2::SockRef;

use crate::identity::Identity;

/// Where multicast DNS is spoken (RFC 6762).
const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), 5353);
/// The service that all of libp2p is found under.
const SERVICE: &str = "_p2p._udp.local";
/// A response that has the last word: one answer, one record beside it.
const HEADER: [u8; 12] = [0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// PTR and TXT of the Internet, for two minutes each.
const PTR: [u8; 8] = [0, 12, 0, 1, 0, 0, 0, 120];
const TXT: [u8; 8] = [0, 16, 0x80, 1, 0, 0, 0, 120];

/// Announces so many peers from this address of the calling thread's place; none of them is there.
pub fn announce_nobodies(from: Ipv4Addr, count: usize) {
    let socket = UdpSocket::bind((from, 0)).expect("a free port");
    SockRef::from(&socket).set_multicast_if_v4(&from).expect("an interface of this place");
    for number in 0..count {
        socket.send_to(&announcement(from, number), GROUP).expect("a network with multicast");
    }
}

fn announcement(from: Ipv4Addr, number: usize) -> Vec<u8> {
    let instance = name(&format!("nobody{number:032}.{SERVICE}"));
    let text = format!("dnsaddr=/ip4/{from}/tcp/{}/p2p/{}", 1 + number % 60_000, Identity::new().id());
    let text = [&[u8::try_from(text.len()).expect("a short address")], text.as_bytes()].concat();
    [&HEADER[..], &name(SERVICE), &PTR, &sized(&instance), &instance, &TXT, &sized(&text)].concat()
}

fn sized(data: &[u8]) -> Vec<u8> {
    [&u16::try_from(data.len()).expect("a short record").to_be_bytes(), data].concat()
}

fn name(text: &str) -> Vec<u8> {
    let label = |label: &str| [&[u8::try_from(label.len()).expect("a label")], label.as_bytes()].concat();
    text.split('.').flat_map(label).chain([0]).collect()
}
