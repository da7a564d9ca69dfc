//! Binding to the addresses that a setting names.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
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
