//! Where addresses are, out of databases in MaxMind's format (.mmdb) that the operator brings: read into memory, and
//! read again when they are replaced.
//!
//! What it costs: a database takes as much memory as its file (5 MiB for countries, 60 MiB for the cities of IPv4, 68 MiB
//! for those of IPv6), twice that while a new one is read. A look-up takes 0.2 us among countries and 0.6 us among cities,
//! and 0.3 and 2 us for addresses in no order, which wait for memory (`a_look_up_and_its_memory_are_measured`).

mod database;
mod record;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use resolver::geo::Whereabouts;
use tokio::time::MissedTickBehavior;

use self::database::{Database, Stamp, Unusable};

/// How often the files are looked at: whoever fetches a new one need not tell.
const LOOK: Duration = Duration::from_secs(60);

/// All databases. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Geo {
    files: Arc<[File]>,
}

/// One of them, whether it is there or not.
#[derive(Debug)]
struct File {
    path: PathBuf,
    current: ArcSwapOption<Database>,
    /// What the file was when it was last read, good or not, and what was wrong with it; it is read again when it is
    /// something else. Only one look is under way at a time.
    seen: std::sync::Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    stamp: Option<Stamp>,
    complaint: Option<String>,
}

impl Geo {
    /// Reads all files. Clients are led on without those that are absent or broken, with a complaint: where a client is
    /// decides how near a peer is, and never whether the client is served.
    #[must_use]
    pub fn load(paths: &[PathBuf]) -> Self {
        let geo = Self { files: paths.iter().map(|path| File::new(path)).collect() };
        geo.look();
        geo
    }

    /// What is known of where an address is; IPv4 inside of IPv6 is to be taken out before. Each fact is the first
    /// database's that has it, and the prefix is the longest of all, so that within it all of them say the same of
    /// every address.
    #[must_use]
    pub fn locate(&self, address: IpAddr) -> Whereabouts {
        let mut known = Whereabouts::default();
        for file in self.files.iter() {
            if let Some(database) = file.current.load().as_deref() {
                let more = database.locate(address);
                known = Whereabouts {
                    place: known.place.or(more.place),
                    country: known.country.or(more.country),
                    continent: known.continent.or(more.continent),
                    asn: known.asn.or(more.asn),
                    prefix: known.prefix.max(more.prefix),
                };
            }
        }
        known
    }

    /// What each file is, or what is wrong with it.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        self.files.iter().map(File::describe).collect()
    }

    /// Looks at the files every minute, and takes what is new and good.
    pub async fn watch(self) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let geo = self.clone();
            // After a panic, which has been logged, the next look begins anew.
            let _ = tokio::task::spawn_blocking(move || geo.look()).await;
        }
    }

    /// Reads the files that are not what they were.
    fn look(&self) {
        for file in self.files.iter() {
            file.look();
        }
    }
}

impl File {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), current: ArcSwapOption::empty(), seen: std::sync::Mutex::default() }
    }

    fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let stamp = Stamp::of(&self.path);
        if let Ok(stamp) = stamp
            && seen.stamp == Some(stamp)
        {
            return;
        }
        match Database::read(&self.path) {
            Ok((database, stamp)) => {
                tracing::info!("{}: {}", self.path.display(), database.describe());
                self.current.store(Some(Arc::new(database)));
                *seen = Seen { stamp: Some(stamp), complaint: None };
            }
            Err(error) => seen.complain(self, stamp.ok(), &error),
        }
    }

    fn describe(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let path = self.path.display();
        match (&seen.complaint, self.current.load().as_deref()) {
            (None, Some(database)) => format!("{path}: {}", database.describe()),
            (Some(complaint), Some(database)) => {
                format!("{path}: {complaint}; in use is the one before: {}", database.describe())
            }
            (complaint, None) => format!("{path}: {}", complaint.as_deref().unwrap_or("not read yet")),
        }
    }
}

impl Seen {
    /// What stays wrong is said once. A file that is being written is looked at again.
    fn complain(&mut self, file: &File, stamp: Option<Stamp>, error: &Unusable) {
        self.stamp = stamp.filter(|_| !matches!(error, Unusable::Changing));
        let complaint = error.to_string();
        if self.complaint.as_ref() == Some(&complaint) {
            return;
        }
        let path = file.path.display();
        if file.current.load().is_some() {
            tracing::warn!(error = %complaint, "{path} is not taken; the database before stays");
        } else {
            tracing::error!(error = %complaint, "{path} cannot be used; clients are led without it");
        }
        self.complaint = Some(complaint);
    }
}
