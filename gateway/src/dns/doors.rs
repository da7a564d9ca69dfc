//! Where DNS is listened on: the configured addresses, and for "all of them" each address that the machine has.
//!
//! All addresses are bound one by one. So port 53 can be shared with a stub resolver that has an address of its own
//! (systemd-resolved's 127.0.0.53), which one socket for all addresses could not.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use resolver::links::Links;
use tokio_util::sync::CancellationToken;

use super::Backend;
use super::stream::Streams;
use super::udp::{SocketGroup, sockets_each};
use crate::listen::{BindError, Listeners};

/// The setting that errors name.
const SETTING: &str = "dns.listen";
/// A port that is free for datagrams may be taken for connections: so often port 0 is tried.
const TRIES: usize = 16;

/// Sockets for datagrams and one for connections at the same address.
pub(super) struct Door {
    datagrams: SocketGroup,
    streams: Streams,
    close: CancellationToken,
}

/// The doors at all addresses of the machine.
pub(super) struct Everywhere {
    wildcards: Vec<SocketAddr>,
    stop: CancellationToken,
    /// What closes each of them.
    open: BTreeMap<SocketAddr, CancellationToken>,
    /// Where somebody else listens, or where nobody can yet: told once, tried again and again.
    refused: BTreeSet<SocketAddr>,
}

impl Door {
    /// Binds so many sockets for datagrams, and one for connections; they are closed with `close`.
    pub(super) fn open(
        address: SocketAddr,
        sockets: usize,
        close: &CancellationToken,
    ) -> Result<Self, BindError> {
        let tries = if address.port() == 0 { TRIES } else { 1 };
        let mut opened = Self::try_open(address, sockets, close);
        for _ in 1..tries {
            if opened.is_ok() {
                break;
            }
            opened = Self::try_open(address, sockets, close);
        }
        opened
    }

    fn try_open(address: SocketAddr, sockets: usize, close: &CancellationToken) -> Result<Self, BindError> {
        let failed = |error| BindError::new(SETTING, address, error);
        let datagrams = SocketGroup::bind(address, sockets).map_err(failed)?;
        let chosen = datagrams.address().map_err(failed)?;
        let listener = Listeners::bind(SETTING, &[chosen])?.into_iter().next();
        let listener = listener.ok_or_else(|| failed(io::ErrorKind::AddrNotAvailable.into()))?;
        Ok(Self { datagrams, streams: Streams::new(listener, None), close: close.clone() })
    }

    /// Where it is.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.datagrams.address()
    }

    /// Answers until it is closed.
    pub(super) async fn serve(self, backend: Arc<Backend>) {
        let datagrams = self.datagrams.serve(Arc::clone(&backend), self.close.clone());
        tokio::join!(datagrams, self.streams.serve(backend, self.close));
    }
}

impl Everywhere {
    /// No door yet; all that will be are closed with `stop`.
    pub(super) fn new(wildcards: Vec<SocketAddr>, stop: CancellationToken) -> Self {
        Self { wildcards, stop, open: BTreeMap::new(), refused: BTreeSet::new() }
    }

    /// Whether the machine's addresses matter.
    pub(super) fn is_wanted(&self) -> bool {
        !self.wildcards.is_empty()
    }

    /// Closes the doors whose addresses have gone, and opens one at each address that has none.
    pub(super) fn follow(&mut self, links: &Links) -> Vec<Door> {
        let wanted: BTreeSet<SocketAddr> = self
            .wildcards
            .iter()
            .flat_map(|wildcard| links.own(wildcard.is_ipv4()).map(|ip| SocketAddr::new(ip, wildcard.port())))
            .collect();
        let sockets = sockets_each(wanted.len());
        self.refused.retain(|address| wanted.contains(address));
        self.open.retain(|address, close| {
            let kept = wanted.contains(address);
            if !kept {
                tracing::info!(%address, "the address has gone; not listening there any more");
                close.cancel();
            }
            kept
        });
        let missing: Vec<_> = wanted.into_iter().filter(|address| !self.open.contains_key(address)).collect();
        missing.into_iter().filter_map(|address| self.try_open(address, sockets)).collect()
    }

    fn try_open(&mut self, address: SocketAddr, sockets: usize) -> Option<Door> {
        let close = self.stop.child_token();
        match Door::open(address, sockets, &close) {
            Ok(door) => {
                self.refused.remove(&address);
                self.open.insert(address, close);
                Some(door)
            }
            Err(error) => {
                if self.refused.insert(address) {
                    tracing::warn!(%error, "not listening at one of this machine's addresses");
                }
                None
            }
        }
    }
}
