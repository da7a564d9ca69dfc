//! Sockets that systemd has bound and hands over (sd_listen_fds(3)), each for the role that its name says.

use std::io;
use std::net::{TcpListener, UdpSocket};

use listenfd::ListenFd;

/// The variable with the names; `FileDescriptorName=` of the socket units sets them.
const NAMES: &str = "LISTEN_FDNAMES";

/// What was handed over. A role that has sockets here has its configured addresses replaced by them.
#[derive(Debug, Default)]
pub struct Handed {
    /// For clients over plain http: `http`.
    pub http: Vec<TcpListener>,
    /// For clients over TLS: `https`.
    pub https: Vec<TcpListener>,
    /// For DNS over UDP: `dns`, when it is a datagram socket.
    pub dns_udp: Vec<UdpSocket>,
    /// For DNS over TCP: `dns`, when it is a stream socket.
    pub dns_tcp: Vec<TcpListener>,
    /// For DNS over TLS: `dot`.
    pub dot: Vec<TcpListener>,
    /// For metrics, health and status: `operator`.
    pub operator: Vec<TcpListener>,
}

/// A socket that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HandedError {
    /// Names and sockets are not equally many.
    #[error("{sockets} sockets were handed over with {names} names in {NAMES}; each needs its own")]
    Uncounted {
        /// How many sockets.
        sockets: usize,
        /// How many names.
        names: usize,
    },
    /// Nobody knows what it is for.
    #[error(
        "a socket was handed over under the name {0:?}; those that are known are http, https, dns, dot and \
         operator: write one of them as FileDescriptorName= into its socket unit"
    )]
    UnknownName(String),
    /// Not of the kind that its role takes.
    #[error("the socket that was handed over as {name:?} cannot be used: {error}")]
    Unfit {
        /// Its name.
        name: String,
        /// What the kernel or the check says.
        error: io::Error,
    },
}

impl Handed {
    /// Takes what was handed over to this process; nothing when it was started by hand. To be called once, before
    /// there are other threads: it clears the environment of what it has taken.
    ///
    /// # Errors
    /// [`HandedError`], when one of them has no role or is not fit for it.
    pub fn take() -> Result<Self, HandedError> {
        let names = std::env::var(NAMES).unwrap_or_default();
        let mut handed = ListenFd::from_env();
        if handed.len() == 0 {
            return Ok(Self::default());
        }
        let names: Vec<&str> = names.split(':').collect();
        if names.len() != handed.len() {
            return Err(HandedError::Uncounted { sockets: handed.len(), names: names.len() });
        }
        let mut taken = Self::default();
        for (index, name) in names.into_iter().enumerate() {
            taken.place(&mut handed, index, name)?;
        }
        Ok(taken)
    }

    fn place(&mut self, handed: &mut ListenFd, index: usize, name: &str) -> Result<(), HandedError> {
        let unfit = |error| HandedError::Unfit { name: name.to_owned(), error };
        let role = match name {
            "http" => &mut self.http,
            "https" => &mut self.https,
            "dot" => &mut self.dot,
            "operator" => &mut self.operator,
            "dns" => {
                // Told apart by what they are: the check leaves the socket where it is when it is none of these.
                if let Ok(Some(udp)) = handed.take_udp_socket(index) {
                    udp.set_nonblocking(true).map_err(unfit)?;
                    self.dns_udp.push(udp);
                    return Ok(());
                }
                &mut self.dns_tcp
            }
            _ => return Err(HandedError::UnknownName(name.to_owned())),
        };
        let Some(listener) = handed.take_tcp_listener(index).map_err(unfit)? else {
            return Ok(());
        };
        listener.set_nonblocking(true).map_err(unfit)?;
        role.push(listener);
        Ok(())
    }
}
