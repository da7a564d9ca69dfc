//! What is going on, for whoever waits: a line for each step, with the time since the start.

use std::time::Instant;

/// Says what is going on.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    start: Instant,
    /// What every line begins with.
    subject: String,
}

impl Progress {
    /// The time counts from now.
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), subject: String::new() }
    }

    /// The same for one scenario.
    pub(crate) fn of(&self, number: u8) -> Self {
        Self { start: self.start, subject: format!("scenario {number}: ") }
    }

    /// Says what is done now.
    #[expect(clippy::print_stdout, reason = "for whoever waits")]
    pub(crate) fn step(&self, text: &str) {
        println!("[{:6.1} s] {}{text}", self.start.elapsed().as_secs_f64(), self.subject);
    }

    /// Since the start.
    pub(crate) fn start(&self) -> Instant {
        self.start
    }
}
