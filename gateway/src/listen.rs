//! Binding to the addresses that a setting names.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpListener;

/// The kernel's queue of connections to be accepted.
const BACKLOG: i32 = 1024;

/// Sockets that are bound but not served yet.
#[derive(Debug, Default)]
pub struct Listeners(Vec<TcpListener>);

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({setting}): {}", advice(setting, error, is_managed()))]
pub struct BindError {
    address: SocketAddr,
    setting: &'static str,
    error: io::Error,
}

impl BindError {
    /// `address` of `setting` could not be bound.
    #[must_use]
    pub fn new(setting: &'static str, address: SocketAddr, error: io::Error) -> Self {
        Self { address, setting, error }
    }
}

impl Listeners {
    /// Binds all addresses of a setting, or none. Where there is no IPv6, its loopback and `[::]` may be missing
    /// beside others.
    ///
    /// # Errors
    /// [`BindError`] says which address and what to do about it.
    pub fn bind(setting: &'static str, addresses: &[SocketAddr]) -> Result<Self, BindError> {
        let (mut listeners, mut excused) = (Vec::new(), None);
        for address in addresses {
            match bind(*address) {
                Ok(listener) => listeners.push(listener),
                Err(error) if is_without_ipv6(*address, &error) => {
                    tracing::warn!(%address, "this machine has no IPv6; not listening there");
                    excused = Some(BindError::new(setting, *address, error));
                }
                Err(error) => return Err(BindError::new(setting, *address, error)),
            }
        }
        match excused {
            Some(error) if listeners.is_empty() => Err(error),
            _ => Ok(Self(listeners)),
        }
    }

    /// Takes over sockets that somebody else has bound; with none of them, binds the addresses of a setting.
    ///
    /// # Errors
    /// As [`Listeners::bind`]; and when a socket cannot be taken over.
    pub fn adopt_or_bind(
        handed: Vec<std::net::TcpListener>,
        setting: &'static str,
        addresses: &[SocketAddr],
    ) -> Result<Self, BindError> {
        if handed.is_empty() { Self::bind(setting, addresses) } else { Self::adopt(handed) }
    }

    /// Takes over sockets that somebody else has bound, none of them blocking.
    ///
    /// # Errors
    /// When the runtime cannot watch one of them.
    pub fn adopt(handed: Vec<std::net::TcpListener>) -> Result<Self, BindError> {
        let adopt = |listener: std::net::TcpListener| {
            let address = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0; 4], 0)));
            let failed = |error| BindError::new("handed over", address, error);
            TcpListener::from_std(listener).map_err(failed)
        };
        handed.into_iter().map(adopt).collect::<Result<_, _>>().map(Self)
    }

    /// Whether nobody listens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where they listen, with the ports that the kernel chose.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Where clients can come in: as [`Listeners::addresses`], and a socket for both families once in each.
    #[must_use]
    pub fn reached(&self) -> Vec<SocketAddr> {
        let twin = |listener: &TcpListener| {
            let address = listener.local_addr().ok()?;
            let both = address.is_ipv6()
                && address.ip().is_unspecified()
                && !SockRef::from(listener).only_v6().ok()?;
            both.then(|| SocketAddr::from(([0; 4], address.port())))
        };
        let mut reached = self.addresses();
        reached.extend(self.0.iter().filter_map(twin));
        reached
    }
}

impl IntoIterator for Listeners {
    type Item = TcpListener;
    type IntoIter = std::vec::IntoIter<TcpListener>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and [::] can be listened on side by side.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Every machine with IPv6 has its loopback and can bind `[::]`; any other address has been written by somebody.
fn is_without_ipv6(address: SocketAddr, error: &io::Error) -> bool {
    let missing = error.kind() == io::ErrorKind::AddrNotAvailable || is_unknown_family(error);
    address.is_ipv6() && (address.ip().is_loopback() || address.ip().is_unspecified()) && missing
}

/// A kernel without IPv6, or one that keeps it from this process.
fn is_unknown_family(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
}

/// Whether a service manager waits to be told how the gateway is (sd_notify(3)).
fn is_managed() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

fn advice(setting: &str, error: &io::Error, managed: bool) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; stop it, or choose another port".into(),
        io::ErrorKind::PermissionDenied if managed => format!(
            "permission denied; have systemd listen there ({}), or grant CAP_NET_BIND_SERVICE as \
             systemd/examples/own-ports.conf does",
            socket_unit(setting)
        ),
        io::ErrorKind::PermissionDenied => {
            "permission denied; use a port from 1024 on, or grant CAP_NET_BIND_SERVICE".into()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
        _ if is_unknown_family(error) => "this machine does not have this kind of address".into(),
        _ => error.to_string(),
    }
}

/// The unit of `systemd/` that takes the place of a setting.
fn socket_unit(setting: &str) -> &'static str {
    match setting {
        "dns.listen" => "open-registry-dns@ADDRESS.socket",
        "dns.tls_listen" => "open-registry-dot.socket",
        "http.tls_listen" => "open-registry-https.socket",
        _ => "open-registry-http.socket",
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_machine_without_ipv6_is_told_from_one_that_lacks_an_address() {
        let excused = |text: &str, errno: Errno| is_without_ipv6(address(text), &errno.into());
        for errno in [Errno::EAFNOSUPPORT, Errno::EADDRNOTAVAIL, Errno::EOPNOTSUPP] {
            assert!(excused("[::1]:80", errno) && excused("[::]:80", errno), "{errno}");
            assert!(!excused("[fd00::9]:80", errno) && !excused("192.168.7.9:80", errno), "{errno}");
        }
        assert!(!excused("[::]:80", Errno::EADDRINUSE) && !excused("[::1]:80", Errno::EACCES));
    }

    #[test]
    fn who_may_not_bind_is_told_what_may() {
        let denied = io::Error::from(Errno::EACCES);
        assert!(advice("http.listen or --listen", &denied, false).contains("from 1024 on"));
        for (setting, unit) in [
            ("http.listen or --listen", "open-registry-http.socket"),
            ("http.tls_listen", "open-registry-https.socket"),
            ("dns.listen", "open-registry-dns@ADDRESS.socket"),
            ("dns.tls_listen", "open-registry-dot.socket"),
        ] {
            let advice = advice(setting, &denied, true);
            assert!(advice.contains(unit) && advice.contains("own-ports.conf"), "{advice}");
        }
    }
}
