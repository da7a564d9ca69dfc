//! The root file system of containers: the same Debian as this machine's, made once and kept among the builds.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::geteuid;

/// To be raised when what is in it changes.
const EDITION: u32 = 1;
/// The certificates are what upstream is checked with; a gateway does not start without any.
const PACKAGES: &str = "systemd,systemd-sysv,systemd-resolved,dbus,iproute2,ca-certificates";

/// The folder, or why there can be none.
pub(super) fn prepare() -> Result<PathBuf, String> {
    if !geteuid().is_root() {
        return Err("only root can boot a container".to_owned());
    }
    let folder = target()?.join("containers");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let release = release()?;
    let root = folder.join(format!("{release}-{EDITION}"));
    // Tests that start together make it once; the lock ends with the file.
    let lock = File::create(folder.join("lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    if !root.exists() {
        make(&release, &root)?;
    }
    Ok(root)
}

fn make(release: &str, root: &Path) -> Result<(), String> {
    let part = root.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part).map_err(|error| format!("{}: {error}", part.display()))?;
    }
    let mut debootstrap = Command::new("debootstrap");
    debootstrap
        .args(["--variant=minbase", &format!("--include={PACKAGES}"), release])
        .arg(&part)
        .arg(mirror()?);
    let output = debootstrap.output().map_err(|error| format!("debootstrap: {error}; run tests/install"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        let last = said.lines().last().unwrap_or_default();
        return Err(format!("debootstrap cannot make a root file system: {last}"));
    }
    // Each container is a machine of its own.
    fs::write(part.join("etc/machine-id"), "").map_err(|error| error.to_string())?;
    fs::rename(&part, root).map_err(|error| error.to_string())
}

/// Where this test was built: `target/debug/deps/<test>`.
fn target() -> Result<PathBuf, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    program.ancestors().nth(3).map(Path::to_owned).ok_or_else(|| "no folder for builds".to_owned())
}

/// `bookworm`.
fn release() -> Result<String, String> {
    let about = fs::read_to_string("/etc/os-release").map_err(|error| format!("/etc/os-release: {error}"))?;
    let line = about.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    line.map(str::to_owned).ok_or_else(|| "this machine's system is not a Debian".to_owned())
}

/// Where this machine has its own packages from.
fn mirror() -> Result<String, String> {
    let mut apt = Command::new("apt-get");
    apt.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]);
    let output = apt.output().map_err(|error| format!("apt-get: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.lines().next().map(str::to_owned).ok_or_else(|| "apt knows no mirror; run apt-get update".to_owned())
}
