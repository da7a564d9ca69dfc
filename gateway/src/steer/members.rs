//! Peers that the configuration does not name, as the engine is told of them: those that home's list holds, and those that
//! are connected and say where clients are served.
//!
//! What the operator says of a peer in a `[[peer]]` is all that counts of it; then what home says of it; then its own card, of
//! which only addresses are taken that its connections lead to, and never what networks or place it claims.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use resolver::peer::{Peer, PeerId};
use resolver::peers::Sighting;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::directory::located;
use super::{Entry, Geo, Place, Steering};
use crate::swarm::Neighbours;

/// A peer that is not connected any more is told of for so long: a connection that breaks is often there again.
const REMAINS: Duration = Duration::from_secs(10);

/// To whom clients may be led without an entry of his own.
#[derive(Debug, Clone, Default)]
pub struct Admission {
    /// These.
    pub ids: BTreeSet<PeerId>,
    /// All members of the swarm, which is private.
    pub swarm: bool,
}

/// Who was told of.
pub struct Members {
    admission: Admission,
    /// Of the configuration, this gateway among them: nothing that others say changes these.
    configured: BTreeSet<PeerId>,
    geo: Geo,
    told: BTreeMap<PeerId, Peer>,
    /// Since when somebody who was told of is not connected.
    missing: BTreeMap<PeerId, Instant>,
}

impl Members {
    /// Nobody yet.
    #[must_use]
    pub fn new(admission: Admission, configured: BTreeSet<PeerId>, geo: Geo) -> Self {
        Self { admission, configured, geo, told: BTreeMap::new(), missing: BTreeMap::new() }
    }

    /// Tells the engine of whoever comes, changes and goes. Ends with the swarm.
    pub async fn follow(
        mut self,
        mut neighbours: watch::Receiver<Arc<Neighbours>>,
        mut listed: watch::Receiver<Arc<Vec<Entry>>>,
        steering: Steering,
    ) {
        loop {
            let (now, all) =
                (Arc::clone(&neighbours.borrow_and_update()), Arc::clone(&listed.borrow_and_update()));
            for sighting in self.look(&now, &all, Instant::now()) {
                steering.tell(sighting).await;
            }
            let next = self.missing.values().min().map(|since| *since + REMAINS);
            let waiting = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = neighbours.changed() => if changed.is_err() { return },
                Ok(()) = listed.changed() => {}
                () = waiting => {}
            }
        }
    }

    /// What is to be told now.
    fn look(&mut self, neighbours: &Neighbours, listed: &[Entry], now: Instant) -> Vec<Sighting> {
        let mut wanted = self.connected(neighbours);
        for entry in listed.iter().filter(|entry| !self.configured.contains(&entry.id)) {
            wanted.insert(entry.id, located(entry, &self.geo));
        }
        let mut sightings = Vec::new();
        for (id, peer) in &wanted {
            self.missing.remove(id);
            if self.told.get(id) != Some(peer) {
                sightings.push(Sighting::Known(peer.clone()));
            }
        }
        for (id, peer) in std::mem::take(&mut self.told) {
            if wanted.contains_key(&id) {
                continue;
            }
            let since = *self.missing.entry(id).or_insert(now);
            if now.duration_since(since) >= REMAINS {
                self.missing.remove(&id);
                sightings.push(Sighting::Gone(id));
            } else {
                wanted.insert(id, peer);
            }
        }
        self.told = wanted;
        sightings
    }

    fn connected(&self, neighbours: &Neighbours) -> BTreeMap<PeerId, Peer> {
        let unnamed = neighbours.iter().filter(|(id, _)| !self.configured.contains(id));
        let peers = unnamed.filter_map(|(id, neighbour)| {
            let urls = &neighbour.card.as_ref()?.urls;
            let entry = Entry {
                id: *id,
                urls: urls.iter().filter_map(|url| url.parse().ok()).collect(),
                place: Place::default(),
                networks: Vec::new(),
                capacity: 1.0,
                admit: self.admission.swarm || self.admission.ids.contains(id),
            };
            Some((*id, located(&entry, &self.geo))).filter(|_| !entry.urls.is_empty())
        });
        peers.collect()
    }
}

