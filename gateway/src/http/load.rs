//! How busy this gateway is, in one number.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeVal;
use prometheus_client::metrics::gauge::Gauge;

use super::server::CONNECTIONS;

/// What was used this long ago counts a third of what is used now: whom clients are sent to must not swing with
/// each install.
const MEMORY: Duration = Duration::from_secs(30);
/// Whoever asks again sooner gets the same answer: a shorter time says more of the kernel's clock than of us.
const STEP: Duration = Duration::from_secs(1);

/// The larger of two shares: of the processors' time, lately, and of the places for connections.
pub struct Load {
    connections: Gauge,
    processors: f32,
    started: Instant,
    used: Mutex<Smoothed>,
}

/// A share that follows what is used, slowly.
#[derive(Debug, Default)]
struct Smoothed {
    at: Duration,
    used: Duration,
    share: f32,
}

impl Load {
    /// `connections` counts those of clients.
    #[must_use]
    pub fn new(connections: Gauge) -> Self {
        let processors = std::thread::available_parallelism().map_or(1.0, |count| count.get() as f32);
        Self { connections, processors, started: Instant::now(), used: Mutex::default() }
    }

    /// 0 to 1.
    #[must_use]
    pub fn now(&self) -> f32 {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = used.at(self.started.elapsed(), processor_time()) / self.processors;
        let connected = self.connections.get().max(0) as f32 / CONNECTIONS as f32;
        busy.max(connected).clamp(0.0, 1.0)
    }
}

impl Smoothed {
    /// How many processors are in use, when at the time `now` so much processor time has been used in all.
    fn at(&mut self, now: Duration, used: Duration) -> f32 {
        let step = now.saturating_sub(self.at);
        if step >= STEP {
            let share = used.saturating_sub(self.used).as_secs_f32() / step.as_secs_f32();
            let news = 1.0 - (-step.as_secs_f32() / MEMORY.as_secs_f32()).exp();
            *self = Self { at: now, used, share: self.share + news * (share - self.share) };
        }
        self.share
    }
}

/// Of all threads of this process since its start. Where the system does not say, nothing.
fn processor_time() -> Duration {
    let time = |one: TimeVal| {
        let micros = u64::try_from(one.tv_sec() * 1_000_000 + one.tv_usec()).unwrap_or(0);
        Duration::from_micros(micros)
    };
    let all = |usage: Usage| time(usage.user_time()) + time(usage.system_time());
    getrusage(UsageWho::RUSAGE_SELF).map(all).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_follows_what_is_used_and_swings_with_nothing_short() {
        let mut smoothed = Smoothed::default();
        let seconds = Duration::from_secs;
        assert!(smoothed.at(seconds(1), seconds(1)) < 0.05, "one busy second");
        let busy = smoothed.at(seconds(301), seconds(301));
        assert!((busy - 1.0).abs() < 0.01, "five busy minutes: {busy}");
        let same = smoothed.at(seconds(301) + STEP / 2, seconds(301));
        assert!((same - busy).abs() < f32::EPSILON, "asked again at once: {same}");
        let later = smoothed.at(seconds(331), seconds(301));
        assert!((0.3..0.4).contains(&later), "half a minute of rest: {later}");
        assert!(smoothed.at(seconds(631), seconds(301)) < 0.01, "five minutes of rest");
    }

    #[test]
    fn connections_count_as_much_as_processors() {
        let connections = Gauge::default();
        let load = Load::new(connections.clone());
        assert!(load.now() < 0.5);
        connections.set(i64::try_from(CONNECTIONS).unwrap());
        assert!((load.now() - 1.0).abs() < f32::EPSILON);
    }

    #[test]
    fn the_system_says_how_long_this_process_was_busy() {
        let before = processor_time();
        while processor_time() == before {}
    }
}
