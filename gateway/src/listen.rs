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
#[error("cannot listen on {address} ({setting}): {}", advice(.error))]
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
    /// Binds all addresses of a setting, or none. The IPv6 loopback may be missing where there is no IPv6.
    ///
    /// # Errors
    /// [`BindError`] says which address and what to do about it.
    pub fn bind(setting: &'static str, addresses: &[SocketAddr]) -> Result<Self, BindError> {
        let mut listeners = Vec::new();
        for address in addresses {
            match bind(*address) {
                Ok(listener) => listeners.push(listener),
                Err(error) if is_without_ipv6(*address, &error) && addresses.len() > 1 => {
                    tracing::warn!(%address, "this machine has no IPv6; not listening there");
                }
                Err(error) => return Err(BindError::new(setting, *address, error)),
            }
        }
        Ok(Self(listeners))
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

fn is_without_ipv6(address: SocketAddr, error: &io::Error) -> bool {
    let missing =
        error.kind() == io::ErrorKind::AddrNotAvailable || error.kind() == io::ErrorKind::Unsupported;
    address.is_ipv6() && address.ip().is_loopback() && missing
}

fn advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; stop it, or choose another port".into(),
        io::ErrorKind::PermissionDenied => {
            "permission denied; use a port from 1024 on, or grant CAP_NET_BIND_SERVICE".into()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
        _ => error.to_string(),
    }
}
