//! What the store does by itself, in two threads: looks at the limits every second, and goes over its files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use resolver::integrity::Integrity;
use resolver::package::{FileName, PackageName};
use tokio::sync::mpsc;

use super::change::Change;
use super::scrub::Scrub;
use super::state::State;

/// Between two looks at the limits: others fill the disk too.
const LOOK: Duration = Duration::from_secs(1);
/// Between two times that the marks are written: 1 MiB, and what a crash costs of recency.
const SAVE: Duration = Duration::from_secs(600);
/// Lost contents that wait to be fetched again; the rest is fetched when somebody asks.
const WAITING: usize = 64;

/// Something that was found corrupt by nobody's request, and can be fetched again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// A tarball, by its name and digest.
    Tarball(PackageName, FileName, Integrity),
    /// A packument.
    Packument(PackageName),
}

/// The two threads; they end with it.
pub(super) struct Keeper {
    stop: Stop,
    dir: PathBuf,
    state: State,
    lost: Mutex<Option<mpsc::Receiver<Lost>>>,
}

/// Tells threads to end, and wakes them for it.
#[derive(Clone, Default)]
pub(super) struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Keeper {
    /// `doubtful`: the last moment that is known of a process that came to a sudden end.
    pub(super) fn start(
        state: &State,
        dir: &Path,
        period: Option<Duration>,
        doubtful: Option<SystemTime>,
    ) -> io::Result<Self> {
        let stop = Stop::default();
        let (tell, lost) = mpsc::channel(WAITING);
        let scrub = Scrub::new(state.clone(), stop.clone(), period, doubtful, tell);
        std::thread::Builder::new().name("scrub".into()).spawn(move || scrub.run())?;
        let (looking, ended, place) = (state.clone(), stop.clone(), dir.to_owned());
        std::thread::Builder::new().name("keeper".into()).spawn(move || look(&looking, &ended, &place))?;
        Ok(Self { stop, dir: dir.into(), state: state.clone(), lost: Mutex::new(Some(lost)) })
    }

    pub(super) fn lost(&self) -> Option<mpsc::Receiver<Lost>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Ends both threads, soon, and writes down what was used.
    pub(super) fn stop(&self) {
        self.stop.stop();
        save_marks(&self.state, &self.dir);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

impl Stop {
    /// Waits so long; true when it is the end.
    pub(super) fn wait(&self, pause: Duration) -> bool {
        let (stopped, changed) = &*self.0;
        let stopped = stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(stopped, pause, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    pub(super) fn is_stopped(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }
}

/// When a file was last written.
pub(super) fn written(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

fn look(state: &State, stop: &Stop, dir: &Path) {
    let mut saved = Instant::now();
    while !stop.wait(LOOK) {
        // Whatever it says: the next look is soon.
        let _ = state.commit_blocking(Change::Look);
        if saved.elapsed() > SAVE {
            saved = Instant::now();
            save_marks(state, dir);
        }
    }
}

fn save_marks(state: &State, dir: &Path) {
    if let Err(error) = state.shared().marks.save(dir) {
        tracing::debug!(%error, "what was used lately could not be written down");
    }
}
