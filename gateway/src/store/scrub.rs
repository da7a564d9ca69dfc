//! Goes over every file of the store, slowly: what a bad disk has spoilt is found before anybody asks for it, what a
//! crash has left without a name gets one, and rows lead to files again.
//!
//! One round takes the configured period and reads at most 16 MiB a second; where it has come to is remembered. After a
//! sudden end it first goes over what was written last, at that rate: that is what a power cut spoils.

use std::collections::{btree_map, btree_set};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use resolver::integrity::Integrity;
use resolver::package::PackageName;
use resolver::variant::Revision;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::change::Change;
use super::keeper::{self, Lost, Stop};
use super::news;
use super::recovery;
use super::shelf::{Listed, Verified};
use super::state::State;
use super::tables::{Item, json, on_disk, read_json, read_tarball_key};

/// Bytes that are read in a second at most.
const RATE: u64 = 16 << 20;
/// What the kernel may not have written out when the power went: it waits for half a minute (dirty_expire_centisecs),
/// a disk that is busy for longer.
const UNWRITTEN: Duration = Duration::from_secs(600);
/// Between two looks at how much there is to do, and the pause after an empty round.
const PATIENCE: Duration = Duration::from_secs(60);
/// A pause that is not worth taking.
const A_MOMENT: Duration = Duration::from_millis(1);
/// Its place among the notes.
const NOTE: &str = "scrub";
/// Between two times that it is noted where the round has come to.
const NOTED: Duration = Duration::from_secs(60);

/// The thread's work.
pub(super) struct Scrub {
    state: State,
    stop: Stop,
    period: Option<Duration>,
    doubtful: Option<SystemTime>,
    lost: mpsc::Sender<Lost>,
    /// What is left of the folder that is gone through. A folder is listed once, for it takes as long as it is large;
    /// what comes later is for the next round.
    left: Option<Left>,
    /// Bytes that were read ahead of what the rate allows.
    ahead: u64,
    noted: Instant,
}

/// What is left of a listing: of 1,000,000 files one in 256, 500 KB.
enum Left {
    Blobs(btree_map::IntoIter<[u8; 64], Listed>),
    Packuments(btree_set::IntoIter<[u8; 32]>),
}

/// Where a round has come to: tarballs come first, then packuments, then rows without files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// The folder that is next: 256 of tarballs, 256 of packuments; then the rows.
    folder: u16,
    /// The digest that was last, in hexadecimal; of the rows, the name.
    after: String,
    /// Bytes that the round has read.
    read: u64,
}

impl Scrub {
    pub(super) fn new(
        state: State,
        stop: Stop,
        period: Option<Duration>,
        doubtful: Option<SystemTime>,
        lost: mpsc::Sender<Lost>,
    ) -> Self {
        Self { state, stop, period, doubtful, lost, left: None, ahead: 0, noted: Instant::now() }
    }

    pub(super) fn run(mut self) {
        // False from any of them means that it is the end.
        let _ = self.begin() && self.go_round();
    }

    fn begin(&mut self) -> bool {
        let doubtful = self.doubtful.take();
        self.rebuild() && doubtful.is_none_or(|last| self.go_over_the_last(last))
    }

    fn go_round(&mut self) -> bool {
        let mut position = self.remembered();
        loop {
            let Some(period) = self.period else {
                if !self.wait(PATIENCE) {
                    return false;
                }
                continue;
            };
            let before = position.read;
            let goes_on = self.step(&mut position);
            let read = position.read - before.min(position.read);
            if !goes_on || !self.keep_pace(period, read) {
                return false;
            }
        }
    }

    /// Waits as long as these bytes are worth of the period; what is held may change meanwhile.
    fn keep_pace(&mut self, period: Duration, read: u64) -> bool {
        // KiB, as far as 32 bits go: 4 TiB.
        let mut owed = f64::from(u32::try_from(read / 1024).unwrap_or(u32::MAX));
        loop {
            let held = f64::from(u32::try_from(self.held() / 1024).unwrap_or(u32::MAX)).max(1.0);
            let a_second = held / period.as_secs_f64().max(0.001);
            let pause = PATIENCE.min(Duration::try_from_secs_f64(owed / a_second).unwrap_or(PATIENCE));
            if pause < A_MOMENT {
                return !self.stop.is_stopped();
            }
            if !self.wait(pause) {
                return false;
            }
            owed = (owed - a_second * pause.as_secs_f64()).max(0.0);
        }
    }

