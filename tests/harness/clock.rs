//! A clock that goes wrong on request: libfaketime between a gateway and the system's clock.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

/// The clock of the gateways that are started with it; at first it is right. Only the time of day jumps: what measures
/// periods goes on as it was.
#[derive(Debug)]
pub struct Clock {
    folder: TempDir,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// A clock that is right.
    pub fn new() -> Self {
        let clock = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        clock.jump("+0");
        clock
    }

    /// Sets it so far from the true time, at once: `+25h`, `-400d`.
    pub fn jump(&self, offset: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, offset).expect("a file in a new folder");
        fs::rename(new, self.file()).expect("a file in a new folder");
    }

    /// What a program's environment needs to go by it.
    pub(crate) fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("LD_PRELOAD", library().display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("clock")
    }
}

/// libfaketime, where Debian keeps it for this machine's kind.
fn library() -> PathBuf {
    let kinds = fs::read_dir("/usr/lib").expect("a folder of libraries").filter_map(Result::ok);
    let mut places = kinds.map(|kind| kind.path().join("faketime/libfaketimeMT.so.1"));
    places.find(|library| library.exists()).expect("libfaketime, which tests/install installs")
}
