//! Requests for blocks to home and to peers, over streams whose other end has proved who it is. What comes is verified block by
//! block, and whatever a peer does ends within seconds.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use resolver::car::{CarError, Item, Limits, Reader};
use resolver::index::{Cid, address};
use resolver::peer::PeerId;
use resolver::strikes::Fault;
use resolver::trustless;
use tokio::time::{Instant, timeout};

use super::unpack::Unpacker;
use crate::line::{self, Line};
use crate::steer::PEER;
use crate::swarm::Swarm;

/// The wait for an answer's head: home looks into memory and disk for it, and asks nobody.
const HEAD: Duration = Duration::from_secs(5);
/// A body that brings nothing for so long has stalled.
const STALL: Duration = Duration::from_secs(5);
/// What a body has to bring: after the first ten seconds 4 KiB a second, or what is asked for would come another way sooner.
const PATIENCE: Duration = Duration::from_secs(10);
const PACE: f64 = 4096.0;
/// A CAR of the longest packument, 256 MiB, in blocks of 1 MiB, with what leads there.
const CAR: Limits = Limits { blocks: 512, bytes: 272 * 1024 * 1024 };

/// Asks.
pub(super) struct Asker {
    own: PeerId,
    line: Line<Empty<Bytes>>,
}

/// Why somebody did not give what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Miss {
    /// What is held against it.
    #[error("{1}")]
    Fault(Fault, String),
    /// It does not have it, or too much else to do.
    #[error("it does not have it now (it answered {0})")]
    NotThere(u16),
}

/// Blocks that come one after the other.
pub(super) struct Car {
    body: Body,
    /// `None`: it comes as it is.
    unpacker: Option<Unpacker>,
    reader: Reader,
    /// Decoded, and not read yet.
    chunk: Bytes,
}

/// A body that may not take its time.
struct Body {
    body: Incoming,
    begun: Instant,
    came: u64,
}

impl Asker {
    pub(super) fn new(own: PeerId, swarm: Swarm) -> Self {
        Self { own, line: line::over(swarm) }
    }

    /// One block.
    ///
    /// # Errors
    /// [`Miss`].
    pub(super) async fn block(&self, of: PeerId, cid: &Cid) -> Result<Vec<u8>, Miss> {
        let mut body = Body::new(self.get(of, &trustless::Request::Raw(*cid).address(), false).await?);
        let mut bytes = Vec::new();
        while let Some(chunk) = body.chunk().await? {
            if bytes.len() + chunk.len() > address::LONGEST_BLOCK {
                return Err(unanswered("it sends more than a block may have"));
            }
            bytes.extend_from_slice(&chunk);
        }
        address::check(cid, &bytes).map_err(|error| Miss::Fault(Fault::WrongBytes, error.to_string()))?;
        Ok(bytes)
    }

    /// The blocks of a path (`/ipfs/...`) with its query, in order.
    ///
    /// # Errors
    /// [`Miss`].
    pub(super) async fn car(&self, of: PeerId, path: &str) -> Result<Car, Miss> {
        let answer = self.get(of, path, true).await?;
        let coding = answer.headers().get(CONTENT_ENCODING).map(|coding| coding.as_bytes().to_vec());
        let unpacker = match coding.as_deref() {
            None => None,
            Some(b"zstd") => Some(Unpacker::new().map_err(|error| unanswered(&error.to_string()))?),
            Some(_) => return Err(unanswered("it sends a coding that was not asked for")),
        };
        Ok(Car { body: Body::new(answer), unpacker, reader: Reader::new(CAR), chunk: Bytes::new() })
    }

    async fn get(&self, of: PeerId, path: &str, packed: bool) -> Result<Response<Incoming>, Miss> {
        let coding = if packed { "zstd" } else { "identity" };
        let request = Request::get(format!("http://{of}{path}"))
            .header(PEER, self.own.to_string())
            .header(ACCEPT_ENCODING, coding)
            .body(Empty::new())
            .map_err(|error| unanswered(&error.to_string()))?;
        let answer = timeout(HEAD, self.line.request(request)).await;
        let answer = answer.map_err(|_| unanswered("it did not answer within 5 seconds"))?;
        let answer = answer.map_err(|error| unanswered(&error.to_string()))?;
        match answer.status() {
            StatusCode::OK => Ok(answer),
            StatusCode::INTERNAL_SERVER_ERROR => Err(unanswered("it answered 500")),
            other => Err(Miss::NotThere(other.as_u16())),
        }
    }
}

impl Car {
    /// The next block, which hashes to its CID; `None` at the end.
    ///
    /// # Errors
    /// [`Miss`], after which there is nothing more.
    pub(super) async fn next(&mut self) -> Result<Option<(Cid, Vec<u8>)>, Miss> {
        loop {
            match take(&mut self.reader, &mut self.chunk).map_err(damaged)? {
                Some(Item::Block(cid, bytes)) => return Ok(Some((cid, bytes))),
                Some(Item::Roots(_)) => continue,
                None => {}
            }
            match self.decoded().await? {
                Some(chunk) => self.chunk = chunk,
                None => {
                    let reader = std::mem::replace(&mut self.reader, Reader::new(CAR));
                    return reader.finish().map(|()| None).map_err(damaged);
                }
            }
        }
    }

    /// How many bytes have come, as they were sent.
    pub(super) fn came(&self) -> u64 {
        self.body.came
    }

    async fn decoded(&mut self) -> Result<Option<Bytes>, Miss> {
        let Some(unpacker) = &mut self.unpacker else { return self.body.chunk().await };
        loop {
            let some = unpacker.next().map_err(|_| unanswered("it sends what is not zstd"))?;
            if some.is_some() {
                return Ok(some);
            }
            match self.body.chunk().await? {
                Some(chunk) => unpacker.take(chunk),
                None => return Ok(None),
            }
        }
    }
}

impl Body {
    fn new(answer: Response<Incoming>) -> Self {
        Self { body: answer.into_body(), begun: Instant::now(), came: 0 }
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Miss> {
        loop {
            let frame = timeout(STALL, self.body.frame()).await;
            let Some(frame) = frame.map_err(|_| unanswered("its body stalls"))? else { return Ok(None) };
            let Ok(data) = frame.map_err(|error| unanswered(&error.to_string()))?.into_data() else {
                continue;
            };
            self.came += data.len() as u64;
            let waited = self.begun.elapsed().saturating_sub(PATIENCE).as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "a pace need not be exact")]
            if (self.came as f64) < waited * PACE {
                return Err(Miss::Fault(Fault::TooSlow, "its body trickles".into()));
            }
            return Ok(Some(data));
        }
    }
}

/// What is complete at the front of `chunk`, which is taken from it.
fn take(reader: &mut Reader, chunk: &mut Bytes) -> Result<Option<Item>, CarError> {
    let mut rest = chunk.as_ref();
    let item = reader.take(&mut rest)?;
    let taken = chunk.len() - rest.len();
    *chunk = chunk.slice(taken..);
    Ok(item)
}

pub(super) fn unanswered(words: &str) -> Miss {
    Miss::Fault(Fault::Unanswered, words.to_owned())
}

/// A stream proves who has sent the bytes: a block that hashes to something else is a lie, and no accident of the line.
fn damaged(error: CarError) -> Miss {
    let fault = match error {
        CarError::Mismatch(_) => Fault::WrongBytes,
        _ => Fault::Unanswered,
    };
    Miss::Fault(fault, error.to_string())
}
