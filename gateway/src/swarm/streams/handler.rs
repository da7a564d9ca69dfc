//! One connection's streams.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, Stream, StreamProtocol, StreamUpgradeError, SubstreamProtocol,
};
use tokio::sync::Semaphore;

use super::{Done, Line};
use crate::swarm::NoStream;

/// Streams that a peer may have open at once on a connection: an install asks for as many tarballs as npm has sockets, and
/// several may be asked for at once. More are closed as they come.
const MOST_INBOUND: usize = 128;
/// Streams that wait to be opened on a connection.
const MOST_WANTED: usize = 256;
/// The longest that opening one may take.
const OPENING: Duration = Duration::from_secs(2);

/// A stream that is to be opened.
#[derive(Debug)]
pub(in crate::swarm) struct Wanted {
    pub(super) protocol: &'static str,
    pub(super) done: Done,
}

/// Of one connection.
pub(in crate::swarm) struct Handler {
    protocols: Vec<&'static str>,
    wanted: VecDeque<Wanted>,
    opened: VecDeque<(&'static str, Line)>,
    places: Arc<Semaphore>,
}

/// Which protocols may be spoken.
#[derive(Debug, Clone)]
pub(in crate::swarm) struct Offer(Vec<&'static str>);

impl Handler {
    pub(super) fn new(protocols: Vec<&'static str>) -> Self {
        let places = Arc::new(Semaphore::new(MOST_INBOUND));
        Self { protocols, wanted: VecDeque::new(), opened: VecDeque::new(), places }
    }

    fn take(&mut self, stream: Stream, protocol: &StreamProtocol) {
        let known = self.protocols.iter().find(|known| **known == protocol.as_ref());
        if let (Some(name), Ok(place)) = (known, Arc::clone(&self.places).try_acquire_owned()) {
            self.opened.push_back((name, Line::taken(stream, place)));
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Wanted;
    type ToBehaviour = (&'static str, Line);
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Done;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        SubstreamProtocol::new(Offer(self.protocols.clone()), ())
    }

    /// A peer is a neighbour also while nobody asks it for anything.
    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Offer, Done, (&'static str, Line)>> {
        if let Some(opened) = self.opened.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(opened));
        }
        let Some(Wanted { protocol, done }) = self.wanted.pop_front() else { return Poll::Pending };
        let protocol = SubstreamProtocol::new(Offer(vec![protocol]), done).with_timeout(OPENING);
        Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
    }

    fn on_behaviour_event(&mut self, wanted: Wanted) {
        if self.wanted.len() < MOST_WANTED {
            self.wanted.push_back(wanted);
        } else {
            // Whoever wanted it may have gone.
            let _ = wanted.done.send(Err(NoStream::Unavailable));
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Offer, Offer, (), Done>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol),
                ..
            }) => {
                self.take(stream, &protocol);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, _),
                info,
            }) => {
                let _ = info.send(Ok(Line::opened(stream)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, info }) => {
                let _ = info.send(Err(match error {
                    StreamUpgradeError::Timeout => NoStream::TimedOut,
                    StreamUpgradeError::NegotiationFailed => {
                        NoStream::Refused("it does not speak it".to_owned())
                    }
                    // The connection has ended meanwhile.
                    StreamUpgradeError::Io(_) => NoStream::NotConnected,
                }));
            }
            _ => {}
        }
    }
}

impl UpgradeInfo for Offer {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.iter().map(|name| StreamProtocol::new(name)).collect::<Vec<_>>().into_iter()
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl OutboundUpgrade<Stream> for Offer {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}
