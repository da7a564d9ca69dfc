//! Bodies of answers: bytes at hand, blobs read as they are sent, bodies that arrive, and upstream's own;
//! each counts what it hands to the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, StreamExt};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};

use super::rooms::Room;
use crate::fetch::{Arriving, Sending};
use crate::metrics::Sent;
use crate::share::Pace;
use crate::store::BlobReader;
use crate::upstream;

/// What a body fails with; hyper breaks the connection off then.
pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub struct Body {
    rest: Rest,
    sent: Option<Sent>,
    /// In a box: clients have none.
    pace: Option<Box<Pace>>,
}

/// What is still to be sent. What is sent most often is known by name, for a box costs each of its chunks an allocation.
enum Rest {
    Nothing,
    Bytes(Bytes),
    Blob(BlobReader),
    Stream(UnsyncBoxBody<Bytes, Error>),
}

/// No body.
pub(super) fn empty() -> Body {
    Body { rest: Rest::Nothing, sent: None, pace: None }
}

/// Bytes at hand.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    let bytes = bytes.into();
    let rest = if bytes.is_empty() { Rest::Nothing } else { Rest::Bytes(bytes) };
    Body { rest, sent: None, pace: None }
}

/// A blob, read as the client takes it.
pub(super) fn blob(reader: BlobReader) -> Body {
    Body { rest: Rest::Blob(reader), sent: None, pace: None }
}

/// A variant of a packument.
pub(super) fn variant(sending: Sending) -> Body {
    match sending {
        Sending::Whole(bytes) => full(bytes),
        Sending::File(reader) => blob(reader),
        Sending::Frames(reader) => {
            chunks(reader, |mut reader| async move { (reader.next().await, reader) }.boxed())
        }
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

type Next<S> = BoxFuture<'static, (Option<io::Result<Bytes>>, S)>;

/// A body out of a source that is asked for one chunk after the other.
fn chunks<S: Send + 'static>(source: S, next: fn(S) -> Next<S>) -> Body {
    streamed(futures_util::stream::unfold(source, move |source| async move {
        let (chunk, source) = next(source).await;
        chunk.map(|chunk| (chunk, source))
    }))
}

/// Chunks as they come.
pub fn streamed(chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    let frames = chunks.map(|chunk| chunk.map(Frame::data).map_err(Error::from));
    let rest = Rest::Stream(BodyExt::boxed_unsync(StreamBody::new(frames)));
    Body { rest, sent: None, pace: None }
}

/// Chunks as they come, that take a place among those who are sent blocks until their end.
pub(super) fn streamed_in(
    room: Room,
    chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Body {
    streamed(chunks.map(move |chunk| {
        let _until_the_stream_ends = &room;
        chunk
    }))
}

impl Body {
    /// The same body; what it hands out is counted, unless it is already.
    pub(super) fn counted(self, sent: Sent) -> Self {
        Self { sent: self.sent.or(Some(sent)), ..self }
    }

    /// The same body; it is handed out at this pace.
    pub(super) fn paced(mut self, pace: Option<Pace>) -> Self {
        if let (Some(pace), Rest::Blob(reader)) = (&pace, &mut self.rest) {
            reader.set_step(pace.step());
        }
        Self { pace: pace.map(Box::new), ..self }
    }
}

impl Rest {
    /// Bytes that are at hand are handed out `step` by step; blobs have their own.
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
        step: usize,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self {
            Self::Nothing => Poll::Ready(None),
            Self::Bytes(bytes) => {
                let next = bytes.split_to(bytes.len().min(step));
                if bytes.is_empty() {
                    *self = Self::Nothing;
                }
                Poll::Ready(Some(Ok(Frame::data(next))))
            }
            Self::Blob(reader) => {
                let chunk = ready!(reader.poll_next(context)).transpose();
                Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data).map_err(Error::from)))
            }
            Self::Stream(stream) => Pin::new(stream).poll_frame(context),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Self { rest, sent, pace } = &mut *self;
        if let Some(pace) = pace {
            ready!(pace.poll_turn(context));
        }
        let frame = ready!(rest.poll_frame(context, pace.as_ref().map_or(usize::MAX, |pace| pace.step())));
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            if let Some(sent) = sent {
                sent.count(bytes as u64);
            }
            if let Some(pace) = pace {
                pace.sent(bytes);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.rest {
            Rest::Nothing => true,
            Rest::Bytes(_) => false,
            Rest::Blob(reader) => reader.left() == 0,
            Rest::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.rest {
            Rest::Nothing => SizeHint::with_exact(0),
            Rest::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Rest::Blob(reader) => SizeHint::with_exact(reader.left()),
            Rest::Stream(stream) => stream.size_hint(),
        }
    }
}
