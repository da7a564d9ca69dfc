//! A program that is waited for, and what it said.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::runtime;

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a program said and how it ended.
#[derive(Debug, Clone)]
pub struct Said {
    /// Whether it exited with 0.
    pub success: bool,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
    command: String,
}

/// Runs a program to its end, where the calling thread is.
///
/// # Panics
/// When there is no such program, or it takes more than a minute: then it is killed.
pub(crate) fn finish(mut command: Command) -> Said {
    command.stdin(Stdio::null());
    let said = format!("{command:?}");
    let mut command = tokio::process::Command::from(command);
    let running = async { tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output()).await };
    let ended = runtime::block_on(running);
    let output = ended.unwrap_or_else(|_| panic!("{said}: not done within {PATIENCE:?}"));
    let output = output.unwrap_or_else(|error| panic!("{said}: {error}; run tests/install"));
    Said {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        command: said,
    }
}

impl Said {
    /// This, when the program exited with 0.
    ///
    /// # Panics
    /// When it did not; the message holds all that it said.
    pub fn expect_success(self) -> Self {
        let Self { success, stdout, stderr, command } = &self;
        assert!(success, "{command} failed:\n{stdout}{stderr}");
        self
    }
}
