//! The index of what this gateway holds: a tree that one hash names, kept up to date, and the signed head that says which.
//!
//! ```text
//! store ── news ──> keeper ── listing (what a package's directory holds) ──> commit (one transaction) ──> watch
//! <dir>/index.redb   nodes of the tree, where each document of it is held, the root, the head (see `tables`)
//! ```
//!
//! The tree holds what the store holds and nothing of its bytes: leaves are ranges of tarballs and documents. Only what this gateway
//! itself has to say ([`own`]) stands in the file, and is known elsewhere, too. So `index.redb` can
//! be lost at no other cost than that of making it again, and it is made again to the same root: the tree is a function of
//! what is held (and of what is private, and of how install forms are rendered; when these change, all is listed anew).
//!
//! [`Index`] is what others have: the head that is published, and blocks by their addresses. [`Keeper`] is the task. A head is
//! committed before anybody is told of it, and at most one a second is made.

mod commit;
mod database;
mod files;
mod head;
mod keeper;
mod listing;
mod own;
mod read;
mod tables;
mod transaction;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use resolver::head::Root;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::fetch::Fetch;
use crate::identity::Identity;
use crate::store::Store;

pub use keeper::Keeper;
pub use read::{Block, Listed, Nodes, Part, Resolved, Source};

use database::Database;

/// Whoever follows asks for the head or a block more often.
const FOLLOWED: Duration = Duration::from_secs(60 * 60);

/// What an index is made of.
#[derive(Clone)]
pub struct Basis {
    /// The data directory.
    pub dir: PathBuf,
    /// What is held.
    pub store: Store,
    /// Whoever can look into documents.
    pub fetch: Fetch,
    /// Who signs heads.
    pub identity: Arc<Identity>,
    /// Where the tarballs of install forms are: the public registry, without a slash at its end.
    pub canonical: String,
    /// Scopes, with their `@`, of which nothing is listed.
    pub private_scopes: Vec<String>,
}

/// A root that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The tree.
    pub root: Root,
    /// Since when this is its head: milliseconds since 1970.
    pub sequence: u64,
    /// Until when the record is valid, since 1970.
    pub until: Duration,
    /// The signed record (IPNS).
    pub record: Vec<u8>,
    /// Packages of which something is listed.
    pub packages: u64,
    /// Blocks of the tree; one of a document is counted for each place that the document stands in.
    pub blocks: u64,
    /// The bytes of all that the root leads to.
    pub cumulative_size: u64,
}

/// What is listed, for whoever serves it. Cheap to clone.
#[derive(Clone)]
pub struct Index {
    inner: Arc<Inner>,
}

struct Inner {
    basis: Basis,
    database: Database,
    own: own::Board,
    /// When somebody last asked for what is published.
    asked: Mutex<Option<Instant>>,
    published: watch::Sender<Option<Arc<Published>>>,
}

impl Index {
    /// An index that nobody keeps yet. Nothing is opened.
    #[must_use]
    pub fn new(basis: Basis) -> Self {
        let database = Database::new(&basis.dir);
        let published = watch::Sender::new(None);
        Self {
            inner: Arc::new(Inner {
                basis,
                database,
                own: own::Board::default(),
                asked: Mutex::default(),
                published,
            }),
        }
    }

    /// Whoever keeps it up to date; there is one.
    #[must_use]
    pub fn keeper(&self) -> Keeper {
        Keeper::new(Arc::clone(&self.inner))
    }

    /// Somebody asks for what is published.
    pub fn is_asked_for(&self) {
        *self.inner.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether somebody has asked for it in the last hour, and so may follow this gateway.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        let asked = *self.inner.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.is_some_and(|at| at.elapsed() < FOLLOWED)
    }

    /// The head that is published; `None` while there is none: nothing is held, or not all of it has been listed yet.
    #[must_use]
    pub fn head(&self) -> watch::Receiver<Option<Arc<Published>>> {
        self.inner.published.subscribe()
    }
}
