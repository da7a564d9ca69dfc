//! How it behaves when it is asked for tarballs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::io::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::Stream;
use libp2p_stream::IncomingStreams;
use resolver::integrity::Integrity;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::{Guise, Notes};

/// What one that is slow sends in a tenth of a second: 100 kB in a second.
const SLOWLY: (usize, Duration) = (10_000, Duration::from_millis(100));
/// What one that is never done says that a tarball has; gateways take no larger ones than 2 GiB.
const ENORMOUS: usize = 1 << 30;
/// What one that is never done sends at a time: 4000 in hex.
const PIECE: usize = 0x4000;
/// Of what it is to fetch for others, and does not.
const MADE_UP: usize = 20_000;
/// How long one that comes and goes stops in the middle of a body.
const STOP: Duration = Duration::from_millis(50);
/// The longest head of a request.
const LONGEST: usize = 64 * 1024;

/// How a stranger that is taken for a gateway behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// It gives what it holds.
    Honest,
    /// It gives other bytes, of the right length.
    WrongBytes,
    /// It gives other bytes each second time.
    EverySecondWrong,
    /// It says how long a tarball is, gives half of it, and closes.
    Truncated,
    /// It gives bytes without end, and says no length.
    Endless,
    /// It gives bytes without end, of a tarball that it says has 1 GiB.
    Enormous,
    /// It says how long a tarball is, and gives none of it.
    Silent,
    /// It gives 100 kB in a second.
    Slow,
    /// It has nothing of what it says that it holds.
    Empty,
    /// It speaks no HTTP.
    Garbage,
    /// It gives what it holds, leaves without a word after a second, and comes back a second later.
    Flapping,
    /// It is connected, and takes streams, and reads none of them.
    Dead,
}

/// Answers on every stream that a gateway opens, one request after the other.
pub(super) async fn serve(mut asked: IncomingStreams, guise: Arc<Guise>, notes: Arc<Notes>) {
    let count = Arc::new(AtomicUsize::new(0));
    let mut unread = Vec::new();
    while let Some((_, stream)) = asked.next().await {
        if guise.conduct == Conduct::Dead {
            notes.asked().push(String::new());
            unread.push(stream);
            continue;
        }
        let (guise, notes, count) = (Arc::clone(&guise), Arc::clone(&notes), Arc::clone(&count));
        tokio::spawn(async move {
            // A gateway that has enough of it closes.
            let _ = answer_all(stream, &guise, &notes, &count).await;
        });
    }
}

async fn answer_all(mut stream: Stream, guise: &Guise, notes: &Notes, count: &AtomicUsize) -> io::Result<()> {
    loop {
        let head = head(&mut stream).await?;
        let path = head.split(' ').nth(1).unwrap_or_default();
        let changed = match notes.source() {
            Some(url) if path.starts_with("/ipfs/") => changed(format!("{url}{path}")).await,
            _ => None,
        };
        if let Some(body) = changed.or_else(|| notes.reply(path)) {
            notes.asked().push(head);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            answer(&mut stream, ([head.as_bytes(), &body].concat(), Then::Next)).await?;
            continue;
        }
        let body = wanted(&head).and_then(|integrity| guise.contents.get(integrity.as_bytes()).cloned());
        notes.asked().push(head);
        let nth = count.fetch_add(1, Ordering::Relaxed);
        let (conduct, body) = match (guise.conduct, body) {
            (conduct, Some(body)) => (conduct, body),
            // It fetches nothing for anybody.
            (Conduct::Honest | Conduct::Flapping, None) => (Conduct::Empty, Bytes::new()),
            (conduct, None) => (conduct, Bytes::from_static(&[b'x'; MADE_UP])),
        };
        answer(&mut stream, script(conduct, &body, nth)).await?;
    }
}

/// What somebody else has there, with another last byte; `None`: he has nothing.
async fn changed(url: String) -> Option<Bytes> {
    let reply = spawn_blocking(move || crate::http::get(&url)).await.ok()?;
    let mut body = Some(reply.body.to_vec()).filter(|_| reply.status == 200)?;
    *body.last_mut()? ^= 1;
    Some(body.into())
}

async fn head(stream: &mut Stream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut octet = [0; 1];
    while !head.ends_with(b"\r\n\r\n") && head.len() < LONGEST {
        stream.read_exact(&mut octet).await?;
        head.extend_from_slice(&octet);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// What is asked for, by its digest or by a name and a digest.
fn wanted(head: &str) -> Option<Integrity> {
    let path = head.split(' ').nth(1)?;
    if let Some(digest) = path.strip_prefix("/-/tarballs/sha512/") {
        return Integrity::from_base64url(digest);
    }
    let line = |line: &str| line.strip_prefix("pacote-integrity: ").and_then(Integrity::from_sri);
    head.lines().find_map(line)
}

/// What follows upon the beginning of an answer.
enum Then {
    /// The next request.
    Next,
    /// The end of the stream.
    Close,
    /// Nothing, for ever.
    Silence,
    /// This, again and again.
    Again(Vec<u8>),
    /// This, so much at a time after a pause.
    Slowly(Bytes, usize, Duration),
}

fn script(conduct: Conduct, right: &Bytes, nth: usize) -> (Vec<u8>, Then) {
    let head = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    let with = |body: &[u8]| [&head(right.len()), body].concat();
    let half = right.len() / 2;
    let is_right = conduct == Conduct::Honest || nth.is_multiple_of(2);
    match conduct {
        Conduct::Honest | Conduct::EverySecondWrong if is_right => (with(right), Then::Next),
        Conduct::Honest | Conduct::WrongBytes | Conduct::EverySecondWrong => {
            (with(&right.iter().map(|octet| !octet).collect::<Vec<u8>>()), Then::Next)
        }
        Conduct::Truncated => (with(&right[..half]), Then::Close),
        Conduct::Endless => {
            let chunk = [&b"4000\r\n"[..], &[b'x'; PIECE], b"\r\n"].concat();
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(), Then::Again(chunk))
        }
        Conduct::Enormous => (head(ENORMOUS), Then::Again(vec![b'x'; PIECE])),
        Conduct::Silent => (with(b""), Then::Silence),
        Conduct::Slow => (with(b""), Then::Slowly(right.clone(), SLOWLY.0, SLOWLY.1)),
        Conduct::Empty => (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(), Then::Next),
        Conduct::Garbage => (right[..half].to_vec(), Then::Next),
        Conduct::Flapping => (with(&right[..half]), Then::Slowly(right.slice(half..), right.len(), STOP)),
        Conduct::Dead => (Vec::new(), Then::Silence),
    }
}

async fn answer(stream: &mut Stream, (beginning, then): (Vec<u8>, Then)) -> io::Result<()> {
    stream.write_all(&beginning).await?;
    stream.flush().await?;
    match then {
        Then::Next => Ok(()),
        Then::Close => stream.close().await,
        Then::Silence => std::future::pending().await,
        Then::Again(bytes) => loop {
            stream.write_all(&bytes).await?;
        },
        Then::Slowly(bytes, part, pause) => {
            for some in bytes.chunks(part) {
                sleep(pause).await;
                stream.write_all(some).await?;
                stream.flush().await?;
            }
            Ok(())
        }
    }
}
