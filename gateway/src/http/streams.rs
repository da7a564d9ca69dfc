//! Serves HTTP/1.1 on the streams that peers open, as behind the doors for clients.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use resolver::links::one_client;
use resolver::peer::PeerId;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{self, Handle, Wire};
use super::server::{self, drained};
use super::shares::Shares;
use crate::swarm::{Incoming, Stream, Swarm};

/// Streams at once. Each takes some 10 KiB while it is idle.
const STREAMS: usize = 2048;
/// Of one peer: a follower asks for 64 things at once and for 48 tarballs, and keeps a few for what comes next.
const STREAMS_OF_ONE: usize = 128;
/// Of all who come from one address, this machine's own aside: ids cost nothing.
const STREAMS_OF_ADDRESS: usize = STREAMS / 4;
/// How long a stream may wait for its next request. Followers keep one for 30 s, others for 20: whoever keeps it ends it, so that no
/// request meets one that has just ended.
const NEXT: Duration = Duration::from_secs(45);

/// Serves one handler on streams.
pub struct Streams<H> {
    handler: H,
    swarm: Swarm,
    places: Arc<Semaphore>,
    ones: Shares<PeerId>,
    addresses: Shares<IpAddr>,
    builder: auto::Builder<TokioExecutor>,
}

impl<H: Handle> Streams<H> {
    /// `swarm` says where peers are.
    #[must_use]
    pub fn new(handler: H, swarm: Swarm) -> Self {
        let (places, ones) = (Arc::new(Semaphore::new(STREAMS)), Shares::new(STREAMS_OF_ONE));
        let mut builder = server::builder().http1_only();
        builder.http1().header_read_timeout(NEXT);
        Self { handler, swarm, places, ones, addresses: Shares::new(STREAMS_OF_ADDRESS), builder }
    }

    /// Serves streams until `stop`, or until no more can come; then lets answers that are under way come to their end.
    pub async fn serve(self, mut incoming: Incoming, stop: CancellationToken) {
        let (streams, tracker) = (Arc::new(self), TaskTracker::new());
        while let Some(Some((from, stream))) = stop.run_until_cancelled(incoming.recv()).await {
            streams.take(from, stream, &tracker, &stop);
        }
        drained(tracker).await;
    }

    /// One that finds no place is closed: its peer has others.
    fn take(self: &Arc<Self>, from: PeerId, stream: Stream, tracker: &TaskTracker, stop: &CancellationToken) {
        let Some(one) = self.ones.enter(from) else {
            tracing::debug!(peer = %from, "a peer has too many streams; closed");
            return;
        };
        let wire = self.wire(from);
        let address = one_client(wire.peer.ip());
        let beside = (!address.is_loopback()).then(|| self.addresses.enter(address));
        if matches!(beside, Some(None)) {
            tracing::debug!(%address, "the peers of one address have too many streams; closed");
            return;
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            tracing::debug!(peer = %from, "peers have too many streams; closed");
            return;
        };
        let (streams, stop) = (Arc::clone(self), stop.clone());
        tracker.spawn(async move {
            let stream = Box::pin(connection::limited(stream));
            connection::serve(&streams.builder, stream, &streams.handler, wire, &stop).await;
            drop((one, beside, place));
        });
    }

