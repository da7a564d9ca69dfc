//! Peers for tests: who is connected is said by the test, and what they answer is played over streams of a swarm that it plays.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resolver::card::Card;
use resolver::integrity::Integrity;
use resolver::inventory::{Prints, print};
use resolver::links::Links;
use resolver::peer::{Peer, PeerId};
use resolver::peers::Sighting;
use resolver::rank::table::{Standing, This};
use resolver::rank::{Snapshot, Table};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::{Basis, Peers};
use crate::metrics::Metrics;
use crate::share::Inventories;
use crate::swarm::{Command, Ends, Neighbour, Neighbours, Swarm};

/// How a peer behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fetch) enum Conduct {
    /// It gives what it has, and fetches what it is to fetch, so long after it was asked.
    Good(Duration),
    /// It takes requests and says nothing.
    Silent,
    /// It gives 100 kB in a second.
    Slow,
    /// It gives other bytes, of the right length.
    Wrong,
    /// It gives half of them, and closes.
    Truncated,
    /// It gives bytes without end, and says no length.
    Endless,
    /// It says that there are 3 GiB.
    TooLong,
    /// It has nothing of what it says it has.
    Empty,
    /// It closes the stream.
    Closed,
}

/// A swarm that a test plays.
pub(in crate::fetch) struct StandIn {
    pub(in crate::fetch) peers: Peers,
    pub(in crate::fetch) inventories: Inventories,
    neighbours: watch::Sender<Arc<Neighbours>>,
    known: watch::Sender<Arc<Snapshot>>,
    conducts: Arc<Mutex<BTreeMap<PeerId, Conduct>>>,
    /// What peers were asked: the head of each request.
    pub(in crate::fetch) asked: Arc<Mutex<Vec<(PeerId, String)>>>,
    pub(in crate::fetch) seen: Arc<Mutex<Vec<Sighting>>>,
    contents: Arc<Vec<Vec<u8>>>,
}

pub(in crate::fetch) fn id(number: u8) -> PeerId {
    PeerId::of_key([number; 32])
}

/// This gateway's own.
pub(in crate::fetch) const OWN: u8 = 200;

impl StandIn {
    /// `contents`: all tarballs that there are.
    pub(in crate::fetch) fn new(contents: Vec<Vec<u8>>, metrics: Arc<Metrics>) -> Self {
        Self::hedging(contents, None, metrics)
    }

    /// The same, with peers that are waited for so long before others are asked as well; `None`: as their answers say.
    pub(in crate::fetch) fn hedging(
        contents: Vec<Vec<u8>>,
        hedge: Option<Duration>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (swarm, ends, _) = Swarm::channels();
        let Ends { neighbours, commands, .. } = ends;
        let (known, snapshot) = watch::channel(Arc::new(Snapshot::alone()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (inventories, sightings) = (Inventories::default(), Arc::clone(&seen));
        let peers = Peers::new(Basis {
            own: id(OWN),
            shares: true,
            private_scopes: vec!["@private".into()],
            hedge,
            swarm,
            inventories: inventories.clone(),
            known: snapshot,
            seen: Box::new(move |sighting| sightings.lock().unwrap().push(sighting)),
            metrics,
        });
        let stand_in = Self {
            peers: peers.unwrap(),
            inventories,
            neighbours,
            known,
            conducts: Arc::default(),
            asked: Arc::default(),
            seen,
            contents: Arc::new(contents),
        };
        tokio::spawn(take_streams(
            commands,
            Arc::clone(&stand_in.conducts),
            Arc::clone(&stand_in.contents),
            Arc::clone(&stand_in.asked),
        ));
        stand_in
    }

    /// A peer on this network that says that it holds these, and is online.
    pub(in crate::fetch) fn connect(&self, number: u8, conduct: Conduct, holds: &[Integrity]) {
        self.conducts.lock().unwrap().insert(id(number), conduct);
        self.inventories.set(id(number), holds.iter().map(print).collect::<Prints>());
        let card = Card {
            version: String::new(),
            urls: Vec::new(),
            online: true,
            shares: true,
            sequence: 0,
            home: None,
        };
        let neighbour =
            Neighbour { addresses: Vec::new(), near: true, card: Some(card), since: Instant::now() };
        self.neighbours.send_modify(|neighbours| _ = Arc::make_mut(neighbours).insert(id(number), neighbour));
    }

    /// As [`Self::connect`], and it serves HTTP at an address that it has proved to be its own.
    pub(in crate::fetch) async fn connect_by_http(&self, number: u8, conduct: Conduct, holds: &[Integrity]) {
        self.connect(number, conduct, holds);
        let address = self.listen(number, conduct).await;
        let peer = Peer {
            id: id(number),
            endpoints: Vec::new(),
            urls: vec![format!("http://{address}")],
            whereabouts: resolver::geo::Whereabouts::default(),
            networks: Vec::new(),
            capacity: 1.0,
            admitted: false,
        };
        let table = Table::new(&This::default(), [peer], &Links::default());
        let standing = Standing { urls: 1, ..Standing::own(true, 0.0) };
        let standings = vec![Standing::own(true, 0.0), standing];
        self.known.send_replace(Arc::new(Snapshot::new(Arc::new(table), standings, true)));
    }

    async fn listen(&self, number: u8, conduct: Conduct) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (contents, asked) = (Arc::clone(&self.contents), Arc::clone(&self.asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, id(number), conduct, Arc::clone(&contents), Arc::clone(&asked)));
            }
        });
        address
    }

    /// How often a peer was asked.
    pub(in crate::fetch) fn asked(&self, number: u8) -> usize {
        self.asked.lock().unwrap().iter().filter(|(asked, _)| *asked == id(number)).count()
    }
}

