//! What others see of the swarm.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use resolver::card::Card;
use resolver::peer::PeerId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::Contact;

/// The longest that opening a stream on a connection that is there may take.
const OPENING: Duration = Duration::from_secs(2);
/// Commands that wait for the swarm's task; more are refused.
const WAITING: usize = 1024;
/// Streams that peers have opened and nobody has taken yet, for each protocol; more are closed.
const UNTAKEN: usize = 256;

/// What is spoken on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP/1.1, one request after the other.
    Http,
    /// What is held, and what has changed of it.
    Inventory,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Http, Self::Inventory];

    /// As it is negotiated.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "/open-registry/http/1",
            Self::Inventory => "/open-registry/inventory/1",
        }
    }
}

/// Both directions of a stream.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A stream to a peer, or from one.
pub type Stream = Box<dyn Duplex>;

/// Streams of one protocol that peers open, each with who has opened it.
pub type Incoming = mpsc::Receiver<(PeerId, Stream)>;

/// A peer that is connected.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbour {
    /// The addresses that its connections lead to.
    pub addresses: Vec<IpAddr>,
    /// One of them is on a network that this machine is attached to.
    pub near: bool,
    /// What it says of itself; `None`: it has not yet.
    pub card: Option<Card>,
    /// Since when it is connected.
    pub since: Instant,
}

/// All peers that are connected.
pub type Neighbours = BTreeMap<PeerId, Neighbour>;

/// Why there is no stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoStream {
    /// There is no connection to it.
    #[error("the peer is not connected")]
    NotConnected,
    /// It does not speak this protocol, or has too many streams of it.
    #[error("the peer does not take the stream: {0}")]
    Refused(String),
    /// It did not answer in time.
    #[error("the peer did not answer within 2 seconds")]
    TimedOut,
    /// Too many wait, or there is no swarm.
    #[error("this gateway is not connected to peers, or too busy")]
    Unavailable,
}

/// What the swarm's task is told.
pub enum Command {
    /// Opens a stream.
    Open {
        /// To whom.
        to: PeerId,
        /// What is spoken.
        protocol: Protocol,
        /// Where to say what came of it.
        done: oneshot::Sender<Result<Stream, NoStream>>,
    },
    /// Ends all connections with a peer, and takes none from it for a while.
    Block {
        /// Whom.
        id: PeerId,
        /// How long.
        pause: Duration,
    },
}

/// The swarm. Cheap to clone.
#[derive(Clone)]
pub struct Swarm {
    neighbours: watch::Receiver<Arc<Neighbours>>,
    contacts: watch::Receiver<Vec<Contact>>,
    commands: mpsc::Sender<Command>,
}

/// The other side of the handle: what the swarm's task holds.
pub struct Ends {
    /// Where it says who is connected.
    pub neighbours: watch::Sender<Arc<Neighbours>>,
    /// Where it says how others reach this gateway.
    pub contacts: watch::Sender<Vec<Contact>>,
    /// What it is told.
    pub commands: mpsc::Receiver<Command>,
    /// Where it gives streams that peers open.
    pub opened: BTreeMap<Protocol, mpsc::Sender<(PeerId, Stream)>>,
}

impl Swarm {
    /// A handle, what the task needs, and the streams that will come, by protocol.
    #[must_use]
    pub fn channels() -> (Self, Ends, BTreeMap<Protocol, Incoming>) {
        let (publish, neighbours) = watch::channel(Arc::default());
        let (tell, contacts) = watch::channel(Vec::new());
        let (sender, commands) = mpsc::channel(WAITING);
        let (mut opened, mut incoming) = (BTreeMap::new(), BTreeMap::new());
        for protocol in Protocol::ALL {
            let (give, take) = mpsc::channel(UNTAKEN);
            opened.insert(protocol, give);
            incoming.insert(protocol, take);
        }
        let ends = Ends { neighbours: publish, contacts: tell, commands, opened };
        (Self { neighbours, contacts, commands: sender }, ends, incoming)
    }

    /// A swarm of nobody, where there are to be no peers.
    #[must_use]
    pub fn none() -> Self {
        Self::channels().0
    }

    /// Who is connected now.
    #[must_use]
    pub fn neighbours(&self) -> Arc<Neighbours> {
        Arc::clone(&self.neighbours.borrow())
    }

    /// Who is connected, whenever that changes.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Arc<Neighbours>> {
        self.neighbours.clone()
    }

    /// How others reach this gateway, as far as it knows itself; whoever is behind a router knows of no more than its own network.
    #[must_use]
    pub fn contacts(&self) -> Vec<Contact> {
        self.contacts.borrow().clone()
    }

    /// A stream to a peer that is connected. Takes 2 s at most.
    ///
    /// # Errors
    /// [`NoStream`].
    pub async fn open(&self, to: PeerId, protocol: Protocol) -> Result<Stream, NoStream> {
        if !self.neighbours.borrow().contains_key(&to) {
            return Err(NoStream::NotConnected);
        }
        let (done, opened) = oneshot::channel();
        self.commands.try_send(Command::Open { to, protocol, done }).map_err(|_| NoStream::Unavailable)?;
        let opened = timeout(OPENING, opened).await.map_err(|_| NoStream::TimedOut)?;
        opened.unwrap_or(Err(NoStream::Unavailable))
    }

    /// Ends all connections with a peer, and takes none from it for so long.
    pub fn block(&self, id: PeerId, pause: Duration) {
        // A swarm that is too busy for this is told again at the peer's next offence.
        let _ = self.commands.try_send(Command::Block { id, pause });
    }
}
