//! Home's signed list of the peers that it vouches for: made where this gateway is a home, followed where it has one, and kept in
//! the data directory, so that it is there offline.
//!
//! ```text
//! <dir>/directory.jws     the last signed list that was made or taken, with whose it is in it
//! <dir>/directory.json    the last that was read under home's root, without a signature: home's head has vouched for it
//! <dir>/directory.*.new   the same until they are written
//! ```
//!
//! Of the two the one with the later sequence counts. What is passed on to others is the signed one.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use resolver::directory::{Directory, LONGEST, Signed, Verdict, next_sequence};
use resolver::jws;
use resolver::peer::PeerId;
use serde_json::Value;
use tokio::sync::watch;

use super::Entry;
use crate::identity::{Identity, is_signed_by};
use crate::swarm::{Bulletin, Worth};

/// The files in the data directory.
const SIGNED: &str = "directory.jws";
const LISTED: &str = "directory.json";

/// The keys of an entry.
const KNOWN: [&str; 6] = ["id", "urls", "place", "networks", "capacity", "admit"];

/// Says of an entry that others have written whether its values are possible.
pub type Sound = fn(&Entry) -> bool;

/// The list.
pub struct Announced {
    author: PeerId,
    path: PathBuf,
    sound: Sound,
    last: Mutex<Last>,
    text: watch::Sender<Option<Arc<[u8]>>>,
    entries: watch::Sender<Arc<Vec<Entry>>>,
}

/// The sequences of what was last taken.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    /// Of the signed list.
    signed: Option<u64>,
    /// Of the list that counts.
    list: Option<u64>,
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
        if let Some(text) = this.kept(SIGNED) {
            this.take(&text, Duration::MAX);
        }
        if let Some(json) = this.kept(LISTED) {
            this.take_listed(json.as_bytes(), Duration::MAX);
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
        if let Some(text) = this.kept(SIGNED) {
            this.take(&text, Duration::MAX);
        }
        let peers: Vec<Entry> = entries.iter().filter(|entry| entry.admit).cloned().collect();
        let is_same =
            || serde_json::to_value(&peers).ok() == serde_json::to_value(&**this.entries.borrow()).ok();
        let known = this.text.borrow().is_some();
        if (known && is_same()) || (!known && peers.is_empty()) {
            return Ok(this);
        }
        let last = this.lock().list;
        let directory = Directory { id: identity.id(), sequence: next_sequence(last, now()), peers };
        let message = directory.message();
        let text = jws::signed(&message, identity.sign(message.as_bytes()));
        if text.len() > LONGEST {
            return Err(AnnouncedError::TooLong(text.len()));
        }
        this.keep(SIGNED, text.as_bytes());
        this.set(&text, directory);
        Ok(this)
    }

    /// The list that this gateway makes itself, as it stands under its root: what was signed, without the signature. `None`: it has never
    /// vouched for anybody, or follows another. That there is nobody any more is said by an empty list with a later sequence.
    #[must_use]
    pub fn listed(&self) -> Option<Vec<u8>> {
        let sequence = self.lock().signed?;
        let peers = self.entries.borrow().to_vec();
        Some(Directory { id: self.author, sequence, peers }.to_json())
    }

    /// A list that was read under home's root, whose head was checked. It is taken when it is later than what is known, and kept. Blocks for a
    /// moment.
    pub fn offer_listed(&self, json: &[u8]) -> Worth {
        let worth = self.take_listed(json, now());
        if worth == Worth::New {
            self.keep(LISTED, json);
        }
        worth
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
            last: Mutex::default(),
            text: watch::channel(None).0,
            entries: watch::channel(Arc::default()).0,
        }
    }

    /// Takes a text if it is newer and its author's; `now` since 1970.
    fn take(&self, text: &str, now: Duration) -> Worth {
        // What later versions say beside it must not look like a forgery.
        let Ok(signed) = Signed::<Value>::parse(text) else { return Worth::Forged };
        match signed.judge(self.author, self.lock().signed, now) {
            Verdict::New => {}
            Verdict::Foreign => return Worth::Foreign,
            // One from the future may be right, and this clock wrong.
            Verdict::Known | Verdict::Early => return Worth::Old,
        }
        let (message, signature) = signed.evidence();
        if !is_signed_by(self.author, message.as_bytes(), signature) {
            return Worth::Forged;
        }
        self.set(text, self.possible(signed.into_directory()));
        Worth::New
    }

    /// The same for what home's root has vouched for.
    fn take_listed(&self, json: &[u8], now: Duration) -> Worth {
        let Ok(directory) = Directory::<Value>::parse(json) else { return Worth::Forged };
        match directory.judge(self.author, self.lock().list, now) {
            Verdict::New => {}
            Verdict::Foreign => return Worth::Foreign,
            Verdict::Known | Verdict::Early => return Worth::Old,
        }
        self.set_list(self.possible(directory));
        Worth::New
    }

    /// What of it is possible here.
    fn possible(&self, directory: Directory<Value>) -> Directory<Entry> {
        let Directory { id, sequence, peers } = directory;
        let said = peers.len();
        let peers: Vec<Entry> =
            peers.into_iter().filter_map(entry).filter(|entry| (self.sound)(entry)).collect();
        if peers.len() < said {
            tracing::warn!(
                left_out = said - peers.len(),
                "home's list holds entries that are not possible here"
            );
        }
        Directory { id, sequence, peers }
    }

    fn set(&self, text: &str, directory: Directory<Entry>) {
        self.lock().signed = Some(directory.sequence);
        self.text.send_replace(Some(text.as_bytes().into()));
        self.set_list(directory);
    }

    fn set_list(&self, directory: Directory<Entry>) {
        let mut last = self.lock();
        if last.list.is_none_or(|list| list < directory.sequence) {
            last.list = Some(directory.sequence);
            self.entries.send_replace(Arc::new(directory.peers));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was kept; anything else that stands there is as good as nothing, and is replaced.
    fn kept(&self, file: &str) -> Option<String> {
        let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX) + 1;
        let mut text = String::new();
        let read =
            fs::File::open(self.path.join(file)).and_then(|file| file.take(limit).read_to_string(&mut text));
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

    fn keep(&self, file: &str, bytes: &[u8]) {
        let unfinished = self.path.join(format!("{file}.new"));
        let kept = fs::write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, self.path.join(file)));
        if let Err(error) = kept {
            tracing::warn!(%error, "home's list of peers cannot be kept: it will not be there offline");
        }
    }
}

