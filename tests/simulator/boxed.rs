//! Promise: whatever ends the simulator, nothing of it is left: no process, however it was started, and no folder.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio, exit};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::enclosure;
use crate::simulator::Ground;
use crate::simulator::options::Options;

/// Makes a simulator of this program, which runs itself again, and says what becomes of it ...
const KIND: &str = "OPEN_REGISTRY_BOXED";
/// ... where it says that it has begun, which also marks what it starts.
const MARK: &str = "OPEN_REGISTRY_BOXED_MARK";
/// What this starts, with the mark for its argument, loses its parent, has a group and a session of its own, and would last.
const LASTING: &str = "setsid sh -c 'while :; do sleep 1; done' \"$1\" & echo > \"$1\"";
/// How long it may take to begin, or to end.
const PATIENCE: Duration = Duration::from_secs(40);

const RECORDS: &str = "records";
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
    if let Ok(kind) = env::var(KIND) {
        let project = Path::new(&env::var(MARK).unwrap()).with_file_name("package.json");
        let packages = (kind != RECORDS).then_some(1);
        let options = Options { packages, project, loopback, ..Options::default() };
        let code = enclosure::run(&options, &again, play);
        exit(i32::from(code != ExitCode::SUCCESS));
    }
    let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
    // While it records, nobody is there yet who would see that it was killed.
    let killed = [(PLAYS, Signal::SIGKILL)];
    let ends = signals.into_iter().flat_map(|signal| [(RECORDS, signal), (PLAYS, signal)]);
    for (kind, signal) in ends.chain(killed) {
        let mut run = Run::start(&again, kind);
        run.until("it has not begun", |run| run.mark().exists());
        assert!(run.has_left_something(), "what it plays is not seen");
        kill(Pid::from_raw(run.simulator.id().try_into().unwrap()), signal).unwrap();
        assert!(!run.end().success(), "{kind}: {signal} is no pass");
    }
    for (kind, passes) in [(PASSES, true), (FAILS, false), (BREAKS, false)] {
        let status = Run::start(&again, kind).end();
        assert_eq!(status.success(), passes, "{kind}: {status}");
    }
}

/// What is played in the box.
fn play(_: &Options, _: Ground) -> Result<bool, String> {
    let mark = env::var(MARK).unwrap();
    tempfile::NamedTempFile::new().unwrap().keep().unwrap();
    let started = Command::new("sh").args(["-c", LASTING, "sh", &mark]).status().unwrap();
    assert!(started.success());
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
        fs::write(folder.path().join("package.json"), r#"{"dependencies": {"left": "1.0.0"}}"#).unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(again).env(KIND, kind).env(MARK, folder.path().join("mark"));
        command.env("TMPDIR", folder.path().join("temporary")).env("OPEN_REGISTRY_BIN", harness::binary());
        if kind == RECORDS {
            command.env("PATH", Self::with_slow_node(folder.path()));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { simulator: command.spawn().unwrap(), folder }
    }

    /// What tests/simulator/record runs with: it takes its time.
    fn with_slow_node(folder: &Path) -> OsString {
        let programs = folder.join("programs");
        fs::create_dir(&programs).unwrap();
        let script = format!("#!/bin/sh\nset -- \"${MARK}\"\n{LASTING}\nsleep 60\n");
        fs::write(programs.join("node"), script).unwrap();
        fs::set_permissions(programs.join("node"), fs::Permissions::from_mode(0o755)).unwrap();
        let others = env::var_os("PATH").unwrap_or_default();
        env::join_paths(std::iter::once(programs).chain(env::split_paths(&others))).unwrap()
    }

    fn mark(&self) -> std::path::PathBuf {
        self.folder.path().join("mark")
    }

    /// How it has ended, once nothing is left.
    fn end(&mut self) -> ExitStatus {
        self.until("it does not end", |run| run.simulator.try_wait().unwrap().is_some());
        self.until("something is left", |run| !run.has_left_something());
        self.simulator.wait().unwrap()
    }

    /// A process that it started, or a file.
    fn has_left_something(&self) -> bool {
        let files = fs::read_dir(self.folder.path().join("temporary")).unwrap().count();
        files > 0 || !self.started().is_empty()
    }

    /// What was started in it and still runs.
    fn started(&self) -> Vec<Pid> {
        let mark = self.mark();
        let is_marked = |process: &Path| {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|argument| argument == mark.as_os_str().as_encoded_bytes())
        };
        let all = fs::read_dir("/proc").unwrap().flatten().map(|process| process.path());
        let ids = all.filter(|process| is_marked(process));
        let ids = ids.filter_map(|process| process.file_name()?.to_str()?.parse().ok());
        ids.map(Pid::from_raw).collect()
    }

    fn until(&mut self, otherwise: &str, is_so: impl Fn(&mut Self) -> bool) {
        let started = Instant::now();
        while !is_so(self) {
            assert!(started.elapsed() < PATIENCE, "{otherwise}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Run {
    /// Also when the test has failed.
    fn drop(&mut self) {
        // It may have ended already, and so may they.
        let _ = self.simulator.kill();
        let _ = self.simulator.wait();
        for process in self.started() {
            let _ = kill(process, Signal::SIGKILL);
        }
    }
}
