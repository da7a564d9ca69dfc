//! Queries in datagrams: a thread of its own for each socket, and for each core a socket at the same address.
//!
//! A thread that waits in the kernel for one datagram after the other answers for half of what a task would cost.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Backend;
use super::datagrams::{Datagrams, Envelope, Space};
use super::message::Transport;
use super::responder::{Desk, Reaction};
use crate::pulse::{BEAT, Pulse};

/// A query with all that EDNS may add. What is longer is dropped.
const LARGEST_QUERY: usize = 4096;
/// Sockets at one address; more than a few threads are of use only where all cores do nothing else.
const MOST_THREADS: usize = 8;
/// Sockets at all addresses, as far as each has one anyway.
const MOST_SOCKETS: usize = 64;
/// What a thread's stack may take; the codec's recursion is bounded, and decisions have none.
const STACK: usize = 512 << 10;
/// A busy thread shows that it turns so often; an idle one, as often as it stops waiting.
const BETWEEN_BEATS: Duration = Duration::from_millis(250);
/// How soon what was decided is decided again though nothing is said to have changed: databases of where clients are
/// are looked at as often.
const FORGET: Duration = Duration::from_secs(60);
/// After a failed read, so that the loop does not spin.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest that an answer waits for room on its way out: the others wait for it.
const SEND_WAIT: Duration = Duration::from_millis(100);
/// How soon a looked-up answer tries again to be sent when there was no room.
const SEND_PAUSE: Duration = Duration::from_millis(5);
/// How soon a thread sees that it is to end whose socket somebody else has too, and so cannot be woken.
const SHARED_WAIT: Duration = Duration::from_millis(200);
/// At the end what has arrived is answered, but not for ever: whoever comes after us has the socket too.
const LAST_DATAGRAMS: usize = 16 << 10;

/// All sockets at one address.
pub(super) struct SocketGroup {
    sockets: Vec<Datagrams>,
    /// Nobody else has them.
    own: bool,
}

/// How many sockets each of so many addresses gets.
pub(super) fn sockets_each(addresses: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (MOST_SOCKETS / addresses.max(1)).clamp(1, MOST_THREADS.min(cores))
}

impl SocketGroup {
    /// So many sockets of our own at `address`; this machine itself, by loopback, has need of one.
    pub(super) fn bind(address: SocketAddr, sockets: usize) -> io::Result<Self> {
        let first = Datagrams::bind(address)?;
        let chosen = first.address()?;
        let more = if address.ip().is_loopback() { 0 } else { sockets.saturating_sub(1) };
        let mut all = vec![first];
        for _ in 0..more {
            all.push(Datagrams::bind(chosen)?);
        }
        Ok(Self { sockets: all, own: true })
    }

    /// A socket that somebody else has bound.
    pub(super) fn adopt(socket: std::net::UdpSocket) -> io::Result<Self> {
        Ok(Self { sockets: vec![Datagrams::adopt(socket)?], own: false })
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.sockets.first().ok_or(io::ErrorKind::NotConnected)?.address()
    }

    /// Answers until `stop`, and then what has arrived by then.
    pub(super) async fn serve(self, backend: Arc<Backend>, stop: CancellationToken) {
        let wait = if self.own { BEAT } else { SHARED_WAIT };
        let mut ends = Vec::new();
        let mut sockets = Vec::new();
        for socket in self.sockets {
            let socket = Arc::new(socket);
            let pulse = backend.pulse("dns", &socket.address());
            let (end, ended) = oneshot::channel::<()>();
            let worker = Worker {
                socket: Arc::clone(&socket),
                backend: Arc::clone(&backend),
                stop: stop.clone(),
                runtime: Handle::current(),
            };
            let run = move || {
                worker.run(&pulse, wait);
                drop(end);
            };
            match thread::Builder::new().name("dns".to_owned()).stack_size(STACK).spawn(run) {
                Ok(_) => {
                    sockets.push(socket);
                    ends.push(ended);
                }
                // The socket is closed with it, so that the kernel gives its clients another.
                Err(error) => tracing::error!(%error, "no thread for DNS queries"),
            }
        }
        stop.cancelled().await;
        if self.own {
            sockets.iter().for_each(|socket| socket.wake());
        }
        for ended in ends {
            let _ = ended.await;
        }
    }
}

/// One thread's work.
struct Worker {
    socket: Arc<Datagrams>,
    backend: Arc<Backend>,
    stop: CancellationToken,
    runtime: Handle,
}

impl Worker {
    fn run(&self, pulse: &Pulse, wait: Duration) {
        let mut work = Work { query: vec![0; LARGEST_QUERY], space: Space::new(), desk: Desk::default() };
        if let Err(error) = self.socket.set_wait(wait) {
            tracing::error!(%error, "cannot wait for DNS queries");
        }
        let (mut beaten, mut fresh) = (Instant::now(), Instant::now());
        pulse.beat();
        while !self.stop.is_cancelled() {
            match self.answer_next(&mut work, true) {
                Ok(()) => {}
                Err(error) if nothing_came(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot receive DNS queries");
                    thread::sleep(PAUSE);
                }
            }
            let now = Instant::now();
            if now - beaten >= BETWEEN_BEATS {
                beaten = now;
                pulse.beat();
            }
            if now - fresh >= FORGET {
                fresh = now;
                work.desk.forget();
            }
        }
        for _ in 0..LAST_DATAGRAMS {
            if self.answer_next(&mut work, false).is_err() {
                break;
            }
        }
    }

