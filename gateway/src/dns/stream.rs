//! Queries on connections, plain or with TLS (RFC 7766, RFC 7858): each has its length before it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use resolver::links::{Arrival, By};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::Backend;
use super::message::Transport;
use super::places::{PLACES, Place};
use super::responder::{Desk, Reaction};

/// A connection that says nothing for so long is closed (RFC 7766, section 6.2.3, speaks of seconds). Clients that ask
/// are told 30 (`message::KEEPALIVE`), so that a question which is on its way then still has its answer.
const IDLE: Duration = Duration::from_secs(37);
/// The handshake of TLS, a query from its first byte to its last, and an answer's way out.
const STEP: Duration = Duration::from_secs(10);
/// A connection that was opened before the end of this program may still ask its first question.
const GRACE: Duration = Duration::from_secs(1);
/// Answers of one connection that are being looked up or wait to be written.
const PIPELINED: usize = 32;
/// Any port does to ask for a route.
const DISCARD: u16 = 9;
/// At the end the kernel's queue of connections is emptied: so long without one means that it is.
const LAST_WAIT: Duration = Duration::from_millis(10);
/// After a failed accept (no file descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener for connections, and the TLS that is spoken on them.
pub(super) struct Streams {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Streams {
    pub(super) fn new(listener: TcpListener, tls: Option<TlsAcceptor>) -> Self {
        Self { listener, tls }
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What kind of listener this is.
    pub(super) fn kind(&self) -> &'static str {
        if self.tls.is_some() { "dot" } else { "dns-tcp" }
    }

    /// Takes connections until `stop`, and then those that the kernel has taken by then.
    pub(super) async fn serve(self, backend: Arc<Backend>, stop: CancellationToken) {
        let pulse = backend.pulse(self.kind(), &self.address());
        while let Some(accepted) = stop.run_until_cancelled(pulse.during(self.listener.accept())).await {
            match accepted {
                Ok((stream, client)) => self.take(stream, client, &backend, &stop),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a DNS connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        for _ in 0..PLACES {
            let Ok(Ok((stream, client))) = timeout(LAST_WAIT, self.listener.accept()).await else {
                break;
            };
            self.take(stream, client, &backend, &stop);
        }
    }

    fn take(&self, stream: TcpStream, client: SocketAddr, backend: &Arc<Backend>, stop: &CancellationToken) {
        let place = backend.places.enter(client.ip());
        let talk = converse(stream, client, self.tls.clone(), place, Arc::clone(backend), stop.clone());
        backend.tasks.spawn(talk);
    }
}

async fn converse(
    stream: TcpStream,
    client: SocketAddr,
    tls: Option<TlsAcceptor>,
    place: Place,
    backend: Arc<Backend>,
    stop: CancellationToken,
) {
    let leave = place.leave().clone();
    let talk = async {
        let local = stream.local_addr()?;
        // Answers are small and complete.
        let _ = stream.set_nodelay(true);
        let by = By::Address(way_back(client));
        let (client, local) = (client.ip().to_canonical(), local.ip().to_canonical());
        let arrival = Arrival { client, local, by };
        let talk = Talk { arrival, place, backend, stop };
        match tls {
            Some(tls) => talk.run(limited(tls.accept(stream)).await?, Transport::Tls).await,
            None => talk.run(stream, Transport::Tcp).await,
        }
    };
    if let Some(Err(error)) = leave.run_until_cancelled(talk).await {
        tracing::debug!(%error, "a DNS connection ended badly");
    }
}

/// One connection.
struct Talk {
    arrival: Arrival,
    place: Place,
    backend: Arc<Backend>,
    stop: CancellationToken,
}

impl Talk {
    async fn run(self, stream: impl AsyncRead + AsyncWrite, transport: Transport) -> io::Result<()> {
        let (reader, writer) = tokio::io::split(stream);
        let (answers, outbox) = mpsc::channel(PIPELINED);
        // Reading ends first; what is still being looked up holds the outbox open until it is written.
        tokio::try_join!(self.read(reader, transport, answers), write(writer, outbox)).map(drop)
    }

    async fn read(
        &self,
        reader: impl AsyncRead,
        transport: Transport,
        answers: mpsc::Sender<Vec<u8>>,
    ) -> io::Result<()> {
        let mut reader = std::pin::pin!(reader);
        let mut asked = false;
        while let Some(first) = self.first_byte(&mut reader, asked).await? {
            asked = true;
            self.place.touch();
            // Room for the answer first: who does not read is not read either.
            let Ok(room) = answers.clone().reserve_owned().await else {
                return Ok(());
            };
            let query = limited(rest_of_query(&mut reader, first)).await?;
            let mut desk = Desk::default();
            match self.backend.responder.react(&query, &self.arrival, transport, &mut desk) {
                Reaction::Answer => drop(room.send(desk.answer)),
                Reaction::LookUp(request) => {
                    let answering = Arc::clone(&self.backend).look_up(*request, self.arrival.client);
                    self.backend.tasks.spawn(async move {
                        if let Some(answer) = answering.await {
                            room.send(answer);
                        }
                    });
                }
                Reaction::Silence => return Ok(()),
            }
        }
        Ok(())
    }

    /// The first byte of the next query; `None` when the client or we have had enough.
    async fn first_byte(&self, reader: &mut (impl AsyncRead + Unpin), asked: bool) -> io::Result<Option<u8>> {
        let mut first = [0];
        let stopped = async {
            self.stop.cancelled().await;
            if !asked {
                tokio::time::sleep(GRACE).await;
            }
        };
        tokio::select! {
            biased;
            read = timeout(IDLE, reader.read(&mut first)) => match read {
                Ok(read) => Ok((read? > 0).then_some(first[0])),
                Err(_) => Ok(None),
            },
            () = stopped => Ok(None),
        }
    }
}

/// A query whose length's first byte has been read.
async fn rest_of_query(reader: &mut (impl AsyncRead + Unpin), first: u8) -> io::Result<Vec<u8>> {
    let second = reader.read_u8().await?;
    let mut query = vec![0; usize::from(u16::from_be_bytes([first, second]))];
    reader.read_exact(&mut query).await?;
    Ok(query)
}

/// Our address that packets to `client` leave from, as the system's routes have it; unspecified where there is no
/// route. Nothing is sent: a datagram socket that is connected has been given its route.
fn way_back(mut client: SocketAddr) -> IpAddr {
    let nowhere = match client {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    client.set_port(DISCARD);
    let route = || {
        let socket = UdpSocket::bind((nowhere, 0))?;
        socket.connect(client)?;
        socket.local_addr()
    };
    route().map_or(nowhere, |local| local.ip().to_canonical())
}

async fn write(writer: impl AsyncWrite, mut outbox: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    let mut writer = std::pin::pin!(writer);
    while let Some(answer) = outbox.recv().await {
        let length = u16::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        // One write, so that the length does not travel in a packet of its own.
        let framed = [&length.to_be_bytes(), answer.as_slice()].concat();
        limited(writer.write_all(&framed)).await?;
        limited(writer.flush()).await?;
    }
    limited(writer.shutdown()).await
}

async fn limited<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(STEP, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
