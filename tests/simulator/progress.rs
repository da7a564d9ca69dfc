//! What is going on, for whoever waits: a line for each step, with the time since the start.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Says what is going on.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    start: Instant,
    /// What every line begins with.
    subject: String,
    /// What was measured under this subject.
    measured: Arc<Mutex<Vec<String>>>,
}

impl Progress {
    /// The time counts from now.
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), subject: String::new(), measured: Arc::default() }
    }

    /// The same for one scenario.
    pub(crate) fn of(&self, number: u8) -> Self {
        Self { start: self.start, subject: format!("scenario {number}: "), measured: Arc::default() }
    }

    /// Says what is done now.
    #[expect(clippy::print_stdout, reason = "for whoever waits")]
    pub(crate) fn step(&self, text: &str) {
        println!("[{:6.1} s] {}{text}", self.start.elapsed().as_secs_f64(), self.subject);
    }

    /// Says what was measured by the step that was said last, and keeps it for whom the scenario's figures do not reach.
    pub(crate) fn measured(&self, text: &str) {
        self.step(text);
        self.measured.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
    }

    /// All that was measured so far.
    pub(crate) fn so_far(&self) -> Vec<String> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Since the start.
    pub(crate) fn start(&self) -> Instant {
        self.start
    }
}
