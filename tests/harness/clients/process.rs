//! Runs one program to its end, or to the end of its time: then its whole process group is killed.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;

/// How much of the output is kept: its end, where the error is.
const KEPT: usize = 64 * 1024;

/// How a program ended.
pub(super) struct Ended {
    pub(super) success: bool,
    pub(super) duration: Duration,
    pub(super) output: String,
}

/// Runs `command` with both of its outputs in the file `log`. Nothing that it started outlives this call.
pub(super) async fn run(mut command: Command, log: &Path, limit: Duration) -> Ended {
    let stdout = File::create(log).expect("a file for the output");
    let stderr = stdout.try_clone().expect("a second handle of the output");
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {:?}: {error}", command.as_std().get_program()));
    let group = Group(child.id().expect("it was not waited for yet"));
    let status = tokio::time::timeout(limit, child.wait()).await;
    drop(group);
    let duration = started.elapsed();
    let mut output = tail(log);
    let success = match status {
        Ok(status) => status.expect("the system tells how a child ended").success(),
        Err(_) => {
            output.push_str(&format!("\n(killed: not done within {limit:?})"));
            false
        }
    };
    Ended { success, duration, output }
}

/// A process group that does not outlive this value, whichever way the test ends.
struct Group(u32);

impl Drop for Group {
    fn drop(&mut self) {
        if let Ok(leader) = i32::try_from(self.0) {
            // Nobody is left to be killed after an ordinary exit.
            let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}

fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let start = bytes.len().saturating_sub(KEPT);
    String::from_utf8_lossy(&bytes[start..]).into_owned()
}
