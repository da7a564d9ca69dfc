//! Programs in the background, and what they and their children use.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long one may take until it listens.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked for.
const BEAT: Duration = Duration::from_millis(50);

/// A program that is killed when this is dropped.
pub(crate) struct Program(Child);

impl Program {
    /// Starts it and waits until it listens there.
    pub(crate) fn start(mut command: Command, address: SocketAddr) -> Result<Self, String> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let said = format!("{command:?}");
        let mut program = Self(command.spawn().map_err(|error| format!("{said}: {error}"))?);
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if let Ok(Some(status)) = program.0.try_wait() {
                return Err(format!("{said} ended: {status}"));
            }
            if Instant::now() > end {
                return Err(format!("{said} does not listen at {address}"));
            }
            thread::sleep(BEAT);
        }
        Ok(program)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        for pid in tree(self.0.id()).into_iter().rev() {
            // It may have ended already.
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX)),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        let _ = self.0.wait();
    }
}

/// An address of loopback that is free now; whoever starts next may have it.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address")
}

/// Seconds of CPU that a process and its children have used, in user space and in the kernel.
pub(crate) fn cpu(pid: u32) -> f64 {
    let ticks: u64 = tree(pid).into_iter().filter_map(|pid| Some(stat(pid)?.1)).sum();
    // USER_HZ is 100 on every machine that Linux runs on.
    ticks as f64 / 100.0
}

/// Resident memory of a process in megabytes, now.
pub(crate) fn resident(pid: u32) -> f64 {
    status(pid, "VmRSS:")
}

/// The most that was resident at once since [`forget_peak`].
pub(crate) fn peak(pid: u32) -> f64 {
    status(pid, "VmHWM:")
}

/// Begins to look for the peak anew.
pub(crate) fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("one's own child can be watched");
}

fn status(pid: u32, key: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse().unwrap_or(f64::NAN);
    kibibytes * 1024.0 / 1e6
}

/// A process and all that descend from it.
fn tree(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some((pid, (parent, _))) = pid.and_then(|pid| Some((pid, stat(pid)?))) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.get(pid).into_iter().flatten().copied().collect::<Vec<_>>());
        next += 1;
    }
    found
}

/// Parent, and ticks of CPU (proc(5), `stat`; the name may hold spaces).
fn stat(pid: u32) -> Option<(u32, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some((fields.get(1)?.parse().ok()?, ticks))
}
