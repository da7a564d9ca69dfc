//! Who may be a peer: what networks around and the operator's DNS say. All of it is hearsay until a connection proves it.

mod dns_sd;
pub(super) mod multicast;
mod srv;

use std::net::SocketAddr;
use std::time::Duration;

use resolver::peer::PeerId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::task::Found;
use super::vicinity::Vicinity;

/// The longest that taking back what was announced may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// What is announced, and where what is found goes.
#[derive(Debug, Clone)]
pub(super) struct Discovery {
    pub(super) own: PeerId,
    /// Where peers connect, by TCP and QUIC.
    pub(super) ports: Vec<u16>,
    /// Whether this gateway says that it is there.
    pub(super) announces: bool,
    pub(super) vicinity: Vicinity,
    pub(super) found: mpsc::Sender<Found>,
}

impl Discovery {
    /// Looks until `stop`, and then takes back what it has announced.
    pub(super) async fn run(self, stop: CancellationToken) {
        let srv = srv::look_up_forever(self.found.clone());
        let looking = async {
            tokio::join!(srv, self.dns_sd(&stop));
        };
        // SRV has nothing to take back.
        tokio::select! {
            () = looking => {}
            () = async { stop.cancelled().await; tokio::time::sleep(GOODBYE).await } => {}
        }
    }

    async fn dns_sd(&self, stop: &CancellationToken) {
        if !multicast::is_free() {
            return;
        }
        match dns_sd::DnsSd::start(self) {
            Ok(running) => running.run(self, stop).await,
            Err(error) => {
                tracing::warn!(%error, "peers are not looked for by DNS-SD");
            }
        }
    }
}

/// A place on a network around that is not this gateway's own.
pub(super) fn is_candidate(place: SocketAddr, vicinity: &Vicinity) -> bool {
    vicinity.is_beside(place.ip()) && vicinity.may_be_dialled(place)
}
