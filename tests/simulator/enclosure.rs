//! The box: the program runs itself again in namespaces of its own, with a folder of its own for all that is temporary.
//! When it ends, however it ends, what it has started dies with it, and the folder is gone. (Killed outright before the box is
//! there, while a project is recorded, it leaves that to end by itself.)
//!
//! ```text
//! simulator                  waits; heeds Ctrl-C; then kills, and removes the folder
//!   unshare                  network, mounts and processes of its own
//!     simulator              process 1 in there: with it everything ends. It ends when its standard input does
//!       gateways, clients ...
//! ```
//!
//! Without namespaces the inner program is a child like any other, and whatever descends from it is killed at the end: what has lost
//! its parent is given to these two, and not to the machine's process 1.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::simulator::options::Options;
use crate::simulator::progress::Progress;
use crate::simulator::{Ground, project};

/// Set inside only: why it is on loopback, or nothing ...
const INSIDE: &str = "OPEN_REGISTRY_SIMULATOR";
/// ... the project's recording, where the report is to be written ...
const PROJECT: &str = "OPEN_REGISTRY_SIMULATOR_PROJECT";
const REPORT: &str = "OPEN_REGISTRY_SIMULATOR_REPORT";
/// What it runs in there, which namespaces alone do not bring.
const NEEDED: [&str; 7] = ["ip", "tc", "nft", "dnsmasq", "named", "dnssec-signzone", "dig"];
/// What the name of the folder for all that is temporary begins with.
const FOLDER: &str = "simulator-";
/// What has to be possible in namespaces: a LAN's switch, a link's bandwidth, a router that drops.
const TRIAL: &str =
    "ip link add trial type bridge && tc qdisc add dev lo root handle 1: htb && nft add table inet trial";
/// How long what is killed may take to go.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks whether it has.
const PAUSE: Duration = Duration::from_millis(20);
/// How long inside is waited for beyond its own time, to write its report.
const LEFT_OVER: Duration = Duration::from_secs(60);

/// Runs `body` inside of a box, and says how the program is to end. With the arguments `again` this program comes to the same call.
pub(crate) fn run(
    options: &Options,
    again: &[OsString],
    body: fn(&Options, Ground) -> Result<bool, String>,
) -> ExitCode {
    set_child_subreaper(true).expect("Linux has had this since 3.4 (prctl(2))");
    let Some(why) = env::var_os(INSIDE) else { return outside(options, again) };
    thread::spawn(end_with_outside);
    let handed =
        |name, otherwise: &Path| env::var_os(name).map_or_else(|| otherwise.to_owned(), PathBuf::from);
    let options = Options {
        project: handed(PROJECT, &options.project),
        report: handed(REPORT, &options.report),
        ..options.clone()
    };
    let ground = match why.to_str() {
        Some("") | None => {
            harness::network::ip(&["link", "set", "lo", "up"]);
            Ground::Namespaces
        }
        Some(why) => Ground::Loopback(why.to_owned()),
    };
    let passed = body(&options, ground).unwrap_or_else(|why| {
        complain(&why);
        false
    });
    leave(i32::from(!passed));
}

/// Ends, and with it whatever still runs here; in namespaces that is so by itself.
fn leave(code: i32) -> ! {
    kill_descendants();
    std::process::exit(code);
}

/// Kills whatever this process has started, and what that has, until nothing of it runs any more.
fn kill_descendants() {
    let started = Instant::now();
    // Who changes its parent at the moment of a look may not be seen by it.
    let mut looks_in_vain = 0;
    while looks_in_vain < 2 && started.elapsed() < PATIENCE {
        let all = descendants(std::process::id());
        looks_in_vain = if all.is_empty() { looks_in_vain + 1 } else { 0 };
        for process in all {
            // It may have ended already.
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
        thread::sleep(PAUSE);
    }
}

/// The other end of the standard input is held by the program outside.
fn end_with_outside() {
    let mut nothing = Vec::new();
    // An error is an end as well.
    let _ = std::io::stdin().read_to_end(&mut nothing);
    kill_descendants();
    let folder = env::temp_dir();
    // Whoever runs this without the program outside has given no folder.
    if folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(FOLDER)) {
        remove(&folder);
    }
    leave(1);
}

fn outside(options: &Options, again: &[OsString]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        // Heeded before there is anything that could be left.
        let told = told_to_end();
        let folder = tempfile::Builder::new().prefix(FOLDER).tempdir().expect("a temporary folder");
        let code = tokio::select! {
            code = watch(options, again, folder.path()) => code,
            why = told => {
                complain(&format!("{why}: nothing is left behind"));
                ExitCode::FAILURE
            }
        };
        kill_descendants();
        remove(folder.path());
        code
    })
}

