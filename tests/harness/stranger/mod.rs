//! A libp2p node that is no gateway: of another swarm, or one that says what it likes and behaves as it likes.
//!
//! ```text
//! let liar = Stranger::neighbour(Conduct::WrongBytes, left.releases());
//! liar.dial(&gateway.contact());
//! ...
//! assert_eq!(liar.asked().len(), 1);
//! ```

mod conduct;
mod inventory;
mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use bytes::Bytes;
use libp2p::Multiaddr;
use libp2p::identity::Keypair;
use resolver::card::Card;
use resolver::integrity::Integrity;
use resolver::peer::PeerId;
use tokio::sync::{mpsc, oneshot};

use crate::Gateway;
use crate::package::Release;

pub use conduct::Conduct;
use node::Order;

/// What a gateway of this version says in identify.
const VERSION: &str = "/open-registry/1";

/// One that runs on a thread of its own until it is dropped.
#[derive(Debug)]
pub struct Stranger {
    id: String,
    contact: String,
    orders: mpsc::UnboundedSender<Order>,
    notes: Arc<Notes>,
    _stop: oneshot::Sender<()>,
}

/// What it is, and says of itself.
struct Guise {
    version: String,
    card: Option<String>,
    conduct: Conduct,
    /// What it says that it holds, and has.
    contents: BTreeMap<[u8; 64], Bytes>,
}

/// What it has seen of gateways.
#[derive(Debug, Default)]
struct Notes {
    asked: Mutex<Vec<String>>,
    told: Mutex<BTreeSet<u32>>,
    subscribed: Mutex<usize>,
    /// What it answers to requests for paths that begin so, whatever its conduct is.
    replies: Mutex<BTreeMap<String, Bytes>>,
    /// Where it has the blocks that it changes.
    source: Mutex<Option<String>>,
}

impl Notes {
    fn asked(&self) -> MutexGuard<'_, Vec<String>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replies(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn source(&self) -> Option<String> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was planned for a path.
    fn reply(&self, path: &str) -> Option<Bytes> {
        self.replies()
            .iter()
            .find(|(begin, _)| path.starts_with(begin.as_str()))
            .map(|(_, body)| body.clone())
    }

    fn subscribed(&self) -> MutexGuard<'_, usize> {
        self.subscribed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stranger {
    /// On loopback, with this protocol version in identify, and with this card if it has one.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(version: &str, card: Option<String>) -> Self {
        let contents = BTreeMap::new();
        Self::run(Guise { version: version.to_owned(), card, conduct: Conduct::Silent, contents })
    }

    /// One that is taken for a gateway: it says who it is as one does, and tells whomever it is connected to that it holds
    /// these. What it does when it is asked for them, or to fetch others, is its conduct.
    ///
    /// # Panics
    /// When it does not start.
    pub fn neighbour<'a>(conduct: Conduct, releases: impl IntoIterator<Item = &'a Release>) -> Self {
        let content = |release: &Release| {
            let integrity = Integrity::from_sri(&release.integrity).expect("a SHA-512");
            (*integrity.as_bytes(), release.tarball.clone())
        };
        let contents = releases.into_iter().map(content).collect();
        Self::run(Guise { version: VERSION.to_owned(), card: Some(card(None)), conduct, contents })
    }

    /// One that says that it follows this gateway, and gives blocks of its index, each answer with one byte changed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn changes_blocks_of(home: &Gateway) -> Self {
        let card = card(home.id().parse().ok());
        let (conduct, contents) = (Conduct::Empty, BTreeMap::new());
        let stranger = Self::run(Guise { version: VERSION.to_owned(), card: Some(card), conduct, contents });
        *stranger.notes.source.lock().unwrap_or_else(PoisonError::into_inner) = Some(home.url());
        stranger
    }

    fn run(guise: Guise) -> Self {
        let key = Keypair::generate_ed25519();
        let id = key.public().to_peer_id().to_base58();
        let ((said, contact), (stop, stopped)) = (std::sync::mpsc::channel(), oneshot::channel());
        let (orders, ordered) = mpsc::unbounded_channel();
        let notes = Arc::new(Notes::default());
        let noting = Arc::clone(&notes);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                tokio::select! {
                    () = node::run(key, guise, noting, said, ordered) => {}
                    _ = stopped => {}
                }
            });
        });
        let address: Multiaddr = contact.recv().expect("a node that listens");
        Self { contact: format!("{address}/p2p/{id}"), id, orders, notes, _stop: stop }
    }

    /// Who it is.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it is, and who.
    pub fn contact(&self) -> &str {
        &self.contact
    }

    /// Connects to a gateway.
    pub fn dial(&self, contact: &str) {
        self.order(Order::Dial(contact.to_owned()));
    }

    /// The heads of all requests that it got on streams for HTTP. One that reads nothing has an empty text for each stream.
    pub fn asked(&self) -> Vec<String> {
        self.notes.asked().clone()
    }

    /// Every fingerprint that was ever told to it.
    pub fn told(&self) -> BTreeSet<u32> {
        self.notes.told().clone()
    }

    /// From now on requests for paths that begin so are answered with this.
    pub fn answer(&self, path: &str, body: impl Into<Bytes>) {
        self.notes.replies().insert(path.to_owned(), body.into());
    }

    /// Takes part in gossip on this topic.
    pub fn subscribe(&self, topic: &str) {
        self.order(Order::Subscribe(topic.to_owned()));
    }

    /// How many it knows who take part in what it takes part in.
    pub fn members(&self) -> usize {
        *self.notes.subscribed()
    }

    /// Says this to all of them, in its turn.
    pub fn say(&self, topic: &str, bytes: impl Into<Vec<u8>>) {
        self.order(Order::Say(topic.to_owned(), bytes.into()));
    }

    fn order(&self, order: Order) {
        self.orders.send(order).expect("a running node");
    }
}

/// As a gateway says what it is.
fn card(home: Option<PeerId>) -> String {
    let card =
        Card { version: "0.1.0".into(), urls: Vec::new(), online: true, shares: true, sequence: 0, home };
    String::from_utf8(card.to_json()).expect("JSON")
}
