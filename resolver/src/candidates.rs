//! Peers that may be connected to: who is dialled when, at which of its addresses, and who is forgotten.
//!
//! A candidate is nobody yet: whoever shouts on a network can make as many as he likes. So there are few of them, each with
//! few addresses, and one that was tried in vain makes room for the next. Those whom the operator has named are dialled
//! for ever.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use crate::peer::PeerId;

/// Candidates of the networks around at most: more gateways than that on one LAN connect to each other by whoever starts
/// later, and are found through those that are connected.
pub const MOST_NEAR: usize = 64;
/// Candidates from elsewhere at most.
pub const MOST_FAR: usize = 32;
/// Addresses of one candidate: a few interfaces, of both families, by TCP and by QUIC.
pub const MOST_ADDRESSES: usize = 8;
/// With so many peers connected nobody else is dialled but those whom the operator has named; others may still come in.
pub const ENOUGH: usize = 96;
/// With so many peers from elsewhere connected nobody from there is dialled: they are there to find others, not to be many.
pub const ENOUGH_FAR: usize = 24;
/// Attempts under way: each is a socket for each address.
const AT_ONCE: usize = 16;
/// The first pause after an attempt in vain, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A connection that ends so soon was none: the other end has no room, or is no gateway.
const SETTLED: Duration = Duration::from_secs(10);
/// An attempt of which nothing was heard for so long is taken for one in vain.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(30);
/// Who has not been connected nor seen for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// Who says that there is such a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The operator.
    Contact,
    /// Somebody in a network around.
    Near,
    /// Another peer.
    Far,
}

/// All of them. `A` is an address as it is dialled.
#[derive(Debug, Clone)]
pub struct Candidates<A> {
    own: PeerId,
    table: BTreeMap<PeerId, Candidate<A>>,
}

#[derive(Debug, Clone)]
struct Candidate<A> {
    source: Source,
    /// Those that were heard of last come first.
    addresses: Vec<A>,
    seen: Duration,
    state: State,
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting { until: Duration },
    Dialled { since: Duration },
    Connected { since: Duration },
}

impl<A: Clone + PartialEq> Candidates<A> {
    /// Nobody. This gateway's own id is never dialled.
    #[must_use]
    pub fn new(own: PeerId) -> Self {
        Self { own, table: BTreeMap::new() }
    }

    /// Somebody has said that there is such a peer. False when it is not taken: there is no room for it.
    pub fn seen(&mut self, id: PeerId, address: A, source: Source, now: Duration) -> bool {
        let known = self.table.get(&id).map(|one| one.source);
        // Who becomes one of another source takes a place among those, too.
        let counts =
            known.is_some_and(|before| before <= source) || (id != self.own && self.make_room(source));
        if id == self.own || (known.is_none() && !counts) {
            return false;
        }
        let candidate = self.table.entry(id).or_insert_with(|| Candidate {
            source,
            addresses: Vec::new(),
            seen: now,
            state: State::Waiting { until: now },
            failures: 0,
        });
        if counts {
            candidate.source = candidate.source.min(source);
        }
        candidate.seen = now;
        candidate.add(address, source, now);
        true
    }

    /// Nobody says so any more. Whom the operator has named, and who is connected, stays.
    pub fn unseen(&mut self, id: &PeerId) {
        let goes = |candidate: &Candidate<A>| {
            candidate.source != Source::Contact && matches!(candidate.state, State::Waiting { .. })
        };
        if self.table.get(id).is_some_and(goes) {
            self.table.remove(id);
        }
    }

    /// Who is to be dialled now, and where. Each is being dialled until [`Self::connected`] or [`Self::failed`] is said of it.
    pub fn due(&mut self, now: Duration) -> Vec<(PeerId, Vec<A>)> {
        self.tidy(now);
        let count = |is: fn(&Candidate<A>) -> bool| self.table.values().filter(|one| is(one)).count();
        let mut places = AT_ONCE.saturating_sub(count(|one| matches!(one.state, State::Dialled { .. })));
        let is_connected = |one: &Candidate<A>| matches!(one.state, State::Connected { .. });
        let (mut all, mut far) = (
            count(is_connected),
            count(|one| matches!(one.state, State::Connected { .. }) && one.source == Source::Far),
        );
        let mut due: Vec<_> = self.table.iter_mut().filter(|(_, one)| one.is_due(now)).collect();
        due.sort_by_key(|(_, one)| (one.source, one.failures));
        let mut chosen = Vec::new();
        for (id, one) in due {
            let enough = one.source != Source::Contact && all >= ENOUGH
                || one.source == Source::Far && far >= ENOUGH_FAR;
            if places == 0 || enough {
                continue;
            }
            places -= 1;
            all += 1;
            far += usize::from(one.source == Source::Far);
            one.state = State::Dialled { since: now };
            chosen.push((*id, one.addresses.clone()));
        }
        chosen
    }

