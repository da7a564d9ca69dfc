//! Bodies of answers: bytes at hand, blobs read as they are sent, bodies that arrive, and upstream's own;
//! each counts what it hands to the connection.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};

use crate::fetch::{Arriving, Ready};
use crate::metrics::Metrics;
use crate::store::BlobReader;
use crate::upstream;

/// What a body fails with; hyper breaks the connection off then.
pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;
/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, Error>;

/// No body.
pub(super) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Bytes at hand.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A blob, read from disk as the client takes it.
pub(super) fn blob(reader: BlobReader) -> Body {
    chunks(reader, |mut reader| async move { (reader.next().await.transpose(), reader) }.boxed())
}

/// A variant of a packument.
pub(super) fn ready(ready: Ready) -> Body {
    match ready.at_once() {
        Some(bytes) => full(bytes),
        None => chunks(ready.reader(), |mut reader| async move { (reader.next().await, reader) }.boxed()),
    }
}

/// A tarball that is still coming.
pub(super) fn arriving(arriving: Arriving) -> Body {
    chunks(arriving, |mut arriving| async move { (arriving.next().await, arriving) }.boxed())
}

/// Upstream's own body, passed on.
pub(super) fn passed(answer: upstream::Answer) -> Body {
    chunks(answer, |mut answer| {
        async move {
            let chunk = answer.chunk().await.map_err(io::Error::other);
            (chunk.transpose(), answer)
        }
        .boxed()
    })
}

/// Wraps a body so that what it hands out is counted.
pub(super) fn counted(body: Body, metrics: Arc<Metrics>, source: &'static str) -> Body {
    body.map_frame(move |frame| {
        if let Some(data) = frame.data_ref() {
            metrics.sent(source, data.len() as u64);
        }
        frame
    })
    .boxed_unsync()
}

type Next<S> = BoxFuture<'static, (Option<io::Result<Bytes>>, S)>;

/// A body out of a source that is asked for one chunk after the other.
fn chunks<S: Send + 'static>(source: S, next: fn(S) -> Next<S>) -> Body {
    let frames = futures_util::stream::unfold(source, move |source| async move {
        let (chunk, source) = next(source).await;
        chunk.map(|chunk| (chunk.map(Frame::data).map_err(Error::from), source))
    });
    BodyExt::boxed_unsync(StreamBody::new(frames))
}
