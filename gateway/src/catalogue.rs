//! What this gateway publishes, and who else has it: versions become addresses, and addresses become holders. It is only looked
//! at: nobody is asked for anything, and nothing is fetched.

mod resolution;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use resolver::index::{Blocks, Cid};
use resolver::integrity::Integrity;
use resolver::peer::PeerId;

use crate::fetch::Fetch;
use crate::follow::Following;
use crate::index::{self, Block, Index, Published};
use crate::metrics::Metrics;
use crate::rooted::{self, Rooted};
use crate::share::Inventories;
use crate::swarm::Swarm;

pub use resolution::{Holder, Missing, Resolution, Unresolved};

/// All that the catalogue is made of.
pub struct Basis {
    /// Who this gateway is.
    pub id: PeerId,
    /// What is published.
    pub index: Index,
    /// Home's index, as far as it is known here.
    pub rooted: Option<Rooted>,
    /// What home publishes, if there is a home.
    pub following: Option<Following>,
    /// Whoever can look into documents.
    pub fetch: Fetch,
    /// Who is connected.
    pub swarm: Swarm,
    /// What they say that they hold.
    pub inventories: Inventories,
    /// Scopes, with their `@`, of which nothing is told.
    pub private_scopes: Vec<String>,
    /// Where blocks are counted.
    pub metrics: Arc<Metrics>,
}

/// Nodes of this gateway's own index and of home's, as they are at one moment.
pub struct Nodes {
    own: Option<index::Nodes>,
    followed: Option<rooted::Nodes>,
}

impl Blocks for Nodes {
    fn block(&self, cid: &Cid) -> Option<Cow<'_, [u8]>> {
        let own = self.own.as_ref().and_then(|nodes| nodes.block(cid));
        own.or_else(|| self.followed.as_ref()?.block(cid))
    }
}

/// See above. Cheap to clone.
#[derive(Clone)]
pub struct Catalogue {
    inner: Arc<Inner>,
}

struct Inner {
    basis: Basis,
}

impl Catalogue {
    /// Of all this.
    #[must_use]
    pub fn new(basis: Basis) -> Self {
        Self { inner: Arc::new(Inner { basis }) }
    }

    /// What is published, block by block.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.inner.basis.index
    }

    /// Nodes of this gateway's own index and of home's; `None` while neither can be read. Blocks for a moment.
    #[must_use]
    pub fn nodes(&self) -> Option<Nodes> {
        let followed = self.inner.basis.rooted.as_ref().and_then(Rooted::nodes);
        let nodes = Nodes { own: self.index().nodes(), followed };
        (nodes.own.is_some() || nodes.followed.is_some()).then_some(nodes)
    }

    /// The block with this address, of either index: documents are held, whichever names them. Blocks for a moment.
    #[must_use]
    pub fn block(&self, cid: &Cid) -> Option<Block> {
        self.index().block(cid).or_else(|| {
            let nodes = self.inner.basis.rooted.as_ref()?.nodes()?;
            nodes.block(cid).map(|bytes| Block::Node(bytes.into_owned()))
        })
    }

    /// The bytes of a block: at most 2 MiB.
    pub async fn bytes(&self, cid: &Cid) -> Option<Bytes> {
        match self.block(cid)? {
            Block::Node(bytes) => Some(bytes.into()),
            Block::Leaf(part) => self.index().part(&part).await,
        }
    }

    /// The head of now; `None`: there is none yet.
    #[must_use]
    pub fn published(&self) -> Option<Arc<Published>> {
        self.index().head().borrow().clone()
    }

    /// The record of a head, this gateway's own or that of the home that it follows. `None`: it knows none of this name.
    #[must_use]
    pub fn record(&self, name: PeerId) -> Option<Vec<u8>> {
        if name == self.inner.basis.id {
            return Some(self.published()?.record.clone());
        }
        let following = self.inner.basis.following.as_ref().filter(|following| following.home() == name)?;
        Some(following.latest()?.head.record().to_vec())
    }

    /// The home that is followed.
    #[must_use]
    pub fn following(&self) -> Option<&Following> {
        self.inner.basis.following.as_ref()
    }

    /// A block is sent.
    pub fn count_block(&self) {
        self.inner.basis.metrics.index().sent_block();
    }

    /// The peers that are connected and say that they hold a tarball, and where they say that clients are served.
    #[must_use]
    pub fn peers_with(&self, integrity: &Integrity) -> Vec<Holder> {
        let neighbours = self.inner.basis.swarm.neighbours();
        let holder = |id: PeerId| {
            let card = neighbours.get(&id)?.card.as_ref()?;
            Some(Holder { peer: id, this: false, urls: card.urls.clone() })
        };
        let mut holders: Vec<_> =
            self.inner.basis.inventories.holders(integrity).into_iter().filter_map(holder).collect();
        holders.sort_by_key(|holder| holder.peer);
        holders.truncate(MOST_HOLDERS);
        holders
    }
}

/// Holders that are told: nobody asks more.
const MOST_HOLDERS: usize = 20;