/// What tells this program to end, from the call on.
fn told_to_end() -> impl Future<Output = &'static str> {
    let heeded = |kind| signal(kind).expect("a signal to wait for");
    let [mut interrupted, mut terminated, mut hung_up] =
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(heeded);
    async move {
        tokio::select! {
            _ = interrupted.recv() => "interrupted",
            _ = terminated.recv() => "terminated",
            _ = hung_up.recv() => "hung up",
        }
    }
}

/// Runs this program inside, until it ends or its time is over.
async fn watch(options: &Options, again: &[OsString], folder: &Path) -> ExitCode {
    let (asked, room) = (options.clone(), folder.to_owned());
    let prepared = tokio::task::spawn_blocking(move || prepare(&asked, &room)).await;
    let (program, project, why) = match prepared.expect("a program, or what is wrong with it") {
        Ok(prepared) => prepared,
        Err(complaint) => {
            complain(&complaint);
            return ExitCode::FAILURE;
        }
    };
    let mut command = inner(why.as_deref());
    command.args(again).env(REPORT, absolute(&options.report)).env(PROJECT, absolute(&project));
    command.env(INSIDE, why.unwrap_or_default()).env("TMPDIR", folder);
    command.env("OPEN_REGISTRY_BIN", absolute(&program)).stdin(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("this program starts again");
    let _held = child.stdin.take();
    match timeout(options.time + LEFT_OVER, child.wait()).await {
        Ok(status) if status.as_ref().is_ok_and(std::process::ExitStatus::success) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(_) => {
            complain("the time is over: nothing is left behind");
            ExitCode::FAILURE
        }
    }
}

/// What has to be there before there is no network any more: the program, the project, and why there are no namespaces, if so.
/// Takes minutes where the program has to be built.
fn prepare(options: &Options, folder: &Path) -> Result<(PathBuf, PathBuf, Option<String>), String> {
    Progress::new().step("open-registry is built first, unless it is there: that may take minutes");
    let program = harness::binary();
    let why = if options.loopback { Some("it was asked for".to_owned()) } else { missing() };
    Ok((program, project::recording(options, folder)?, why))
}

/// The command that runs this program again, in namespaces unless there are none.
fn inner(why_not: Option<&str>) -> Command {
    let this = env::current_exe().expect("this program's file");
    if why_not.is_some() {
        let mut command = Command::new(this);
        // Ctrl-C is for who waits.
        command.process_group(0);
        return command;
    }
    let mut command = Command::new("unshare");
    if !geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]).arg(this);
    command.process_group(0);
    command
}

/// Why there can be no namespaces, if so.
fn missing() -> Option<String> {
    let there = |program: &&&str| {
        let folders = env::var_os("PATH").unwrap_or_default();
        let all = env::split_paths(&folders).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
        all.map(|folder| folder.join(program)).any(|file| file.exists())
    };
    if let Some(program) = NEEDED.iter().find(|program| !there(program)) {
        return Some(format!("{program} is not installed (tests/install)"));
    }
    let mut trial = std::process::Command::new("unshare");
    if !geteuid().is_root() {
        trial.arg("--map-root-user");
    }
    trial.args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", TRIAL]);
    let trial = trial.output();
    match trial {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    }
}

/// All that descend from a process and still run.
fn descendants(of: u32) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let process = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(process) = process.and_then(Process::read) {
            children.entry(process.parent).or_default().push(process);
        }
    }
    let of = i32::try_from(of).ok();
    let mut found: Vec<Process> = of.and_then(|of| children.remove(&of)).unwrap_or_default();
    let mut next = 0;
    while let Some(process) = found.get(next) {
        found.extend(children.remove(&process.id).unwrap_or_default());
        next += 1;
    }
    // What has ended leads to those whose parent it was when they were looked at.
    found.into_iter().filter(|process| !process.has_ended).map(|process| process.id).collect()
}

struct Process {
    id: i32,
    parent: i32,
    /// It waits for its parent to hear of that.
    has_ended: bool,
}

impl Process {
    /// The first two fields after its name, which may hold spaces (proc_pid_stat(5)).
    fn read(id: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let mut fields = text.rsplit_once(')')?.1.split_whitespace();
        let has_ended = matches!(fields.next()?, "Z" | "X");
        Some(Self { id, parent: fields.next()?.parse().ok()?, has_ended })
    }
}

/// What is being killed may still write.
fn remove(folder: &Path) {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if fs::remove_dir_all(folder).is_ok() || !folder.exists() {
            return;
        }
        thread::sleep(PAUSE);
    }
    complain(&format!("{} is left: remove it", folder.display()));
}

fn absolute(path: impl AsRef<OsStr>) -> PathBuf {
    let path = Path::new(path.as_ref());
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Says what is wrong.
#[expect(clippy::print_stderr, reason = "for whoever typed the command")]
pub(crate) fn complain(text: &str) {
    eprintln!("simulator: {text}");
}
