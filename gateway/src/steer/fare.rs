//! How one peer fares, whoever asks: for the operator's list of peers.

use resolver::geo::Whereabouts;
use resolver::peer::PeerId;
use resolver::rank::table::{Candidate, Standing, THIS};
use resolver::rank::{Rejection, Snapshot};
use serde::Serialize;

/// A peer that is known as one that clients could be led to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fare {
    /// Who it is.
    pub peer: PeerId,
    /// How its best address fares.
    pub health: String,
    /// Why no client at all is led to it; `None`: some are, and `explain` says which.
    pub rejected: Option<String>,
    /// What its last probe has found wrong, and where.
    pub complaint: Option<String>,
    /// Seconds for which it still counts as caught.
    pub quarantined_s: Option<u32>,
    /// Where it is, in words, as far as that is known.
    pub place: Option<String>,
}

/// Everybody but this gateway.
pub(super) fn of(snapshot: &Snapshot, complaint: impl Fn(&PeerId) -> Option<String>) -> Vec<Fare> {
    let candidates = (0..).zip(snapshot.table.candidates()).zip(&snapshot.standings);
    let others = candidates.filter(|((number, _), _)| *number != THIS);
    let fare = |((number, candidate), standing): ((u32, &Candidate), &Standing)| {
        let peer = candidate.id?;
        Some(Fare {
            peer,
            health: standing.state.name().to_owned(),
            rejected: snapshot.dismissal(number).map(Rejection::words),
            complaint: complaint(&peer),
            quarantined_s: standing.quarantined_s,
            place: place(&candidate.whereabouts),
        })
    };
    others.filter_map(fare).collect()
}

fn place(there: &Whereabouts) -> Option<String> {
    let known = [
        there.country.map(|country| country.to_string()),
        there.asn.map(|asn| format!("AS{asn}")),
        there.place.map(|place| format!("{:.2}, {:.2}", place.latitude, place.longitude)),
    ];
    let known: Vec<_> = known.into_iter().flatten().collect();
    (!known.is_empty()).then(|| known.join(", "))
}