/// Opens the streams that are wanted.
async fn take_streams(
    mut commands: mpsc::Receiver<Command>,
    conducts: Arc<Mutex<BTreeMap<PeerId, Conduct>>>,
    contents: Arc<Vec<Vec<u8>>>,
    asked: Arc<Mutex<Vec<(PeerId, String)>>>,
) {
    while let Some(command) = commands.recv().await {
        if let Command::Open { to, done, .. } = command {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let conduct = conducts.lock().unwrap()[&to];
            tokio::spawn(serve(theirs, to, conduct, Arc::clone(&contents), Arc::clone(&asked)));
            let _ = done.send(Ok(Box::new(ours)));
        }
    }
}

/// HTTP as a peer of this conduct speaks it, one request after the other.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    id: PeerId,
    conduct: Conduct,
    contents: Arc<Vec<Vec<u8>>>,
    asked: Arc<Mutex<Vec<(PeerId, String)>>>,
) {
    let mut head = Vec::new();
    while stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8_lossy(&std::mem::take(&mut head)).into_owned();
        let wanted = |bytes: &&Vec<u8>| {
            let integrity = Integrity::of(bytes);
            text.contains(&integrity.base64url()) || text.contains(&integrity.to_string())
        };
        let bytes = contents.iter().find(wanted).cloned();
        asked.lock().unwrap().push((id, text));
        if answer(&mut stream, conduct, bytes).await.is_err() {
            return;
        }
    }
}

async fn answer(
    stream: &mut (impl AsyncWrite + Unpin),
    conduct: Conduct,
    bytes: Option<Vec<u8>>,
) -> std::io::Result<()> {
    let closed = || Err(std::io::ErrorKind::ConnectionReset.into());
    let Some(bytes) = bytes.filter(|_| conduct != Conduct::Empty) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
    };
    let head = |length: u64| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    let usual = head(bytes.len() as u64);
    match conduct {
        Conduct::Closed => closed(),
        Conduct::Silent => std::future::pending().await,
        Conduct::Good(after) => {
            sleep(after).await;
            stream.write_all(&[usual, bytes].concat()).await
        }
        Conduct::Slow => {
            stream.write_all(&usual).await?;
            for chunk in bytes.chunks(1000) {
                sleep(Duration::from_millis(10)).await;
                stream.write_all(chunk).await?;
            }
            Ok(())
        }
        Conduct::Wrong => stream.write_all(&[usual, wrong(&bytes)].concat()).await,
        Conduct::Truncated => {
            stream.write_all(&[&usual, &bytes[..bytes.len() / 2]].concat()).await?;
            closed()
        }
        Conduct::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            loop {
                stream.write_all(b"4\r\nmore\r\n").await?;
                tokio::task::yield_now().await;
            }
        }
        Conduct::TooLong => {
            stream.write_all(&head(3 << 30)).await?;
            loop {
                stream.write_all(&bytes).await?;
                tokio::task::yield_now().await;
            }
        }
        Conduct::Empty => Ok(()),
    }
}

/// What a liar gives instead.
pub(in crate::fetch) fn wrong(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ 1).collect()
}