impl Bulletin for Announced {
    fn author(&self) -> PeerId {
        self.author
    }

    fn last(&self) -> watch::Receiver<Option<Arc<[u8]>>> {
        self.text.subscribe()
    }

    fn offer(&self, said: &[u8]) -> Worth {
        let Ok(text) = std::str::from_utf8(said) else { return Worth::Forged };
        let worth = self.take(text, now());
        if worth == Worth::New {
            // 64 KiB at most, and a few times a year.
            self.keep(SIGNED, text.as_bytes());
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
            String::from_utf8(made.last().borrow().as_deref().unwrap().to_vec()).unwrap()
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
        assert_eq!(follower.offer(home.text(&[entry_of(1), unmarked]).as_bytes()), Worth::New);
        assert_eq!(ids(&follower), [entry_of(1).id]);

        let again = Announced::followed(home.identity.id(), dir.path(), ANYTHING);
        assert_eq!(ids(&again), [entry_of(1).id]);
        let other = Announced::followed(PeerId::of_key([9; 32]), dir.path(), ANYTHING);
        assert!(ids(&other).is_empty(), "it is not that one's word");
    }

    #[test]
    fn a_list_that_was_read_under_homes_root_counts_when_it_is_later_and_is_there_after_a_restart() {
        let (home, dir) = (Home::new(), tempfile::tempdir().unwrap());
        let follower = || Announced::followed(home.identity.id(), dir.path(), ANYTHING);
        let listed = |entries: &[Entry]| {
            let made = Announced::made(&home.identity, entries, home.dir.path(), ANYTHING).unwrap();
            (made.last().borrow().as_deref().unwrap().to_owned(), made.listed().unwrap())
        };
        let ((first, first_listed), (second, second_listed)) =
            (listed(&[entry_of(1)]), listed(&[entry_of(2)]));
        let one = follower();
        assert_eq!(one.offer_listed(&second_listed), Worth::New);
        assert_eq!(one.offer_listed(&second_listed), Worth::Old);
        assert_eq!(one.offer_listed(&first_listed), Worth::Old);
        assert_eq!(one.offer_listed(b"nonsense"), Worth::Forged);
        assert_eq!(ids(&one), [entry_of(2).id]);

        let again = follower();
        assert_eq!(ids(&again), [entry_of(2).id]);
        assert_eq!(again.offer(&first), Worth::New, "it is passed on until there is a later one");
        assert_eq!(ids(&again), [entry_of(2).id], "and does not count");
        assert_eq!(again.offer(&second), Worth::New);
        let (third, third_listed) = listed(&[]);
        assert_eq!(again.offer(&third), Worth::New);
        assert_eq!(again.offer_listed(&third_listed), Worth::Old);
        assert!(ids(&follower()).is_empty(), "that there is nobody any more is news");
        let other = Announced::followed(PeerId::of_key([9; 32]), dir.path(), ANYTHING);
        assert_eq!(other.offer_listed(&third_listed), Worth::Foreign);
    }

    #[test]
    fn nobody_elses_word_and_no_older_one_is_taken() {
        let (home, other, dir) = (Home::new(), Home::new(), tempfile::tempdir().unwrap());
        let follower = Announced::followed(home.identity.id(), dir.path(), ANYTHING);
        let (first, second) = (home.text(&[entry_of(1)]), home.text(&[entry_of(2)]));
        assert_eq!(follower.offer(other.text(&[entry_of(3)]).as_bytes()), Worth::Foreign);
        assert_eq!(follower.offer(second.as_bytes()), Worth::New);
        assert_eq!(follower.offer(first.as_bytes()), Worth::Old);
        assert_eq!(follower.offer(second.as_bytes()), Worth::Old);
        // Home's claims under somebody else's signature.
        let (message, _) =
            home.text(&[entry_of(4)]).rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let forged = jws::signed(&message, other.identity.sign(message.as_bytes()));
        assert_eq!(follower.offer(forged.as_bytes()), Worth::Forged);
        assert_eq!(follower.offer(b"nonsense"), Worth::Forged);
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
        assert_eq!(follower.offer(text.as_bytes()), Worth::New);
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
