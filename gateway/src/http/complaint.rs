//! What goes wrong again and again, said once in a while with its number.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Often enough to be seen, and too seldom to fill a disk.
const INTERVAL: Duration = Duration::from_secs(60);

/// One kind of trouble.
#[derive(Debug, Default)]
pub(super) struct Complaint(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    said: Option<Instant>,
    times: u64,
}

impl Complaint {
    /// It has happened: how often since it was last said, when it is time to say it again.
    pub(super) fn is_due(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.times += 1;
        if state.said.is_some_and(|said| said.elapsed() < INTERVAL) {
            return None;
        }
        state.said = Some(Instant::now());
        Some(std::mem::take(&mut state.times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_happens_all_the_time_is_said_once_a_minute_with_its_number() {
        let complaint = Complaint::default();
        let mut said = Vec::new();
        for _ in 0..150 {
            said.extend(complaint.is_due());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(said, [1, 60, 60]);
    }
}
