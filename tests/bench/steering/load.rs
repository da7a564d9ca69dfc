//! Questions, and who asks them: as fast as they are answered, or so many a second.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use harness::packet::{EDNS_CLIENT_SUBNET, Query, kind, subnet};
use socket2::{Domain, Socket, Type};

use super::geography;

/// How many different questions there are.
const QUESTIONS: u32 = 65_536;
/// Sockets to ask from, each at an address of its own, in different networks.
const SOCKETS: u32 = 4;
/// Questions of one socket that are under way at once: together few enough that no server's queue runs over.
const WINDOW: u16 = 25;
/// When an answer is taken for lost.
const LOST: Duration = Duration::from_millis(500);
/// The longest answer.
const LONGEST: usize = 1500;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Without EDNS: clients are where the packets come from.
    Plain,
    /// With EDNS and the subnets of many clients.
    Ecs,
    /// Half and half, A and AAAA by turns.
    Mixed,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Plain, Self::Ecs, Self::Mixed];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Ecs => "ecs",
            Self::Mixed => "mixed",
        }
    }
}

/// Packets, ready to be sent.
pub(crate) struct Questions(Vec<Vec<u8>>);

impl Questions {
    pub(crate) fn new(kind: Kind) -> Self {
        Self((0..QUESTIONS).map(|number| packet(kind, number)).collect())
    }
}

fn packet(kind: Kind, number: u32) -> Vec<u8> {
    let record = if kind == Kind::Mixed && number % 2 == 1 { kind::AAAA } else { kind::A };
    let query = Query::of(super::servers::ZONE, record);
    let with_subnet = kind == Kind::Ecs || kind == Kind::Mixed && number / 2 % 2 == 1;
    if with_subnet { of_client(query, geography::client(number)).bytes() } else { query.bytes() }
}

/// The question of a resolver that has a client in this /24.
pub(crate) fn of_client(query: Query, client: Ipv4Addr) -> Query {
    query.edns(1232).option(EDNS_CLIENT_SUBNET, &subnet(IpAddr::V4(client), 24))
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) answered: u32,
    pub(crate) lost: u32,
    pub(crate) seconds: f64,
}

/// How long answers took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) lost: u32,
}

/// Sockets, and what is under way on each.
struct Asker<'a> {
    questions: &'a [Vec<u8>],
    next: usize,
    sockets: Vec<UdpSocket>,
    packet: Vec<u8>,
    answer: [u8; LONGEST],
}

impl<'a> Asker<'a> {
    fn new(server: SocketAddr, questions: &'a Questions) -> Self {
        let sockets = (0..SOCKETS).map(|number| socket(server, number)).collect();
        Self { questions: &questions.0, next: 0, sockets, packet: Vec::new(), answer: [0; LONGEST] }
    }

    /// Sends the next question with this number in its header.
    fn ask(&mut self, socket: usize, id: u16) {
        self.packet.clone_from(&self.questions[self.next]);
        self.packet[..2].copy_from_slice(&id.to_be_bytes());
        self.next = (self.next + 1) % self.questions.len();
        // A queue that is full is a loss like any other.
        let _ = self.sockets[socket].send(&self.packet);
    }

    /// The number of the next answer that has come; one that names nothing is a fault of the set-up.
    fn hear(&mut self, socket: usize) -> Option<u16> {
        let length = self.sockets[socket].recv(&mut self.answer).ok()?;
        let answer = &self.answer[..length];
        assert!(
            length > 12 && answer[3] & 0xf == 0 && answer[7] > 0,
            "no answer to the question: {answer:02x?}"
        );
        Some(u16::from_be_bytes([answer[0], answer[1]]))
    }
}

/// A socket that never waits, at an address in a network of its own (the bench's network has all of them).
fn socket(server: SocketAddr, number: u32) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
    let own = Ipv4Addr::from_bits(geography::client(number * 7919).to_bits() | 9);
    socket.bind(&SocketAddr::from((own, 0)).into()).expect("an address of the bench's network");
    socket.connect(&server.into()).expect("a route to the server");
    socket.set_nonblocking(true).expect("a socket that does not wait");
    socket.into()
}

/// Asks for so long, always with the same number of questions under way.
pub(crate) fn busy(server: SocketAddr, questions: &Questions, within: Duration) -> Load {
    let mut asker = Asker::new(server, questions);
    let start = Instant::now();
    let mut sent = vec![vec![start; usize::from(WINDOW)]; asker.sockets.len()];
    let (mut answered, mut lost) = (0, 0);
    for socket in 0..sent.len() {
        (0..WINDOW).for_each(|id| asker.ask(socket, id));
    }
    while start.elapsed() < within {
        for (socket, sent) in sent.iter_mut().enumerate() {
            let mut heard = 0;
            while let Some(id) = asker.hear(socket) {
                answered += 1;
                heard += 1;
                sent[usize::from(id)] = Instant::now();
                asker.ask(socket, id);
            }
            // Looking through all of them costs time; where something comes, little is lost.
            if heard == 0 {
                lost += ask_again(&mut asker, socket, sent);
            }
        }
    }
    Load { answered, lost, seconds: start.elapsed().as_secs_f64() }
}

fn ask_again(asker: &mut Asker<'_>, socket: usize, sent: &mut [Instant]) -> u32 {
    let mut lost = 0;
    for (id, sent) in (0_u16..).zip(sent.iter_mut()).filter(|(_, sent)| sent.elapsed() > LOST) {
        lost += 1;
        *sent = Instant::now();
        asker.ask(socket, id);
    }
    lost
}

/// Asks so many a second, whether answers come or not, and takes the time of each from when it should have been sent.
pub(crate) fn paced(server: SocketAddr, questions: &Questions, rate: u32, within: Duration) -> Latency {
    let mut asker = Asker::new(server, questions);
    let total = usize::try_from(within.as_millis() * u128::from(rate) / 1000).expect("a number of minutes");
    let gap = Duration::from_secs(1) / rate;
    let (mut due, mut took) = (vec![None; 1 << 16], Vec::with_capacity(total));
    let start = Instant::now();
    let mut asked = 0;
    while start.elapsed() < within + LOST && took.len() < total {
        let planned = start + gap * u32::try_from(asked).expect("few enough for a clock");
        if asked < total && Instant::now() >= planned {
            let id = u16::try_from(asked % (1 << 16)).expect("16 bits");
            due[usize::from(id)] = Some(planned);
            asker.ask(asked % asker.sockets.len(), id);
            asked += 1;
        }
        for socket in 0..asker.sockets.len() {
            while let Some(id) = asker.hear(socket) {
                took.extend(due[usize::from(id)].take().map(|due: Instant| due.elapsed()));
            }
        }
    }
    took.sort();
    let lost = u32::try_from(asked - took.len()).expect("few enough");
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or(LOST);
    Latency { p50: at(50), p99: at(99), lost }
}
