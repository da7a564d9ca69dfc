//! This machine's network interfaces, and when they change.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::SockaddrStorage;
use resolver::links::{Link, Links};
use tokio::sync::watch;

/// How soon a new address is noticed. Asking is one system call; a machine's addresses change when its user walks to
/// another room.
const EVERY: Duration = Duration::from_secs(5);

/// An address of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The interface that has it: `eth0`.
    pub interface: String,
    /// Whether that is up.
    pub up: bool,
    /// The address, with the prefix of its network.
    pub network: IpNet,
}

/// All addresses of this machine, in the system's order.
///
/// # Errors
/// When the system does not say.
pub fn addresses() -> io::Result<Vec<Address>> {
    let address = |one: InterfaceAddress| {
        let network = IpNet::with_netmask(one.address.and_then(ip)?, one.netmask.and_then(ip)?).ok()?;
        let up = one.flags.contains(InterfaceFlags::IFF_UP);
        Some(Address { interface: one.interface_name, up, network })
    };
    Ok(getifaddrs()?.filter_map(address).collect())
}

/// The interfaces as they are now.
///
/// # Errors
/// When the system does not say.
pub fn now() -> io::Result<Links> {
    let mut links: BTreeMap<String, Vec<IpNet>> = BTreeMap::new();
    for address in addresses()? {
        links.entry(address.interface).or_default().push(address.network);
    }
    let link = |(name, networks): (String, _)| {
        // An interface that has gone meanwhile has no number.
        let index = if_nametoindex(name.as_str()).ok()?;
        Some(Link { index, networks })
    };
    Ok(Links(links.into_iter().filter_map(link).collect()))
}

/// The interfaces as they are, now and whenever they have changed. Ends with its last receiver.
///
/// # Errors
/// When the system does not say what there is now.
pub fn watch() -> io::Result<watch::Receiver<Arc<Links>>> {
    let (sender, receiver) = watch::channel(Arc::new(now()?));
    tokio::spawn(async move {
        while !sender.is_closed() {
            tokio::time::sleep(EVERY).await;
            match now() {
                Ok(links) => {
                    sender.send_if_modified(|known| {
                        let changed = **known != links;
                        if changed {
                            *known = Arc::new(links);
                        }
                        changed
                    });
                }
                Err(error) => tracing::debug!(%error, "cannot see the network interfaces"),
            }
        }
    });
    Ok(receiver)
}

fn ip(address: SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn loopback_is_one_of_the_interfaces() {
        let links = now().unwrap();
        let loopback = |network: &IpNet| network.contains(&IpAddr::from(Ipv4Addr::LOCALHOST));
        assert!(links.0.iter().any(|link| link.networks.iter().any(loopback)), "{links:?}");
    }
}
