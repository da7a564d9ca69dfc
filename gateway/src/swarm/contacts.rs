//! Whom the operator names: their names are looked up anew whenever they are dialled, for addresses change.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::address::{self, Carrier};

/// The longest that looking a name up may take.
const LOOK_UP: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried.
const MOST: usize = 4;

/// Where an address leads now: itself, or those of the name in it. Nowhere when there is no such name, or the address is of a
/// kind that nothing here speaks.
pub(super) async fn places(address: &Multiaddr) -> Vec<(SocketAddr, Carrier)> {
    if let Some(place) = address::place(address) {
        return vec![place];
    }
    let Some((name, v4, v6)) = address.iter().next().and_then(name) else { return Vec::new() };
    let Some((shape, carrier)) = shape(address) else { return Vec::new() };
    let Ok(Ok(found)) = timeout(LOOK_UP, lookup_host((name, shape.port()))).await else { return Vec::new() };
    let wanted = |place: &SocketAddr| match place.ip() {
        IpAddr::V4(_) => v4,
        IpAddr::V6(_) => v6,
    };
    found.filter(wanted).take(MOST).map(|place| (place, carrier)).collect()
}

/// Port and carrier, whatever the name leads to; `None`: it is of a kind that nothing here speaks.
pub(super) fn shape(address: &Multiaddr) -> Option<(SocketAddr, Carrier)> {
    let mut parts = address.iter();
    match name(parts.next()?) {
        // With any address in place of its name it is one of the shapes that are known, or none.
        Some(_) => {
            address::place(&std::iter::once(Protocol::Ip4([127, 0, 0, 1].into())).chain(parts).collect())
        }
        None => address::place(address),
    }
}

/// The name, and addresses of which families are meant.
fn name(part: Protocol<'_>) -> Option<(String, bool, bool)> {
    match part {
        Protocol::Dns(name) => Some((name.into_owned(), true, true)),
        Protocol::Dns4(name) => Some((name.into_owned(), true, false)),
        Protocol::Dns6(name) => Some((name.into_owned(), false, true)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of(text: &str) -> Vec<String> {
        let found = places(&text.parse().unwrap()).await;
        found.iter().map(|(place, carrier)| format!("{place} {carrier:?}")).collect()
    }

    #[tokio::test]
    async fn a_name_leads_to_its_addresses() {
        assert_eq!(of("/ip4/192.0.2.7/tcp/6738").await, ["192.0.2.7:6738 Tcp"]);
        assert_eq!(of("/dns4/localhost/udp/6738/quic-v1").await, ["127.0.0.1:6738 Quic"]);
        assert!(of("/dns4/nobody.invalid/tcp/6738").await.is_empty());
        assert!(of("/dns4/localhost/tcp/6738/ws").await.is_empty());
        assert!(of("/dnsaddr/localhost").await.is_empty());
    }
}
