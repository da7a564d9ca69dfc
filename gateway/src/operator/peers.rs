//! The operator's list of peers: who is connected or known, how each fares, and why it is or is not a target and a source.

use std::collections::BTreeMap;

use resolver::peer::PeerId;
use serde_json::{Value, json};

use crate::fetch::{self, Fitness};
use crate::metrics::Metrics;
use crate::share::{Inventories, Traffic};
use crate::steer::{Fare, Guide};
use crate::swarm::{Neighbour, Swarm};

/// What is known of peers, all over the gateway. Cheap to clone.
#[derive(Clone)]
pub struct Peers {
    /// Who is connected.
    pub swarm: Swarm,
    /// What they say that they hold.
    pub inventories: Inventories,
    /// What they were sent.
    pub traffic: Traffic,
}

/// Peers that are listed besides those that are connected: half a KiB each, of a status that may have a MiB.
const MOST: usize = 500;

impl Peers {
    /// Those that are connected.
    pub(super) fn connected(&self, guide: &Guide, sources: Option<&fetch::Peers>) -> Value {
        let (fares, held) = (fares(guide), self.inventories.sizes());
        let neighbours = self.swarm.neighbours();
        let all = neighbours.iter();
        all.map(|(id, neighbour)| {
            let standing = sources.map(|sources| sources.standing(id));
            self.one(id, Some(neighbour), fares.get(id), (held.get(id).copied(), standing))
        })
        .collect()
    }

    /// Those that are not, and that clients could be led to.
    pub(super) fn known(&self, guide: &Guide, sources: Option<&fetch::Peers>) -> Value {
        let neighbours = self.swarm.neighbours();
        let fares = fares(guide);
        let others = fares.iter().filter(|(id, _)| !neighbours.contains_key(*id)).take(MOST);
        let standing = |id: &PeerId| sources.map(|sources| sources.standing(id));
        others.map(|(id, fare)| self.one(id, None, Some(fare), (None, standing(id)))).collect()
    }

    /// Shows how many there are, and what they hold.
    pub(super) fn measure(&self, metrics: &Metrics) {
        let held: usize = self.inventories.sizes().values().sum();
        metrics.federation().show(self.swarm.neighbours().len(), held);
    }

    fn one(
        &self,
        id: &PeerId,
        neighbour: Option<&Neighbour>,
        fare: Option<&Fare>,
        (held, standing): (Option<usize>, Option<fetch::Standing>),
    ) -> Value {
        let card = neighbour.and_then(|neighbour| neighbour.card.as_ref());
        json!({
            "peer": id,
            "addresses": neighbour.map(|neighbour| &neighbour.addresses),
            "near": neighbour.map(|neighbour| neighbour.near),
            "since_s": neighbour.map(|neighbour| neighbour.since.elapsed().as_secs()),
            "version": card.map(|card| &card.version),
            "urls": card.map(|card| &card.urls),
            "online": card.map(|card| card.online),
            "shares": card.map(|card| card.shares),
            "place": fare.and_then(|fare| fare.place.as_ref()),
            "health": fare.map_or("not probed", |fare| fare.health.as_str()),
            "complaint": fare.and_then(|fare| fare.complaint.as_ref()),
            "target": fare.is_some_and(|fare| fare.rejected.is_none()),
            "not_target": match fare {
                Some(fare) => fare.rejected.clone(),
                None => Some("nobody says where it serves clients".to_owned()),
            },
            "not_source": not_source(neighbour, fare, held, self.inventories.leaves_out(id)).or_else(|| standing.and_then(struck_out)),
            "tarballs": held,
            "sent": self.traffic.sent(id),
            "received": standing.map(|standing| standing.received),
            "strikes": standing.map(|standing| standing.strikes),
        })
    }
}

fn fares(guide: &Guide) -> BTreeMap<PeerId, Fare> {
    guide.fares().into_iter().map(|fare| (fare.peer, fare)).collect()
}

/// Why it is not asked for tarballs; `None`: it is.
fn not_source(
    neighbour: Option<&Neighbour>,
    fare: Option<&Fare>,
    held: Option<usize>,
    left_out: bool,
) -> Option<String> {
    let words = match (neighbour, held) {
        _ if fare.is_some_and(|fare| fare.quarantined_s.is_some()) => "it was caught giving wrong bytes",
        (None, _) => "it is not connected",
        (Some(neighbour), _) if neighbour.card.as_ref().is_some_and(|card| !card.shares) => {
            "it shares nothing"
        }
        (Some(_), None) if left_out => "there is no room here for the list of what it holds",
        (Some(_), None) => "it has not said what it holds",
        (Some(_), Some(0)) => "it holds nothing",
        (Some(_), Some(_)) => return None,
    };
    Some(words.to_owned())
}

/// What is held against it as a source.
fn struck_out(standing: fetch::Standing) -> Option<String> {
    match standing.fitness {
        Fitness::Fit | Fitness::Trial => None,
        Fitness::OnTrial => Some("it was struck out, and is being tried".to_owned()),
        Fitness::Out(_) => Some(match standing.out_for {
            Some(left) => format!("it was struck out, for another {} s", left.as_secs()),
            None => "it gave wrong bytes too often".to_owned(),
        }),
    }
}
