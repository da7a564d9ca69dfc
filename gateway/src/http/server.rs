//! Listens, accepts within limits, and drains.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use ipnet::IpNet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clients::Clients;
use super::complaint::Complaint;
use super::connection::{self, HEAD_WAIT, Handle, Wire};
use super::door::Door;

/// Connections at once; more wait in the kernel's queue. A client opens up to 120, a school has 50 clients.
pub const CONNECTIONS: usize = 8192;
/// Connections of one client, of which whole offices are behind one address: it leaves room for three more like it.
const CONNECTIONS_OF_ONE: usize = CONNECTIONS / 4;
/// A request's head in bytes and in headers.
const HEAD_BYTES: usize = 64 * 1024;
const HEADERS: usize = 128;
/// What HTTP/2 lets one connection do at once: deno asks for everything on one.
const STREAMS: u32 = 256;
/// An HTTP/2 connection is asked whether it still lives.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// After a failed accept (no file descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long answers that are under way are given when the program ends.
const DRAIN: Duration = Duration::from_secs(30);

/// Serves one handler behind all doors.
pub struct Server<H> {
    handler: H,
    connections: Gauge,
    handshake_failures: Counter,
    places: Arc<Semaphore>,
    clients: Clients,
    not_accepted: Complaint,
    too_many: Complaint,
    builder: auto::Builder<TokioExecutor>,
}

impl<H: Handle> Server<H> {
    /// A server that listens nowhere yet; it counts its open connections, and those that end before TLS begins.
    #[must_use]
    pub fn new(handler: H, connections: Gauge, handshake_failures: Counter) -> Self {
        let builder = builder();
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let clients = Clients::new(CONNECTIONS_OF_ONE, Vec::new());
        let [not_accepted, too_many] = [Complaint::default(), Complaint::default()];
        Self { handler, connections, handshake_failures, places, clients, not_accepted, too_many, builder }
    }

    /// Takes any number of connections from these, for many clients are behind each.
    #[must_use]
    pub fn excepting(mut self, proxies: Vec<IpNet>) -> Self {
        self.clients = Clients::new(CONNECTIONS_OF_ONE, proxies);
        self
    }

    /// Serves until `stop`, then lets answers that are under way come to their end.
    pub async fn serve(self, doors: Vec<Door>, stop: CancellationToken) {
        let server = Arc::new(self);
        let tracker = TaskTracker::new();
        let accepting = doors.into_iter().map(|door| {
            let (server, tracker, stop) = (Arc::clone(&server), tracker.clone(), stop.clone());
            tokio::spawn(async move {
                stop.run_until_cancelled(server.accept(&door, &tracker, &stop)).await;
                server.accept_waiting(door, &tracker, &stop);
            })
        });
        futures_util::future::join_all(accepting.collect::<Vec<_>>()).await;
        drained(tracker).await;
    }

    async fn accept(self: &Arc<Self>, door: &Door, tracker: &TaskTracker, stop: &CancellationToken) {
        let Door { listener, tls, pulse } = door;
        loop {
            // The semaphore is never closed.
            let Ok(place) = pulse.during(Arc::clone(&self.places).acquire_owned()).await else {
                return;
            };
            match pulse.during(listener.accept()).await {
                Ok(one) => self.begin(one, place, tls.as_ref(), tracker, stop),
                Err(error) => {
                    if let Some(times) = self.not_accepted.is_due() {
                        tracing::warn!(%error, times, "cannot accept a connection");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Those who have connected already have been told so by the kernel: they are served, too. Then the door is closed, unless systemd
    /// holds it open as well.
    fn accept_waiting(self: &Arc<Self>, door: Door, tracker: &TaskTracker, stop: &CancellationToken) {
        let Door { listener, tls, pulse: _pulse } = door;
        // What the kernel holds is not always known to the runtime.
        let Ok(listener) = listener.into_std() else { return };
        for _ in 0..CONNECTIONS {
            let place = Arc::clone(&self.places).try_acquire_owned();
            let (Ok(place), Ok((stream, peer))) = (place, listener.accept()) else { return };
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                self.begin((stream, peer), place, tls.as_ref(), tracker, stop);
            }
        }
    }

    fn begin(
        self: &Arc<Self>,
        (stream, peer): (TcpStream, SocketAddr),
        place: OwnedSemaphorePermit,
        tls: Option<&TlsAcceptor>,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let Some(visit) = self.clients.enter(peer.ip()) else {
            // Closed, with nothing said: whoever has so many has not come to read.
            return self.complain_of_too_many(peer);
        };
        let (server, tls, stop) = (Arc::clone(self), tls.cloned(), stop.clone());
        tracker.spawn(async move {
            server.connections.inc();
            server.connection(stream, peer, tls, &stop).await;
            server.connections.dec();
            drop((visit, place));
        });
    }

    fn complain_of_too_many(&self, peer: SocketAddr) {
        if let Some(times) = self.too_many.is_due() {
            let client = plain(peer).ip();
            tracing::warn!(%client, times, most = CONNECTIONS_OF_ONE, "one client has too many connections; closed");
        }
    }

    async fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        tls: Option<TlsAcceptor>,
        stop: &CancellationToken,
    ) {
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let wire = Wire { peer: plain(peer), local: plain(local), tls: tls.is_some(), proved: None };
        let Some(tls) = tls else {
            let stream = Box::pin(connection::limited(connection::prompt(stream)));
            return connection::serve(&self.builder, stream, &self.handler, wire, stop).await;
        };
        match connection::secured(&tls, stream, stop).await {
            Ok(stream) => {
                connection::serve(&self.builder, Box::new(stream), &self.handler, wire, stop).await;
            }
            Err(error) => {
                self.handshake_failures.inc();
                tracing::debug!(%error, %peer, "no TLS");
            }
        }
    }
}

/// What a connection may be and bring.
pub(super) fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX));
    builder
}

