//! Home's signed list of the peers that it vouches for: made where this gateway is a home, followed where it has one, and kept in
//! the data directory, so that it is there offline.
//!
//! ```text
//! <dir>/directory.jws        the last list that was made or taken, with whose it is in it
//! <dir>/directory.jws.new    the same until it is written
//! ```

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use resolver::directory::{Directory, LONGEST, Signed, Verdict, next_sequence};
use resolver::jws;
use resolver::peer::PeerId;
use serde_json::Value;
use tokio::sync::watch;

use super::Entry;
use crate::identity::{Identity, is_signed_by};
use crate::swarm::{Bulletin, Worth};

/// The file in the data directory.
const FILE: &str = "directory.jws";
/// What it is called until it is written.
const UNFINISHED: &str = "directory.jws.new";

/// The keys of an entry.
const KNOWN: [&str; 6] = ["id", "urls", "place", "networks", "capacity", "admit"];

/// Says of an entry that others have written whether its values are possible.
pub type Sound = fn(&Entry) -> bool;

/// The list.
pub struct Announced {
    author: PeerId,
    path: PathBuf,
    sound: Sound,
    /// Of the last list.
    sequence: Mutex<Option<u64>>,
    text: watch::Sender<Option<Arc<str>>>,
    entries: watch::Sender<Arc<Vec<Entry>>>,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum AnnouncedError {
    /// There is too much to say.
    #[error(
        "the [[peer]] entries that are marked admit are {0} bytes long as a signed list, and followers take at most {LONGEST}: \
         mark fewer"
    )]
    TooLong(usize),
}

impl Announced {
    /// The list of a home that is followed: what was kept of it, for a start.
    #[must_use]
    pub fn followed(home: PeerId, dir: &Path, sound: Sound) -> Self {
        let this = Self::nothing(home, dir, sound);
        if let Some(text) = this.kept() {
            this.take(&text, Duration::MAX);
        }
        this
    }

    /// The list that this gateway makes itself: those of its entries that are marked. What was made before is said again if nothing
    /// has changed.
    ///
    /// # Errors
    /// [`AnnouncedError`].
    pub fn made(
        identity: &Identity,
        entries: &[Entry],
        dir: &Path,
        sound: Sound,
    ) -> Result<Self, AnnouncedError> {
        let this = Self::nothing(identity.id(), dir, sound);
        if let Some(text) = this.kept() {
            this.take(&text, Duration::MAX);
        }
        let peers: Vec<Entry> = entries.iter().filter(|entry| entry.admit).cloned().collect();
        let is_same =
            || serde_json::to_value(&peers).ok() == serde_json::to_value(&**this.entries.borrow()).ok();
        let known = this.text.borrow().is_some();
        if (known && is_same()) || (!known && peers.is_empty()) {
            return Ok(this);
        }
        let last = *this.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = Directory { id: identity.id(), sequence: next_sequence(last, now()), peers };
        let message = directory.message();
        let text = jws::signed(&message, identity.sign(message.as_bytes()));
        if text.len() > LONGEST {
            return Err(AnnouncedError::TooLong(text.len()));
        }
        this.keep(&text);
        this.set(&text, directory);
        Ok(this)
    }

    /// The entries that the list holds, whenever that changes.
    #[must_use]
    pub fn entries(&self) -> watch::Receiver<Arc<Vec<Entry>>> {
        self.entries.subscribe()
    }

    fn nothing(author: PeerId, dir: &Path, sound: Sound) -> Self {
        Self {
            author,
            path: dir.to_owned(),
            sound,
            sequence: Mutex::new(None),
            text: watch::channel(None).0,
            entries: watch::channel(Arc::default()).0,
        }
    }

    /// Takes a text if it is newer and its author's; `now` since 1970.
    fn take(&self, text: &str, now: Duration) -> Worth {
        // What later versions say beside it must not look like a forgery.
        let Ok(signed) = Signed::<Value>::parse(text) else { return Worth::Forged };
        let last = *self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        match signed.judge(self.author, last, now) {
            Verdict::New => {}
            Verdict::Foreign => return Worth::Foreign,
            // One from the future may be right, and this clock wrong.
            Verdict::Known | Verdict::Early => return Worth::Old,
        }
        let (message, signature) = signed.evidence();
        if !is_signed_by(self.author, message.as_bytes(), signature) {
            return Worth::Forged;
        }
        let Directory { id, sequence, peers } = signed.into_directory();
        let said = peers.len();
        let peers: Vec<Entry> =
            peers.into_iter().filter_map(entry).filter(|entry| (self.sound)(entry)).collect();
        if peers.len() < said {
            tracing::warn!(
                left_out = said - peers.len(),
                "home's list holds entries that are not possible here"
            );
        }
        self.set(text, Directory { id, sequence, peers });
        Worth::New
    }

    fn set(&self, text: &str, directory: Directory<Entry>) {
        *self.sequence.lock().unwrap_or_else(PoisonError::into_inner) = Some(directory.sequence);
        self.text.send_replace(Some(text.into()));
        self.entries.send_replace(Arc::new(directory.peers));
    }

    /// What was kept; anything else that stands there is as good as nothing, and is replaced.
    fn kept(&self) -> Option<String> {
        let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX) + 1;
        let mut text = String::new();
        let read =
            fs::File::open(self.path.join(FILE)).and_then(|file| file.take(limit).read_to_string(&mut text));
        match read {
            Ok(_) => Some(text),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, "the list of peers that was kept cannot be read");
                }
                None
            }
        }
    }

    fn keep(&self, text: &str) {
        let unfinished = self.path.join(UNFINISHED);
        let kept = fs::write(&unfinished, text).and_then(|()| fs::rename(&unfinished, self.path.join(FILE)));
        if let Err(error) = kept {
            tracing::warn!(%error, "home's list of peers cannot be kept: it will not be there offline");
        }
    }
}

