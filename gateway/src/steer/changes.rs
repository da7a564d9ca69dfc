//! Says in the log who can be led to and could not before, and the other way round. Why, the failed probe has said already.

use std::collections::BTreeMap;
use std::sync::Arc;

use resolver::health::State;
use resolver::peer::PeerId;
use resolver::rank::Snapshot;
use resolver::rank::table::THIS;

pub(super) fn tell(before: &Snapshot, after: &Snapshot) {
    // While nobody comes or goes everybody keeps his number, and ten thousand are compared in passing.
    if Arc::ptr_eq(&before.table, &after.table) {
        let states = states(before).zip(states(after));
        states.for_each(|((id, was), (_, is))| tell_one(id, was, is));
    } else {
        let before: BTreeMap<_, _> = states(before).collect();
        states(after)
            .for_each(|(id, is)| tell_one(id, before.get(&id).copied().unwrap_or(State::Unknown), is));
    }
}

/// Of everybody but this gateway, in the order of their numbers.
fn states(snapshot: &Snapshot) -> impl Iterator<Item = (PeerId, State)> {
    let candidates = (0..).zip(snapshot.table.candidates()).zip(&snapshot.standings);
    let others = candidates.filter(|((number, _), _)| *number != THIS);
    others.filter_map(|((_, candidate), standing)| Some((candidate.id?, standing.state)))
}

fn tell_one(id: PeerId, was: State, is: State) {
    let state = is.name();
    match (was.is_usable(), is.is_usable()) {
        (false, true) => tracing::info!(peer = %id, state, "a peer can be led to"),
        (true, false) => tracing::warn!(peer = %id, state, "a peer cannot be led to any more"),
        _ if was != is => tracing::debug!(peer = %id, was = was.name(), state, "a peer fares otherwise"),
        _ => {}
    }
}
