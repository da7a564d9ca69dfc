//! One peer: what is said of it, how each of its addresses fares, and what it was caught at.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Offence, Target};
use crate::health::{self, Health, State};
use crate::peer::Peer;
use crate::rank::table::{Standing, mask};

/// How long a peer that was caught gets nobody: the first time, the second, the third. After that, until somebody restarts
/// this gateway.
const QUARANTINE: [Duration; 3] =
    [Duration::from_secs(3600), Duration::from_secs(6 * 3600), Duration::from_secs(24 * 3600)];

#[derive(Debug)]
pub(super) struct Known {
    pub(super) peer: Peer,
    pub(super) interval: Duration,
    /// Of each endpoint, and of each URL, in their order.
    endpoints: Vec<Health>,
    urls: Vec<Health>,
    /// When a client was last steered to it.
    pub(super) used: Duration,
    caught: Vec<(Offence, Duration)>,
}

impl Known {
    pub(super) fn new(peer: Peer, interval: Duration, now: Duration) -> Self {
        let of = |count: usize| core::iter::repeat_with(|| Health::new(interval, now)).take(count).collect();
        let (endpoints, urls) = (of(peer.endpoints.len()), of(peer.urls.len()));
        Self { interval, endpoints, urls, used: now, caught: Vec::new(), peer }
    }

    /// What is said of it has changed: addresses that it had before fare as they did.
    pub(super) fn with(mut self, peer: Peer, interval: Duration, now: Duration) -> Self {
        let mut next = Self::new(peer, interval, now);
        next.used = self.used;
        next.caught = core::mem::take(&mut self.caught);
        for target in next.targets().collect::<Vec<_>>() {
            if let (Some(before), Some(health)) = (self.health(&target).cloned(), next.health(&target)) {
                *health = before.every(interval);
            }
        }
        next
    }

    /// No client has been led to it for long.
    pub(super) fn is_idle(&self, now: Duration) -> bool {
        now.saturating_sub(self.used) >= health::IDLE_AFTER
    }

    pub(super) fn caught(self, caught: Vec<(Offence, Duration)>) -> Self {
        Self { caught, ..self }
    }

    pub(super) fn offences(self) -> Vec<(Offence, Duration)> {
        self.caught
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = Target> {
        let addresses = self.peer.endpoints.iter().map(|endpoint| Target::Address(endpoint.address));
        addresses.chain(self.peer.urls.iter().cloned().map(Target::Url))
    }

    pub(super) fn health(&mut self, target: &Target) -> Option<&mut Health> {
        match target {
            Target::Address(address) => {
                let nth = self.peer.endpoints.iter().position(|endpoint| endpoint.address == *address)?;
                self.endpoints.get_mut(nth)
            }
            Target::Url(url) => {
                let nth = self.peer.urls.iter().position(|one| one == url)?;
                self.urls.get_mut(nth)
            }
        }
    }

    pub(super) fn healths(&self) -> impl Iterator<Item = &Health> {
        self.endpoints.iter().chain(&self.urls)
    }

    pub(super) fn offers_https(&self, target: &Target) -> bool {
        match target {
            Target::Address(address) => {
                self.peer.endpoints.iter().any(|endpoint| endpoint.address == *address && endpoint.https)
            }
            Target::Url(url) => url.starts_with("https:"),
        }
    }

    pub(super) fn catch(&mut self, offence: Offence, now: Duration) {
        // What it is caught at while it is in quarantine was on its way before.
        if self.quarantined(now).is_none() {
            self.caught.push((offence, now));
        }
    }

    fn quarantined(&self, now: Duration) -> Option<Duration> {
        let (_, when) = self.caught.last()?;
        let Some(period) = QUARANTINE.get(self.caught.len() - 1) else {
            return Some(Duration::MAX);
        };
        (*when + *period).checked_sub(now).filter(|left| !left.is_zero())
    }

    pub(super) fn is_moving(&self, now: Duration) -> bool {
        let recovers = |health: &Health| health.state(now) == State::Recovering;
        self.quarantined(now).is_some() || self.healths().any(recovers)
    }

    /// Nobody can be sent there, and that has been so since when; not if it has said itself that it is about to stop, and
    /// not where it was never otherwise.
    pub(super) fn failed_at(&self, now: Duration) -> Option<Duration> {
        let all_down = self.endpoints.iter().all(|health| health.state(now) == State::Down);
        let proven = self.endpoints.iter().filter(|health| health.is_proven() && !health.is_leaving());
        proven.map(Health::since).max().filter(|_| all_down)
    }

    pub(super) fn is_usable(&self, now: Duration) -> bool {
        self.endpoints.iter().any(|health| health.state(now).is_usable())
    }

    /// How it fares; `held`: it is taken for what it was before its probes failed.
    pub(super) fn standing(&self, now: Duration, held: bool) -> Standing {
        let standings: Vec<_> = self.endpoints.iter().map(|health| health.standing(now)).collect();
        let best = standings.iter().map(|one| one.state).min().unwrap_or(State::Unknown);
        let told = |state: State| state.is_usable() && (state != State::Suspect || best == State::Suspect);
        let each = self.endpoints.iter().zip(&standings);
        let of_best = || standings.iter().filter(|one| one.state == best);
        let state = if held { State::Suspect } else { best };
        Standing {
            state,
            endpoints: mask(
                each.map(|(health, one)| if held { health.is_proven() } else { told(one.state) }),
            ),
            urls: mask(self.urls.iter().map(|health| health.state(now).is_usable())),
            weight: if held { 1.0 } else { of_best().map(|one| one.weight).fold(0.0, f32::max) },
            load: of_best().map(|one| one.load).fold(0.0, f32::max),
            changes_in_s: standings.iter().map(|one| one.changes_in_s).min(),
            quarantined_s: self
                .quarantined(now)
                .map(|left| u32::try_from(left.as_secs()).unwrap_or(u32::MAX).max(1)),
        }
    }
}
