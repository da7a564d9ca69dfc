//! Sockets that systemd holds for a role that cannot be served: whoever comes is sent away, and not left waiting.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::sockets::Handed;
use crate::pulse::{Pulse, Pulses};
use crate::tls::TlsError;

/// After a failed accept (no file descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Sockets, each with the role that it was handed over for.
#[derive(Debug, Default)]
pub struct Closed(Vec<(&'static str, TcpListener)>);

impl Closed {
    /// Takes what was handed over for TLS, for there is no certificate, and says so.
    #[must_use]
    pub fn without_certificate(handed: &mut Handed) -> Self {
        let https = handed.https.drain(..).map(|listener| ("https", listener));
        let dot = handed.dot.drain(..).map(|listener| ("dot", listener));
        let closed = Self(https.chain(dot).collect());
        for listener in ["https", "dot"].into_iter().filter(|role| closed.holds(role)) {
            let error = TlsError::Missing { listener };
            tracing::error!(%error, "connections to its sockets are closed at once");
        }
        closed
    }

    /// Whether there are sockets of this role.
    #[must_use]
    pub fn holds(&self, role: &str) -> bool {
        self.0.iter().any(|(held, _)| *held == role)
    }

    /// Closes every connection as soon as it is there, until `stop`.
    pub async fn send_away(self, pulses: Pulses, stop: CancellationToken) {
        let loops = TaskTracker::new();
        for (role, listener) in self.0 {
            let (pulse, stop) = (pulses.add(format!("closed {role}")), stop.clone());
            loops.spawn(async move {
                if let Some(Err(error)) = stop.run_until_cancelled(send_away(listener, &pulse)).await {
                    tracing::error!(%error, role, "connections to this socket wait for nothing");
                }
            });
        }
        loops.close();
        loops.wait().await;
    }
}

async fn send_away(listener: TcpListener, pulse: &Pulse) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        // What is accepted is closed when it is dropped, here.
        if pulse.during(listener.accept()).await.is_err() {
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}
