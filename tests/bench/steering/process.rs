//! What a server and its children use of the CPU, and which core they may use.

use std::fs;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// The core of whoever asks.
pub(crate) const GENERATOR: usize = 1;
/// The core of whoever is asked: everybody has one, and answers with one thread.
pub(crate) const SERVER: usize = 0;

/// Leaves this thread one core; what it starts from now on has the same. With a single core in the machine, that.
pub(crate) fn pin_to(core: usize) {
    let mut set = CpuSet::new();
    set.set(core).expect("a small number");
    // A machine with one core has no other: all share it then.
    let _ = sched_setaffinity(Pid::from_raw(0), &set);
}

/// Seconds on a CPU of a process, its threads and its children, in user space and in the kernel (proc(5), `schedstat`).
pub(crate) fn cpu(pid: u32) -> f64 {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let spent = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        nanoseconds += spent.split(' ').next().and_then(|spent| spent.parse::<u64>().ok()).unwrap_or(0);
    }
    children(pid).into_iter().map(cpu).fold(nanoseconds as f64 / 1e9, |sum, child| sum + child)
}

/// The children of a process' first thread, which is the one that has them in all programs here.
fn children(pid: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}
