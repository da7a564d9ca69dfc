//! Where clients come in: a listener, and whether TLS is spoken behind it.

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::listen::Listeners;
use crate::pulse::{Pulse, Pulses};

/// One listener that will be served.
pub struct Door {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) pulse: Pulse,
}

impl Door {
    /// Doors without TLS; `name` is what their loops are called.
    #[must_use]
    pub fn plain(listeners: Listeners, name: &str, pulses: &Pulses) -> Vec<Self> {
        Self::all(listeners, None, name, pulses)
    }

    /// Doors behind which TLS is spoken, and HTTP in it.
    #[must_use]
    pub fn secure(listeners: Listeners, tls: Arc<ServerConfig>, name: &str, pulses: &Pulses) -> Vec<Self> {
        Self::all(listeners, Some(&tls.into()), name, pulses)
    }

    fn all(listeners: Listeners, tls: Option<&TlsAcceptor>, name: &str, pulses: &Pulses) -> Vec<Self> {
        let door = |listener: TcpListener| {
            let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
            Self { listener, tls: tls.cloned(), pulse: pulses.add(format!("{name} {address}")) }
        };
        listeners.into_iter().map(door).collect()
    }
}
