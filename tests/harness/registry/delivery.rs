//! How an answer travels: whole, in drops, late, cut, or never.

use std::future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

use super::answer::Answer;
use super::log::Log;

const PIECE: usize = 64 * 1024;
/// Far longer than a write to a socket of this machine takes.
const FLUSHED: Duration = Duration::from_millis(100);

/// How the body's end is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length,
    Chunks,
    Close,
}

/// The course of one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Course {
    Whole,
    Late(Duration),
    Never,
    Reset,
    Abort { after: usize, framing: Framing },
    Stall { after: usize },
    Padded { total: usize },
    Drip { bytes: usize, pause: Duration },
}

/// Why a body ends before its time.
#[derive(Debug)]
pub(crate) struct Aborted;

impl std::fmt::Display for Aborted {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("cut on purpose")
    }
}

impl std::error::Error for Aborted {}

/// Where progress is noted: the log, and the number of the request in it.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    pub(crate) log: Arc<Log>,
    pub(crate) number: usize,
}

impl Progress {
    pub(crate) fn answered(&self, answer: &Answer) {
        self.log.amend(self.number, |recorded| recorded.status = answer.status.as_u16());
    }

    fn over(&self) {
        self.log.amend(self.number, |recorded| recorded.over = true);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.log.amend(self.number, |recorded| recorded.sent += bytes as u64);
    }
}

/// The answer as hyper sends it.
pub(crate) fn respond(answer: Answer, course: &Course, progress: Progress) -> Response<Body> {
    let bodiless = answer.status.is_informational() || answer.status == 204 || answer.status == 304;
    let announced = !bodiless && announces_length(course);
    let length = answer.body.len();
    let mut response = Response::new(body(answer.body, course, progress));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    if announced {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    response
}

/// The body of a response.
pub(crate) type Body = UnsyncBoxBody<Bytes, Aborted>;

fn announces_length(course: &Course) -> bool {
    match course {
        Course::Padded { .. } => false,
        Course::Abort { framing, .. } => *framing == Framing::Length,
        _ => true,
    }
}

fn body(bytes: Bytes, course: &Course, progress: Progress) -> Body {
    let pieces = Pieces { bytes, at: 0, course: course.clone() };
    let progress = Lasting(progress);
    let frames = stream::unfold(Some(pieces), move |pieces| next(pieces, progress.0.clone()));
    StreamBody::new(frames).boxed_unsync()
}

/// Notes the body's end, whichever way it comes.
struct Lasting(Progress);

impl Drop for Lasting {
    fn drop(&mut self) {
        self.0.over();
    }
}

struct Pieces {
    bytes: Bytes,
    at: usize,
    course: Course,
}

type Step = Option<(Result<Frame<Bytes>, Aborted>, Option<Pieces>)>;

async fn next(pieces: Option<Pieces>, progress: Progress) -> Step {
    let mut pieces = pieces?;
    let piece = pieces.take();
    if piece.is_empty() {
        return pieces.end().await;
    }
    if let Course::Drip { pause, .. } = pieces.course {
        tokio::time::sleep(pause).await;
    }
    progress.sent(piece.len());
    Some((Ok(Frame::data(piece)), Some(pieces)))
}

impl Pieces {
    fn take(&mut self) -> Bytes {
        let (limit, most) = match self.course {
            Course::Stall { after } | Course::Abort { after, .. } => (after, PIECE),
            Course::Padded { total } => (total, PIECE),
            Course::Drip { bytes, .. } => (usize::MAX, bytes.max(1)),
            _ => (usize::MAX, PIECE),
        };
        let until = (self.at + most).min(limit);
        let piece = self.between(self.at, until);
        self.at += piece.len();
        piece
    }

    fn between(&self, from: usize, until: usize) -> Bytes {
        let held = self.bytes.len();
        if from < held {
            return self.bytes.slice(from..until.clamp(from, held));
        }
        match self.course {
            Course::Padded { .. } => Bytes::from_static(&[0; PIECE]).slice(..until.saturating_sub(from)),
            _ => Bytes::new(),
        }
    }

    async fn end(self) -> Step {
        let whole = self.at == self.bytes.len();
        match self.course {
            Course::Stall { .. } => future::pending().await,
            Course::Abort { framing, .. } if framing != Framing::Close && !whole => abort().await,
            Course::Abort { framing: Framing::Chunks, .. } => abort().await,
            _ => None,
        }
    }
}

/// Lets what was handed over reach the wire first: a reset of HTTP/2 overtakes what still waits to be written, and
/// nothing tells when that is done.
async fn abort() -> Step {
    tokio::time::sleep(FLUSHED).await;
    Some((Err(Aborted), None))
}

/// What `answer` looks like on an HTTP/1.1 wire when it is cut: to the byte, which a framework would not promise.
pub(crate) fn cut(answer: &Answer, after: usize, framing: Framing) -> Vec<u8> {
    let mut wire = format!("HTTP/1.1 {}\r\n", answer.status).into_bytes();
    for (name, value) in &answer.headers {
        wire.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    let body = answer.body.slice(..answer.body.len().min(after));
    match framing {
        Framing::Length => {
            wire.extend_from_slice(format!("content-length: {}\r\n\r\n", answer.body.len()).as_bytes());
        }
        Framing::Close => wire.extend_from_slice(b"connection: close\r\n\r\n"),
        Framing::Chunks => {
            wire.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
            wire.extend_from_slice(format!("{:x}\r\n", body.len().max(1)).as_bytes());
        }
    }
    wire.extend_from_slice(&body);
    wire
}