/// Lets answers that are under way come to their end, within limits.
pub(super) async fn drained(tracker: TaskTracker) {
    tracker.close();
    if tokio::time::timeout(DRAIN, tracker.wait()).await.is_err() {
        tracing::warn!(seconds = DRAIN.as_secs(), "answers were still under way; cut off");
    }
}

/// An IPv4 address as such, also where one socket is for both families.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::body::Body;
    use crate::listen::Listeners;
    use crate::pulse::Pulses;
    use http::{Request, Response};
    use hyper::body::Incoming;
    use std::io::{self, ErrorKind, Read, Write};
    use tokio::sync::oneshot;

    #[derive(Clone)]
    struct Mute;

    impl Handle for Mute {
        async fn handle(&self, _: Request<Incoming>, _: Wire) -> Response<Body> {
            Response::new(super::super::body::empty())
        }
    }

    /// What a client hears that says this and waits: it does so on a thread of its own, in real time.
    fn hear(address: SocketAddr, says: &'static [u8]) -> oneshot::Receiver<io::Result<usize>> {
        let (sender, heard) = oneshot::channel();
        std::thread::spawn(move || {
            let listen = || {
                let mut stream = std::net::TcpStream::connect(address)?;
                stream.write_all(says)?;
                stream.set_read_timeout(Some(Duration::from_secs(20)))?;
                stream.read(&mut [0; 1])
            };
            // The test may have failed meanwhile.
            let _ = sender.send(listen());
        });
        heard
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_keeps_no_place() {
        let listeners = Listeners::bind("http.listen", &[SocketAddr::from(([127, 0, 0, 1], 0))]).unwrap();
        let address = listeners.addresses()[0];
        let doors = Door::plain(listeners, "http", &Pulses::new());
        let server = Server::new(Mute, Gauge::default(), Counter::default());
        tokio::spawn(server.serve(doors, CancellationToken::new()));
        for says in [&b""[..], b"PRI * HTTP/2", b"GET / HTTP/1.1\r\nhost: x\r\n"] {
            let heard = hear(address, says).await.unwrap();
            // In this clock the time may be over before the client has said what it says.
            let closed =
                heard.as_ref().map_or_else(|error| error.kind() != ErrorKind::WouldBlock, |n| *n == 0);
            assert!(closed, "the connection stayed open: {heard:?}");
        }
    }

    #[tokio::test]
    async fn who_has_connected_before_the_stop_is_answered_though_nobody_had_taken_the_connection() {
        let listeners = Listeners::bind("http.listen", &[SocketAddr::from(([127, 0, 0, 1], 0))]).unwrap();
        let address = listeners.addresses()[0];
        let doors = Door::plain(listeners, "http", &Pulses::new());
        let ask = |_| {
            let mut client = connect([127, 0, 0, 1], address);
            client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            client
        };
        let clients: Vec<_> = (0..20).map(ask).collect();
        let stop = CancellationToken::new();
        stop.cancel();
        let server = Server::new(Mute, Gauge::default(), Counter::default());
        let serving = tokio::spawn(server.serve(doors, stop));
        let answered = tokio::task::spawn_blocking(move || {
            clients.into_iter().all(|mut client| {
                client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                client.read(&mut [0; 12]).is_ok_and(|read| read > 0)
            })
        });
        assert!(answered.await.unwrap());
        serving.await.unwrap();
        let refused = std::net::TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }

    /// A connection from an address of our choice that has said nothing yet.
    fn connect(from: [u8; 4], to: SocketAddr) -> std::net::TcpStream {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        socket.connect(&to.into()).unwrap();
        socket.into()
    }

    #[tokio::test]
    async fn one_client_has_not_all_places() {
        let listeners = Listeners::bind("http.listen", &[SocketAddr::from(([127, 0, 0, 1], 0))]).unwrap();
        let address = listeners.addresses()[0];
        let doors = Door::plain(listeners, "http", &Pulses::new());
        let mut server = Server::new(Mute, Gauge::default(), Counter::default());
        server.clients = Clients::new(2, Vec::new());
        tokio::spawn(server.serve(doors, CancellationToken::new()));
        let ask = |mut stream: std::net::TcpStream| {
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            // One that is closed already may not be written to.
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
            let heard = stream.read(&mut [0; 512]).unwrap_or(0);
            (heard > 0).then_some(stream)
        };
        let heard = tokio::task::spawn_blocking(move || {
            let ask = |from| ask(connect(from, address));
            // Whoever is answered stays.
            let greedy: Vec<_> = (0..4).map(|_| ask([127, 0, 0, 2])).collect();
            (greedy.iter().map(Option::is_some).collect::<Vec<_>>(), ask([127, 0, 0, 3]).is_some())
        });
        assert_eq!(heard.await.unwrap(), (vec![true, true, false, false], true));
    }
}
