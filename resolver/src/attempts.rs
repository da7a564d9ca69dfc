//! How often a download is tried, and how the next attempt begins.

use core::time::Duration;

/// Attempts of any kind: a source that dies every few bytes ends here.
const ATTEMPTS: u32 = 24;
/// Attempts in a row that brought nothing.
const BARREN: u32 = 3;
/// Whole bodies that hashed to something else.
const WRONG: u32 = 3;
/// Pauses before the attempt that follows one, two, three barren ones.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(700), Duration::from_secs(2)];
/// The longest pause that a source is granted with `Retry-After`.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How an attempt ended without the whole body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setback {
    /// It broke off, stalled, or never began.
    Broken {
        /// Whether it brought at least one byte.
        progress: bool,
        /// How long the source wants to be left alone.
        pause: Option<Duration>,
    },
    /// The bytes were not the ones expected.
    Wrong,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Go on from where it broke off, after a pause.
    Resume(Duration),
    /// Throw away what has come, and begin again.
    Restart(Duration),
    /// There is no source that can finish it.
    GiveUp,
}

/// The attempts made so far for one download.
#[derive(Debug, Default, Clone)]
pub struct Attempts {
    made: u32,
    barren: u32,
    wrong: u32,
}

impl Attempts {
    /// Learns how an attempt ended.
    pub fn after(&mut self, setback: Setback) -> Next {
        self.made += 1;
        match setback {
            Setback::Wrong => self.wrong += 1,
            Setback::Broken { progress: true, .. } => self.barren = 0,
            Setback::Broken { progress: false, .. } => self.barren += 1,
        }
        if self.made >= ATTEMPTS || self.barren >= BARREN || self.wrong >= WRONG {
            return Next::GiveUp;
        }
        match setback {
            Setback::Wrong => Next::Restart(PAUSES[0]),
            Setback::Broken { progress: true, .. } => Next::Resume(Duration::ZERO),
            Setback::Broken { progress: false, pause } => {
                let usual = PAUSES[(self.barren as usize - 1).min(PAUSES.len() - 1)];
                Next::Resume(pause.unwrap_or(usual).clamp(usual, LONGEST_PAUSE))
            }
        }
    }

    /// Whether none has ended yet.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.made == 0
    }

    /// Barren attempts in a row: each deserves more time than the one before.
    #[must_use]
    pub fn barren(&self) -> u32 {
        self.barren
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn broken(progress: bool) -> Setback {
        Setback::Broken { progress, pause: None }
    }

    #[test]
    fn a_body_that_breaks_off_is_resumed_at_once_and_a_silent_source_is_given_time() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.after(broken(true)), Next::Resume(Duration::ZERO));
        assert_eq!(attempts.after(broken(false)), Next::Resume(PAUSES[0]));
        assert_eq!(attempts.after(broken(false)), Next::Resume(PAUSES[1]));
        assert_eq!(attempts.after(broken(false)), Next::GiveUp);
    }

    #[test]
    fn wrong_bytes_are_thrown_away_and_tried_again_twice() {
        let mut attempts = Attempts::default();
        assert!(matches!(attempts.after(Setback::Wrong), Next::Restart(_)));
        assert!(matches!(attempts.after(Setback::Wrong), Next::Restart(_)));
        assert_eq!(attempts.after(Setback::Wrong), Next::GiveUp);
    }

    proptest! {
        #[test]
        fn every_download_ends(setbacks in proptest::collection::vec(0u8..3, 30)) {
            let mut attempts = Attempts::default();
            let ended = setbacks.into_iter().any(|kind| {
                let setback = if kind == 2 { Setback::Wrong } else { broken(kind == 1) };
                attempts.after(setback) == Next::GiveUp
            });
            prop_assert!(ended);
        }
    }
}
