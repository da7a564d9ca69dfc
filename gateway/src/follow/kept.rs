//! The last head of a home, on disk: written beside, flushed and renamed, so that one of the two is there after any end.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use resolver::head::{Checked, LONGEST, Signed};
use resolver::peer::PeerId;

use crate::identity::is_signed_by;

/// In the data directory. Heads of homes that were followed before stay there: their old ones do not count later either.
const FOLDER: &str = "heads";

/// Where it is kept.
#[derive(Debug, Clone)]
pub struct Kept {
    home: PeerId,
    folder: PathBuf,
}

impl Kept {
    pub(super) fn new(dir: &Path, home: PeerId) -> Self {
        Self { home, folder: dir.join(FOLDER) }
    }

    /// What was kept, if home has signed it; anything else that stands there is as good as nothing, and is replaced.
    pub(super) fn read(&self) -> Option<Checked> {
        let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX) + 1;
        let mut record = Vec::new();
        let read =
            fs::File::open(self.path()).and_then(|file| file.take(limit).read_to_end(&mut record).map(drop));
        match read {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, "the head that was kept cannot be read");
                return None;
            }
        }
        let verify =
            |_: &[u8; 32], message: &[u8], signature: &[u8; 64]| is_signed_by(self.home, message, signature);
        let checked = Signed::read(&record, self.home).ok().and_then(|signed| signed.check(verify).ok());
        if checked.is_none() {
            tracing::warn!("the head that was kept is damaged");
        }
        checked
    }

    /// Keeps it. Blocks.
    ///
    /// # Errors
    /// When the disk does not take it; what was kept before is still there.
    pub(super) fn write(&self, head: &Checked) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let unfinished = self.path().with_extension("new");
        let mut file = fs::File::create(&unfinished)?;
        file.write_all(head.record())?;
        file.sync_all()?;
        fs::rename(&unfinished, self.path())?;
        fs::File::open(&self.folder)?.sync_all()
    }

    fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.ipns-record", self.home))
    }
}