    /// False at the end.
    fn wait(&self, pause: Duration) -> bool {
        !self.stop.wait(pause) && self.rebuild()
    }

    fn held(&self) -> u64 {
        let totals = &self.state.shared().totals;
        totals.blob_stored.load(Ordering::Relaxed) + totals.packument_stored.load(Ordering::Relaxed)
    }

    /// Finds names again, if they were lost. False at the end.
    fn rebuild(&self) -> bool {
        let wanted = &self.state.shared().rebuild;
        if wanted.swap(false, Ordering::AcqRel) && !recovery::adopt_all(&self.state, &self.stop) {
            wanted.store(true, Ordering::Release);
        }
        !self.stop.is_stopped()
    }

    /// Verifies the tarballs that were written shortly before a sudden end. False at the end.
    fn go_over_the_last(&mut self, last: SystemTime) -> bool {
        let since = last.checked_sub(UNWRITTEN).unwrap_or(SystemTime::UNIX_EPOCH);
        for first in 0..=u8::MAX {
            let listed = self.state.shared().contents.blobs_in(first).unwrap_or_default();
            for (digest, _) in listed.iter().filter(|(_, file)| file.written >= since) {
                self.verify_blob(Integrity::from_digest(*digest), &mut 0);
                if self.stop.is_stopped() {
                    return false;
                }
            }
        }
        !self.stop.is_stopped()
    }

    /// One tarball, or one packument, or the turn from one folder to the next. False at the end.
    fn step(&mut self, position: &mut Position) -> bool {
        let [kind, first] = position.folder.to_be_bytes();
        if kind > 1 {
            return self.step_row(position);
        }
        let stepped = match self.left.take().unwrap_or_else(|| self.list(kind == 0, first, &position.after)) {
            Left::Blobs(mut left) => left.next().map(|(digest, file)| {
                self.left = Some(Left::Blobs(left));
                self.step_blob(Integrity::from_digest(digest), &file, position);
            }),
            Left::Packuments(mut left) => left.next().map(|digest| {
                self.left = Some(Left::Packuments(left));
                self.step_packument(Revision::from_digest(digest), position);
            }),
        };
        match stepped {
            Some(()) => self.note(position),
            None => {
                *position =
                    Position { folder: position.folder + 1, after: String::new(), read: position.read };
            }
        }
        !self.stop.is_stopped()
    }

    /// What a folder has behind this digest; what cannot be listed is seen to in the next round.
    fn list(&self, blobs: bool, first: u8, after: &str) -> Left {
        let shared = self.state.shared();
        if !blobs {
            let mut listed = shared.documents.revisions_in(first).unwrap_or_default();
            if let Some(after) = Revision::from_hex(after) {
                listed.retain(|digest| digest > after.as_bytes());
            }
            return Left::Packuments(listed.into_iter());
        }
        let mut listed = shared.contents.blobs_in(first).unwrap_or_default();
        match Integrity::from_hex(after) {
            Some(after) => listed.retain(|digest, _| digest > after.as_bytes()),
            None => self.forget_missing(first, |digest| listed.contains_key(digest)),
        }
        Left::Blobs(listed.into_iter())
    }

    fn step_blob(&mut self, integrity: Integrity, file: &Listed, position: &mut Position) {
        if self.verify_blob(integrity, &mut position.read) && self.state.blob_name(&integrity).is_none() {
            // One that has gone gets no row. If it cannot be committed, it is found again in the next round. Whose it is, nobody has
            // written down: whoever keeps an index looks at all packages once more.
            let adopted = self.state.commit_blocking(Change::Adopt(vec![(integrity, file.length)]));
            let _ = adopted.and_then(|_| news::renew_all(&self.state));
        }
        position.after = integrity.hex();
    }

    fn step_packument(&mut self, revision: Revision, position: &mut Position) {
        let documents = Arc::clone(&self.state.shared().documents);
        position.read += documents.measure(&revision).max(1);
        match documents.verify(&revision, &mut |bytes| self.pace(bytes)) {
            Verified::Corrupt(name) => self.lose_packument(&revision, name),
            Verified::Intact(name, damaged) => {
                let totals = &self.state.shared().totals;
                damaged.iter().for_each(|tag| totals.found_corrupt_variant(&revision, tag));
                if self.is_at_rest(&name, &revision) {
                    // If it cannot be committed, the next round sees to it.
                    let _ = recovery::adopt_packument(&self.state, &revision);
                }
            }
            Verified::Unknown => {}
        }
        position.after = revision.hex();
    }

