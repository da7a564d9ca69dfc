//! Heads are kept before they count, and what is kept counts again.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use resolver::head::followed::Outcome;
use resolver::head::polls::Way;
use resolver::head::{Head, Root};
use resolver::index::address;
use resolver::peer::PeerId;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{Asker, Following, Task, date};
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::swarm::{Bulletin, Swarm, Worth};

struct Home {
    identity: Identity,
    _dir: TempDir,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { identity: Identity::open(dir.path()).unwrap(), _dir: dir }
    }

    fn id(&self) -> PeerId {
        self.identity.id()
    }

    /// The record of a root that is told by its number, signed so many milliseconds ago.
    fn record(&self, number: u8, ago: u64) -> Vec<u8> {
        let sequence = u64::try_from(date().as_millis()).unwrap() - ago;
        let (until, ttl) = (date() + Duration::from_secs(3600), Duration::from_secs(60));
        let head = Head { name: self.id(), root: root(number), sequence, until, ttl };
        head.record(&self.identity.sign(&head.message()))
    }
}

fn root(number: u8) -> Root {
    Root::new(address::of_node(&[number])).unwrap()
}

struct Follower {
    following: Following,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Follower {
    fn start(home: PeerId, dir: &std::path::Path) -> Self {
        let (following, kept, new) = Following::of(home, dir, Arc::new(Metrics::new()));
        let own = PeerId::of_key([1; 32]);
        let asker = Asker::new(&following, own, Swarm::none(), Vec::new(), "zone.invalid".into()).unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(Task::new(&following, kept, new, asker, &[]).run(stop.clone()));
        Self { following, stop, task }
    }

    async fn has(&self, wanted: Root) {
        let mut root = self.following.root();
        let reached = root.wait_for(|root| *root == Some(wanted));
        tokio::time::timeout(Duration::from_secs(30), reached).await.unwrap().unwrap();
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn a_head_counts_once_it_is_kept_and_after_a_start_nothing_older_does() {
    let (home, dir) = (Home::new(), tempfile::tempdir().unwrap());
    let follower = Follower::start(home.id(), dir.path());
    let (old, new) = (home.record(1, 5000), home.record(2, 1000));
    assert_eq!(follower.following.offer(&old, Way::Http), Outcome::New);
    follower.has(root(1)).await;
    assert_eq!(follower.following.offer(&new, Way::Dns), Outcome::New);
    follower.has(root(2)).await;
    follower.end().await;

    let again = Follower::start(home.id(), dir.path());
    assert_eq!(*again.following.root().borrow(), Some(root(2)));
    assert_eq!(again.following.offer(&old, Way::Http), Outcome::Older);
    assert_eq!(again.following.offer(&new, Way::Http), Outcome::Known);
    let other = Follower::start(Home::new().id(), dir.path());
    assert_eq!(*other.following.root().borrow(), None, "it is not that one's head");
}

#[tokio::test]
async fn a_head_that_cannot_be_kept_does_not_count() {
    let (home, dir) = (Home::new(), tempfile::tempdir().unwrap());
    // Where the folder should be there is a file.
    fs::write(dir.path().join("heads"), "").unwrap();
    let follower = Follower::start(home.id(), dir.path());
    assert_eq!(follower.following.offer(&home.record(1, 0), Way::Http), Outcome::New);
    // It is tried at once, and again every few seconds.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(*follower.following.root().borrow(), None);
    fs::remove_file(dir.path().join("heads")).unwrap();
    follower.has(root(1)).await;
}

#[tokio::test]
async fn a_damaged_file_is_no_head_and_is_replaced() {
    let (home, dir) = (Home::new(), tempfile::tempdir().unwrap());
    let follower = Follower::start(home.id(), dir.path());
    follower.following.offer(&home.record(1, 0), Way::Http);
    follower.has(root(1)).await;
    follower.end().await;
    let file = dir.path().join("heads").join(format!("{}.ipns-record", home.id()));
    let mut record = fs::read(&file).unwrap();
    *record.last_mut().unwrap() ^= 1;
    fs::write(&file, record).unwrap();
    let again = Follower::start(home.id(), dir.path());
    assert_eq!(*again.following.root().borrow(), None);
    again.following.offer(&home.record(3, 0), Way::Http);
    again.has(root(3)).await;
}

#[tokio::test]
async fn what_comes_by_gossip_is_passed_on_only_when_home_has_signed_it() {
    let (home, other, dir) = (Home::new(), Home::new(), tempfile::tempdir().unwrap());
    let follower = Follower::start(home.id(), dir.path());
    let bulletin: &dyn Bulletin = &follower.following;
    assert_eq!(bulletin.offer(&other.record(9, 0)), Worth::Forged);
    assert_eq!(bulletin.offer(b"nonsense"), Worth::Forged);
    assert_eq!(bulletin.offer(&home.record(1, 2000)), Worth::New);
    follower.has(root(1)).await;
    assert_eq!(bulletin.offer(&home.record(2, 60_000)), Worth::Old);
    let said = bulletin.last().borrow().clone();
    assert_eq!(said.as_deref(), Some(follower.following.latest().unwrap().head.record()));
}
