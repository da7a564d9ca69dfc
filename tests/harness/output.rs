//! A program in the background, and what it prints, line by line, while it runs.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The lines so far, of both streams, and whether there can be more.
#[derive(Debug, Default, Clone)]
pub(crate) struct Output(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    heard: Mutex<Heard>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) lines: Vec<String>,
    open: usize,
}

/// Starts a program and listens to both of its outputs.
pub(crate) fn launch(command: &mut Command, output: &Output) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    output.follow(child.stdout.take().expect("a pipe"));
    output.follow(child.stderr.take().expect("a pipe"));
    child
}

impl Heard {
    /// Whether the program has closed its streams: it has ended, or is about to.
    pub(crate) fn is_over(&self) -> bool {
        self.open == 0
    }
}

impl Output {
    /// Begins with the lines of an earlier run.
    pub(crate) fn after(earlier: &Self) -> Self {
        let output = Self::default();
        output.heard().lines = earlier.lines();
        output
    }

    /// Listens to one more stream.
    fn follow(&self, stream: impl Read + Send + 'static) {
        self.heard().open += 1;
        let output = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                output.change(|heard| heard.lines.push(line));
            }
            output.change(|heard| heard.open -= 1);
        });
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.heard().lines.clone()
    }

    /// Whether there can be no more lines.
    pub(crate) fn is_over(&self) -> bool {
        self.heard().is_over()
    }

    /// Waits until `enough` says so; false when it did not in time.
    pub(crate) fn wait_until(&self, enough: impl Fn(&Heard) -> bool, within: Duration) -> bool {
        let waited = self.0.changed.wait_timeout_while(self.heard(), within, |heard| !enough(heard));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn change(&self, change: impl FnOnce(&mut Heard)) {
        change(&mut self.heard());
        self.0.changed.notify_all();
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
