//! The best three, tier by tier: whoever is in none of the lists that a client's address leads to is not looked at.

use alloc::vec::Vec;

use ipnet::IpNet;

use super::client::Client;
use super::cost::{self, Cost};
use super::decision::{Best, Considered, Decision, MOST_RANKED};
use super::nearest::Wanted;
use super::rendezvous;
use super::table::{Candidate, Snapshot, Standing, THIS};
use super::verdict::{Purpose, Ranked, Rejection, Tier};
use crate::geo::EARTH_KM;
use crate::health::State;
use crate::networks::Matches;

/// From here on a gateway sends nobody more.
const OVERLOADED: f32 = 0.95;

/// One client's question to one snapshot.
struct Asked<'a> {
    snapshot: &'a Snapshot,
    client: &'a Client,
    purpose: Purpose,
    scope: u8,
    key: u64,
    /// The client is on a link of this gateway, or behind one.
    at_home: bool,
    /// Who else is there, by number.
    near: Vec<u32>,
    matches: Matches<'a>,
}

impl Snapshot {
    /// Whom this client should talk to. Total and deterministic.
    #[must_use]
    pub fn decide(&self, client: &Client, purpose: Purpose) -> Decision {
        let asked = Asked::new(self, client, purpose);
        let mut best = Best::default();
        asked.offer_related(&mut best);
        if !best.is_full() {
            asked.offer_distant(&mut best);
        }
        let decision = asked.decision(best.into_vec());
        decision.ranked.iter().for_each(|one| self.table.note_told(one.number));
        decision
    }

    /// How many bits of a client's address decide whom he is told ([`super::Decision::scope`]).
    #[must_use]
    pub fn scope(&self, client: &Client) -> u8 {
        client.scope(self.table.networks.matches(client.network()).alike)
    }

    /// The same with everybody in it, the best first: what [`Self::decide`] takes its three from.
    #[must_use]
    pub fn explain(&self, client: &Client, purpose: Purpose) -> Vec<Considered<'_>> {
        let asked = Asked::new(self, client, purpose);
        let consider =
            |(candidate, number)| Considered { number, candidate, verdict: asked.consider(number) };
        let mut considered: Vec<_> = self.table.candidates.iter().zip(0..).map(consider).collect();
        considered.sort_by(|one, other| match (&one.verdict, &other.verdict) {
            (Ok(one), Ok(other)) => one.order(other),
            (one, other) => one.is_err().cmp(&other.is_err()),
        });
        considered
    }

    /// Why no client at all is led to this one, by its number in the table; `None`: some may be.
    #[must_use]
    pub fn dismissal(&self, number: u32) -> Option<Rejection> {
        dismissal(self.table.candidates.get(number as usize)?, self.standings.get(number as usize)?)
    }
}

/// Why no client at all is led to a candidate that fares like this.
fn dismissal(candidate: &Candidate, standing: &Standing) -> Option<Rejection> {
    if !candidate.admitted {
        return Some(Rejection::NotAdmitted);
    }
    let quarantined = standing.quarantined_s.map(Rejection::Quarantined);
    let overloaded = || (standing.load >= OVERLOADED).then_some(Rejection::Overloaded);
    quarantined.or_else(|| Rejection::of(standing.state)).or_else(overloaded)
}

impl Snapshot {
    /// The rank of one candidate, by its number; `None`: it is not told.
    #[must_use]
    pub fn rank_of(&self, client: &Client, purpose: Purpose, number: u32) -> Option<Ranked> {
        Asked::new(self, client, purpose).consider(number).ok()
    }
}

impl<'a> Asked<'a> {
    fn new(snapshot: &'a Snapshot, client: &'a Client, purpose: Purpose) -> Self {
        let matches = snapshot.table.networks.matches(client.network());
        let (at_home, mut near) = near(snapshot, client);
        near.sort_unstable();
        near.dedup();
        let scope = client.scope(matches.alike);
        Self { snapshot, client, purpose, scope, key: client.key(scope), at_home, near, matches }
    }

    fn decision(&self, mut ranked: Vec<Ranked>) -> Decision {
        // Whatever has become of everybody: this gateway has what it holds.
        if ranked.is_empty() {
            ranked.push(self.rank(THIS, self.tier(THIS), &self.snapshot.standings[THIS as usize], 0));
        }
        let standings = || ranked.iter().map(|one| &self.snapshot.standings[one.number as usize]);
        let last = ranked.get(MOST_RANKED - 1);
        let missing = self.related().filter_map(|number| self.missing(number, last));
        let changes = standings().filter_map(|standing| standing.changes_in_s).chain(missing).min();
        let degraded =
            standings().any(|standing| matches!(standing.state, State::Suspect | State::Recovering));
        Decision {
            scope: self.scope,
            changes_in_s: changes,
            degraded: degraded || !self.snapshot.settled,
            ranked,
        }
    }