#[cfg(test)]
mod tests {
    use resolver::card::Card;

    use super::*;
    use crate::swarm::Neighbour;

    fn id(key: u8) -> PeerId {
        PeerId::of_key([key; 32])
    }

    fn neighbours(all: &[(u8, &str)]) -> Neighbours {
        let of = |(key, url): &(u8, &str)| {
            let card = Card {
                version: "0.1.0".into(),
                urls: vec![(*url).to_owned()],
                online: true,
                shares: true,
                sequence: 0,
                home: None,
            };
            let neighbour =
                Neighbour { addresses: Vec::new(), near: true, card: Some(card), since: Instant::now() };
            (id(*key), neighbour)
        };
        all.iter().map(of).collect()
    }

    fn entry(key: u8, url: &str) -> Entry {
        serde_json::from_value(serde_json::json!({ "id": id(key), "urls": [url], "admit": true })).unwrap()
    }

    fn members(ids: &[u8]) -> Members {
        let admission = Admission { ids: ids.iter().map(|key| id(*key)).collect(), swarm: false };
        Members::new(admission, [id(9)].into(), Geo::load(&[]))
    }

    fn words(sightings: &[Sighting]) -> Vec<String> {
        let word = |sighting: &Sighting| match sighting {
            Sighting::Known(peer) => {
                let at = peer.endpoints.first().map(|one| one.address.to_string());
                let at = at.or_else(|| peer.urls.first().cloned()).unwrap_or_default();
                format!("{} {at} {}", peer.id.key()[0], peer.admitted)
            }
            Sighting::Gone(id) => format!("{} gone", id.key()[0]),
            other => format!("{other:?}"),
        };
        sightings.iter().map(word).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_with_a_card_is_told_of_and_admitted_only_if_the_operator_says_so() {
        let mut members = members(&[1]);
        let there = neighbours(&[
            (1, "http://192.168.7.1"),
            (2, "http://192.168.7.2:6736"),
            (9, "http://192.168.7.66"),
        ]);
        let now = Instant::now();
        assert_eq!(
            words(&members.look(&there, &[], now)),
            ["1 192.168.7.1 true", "2 http://192.168.7.2:6736 false"]
        );
        assert!(members.look(&there, &[], now).is_empty(), "nothing is new");
        let moved = neighbours(&[(1, "http://192.168.7.7"), (2, "http://192.168.7.2:6736")]);
        assert_eq!(words(&members.look(&moved, &[], now)), ["1 192.168.7.7 true"]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_gone_for_10_s_is_taken_back() {
        let mut members = members(&[1]);
        let (there, start) = (neighbours(&[(1, "http://192.168.7.1")]), Instant::now());
        members.look(&there, &[], start);
        assert!(members.look(&Neighbours::new(), &[], start).is_empty());
        assert!(members.look(&there, &[], start + REMAINS / 2).is_empty(), "it is back");
        assert!(members.look(&Neighbours::new(), &[], start + REMAINS).is_empty());
        assert_eq!(words(&members.look(&Neighbours::new(), &[], start + REMAINS * 2)), ["1 gone"]);
        assert!(members.look(&Neighbours::new(), &[], start + REMAINS * 3).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn home_says_more_than_a_card_and_the_operator_more_than_home() {
        let mut members = members(&[]);
        let there = neighbours(&[(1, "http://192.168.7.1")]);
        let listed = [entry(1, "http://192.0.2.1"), entry(9, "http://192.0.2.66")];
        let now = Instant::now();
        assert_eq!(words(&members.look(&there, &listed, now)), ["1 192.0.2.1 true"]);
        assert_eq!(words(&members.look(&there, &[], now)), ["1 192.168.7.1 false"]);
    }
}
