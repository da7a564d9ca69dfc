//! Control groups of one container's own. In those of this process nspawn would put all containers into the same one, and what
//! one of them removes the others would miss.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

static MADE: AtomicU64 = AtomicU64::new(0);

/// A group in each hierarchy that systemd uses, as far as this machine lets one be made; gone when this is dropped.
#[derive(Debug)]
pub(super) struct Groups {
    folders: Vec<PathBuf>,
}

impl Groups {
    pub(super) fn new() -> Self {
        let name = format!("open-registry-tests-{}-{}", process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let folders = own.lines().filter_map(folder).map(|folder| folder.join(&name));
        Self { folders: folders.filter(|folder| fs::create_dir(folder).is_ok()).collect() }
    }

    /// The files that a process enters them by.
    pub(super) fn doors(&self) -> Vec<PathBuf> {
        self.folders.iter().map(|folder| folder.join("cgroup.procs")).collect()
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.folders.iter().for_each(|folder| remove(folder));
    }
}

/// Where a line of `/proc/self/cgroup` leads: `9:name=systemd:/some/group`, or `0::/some/group` of the second version.
fn folder(line: &str) -> Option<PathBuf> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (hierarchy, group) = (parts.next()?, parts.next()?);
    let mounts: &[&str] = match hierarchy {
        "name=systemd" => &["/sys/fs/cgroup/systemd"],
        "" => &["/sys/fs/cgroup/unified", "/sys/fs/cgroup"],
        _ => return None,
    };
    let mount = mounts.iter().map(Path::new).find(|mount| mount.join("cgroup.procs").exists())?;
    Some(mount.join(group.trim_start_matches('/')))
}

/// What is in a group first, for none that has others goes.
fn remove(folder: &Path) {
    let inner = fs::read_dir(folder).into_iter().flatten().flatten();
    inner.filter(|one| one.file_type().is_ok_and(|kind| kind.is_dir())).for_each(|one| remove(&one.path()));
    // One that is left harms nobody.
    let _ = fs::remove_dir(folder);
}
