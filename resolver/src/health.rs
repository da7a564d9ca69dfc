//! How a peer's address fares: probes and what clients' requests met make a state, and time makes it better or worse.
//!
//! ```text
//! Unknown --passed--> Up --failed--> Suspect --3 in a row, or 5 without 10 good ones between--> Down
//!    \--failed--> Down          <--passed--/                                                     |
//!                  Recovering (a tenth of its clients at first, all of them after a minute) <-----/ 3, 6, 12, 24 passed
//! any --"I am about to stop"--> Draining --passed--> Recovering
//! any --somebody else answers--> Down
//! ```
//!
//! The thresholds are those of gdnsd, made faster where a client on a LAN waits. Time is passed in, as the time since
//! the start.

use core::time::Duration;

/// Failures in a row that make an address count as down.
const FAILURES_IN_A_ROW: u8 = 3;
/// Failures that do so without [`SUCCESSES_THAT_CLEAR`] between two of them: an address that fails every other time.
const FAILURES_LEAKING: u8 = 5;
const SUCCESSES_THAT_CLEAR: u8 = 10;
/// Passed probes after which one that was down is used again; doubled for each time that it went down lately.
const PASSES_TO_RECOVER: u8 = 3;
const MOST_PASSES_TO_RECOVER: u8 = 24;
/// After so long, one time that it went down is forgotten.
const FORGIVEN_AFTER: Duration = Duration::from_secs(30 * 60);
/// The time in which one that has recovered gets all of its clients back.
const SLOW_START: Duration = Duration::from_secs(60);
const SLOW_START_FROM: f32 = 0.1;
/// How soon a suspect is looked at again, after the first failure and after the second.
const LOOK_AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
/// What a new report of load counts against those before it: reports come every 5 or 10 s, and count for 30.
const LOAD_SHARE: f32 = 0.25;
/// The mean time between two probes of a peer on the LAN, and of any other.
pub const LAN: Duration = Duration::from_secs(5);
/// See [`LAN`].
pub const FEDERATION: Duration = Duration::from_secs(10);
/// A peer that nobody was steered to for [`IDLE_AFTER`] is probed so many times less often.
pub const IDLE_FACTOR: u32 = 10;
/// See [`IDLE_FACTOR`].
pub const IDLE_AFTER: Duration = Duration::from_secs(60 * 60);

/// What an address is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As many clients as it takes.
    Up,
    /// It was down, and gets its clients back little by little.
    Recovering,
    /// It has just failed: for those who have no better.
    Suspect,
    /// It is about to stop.
    Draining,
    /// Nobody has looked yet.
    Unknown,
    /// Nobody is sent there.
    Down,
}

/// What was learned about an address.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// A probe: it proved who it is. Its load is between 0 and 1; it takes clients, or is about to stop.
    Passed {
        /// How busy it says it is.
        load: f32,
        /// It takes clients.
        accepting: bool,
    },
    /// A probe: no answer, or none that proves anything.
    Failed,
    /// A probe: somebody else answered, or somebody without the peer's key.
    Deceived,
    /// A client's request: nobody took the connection.
    Unreachable,
    /// A client's request: it answered that it cannot (5xx).
    Erred,
}

/// How one address fares.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    interval: Duration,
    state: State,
    since: Duration,
    /// It has proved once who it is.
    proven: bool,
    /// The last thing it said was that it is about to stop.
    leaving: bool,
    /// Failed in a row; passed in a row.
    failures: u8,
    passes: u8,
    /// Failures since there were [`SUCCESSES_THAT_CLEAR`] between two.
    leaking: u8,
    /// Times that it went down, and since when one less is counted.
    falls: u8,
    forgiven: Duration,
    load: f32,
}

/// What ranking has to know of an address.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// What it is good for.
    pub state: State,
    /// The part of its clients that it gets: 0 to 1.
    pub weight: f32,
    /// How busy it says it is: 0 to 1.
    pub load: f32,
    /// Seconds until this can change.
    pub changes_in_s: u16,
}

impl State {
    /// Clients can be sent there.
    #[must_use]
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Up | Self::Recovering | Self::Suspect)
    }

    /// One word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Recovering => "recovering",
            Self::Suspect => "suspect",
            Self::Draining => "draining",
            Self::Unknown => "unknown",
            Self::Down => "down",
        }
    }
}

impl Health {
    /// Of an address that nobody has looked at, to be probed about so often: [`LAN`] or [`FEDERATION`].
    #[must_use]
    pub fn new(interval: Duration, now: Duration) -> Self {
        Self {
            interval,
            state: State::Unknown,
            since: now,
            proven: false,
            leaving: false,
            failures: 0,
            passes: 0,
            leaking: 0,
            falls: 0,
            forgiven: now,
            load: 0.0,
        }
    }