    /// When somebody may be back who would come before the last.
    fn missing(&self, number: u32, last: Option<&Ranked>) -> Option<u16> {
        let standing = &self.snapshot.standings[number as usize];
        let changes_in_s = standing
            .changes_in_s
            .filter(|_| standing.quarantined_s.is_none() && !standing.state.is_usable())?;
        let back = standing.well(&self.snapshot.table.candidates[number as usize]);
        let would_be = self.consider_as(number, &back).ok()?;
        last.is_none_or(|last| would_be.order(last).is_lt()).then_some(changes_in_s)
    }

    /// Everybody who is related to the client in another way than by distance, the nearest tier first.
    fn related(&self) -> impl Iterator<Item = u32> {
        let home = self.at_home.then_some(THIS);
        let declared = self.matches.found.iter().flat_map(|(_, servers)| servers.iter().copied());
        home.into_iter().chain(self.near.iter().copied()).chain(declared).chain(self.system().iter().copied())
    }

    fn system(&self) -> &'a [u32] {
        let asn = self.client.whereabouts.asn;
        asn.and_then(|asn| self.snapshot.table.systems.get(&asn)).map_or(&[], Vec::as_slice)
    }

    /// A tier that fills the list ends the search: nobody of a later one comes before anybody of it.
    fn offer_related(&self, best: &mut Best) {
        if self.at_home {
            self.offer(best, THIS, Tier::SameLink, 0);
        }
        self.near
            .iter()
            .filter(|number| **number != THIS)
            .for_each(|number| self.offer(best, *number, Tier::SameLink, 0));
        for (prefix, servers) in &self.matches.found {
            if best.is_full() {
                return;
            }
            servers.iter().for_each(|number| self.offer(best, *number, Tier::Declared, *prefix));
        }
        if !best.is_full() {
            self.system().iter().for_each(|number| self.offer(best, *number, Tier::SameNetwork, 0));
        }
    }

    fn offer_distant(&self, best: &mut Best) {
        self.offer(best, THIS, Tier::Home, 0);
        for tier in [Tier::Distance, Tier::Elsewhere] {
            if !best.is_full() {
                self.offer_everybody(best, tier);
            }
            if !best.is_full() {
                let suspects = self.snapshot.suspects.iter();
                suspects.for_each(|number| self.offer(best, *number, tier, 0));
            }
        }
    }

    /// Whoever could be of this tier, suspects aside.
    fn offer_everybody(&self, best: &mut Best, tier: Tier) {
        let (table, here) = (&self.snapshot.table, &self.client.whereabouts);
        let mut search = Search { asked: self, best, tier };
        match here.place {
            Some(place) => {
                if tier == Tier::Distance {
                    table.placed.visit(place.direction(), &mut search);
                }
                table.placeless.iter().for_each(|number| search.look(*number, None));
            }
            // Nobody is at a distance from nowhere.
            None if tier == Tier::Distance && here.country.is_none() && here.continent.is_none() => {}
            None => (0..table.candidates.len()).for_each(|number| search.look(number_of(number), None)),
        }
    }

    /// Offers a candidate if this is its tier: it may be in the lists of several.
    fn offer(&self, best: &mut Best, number: u32, tier: Tier, prefix: u8) {
        if self.tier(number) == (tier, prefix)
            && let Ok(ranked) = self.consider(number)
        {
            best.offer(ranked);
        }
    }

    fn consider(&self, number: u32) -> Result<Ranked, Rejection> {
        self.consider_as(number, &self.snapshot.standings[number as usize])
    }

    /// What would become of it if it fared so.
    fn consider_as(&self, number: u32, standing: &Standing) -> Result<Ranked, Rejection> {
        let tier = self.tier(number);
        let told = self.snapshot.table.candidates[number as usize].told(standing, tier.0, self.client);
        match self.rejection(number, standing, told) {
            Some(rejection) => Err(rejection),
            None => Ok(self.rank(number, tier, standing, told)),
        }
    }

    fn tier(&self, number: u32) -> (Tier, u8) {
        let candidate = &self.snapshot.table.candidates[number as usize];
        let (here, there) = (&self.client.whereabouts, &candidate.whereabouts);
        let serves = |(_, servers): &&(u8, &[u32])| servers.binary_search(&number).is_ok();
        if (number == THIS && self.at_home) || self.near.binary_search(&number).is_ok() {
            (Tier::SameLink, 0)
        } else if let Some((prefix, _)) = self.matches.found.iter().find(serves) {
            (Tier::Declared, *prefix)
        } else if there.asn.is_some() && there.asn == here.asn {
            (Tier::SameNetwork, 0)
        } else if cost::is_known(here, there) || (number == THIS && here.place.is_some()) {
            (Tier::Distance, 0)
        } else if number == THIS {
            (Tier::Home, 0)
        } else {
            (Tier::Elsewhere, 0)
        }
    }

    fn rejection(&self, number: u32, standing: &Standing, told: u8) -> Option<Rejection> {
        let candidate = &self.snapshot.table.candidates[number as usize];
        let unreachable = || {
            if number == THIS { None } else { self.unreachable(candidate, standing, told) }
        };
        dismissal(candidate, standing).or_else(unreachable)
    }

    fn unreachable(&self, candidate: &Candidate, standing: &Standing, told: u8) -> Option<Rejection> {
        let https = standing.urls & candidate.https;
        match self.purpose {
            Purpose::Answer if told == 0 => Some(Rejection::OutOfReach),
            Purpose::OneFamily { v4 } if told & candidate.of_family(v4) == 0 => Some(Rejection::OutOfReach),
            Purpose::Redirect { https: true } if https == 0 => Some(Rejection::NoUrl),
            Purpose::Redirect { https: false } if told == 0 && standing.urls == 0 => Some(Rejection::NoUrl),
            _ => None,
        }
    }

    fn rank(&self, number: u32, (tier, prefix): (Tier, u8), standing: &Standing, told: u8) -> Ranked {
        let candidate = &self.snapshot.table.candidates[number as usize];
        let cost = Cost::of(self.client, &candidate.whereabouts, tier, standing.load);
        let weight = candidate.capacity * standing.weight;
        Ranked {
            number,
            tier,
            prefix,
            suspect: standing.state == State::Suspect,
            cost,
            bucket: cost.bucket(),
            score: rendezvous::score(weight, rendezvous::draw(candidate.hash, self.key)),
            told,
        }
    }
}

