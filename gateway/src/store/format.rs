//! The data directory itself: its layout's version, and what a start does to it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// What `<dir>/format` begins with; a number follows.
const MARK: &str = "open-registry data ";
/// The layout that this program writes.
const VERSION: u32 = 2;
/// The layout before it, which was never released: its tarballs stay, its names are found again.
const BEFORE: u32 = 1;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Written by a later program.
    #[error(
        "{0} was written by a newer open-registry (data {1}; this one knows data {VERSION}): upgrade, or set --data to another directory"
    )]
    Newer(PathBuf, u32),
    /// Somebody else's directory.
    #[error("{0} is not empty and not a data directory of open-registry: set --data to an empty directory")]
    NotOurs(PathBuf),
    /// Another process has it.
    #[error("{0} is in use by another open-registry: stop it, or set --data to another directory")]
    InUse(PathBuf),
    /// The state in it cannot be read.
    #[error("{0} cannot be read: {1}; move it away to start with an empty one")]
    Unreadable(PathBuf, String),
    /// The disk refuses.
    #[error("cannot use {0} as data directory: {1}")]
    Io(PathBuf, io::Error),
}

/// Makes the directory's parts where they are missing, refuses what is not ours, and empties the drafts.
pub(super) fn prepare(dir: &Path) -> Result<(), OpenError> {
    let failed = |error| OpenError::Io(dir.into(), error);
    fs::create_dir_all(dir).map_err(failed)?;
    match fs::read_to_string(dir.join("format")) {
        Ok(format) => {
            if check(dir, &format)? == BEFORE {
                upgrade(dir).map_err(failed)?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !is_empty(dir).map_err(failed)? {
                return Err(OpenError::NotOurs(dir.into()));
            }
            mark(dir).map_err(failed)?;
        }
        Err(error) => return Err(failed(error)),
    }
    for part in ["blobs/sha512", "documents/sha256", "drafts"] {
        fs::create_dir_all(dir.join(part)).map_err(failed)?;
    }
    Ok(())
}

/// What the mark is called until it is on the disk.
const UNMARKED: &str = "format.new";

/// Says whose directory this is, durably and before anything else is in it: without the mark a power cut would make
/// it somebody else's.
fn mark(dir: &Path) -> io::Result<()> {
    let unmarked = dir.join(UNMARKED);
    let mut file = File::create(&unmarked)?;
    writeln!(file, "{MARK}{VERSION}")?;
    file.sync_all()?;
    fs::rename(unmarked, dir.join("format"))?;
    File::open(dir)?.sync_all()
}

/// Removes what a process that did not end well left unverified. To be called by the owner of the lock only.
pub(super) fn empty_drafts(dir: &Path) -> io::Result<()> {
    for draft in fs::read_dir(dir.join("drafts"))? {
        let draft = draft?;
        match draft.file_type()?.is_dir() {
            true => fs::remove_dir_all(draft.path())?,
            false => fs::remove_file(draft.path())?,
        }
    }
    Ok(())
}

/// Turns a directory of the layout before into one of this: tarballs stay, and the rest goes.
fn upgrade(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir.join("drafts"))?;
    let missing_is_fine = |outcome: io::Result<()>| match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    missing_is_fine(fs::rename(dir.join("documents"), dir.join("drafts/documents")))?;
    missing_is_fine(fs::rename(dir.join("state.redb"), dir.join("drafts/state")))?;
    fs::write(dir.join("format"), format!("{MARK}{VERSION}\n"))
}

/// A file system of its own has a `lost+found`, and is empty all the same.
fn is_empty(dir: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        // The other is what a start leaves that is cut short.
        if !["lost+found", UNMARKED].iter().any(|known| name == *known) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Which layout it is.
fn check(dir: &Path, format: &str) -> Result<u32, OpenError> {
    match format.strip_prefix(MARK).and_then(|version| version.trim().parse::<u32>().ok()) {
        Some(version @ BEFORE..=VERSION) => Ok(version),
        Some(version) => Err(OpenError::Newer(dir.into(), version)),
        None => Err(OpenError::NotOurs(dir.into())),
    }
}