impl Bulletin for Announced {
    fn author(&self) -> PeerId {
        self.author
    }

    fn last(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.text.subscribe()
    }

    fn offer(&self, text: &str) -> Worth {
        let worth = self.take(text, now());
        if worth == Worth::New {
            // 64 KiB at most, and a few times a year.
            self.keep(text);
        }
        worth
    }
}

/// What is known of an entry.
fn entry(mut said: Value) -> Option<Entry> {
    said.as_object_mut()?.retain(|key, _| KNOWN.contains(&key.as_str()));
    serde_json::from_value(said).ok()
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANYTHING: Sound = |_| true;

    fn entry_of(key: u8) -> Entry {
        let id = PeerId::of_key([key; 32]);
        serde_json::from_value(serde_json::json!({
            "id": id, "urls": ["http://192.0.2.7"], "networks": ["10.7.0.0/16"], "admit": true,
            "place": { "latitude": 51.0, "longitude": 13.7, "country": "DE" },
        }))
        .unwrap()
    }

    struct Home {
        identity: Identity,
        dir: tempfile::TempDir,
    }

    impl Home {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            Self { identity: Identity::open(dir.path()).unwrap(), dir }
        }

        fn text(&self, entries: &[Entry]) -> String {
            let made = Announced::made(&self.identity, entries, self.dir.path(), ANYTHING).unwrap();
            made.last().borrow().as_deref().unwrap().to_owned()
        }
    }

    fn ids(announced: &Announced) -> Vec<PeerId> {
        announced.entries().borrow().iter().map(|entry| entry.id).collect()
    }

    #[test]
    fn a_follower_takes_homes_word_and_has_it_after_a_restart() {
        let (home, dir) = (Home::new(), tempfile::tempdir().unwrap());
        let follower = Announced::followed(home.identity.id(), dir.path(), ANYTHING);
        let unmarked = Entry { admit: false, ..entry_of(2) };
        assert_eq!(follower.offer(&home.text(&[entry_of(1), unmarked])), Worth::New);
        assert_eq!(ids(&follower), [entry_of(1).id]);

        let again = Announced::followed(home.identity.id(), dir.path(), ANYTHING);
        assert_eq!(ids(&again), [entry_of(1).id]);
        let other = Announced::followed(PeerId::of_key([9; 32]), dir.path(), ANYTHING);
        assert!(ids(&other).is_empty(), "it is not that one's word");
    }

    #[test]
    fn nobody_elses_word_and_no_older_one_is_taken() {
        let (home, other, dir) = (Home::new(), Home::new(), tempfile::tempdir().unwrap());
        let follower = Announced::followed(home.identity.id(), dir.path(), ANYTHING);
        let (first, second) = (home.text(&[entry_of(1)]), home.text(&[entry_of(2)]));
        assert_eq!(follower.offer(&other.text(&[entry_of(3)])), Worth::Foreign);
        assert_eq!(follower.offer(&second), Worth::New);
        assert_eq!(follower.offer(&first), Worth::Old);
        assert_eq!(follower.offer(&second), Worth::Old);
        // Home's claims under somebody else's signature.
        let (message, _) =
            home.text(&[entry_of(4)]).rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let forged = jws::signed(&message, other.identity.sign(message.as_bytes()));
        assert_eq!(follower.offer(&forged), Worth::Forged);
        assert_eq!(follower.offer("nonsense"), Worth::Forged);
        assert_eq!(ids(&follower), [entry_of(2).id]);
    }

    #[test]
    fn what_a_later_version_says_beside_it_is_left_alone() {
        let (home, dir) = (Home::new(), tempfile::tempdir().unwrap());
        let mut known = serde_json::to_value(entry_of(1)).unwrap();
        known["moon"] = "full".into();
        let peers = vec![known, serde_json::json!({ "id": "nobody" })];
        let directory = Directory { id: home.identity.id(), sequence: 7, peers };
        let message = directory.message();
        let text = jws::signed(&message, home.identity.sign(message.as_bytes()));
        let follower = Announced::followed(home.identity.id(), dir.path(), ANYTHING);
        assert_eq!(follower.offer(&text), Worth::New);
        assert_eq!(ids(&follower), [entry_of(1).id]);
    }

    #[test]
    fn a_home_says_the_same_until_it_has_something_else_to_say() {
        let home = Home::new();
        let first = home.text(&[entry_of(1)]);
        assert_eq!(home.text(&[entry_of(1)]), first);
        assert_ne!(home.text(&[]), first, "that there is nobody any more is news");
        let silent = Home::new();
        let made = Announced::made(&silent.identity, &[], silent.dir.path(), ANYTHING).unwrap();
        assert!(made.last().borrow().is_none(), "who has never vouched for anybody says nothing");
    }

    #[test]
    fn more_than_followers_take_is_an_error() {
        let home = Home::new();
        let many: Vec<Entry> = (0..=255).flat_map(|key| [entry_of(key), entry_of(key)]).collect();
        let error = Announced::made(&home.identity, &many, home.dir.path(), ANYTHING).err().unwrap();
        assert!(error.to_string().contains("mark fewer"), "{error}");
    }
}