    /// Whether nobody is about to give it its row. Its folder is looked at now: the listing is old.
    fn is_at_rest(&self, name: &PackageName, revision: &Revision) -> bool {
        let held = self.state.packument_unused(name).is_some_and(|held| held.revision == *revision);
        let written = || keeper::written(&self.state.shared().documents.folder(revision));
        held || written().is_some_and(|written| written.elapsed().is_ok_and(|age| age > UNWRITTEN))
    }

    /// Its row goes first, so that it is fetched again.
    fn lose_packument(&self, revision: &Revision, name: Option<PackageName>) {
        if let Some(name) = &name {
            // If it cannot be committed, the row goes when the rows are gone over.
            let _ = self.state.commit_blocking(Change::Missing(Item::Packument(name.clone())));
        }
        self.found_corrupt(&revision.hex(), name.map(Lost::Packument));
    }

    /// Rows of packuments whose files have gone. False at the end.
    fn step_row(&mut self, position: &mut Position) -> bool {
        let Some((name, record)) = self.state.packument_after(&position.after) else {
            return self.turn(position);
        };
        if !self.state.shared().documents.has(&record.revision) {
            // The writer looks once more. If it cannot commit, the next round sees to it.
            let gone = self.state.commit_blocking(Change::Missing(Item::Packument(name.clone())));
            if gone.is_ok_and(|gone| gone.changed) {
                self.tell(Lost::Packument(name.clone()));
            }
        }
        position.after = name.as_str().to_owned();
        !self.stop.is_stopped()
    }

    /// The end of a round.
    fn turn(&mut self, position: &mut Position) -> bool {
        let was_empty = position.read == 0;
        *position = Position::default();
        self.note(position);
        !was_empty || self.wait(PATIENCE)
    }

    /// Verifies one tarball, and adds to what was read. True when it is intact.
    fn verify_blob(&mut self, integrity: Integrity, read: &mut u64) -> bool {
        let contents = Arc::clone(&self.state.shared().contents);
        let mut length = 0;
        let verified = contents.verify_blob(&integrity, &mut |bytes| {
            length += bytes;
            self.pace(bytes)
        });
        *read += on_disk(length.max(1));
        if verified == Some(false) {
            let name = self.state.blob_name(&integrity).and_then(|name| read_tarball_key(&name));
            let lost = name.map(|(name, file)| Lost::Tarball(name, file, integrity));
            // If it cannot be committed, the row goes when its file is missed.
            let _ = self.state.commit_blocking(Change::Missing(Item::Blob(integrity)));
            self.found_corrupt(&integrity.hex(), lost);
        }
        verified == Some(true)
    }

    /// Keeps to the rate. False at the end.
    fn pace(&mut self, bytes: u64) -> bool {
        self.state.shared().totals.scrubbed_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.ahead += bytes;
        if self.ahead < RATE / 16 {
            return !self.stop.is_stopped();
        }
        let pause = Duration::from_millis(self.ahead * 1000 / RATE);
        self.ahead = 0;
        !self.stop.wait(pause)
    }

    fn found_corrupt(&self, digest: &str, lost: Option<Lost>) {
        self.state.shared().totals.found_corrupt(digest);
        if let Some(lost) = lost {
            self.tell(lost);
        }
    }

    fn tell(&self, lost: Lost) {
        // When too many wait, it is fetched again when somebody asks for it.
        let _ = self.lost.try_send(lost);
    }

    /// Rows of this folder that lead to nothing.
    fn forget_missing(&self, first: u8, is_there: impl Fn(&[u8; 64]) -> bool) {
        for digest in self.state.blobs_in(first).unwrap_or_default() {
            if !is_there(&digest) {
                // The writer looks once more. If it cannot commit, the next round sees to it.
                let _ =
                    self.state.commit_blocking(Change::Missing(Item::Blob(Integrity::from_digest(digest))));
            }
        }
    }

    fn remembered(&self) -> Position {
        self.state.note(NOTE).and_then(|note| read_json(&note)).unwrap_or_default()
    }

    fn note(&mut self, position: &Position) {
        let progress = position.read.saturating_mul(100) / self.held().max(1);
        self.state.shared().totals.scrub_progress.store(progress.min(100), Ordering::Relaxed);
        if self.noted.elapsed() < NOTED {
            return;
        }
        self.noted = Instant::now();
        if let Ok(value) = json(position) {
            // At worst, a part is gone over twice.
            let _ = self.state.commit_blocking(Change::Note { word: NOTE, value });
        }
    }
}
