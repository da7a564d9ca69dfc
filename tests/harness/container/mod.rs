//! A machine that is booted: systemd and its units, with a network of its own, by systemd-nspawn.
//!
//! All containers share one root file system, which is read only to them: what they change is in memory, and
//! gone with them.

mod groups;
mod root;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use self::groups::Groups;
use crate::place::Place;

/// Enters control groups, and becomes what stands behind the two dashes.
const ENTER: &str = r#"while [ "$1" != -- ]; do echo $$ > "$1"; shift; done; shift; exec "$@""#;
/// From starting nspawn to the end of booting, which takes two seconds on an idle machine.
const BOOT: Duration = Duration::from_secs(90);
/// How long shutting down may take.
const SHUTDOWN: Duration = Duration::from_secs(30);
/// Between two looks at what cannot be waited for.
const LOOK: Duration = Duration::from_millis(50);

/// A running container; it is shut down when it is dropped.
#[derive(Debug)]
pub struct Container {
    nspawn: Child,
    /// Its process 1, by our number.
    leader: i32,
    place: Place,
    _groups: Groups,
}

impl Container {
    /// Boots one. `Err`: why that cannot be done on this machine, for the test to print what it leaves out.
    ///
    /// # Panics
    /// When it starts, but is not up in time.
    pub fn boot() -> Result<Self, String> {
        let root = root::prepare()?;
        // Should this thread die before it can shut the container down, nspawn hears of it and does so.
        let groups = Groups::new();
        let mut command = Command::new("sh");
        command.args(["-c", ENTER, "sh"]).args(groups.doors());
        command.args(["--", "setpriv", "--pdeathsig", "TERM", "systemd-nspawn", "--quiet"]);
        command.args(["--register=no", "--keep-unit", "--private-network", "--boot"]);
        command.args(["--volatile=overlay", "--console=pipe", "--directory"]).arg(root);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let nspawn = command.spawn().map_err(|error| format!("systemd-nspawn: {error}"))?;
        Self::wait_for(nspawn, groups)
    }

    fn wait_for(mut nspawn: Child, groups: Groups) -> Result<Self, String> {
        let start = Instant::now();
        while start.elapsed() < BOOT {
            if nspawn.try_wait().is_ok_and(|ended| ended.is_some()) {
                let said = nspawn.wait_with_output().map(|output| text(&output.stderr)).unwrap_or_default();
                return Err(format!("systemd-nspawn does not work here: {said}"));
            }
            if let Some(leader) = child_of(nspawn.id()).filter(|leader| is_up(*leader)) {
                let place = Place::with_network_of(leader).map_err(|error| error.to_string())?;
                return Ok(Self { nspawn, leader, place, _groups: groups });
            }
            thread::sleep(LOOK);
        }
        if let Some(leader) = child_of(nspawn.id()) {
            shut_down(&mut nspawn, leader);
        }
        panic!("the container is not up after {BOOT:?}");
    }

    /// Its network; the files are those of this machine.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its root directory, as seen from outside.
    pub fn root(&self) -> PathBuf {
        format!("/proc/{}/root", self.leader).into()
    }

    /// Writes a file in it, and the folders that lead to it.
    ///
    /// # Panics
    /// When that cannot be done.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path.trim_start_matches('/'));
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Runs a program in it, and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.try_run(arguments);
        let said = text(&output.stdout);
        assert!(output.status.success(), "{}: {said}{}", arguments.join(" "), text(&output.stderr));
        said
    }

    /// Runs a program in it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn try_run(&self, arguments: &[&str]) -> Output {
        enter(self.leader, arguments).output().expect("nsenter (util-linux)")
    }

    /// Runs systemctl in it.
    ///
    /// # Panics
    /// When it fails.
    pub fn systemctl(&self, arguments: &[&str]) -> String {
        self.run(&[&["systemctl"], arguments].concat())
    }

    /// A property of a unit.
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.systemctl(&["show", "--property", name, "--value", unit]).trim().to_owned()
    }

    /// Waits until `wanted` is true of it; false when it was not in time.
    pub fn wait_until(&self, wanted: impl Fn(&Self) -> bool, within: Duration) -> bool {
        let start = Instant::now();
        while start.elapsed() < within {
            if wanted(self) {
                return true;
            }
            thread::sleep(LOOK);
        }
        false
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if thread::panicking() {
            let journal = self.try_run(&["journalctl", "--no-pager", "--output=cat", "--lines=60"]);
            say(&text(&journal.stdout));
        }
        shut_down(&mut self.nspawn, self.leader);
    }
}

/// systemd's own signal for it; whoever kills nspawn instead leaves the container running.
fn shut_down(nspawn: &mut Child, leader: i32) {
    signal("RTMIN+4", leader);
    let start = Instant::now();
    while nspawn.try_wait().is_ok_and(|ended| ended.is_none()) {
        if start.elapsed() > SHUTDOWN {
            // The end of its process 1 is the end of all of them.
            signal("KILL", leader);
            let _ = nspawn.wait();
            return;
        }
        thread::sleep(LOOK);
    }
}

fn signal(name: &str, process: i32) {
    // It may have ended already.
    let _ = Command::new("bash").arg("-c").arg(format!("kill -s {name} {process}")).output();
}

fn child_of(process: u32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

fn is_up(leader: i32) -> bool {
    let asked = enter(leader, &["systemctl", "is-system-running"]).output();
    asked.is_ok_and(|output| matches!(text(&output.stdout).trim(), "running" | "degraded"))
}

fn enter(leader: i32, arguments: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--target", &leader.to_string(), "--all"]).args(arguments).stdin(Stdio::null());
    command.env_clear().env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[expect(clippy::print_stderr, reason = "what the container said, beside the test's own panic")]
fn say(words: &str) {
    eprintln!("{words}");
}