    /// The same, to be probed about so often from now on.
    #[must_use]
    pub fn every(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// What it is good for now.
    #[must_use]
    pub fn state(&self, now: Duration) -> State {
        match self.state {
            State::Recovering if now.saturating_sub(self.since) >= SLOW_START => State::Up,
            state => state,
        }
    }

    /// Since when it has been what it is.
    #[must_use]
    pub fn since(&self) -> Duration {
        self.since
    }

    /// Whether it has ever proved who it is, and nobody else has answered there since.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// Whether the last thing it said was that it is about to stop: that it is silent now says nothing of the way there.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// What ranking has to know.
    #[must_use]
    pub fn standing(&self, now: Duration) -> Standing {
        let state = self.state(now);
        let weight = match state {
            State::Up | State::Suspect => 1.0,
            State::Recovering => self.ramp(now),
            State::Draining | State::Unknown | State::Down => 0.0,
        };
        Standing { state, weight, load: self.load, changes_in_s: self.changes_in(state) }
    }

    /// In tenths, so that what is published changes ten times and not always.
    fn ramp(&self, now: Duration) -> f32 {
        let run = now.saturating_sub(self.since).as_secs_f32() / SLOW_START.as_secs_f32();
        (libm::floorf(run * 10.0) * 0.1 + SLOW_START_FROM).clamp(SLOW_START_FROM, 1.0)
    }

    fn changes_in(&self, state: State) -> u16 {
        let time = match state {
            State::Up => self.interval + LOOK_AGAIN[0] + LOOK_AGAIN[1],
            State::Down => self.interval * u32::from(self.passes_missing().max(1)),
            State::Recovering | State::Suspect | State::Draining | State::Unknown => Duration::ZERO,
        };
        u16::try_from(time.as_secs()).unwrap_or(u16::MAX)
    }

    fn passes_missing(&self) -> u8 {
        let doubled = self.falls.saturating_sub(1).min(3);
        (PASSES_TO_RECOVER << doubled).min(MOST_PASSES_TO_RECOVER).saturating_sub(self.passes)
    }

    /// How long until the next probe, when nothing else is learned.
    #[must_use]
    pub fn pause(&self, idle: bool) -> Duration {
        match (self.state, self.failures) {
            (State::Suspect, 0 | 1) => LOOK_AGAIN[0],
            (State::Suspect, _) => LOOK_AGAIN[1],
            _ if idle => self.interval * IDLE_FACTOR,
            _ => self.interval,
        }
    }

    /// Something was learned. True when that may change an answer.
    pub fn learn(&mut self, outcome: Outcome, now: Duration) -> bool {
        let before = (self.state(now), self.load);
        self.age(now);
        match outcome {
            Outcome::Passed { load, accepting } => self.pass(load, accepting, now),
            Outcome::Failed | Outcome::Erred => self.fail(1, now),
            Outcome::Unreachable => self.fail(2, now),
            Outcome::Deceived => self.lose(now),
        }
        before != (self.state(now), self.load)
    }

    fn age(&mut self, now: Duration) {
        self.state = self.state(now);
        while self.falls > 0 && now.saturating_sub(self.forgiven) >= FORGIVEN_AFTER {
            self.falls -= 1;
            self.forgiven += FORGIVEN_AFTER;
        }
    }

    fn pass(&mut self, load: f32, accepting: bool, now: Duration) {
        let load = if load.is_finite() { load.clamp(0.0, 1.0) } else { 1.0 };
        self.load =
            if self.state == State::Unknown { load } else { self.load + (load - self.load) * LOAD_SHARE };
        self.proven = true;
        self.leaving = !accepting;
        self.failures = 0;
        self.passes = self.passes.saturating_add(1);
        if self.passes >= SUCCESSES_THAT_CLEAR {
            self.leaking = 0;
        }
        match self.state {
            _ if !accepting => self.become_(State::Draining, now),
            State::Unknown | State::Suspect => self.become_(State::Up, now),
            State::Draining => self.become_(State::Recovering, now),
            State::Down if self.passes_missing() == 0 => self.become_(State::Recovering, now),
            State::Down | State::Recovering | State::Up => {}
        }
    }

    /// The address is another's: nobody more is sent there, not even while a disconnection is bridged. That is no reason
    /// against the peer, whose other addresses are still its own: whoever gets hold of one could take it down everywhere.
    fn lose(&mut self, now: Duration) {
        self.proven = false;
        self.fail(FAILURES_IN_A_ROW, now);
    }

    fn fail(&mut self, times: u8, now: Duration) {
        self.passes = 0;
        self.failures = self.failures.saturating_add(times);
        self.leaking = self.leaking.saturating_add(times);
        let is_over = self.failures >= FAILURES_IN_A_ROW || self.leaking >= FAILURES_LEAKING;
        match self.state {
            State::Up | State::Suspect if !is_over => self.become_(State::Suspect, now),
            State::Up | State::Suspect | State::Recovering => self.fall(now),
            State::Unknown | State::Draining => self.become_(State::Down, now),
            State::Down => {}
        }
    }

    fn fall(&mut self, now: Duration) {
        if self.falls == 0 {
            self.forgiven = now;
        }
        self.falls = self.falls.saturating_add(1);
        self.leaking = 0;
        self.become_(State::Down, now);
    }

    fn become_(&mut self, state: State, now: Duration) {
        if self.state != state {
            self.since = now;
        }
        self.state = state;
    }
}

#[cfg(test)]
mod tests;
