//! Tells peers what is held here: those on our networks, and those whom the operator has named.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use resolver::inventory::Prints;
use resolver::inventory::frame::Frame;
use resolver::peer::PeerId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::own::Told;
use crate::swarm::{Neighbours, Protocol, Stream, Swarm};

/// How often it is said what there is when nothing changes: whoever is told hears that we are still here.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);
/// One who takes a frame no sooner has gone, or is of no use.
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon one is told again whose stream has ended; each time twice as long, up to a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A stream that has lasted as long was none that was refused.
const LASTING: Duration = Duration::from_secs(60);

/// Tells whoever is connected and is to know, until `stop`.
pub(super) async fn run(swarm: Swarm, told: Told, named: BTreeSet<PeerId>, stop: CancellationToken) {
    let mut follow = swarm.follow();
    let mut telling: BTreeMap<PeerId, AbortOnDropHandle<()>> = BTreeMap::new();
    loop {
        let wanted = wanted(&follow.borrow_and_update(), &named);
        // Who has gone is told no more.
        telling.retain(|id, _| wanted.contains(id));
        for id in wanted {
            let start =
                || AbortOnDropHandle::new(tokio::spawn(tell_for_ever(swarm.clone(), told.clone(), id)));
            telling.entry(id).or_insert_with(start);
        }
        if !matches!(stop.run_until_cancelled(follow.changed()).await, Some(Ok(()))) {
            return;
        }
    }
}

fn wanted(neighbours: &Neighbours, named: &BTreeSet<PeerId>) -> BTreeSet<PeerId> {
    let near = neighbours.iter().filter(|(id, neighbour)| neighbour.near || named.contains(id));
    near.map(|(id, _)| *id).collect()
}

async fn tell_for_ever(swarm: Swarm, told: Told, id: PeerId) {
    let mut pause = FIRST_PAUSE;
    loop {
        let since = Instant::now();
        let ended = match swarm.open(id, Protocol::Inventory).await {
            Ok(stream) => tell(stream, told.clone()).await,
            Err(error) => Err(io::Error::other(error)),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, peer = %id, "a peer is not told what is held");
        }
        if since.elapsed() > LASTING {
            pause = FIRST_PAUSE;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Everything, then changes, until the stream ends.
async fn tell(stream: Stream, mut told: Told) -> io::Result<()> {
    let gone = || io::Error::other("the gateway stops");
    let (mut read, mut write) = tokio::io::split(stream);
    let mut known = loop {
        if let Some(prints) = told.borrow_and_update().clone() {
            break prints;
        }
        told.changed().await.map_err(|_| gone())?;
    };
    for frame in Frame::whole(&known) {
        send(&mut write, &frame).await?;
    }
    loop {
        let heartbeat = Instant::now() + HEARTBEAT;
        tokio::select! {
            changed = told.changed() => changed.map_err(|_| gone())?,
            () = sleep_until(heartbeat) => {}
            ended = ended(&mut read) => return ended,
        }
        let now = told.borrow_and_update().clone().unwrap_or_default();
        send_changes(&mut write, &known, &now).await?;
        known = now;
    }
}

async fn send_changes(write: &mut WriteHalf<Stream>, before: &Prints, now: &Prints) -> io::Result<()> {
    let (held, gone) = now.since(before);
    for frame in Frame::changes(&held, &gone) {
        send(write, &frame).await?;
    }
    send(write, &Frame::state(now)).await
}

async fn send(write: &mut WriteHalf<Stream>, frame: &Frame) -> io::Result<()> {
    let sent = async {
        write.write_all(&frame.to_bytes()).await?;
        write.flush().await
    };
    timeout(PATIENCE, sent).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Nobody has anything to say here but that he does not listen any more.
async fn ended(read: &mut ReadHalf<Stream>) -> io::Result<()> {
    match read.read(&mut [0; 1]).await? {
        0 => Err(io::Error::other("it does not listen")),
        _ => Err(io::Error::other("it talks where it should listen")),
    }
}