    fn wire(&self, from: PeerId) -> Wire {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let neighbours = self.swarm.neighbours();
        let address = neighbours.get(&from).and_then(|neighbour| neighbour.addresses.first());
        let peer = address.map_or(nowhere, |address| SocketAddr::new(address.to_canonical(), 0));
        Wire { peer, local: nowhere, tls: false, proved: Some(Arc::new(from)) }
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use hyper::body::Incoming as Asked;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::super::body::{Body, full};
    use super::*;
    use crate::swarm::{Ends, Protocol};

    /// Says who asks; `/slow` when it is told to.
    #[derive(Clone)]
    struct Echo(Arc<Notify>);

    impl Handle for Echo {
        async fn handle(&self, request: Request<Asked>, wire: Wire) -> Response<Body> {
            if request.uri().path() == "/slow" {
                self.0.notified().await;
            }
            Response::new(full(wire.proved.map(|id| id.to_string()).unwrap_or_default()))
        }
    }

    struct Scene {
        ends: Ends,
        told: Arc<Notify>,
        stop: CancellationToken,
        served: JoinHandle<()>,
    }

    impl Scene {
        fn new() -> Self {
            let (swarm, ends, mut incoming) = Swarm::channels();
            let (told, stop) = (Arc::new(Notify::new()), CancellationToken::new());
            let streams = Streams::new(Echo(Arc::clone(&told)), swarm);
            let incoming = incoming.remove(&Protocol::Http).unwrap();
            let served = tokio::spawn(streams.serve(incoming, stop.clone()));
            Self { ends, told, stop, served }
        }

        async fn opens(&self, who: PeerId) -> DuplexStream {
            let (ours, theirs) = duplex(64 * 1024);
            assert!(self.ends.opened[&Protocol::Http].send((who, Box::new(theirs))).await.is_ok());
            ours
        }
    }

    /// One answer's body; `None`: the stream is closed.
    async fn ask(stream: &mut DuplexStream, path: &str) -> Option<String> {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.ok()?;
        let mut heard = Vec::new();
        loop {
            if stream.read_buf(&mut heard).await.ok()? == 0 {
                return None;
            }
            let text = String::from_utf8_lossy(&heard);
            let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
            if !body.is_empty() && head.contains(&format!("content-length: {}", body.len())) {
                return Some(body.to_owned());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_on_a_stream_are_of_who_has_opened_it_one_after_the_other() {
        let scene = Scene::new();
        let [one, other] = [1, 2].map(|nth| PeerId::of_key([nth; 32]));
        let (mut of_one, mut of_other) = (scene.opens(one).await, scene.opens(other).await);
        for _ in 0..3 {
            assert_eq!(ask(&mut of_one, "/").await, Some(one.to_string()));
            assert_eq!(ask(&mut of_other, "/").await, Some(other.to_string()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_has_so_many_streams_and_others_theirs() {
        let scene = Scene::new();
        let [one, other] = [1, 2].map(|nth| PeerId::of_key([nth; 32]));
        let mut streams = Vec::new();
        for _ in 0..STREAMS_OF_ONE {
            let mut stream = scene.opens(one).await;
            assert!(ask(&mut stream, "/").await.is_some());
            streams.push(stream);
        }
        assert_eq!(ask(&mut scene.opens(one).await, "/").await, None);
        assert!(ask(&mut scene.opens(other).await, "/").await.is_some());
        drop(streams.pop());
        // The place is free when the end of the stream has been seen.
        let free = async { while ask(&mut scene.opens(one).await, "/").await.is_none() {} };
        tokio::time::timeout(Duration::from_secs(5), free).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_keeps_no_place() {
        let scene = Scene::new();
        let mut silent = scene.opens(PeerId::of_key([1; 32])).await;
        let closed = tokio::time::timeout(Duration::from_secs(100), silent.read(&mut [0; 1])).await;
        assert_eq!(closed.unwrap().unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_under_way_comes_to_its_end_and_then_the_stream_does() {
        let scene = Scene::new();
        let peer = PeerId::of_key([1; 32]);
        let mut stream = scene.opens(peer).await;
        let asked = tokio::spawn(async move {
            let answer = ask(&mut stream, "/slow").await;
            (answer, stream.read(&mut [0; 1]).await.unwrap())
        });
        tokio::task::yield_now().await;
        scene.stop.cancel();
        tokio::time::sleep(Duration::from_secs(5)).await;
        scene.told.notify_one();
        assert_eq!(asked.await.unwrap(), (Some(peer.to_string()), 0));
        scene.served.await.unwrap();
    }
}
