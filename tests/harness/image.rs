//! A disk of a test's own: an ext4 in a file, whose power can be cut.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// As large as a small disk, and sparse: nothing is full because of it.
const SIZE: u64 = 8 << 30;
/// How often a copy is begun again when something was written meanwhile: the kernel does so every five seconds.
const COPIES: usize = 100;

/// A file system in a file, mounted; it is unmounted when it is dropped.
#[derive(Debug)]
pub struct Image {
    file: PathBuf,
    mounted: PathBuf,
}

impl Image {
    /// A new ext4 in this folder, mounted there with these options: `data=writeback`.
    ///
    /// # Errors
    /// What is refused here, in the words of mkfs or mount.
    pub fn new(folder: &Path, options: &str) -> Result<Self, String> {
        let file = folder.join("disk-0");
        let made = fs::File::create(&file).and_then(|made| made.set_len(SIZE));
        made.map_err(|error| error.to_string())?;
        let mut mkfs = Command::new("mkfs.ext4");
        said(mkfs.args(["-q", "-F", "-J", "size=16"]).arg(&file))?;
        Self::mount(file, folder.join("mounted"), options)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mounted
    }

    /// The disk as it would be found after a power cut now, mounted instead of this one. What runs on it has to
    /// stand still, and to be gone before this is called: `stopped` is called between the two.
    ///
    /// # Errors
    /// When the copy cannot be mounted.
    ///
    /// # Panics
    /// When the file system cannot be copied, or is still in use.
    pub fn cut(self, options: &str, stopped: impl FnOnce()) -> Result<Self, String> {
        let (number, mounted) = (self.number() + 1, self.mounted.clone());
        let copy = self.file.with_file_name(format!("disk-{number}"));
        copy_at_once(&self.file, &copy);
        stopped();
        let old = self.file.clone();
        drop(self);
        fs::remove_file(old).expect("one's own file");
        Self::mount(copy, mounted, options)
    }

    fn number(&self) -> usize {
        let name = self.file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.trim_start_matches("disk-").parse().expect("the number of a disk")
    }

    /// The journal is replayed here, as at the next boot.
    fn mount(file: PathBuf, mounted: PathBuf, options: &str) -> Result<Self, String> {
        fs::create_dir_all(&mounted).map_err(|error| error.to_string())?;
        let options = format!("loop,noinit_itable,{options}");
        said(Command::new("mount").args(["-t", "ext4", "-o", &options]).arg(&file).arg(&mounted))?;
        Ok(Self { file, mounted })
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let unmounted = said(Command::new("umount").arg(&self.mounted));
        assert!(unmounted.is_ok() || std::thread::panicking(), "{unmounted:?}");
    }
}

/// A copy of one moment: what the kernel writes while it is made would mix two of them.
fn copy_at_once(file: &Path, copy: &Path) {
    let written = || {
        let metadata = fs::metadata(file).expect("one's own file");
        (metadata.mtime(), metadata.mtime_nsec(), metadata.ctime_nsec(), metadata.blocks())
    };
    for _ in 0..COPIES {
        let before = written();
        said(Command::new("cp").arg("--sparse=always").arg(file).arg(copy)).expect("room for a copy");
        if written() == before {
            return;
        }
    }
    panic!("{} is written to all the time", file.display());
}

fn said(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(words) }
}