    /// Answers the next datagram.
    fn answer_next(&self, work: &mut Work, waits: bool) -> io::Result<()> {
        let (length, envelope) = match self.socket.receive(&mut work.query, &mut work.space, waits) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(()),
            received => received?,
        };
        let Some(arrival) = envelope.arrival() else { return Ok(()) };
        let query = &work.query[..length];
        match self.backend.responder.react(query, &arrival, Transport::Udp, &mut work.desk) {
            Reaction::Answer => self.send(&work.desk.answer, &envelope),
            Reaction::LookUp(request) => {
                let answering = Arc::clone(&self.backend).look_up(*request, arrival.client);
                let socket = Arc::clone(&self.socket);
                let look_up = async move {
                    if let Some(answer) = answering.await {
                        send_later(&socket, &answer, &envelope).await;
                    }
                };
                self.backend.tasks.spawn_on(look_up, &self.runtime);
            }
            Reaction::Silence => {}
        }
        Ok(())
    }

    /// Sends an answer. One that cannot be sent is lost, as datagrams are: its client asks again.
    fn send(&self, answer: &[u8], envelope: &Envelope) {
        let mut sent = self.socket.send(answer, envelope);
        if sent.as_ref().is_err_and(nothing_came) && self.socket.wait_for_room(SEND_WAIT).is_ok() {
            sent = self.socket.send(answer, envelope);
        }
        if let Err(error) = sent {
            tracing::debug!(%error, "cannot send a DNS answer");
        }
    }
}

/// What a thread uses again for each query.
struct Work {
    query: Vec<u8>,
    space: Space,
    desk: Desk,
}

/// Time has passed, or a signal came, or there is no room.
fn nothing_came(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

async fn send_later(socket: &Datagrams, answer: &[u8], envelope: &Envelope) {
    let sending = async {
        loop {
            match socket.send(answer, envelope) {
                Err(error) if nothing_came(&error) => tokio::time::sleep(SEND_PAUSE).await,
                ended => return ended,
            }
        }
    };
    if let Ok(Err(error)) = tokio::time::timeout(SEND_WAIT, sending).await {
        tracing::debug!(%error, "cannot send a DNS answer");
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use hickory_proto::op::{Message, Query};
    use hickory_proto::rr::{Name, RecordType};
    use resolver::answer::Facts;
    use socket2::{Domain, Protocol, Socket, Type};
    use tokio::net::UdpSocket;
    use tokio_util::task::TaskTracker;

    use super::super::places::Places;
    use super::super::responder::Responder;
    use super::*;
    use crate::metrics::Metrics;
    use crate::pulse::Pulses;

    /// A backend that knows nothing of this machine.
    fn backend() -> Arc<Backend> {
        let zone = "registry.example.com".parse().unwrap();
        let responder = Responder::new(
            zone,
            Vec::new(),
            Facts::default(),
            Arc::new(|_| Default::default()),
            0,
            Arc::new(Metrics::new()),
        );
        Arc::new(Backend {
            responder,
            forwarder: None,
            places: Places::default(),
            tasks: TaskTracker::new(),
            pulses: Pulses::new(),
        })
    }

    /// What a client hears that asks at `address`, and listens to nobody else.
    async fn ask(address: SocketAddr) -> Vec<IpAddr> {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(address).await.unwrap();
        let mut question = Message::query();
        let name = Name::from_ascii("registry.example.com.").unwrap();
        question.add_query(Query::query(name, RecordType::A));
        client.send(&question.to_vec().unwrap()).await.unwrap();
        let mut answer = vec![0; 512];
        let length = tokio::time::timeout(Duration::from_secs(10), client.recv(&mut answer)).await;
        let answer = Message::from_vec(&answer[..length.expect("an answer").unwrap()]).unwrap();
        answer.answers.iter().filter_map(|record| record.data.ip_addr()).collect()
    }

    #[tokio::test]
    async fn a_socket_for_all_addresses_answers_from_the_one_that_was_asked() {
        let both_families = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        both_families.set_only_v6(false).unwrap();
        both_families.bind(&"[::]:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        for socket in [std::net::UdpSocket::bind("0.0.0.0:0").unwrap(), both_families.into()] {
            let group = SocketGroup::adopt(socket).unwrap();
            let port = group.address().unwrap().port();
            let stop = CancellationToken::new();
            let serving = tokio::spawn(group.serve(backend(), stop.clone()));
            for address in ["127.0.0.1", "127.0.0.2", "127.1.2.3"] {
                let address: IpAddr = address.parse().unwrap();
                assert_eq!(ask(SocketAddr::new(address, port)).await, [address]);
            }
            stop.cancel();
            serving.await.unwrap();
        }
    }
}
