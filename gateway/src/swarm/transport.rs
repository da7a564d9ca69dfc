//! How connections are made: TCP with noise and yamux, and QUIC; in a private swarm by TCP alone, behind its key.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::Either;
use futures_util::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, OrTransport, TransportError, TransportEvent};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::pnet::{PnetConfig, PreSharedKey};
use libp2p::{Multiaddr, PeerId, Transport, noise, quic, tcp, yamux};

use super::address;
use super::vicinity::Vicinity;

/// Who has not proved who it is within this time is nobody.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A QUIC connection that nothing is heard of for so long is gone: as for [`super::behaviour`]'s pings.
const SILENCE: Duration = Duration::from_secs(6);
/// How often something is said on an idle one, so that it is not taken for gone.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

type Connection = (PeerId, StreamMuxerBox);

/// The transport of a gateway with this key.
///
/// # Errors
/// When the key is of no use, which one that was read is not.
pub(super) fn new(
    key: &Keypair,
    psk: Option<PreSharedKey>,
    vicinity: Vicinity,
) -> Result<Boxed<Connection>, noise::Error> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let inner = match psk {
        Some(psk) => {
            let behind_key = tcp.and_then(move |stream, _| PnetConfig::new(psk).handshake(stream));
            secured(behind_key, key)?
        }
        None => {
            let mut config = quic::Config::new(key);
            config.max_idle_timeout = u32::try_from(SILENCE.as_millis()).unwrap_or(u32::MAX);
            config.keep_alive_interval = SIGN_OF_LIFE;
            let quic = quic::tokio::Transport::new(config)
                .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
            let either = OrTransport::new(quic, secured(tcp, key)?);
            let whichever = |one, _| match one {
                Either::Left(connection) | Either::Right(connection) => connection,
            };
            either.map(whichever).boxed()
        }
    };
    Ok(Guarded { inner, vicinity }.boxed())
}

fn secured<T, S>(transport: T, key: &Keypair) -> Result<Boxed<Connection>, noise::Error>
where
    T: Transport<Output = S> + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send,
    T::ListenerUpgrade: Send,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let secured = transport.upgrade(Version::V1Lazy).authenticate(noise::Config::new(key)?);
    Ok(secured.multiplex(yamux::Config::default()).timeout(HANDSHAKE).boxed())
}

/// Dials only what may be dialled, whoever of libp2p's parts has heard of it and from whom.
struct Guarded {
    inner: Boxed<Connection>,
    vicinity: Vicinity,
}

impl Transport for Guarded {
    type Output = Connection;
    type Error = io::Error;
    type ListenerUpgrade = <Boxed<Connection> as Transport>::ListenerUpgrade;
    type Dial = <Boxed<Connection> as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        let may_be = address::place(&address).is_some_and(|(place, _)| self.vicinity.may_be_dialled(place));
        if may_be {
            self.inner.dial(address, options)
        } else {
            Err(TransportError::MultiaddrNotSupported(address))
        }
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}