/// Whether the whole of the client's network is on a link of this machine, and who else is there. A client of a private
/// network behind a router of ours is as near to all of them.
fn near(snapshot: &Snapshot, client: &Client) -> (bool, Vec<u32>) {
    let links = &snapshot.table.links;
    let on_link = |(network, _): &&(IpNet, Vec<u32>)| network.contains(&client.network());
    let is_on_link = links.iter().any(|link| on_link(&link));
    let there = links.iter().filter(|link| if is_on_link { on_link(link) } else { client.at_home });
    (is_on_link || client.at_home, there.flat_map(|(_, there)| there.iter().copied()).collect())
}

fn number_of(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// Looks for those of a tier that anybody may be of.
struct Search<'a, 'b> {
    asked: &'a Asked<'a>,
    best: &'b mut Best,
    tier: Tier,
}

impl Search<'_, '_> {
    /// Somebody who is so far away, or nobody knows how far. Most are dismissed before anything is worked out: who cannot be
    /// in a lower bucket than the last of the best has to have a higher score.
    fn look(&mut self, number: u32, km: Option<f64>) {
        let standing = &self.asked.snapshot.standings[number as usize];
        if standing.state == State::Suspect || !standing.state.is_usable() {
            return;
        }
        if let Some(last) = self.best.last().filter(|last| !last.suspect) {
            let lowest = cost::lowest_bucket(km);
            if lowest > last.bucket || (lowest == last.bucket && self.highest_score(number) <= last.score) {
                return;
            }
        }
        self.asked.offer(self.best, number, self.tier, 0);
    }

    fn highest_score(&self, number: u32) -> f64 {
        let (hash, capacity) = self.asked.snapshot.table.draws[number as usize];
        let weight = capacity * self.asked.snapshot.standings[number as usize].weight;
        rendezvous::highest_score(weight, rendezvous::draw(hash, self.asked.key))
    }

    /// An arc is longer than its chord.
    fn least_km(&self, chord: f64) -> f64 {
        let accuracy = self.asked.client.whereabouts.place.map_or(0, |place| place.accuracy_km);
        chord * EARTH_KM - f64::from(accuracy)
    }
}

impl Wanted for Search<'_, '_> {
    fn wants(&self, chord: f64) -> bool {
        let lowest = cost::lowest_bucket(Some(self.least_km(chord)));
        self.best.last().is_none_or(|last| last.suspect || lowest <= last.bucket)
    }

    fn meet(&mut self, number: u32, chord: f64) {
        self.look(number, Some(self.least_km(chord)));
    }
}
