//! What whoever started the gateway is told of it (sd_notify(3)); nobody, when it was started by hand.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

use crate::pulse::{BEAT, Pulses};

/// A loop that has not beaten for so many beats stands still: one may be late on a busy machine.
const LATE: u32 = 3;

/// Everything is bound, and upstream was tried: clients may come.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload has begun; [`ready`] ends it.
pub(super) fn reloading() {
    let time = NotifyState::monotonic_usec_now();
    tell(&[Some(NotifyState::Reloading), time.ok()].into_iter().flatten().collect::<Vec<_>>());
}

/// The end has begun.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Says twice in each period of the watchdog that the gateway lives, as long as each of its loops turns; ends at
/// once where there is no watchdog.
pub async fn feed_watchdog(pulses: Pulses) {
    if let Some(period) = sd_notify::watchdog_enabled().filter(|period| !period.is_zero()) {
        feed(&pulses, period, || tell(&[NotifyState::Watchdog])).await;
    }
}

async fn feed(pulses: &Pulses, period: Duration, alive: impl Fn()) {
    let half = period / 2;
    loop {
        let silent = pulses.silent((BEAT * LATE).max(half));
        if silent.is_empty() {
            alive();
            tokio::time::sleep(half).await;
        } else {
            // Whoever was stopped and goes on beats again soon, and is fed then, not half a period later.
            tracing::error!(loops = silent.join(", "), "these stand still; the watchdog is not fed");
            tokio::time::sleep(BEAT.min(half)).await;
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    let told = sd_notify::notify(state);
    if DEAF.is_news(told.is_err())
        && let Err(error) = told
    {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Whether the last word did not reach the manager: what stays so is said once, not at each beat.
static DEAF: Deaf = Deaf(AtomicBool::new(false));

struct Deaf(AtomicBool);

impl Deaf {
    /// Whether a failure is the first in a row.
    fn is_news(&self, failed: bool) -> bool {
        !self.0.swap(failed, Ordering::Relaxed) && failed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_loop_that_stands_still_starves_the_watchdog_until_it_turns_again() {
        let pulses = Pulses::new();
        let (turning, still) = (pulses.add("http"), pulses.add("dns"));
        tokio::spawn(async move { turning.during(std::future::pending::<()>()).await });
        let fed = AtomicUsize::new(0);
        let feeding = feed(&pulses, Duration::from_secs(30), || {
            fed.fetch_add(1, Ordering::Relaxed);
        });
        let story = async {
            let meals = || fed.swap(0, Ordering::Relaxed);
            still.during(sleep(Duration::from_secs(100))).await;
            assert_eq!(meals(), 7, "every 15 seconds, and at once");
            sleep(Duration::from_secs(300)).await;
            assert!(meals() <= 1, "fed while a loop stood still");
            still.during(sleep(Duration::from_secs(10))).await;
            assert_eq!(meals(), 1, "soon after it goes on");
        };
        assert!(
            timeout(Duration::from_secs(1000), async {
                tokio::select! { () = story => {}, () = feeding => {} }
            })
            .await
            .is_ok()
        );
    }

    #[test]
    fn a_manager_that_has_gone_is_complained_of_once() {
        let deaf = Deaf(AtomicBool::new(false));
        let news = [false, true, true, true, false, true].map(|failed| deaf.is_news(failed));
        assert_eq!(news, [false, true, false, false, false, true]);
    }
}
