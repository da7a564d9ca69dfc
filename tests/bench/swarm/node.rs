//! One swarm, as a gateway has it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gateway::identity::Identity;
use gateway::metrics::Metrics;
use gateway::pulse::Pulses;
use gateway::swarm::{self, Bulletins, Config, Contact, Own, Swarm};
use resolver::card::Card;
use resolver::peer::PeerId;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::board::Board;

/// The longest that a node may take until it listens, or is connected.
const PATIENCE: Duration = Duration::from_secs(120);

/// A node that runs until the program ends.
pub(crate) struct Node {
    pub(crate) board: Arc<Board>,
    id: PeerId,
    swarm: Swarm,
}

impl Node {
    /// One that follows `author`, or itself, and is led to these.
    pub(crate) async fn start(folder: &Path, author: Option<PeerId>, bootstrap: Vec<Contact>) -> Self {
        fs::create_dir_all(folder).expect("a folder in a new folder");
        let identity = Arc::new(Identity::open(folder).expect("a key"));
        let id = identity.id();
        let board = Arc::new(Board::new(author.unwrap_or(id)));
        let config = Config {
            listen: vec![([127, 0, 0, 1], 0).into()],
            home: None,
            bootstrap,
            discover: false,
            interfaces: Vec::new(),
            admit: Vec::new(),
            psk_file: None,
            update_type: Vec::new(),
            hedge_ms: 0,
        };
        let card = || Card {
            version: "0.1.0".into(),
            urls: Vec::new(),
            online: true,
            shares: true,
            sequence: 0,
            home: None,
        };
        let own = Own {
            identity,
            doors: Vec::new(),
            card: Box::new(card),
            announces: false,
            bulletins: Bulletins { directory: Arc::new(Board::new(id)), heads: vec![board.clone()] },
            metrics: Arc::new(Metrics::new()),
        };
        let (swarm, _, task) = swarm::start(&config, own).expect("a swarm");
        tokio::spawn(task.run(Pulses::new(), CancellationToken::new(), CancellationToken::new()));
        let listening = async {
            while swarm.contacts().is_empty() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, listening).await.expect("a node that listens");
        Self { board, id, swarm }
    }

    /// Who it is.
    pub(crate) fn id(&self) -> PeerId {
        self.id
    }

    /// Where it is, and who.
    pub(crate) fn contact(&self) -> Contact {
        self.swarm.contacts().first().expect("a node that listens").clone()
    }

    /// How many it is connected to.
    pub(crate) fn neighbours(&self) -> usize {
        self.swarm.neighbours().len()
    }

    /// Waits until it is connected to so many.
    pub(crate) async fn await_neighbours(&self, count: usize) {
        let mut neighbours = self.swarm.follow();
        let enough = neighbours.wait_for(|now| now.len() >= count.max(1));
        timeout(PATIENCE, enough).await.expect("neighbours in time").expect("a running swarm");
    }
}
