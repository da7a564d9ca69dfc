//! Promise: whatever ends the simulator, nothing of it is left: no process, however it was started, and no folder.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio, exit};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::enclosure;
use crate::simulator::Ground;
use crate::simulator::options::Options;

/// Says to this program, which runs itself again, that it is a simulator: and what becomes of it ...
const KIND: &str = "OPEN_REGISTRY_BOXED";
/// ... where it says that it has begun, which also marks what it starts.
const MARK: &str = "OPEN_REGISTRY_BOXED_MARK";
/// How long it may take to begin, or to end.
const PATIENCE: Duration = Duration::from_secs(40);

const PLAYS: &str = "plays";
const PASSES: &str = "passes";
const FAILS: &str = "fails";
const BREAKS: &str = "breaks";

#[test]
fn nothing_is_left_however_it_ends_in_namespaces() {
    nothing_is_left("nothing_is_left_however_it_ends_in_namespaces", false);
}

#[test]
fn nothing_is_left_however_it_ends_on_loopback() {
    nothing_is_left("nothing_is_left_however_it_ends_on_loopback", true);
}

fn nothing_is_left(test: &str, loopback: bool) {
    let again = ["--exact", &format!("boxed::{test}"), "--nocapture"].map(OsString::from);
    if env::var_os(KIND).is_some() {
        let options = Options { packages: Some(1), loopback, ..Options::default() };
        let code = enclosure::run(&options, &again, play);
        exit(i32::from(code != ExitCode::SUCCESS));
    }
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL] {
        let mut run = Run::start(&again, PLAYS);
        run.until("it has not begun", |run| run.mark().exists());
        assert!(run.has_left_something(), "what it plays is not seen");
        kill(Pid::from_raw(run.simulator.id().try_into().unwrap()), signal).unwrap();
        assert!(!run.end().success(), "{signal} is no pass");
    }
    for (kind, passes) in [(PASSES, true), (FAILS, false), (BREAKS, false)] {
        let status = Run::start(&again, kind).end();
        assert_eq!(status.success(), passes, "{kind}: {status}");
    }
}

/// What is played in the box.
fn play(_: &Options, _: Ground) -> Result<bool, String> {
    let mark = env::var(MARK).unwrap();
    // It loses its parent, has a group and a session of its own, and would last.
    let lasting = "setsid sh -c 'while :; do sleep 600; done' \"$1\" & echo > \"$1\"";
    let started = Command::new("sh").args(["-c", lasting, "sh", &mark]).status().unwrap();
    assert!(started.success());
    tempfile::NamedTempFile::new().unwrap().keep().unwrap();
    match env::var(KIND).unwrap().as_str() {
        PASSES => Ok(true),
        FAILS => Ok(false),
        BREAKS => panic!("as it is to be"),
        _ => loop {
            thread::park();
        },
    }
}

/// A simulator of which nothing is to be left.
struct Run {
    simulator: Child,
    /// Of whatever it writes.
    folder: tempfile::TempDir,
}

impl Run {
    fn start(again: &[OsString], kind: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("temporary")).unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(again).env(KIND, kind).env(MARK, folder.path().join("mark"));
        command.env("TMPDIR", folder.path().join("temporary"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { simulator: command.spawn().unwrap(), folder }
    }

    fn mark(&self) -> std::path::PathBuf {
        self.folder.path().join("mark")
    }

    /// How it has ended, once nothing is left.
    fn end(mut self) -> ExitStatus {
        self.until("it does not end", |run| run.simulator.try_wait().unwrap().is_some());
        self.until("something is left", |run| !run.has_left_something());
        self.simulator.wait().unwrap()
    }

    /// A process that it started, or a file.
    fn has_left_something(&self) -> bool {
        let mark = self.mark();
        let is_marked = |process: &Path| {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|argument| argument == mark.as_os_str().as_encoded_bytes())
        };
        let files = fs::read_dir(self.folder.path().join("temporary")).unwrap().count();
        files > 0 || fs::read_dir("/proc").unwrap().flatten().any(|process| is_marked(&process.path()))
    }

    fn until(&mut self, otherwise: &str, is_so: impl Fn(&mut Self) -> bool) {
        let started = Instant::now();
        while !is_so(self) {
            assert!(started.elapsed() < PATIENCE, "{otherwise}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}