    /// There is a connection, whoever has made it.
    pub fn connected(&mut self, id: &PeerId, now: Duration) {
        if let Some(candidate) = self.table.get_mut(id)
            && !matches!(candidate.state, State::Connected { .. })
        {
            candidate.state = State::Connected { since: now };
        }
    }

    /// The last connection has ended.
    pub fn lost(&mut self, id: &PeerId, now: Duration) {
        let Some(candidate) = self.table.get_mut(id) else { return };
        let State::Connected { since } = candidate.state else { return };
        if now.saturating_sub(since) >= SETTLED {
            candidate.failures = 0;
        }
        candidate.fail(now);
    }

    /// It was dialled in vain.
    pub fn failed(&mut self, id: &PeerId, now: Duration) {
        if let Some(candidate) = self.table.get_mut(id)
            && matches!(candidate.state, State::Dialled { .. })
        {
            candidate.fail(now);
        }
    }

    /// Who is there is none of ours: it is left alone for so long, whatever is said of it.
    pub fn rest(&mut self, id: &PeerId, pause: Duration, now: Duration) {
        if let Some(candidate) = self.table.get_mut(id) {
            candidate.failures = candidate.failures.max(1);
            candidate.state = State::Waiting { until: now + pause };
        }
    }

    /// How many have an address of which this is so, those whom the operator has named not counted.
    #[must_use]
    pub fn at(&self, is: impl Fn(&A) -> bool) -> usize {
        let hearsay = self.table.values().filter(|one| one.source != Source::Contact);
        hearsay.filter(|one| one.addresses.iter().any(&is)).count()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// One more of this source may come: there is room, or somebody who was tried in vain goes.
    fn make_room(&mut self, source: Source) -> bool {
        let most = match source {
            Source::Contact => return true,
            Source::Near => MOST_NEAR,
            Source::Far => MOST_FAR,
        };
        let same = || self.table.iter().filter(|(_, one)| one.source == source);
        if same().count() < most {
            return true;
        }
        let in_vain =
            same().filter(|(_, one)| one.failures > 0 && matches!(one.state, State::Waiting { .. }));
        let worst = in_vain.max_by_key(|(_, one)| one.failures).map(|(id, _)| *id);
        worst.is_some_and(|id| self.table.remove(&id).is_some())
    }

    fn tidy(&mut self, now: Duration) {
        for candidate in self.table.values_mut() {
            if let State::Dialled { since } = candidate.state
                && now.saturating_sub(since) >= LONGEST_ATTEMPT
            {
                candidate.fail(now);
            }
        }
        self.table.retain(|_, one| {
            let idle = matches!(one.state, State::Waiting { .. });
            one.source == Source::Contact || !idle || now.saturating_sub(one.seen) < FORGOTTEN
        });
    }
}

impl<A: Clone + PartialEq> Candidate<A> {
    /// What peers say never displaces what the operator has said. A new address of one that was tried in vain is tried soon.
    fn add(&mut self, address: A, source: Source, now: Duration) {
        if self.addresses.contains(&address) {
            return;
        }
        if source == Source::Contact || self.source != Source::Contact {
            self.addresses.insert(0, address);
            self.addresses.truncate(MOST_ADDRESSES);
        } else if self.addresses.len() < MOST_ADDRESSES {
            self.addresses.push(address);
        }
        if let State::Waiting { until } = &mut self.state {
            *until = (*until).min(now.saturating_add(PAUSES.0).max(*until / 2));
        }
    }

    fn is_due(&self, now: Duration) -> bool {
        matches!(self.state, State::Waiting { until } if until <= now) && !self.addresses.is_empty()
    }

    fn fail(&mut self, now: Duration) {
        let pause = PAUSES.0 * 2_u32.saturating_pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.state = State::Waiting { until: now + pause.min(PAUSES.1) };
    }
}

#[cfg(test)]
mod tests;
