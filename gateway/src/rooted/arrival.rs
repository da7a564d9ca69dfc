//! A document that comes as a CAR, with the proof that it is the one which a root names: each byte is given out only once its block
//! has been verified and stands where it has to.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use resolver::index::address::{DAG_PB, RAW};
use resolver::index::{Block, BlockSet, Blocks, Cid, Met, Reach, TreeError, Walk, resolve};
use resolver::strikes::Fault;
use tokio::time::timeout;

use super::ask::{Car, Miss, unanswered};
use super::database::Nodes;

/// Nodes that lead to a document and within it, at most, in bytes: a basic directory has 256 KiB, and of a file of 256 MiB there
/// is one node.
const NODES: usize = 4 * 1024 * 1024;
/// Nodes that come although they are here already, at most: those of a path of three names.
const KNOWN: u32 = 32;

/// The wait for the end of a body of which everything has come.
const LAST: Duration = Duration::from_millis(50);

/// See above.
pub struct Arrival {
    car: Car,
    root: Cid,
    path: Vec<String>,
    /// What is here already; `None`: that cannot be read.
    local: Option<Nodes>,
    came: BlockSet,
    /// Once it is known what the path leads to.
    walk: Option<Walk>,
    target: Option<Cid>,
    known: u32,
    counted: u64,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All of the document with this address has come.
    Whole(Cid),
    /// The root has no such document, which was proved.
    Absent,
}

/// What is here and what has come, together.
struct Both<'a>(Option<&'a Nodes>, &'a BlockSet);

impl Blocks for Both<'_> {
    fn block(&self, cid: &Cid) -> Option<Cow<'_, [u8]>> {
        self.1.block(cid).or_else(|| self.0.and_then(|local| local.block(cid)))
    }
}

/// What is to come next.
enum Wanted {
    Node,
    Leaf(Cid, Option<u64>),
    Nothing,
}

impl Arrival {
    pub(super) fn new(car: Car, root: Cid, path: Vec<String>, local: Option<Nodes>) -> Self {
        let came = BlockSet::within(NODES);
        Self { car, root, path, local, came, walk: None, target: None, known: 0, counted: 0 }
    }

    /// The next bytes of the document; `None` at its end.
    ///
    /// # Errors
    /// [`Miss`]: nothing that was given out before is of any use.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Miss> {
        loop {
            match self.wanted()? {
                Wanted::Nothing => {
                    // A body that is read to its end leaves its stream to the next request; what else it says is of no interest.
                    let _ = timeout(LAST, self.car.next()).await;
                    return Ok(None);
                }
                Wanted::Node => self.take_node().await?,
                Wanted::Leaf(cid, length) => return self.leaf(cid, length).await.map(Some),
            }
        }
    }

    /// What has come of it, once there are no more bytes; and the nodes that were not here before.
    #[must_use]
    pub fn end(self) -> (Ended, Vec<Block>) {
        let nodes = self.came.iter().map(|(cid, bytes)| Block { cid: *cid, bytes: bytes.to_vec() }).collect();
        (self.target.map_or(Ended::Absent, Ended::Whole), nodes)
    }

    /// Bytes that have come since this was asked last, as they were sent.
    pub fn received(&mut self) -> u64 {
        let came = self.car.came();
        came - std::mem::replace(&mut self.counted, came)
    }

    fn wanted(&mut self) -> Result<Wanted, Miss> {
        let both = Both(self.local.as_ref(), &self.came);
        if self.walk.is_none() {
            match resolve(&both, &self.root, self.path.iter().map(String::as_str)) {
                Err(TreeError::Missing(_)) => return Ok(Wanted::Node),
                Err(TreeError::Malformed(..)) => return Err(malformed()),
                Ok(found) => {
                    self.target = found.target;
                    let Some(target) = found.target else { return Ok(Wanted::Nothing) };
                    self.walk = Some(Walk::new(target, Reach::Entity));
                }
            }
        }
        let Some(walk) = &mut self.walk else { return Ok(Wanted::Nothing) };
        loop {
            return match walk.next(&both) {
                Ok(None) => Ok(Wanted::Nothing),
                Ok(Some(Met::Node(_))) => continue,
                Ok(Some(Met::Leaf { cid, length, .. })) => Ok(Wanted::Leaf(cid, length)),
                Err(TreeError::Missing(_)) => Ok(Wanted::Node),
                Err(TreeError::Malformed(..)) => Err(malformed()),
            };
        }
    }

    /// A node that leads on, or one that is here already.
    async fn take_node(&mut self) -> Result<(), Miss> {
        let (cid, bytes) = self.car.next().await?.ok_or_else(|| unanswered("its CAR ends too early"))?;
        if cid.codec() != DAG_PB {
            return Err(unanswered("its CAR has a document before what leads there"));
        }
        self.pass_known()?;
        self.came.insert(cid, bytes).map_err(|error| unanswered(&error.to_string()))
    }

    async fn leaf(&mut self, wanted: Cid, length: Option<u64>) -> Result<Bytes, Miss> {
        loop {
            let Some((cid, bytes)) = self.car.next().await? else {
                return Err(unanswered("its CAR ends too early"));
            };
            if cid != wanted {
                if cid.codec() == RAW {
                    return Err(unanswered("its CAR has another block than comes next"));
                }
                self.pass_known()?;
                continue;
            }
            if length.is_some_and(|length| length != bytes.len() as u64) {
                return Err(malformed());
            }
            return Ok(bytes.into());
        }
    }

    /// What it sends that is not needed is bounded.
    fn pass_known(&mut self) -> Result<(), Miss> {
        self.known += 1;
        if self.known > KNOWN { Err(unanswered("its CAR has more than was asked for")) } else { Ok(()) }
    }
}

/// Home has signed what is no index: whoever passes it on is not to blame.
fn malformed() -> Miss {
    Miss::Fault(Fault::Unanswered, "what the root leads to does not stand in an index".into())
}
