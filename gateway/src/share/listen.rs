//! Takes what peers say that they hold. Whoever sends garbage is not heard any more, and pays for it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use resolver::budget::Offence;
use resolver::inventory::frame::{Frame, Garbage, HEAD, Head, Listener, News};
use resolver::peer::PeerId;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::announce::HEARTBEAT;
use super::inventories::{Inventories, NotTaken, Telling};
use super::sharing::{Sharing, Who};
use crate::swarm::{Incoming, Neighbours, Stream, Swarm};

/// Who says nothing for so long has missed three heartbeats.
const SILENCE: Duration = Duration::from_secs(50);
/// Peers that are heard: twice as many as are connected.
const MOST: usize = 256;
/// Between two frames of changes: an honest peer sends one ten times a second, and each may cost us some milliseconds.
const PACE: Duration = Duration::from_millis(20);
/// Between two times that everything is told anew.
const ANEW: Duration = Duration::from_secs(5);
/// The longest that telling everything may take: a million tarballs by a line of 300 kbit/s.
const TELLING: Duration = Duration::from_secs(120);
/// The part of all room that is for peers of other networks whom nobody has named.
const FOR_STRANGERS: f64 = 0.5;

/// Whoever listens.
#[derive(Clone)]
pub(super) struct Ear {
    inventories: Inventories,
    sharing: Sharing,
    named: Arc<BTreeSet<PeerId>>,
}

/// Why a peer is not heard any more.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it sends garbage: {0}")]
    Garbage(#[from] Garbage),
    #[error("there is no room for what it holds, or it tells that anew")]
    NotTaken,
    #[error("it has been silent for {} seconds, or takes more than {} to tell everything", SILENCE.as_secs(), TELLING.as_secs())]
    Silent,
}

impl From<NotTaken> for Ended {
    fn from(_: NotTaken) -> Self {
        Self::NotTaken
    }
}

impl Ear {
    pub(super) fn new(inventories: Inventories, sharing: Sharing, named: BTreeSet<PeerId>) -> Self {
        Self { inventories, sharing, named: Arc::new(named) }
    }

    /// Listens to whoever tells, as long as it is connected, until `stop`.
    pub(super) async fn run(self, swarm: Swarm, mut incoming: Incoming, stop: CancellationToken) {
        let mut follow = swarm.follow();
        let mut heard: BTreeMap<PeerId, AbortOnDropHandle<()>> = BTreeMap::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                told = incoming.recv() => {
                    let Some((id, stream)) = told else { return };
                    heard.retain(|_, task| !task.is_finished());
                    if heard.len() < MOST || heard.contains_key(&id) {
                        // Of two streams the later counts.
                        heard.insert(id, self.hear(id, stream, &swarm));
                    }
                }
                changed = follow.changed() => {
                    let connected = follow.borrow_and_update().clone();
                    heard.retain(|id, _| connected.contains_key(id));
                    self.inventories.retain(|id| connected.contains_key(id));
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn hear(&self, id: PeerId, stream: Stream, swarm: &Swarm) -> AbortOnDropHandle<()> {
        let (ear, part) = (self.clone(), self.part(id, &swarm.neighbours()));
        AbortOnDropHandle::new(tokio::spawn(async move {
            let telling = ear.inventories.begin(id, part);
            let Err(ended) = listen(stream, &telling).await;
            tracing::debug!(peer = %id, "a peer is not heard any more: {ended}");
            if matches!(ended, Ended::Garbage(_)) {
                ear.sharing.note(Who::Peer(id), Offence::Garbage);
            }
        }))
    }

    /// The part of all room that it may fill.
    fn part(&self, id: PeerId, neighbours: &Neighbours) -> f64 {
        let near = neighbours.get(&id).is_some_and(|neighbour| neighbour.near);
        if near || self.named.contains(&id) { 1.0 } else { FOR_STRANGERS }
    }
}

async fn listen(mut stream: Stream, telling: &Telling) -> Result<std::convert::Infallible, Ended> {
    let (mut listener, mut anew) = (Listener::default(), Instant::now());
    let mut all_by = None;
    loop {
        let silent = Instant::now() + SILENCE;
        let frame = timeout_at(all_by.unwrap_or(silent).min(silent), next(&mut stream)).await;
        match listener.take(frame.map_err(|_| Ended::Silent)??)? {
            News::Coming(_) => {
                sleep_until(anew).await;
                anew = Instant::now() + ANEW;
                all_by = Some(Instant::now() + TELLING);
            }
            News::Changed => {
                all_by = None;
                telling.know(listener.known().clone())?;
                sleep(PACE).await;
            }
            News::Nothing => telling.arrived(listener.arrived())?,
        }
    }
}

async fn next(stream: &mut Stream) -> Result<Frame, Ended> {
    let mut head = [0; HEAD];
    stream.read_exact(&mut head).await?;
    let head = Head::read(head)?;
    let mut body = vec![0; head.length];
    stream.read_exact(&mut body).await?;
    Ok(Frame::read(head, &body)?)
}

const _: () = assert!(SILENCE.as_secs() > 3 * HEARTBEAT.as_secs());
