//! Addresses of peers: the few shapes that are dialled, and where each leads.

use std::net::{IpAddr, SocketAddr};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use resolver::peer::PeerId;

/// By what a connection is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Carrier {
    Tcp,
    Quic,
}

/// Where an address leads: `/ip4/192.0.2.7/tcp/6738`, `/ip6/2001:db8::7/udp/6738/quic-v1`, either with or without an id at its
/// end. Any other shape, a name or a relay among them, is nothing that a peer can make this gateway connect to.
pub(super) fn place(address: &Multiaddr) -> Option<(SocketAddr, Carrier)> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip).to_canonical(),
        _ => return None,
    };
    let (port, carrier) = match parts.next()? {
        Protocol::Tcp(port) => (port, Carrier::Tcp),
        Protocol::Udp(port) => {
            (port, parts.next().filter(|next| *next == Protocol::QuicV1).map(|_| Carrier::Quic)?)
        }
        _ => return None,
    };
    let ends = match parts.next() {
        None => true,
        Some(Protocol::P2p(_)) => parts.next().is_none(),
        Some(_) => false,
    };
    (ends && port != 0 && !ip.is_unspecified() && !ip.is_multicast())
        .then_some((SocketAddr::new(ip, port), carrier))
}

/// The address of a place.
pub(super) fn of_place(place: SocketAddr, carrier: Carrier) -> Multiaddr {
    let ip = Multiaddr::from(place.ip());
    match carrier {
        Carrier::Tcp => ip.with(Protocol::Tcp(place.port())),
        Carrier::Quic => ip.with(Protocol::Udp(place.port())).with(Protocol::QuicV1),
    }
}

/// The IP address that a connection's other end has.
pub(super) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip).to_canonical()),
        _ => None,
    })
}

/// The same id in our words; `None`: it is of a key that is no gateway's.
pub(super) fn id_of(peer: &libp2p::PeerId) -> Option<PeerId> {
    peer.to_base58().parse().ok()
}

/// The same id in libp2p's words.
pub(super) fn peer_of(id: PeerId) -> Option<libp2p::PeerId> {
    id.to_string().parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Option<(SocketAddr, Carrier)> {
        place(&text.parse().unwrap())
    }

    #[test]
    fn an_address_leads_to_one_place_by_one_carrier() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(of("/ip4/192.0.2.7/tcp/6738"), Some((at("192.0.2.7:6738"), Carrier::Tcp)));
        assert_eq!(of("/ip6/2001:db8::7/udp/6738/quic-v1"), Some((at("[2001:db8::7]:6738"), Carrier::Quic)));
        assert_eq!(of("/ip6/::ffff:192.0.2.7/tcp/1"), Some((at("192.0.2.7:1"), Carrier::Tcp)));
        let id = PeerId::of_key([7; 32]);
        assert_eq!(
            of(&format!("/ip4/192.0.2.7/tcp/6738/p2p/{id}")),
            Some((at("192.0.2.7:6738"), Carrier::Tcp))
        );
    }

    #[test]
    fn names_relays_and_places_that_are_none_are_nowhere() {
        let id = PeerId::of_key([7; 32]);
        for refused in [
            "/dns4/a.example/tcp/6738",
            "/ip4/192.0.2.7",
            "/ip4/192.0.2.7/tcp/0",
            "/ip4/0.0.0.0/tcp/6738",
            "/ip4/224.0.0.251/tcp/5353",
            "/ip4/192.0.2.7/udp/6738",
            "/ip4/192.0.2.7/tcp/6738/ws",
            &format!("/ip4/192.0.2.7/tcp/6738/p2p/{id}/p2p-circuit"),
        ] {
            assert_eq!(of(refused), None, "{refused}");
        }
    }

    proptest! {
        #[test]
        fn whatever_bytes_are_an_address_lead_to_a_place_or_nowhere(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Some((at, carrier)) = Multiaddr::try_from(bytes).ok().as_ref().and_then(place) {
                prop_assert_eq!(place(&of_place(at, carrier)), Some((at, carrier)));
            }
        }
    }
}
