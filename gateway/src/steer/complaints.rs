//! What probes have found wrong with peers, for whoever asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use resolver::peer::PeerId;
use resolver::peers::{Sighting, Target};
use serde::Serialize;

/// The last thing that a probe of a target has found wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Complaint {
    /// Where.
    pub target: String,
    /// What.
    pub words: String,
}

/// Of each peer, and each of its targets. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Complaints {
    all: Arc<Mutex<All>>,
}

type All = BTreeMap<PeerId, BTreeMap<Target, Complaint>>;

impl Complaints {
    /// That of the first of its targets that has one.
    pub(super) fn of(&self, id: &PeerId) -> Option<Complaint> {
        self.all().get(id)?.values().next().cloned()
    }

    /// What a probe has found; `None`: all is well there. The log tells of those whom clients may be led to, so that strangers
    /// cannot fill it; of the others whoever asks for the status is told.
    pub(super) fn take(
        &self,
        id: PeerId,
        target: Target,
        complaint: Option<Complaint>,
        is_admitted: impl Fn() -> bool,
    ) {
        let before = self.put(id, target, complaint.clone());
        let is_news = before.as_ref().map(|before| &before.words) != complaint.as_ref().map(|new| &new.words);
        if !is_news || !is_admitted() {
            return;
        }
        match complaint {
            Some(new) => {
                tracing::warn!(peer = %id, address = new.target, "a peer did not prove itself: {}", new.words);
            }
            None => tracing::info!(peer = %id, "a peer has proved itself again"),
        }
    }

    /// What is said of a peer has changed, or nobody speaks of it any more: complaints of what it has not are of no use.
    pub(super) fn reconsider(&self, sighting: &Sighting) {
        match sighting {
            Sighting::Gone(id) => drop(self.all().remove(id)),
            Sighting::Known(peer) => {
                let has = |target: &Target| match target {
                    Target::Address(address) => peer.endpoints.iter().any(|one| one.address == *address),
                    Target::Url(url) => peer.urls.contains(url),
                };
                if let Some(of_peer) = self.all().get_mut(&peer.id) {
                    of_peer.retain(|target, _| has(target));
                }
            }
            _ => {}
        }
    }

    fn put(&self, id: PeerId, target: Target, complaint: Option<Complaint>) -> Option<Complaint> {
        let mut all = self.all();
        let of_peer = all.entry(id).or_default();
        let before = match complaint {
            Some(new) => of_peer.insert(target, new),
            None => of_peer.remove(&target),
        };
        if of_peer.is_empty() {
            all.remove(&id);
        }
        before
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use resolver::geo::Whereabouts;
    use resolver::peer::Peer;

    use super::*;

    #[test]
    fn a_complaint_goes_with_what_it_is_about() {
        let (complaints, id) = (Complaints::default(), PeerId::of_key([7; 32]));
        let url = |nth: u16| format!("http://192.0.2.7:{nth}");
        let complain = |nth| {
            let complaint = Complaint { target: url(nth), words: "nobody is there".into() };
            complaints.take(id, Target::Url(url(nth)), Some(complaint), || true);
        };
        complain(1);
        complain(2);
        let peer = |urls| {
            let (endpoints, networks, whereabouts) = (Vec::new(), Vec::new(), Whereabouts::default());
            Sighting::Known(Peer {
                id,
                endpoints,
                urls,
                whereabouts,
                networks,
                capacity: 1.0,
                admitted: true,
            })
        };
        complaints.reconsider(&peer(vec![url(2)]));
        assert_eq!(complaints.of(&id).unwrap().target, url(2));
        complaints.take(id, Target::Url(url(2)), None, || true);
        assert!(complaints.of(&id).is_none() && complaints.all().is_empty());
        complain(3);
        complaints.reconsider(&Sighting::Gone(id));
        assert!(complaints.all().is_empty());
    }
}
