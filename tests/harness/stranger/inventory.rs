//! What it says that it holds, and what gateways tell it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::io::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::{PeerId, Stream, StreamProtocol};
use libp2p_stream::{Control, IncomingStreams};
use resolver::integrity::Integrity;
use resolver::inventory::frame::{Frame, HEAD, Head};
use resolver::inventory::{Prints, print};
use tokio::time::{sleep, timeout};

use super::{Guise, Notes};

pub(super) const PROTOCOL: &str = "/open-registry/inventory/1";
/// Gateways say so often that they are still there.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Who has no card of it yet does not listen yet.
const AGAIN: Duration = Duration::from_millis(200);

/// Tells a gateway everything, and from time to time that nothing has changed; again when it does not listen any more.
pub(super) async fn tell(mut control: Control, peer: PeerId, guise: Arc<Guise>) {
    let digests = guise.contents.keys().map(|digest| print(&Integrity::from_digest(*digest)));
    let prints: Prints = digests.collect();
    loop {
        if let Ok(stream) = control.open_stream(peer, StreamProtocol::new(PROTOCOL)).await {
            // An error says that it does not listen.
            let _ = tell_on(stream, &prints).await;
        }
        sleep(AGAIN).await;
    }
}

async fn tell_on(stream: Stream, prints: &Prints) -> std::io::Result<()> {
    let (mut read, mut write) = stream.split();
    for frame in Frame::whole(prints) {
        write.write_all(&frame.to_bytes()).await?;
    }
    write.flush().await?;
    // It says nothing there: whatever comes of it is its end.
    while timeout(HEARTBEAT, read.read(&mut [0; 1])).await.is_err() {
        write.write_all(&Frame::state(prints).to_bytes()).await?;
        write.flush().await?;
    }
    Ok(())
}

/// Notes all fingerprints that stand in any frame.
pub(super) async fn hear(mut told: IncomingStreams, notes: Arc<Notes>) {
    while let Some((_, stream)) = told.next().await {
        let notes = Arc::clone(&notes);
        tokio::spawn(async move {
            // It ends with the connection.
            let _ = note_all(stream, &notes).await;
        });
    }
}

async fn note_all(mut stream: Stream, notes: &Notes) -> std::io::Result<()> {
    loop {
        let mut head = [0; HEAD];
        stream.read_exact(&mut head).await?;
        let head = Head::read(head).expect("a gateway sends frames");
        let mut body = vec![0; head.length];
        stream.read_exact(&mut body).await?;
        if let Frame::Held(prints) | Frame::Gone(prints) =
            Frame::read(head, &body).expect("a gateway sends frames")
        {
            notes.told().extend(prints);
        }
    }
}
