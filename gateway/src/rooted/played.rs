//! Home and its followers as a test plays them: they answer for one tree, each in its own way, and it is seen what they were asked.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use resolver::car;
use resolver::card::Card;
use resolver::head::Root;
use resolver::index::file::{self, Part};
use resolver::index::{Blocks, Changes, Cid, Met, Path, Reach, Walk, resolve, update};
use resolver::peer::PeerId;
use resolver::trustless;
use tokio::io::duplex;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::swarm::{Command, Ends, Neighbour, Neighbours, Swarm};

/// How somebody behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// It gives all there is.
    Good,
    /// It changes the last byte of whatever it gives.
    Wrong,
    /// It has nothing.
    Empty,
    /// It takes requests, and says nothing.
    Silent,
}

/// What there is: a tree, and all blocks of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    blocks: BTreeMap<Cid, Vec<u8>>,
    root: Option<Cid>,
}

impl Blocks for Tree {
    fn block(&self, cid: &Cid) -> Option<Cow<'_, [u8]>> {
        self.blocks.get(cid).map(|bytes| Cow::Borrowed(bytes.as_slice()))
    }
}

impl Tree {
    /// A document has another content; gives the root.
    pub(crate) fn put(&mut self, path: Path, bytes: &[u8]) -> Root {
        let (link, parts) = file::of_bytes(bytes);
        for part in parts {
            match part {
                Part::Node(block) => _ = self.blocks.insert(block.cid, block.bytes),
                Part::Leaf { cid, offset, length } => {
                    let (from, to) =
                        (usize::try_from(offset).unwrap(), usize::try_from(offset + length).unwrap());
                    self.blocks.insert(cid, bytes[from..to].to_vec());
                }
            }
        }
        let mut changes = Changes::default();
        changes.put(path, link);
        let update = update(self, self.root.as_ref(), &changes).unwrap();
        self.blocks.extend(update.placed.into_iter().map(|(block, _)| (block.cid, block.bytes)));
        self.root = Some(update.root.cid);
        self.root()
    }

    pub(crate) fn root(&self) -> Root {
        Root::new(self.root.unwrap()).unwrap()
    }

    /// The blocks of the root of now alone.
    pub(crate) fn forget_what_was_before(&mut self) {
        let (mut kept, mut walk) = (BTreeMap::new(), Walk::new(self.root.unwrap(), Reach::All));
        while let Some(met) = walk.next(self).unwrap() {
            let (Met::Node(cid) | Met::Leaf { cid, .. }) = met;
            kept.insert(cid, self.blocks[&cid].clone());
        }
        self.blocks = kept;
    }

    fn answer(&self, request: &trustless::Request) -> Option<Vec<u8>> {
        match request {
            trustless::Request::Raw(cid) => self.blocks.get(cid).cloned(),
            trustless::Request::Car(asked) => {
                let found = resolve(self, &asked.root, asked.path.iter().map(String::as_str)).ok()?;
                let mut cids = found.nodes;
                if let Some(target) = found.target {
                    let mut walk = Walk::new(target, Reach::Entity);
                    while let Some(met) = walk.next(self).ok()? {
                        let (Met::Node(cid) | Met::Leaf { cid, .. }) = met;
                        cids.push(cid);
                    }
                }
                let mut bytes = car::header(&[asked.root]);
                for cid in cids {
                    let block = self.blocks.get(&cid)?;
                    bytes.extend(car::prefix(&cid, block.len()));
                    bytes.extend(block);
                }
                Some(bytes)
            }
            trustless::Request::Record(_) => None,
        }
    }
}

/// What is asked otherwise than for blocks: the path, and what is answered.
pub(crate) type Channel = Arc<dyn Fn(&Request<Incoming>) -> Response<Bytes> + Send + Sync>;

/// Everybody who is connected.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) swarm: Swarm,
    pub(crate) tree: Arc<Mutex<Tree>>,
    /// Who was asked for what.
    pub(crate) asked: Arc<Mutex<Vec<(PeerId, String)>>>,
    pub(crate) channel: Arc<Mutex<Option<Channel>>>,
    conducts: Arc<Mutex<BTreeMap<PeerId, Conduct>>>,
    neighbours: Arc<watch::Sender<Arc<Neighbours>>>,
}

/// Who is followed.
pub(crate) const HOME: u8 = 7;

pub(crate) fn id(number: u8) -> PeerId {
    PeerId::of_key([number; 32])
}

impl Stage {
    /// Nobody is connected.
    pub(crate) fn new() -> Self {
        let (swarm, Ends { neighbours, commands, .. }, _) = Swarm::channels();
        let stage = Self {
            swarm,
            tree: Arc::default(),
            asked: Arc::default(),
            channel: Arc::default(),
            conducts: Arc::default(),
            neighbours: Arc::new(neighbours),
        };
        tokio::spawn(stage.clone().play(commands));
        stage
    }

    /// Somebody is there: home, or one who follows it and is near.
    pub(crate) fn connect(&self, number: u8, conduct: Conduct) {
        self.conducts.lock().unwrap().insert(id(number), conduct);
        let home = (number != HOME).then(|| id(HOME));
        let card = Card { version: "1".into(), urls: vec![], online: true, shares: true, sequence: 0, home };
        let (addresses, near) = (Vec::new(), number != HOME);
        let neighbour = Neighbour { addresses, near, card: Some(card), since: Instant::now() };
        self.neighbours.send_modify(|all| _ = Arc::make_mut(all).insert(id(number), neighbour));
    }

    pub(crate) fn disconnect(&self, number: u8) {
        self.neighbours.send_modify(|all| _ = Arc::make_mut(all).remove(&id(number)));
    }

    pub(crate) fn put(&self, path: Path, bytes: &[u8]) -> Root {
        self.tree.lock().unwrap().put(path, bytes)
    }

    /// What somebody was asked for.
    pub(crate) fn asked_of(&self, number: u8) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(of, _)| *of == id(number)).map(|(_, path)| path.clone()).collect()
    }

    async fn play(self, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = commands.recv().await {
            let Command::Open { to, done, .. } = command else { continue };
            let (ours, theirs) = duplex(64 * 1024);
            let stage = self.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let stage = stage.clone();
                    async move { stage.answer(to, request).await }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(ours), service)
                    .await;
            });
            let _ = done.send(Ok(Box::new(theirs)));
        }
    }

    async fn answer(
        &self,
        of: PeerId,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        self.asked.lock().unwrap().push((of, request.uri().to_string()));
        let conduct = self.conducts.lock().unwrap().get(&of).copied().unwrap_or(Conduct::Empty);
        if conduct == Conduct::Silent {
            std::future::pending::<()>().await;
        }
        let not_there = || Response::builder().status(404).body(Bytes::new()).unwrap();
        let asked = trustless::Request::parse(request.uri().path(), request.uri().query(), None);
        let answer = match asked {
            Err(_) => {
                let channel = self.channel.lock().unwrap().clone();
                channel.map_or_else(not_there, |channel| channel(&request))
            }
            Ok(_) if conduct == Conduct::Empty => not_there(),
            Ok(asked) => {
                let body = self.tree.lock().unwrap().answer(&asked);
                body.map_or_else(not_there, |mut body| {
                    if conduct == Conduct::Wrong {
                        *body.last_mut().unwrap() ^= 1;
                    }
                    Response::new(body.into())
                })
            }
        };
        Ok(answer.map(Full::new))
    }
}
