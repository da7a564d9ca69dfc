//! A line with a latency: a TCP proxy whose far end is a round trip away.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};

use crate::place::Place;
use crate::runtime;

const PIECE: usize = 64 * 1024;
/// Pieces on their way in one direction: 16 MiB, so that no connection meets the line's end before its own window.
const ON_THE_WAY: usize = 256;

/// Where a line leads, and in which place that is.
type Target = Arc<OnceLock<(SocketAddr, Place)>>;

/// A line that takes half a round trip in each direction, and a whole one to open a connection. Its bandwidth is
/// that of this machine. It ends, with its connections, when it is dropped.
#[derive(Debug)]
pub struct Delay {
    address: SocketAddr,
    target: Target,
    accepting: JoinHandle<()>,
}

impl Delay {
    /// A line that begins at a free port of 127.0.0.1 and leads nowhere yet: a registry has to know where its
    /// clients find it before it starts.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn of(round_trip: Duration) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), round_trip)
    }

    /// The same with its beginning at this address of the place where it is called.
    ///
    /// # Panics
    /// When the address is taken, or nobody's.
    pub fn at(address: SocketAddr, round_trip: Duration) -> Self {
        let listener =
            TcpListener::bind(address).unwrap_or_else(|error| panic!("cannot bind {address}: {error}"));
        let address = listener.local_addr().expect("a bound socket has an address");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let target = Target::default();
        let accepting = runtime::spawn(accept(listener, Arc::clone(&target), round_trip));
        Self { address, target, accepting }
    }

    /// Leads here from now on, in the place where it is called.
    ///
    /// # Panics
    /// When it leads somewhere already.
    pub fn lead_to(&self, target: SocketAddr) {
        self.target.set((target, Place::here())).expect("a line leads to one place");
    }

    /// Where the line begins: `http://127.0.0.1:40123`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: Target, round_trip: Duration) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime that drives sockets");
    let mut connections = JoinSet::new();
    loop {
        // A failed accept is the client's loss; the next one may work.
        let Ok((near, _)) = listener.accept().await else { continue };
        if let Some(target) = target.get().cloned() {
            connections.spawn(connect(near, target, round_trip));
        }
        while connections.try_join_next().is_some() {}
    }
}

/// The client believes in its connection at once; its first bytes wait as long as the handshake would have taken.
async fn connect(near: TcpStream, (target, place): (SocketAddr, Place), round_trip: Duration) {
    sleep(round_trip).await;
    let connected = spawn_blocking(move || place.run(|| std::net::TcpStream::connect(target))).await;
    let Ok(Ok(far)) = connected else { return };
    far.set_nonblocking(true).expect("a socket that does not block");
    let far = TcpStream::from_std(far).expect("a runtime that drives sockets");
    for side in [&near, &far] {
        // Latency only.
        let _ = side.set_nodelay(true);
    }
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let way = round_trip / 2;
    tokio::join!(carry(near_read, far_write, way), carry(far_read, near_write, way));
}

async fn carry(from: impl AsyncRead + Unpin, to: impl AsyncWrite + Unpin, way: Duration) {
    let (departing, arriving) = mpsc::channel(ON_THE_WAY);
    tokio::join!(depart(from, departing, way), arrive(arriving, to));
}

async fn depart(mut from: impl AsyncRead + Unpin, pieces: mpsc::Sender<(Instant, Bytes)>, way: Duration) {
    let mut piece = BytesMut::with_capacity(PIECE);
    // An end and a reset are the same to who is far away: no more bytes.
    while from.read_buf(&mut piece).await.is_ok_and(|count| count > 0) {
        let due = Instant::now() + way;
        if pieces.send((due, piece.split().freeze())).await.is_err() {
            return;
        }
        piece.reserve(PIECE);
    }
}

async fn arrive(mut pieces: mpsc::Receiver<(Instant, Bytes)>, mut to: impl AsyncWrite + Unpin) {
    while let Some((due, piece)) = pieces.recv().await {
        sleep_until(due).await;
        if to.write_all(&piece).await.is_err() {
            return;
        }
    }
    // The other side may have gone first.
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::http::Request;
    use crate::{Package, Registry};

    const ROUND_TRIP: Duration = Duration::from_millis(80);

    fn scene() -> (Delay, Registry) {
        let line = Delay::of(ROUND_TRIP);
        let package = Package::new("far").version("1.0.0", |version| version.size(3 << 20));
        let registry = Registry::builder().package(package).public_url(&line.url()).start();
        line.lead_to(registry.address());
        (line, registry)
    }

    #[test]
    fn an_answer_takes_a_round_trip_and_a_connection_one_more() {
        let (line, _registry) = scene();
        let reply = Request::get(&format!("{}/far", line.url())).send();
        assert_eq!(reply.status, 200);
        assert!(reply.first_byte >= ROUND_TRIP * 2, "{:?}", reply.first_byte);
    }

    #[test]
    fn what_is_large_arrives_whole_and_all_at_once_takes_no_longer_than_one() {
        let (line, _registry) = scene();
        let url = format!("{}/far/-/far-1.0.0.tgz", line.url());
        let start = Instant::now();
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| assert!(Request::get(&url).send().body.len() > 3 << 20));
            }
        });
        assert!(start.elapsed() < ROUND_TRIP * 2 * 20, "one after the other: {:?}", start.elapsed());
    }
}
